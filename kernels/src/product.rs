//! Products of large matrices on all threads: in f32, or of operands rounded to bfloat16.
//!
//! An element is always added up in the same order, so bytes do not depend on the number of threads.

use burn::tensor::{DType, Tensor, bf16};
use burn_flex::FlexTensor;

use crate::linear::widened;
use crate::matrix::View;
use crate::weights::Weights;

mod plain;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tiles;

/// How matrix products of f32 tensors are formed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Products {
    /// In the tensors' own type.
    #[default]
    Full,
    /// Operands are rounded to bfloat16 (to nearest, ties to even); their products are exact and added up in f32. Beside
    /// f32 the root mean square of the error is about 2.4e-3 of that of the result.
    Bf16,
}

impl Products {
    /// What goes from one product to the next, in the type that it has there: bfloat16 on a GPU whose products are, which
    /// would round it anyway; elsewhere as it is.
    pub fn between<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        if self == Self::Bf16 && !crate::flex::is_on_processor(&x) {
            widened(x, DType::BF16)
        } else {
            x
        }
    }
}

/// A right factor as it is held: f32, or bfloat16 as frozen weights are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Factor<'a> {
    F32(View<'a>),
    Bf16(View<'a, bf16>),
}

impl<'a> Factor<'a> {
    /// A contiguous matrix of weights.
    pub(crate) fn of(tensor: &'a FlexTensor) -> Self {
        let [rows, columns] = crate::flex::dims(tensor);
        match Weights::of(tensor) {
            Weights::F32(data) => Self::F32(View::new(data, rows, columns, columns)),
            Weights::Bf16(data) => Self::Bf16(View::new(data, rows, columns, columns)),
        }
    }

    /// The transpose, without moving anything.
    pub(crate) fn transposed(self) -> Self {
        match self {
            Self::F32(view) => Self::F32(view.transposed()),
            Self::Bf16(view) => Self::Bf16(view.transposed()),
        }
    }

    fn sizes(self) -> [usize; 2] {
        match self {
            Self::F32(view) => [view.rows, view.columns],
            Self::Bf16(view) => [view.rows, view.columns],
        }
    }
}

/// A right factor made ready, for any number of products.
pub(crate) struct Right<'a> {
    k: usize,
    n: usize,
    form: Form<'a>,
}

enum Form<'a> {
    Plain(plain::Right<'a>),
    #[cfg(target_arch = "x86_64")]
    Packed(tiles::Packed),
}

impl<'a> Right<'a> {
    pub(crate) fn new(factor: Factor<'a>, products: Products) -> Self {
        let [k, n] = factor.sizes();
        #[cfg(target_arch = "x86_64")]
        if products == Products::Bf16 && has_bf16() {
            let form = Form::Packed(tiles::Packed::new(factor));
            return Self { k, n, form };
        }
        let form = Form::Plain(plain::Right::new(factor, products));
        Self { k, n, form }
    }

    /// `left · self + bias`, row-major; an empty bias is none.
    pub(crate) fn multiply(&self, left: View, bias: &[f32]) -> Vec<f32> {
        let size = left.rows * self.n;
        let mut target = Vec::with_capacity(size);
        // SAFETY: there is room for the product, all of which is written.
        unsafe {
            self.write(target.as_mut_ptr(), left, Start::Bias(bias));
            target.set_len(size);
        }
        target
    }

    /// `target = left · self + bias`, row-major; an empty bias is none.
    pub(crate) fn multiply_into(&self, target: &mut [f32], left: View, bias: &[f32]) {
        assert_eq!(left.rows * self.n, target.len(), "the product fits its target");
        // SAFETY: checked above, and the borrow is exclusive.
        unsafe { self.write(target.as_mut_ptr(), left, Start::Bias(bias)) }
    }

    /// `target += left · self`.
    pub(crate) fn multiply_add(&self, target: &mut [f32], left: View) {
        assert_eq!(left.rows * self.n, target.len(), "the product fits its target");
        // SAFETY: as above.
        unsafe { self.write(target.as_mut_ptr(), left, Start::Target) }
    }

    /// Writes every element of the product.
    ///
    /// # Safety
    /// There is room for it at the target, which no one else touches meanwhile, and which is set where sums start there.
    unsafe fn write(&self, target: *mut f32, left: View, start: Start) {
        assert_eq!(left.columns, self.k, "inner sizes agree");
        if let Start::Bias(bias) = start {
            assert!(
                bias.is_empty() || bias.len() == self.n,
                "one bias for each column"
            );
        }
        // SAFETY: sizes are checked, the rest is the caller's promise.
        match &self.form {
            Form::Plain(right) => unsafe { right.write(target, left, start) },
            #[cfg(target_arch = "x86_64")]
            Form::Packed(packed) => unsafe { packed.write(target, left, start) },
        }
    }
}

/// What the sums start with.
#[derive(Debug, Clone, Copy)]
enum Start<'a> {
    /// What the target holds.
    Target,
    /// A value for each column, or nothing where there are none.
    Bias(&'a [f32]),
}

/// Whether the processor multiplies pairs of bfloat16 by itself.
pub(crate) fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return tiles::available();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether matrices of this type can be right factors.
pub(crate) fn takes(dtype: DType) -> bool {
    Weights::take(dtype)
}

/// An element's value after rounding to bfloat16: to nearest, ties to even; NaN stays NaN.
#[allow(clippy::inline_always)] // See `simd`.
#[inline(always)]
fn rounded(value: f32) -> f32 {
    /// Makes a NaN quiet, so that what is left of it is one.
    const QUIET: u32 = 1 << 22;
    let bits = value.to_bits();
    // Half a unit of the upper half, less where the even neighbour lies below.
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let kept = if value.is_nan() { bits | QUIET } else { nearest };
    f32::from_bits(kept & 0xffff_0000)
}
