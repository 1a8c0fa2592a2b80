#!/usr/bin/env bash
# What the runner itself takes: validate, plan of a sweep, listing runs, rendering a report. Prints the best of five, in
# milliseconds, of whole processes. Usage: benches/runner.sh [LYCEUM]; results are kept, dated, in docs/LOG.md.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
lyceum="$(realpath "${1:-${CARGO_TARGET_DIR:-target}/release/lyceum}")"
lab="$(mktemp -d)"
trap 'rm -rf "$lab"' EXIT
cd "$lab"
touch lyceum.toml

best() { # NAME COMMAND...
    local name="$1" least=999999999 start took
    shift
    for _ in 1 2 3 4 5; do
        start=$(date +%s%N)
        "$@" >/dev/null 2>&1
        took=$((($(date +%s%N) - start) / 1000))
        ((took < least)) && least=$took
    done
    printf '%-44s %8.1f ms\n' "$name" "$(awk "BEGIN { print $least / 1000 }")"
}

cp -r "$repository/experiments" .
best "validate, the quickstart" "$lyceum" validate experiments/quickstart.toml
best "plan, the quickstart" "$lyceum" plan experiments/quickstart.toml

cat > sweep.toml <<'TOML'
extends = ["experiments/quickstart.toml"]
[sweep]
seeds = [1, 2, 3, 4]
grid = { "steps.chosen.keep" = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], "steps.fluent.keep" = [0.2, 0.4, 0.5, 0.6, 0.8] }
TOML
best "plan --sweep, 200 points of the quickstart" "$lyceum" plan sweep.toml --sweep

head -c 748000000 /dev/urandom | base64 -w 4000 > large.txt
cat > large.toml <<'TOML'
[experiment]
name = "large"
[steps.text]
use = "corpus.text"
files = ["large.txt"]
[steps.bpe]
use = "tokenizer.train"
corpus = "@text"
vocab_size = 1000
[sweep]
seeds = [1, 2]
[sweep.grid]
"steps.bpe.vocab_size" = [1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016, 1017, 1018, 1019, 1020, 1021, 1022, 1023, 1024, 1025, 1026, 1027, 1028, 1029, 1030, 1031, 1032, 1033, 1034, 1035, 1036, 1037, 1038, 1039, 1040, 1041, 1042, 1043, 1044, 1045, 1046, 1047, 1048, 1049]
"steps.text.split_on" = ["line", "paragraph"]
TOML
sleep 3 # hashes of files that are younger are not remembered
best "plan --sweep, 200 points over 1 GB" "$lyceum" plan large.toml --sweep
rm large.txt

"$lyceum" run experiments/ci/formats.toml >/dev/null 2>&1
best "run, all from the store" "$lyceum" run experiments/ci/formats.toml
best "report --html" "$lyceum" report latest --html

awk -v runs=.lyceum/runs 'BEGIN {
    for (i = 0; i < 10000; i++) {
        id = sprintf("20250101-%06d-0000", i)
        print runs "/" id > "folders"
        ids[i] = id
    }
}'
xargs mkdir -p < folders
record=$(cat .lyceum/runs/latest/run.json)
known=$(basename "$(readlink .lyceum/runs/latest)")
export record
awk -v known="$known" 'BEGIN { record = ENVIRON["record"] }
{ n = split($0, parts, "/"); text = record; gsub(known, parts[n], text); print text > ($0 "/run.json"); close($0 "/run.json") }' folders
best "runs, 10,000 of them, no index" bash -c "rm -f .lyceum/runs.jsonl; '$lyceum' runs"
best "runs, 10,000 of them" "$lyceum" runs
best "show latest, 10,000 runs" "$lyceum" show latest
