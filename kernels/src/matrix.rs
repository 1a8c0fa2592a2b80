//! Strided matrices, and outputs that several tasks write.

/// A strided matrix inside a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a, T = f32> {
    pub(crate) data: &'a [T],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl<'a, T> View<'a, T> {
    /// `rows × columns` from the start of `data`, rows `stride` apart.
    pub(crate) fn new(data: &'a [T], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            rows == 0 || columns == 0 || (rows - 1) * stride + columns <= data.len(),
            "a matrix lies in its data"
        );
        Self {
            data,
            rows,
            columns,
            row_stride: stride,
            column_stride: 1,
        }
    }

    /// Some of the columns.
    pub(crate) fn part(self, first: usize, columns: usize) -> Self {
        assert!(first + columns <= self.columns, "a part lies in its matrix");
        Self {
            data: &self.data[first * self.column_stride..],
            columns,
            ..self
        }
    }

    /// The data up to the last element.
    pub(crate) fn held(self) -> &'a [T] {
        if self.rows == 0 || self.columns == 0 {
            return &[];
        }
        let last = (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride;
        &self.data[..=last]
    }

    /// The transpose, without moving anything.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// An output that several tasks write, each its own part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared(pub(crate) *mut f32);

// SAFETY: a `Shared` is only written through `slice`, whose callers keep the parts of different tasks apart.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(data: &mut [f32]) -> Self {
        Self(data.as_mut_ptr())
    }

    /// The output from element `offset` on.
    ///
    /// # Safety
    /// `offset` lies in the slice this was made of.
    pub(crate) unsafe fn at(self, offset: usize) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { self.0.add(offset) })
    }

    /// A part of the output.
    ///
    /// # Safety
    /// The part lies in the slice this was made of, which outlives it, and no one else touches it meanwhile.
    #[allow(clippy::inline_always)] // See `simd`.
    #[inline(always)]
    pub(crate) unsafe fn slice<'a>(self, offset: usize, count: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(offset), count) }
    }
}

/// `target = left · right` on one thread; rows of the target lie `stride` apart.
///
/// # Safety
/// The target's rows lie in the memory behind it, and no one else touches them meanwhile.
pub(crate) unsafe fn multiply(target: Shared, stride: usize, left: View, right: View) {
    assert_eq!(left.columns, right.rows, "inner sizes agree");
    // SAFETY: `View` has checked that the operands lie in their slices, the caller promises it for the target.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            target.0,
            1,
            stride as isize,
            false,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
