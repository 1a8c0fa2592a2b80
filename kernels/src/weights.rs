//! Weights as they are held in memory: f32, or bfloat16 widened on the way.

// See `simd`.
#![allow(clippy::inline_always)]

use burn::tensor::{DType, bf16};
use burn_flex::FlexTensor;

use crate::simd::Vector;

/// A matrix's elements.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Weights<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

impl<'a> Weights<'a> {
    /// Whether weights of this type can be read.
    pub(crate) fn take(dtype: DType) -> bool {
        matches!(dtype, DType::F32 | DType::BF16)
    }

    /// The elements of a contiguous tensor of a type that is [taken](Self::take).
    pub(crate) fn of(tensor: &'a FlexTensor) -> Self {
        match tensor.dtype() {
            DType::BF16 => Self::Bf16(tensor.storage()),
            _ => Self::F32(tensor.storage()),
        }
    }
}

/// One element.
pub(crate) trait Weight: Copy + Send + Sync {
    /// Its value, exactly.
    fn wide(self) -> f32;

    /// # Safety
    /// As many lie there as a vector holds.
    unsafe fn load<V: Vector>(from: *const Self) -> V;
}

impl Weight for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(from) }
    }
}

impl Weight for bf16 {
    /// A bfloat16 is the upper half of an f32.
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load_bf16(from) }
    }
}
