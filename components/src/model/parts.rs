//! Where the parts of a decoder come from: drawn at random, taken from files, or only looked for.

use super::fill::{self, Held};
use super::names::Piece;
use super::stored::{Stored, View};
use crate::random::Stream;
use crate::{Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};
use std::marker::PhantomData;

const REPLACE: &str = "config.json and the weights are not of one model: fetch both again, or delete the artifact's \
                       folder, and the next run makes it again";

/// Where the parts of a decoder come from.
pub(super) trait Parts {
    /// A matrix `[inputs, outputs of all pieces]`.
    fn matrix(&mut self, prefix: &str, pieces: &[Piece], inputs: usize) -> Result<Tensor<2>>;
    /// The bias of such a matrix.
    fn bias(&mut self, prefix: &str, pieces: &[Piece]) -> Result<Tensor<1>>;
    /// A table that is looked up by row.
    fn table(&mut self, module: &str, rows: usize, width: usize) -> Result<Tensor<2>>;
    /// The scale of a norm.
    fn scale(&mut self, module: &str, size: usize) -> Result<Tensor<1>>;
    /// The shift of a norm, or a bias that stands alone.
    fn shift(&mut self, module: &str, size: usize) -> Result<Tensor<1>>;
}

/// Parts made at random: normal matrices, norms that change nothing, no biases.
pub(super) struct Random<'a> {
    pub(super) stream: &'a Stream,
    pub(super) range: f64,
    pub(super) dtype: DType,
    pub(super) device: &'a Device,
    /// Matrices made; each draws from a stream of its own, so that none depends on the order in which they are made.
    pub(super) made: u64,
}

impl Random<'_> {
    fn tensor<const D: usize>(&self, values: Vec<f64>, shape: [usize; D]) -> Tensor<D> {
        let options = TensorCreationOptions::new(self.device.clone()).with_dtype(self.dtype);
        Tensor::from_data(TensorData::new(values, shape), options)
    }

    fn normal(&mut self, rows: usize, columns: usize) -> Tensor<2> {
        self.made += 1;
        let mut stream = self.stream.at(self.made);
        let values = (0..rows * columns)
            .map(|_| stream.normal() * self.range)
            .collect();
        self.tensor(values, [rows, columns])
    }
}

impl Parts for Random<'_> {
    fn matrix(&mut self, _: &str, pieces: &[Piece], inputs: usize) -> Result<Tensor<2>> {
        Ok(self.normal(inputs, outputs(pieces)))
    }
    fn bias(&mut self, _: &str, pieces: &[Piece]) -> Result<Tensor<1>> {
        self.shift("", outputs(pieces))
    }
    fn table(&mut self, _: &str, rows: usize, width: usize) -> Result<Tensor<2>> {
        Ok(self.normal(rows, width))
    }
    fn scale(&mut self, _: &str, size: usize) -> Result<Tensor<1>> {
        Ok(self.tensor(vec![1.0; size], [size]))
    }
    fn shift(&mut self, _: &str, size: usize) -> Result<Tensor<1>> {
        Ok(self.tensor(vec![0.0; size], [size]))
    }
}

fn outputs(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.outputs).sum()
}

/// Takes a tensor, if it has the shape that the configuration says. Files of a model without its head call everything by
/// what comes after the first dot.
fn take<T>(stored: &dyn Stored, name: &str, shape: &[usize], go: impl FnOnce(View) -> T) -> Result<T> {
    let bare = name.split_once('.').map_or(name, |(_, bare)| bare);
    for name in [name, bare] {
        let Some(view) = stored.find(name)? else {
            continue;
        };
        if view.shape != shape {
            let found = view.shape;
            let message = format!("tensor `{name}` is {found:?}; the configuration says {shape:?}");
            let error = Error::data("bad_shape", message).hint(REPLACE);
            return Err(match stored.file_of(name) {
                Some(file) => error.in_file(file),
                None => error,
            });
        }
        let value = go(view);
        stored.release(name);
        return Ok(value);
    }
    Err(Error::data("missing_tensor", format!("there is no tensor `{name}`")).hint(REPLACE))
}

/// Parts that are only looked for: everything has to be there in its shape, and nothing is read.
pub(super) struct Check<'a>(pub(super) &'a dyn Stored);

impl Check<'_> {
    fn nothing<const D: usize>() -> Tensor<D> {
        Tensor::zeros([0; D], &Device::flex())
    }
}

impl Parts for Check<'_> {
    fn matrix(&mut self, prefix: &str, pieces: &[Piece], inputs: usize) -> Result<Tensor<2>> {
        for piece in pieces {
            let name = format!("{prefix}{}.weight", piece.module);
            take(self.0, &name, &piece.shape(inputs), |_| ())?;
        }
        Ok(Self::nothing())
    }
    fn bias(&mut self, prefix: &str, pieces: &[Piece]) -> Result<Tensor<1>> {
        for piece in pieces {
            self.shift(&format!("{prefix}{}", piece.module), piece.outputs)?;
        }
        Ok(Self::nothing())
    }
    fn table(&mut self, module: &str, rows: usize, width: usize) -> Result<Tensor<2>> {
        take(self.0, &format!("{module}.weight"), &[rows, width], |_| {
            Self::nothing()
        })
    }
    fn scale(&mut self, module: &str, size: usize) -> Result<Tensor<1>> {
        take(self.0, &format!("{module}.weight"), &[size], |_| Self::nothing())
    }
    fn shift(&mut self, module: &str, size: usize) -> Result<Tensor<1>> {
        take(self.0, &format!("{module}.bias"), &[size], |_| Self::nothing())
    }
}

/// Parts that are stored: matrices of `M`, vectors of `V`.
pub(super) struct Files<'a, M, V> {
    pub(super) stored: &'a dyn Stored,
    pub(super) device: &'a Device,
    pub(super) held: PhantomData<(M, V)>,
}

impl<M: Held, V: Held> Files<'_, M, V> {
    fn vector(&self, name: &str, size: usize) -> Result<Tensor<1>> {
        let values = take(self.stored, name, &[size], fill::copied::<V>)?;
        Ok(fill::tensor(values, [size], self.device))
    }
}

impl<M: Held, V: Held> Parts for Files<'_, M, V> {
    fn matrix(&mut self, prefix: &str, pieces: &[Piece], inputs: usize) -> Result<Tensor<2>> {
        let across = outputs(pieces);
        let mut values = Vec::new();
        let mut from = 0;
        for piece in pieces {
            let name = format!("{prefix}{}.weight", piece.module);
            take(self.stored, &name, &piece.shape(inputs), |view| {
                // Room is made only once the first stored shape was found to be right.
                if values.is_empty() {
                    values = vec![M::default(); inputs * across];
                }
                fill::place(&mut values, across, from, view, piece);
            })?;
            from += piece.outputs;
        }
        Ok(fill::tensor(values, [inputs, across], self.device))
    }

    fn bias(&mut self, prefix: &str, pieces: &[Piece]) -> Result<Tensor<1>> {
        let mut values = Vec::new();
        for piece in pieces {
            let name = format!("{prefix}{}.bias", piece.module);
            let from = values.len();
            take(self.stored, &name, &[piece.outputs], |view| {
                values.resize(from + piece.outputs, V::default());
                fill::place_bias(&mut values[from..], view, piece);
            })?;
        }
        let size = values.len();
        Ok(fill::tensor(values, [size], self.device))
    }

    fn table(&mut self, module: &str, rows: usize, width: usize) -> Result<Tensor<2>> {
        let values = take(
            self.stored,
            &format!("{module}.weight"),
            &[rows, width],
            fill::copied::<M>,
        )?;
        Ok(fill::tensor(values, [rows, width], self.device))
    }

    fn scale(&mut self, module: &str, size: usize) -> Result<Tensor<1>> {
        self.vector(&format!("{module}.weight"), size)
    }

    fn shift(&mut self, module: &str, size: usize) -> Result<Tensor<1>> {
        self.vector(&format!("{module}.bias"), size)
    }
}
