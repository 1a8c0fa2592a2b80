#!/usr/bin/env bash
# Builds Lyceum with CUDA from the package registries alone and checks what can be checked here: scripts/check-cuda.sh [FEATURES]
# FEATURES is `cuda` (what one gets without it) or `cuda,fusion`. Without a GPU it sees that the program starts, that it
# works on the processor, and that asking for a GPU ends with a code; with one, the kernels' tests run on it.
# The first build takes 40 minutes of processor time; it is kept in target/cuda (or $CARGO_TARGET_DIR). No part of .ci/run.
set -euo pipefail
cd "$(dirname "$0")/.."
features="${1:-cuda}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target/cuda}"
lyceum="$CARGO_TARGET_DIR/release/lyceum"

say() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }
fail() { printf 'check-cuda: %s\n' "$1" >&2; exit 1; }

say "nothing that downloads at build time is in the graph"
tree="$(cargo tree --workspace --features "$features" --prefix none --format '{p}')"
for crate in tracel-llvm-bundler llvm-sys; do
    ! grep -q "^$crate " <<<"$tree" || fail "$crate is in the graph"
done
grep -q '^cudarc ' <<<"$tree" || fail "cudarc is not in the graph: not a CUDA build"

say "build with $features"
cargo build --release --workspace --features "$features"

say "the program"
if command -v readelf >/dev/null; then
    needed="$(readelf -d "$lyceum" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | tr '\n' ' ')"
    printf 'libraries needed to start: %s\n' "$needed"
    [[ "$needed" != *cuda* && "$needed" != *nvrtc* ]] || fail "it cannot start without CUDA"
fi
printf 'size: %s bytes' "$(stat -c %s "$lyceum")"
lab="$(mktemp -d)"
trap 'rm -rf "$lab"' EXIT
strip -o "$lab/stripped" "$lyceum" && printf ', stripped %s' "$(stat -c %s "$lab/stripped")"
command -v xz >/dev/null && printf ', stripped and by `xz -6` %s' "$(xz -6 -T0 -c "$lab/stripped" | wc -c)"
printf '\n'

say "what it finds"
"$lyceum" doctor
"$lyceum" doctor --format json > "$lab/doctor.json"
! grep -q cuda_not_built "$lab/doctor.json" || fail "it does not know that it was built with CUDA"

say "the processor in this program"
export LYCEUM_HOME="$lab/store"
run() { "$lyceum" run experiments/ci/formats.toml --set "runtime.device=\"$1\""; }
run cpu

if grep -q '"ready": false' "$lab/doctor.json"; then
    say "no GPU here: asking for one is refused with a code, and nothing panics"
    status=0
    said="$(run cuda 2>&1)" || status=$?
    printf '%s\n' "$said"
    [ "$status" = 2 ] || fail "exit $status, not 2"
    grep -qE '\[(no_cuda_driver|no_gpu|no_nvrtc|no_cuda_headers)\]' <<<"$said" || fail "no code"
    ! grep -q panicked <<<"$said" || fail "it panicked"
    say "done; the kernels were not run on a GPU"
    exit 0
fi

say "an experiment on the GPU"
LYCEUM_HOME="$lab/store-gpu" run cuda
say "the kernels' tests on the GPU"
# What is left out holds for the CPU's bodies alone.
LYCEUM_TEST_DEVICE=cuda cargo test --release --workspace --features "$features" --package lyceum-kernels --lib -- \
    --skip keep_their_bytes --skip keeps_its_bytes --skip only_f32_is_fused --skip simd:: --skip matrix:: \
    --skip row_linear:: --skip do_not_depend_on_threads
say "done"
