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
