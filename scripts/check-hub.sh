#!/usr/bin/env bash
# Builds Lyceum with downloads from a hub and tests them against a hub on this machine: scripts/check-hub.sh
# Nothing but the loopback device is used. What the feature needs is compiled for Polars anyway, so that in a folder where
# the workspace was built before, only Lyceum's own crates are built again. No part of .ci/run.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }
fail() { printf 'check-hub: %s\n' "$1" >&2; exit 1; }

say "the feature adds nothing to what is compiled but the hash"
tree() { cargo tree -p lyceum --edges normal,build --prefix none --format '{p} {f}' "$@" | sed 's/ (\*)$//' | sort -u; }
added="$(comm -13 <(tree) <(tree --features hub) | grep -vE '^(lyceum|sha2) ' || true)"
[ -z "$added" ] || fail "it adds $added"

say "the command"
cargo clippy --release --workspace --all-targets --features hub -- -D warnings
say "tests"
cargo test --release -p lyceum --lib --features hub hub::
cargo test --release -p lyceum-tests --features hub --test hub
say "done"
