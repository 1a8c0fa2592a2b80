//! AVX2's and AVX-512's registers as vectors.

// See `simd`.
#![allow(clippy::inline_always)]
// An index runs over several arrays.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::{
    __m256, __m512, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_si128, _mm_movehl_ps, _mm_shuffle_ps,
    _mm256_add_ps, _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_extractf128_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_permute2f128_ps, _mm256_set1_ps,
    _mm256_shuffle_ps, _mm256_slli_epi32, _mm256_storeu_ps, _mm512_add_ps, _mm512_castpd_ps,
    _mm512_castps_pd, _mm512_castps512_ps256, _mm512_castsi512_ps, _mm512_cvtepu16_epi32,
    _mm512_extractf32x8_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_shuffle_f32x4,
    _mm512_shuffle_ps, _mm512_slli_epi32, _mm512_storeu_ps, _mm512_unpackhi_pd, _mm512_unpacklo_pd,
};

use super::{LANES, Vector, bf16};

/// AVX-512's one register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

// SAFETY of every block below: only called in functions compiled for the instruction set, on data of the promised size.
impl Vector for Avx512 {
    const MANY: bool = true;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        unsafe {
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves)))
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    fn add_product(self, x: Self, y: Self) -> Self {
        Self(unsafe { _mm512_fmadd_ps(x.0, y.0, self.0) })
    }

    #[inline(always)]
    fn add(self, x: Self) -> Self {
        Self(unsafe { _mm512_add_ps(self.0, x.0) })
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        unsafe {
            Avx2(
                _mm512_castps512_ps256(self.0),
                _mm512_extractf32x8_ps::<1>(self.0),
            )
            .sum()
        }
    }

    /// Four rounds, each of which adds halves and lays two vectors' sums side by side.
    #[inline(always)]
    fn sums(vectors: [Self; LANES]) -> [f32; LANES] {
        unsafe {
            let mut eights = [vectors[0].0; 8];
            for i in 0..8 {
                // The last round leaves sum `4 l + p` of its input at place `4 p + l`.
                let (a, b) = (vectors[source(2 * i)].0, vectors[source(2 * i + 1)].0);
                eights[i] = _mm512_add_ps(
                    _mm512_shuffle_f32x4::<0x44>(a, b),
                    _mm512_shuffle_f32x4::<0xee>(a, b),
                );
            }
            let mut fours = [vectors[0].0; 4];
            for i in 0..4 {
                let (a, b) = (eights[2 * i], eights[2 * i + 1]);
                fours[i] = _mm512_add_ps(
                    _mm512_shuffle_f32x4::<0x88>(a, b),
                    _mm512_shuffle_f32x4::<0xdd>(a, b),
                );
            }
            let mut twos = [vectors[0].0; 2];
            for i in 0..2 {
                let (a, b) = (_mm512_castps_pd(fours[2 * i]), _mm512_castps_pd(fours[2 * i + 1]));
                twos[i] = _mm512_add_ps(
                    _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)),
                );
            }
            let [a, b] = twos;
            Self(_mm512_add_ps(
                _mm512_shuffle_ps::<0x88>(a, b),
                _mm512_shuffle_ps::<0xdd>(a, b),
            ))
            .lanes()
        }
    }
}

/// Rows and columns of four changed for each other.
#[inline(always)]
const fn source(i: usize) -> usize {
    4 * (i % 4) + i / 4
}

/// Two of AVX2's registers.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256, __m256);

impl Vector for Avx2 {
    const PARTS: usize = 2;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        let half = unsafe { _mm256_set1_ps(value) };
        Self(half, half)
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(8).cast()));
            Self(
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            )
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
    }

    #[inline(always)]
    fn add_product(self, x: Self, y: Self) -> Self {
        unsafe {
            Self(
                _mm256_fmadd_ps(x.0, y.0, self.0),
                _mm256_fmadd_ps(x.1, y.1, self.1),
            )
        }
    }

    #[inline(always)]
    fn add_part(self, part: usize, x: Self, y: Self) -> Self {
        match part {
            0 => Self(unsafe { _mm256_fmadd_ps(x.0, y.0, self.0) }, self.1),
            _ => Self(self.0, unsafe { _mm256_fmadd_ps(x.1, y.1, self.1) }),
        }
    }

    #[inline(always)]
    fn add(self, x: Self) -> Self {
        unsafe { Self(_mm256_add_ps(self.0, x.0), _mm256_add_ps(self.1, x.1)) }
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        unsafe {
            let eight = _mm256_add_ps(self.0, self.1);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    /// As for AVX-512, eight at a time: each round adds halves and lays two vectors' sums side by side.
    #[inline(always)]
    fn sums(vectors: [Self; LANES]) -> [f32; LANES] {
        unsafe { Self(sums_of_eight(&vectors, 0), sums_of_eight(&vectors, 8)).lanes() }
    }
}

/// Lane `l` holds the sum of vector `first + l`. No closures: they are functions of their own, which are compiled for the
/// baseline and call every instruction.
#[inline(always)]
unsafe fn sums_of_eight(vectors: &[Avx2; LANES], first: usize) -> __m256 {
    unsafe {
        let mut eights = [vectors[first].0; 8];
        for i in 0..8 {
            // The next round adds vectors that are four apart.
            let vector = vectors[first + i / 2 + 4 * (i % 2)];
            eights[i] = _mm256_add_ps(vector.0, vector.1);
        }
        let mut fours = [eights[0]; 4];
        for i in 0..4 {
            let (a, b) = (eights[2 * i], eights[2 * i + 1]);
            fours[i] = _mm256_add_ps(
                _mm256_permute2f128_ps::<0x20>(a, b),
                _mm256_permute2f128_ps::<0x31>(a, b),
            );
        }
        let mut twos = [fours[0]; 2];
        for i in 0..2 {
            let (a, b) = (fours[2 * i], fours[2 * i + 1]);
            twos[i] = _mm256_add_ps(_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xee>(a, b));
        }
        let [a, b] = twos;
        _mm256_add_ps(_mm256_shuffle_ps::<0x88>(a, b), _mm256_shuffle_ps::<0xdd>(a, b))
    }
}
