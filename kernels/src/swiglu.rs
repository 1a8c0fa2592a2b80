//! The gated activation of llama-style feed-forward layers (Shazeer 2020, SwiGLU).

use burn::tensor::{Tensor, activation::silu};

/// `silu(gate) · up`, element by element; both have the same shape.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    silu(gate) * up
}
