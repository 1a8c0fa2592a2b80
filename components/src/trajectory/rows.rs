//! A decoder as a function of one flat vector of parameters, and the mean losses of single sequences under it.

use super::Number;
use crate::gradients::{Vector, cross_entropy, mean_weights, per_example_dot};
use crate::model::{Decoder, token_nll};
use crate::tokens::{Batch, Blocks, collate};
use crate::{Error, Result};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorCreationOptions, TensorData};
use std::marker::PhantomData;

/// Sequences of token ids, asked for one by one.
pub trait Sequences {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sequence `i`: inputs and, shifted by one, labels.
    fn get(&self, i: usize) -> Vec<u32>;
}

impl Sequences for Vec<Vec<u32>> {
    fn len(&self) -> usize {
        self.len()
    }

    fn get(&self, i: usize) -> Vec<u32> {
        self[i].clone()
    }
}

/// Blocks of packed tokens, by their positions.
#[derive(Debug)]
pub(crate) struct BlocksAt<'a> {
    pub(crate) blocks: &'a Blocks,
    pub(crate) positions: Vec<u64>,
}

impl Sequences for BlocksAt<'_> {
    fn len(&self) -> usize {
        self.positions.len()
    }

    fn get(&self, i: usize) -> Vec<u32> {
        self.blocks.get(self.positions[i]).ids
    }
}

/// Called after every pass through the model with the tokens it read; its error stops the work.
pub type Tick<'a> = Box<dyn Fn(u64) -> Result<()> + 'a>;

/// A decoder whose parameters are given as one vector, in the order of its fields.
pub struct RowModel<'a, N> {
    /// On an autodiff device.
    tracked: Decoder,
    /// Its copy outside any graph.
    plain: Decoder,
    device: Device,
    /// The token that sequences are padded with, after which nothing is scored.
    pad: u32,
    /// Sequences of one pass.
    batch_size: usize,
    parameters: usize,
    tick: Tick<'a>,
    number: PhantomData<N>,
}

impl<'a, N: Number> RowModel<'a, N> {
    /// A decoder held in `N` on an autodiff device; `batch_size` sequences, padded with `pad`, go through it together.
    pub fn new(decoder: Decoder, pad: u32, batch_size: usize, tick: Tick<'a>) -> Self {
        let mut count = Count(0);
        decoder.visit(&mut count);
        Self {
            plain: decoder.clone().valid(),
            device: decoder.device(),
            tracked: decoder,
            pad,
            batch_size,
            parameters: count.0,
            tick,
            number: PhantomData,
        }
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// The parameters it was made with.
    pub fn start(&self) -> Vec<N> {
        let mut read = Read(Vec::with_capacity(self.parameters));
        self.plain.visit(&mut read);
        read.0
    }

    /// Σ weight · l over the chosen sequences, l being the mean loss of a sequence's labels that count, with its gradient
    /// in `gradient`. Sequences of weight 0 are not read.
    pub fn gradient(
        &self,
        theta: &[N],
        sequences: &dyn Sequences,
        chosen: &[(usize, f64)],
        gradient: &mut [N],
    ) -> Result<f64> {
        gradient.fill(N::default());
        let decoder = with(&self.tracked, theta);
        let chosen: Vec<_> = chosen.iter().filter(|(_, weight)| *weight != 0.0).collect();
        let mut sum = 0.0;
        for rows in chosen.chunks(self.batch_size) {
            let batch = self.batch(rows.iter().map(|&&(i, _)| sequences.get(i)))?;
            let weights = rows
                .iter()
                .zip(batch.mask.chunks(batch.width))
                .flat_map(|((_, weight), mask)| {
                    let each = weight / mask.iter().map(|&mask| f64::from(mask)).sum::<f64>();
                    mask.iter().map(move |&mask| f64::from(mask) * each)
                })
                .collect();
            sum += Self::pass(&decoder, &batch, weights, gradient);
            (self.tick)(batch.scored())?;
        }
        Ok(sum)
    }

    /// One forward and backward pass: gives Σ weight · nll over tokens, and adds its gradient.
    fn pass(decoder: &Decoder, batch: &Batch, weights: Vec<f64>, gradient: &mut [N]) -> f64 {
        let entropy = cross_entropy(decoder, batch, weights.clone());
        let nll = entropy.nll_n.into_data();
        let weighted = nll
            .iter::<f64>()
            .zip(&weights)
            .filter(|(_, weight)| **weight != 0.0);
        let sum = weighted.map(|(nll, weight)| nll * weight).sum();
        decoder.visit(&mut AddGradients {
            gradients: &entropy.gradients,
            sum: gradient,
            at: 0,
        });
        sum
    }

    /// The mean loss of each of the first `losses.len()` sequences.
    pub fn losses(&self, theta: &[N], sequences: &dyn Sequences, losses: &mut [f64]) -> Result<()> {
        let decoder = with(&self.plain, theta);
        let mut first = 0;
        for losses in losses.chunks_mut(self.batch_size) {
            let batch = self.batch((first..first + losses.len()).map(|i| sequences.get(i)))?;
            let nll = token_nll(&decoder, &batch, &self.device);
            let rows = nll.chunks(batch.width).zip(batch.mask.chunks(batch.width));
            for (loss, (nll, mask)) in losses.iter_mut().zip(rows) {
                let scored: f64 = mask.iter().map(|&mask| f64::from(mask)).sum();
                *loss = nll.iter().sum::<f64>() / scored;
            }
            first += losses.len();
            (self.tick)(batch.scored())?;
        }
        Ok(())
    }

    /// ⟨v, ∇l⟩ of each of the first `products.len()` sequences: exact, by one forward and one backward pass over all of them.
    pub fn products(
        &self,
        theta: &[N],
        v: &[N],
        sequences: &dyn Sequences,
        products: &mut [f64],
    ) -> Result<()> {
        let decoder = with(&self.plain, theta);
        let direction = Vector::parameters(&with(&self.plain, v));
        let mut first = 0;
        for products in products.chunks_mut(self.batch_size) {
            let batch = self.batch((first..first + products.len()).map(|i| sequences.get(i)))?;
            let found = per_example_dot(&decoder, &direction, &batch, &mean_weights(&batch));
            products.copy_from_slice(&found.dots);
            first += products.len();
            (self.tick)(batch.scored())?;
        }
        Ok(())
    }

    fn batch(&self, sequences: impl Iterator<Item = Vec<u32>>) -> Result<Batch> {
        let ids: Vec<Vec<u32>> = sequences.collect();
        let longest = ids.iter().map(Vec::len).max().unwrap_or_default();
        collate(&ids, longest.saturating_sub(1), self.pad)
    }
}

/// `like` with the parameters `theta`.
fn with<N: Number>(like: &Decoder, theta: &[N]) -> Decoder {
    like.clone().map(&mut Fill { theta, at: 0 })
}

/// The mistake of a precision whose differences drown in rounding: `unsupported_precision`.
pub(crate) fn too_narrow() -> Error {
    Error::data(
        "unsupported_precision",
        "the solver takes differences of gradients, which bfloat16 products are too coarse for",
    )
    .hint("set `precision = \"f32\"` or `\"f64\"` on this step")
}

struct Count(usize);

impl ModuleVisitor for Count {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 += size(&param.val());
    }
}

fn size<const D: usize>(tensor: &Tensor<D>) -> usize {
    tensor.dims().iter().product()
}

fn numbers<N: Number, const D: usize>(tensor: Tensor<D>) -> Vec<N> {
    let data = tensor.into_data().convert::<N>();
    data.try_into_vec::<N>().expect("converted above")
}

struct Read<N>(Vec<N>);

impl<N: Number> ModuleVisitor for Read<N> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(numbers::<N, D>(param.val()));
    }
}

struct AddGradients<'a, N> {
    gradients: &'a GradientsParams,
    sum: &'a mut [N],
    at: usize,
}

impl<N: Number> ModuleVisitor for AddGradients<'_, N> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let end = self.at + size(&param.val());
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            for (sum, g) in self.sum[self.at..end].iter_mut().zip(numbers::<N, D>(gradient)) {
                *sum = *sum + g;
            }
        }
        self.at = end;
    }
}

struct Fill<'a, N> {
    theta: &'a [N],
    at: usize,
}

impl<N: Number> ModuleMapper for Fill<'_, N> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let end = self.at + size(&tensor);
        let data = TensorData::new(self.theta[self.at..end].to_vec(), tensor.dims());
        self.at = end;
        let options = TensorCreationOptions::new(tensor.device()).with_dtype(tensor.dtype());
        let filled = Tensor::from_data(data, options);
        let filled = if tensor.is_autodiff() {
            filled.require_grad()
        } else {
            filled
        };
        Param::from_mapped_value(id, filled, mapper)
    }
}
