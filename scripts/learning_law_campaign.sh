#!/usr/bin/env bash
# The learning law's full-size fixtures to their end: 500, 80 and 60 policy epochs of the perceptron, held against numpy in f64.
# The ordinary tests take the first policy epoch of each. Takes some twenty minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
LYCEUM_TEST_ALL=1 cargo test --release --workspace --test golden_learning_law full_size -- --nocapture
