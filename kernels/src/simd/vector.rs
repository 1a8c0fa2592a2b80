//! Sixteen floats held in registers: for loops whose sums must stay there, which the compiler does not promise for arrays.

// See the parent.
#![allow(clippy::inline_always)]
// An index runs over several arrays.
#![allow(clippy::needless_range_loop)]

use burn::tensor::bf16;

use super::LANES;

/// Sixteen floats, in whatever registers the level has. Methods may only run where the level does.
pub(crate) trait Vector: Copy {
    fn splat(value: f32) -> Self;

    /// # Safety
    /// `LANES` values lie there.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    /// As [`load`](Self::load).
    unsafe fn load_bf16(from: *const bf16) -> Self;

    /// # Safety
    /// There is room for `LANES` values.
    unsafe fn store(self, to: *mut f32);

    /// `self + x · y`, fused as in [`super::multiply_add`].
    fn add_product(self, x: Self, y: Self) -> Self;

    #[inline(always)]
    fn lanes(self) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: there is as much room.
        unsafe { self.store(lanes.as_mut_ptr()) };
        lanes
    }
}

/// Without any instruction set; `FMA` as in [`super::multiply_add`].
#[derive(Clone, Copy)]
pub(crate) struct Array<const FMA: bool>([f32; LANES]);

impl<const FMA: bool> Vector for Array<FMA> {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise; arrays of floats need no more alignment than floats.
        Self(unsafe { from.cast::<[f32; LANES]>().read() })
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: as above.
        let halves = unsafe { from.cast::<[bf16; LANES]>().read() };
        Self(halves.map(|half| f32::from_bits(u32::from(half.to_bits()) << 16)))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; LANES]>().write(self.0) }
    }

    #[inline(always)]
    fn add_product(self, x: Self, y: Self) -> Self {
        let mut sum = self.0;
        for lane in 0..LANES {
            sum[lane] = super::multiply_add::<FMA>(x.0[lane], y.0[lane], sum[lane]);
        }
        Self(sum)
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm_loadu_si128, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_fmadd_ps,
        _mm256_loadu_ps, _mm256_loadu_si256, _mm256_set1_ps, _mm256_slli_epi32, _mm256_storeu_ps,
        _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps,
        _mm512_slli_epi32, _mm512_storeu_ps,
    };

    use super::{Vector, bf16};

    /// AVX-512's one register.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    // SAFETY of every block below: only called in functions compiled for the instruction set, on data of the promised size.
    impl Vector for Avx512 {
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
    }

    /// Two of AVX2's registers.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256, __m256);

    impl Vector for Avx2 {
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
                let [low, high] = [from, from.add(8)].map(|from| {
                    let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
                });
                Self(low, high)
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
    }
}

/// Defines a function generic in its [`Vector`], compiled for every level and chosen at run time.
macro_rules! with_vectors {
    ($(#[$doc:meta])* $vis:vis fn $name:ident<$v:ident>($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)] // As in `vectorised`.
        $vis fn $name($($arg: $type),*) {
            #[inline(always)]
            fn body<$v: $crate::simd::Vector>($($arg: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $type),*) {
                    body::<$crate::simd::x86::Avx512>($($arg),*);
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) {
                    body::<$crate::simd::x86::Avx2>($($arg),*);
                }
                match $crate::simd::level() {
                    // SAFETY: `level` has asked this processor for exactly these features.
                    $crate::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Portable => {}
                }
            }
            body::<$crate::simd::Array<{ cfg!(target_arch = "aarch64") }>>($($arg),*);
        }
    };
}
pub(crate) use with_vectors;
