#!/usr/bin/env bash
# The kernels' tests on a software Vulkan driver, so that what GPUs run is tested without one: burn's composed operations, and
# our own bodies (feature `cube`). Usage: scripts/check-kernels-wgpu.sh [FILTER...]
# A driver is needed: Mesa's (package `mesa-vulkan-drivers`; 22.3 was seen to crash on cubecl's SPIR-V and was not tried with
# WGSL), or SwiftShader, which Debian's `chromium-common` carries: put its libvk_swiftshader.so and vk_swiftshader_icd.json
# into one folder and name the latter in VK_DRIVER_FILES and VK_ICD_FILENAMES. Ten minutes of processor time the first time,
# then two; kept in target/wgpu (or $CARGO_TARGET_DIR). No part of .ci/run.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target/wgpu}" XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"
# Nothing here is timed: the quickest build will do.
export CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=false CARGO_PROFILE_DEV_INCREMENTAL=false
export CARGO_PROFILE_DEV_DEBUG_ASSERTIONS=false CARGO_PROFILE_DEV_OVERFLOW_CHECKS=false
export LYCEUM_TEST_DEVICE=wgpu
# Left out: what holds for the CPU's bodies alone, and bf16, which WGSL lacks.
cargo test --package lyceum-kernels --features wgpu,cube --lib -- --test-threads 2 \
    --skip a_decoded_row_keeps_its_bytes --skip row_linear:: --skip only_f32_is_fused \
    --skip bfloat16 --skip simd:: --skip matrix:: "$@"
