//! Vectors of f32 or f64: parameters, gradients and costates, flat on the host.

use burn::tensor::Element;
use rayon::prelude::*;
use std::ops::{Add, Mul, Sub};

/// Elements that one task works on. Sums are formed chunk by chunk and added in order, whatever the number of threads.
const CHUNK: usize = 1 << 14;

/// What parameters are made of while a trajectory is solved: f32 or f64. Narrower types cannot hold a difference of
/// gradients, so there is no implementation for them.
pub trait Number:
    Element + Copy + PartialOrd + Default + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    /// Bytes of one element.
    const BYTES: usize;

    /// The nearest number.
    fn of(value: f64) -> Self;

    /// The number, exactly.
    fn wide(self) -> f64;

    /// Puts the little-endian bytes at the end of `bytes`.
    fn write(self, bytes: &mut Vec<u8>);

    /// The number of `BYTES` little-endian bytes.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($type:ty, $bytes:literal) => {
        impl Number for $type {
            const BYTES: usize = $bytes;

            fn of(value: f64) -> Self {
                value as Self
            }

            fn wide(self) -> f64 {
                f64::from(self)
            }

            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }

            fn read(bytes: &[u8]) -> Self {
                let mut own = [0; $bytes];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }
        }
    };
}

number!(f32, 4);
number!(f64, 8);

/// ⟨a, b⟩, summed in f64.
pub fn dot<N: Number>(a: &[N], b: &[N]) -> f64 {
    let part = |(a, b): (&[N], &[N])| -> f64 { a.iter().zip(b).map(|(a, b)| a.wide() * b.wide()).sum() };
    // Waking threads takes longer than a short vector.
    if a.len() <= CHUNK {
        return part((a, b));
    }
    let parts: Vec<f64> = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)).map(part).collect();
    parts.into_iter().sum()
}

/// ‖a‖, Euclidean.
pub fn norm<N: Number>(a: &[N]) -> f64 {
    dot(a, a).sqrt()
}

/// `a += factor · b`, in f64, each element rounded once.
pub fn add_scaled<N: Number>(a: &mut [N], factor: f64, b: &[N]) {
    let part = |(a, b): (&mut [N], &[N])| {
        for (a, b) in a.iter_mut().zip(b) {
            *a = N::of(a.wide() + factor * b.wide());
        }
    };
    if a.len() <= CHUNK {
        return part((a, b));
    }
    a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(part);
}

/// Vectors as bytes: little-endian elements.
pub(crate) fn to_bytes<N: Number>(vector: &[N]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(vector.len() * N::BYTES);
    for number in vector {
        number.write(&mut bytes);
    }
    bytes
}

/// What [`to_bytes`] made.
pub(crate) fn from_bytes<N: Number>(bytes: &[u8]) -> Vec<N> {
    bytes.chunks_exact(N::BYTES).map(N::read).collect()
}
