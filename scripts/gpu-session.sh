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

# With the GPU's own bodies and without, each with and without fusion: the four must agree.
variants=(cuda cuda,cube cuda,fusion cuda,cube,fusion)

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
            # What is left out holds for the CPU's bodies alone.
            step "kernels, $features" 90 env -C kernels "$folder/kernels-$features" --test-threads 4 \
                --skip keep_their_bytes --skip keeps_its_bytes --skip only_f32_is_fused --skip simd:: --skip matrix::
        done
        for features in "${variants[@]}"; do
            step "losses of 200 steps, $features" 60 "$folder/bench_device-$features" cuda curve
        done
        LYCEUM_HOME="$folder/store" step "experiments against a processor's figures" 90 \
            "$folder/lyceum-cuda" check experiments/ci --set 'runtime.device="cuda"'
        if command -v compute-sanitizer >/dev/null; then
            step "compute-sanitizer" 90 compute-sanitizer --error-exitcode 9 "$folder/kernels-cuda,cube" \
                --test-threads 1 norm swiglu gelu
        fi
        for features in "${variants[@]}"; do
            step "speed, $features" 90 "$folder/bench_device-$features" cuda bf16
        done
        printf '\n'
        printf 'failed: %s\n' "${failed[@]:-nothing}"
    } 2>&1 | tee "$out"
}

case "$verb" in
build) build ;;
run) run ;;
*) echo "$usage" >&2; exit 2 ;;
esac
