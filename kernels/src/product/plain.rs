//! Products in f32, by the crate `gemm`.

use std::borrow::Cow;

use super::{Factor, Products, Start, rounded};
use crate::matrix::View;
use crate::weights::Weight;

/// Multiply-adds from which a product is worth several threads.
const PARALLEL: usize = 1 << 18;

/// A right factor in f32.
pub(super) struct Right<'a> {
    data: Cow<'a, [f32]>,
    k: usize,
    n: usize,
    row_stride: usize,
    column_stride: usize,
    products: Products,
}

impl<'a> Right<'a> {
    /// Reads f32 where it lies, unless it is to be rounded.
    pub(super) fn new(factor: Factor<'a>, products: Products) -> Self {
        let (data, [k, n], [row_stride, column_stride]) = match factor {
            Factor::F32(view) => (prepared(view, products), [view.rows, view.columns], strides(view)),
            Factor::Bf16(view) => (
                Cow::Owned(view.data.iter().map(|value| value.wide()).collect()),
                [view.rows, view.columns],
                strides(view),
            ),
        };
        Self {
            data,
            k,
            n,
            row_stride,
            column_stride,
            products,
        }
    }

    /// # Safety
    /// As for [`super::Right::write`], and the inner sizes agree.
    pub(super) unsafe fn write(&self, target: *mut f32, left: View, start: Start) {
        let (m, n, k) = (left.rows, self.n, self.k);
        let add = match start {
            Start::Target => true,
            Start::Bias([]) => false,
            Start::Bias(bias) => {
                for row in 0..m {
                    // SAFETY: the target has room for m rows of n values.
                    unsafe { target.add(row * n).copy_from_nonoverlapping(bias.as_ptr(), n) };
                }
                true
            }
        };
        let left_data = prepared(left, self.products);
        let parallelism = if m * n * k < PARALLEL {
            gemm::Parallelism::None
        } else {
            gemm::Parallelism::Rayon(0)
        };
        // SAFETY: `View` has checked that both factors lie in their slices, of which `data` are copies of the same length;
        // the caller promises room at the target.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                target,
                1,
                n as isize,
                add,
                left_data.as_ptr(),
                left.column_stride as isize,
                left.row_stride as isize,
                self.data.as_ptr(),
                self.column_stride as isize,
                self.row_stride as isize,
                if add { 1.0 } else { 0.0 },
                1.0,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

/// The elements as they are multiplied.
fn prepared(view: View<'_>, products: Products) -> Cow<'_, [f32]> {
    match products {
        Products::Full => Cow::Borrowed(view.data),
        Products::Bf16 => Cow::Owned(view.data.iter().map(|value| rounded(*value)).collect()),
    }
}

fn strides<T>(view: View<T>) -> [usize; 2] {
    [view.row_stride, view.column_stride]
}
