#!/usr/bin/env bash
# Fuzzes one target, guided by coverage: scripts/fuzz.sh TARGET [EXECUTIONS]
# What is found is written to tests/fuzz/artifacts/; once mended, it joins tests/fuzz/corpus/TARGET/.
# Needs a nightly toolchain and cargo-fuzz. New inputs are kept outside the repository, in a folder that is named below.
set -euo pipefail
target="${1:?usage: scripts/fuzz.sh TARGET [EXECUTIONS]}"
executions="${2:-1000000}"
cd "$(dirname "$0")/../tests"
kept="${XDG_CACHE_HOME:-$HOME/.cache}/lyceum/fuzz/$target"
mkdir -p "$kept"
cargo +nightly fuzz run -s none "$target" "$kept" "fuzz/corpus/$target" -- \
    -runs="$executions" -max_len=8192 -timeout=10 -rss_limit_mb=4096
