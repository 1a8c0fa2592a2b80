//! Products in f32, by the crate `gemm`.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use burn::tensor::bf16;
use rayon::prelude::*;

use super::{Factor, Products, Start, rounded};
use crate::beside::is_alone;
use crate::matrix::{Shared, View};
use crate::simd::vectorised;
use crate::weights::Weight;

/// Multiply-adds from which a product is worth several threads.
const PARALLEL: usize = 1 << 18;

/// Elements of a factor in bfloat16 that are widened at once (4 MiB in f32), where they have as many columns as
/// [`LEAST_COLUMNS`].
const PANEL: usize = 1 << 20;

/// Columns of a panel at the least: for each of them the left factor is packed again.
const LEAST_COLUMNS: usize = 256;

/// Elements of one task that rounds or widens.
const CHUNK: usize = 1 << 15;

/// A right factor in f32, or in bfloat16 and widened on the way, a panel of columns at a time.
pub(super) struct Right<'a> {
    factor: Factor<'a>,
    /// The elements of one in f32 as they are multiplied, if that is not as they lie.
    rounded: Option<Vec<f32>>,
    products: Products,
}

impl<'a> Right<'a> {
    pub(super) fn new(factor: Factor<'a>, products: Products) -> Self {
        let rounded = match (factor, products) {
            (Factor::F32(view), Products::Bf16) => Some(all_rounded(view.held())),
            _ => None,
        };
        Self {
            factor,
            rounded,
            products,
        }
    }

    /// # Safety
    /// As for [`super::Right::write`], and the inner sizes agree.
    pub(super) unsafe fn write(&self, target: *mut f32, left: View, start: Start) {
        let [k, n] = self.factor.sizes();
        let add = match start {
            Start::Target => true,
            Start::Bias([]) => false,
            Start::Bias(bias) => {
                for row in 0..left.rows {
                    // SAFETY: the target has room for as many rows of n values.
                    unsafe { target.add(row * n).copy_from_nonoverlapping(bias.as_ptr(), n) };
                }
                true
            }
        };
        let left_data = match self.products {
            Products::Full => Cow::Borrowed(left.data),
            Products::Bf16 => Cow::Owned(all_rounded(left.held())),
        };
        let left = View {
            data: &left_data,
            ..left
        };
        let target = Shared(target);
        match self.factor {
            Factor::F32(view) => {
                let data = self.rounded.as_deref().unwrap_or(view.data);
                // SAFETY: the caller's promise.
                unsafe { multiply(target, n, add, left, View { data, ..view }) };
            }
            Factor::Bf16(view) => {
                let width = (PANEL / k.max(1)).max(LEAST_COLUMNS).min(n);
                let mut room = vec![0.0; k * width];
                for first in (0..n).step_by(width.max(1)) {
                    let panel = widened(&mut room, view.part(first, width.min(n - first)));
                    // SAFETY: the caller's promise; columns from `first` on lie in the target.
                    unsafe { multiply(target.at(first), n, add, left, panel) };
                }
            }
        }
    }
}

/// `target = left · right`, or `target += …` where `add`, on all threads that are free; rows of the target lie `stride` apart.
///
/// # Safety
/// The target's rows lie in the memory behind it, and no one else touches them meanwhile.
unsafe fn multiply(target: Shared, stride: usize, add: bool, left: View, right: View) {
    let (m, n, k) = (left.rows, right.columns, left.columns);
    let parallelism = if m * n * k < PARALLEL || is_alone() {
        gemm::Parallelism::None
    } else {
        gemm::Parallelism::Rayon(0)
    };
    // SAFETY: `View` has checked that both factors lie in their slices; the caller promises room at the target.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            target.0,
            1,
            stride as isize,
            add,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            if add { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// A matrix in f32, put into `room` in its own layout.
fn widened<'a>(room: &'a mut [f32], view: View<bf16>) -> View<'a> {
    let transposed = view.row_stride == 1;
    let lines = if transposed { view.transposed() } else { view };
    assert_eq!(lines.column_stride, 1, "one of the axes is contiguous");
    let length = lines.columns.max(1);
    let group = (CHUNK / length).max(1);
    let room = &mut room[..lines.rows * lines.columns];
    each_chunk(room, group * length, |task, wide| {
        for (line, wide) in wide.chunks_exact_mut(length).enumerate() {
            widen(
                wide,
                &lines.data[(task * group + line) * lines.row_stride..][..length],
            );
        }
    });
    let wide = View::new(room, lines.rows, lines.columns, lines.columns);
    if transposed { wide.transposed() } else { wide }
}

/// All values, rounded to bfloat16.
fn all_rounded(values: &[f32]) -> Vec<f32> {
    let mut all = Vec::with_capacity(values.len());
    each_chunk(
        &mut all.spare_capacity_mut()[..values.len()],
        CHUNK,
        |task, target| {
            round(target, &values[task * CHUNK..]);
        },
    );
    // SAFETY: the chunks are all of these elements, each of which `round` has written.
    unsafe { all.set_len(values.len()) };
    all
}

/// Runs `task` on chunks with their numbers, on all threads where there are several.
fn each_chunk<T: Send>(values: &mut [T], chunk: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    if values.len() <= chunk {
        task(0, values);
    } else {
        let chunks = values.par_chunks_mut(chunk).enumerate();
        chunks.for_each(|(number, values)| task(number, values));
    }
}

vectorised! {
    fn widen<FMA>(target: &mut [f32], values: &[bf16]) {
        for (target, value) in target.iter_mut().zip(values) {
            *target = value.wide();
        }
    }
}

vectorised! {
    /// Writes every element of the target.
    fn round<FMA>(target: &mut [MaybeUninit<f32>], values: &[f32]) {
        let values = &values[..target.len()];
        for (target, value) in target.iter_mut().zip(values) {
            target.write(rounded(*value));
        }
    }
}
