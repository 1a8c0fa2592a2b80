//! One register of numbers, f32 or f64, with which a row is gone through.

// Helpers must be inlined into the function compiled for an instruction set, or they are compiled for the baseline.
#![allow(clippy::inline_always)]

/// A register's numbers; as many with and without an instruction set, so that sums are formed in the same order.
pub(super) trait Lanes: Copy {
    /// f32 or f64.
    type Element: Copy + Default + PartialEq;

    /// Numbers of a register.
    const COUNT: usize;

    fn splat(value: Self::Element) -> Self;

    /// # Safety
    /// `COUNT` numbers can be read at `from`.
    unsafe fn load(from: *const Self::Element) -> Self;

    /// # Safety
    /// `COUNT` numbers can be written at `to`.
    unsafe fn store(self, to: *mut Self::Element);

    /// `self + x · y`.
    fn add_product(self, x: Self, y: Self) -> Self;

    /// The sum of each of four registers.
    fn sums(registers: [Self; 4]) -> [f64; 4];

    /// The nearest number.
    fn of(value: f64) -> Self::Element;

    fn wide(value: Self::Element) -> f64;
}

/// Without any instruction set; `FMA` says whether a multiply-add is one instruction.
#[derive(Clone, Copy)]
pub(super) struct Plain<T, const N: usize, const FMA: bool>([T; N]);

macro_rules! plain {
    ($type:ident, $count:literal) => {
        impl<const FMA: bool> Lanes for Plain<$type, $count, FMA> {
            type Element = $type;

            const COUNT: usize = $count;

            #[inline(always)]
            fn splat(value: $type) -> Self {
                Self([value; $count])
            }

            #[inline(always)]
            unsafe fn load(from: *const $type) -> Self {
                // SAFETY: the caller's promise; arrays need no more alignment than what they are made of.
                Self(unsafe { from.cast::<[$type; $count]>().read() })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $type) {
                // SAFETY: as above.
                unsafe { to.cast::<[$type; $count]>().write(self.0) }
            }

            #[inline(always)]
            fn add_product(self, x: Self, y: Self) -> Self {
                let mut sum = self.0;
                for i in 0..$count {
                    sum[i] = if FMA {
                        x.0[i].mul_add(y.0[i], sum[i])
                    } else {
                        x.0[i] * y.0[i] + sum[i]
                    };
                }
                Self(sum)
            }

            #[inline(always)]
            fn sums(registers: [Self; 4]) -> [f64; 4] {
                // Neighbours first, then the halves' sums: as horizontal additions go.
                registers.map(|Self(x)| {
                    let mut halves = x.chunks($count / 2).map(|half| {
                        let mut pairs = half.chunks(2).map(|pair| pair[0] + pair[1]);
                        let first = pairs.next().unwrap_or_default();
                        pairs.fold(first, |sum, pair| sum + pair)
                    });
                    let first = halves.next().unwrap_or_default();
                    f64::from(halves.fold(first, |sum, half| sum + half))
                })
            }

            #[inline(always)]
            fn of(value: f64) -> $type {
                value as $type
            }

            #[inline(always)]
            fn wide(value: $type) -> f64 {
                f64::from(value)
            }
        }
    };
}

plain!(f64, 4);
plain!(f32, 8);

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use super::Lanes;
    use std::arch::x86_64::{
        __m256, __m256d, _mm_add_ps, _mm256_add_pd, _mm256_castps256_ps128, _mm256_cvtps_pd,
        _mm256_extractf128_ps, _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_hadd_pd, _mm256_hadd_ps,
        _mm256_loadu_pd, _mm256_loadu_ps, _mm256_permute2f128_pd, _mm256_set1_pd, _mm256_set1_ps,
        _mm256_storeu_pd, _mm256_storeu_ps,
    };

    /// A register of AVX2.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2<R>(R);

    // SAFETY of every block below: only called in functions compiled for the instruction set, on data of the promised size.
    impl Lanes for Avx2<__m256d> {
        type Element = f64;

        const COUNT: usize = 4;

        #[inline(always)]
        fn splat(value: f64) -> Self {
            Self(unsafe { _mm256_set1_pd(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f64) -> Self {
            Self(unsafe { _mm256_loadu_pd(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f64) {
            unsafe { _mm256_storeu_pd(to, self.0) }
        }

        #[inline(always)]
        fn add_product(self, x: Self, y: Self) -> Self {
            Self(unsafe { _mm256_fmadd_pd(x.0, y.0, self.0) })
        }

        #[inline(always)]
        fn sums([a, b, c, d]: [Self; 4]) -> [f64; 4] {
            let mut sums = [0.0; 4];
            unsafe {
                let (ab, cd) = (_mm256_hadd_pd(a.0, b.0), _mm256_hadd_pd(c.0, d.0));
                let low = _mm256_permute2f128_pd::<0x20>(ab, cd);
                let high = _mm256_permute2f128_pd::<0x31>(ab, cd);
                _mm256_storeu_pd(sums.as_mut_ptr(), _mm256_add_pd(low, high));
            }
            sums
        }

        #[inline(always)]
        fn of(value: f64) -> f64 {
            value
        }

        #[inline(always)]
        fn wide(value: f64) -> f64 {
            value
        }
    }

    impl Lanes for Avx2<__m256> {
        type Element = f32;

        const COUNT: usize = 8;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        fn add_product(self, x: Self, y: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(x.0, y.0, self.0) })
        }

        #[inline(always)]
        fn sums([a, b, c, d]: [Self; 4]) -> [f64; 4] {
            let mut sums = [0.0; 4];
            unsafe {
                let all = _mm256_hadd_ps(_mm256_hadd_ps(a.0, b.0), _mm256_hadd_ps(c.0, d.0));
                let four = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps::<1>(all));
                _mm256_storeu_pd(sums.as_mut_ptr(), _mm256_cvtps_pd(four));
            }
            sums
        }

        #[inline(always)]
        fn of(value: f64) -> f32 {
            value as f32
        }

        #[inline(always)]
        fn wide(value: f32) -> f64 {
            f64::from(value)
        }
    }
}
