//! Which body every operation takes here, and why.

use crate::{product, simd};

/// What an operation runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body {
    /// The operations, by name.
    pub operations: &'static str,
    /// On the processor, for f32.
    pub processor: &'static str,
    /// On a GPU, for f32 and bf16.
    pub gpu: &'static str,
}

const COMPOSED: &str = "composed of burn's operations";

/// What GPU bodies of our own are, where they were built in.
const OWN: &str = if cfg!(feature = "cube") {
    "one kernel of our own"
} else {
    "composed of burn's operations (built without GPUs)"
};

const ATTENTION: &str = if cfg!(feature = "cube") {
    "bf16: kernels of our own, no scores held; f32: composed of burn's operations"
} else {
    COMPOSED
};

/// What multiplies matrices on a GPU.
fn library() -> &'static str {
    #[cfg(feature = "cuda")]
    if crate::cube::cublas::is_there() {
        return "cuBLAS";
    }
    "burn's product (no cuBLAS here)"
}

/// The body of every operation on this machine. Types that are not named (f64 everywhere, bf16 on the processor) take the
/// composed one.
pub fn bodies() -> Vec<Body> {
    let fused = match simd::instructions() {
        "AVX-512" => "fused, AVX-512",
        "AVX2" => "fused, AVX2 (no AVX-512 here)",
        _ => "fused, without vector instructions beyond the architecture's baseline",
    };
    let products = if product::has_bf16() {
        "f32: the crate gemm; bf16: own tiles, AVX512_BF16"
    } else {
        "f32: the crate gemm; bf16: operands rounded, then as f32 (no AVX512_BF16 here)"
    };
    let body = |operations, processor, gpu| Body {
        operations,
        processor,
        gpu,
    };
    vec![
        body("linear", products, library()),
        body("row_linear", fused, library()),
        body("linear_cross_entropy, linear_nll", fused, OWN),
        body("linear_divergence", fused, COMPOSED),
        body("attention", fused, ATTENTION),
        body("layer_norm, rms_norm", fused, OWN),
        body("gelu, swiglu", fused, OWN),
        body("rope", fused, OWN),
        body("append", fused, COMPOSED),
        body("adamw_step", fused, OWN),
        body("squared_norm", fused, COMPOSED),
    ]
}
