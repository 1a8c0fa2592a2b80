#!/usr/bin/env bash
# Makes tests/compat/v1 anew: only for a new layout, in a folder of its own name. What is committed stays as it is, so that
# a store which an earlier version wrote is what the test reads.
set -euo pipefail
cd "$(dirname "$0")/.."
LYCEUM_MAKE_COMPAT=1 cargo test --release --workspace --test compat
du -sh tests/compat/v1
