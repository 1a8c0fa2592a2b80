//! Sixteen floats held in registers: for loops whose sums must stay there, which the compiler does not promise for arrays.

// See the parent.
#![allow(clippy::inline_always)]
// An index runs over several arrays.
#![allow(clippy::needless_range_loop)]

use burn::tensor::bf16;

use super::{LANES, sum_lanes};

/// Sixteen floats, in whatever registers the level has. Methods may only run where the level does.
pub(crate) trait Vector: Copy {
    /// Whether there are registers for 24 sums; else only for six.
    const MANY: bool = false;

    /// Registers of a vector that are worth taking one after the other: operands of one part then need no register while
    /// another is added.
    const PARTS: usize = 1;

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

    /// [`add_product`](Self::add_product) for the lanes of one of [`PARTS`](Self::PARTS); the others stay.
    #[inline(always)]
    fn add_part(self, _part: usize, x: Self, y: Self) -> Self {
        self.add_product(x, y)
    }

    fn add(self, x: Self) -> Self;

    #[inline(always)]
    fn lanes(self) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: there is as much room.
        unsafe { self.store(lanes.as_mut_ptr()) };
        lanes
    }

    /// The sum of all lanes, in the order of [`sum_lanes`].
    #[inline(always)]
    fn sum(self) -> f32 {
        sum_lanes(self.lanes())
    }

    /// [`sum`](Self::sum) of each vector.
    #[inline(always)]
    fn sums(vectors: [Self; LANES]) -> [f32; LANES] {
        let mut sums = [0.0; LANES];
        for i in 0..LANES {
            sums[i] = vectors[i].sum();
        }
        sums
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

    #[inline(always)]
    fn add(self, x: Self) -> Self {
        let mut sum = self.0;
        for lane in 0..LANES {
            sum[lane] += x.0[lane];
        }
        Self(sum)
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

/// Defines a function generic in its [`Vector`] (and a type of weights), compiled for every level and chosen at run time.
macro_rules! with_vectors {
    ($(#[$doc:meta])* $vis:vis fn $name:ident<$v:ident $(, $w:ident: $bound:path)?>($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)] // As in `vectorised`.
        $vis fn $name$(<$w: $bound>)?($($arg: $type),*) {
            #[inline(always)]
            fn body<$v: $crate::simd::Vector $(, $w: $bound)?>($($arg: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512$(<$w: $bound>)?($($arg: $type),*) {
                    body::<$crate::simd::x86::Avx512 $(, $w)?>($($arg),*);
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2$(<$w: $bound>)?($($arg: $type),*) {
                    body::<$crate::simd::x86::Avx2 $(, $w)?>($($arg),*);
                }
                match $crate::simd::level() {
                    // SAFETY: `level` has asked this processor for exactly these features.
                    $crate::simd::Level::Avx512 => return unsafe { avx512$(::<$w>)?($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => return unsafe { avx2$(::<$w>)?($($arg),*) },
                    $crate::simd::Level::Portable => {}
                }
            }
            body::<$crate::simd::Array<{ cfg!(target_arch = "aarch64") }> $(, $w)?>($($arg),*);
        }
    };
}
pub(crate) use with_vectors;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{on_every_level, values};

    with_vectors! {
        fn add_up<V>(found: &mut [f32], lanes: &[f32]) {
            let mut vectors = [V::splat(0.0); LANES];
            for (vector, lanes) in vectors.iter_mut().zip(lanes.chunks_exact(LANES)) {
                // SAFETY: a chunk is as long as a vector.
                *vector = unsafe { V::load(lanes.as_ptr()) };
            }
            let (together, single) = found.split_at_mut(LANES);
            together.copy_from_slice(&V::sums(vectors));
            for (sum, vector) in single.iter_mut().zip(vectors) {
                *sum = vector.sum();
            }
        }
    }

    #[test]
    fn sums_are_added_in_one_order_on_every_level() {
        let lanes: Vec<f32> = values(1, LANES * LANES, 1e3).iter().map(|x| *x as f32).collect();
        let expected: Vec<f32> = lanes
            .chunks_exact(LANES)
            .map(|lanes| sum_lanes(lanes.try_into().expect("as many")))
            .collect();
        on_every_level(|| {
            let mut found = [0.0; 2 * LANES];
            add_up(&mut found, &lanes);
            assert_eq!(found[..LANES], expected);
            assert_eq!(found[LANES..], expected);
        });
    }
}
