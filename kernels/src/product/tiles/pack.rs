//! Packing: rows of a matrix to panels of words, each two consecutive columns in bfloat16.

use std::arch::x86_64::{
    __m256bh, __m256i, __m512, __m512bh, __m512i, __mmask16, _MM_HINT_T0, _mm_prefetch,
    _mm256_maskz_loadu_epi16, _mm256_storeu_si256, _mm512_castsi512_ps, _mm512_castsi512_si256,
    _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_extracti64x4_epi64,
    _mm512_maskz_loadu_ps, _mm512_or_si512, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_slli_epi32,
    _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};

use burn::tensor::bf16;

use crate::matrix::View;

/// Words of `k` to ask for ahead where they lie far apart.
const AHEAD: usize = 8;

/// The first `count` of sixteen lanes.
#[inline]
pub(super) fn lanes(count: usize) -> __mmask16 {
    if count >= 16 { !0 } else { (1 << count) - 1 }
}

/// What can be packed.
pub(super) trait Element: Copy + Send + Sync {
    /// Sixteen values, those masked out zero.
    ///
    /// # Safety
    /// The values that are not masked out lie there.
    unsafe fn load(from: *const Self, mask: __mmask16) -> __m512;
}

impl Element for f32 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn load(from: *const Self, mask: __mmask16) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    }
}

impl Element for bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn load(from: *const Self, mask: __mmask16) -> __m512 {
        // SAFETY: the caller's promise.
        let halves = unsafe { _mm256_maskz_loadu_epi16(mask, from.cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
    }
}

/// Sixteen words of the values of two columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn join(low: __m512, high: __m512) -> __m512i {
    let widened = |values| {
        // SAFETY: both types are 256 bits of sixteen halves.
        let halves = unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values)) };
        _mm512_cvtepu16_epi32(halves)
    };
    _mm512_or_si512(widened(low), _mm512_slli_epi32::<16>(widened(high)))
}

/// Packs the rows `[first, count]` and columns (`k`) `[start, length]` of a matrix to panels of `P` rows: word `w` of a row
/// lies at `(panel · words + w) · P + row`. Missing rows and an odd last column are zero. `P` is 8 or a multiple of 16.
///
/// # Safety
/// There is room for all panels (with `P = 8` for an even number of them), and the processor has what is needed.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn pack<T: Element, const P: usize>(
    view: View<T>,
    [first, count]: [usize; 2],
    [start, length]: [usize; 2],
    target: *mut u32,
) {
    let words = length.div_ceil(2);
    let padded = count.next_multiple_of(P);
    let source = view
        .data
        .as_ptr()
        .wrapping_add(first * view.row_stride + start * view.column_stride);
    // Sixteen rows of one word.
    let put = |row: usize, word: usize, values: __m512i| {
        // SAFETY: the caller's promise of room.
        unsafe {
            if P == 8 {
                let low = target.add((row / 8 * words + word) * 8);
                _mm256_storeu_si256(low.cast(), _mm512_castsi512_si256(values));
                if row + 8 < padded {
                    let high = _mm512_extracti64x4_epi64::<1>(values);
                    _mm256_storeu_si256(low.add(words * 8).cast(), high);
                }
            } else {
                _mm512_storeu_si512(target.add((row / P * words + word) * P + row % P).cast(), values);
            }
        }
    };
    if view.row_stride == 1 {
        // Rows lie side by side: two columns are joined, over a few cache lines at a time.
        let stripe = if P == 8 { 64 } else { P };
        for stripe_start in (0..padded).step_by(stripe) {
            for word in 0..words {
                let second = 2 * word + 1 < length;
                for row in (stripe_start..padded.min(stripe_start + stripe)).step_by(16) {
                    let mask = lanes(count.saturating_sub(row));
                    let from = source.wrapping_add(row + 2 * word * view.column_stride);
                    let next = from.wrapping_add(view.column_stride);
                    // SAFETY: values outside of the matrix are masked out, prefetches may go anywhere.
                    unsafe {
                        for column in [from, next] {
                            let ahead = column.wrapping_add(2 * AHEAD * view.column_stride);
                            _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                        }
                        let low = T::load(from, mask);
                        let high = T::load(next, if second { mask } else { 0 });
                        put(row, word, join(low, high));
                    }
                }
            }
        }
        return;
    }
    assert_eq!(view.column_stride, 1, "one of the axes is contiguous");
    // Columns lie side by side: sixteen words of sixteen rows are transposed.
    for row in (0..padded).step_by(16) {
        for word in (0..words).step_by(16) {
            let mut square = [_mm512_setzero_si512(); 16];
            let left = length - 2 * word;
            for (i, line) in square
                .iter_mut()
                .enumerate()
                .take(count.saturating_sub(row).min(16))
            {
                let from = source.wrapping_add((row + i) * view.row_stride + 2 * word);
                // SAFETY: values outside of the block are masked out; the types are 512 bits of halves.
                *line = unsafe {
                    let low = T::load(from, lanes(left));
                    let high = T::load(from.wrapping_add(16), lanes(left.saturating_sub(16)));
                    std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
                };
            }
            transpose(&mut square);
            for (i, line) in square.iter().enumerate().take(words - word) {
                put(row, word + i, *line);
            }
        }
    }
}

/// Transposes sixteen rows of sixteen words.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: &mut [__m512i; 16]) {
    let mut pairs = *rows;
    for i in 0..8 {
        pairs[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    let mut fours = pairs;
    for i in 0..4 {
        for half in 0..2 {
            let (above, below) = (pairs[4 * i + half], pairs[4 * i + 2 + half]);
            fours[4 * i + 2 * half] = _mm512_unpacklo_epi64(above, below);
            fours[4 * i + 2 * half + 1] = _mm512_unpackhi_epi64(above, below);
        }
    }
    // Lane q of fours[4g + c] holds rows 4g to 4g + 3 of column 4q + c: the lanes are transposed last.
    for c in 0..4 {
        let [a, b, d, e] = [0, 4, 8, 12].map(|group| fours[group + c]);
        let (even, odd) = (
            _mm512_shuffle_i32x4::<0x88>(a, b),
            _mm512_shuffle_i32x4::<0xdd>(a, b),
        );
        let (even_below, odd_below) = (
            _mm512_shuffle_i32x4::<0x88>(d, e),
            _mm512_shuffle_i32x4::<0xdd>(d, e),
        );
        rows[c] = _mm512_shuffle_i32x4::<0x88>(even, even_below);
        rows[8 + c] = _mm512_shuffle_i32x4::<0xdd>(even, even_below);
        rows[4 + c] = _mm512_shuffle_i32x4::<0x88>(odd, odd_below);
        rows[12 + c] = _mm512_shuffle_i32x4::<0xdd>(odd, odd_below);
    }
}
