//! What a term sees.

use super::super::sources::HostBatch;
use super::params::Reduction;
use burn::tensor::{Int, Tensor, TensorCreationOptions, TensorData};
use lyceum_kernels::{Products, Projection};

/// A pass of the model over a batch. `n` rows are the positions whose labels count; of packed tokens, all positions.
pub(crate) struct Pass<'a> {
    /// What the model read.
    pub(crate) inputs_bt: Tensor<2, Int>,
    /// Final hidden states.
    pub(crate) hidden_nd: Tensor<2>,
    /// Output head.
    pub(crate) head_vd: Tensor<2>,
    /// Its bias, if the family has one.
    pub(crate) head_bias_v: Option<Tensor<1>>,
    /// Next tokens.
    pub(crate) labels_n: Tensor<1, Int>,
    /// How matrix products are formed.
    pub(crate) products: Products,
    /// The batch as its source made it.
    pub(crate) batch: &'a HostBatch,
    /// Weights of its tokens.
    pub(crate) weights: &'a Weights,
    /// Whether terms note what their losses come to: not where there is only one.
    pub(crate) noted: bool,
    /// Which of all positions the rows are, ascending; none: all.
    pub(crate) places: Option<Vec<usize>>,
}

/// Weights of a pass's tokens, and what those of the whole step add up to.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    /// Of every token, row-major `[rows, width]`.
    pub(crate) of_tokens: Vec<f32>,
    /// Their sum over the step.
    pub(crate) total: f64,
    /// The sum over the step's rows of each row's mean weight.
    pub(crate) rows: f64,
}

impl Weights {
    /// Weights of every pass of a step.
    pub(crate) fn of_step(passes: Vec<Vec<f32>>, widths: &[usize]) -> Vec<Self> {
        let total = passes.iter().flatten().map(|weight| f64::from(*weight)).sum();
        let rows = passes.iter().zip(widths);
        let rows = rows
            .flat_map(|(weights, &width)| weights.chunks(width.max(1)))
            .map(row_mean)
            .sum();
        let of_pass = |of_tokens| Self {
            of_tokens,
            total,
            rows,
        };
        passes.into_iter().map(of_pass).collect()
    }

    /// Tokens that count.
    pub(crate) fn counted(&self) -> usize {
        self.of_tokens.iter().filter(|weight| **weight > 0.0).count()
    }

    /// The weights by which a sum over tokens is what the reduction says, row-major `[rows, width]`.
    pub(crate) fn reduced(&self, reduction: Reduction, width: usize) -> Vec<f64> {
        let by = |factor: f64| move |weight: &f32| f64::from(*weight) / factor;
        match reduction {
            Reduction::TokenMean => self.of_tokens.iter().map(by(self.total)).collect(),
            Reduction::Sum => self.of_tokens.iter().map(by(1.0)).collect(),
            Reduction::SequenceMean => {
                let rows = self.of_tokens.chunks(width.max(1));
                rows.flat_map(|row| row.iter().map(by(counted(row) * self.rows)))
                    .collect()
            }
        }
    }
}

fn counted(row: &[f32]) -> f64 {
    row.iter().filter(|weight| **weight > 0.0).count().max(1) as f64
}

fn row_mean(row: &[f32]) -> f64 {
    row.iter().map(|weight| f64::from(*weight)).sum::<f64>() / counted(row)
}

impl Pass<'_> {
    /// The rows and the output head.
    pub(crate) fn projection(&self) -> Projection {
        Projection {
            hidden_nd: self.hidden_nd.clone(),
            head_vd: self.head_vd.clone(),
            bias_v: self.head_bias_v.clone(),
        }
    }

    /// This pass's share of the step's weight.
    pub(crate) fn share(&self) -> f64 {
        let ours = self.weights.of_tokens.iter().map(|weight| f64::from(*weight));
        ours.sum::<f64>() / self.weights.total
    }

    /// Weights of the rows.
    pub(crate) fn weights_n(&self, reduction: Reduction) -> Tensor<1> {
        self.tensor(self.of_rows(self.weights.reduced(reduction, self.batch.batch.width)))
    }

    /// What the rows have of numbers of all positions, row-major `[rows, width]`.
    pub(crate) fn of_rows(&self, of_all: Vec<f64>) -> Vec<f64> {
        match &self.places {
            None => of_all,
            Some(places) => places.iter().map(|&place| of_all[place]).collect(),
        }
    }

    /// Numbers of the rows, outside any graph.
    pub(crate) fn tensor(&self, of_rows: Vec<f64>) -> Tensor<1> {
        let options = TensorCreationOptions::new(self.hidden_nd.device().without_autodiff())
            .with_dtype(self.hidden_nd.dtype());
        let count = of_rows.len();
        Tensor::from_data(TensorData::new(of_rows, [count]), options)
    }

    /// Which of all positions the rows are.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        let all = 0..self
            .places
            .as_ref()
            .map_or(self.weights.of_tokens.len(), Vec::len);
        all.map(|row| self.places.as_ref().map_or(row, |places| places[row]))
    }
}

/// Positions that count.
pub(crate) fn places(weights: &[f32]) -> Vec<usize> {
    let all = weights.iter().enumerate();
    all.filter(|(_, weight)| **weight > 0.0)
        .map(|(place, _)| place)
        .collect()
}
