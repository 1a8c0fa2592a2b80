//! Stored numbers into tensors: converted, turned, put in their places, on all threads.

use super::names::{Layout, Piece};
use super::stored::{Float, View};
use burn::tensor::{Element, Tensor, TensorCreationOptions, TensorData};
use half::{bf16, f16};
use rayon::prelude::*;

/// Rows of a target that one task fills, and the side of the squares that are turned at once.
const BAND: usize = 32;

/// A type that tensors are made of.
pub(crate) trait Held: Element + Default {
    fn from_f64(value: f64) -> Self;
}

impl Held for f32 {
    fn from_f64(value: f64) -> Self {
        value as Self
    }
}

impl Held for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
}

impl Held for bf16 {
    fn from_f64(value: f64) -> Self {
        // Every stored type but f64 is exact in f32, and so rounded once.
        Self::from_f32(value as f32)
    }
}

impl Held for f16 {
    fn from_f64(value: f64) -> Self {
        Self::from_f64(value)
    }
}

/// Calls `$go` with the function that reads element `i` of `$view` as f64, made for the type it is stored in.
macro_rules! reading {
    ($view:expr, $at:ident => $go:expr) => {{
        let bytes = $view.bytes;
        match $view.dtype {
            Float::F64 => {
                let $at = |i: usize| f64::from_le_bytes(chunk(bytes, i));
                $go
            }
            Float::F32 => {
                let $at = |i: usize| f64::from(f32::from_le_bytes(chunk(bytes, i)));
                $go
            }
            Float::F16 => {
                let $at = |i: usize| f64::from(f16::from_le_bytes(chunk(bytes, i)));
                $go
            }
            Float::Bf16 => {
                let $at = |i: usize| f64::from(bf16::from_le_bytes(chunk(bytes, i)));
                $go
            }
        }
    }};
}

#[inline]
fn chunk<const N: usize>(bytes: &[u8], i: usize) -> [u8; N] {
    let chunk = &bytes[i * N..][..N];
    chunk.try_into().expect("N bytes")
}

/// All numbers in their order.
pub(crate) fn copied<T: Held>(view: View) -> Vec<T> {
    let mut target = vec![T::default(); view.shape.iter().product()];
    let size = BAND * 1024;
    reading!(view, at => target.par_chunks_mut(size).enumerate().for_each(|(part, target)| {
        for (i, value) in target.iter_mut().enumerate() {
            *value = T::from_f64(at(part * size + i));
        }
    }));
    target
}

/// A stored matrix into columns `from ..` of `target`, whose rows are inputs and `across` wide.
pub(crate) fn place<T: Held>(target: &mut [T], across: usize, from: usize, view: View, piece: &Piece) {
    let inputs = target.len() / across;
    let outputs = piece.outputs;
    reading!(view, at => target.par_chunks_mut(BAND * across).enumerate().for_each(|(band, target)| {
        let first = band * BAND;
        if piece.layout == Layout::InputsFirst {
            for (row, target) in target.chunks_exact_mut(across).enumerate() {
                for output in 0..outputs {
                    target[from + output] = T::from_f64(at((first + row) * outputs + output));
                }
            }
            return;
        }
        let rows = target.len() / across;
        for start in (0..outputs).step_by(BAND) {
            for stored in start..outputs.min(start + BAND) {
                let column = from + piece.ours(stored);
                for row in 0..rows {
                    target[row * across + column] = T::from_f64(at(stored * inputs + first + row));
                }
            }
        }
    }));
}

/// A stored bias into its place in `target`.
pub(crate) fn place_bias<T: Held>(target: &mut [T], view: View, piece: &Piece) {
    reading!(view, at => for stored in 0..piece.outputs {
        target[piece.ours(stored)] = T::from_f64(at(stored));
    });
}

/// A tensor of these values, without copying them on the CPU.
pub(crate) fn tensor<const D: usize, T: Held>(
    values: Vec<T>,
    shape: [usize; D],
    device: &burn::tensor::Device,
) -> Tensor<D> {
    let options = TensorCreationOptions::new(device.clone()).with_dtype(T::dtype());
    Tensor::from_data(TensorData::new(values, shape), options)
}
