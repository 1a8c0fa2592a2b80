#!/usr/bin/env bash
# One session on a machine with an NVIDIA GPU, under ten minutes once it is built: correctness first, then speed.
#   build beforehand, where the registries are:  scripts/gpu-session.sh build FOLDER    (two builds, an hour of processor time)
#   then on the GPU, with FOLDER and this repository:  scripts/gpu-session.sh run FOLDER
# Figures are written to benches/results/DATE-gpu.txt with device and commit. A step that fails is told at the end; the others run.
set -euo pipefail
cd "$(dirname "$0")/.."
usage="usage: scripts/gpu-session.sh build|run FOLDER"
verb="${1:?$usage}"
folder="${2:?$usage}"
mkdir -p "$folder"
folder="$(realpath "$folder")"

# With burn's fusion and without: the two must agree.
variants=(cuda cuda,fusion)

build() {
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target/cuda}"
    for features in "${variants[@]}"; do
        cargo build --release --workspace --features "$features" --bins --examples
        cp "$CARGO_TARGET_DIR/release/lyceum" "$folder/lyceum-$features"
        cp "$CARGO_TARGET_DIR/release/examples/bench_device" "$folder/bench_device-$features"
        cargo test --release --workspace --features "$features" --lib --no-run --message-format json |
            sed -n 's/.*"name":"lyceum_kernels".*"executable":"\([^"]*\)".*/\1/p' | tail -1 |
            xargs -I{} cp {} "$folder/kernels-$features"
    done
    strip "$folder"/lyceum-* "$folder"/bench_device-* "$folder"/kernels-*
    du -sh "$folder"
}

failed=()
step() { # NAME SECONDS COMMAND...
    local name="$1" limit="$2"
    shift 2
    printf '\n== %s (%ss)\n' "$name" "$SECONDS"
    timeout "$limit" "$@" || failed+=("$name: exit $?")
}

run() {
    local out
    out="benches/results/$(date +%F)-gpu.txt"
    export LYCEUM_TEST_DEVICE=cuda
    {
        printf 'date %s, commit %s\n' "$(date +%F)" "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
        nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
        step "what there is" 60 "$folder/lyceum-cuda" doctor
        for features in "${variants[@]}"; do
            # What is left out holds for the CPU's bodies alone. Kernels are compiled when they are first used.
            step "kernels, $features" 150 env -C kernels "$folder/kernels-$features" --test-threads 6 \
                --skip keep_their_bytes --skip keeps_its_bytes --skip only_f32_is_fused --skip simd:: --skip matrix:: \
                --skip row_linear:: --skip do_not_depend_on_threads
        done
        for features in "${variants[@]}"; do
            step "losses of 200 steps, $features" 60 "$folder/bench_device-$features" cuda curve
        done
        LYCEUM_HOME="$folder/store" step "experiments against a processor's figures" 90 \
            "$folder/lyceum-cuda" check experiments/ci --set 'runtime.device="cuda"'
        if command -v compute-sanitizer >/dev/null; then
            step "compute-sanitizer" 90 compute-sanitizer --error-exitcode 9 "$folder/kernels-cuda" \
                --test-threads 1 norm swiglu gelu cube::
        fi
        for features in "${variants[@]}"; do
            step "speed, $features" 120 "$folder/bench_device-$features" cuda bf16
        done
        if python3 -c 'import torch' 2>/dev/null; then
            peer=(python3 benches/peers/train_lm.py --device cuda --precision bf16 --context 1024 --vocab 50257 --steps 12)
            small=(--family gpt2 --hidden 768 --layers 12 --heads 12)
            large=(--family llama --hidden 2048 --layers 24 --heads 16)
            step "the peer in training" 60 "${peer[@]}" "${small[@]}" --work train --batch 16
            step "the peer in scoring" 60 "${peer[@]}" "${small[@]}" --work score --batch 32
            step "the peer in scoring, larger" 60 "${peer[@]}" "${large[@]}" --work score --batch 8
        fi
        printf '\n'
        printf 'failed: %s\n' "${failed[@]:-nothing}"
    } 2>&1 | tee "$out"
}

case "$verb" in
build) build ;;
run) run ;;
*) echo "$usage" >&2; exit 2 ;;
esac
