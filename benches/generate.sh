#!/usr/bin/env bash
# Generation beside transformers: new tokens a second of `lyceum generate` and of benches/peers/generate.py, taken in turns
# on random checkpoints, prefill included; medians of the rounds and their ratio. Needs a Python with torch and
# transformers. Usage: PYTHON=… benches/generate.sh [LYCEUM] [ROUNDS]; results are kept, dated, in benches/results/.
set -euo pipefail
cd "$(dirname "$0")/.."
lyceum="$(realpath "${1:-${CARGO_TARGET_DIR:-target}/release/lyceum}")"
rounds="${2:-5}"
python="${PYTHON:-python3}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"$python" benches/peers/make_checkpoints.py "$folder" >&2

prompt="$(printf 'w%s ' $(seq 0 31))"
tokens=96
rate() { "$python" -c 'import json, sys; x = json.load(sys.stdin); print((x[0] if isinstance(x, list) else x)["tokens_per_second"])'; }
median() { sort -n | awk '{ x[NR] = $1 } END { print NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'; }

printf '%s, %s, %s threads\n' "$(date -u +%F)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(nproc)"
printf '%-12s %-8s %5s %12s %14s %7s\n' checkpoint drawn batch lyceum transformers ratio
for model in llama-7m gpt2-124m; do
    for drawn in greedy sampled; do
        for batch in 1 16; do
            how=(--temperature 0)
            [ "$drawn" = greedy ] || how=(--temperature 0.8 --top-k 50)
            ours="$folder/ours" theirs="$folder/theirs"
            : >"$ours"
            : >"$theirs"
            for ((round = 0; round < rounds; round++)); do
                "$lyceum" generate --device cpu --model "$folder/$model" --prompt "$prompt" --samples "$batch" \
                    --max-tokens $tokens "${how[@]}" --format json | rate >>"$ours"
                "$python" benches/peers/generate.py --model "$folder/$model" --batch "$batch" --prompt 32 \
                    --tokens $tokens "${how[@]}" 2>/dev/null | rate >>"$theirs"
            done
            a="$(median <"$ours")" b="$(median <"$theirs")"
            printf '%-12s %-8s %5d %12.1f %14.1f %6.2fx\n' "$model" "$drawn" "$batch" "$a" "$b" \
                "$(awk "BEGIN { print $a / $b }")"
        done
    done
done
