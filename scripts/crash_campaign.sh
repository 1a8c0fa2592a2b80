#!/usr/bin/env bash
# Fails every single write of a small run, once with an input/output error and once as on a disk that is full from there on.
# The ordinary tests take one write of every kind. Takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
LYCEUM_TEST_ALL=1 cargo test --release --workspace --test crash faults -- --nocapture
