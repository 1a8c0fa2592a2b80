//! Weights of examples by what they do for a target (learning law, in its practical form).

use super::budget::BlockCost;
use super::optimizer::Optimizer;
use super::sources::HostBatch;
use super::start::check_data;
use super::weighting::{Taken, Weighed, Weighting, item_weights};
use crate::flops::{forward_flops, training_flops};
use crate::gradients::{
    Displacement, PerExample, Vector, difference_dots, example_losses, gradient, holds_own_gradients,
    mean_weights, per_example_dot, per_example_dot_and_gradient,
};
use crate::model::{Decoder, ModelConfig};
use crate::reweight::{Contribution, Doubt, Precondition, Reweight};
use crate::tokens::{Batch, Block, Blocks, collate, longest};
use crate::{Context, Error, Kind, Precision, Result};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Weighs the examples of every step by ⟨∇L_target, ∇ℓ_n⟩, ℓ_n being the mean over the tokens of an example.
pub(crate) struct Reweighting {
    params: Reweight,
    target: Blocks,
    config: ModelConfig,
    /// Blocks of a pass over the target.
    batch_size: usize,
    /// Whether a step is plain cross-entropy over one pass, so that weighing and training can be one.
    plain: bool,
    /// Target blocks of a gradient.
    target_examples: usize,
    /// What the target's gradients cost, spread over the rows of the steps.
    refresh_flops_a_row: f64,
    context: Context,
    state: Mutex<State>,
}

/// Blocks of fewer ids are equal by chance.
const TELLING: usize = 7;

/// Refuses a target block that is also trained on: `target_overlap`.
fn check_overlap(target: &Blocks, data: &Blocks) -> Result<()> {
    let of_target = (0..target.len()).map(|i| target.get(i));
    let own: BTreeMap<Vec<u32>, u64> = of_target
        .filter(|block| block.ids.len() >= TELLING)
        .map(|block| (block.ids, block.index))
        .collect();
    for block in (0..data.len()).map(|i| data.get(i)) {
        if let Some(index) = own.get(&block.ids) {
            let message = format!(
                "block {index} of the target is also block {} of the data",
                block.index
            );
            return Err(Error::data("target_overlap", message)
                .hint("split before packing, so that they share nothing"));
        }
    }
    Ok(())
}

#[derive(Default)]
struct State {
    /// ∇L_target when it was last taken.
    direction: Option<Vector>,
    doubt: Doubt,
}

impl Reweighting {
    /// Opens the target. `plain`: a step is one pass, and its loss the mean negative log-likelihood of its tokens.
    ///
    /// # Errors
    /// `empty_target`, `wrong_kind`, `tokenizer_mismatch`, `target_overlap`; those of [`check_data`]; `unsupported_precision`.
    pub(crate) fn open(
        params: &Reweight,
        data: &Blocks,
        config: &ModelConfig,
        [batch_size, accumulate]: [usize; 2],
        plain: bool,
        context: &Context,
    ) -> Result<Self> {
        if context.precision == Precision::Bf16 && params.contribution == Contribution::Difference {
            let message = "differences of losses drown in the rounding of bfloat16 products";
            return Err(Error::data("unsupported_precision", message).hint(
                "take `contribution = \"per_example_dot\"`, or set `precision = \"f32\"` on this step",
            ));
        }
        let artifact = context.open(&params.target)?;
        if artifact.header.kind == Kind::Corpus {
            let message = format!(
                "`{}` is a corpus; a decoder is held against packed tokens",
                artifact.label
            );
            return Err(Error::data("wrong_kind", message).hint("pack it with `tokens.pack`"));
        }
        let empty = || Error::data("empty_target", format!("`{}` has no blocks", artifact.label));
        let target = Blocks::open(&artifact, context).map_err(|error| match error.code() {
            "empty_selection" => empty(),
            _ => error,
        })?;
        if target.is_empty() {
            return Err(empty());
        }
        if target.details().tokenizer != data.details().tokenizer {
            let message = "the target and the data were packed with different tokenizers";
            return Err(Error::data("tokenizer_mismatch", message));
        }
        check_data(&target, config)?;
        check_overlap(&target, data)?;
        let width = BlockCost::mean(&target, config).flops;
        let target_examples = params.target_examples(target.len() as usize, batch_size * accumulate);
        let rows = (batch_size * accumulate) as f64 * params.refresh_every as f64;
        Ok(Self {
            params: params.clone(),
            config: config.clone(),
            batch_size,
            plain: plain && context.precision != Precision::Bf16,
            target_examples,
            refresh_flops_a_row: width * target_examples as f64 / rows,
            target,
            context: context.clone(),
            state: Mutex::default(),
        })
    }

    /// The gradient of the target's turn, and the FLOPs that it took.
    fn direction(&self, model: &Decoder, optimizer: &Optimizer, step: u64) -> Result<(Vector, f64)> {
        let turn = self
            .params
            .turn(step, self.target.len() as usize, self.target_examples);
        let share = 1.0 / turn.len() as f64;
        let mut sum: Option<Vector> = None;
        let mut flops = 0.0;
        for chosen in turn.chunks(self.batch_size) {
            self.context.check_cancelled()?;
            let rows: Vec<Block> = chosen.iter().map(|&i| self.target.get(i as u64)).collect();
            let batch = collate(&rows, longest(&rows), self.target.details().eos_id)?;
            let weights = mean_weights(&batch)
                .into_iter()
                .map(|weight| f64::from(weight) * share);
            let part = gradient(model, &batch, weights.collect());
            sum = Some(match sum {
                Some(sum) => sum.plus(1.0, &part),
                None => part,
            });
            flops += rows
                .iter()
                .map(|row| training_flops(&self.config, row.ids.len() - 1))
                .sum::<f64>();
        }
        let direction = sum.expect("a target that is not empty");
        let direction = match self.params.precondition {
            Precondition::None => direction,
            Precondition::Adam => optimizer.preconditioned(model, direction),
        };
        Ok((direction, flops))
    }

    /// Contributions of every example of a batch.
    fn contributions(&self, model: &Decoder, direction: &Vector, batch: &Batch) -> Vec<f64> {
        let weights = mean_weights(batch);
        match self.params.contribution {
            Contribution::PerExampleDot => per_example_dot(model, direction, batch, &weights).dots,
            Contribution::Difference => {
                let length = Displacement::Length(self.params.difference_step);
                difference_dots(model, direction, length, |model: &Decoder| {
                    example_losses(model, batch, &weights)
                })
            }
        }
    }

    /// What contributions cost for a row, beside the model's own passes over it.
    fn flops_of_row(&self, width: usize) -> f64 {
        let forward = forward_flops(&self.config, width);
        match self.params.contribution {
            Contribution::PerExampleDot if self.plain => {
                // Nothing but what a step forms, or one more product for each matrix.
                let held = holds_own_gradients(self.batch_size, self.config.parameters());
                if held { 0.0 } else { forward }
            }
            Contribution::PerExampleDot => 3.0 * forward,
            Contribution::Difference => 2.0 * forward,
        }
    }

    /// The step's loss and gradient with the contributions, by one forward and backward pass.
    fn take(
        &self,
        model: &Decoder,
        direction: &Vector,
        pass: &HostBatch,
        doubt: &mut Doubt,
    ) -> Result<Weighed> {
        let batch = &pass.batch;
        let own = item_weights(pass);
        let row_sums: Vec<f64> = own
            .chunks(batch.width)
            .map(|row| row.iter().map(|weight| f64::from(*weight)).sum())
            .collect();
        let mut made = None;
        let (found, mut gradient_of_step) = per_example_dot_and_gradient(
            model,
            direction,
            batch,
            &mean_weights(batch),
            |found: &PerExample| {
                let factors = self.params.weigh().factors(&found.dots);
                let shares: Vec<f64> = row_sums
                    .iter()
                    .enumerate()
                    .map(|(n, sum)| factor(factors.as_deref(), n) * sum)
                    .collect();
                let total: f64 = shares.iter().sum();
                let shares: Vec<f64> = shares.into_iter().map(|share| share / total).collect();
                made = Some((factors, shares.clone()));
                shares
            },
        );
        let (factors, shares) = made.expect("factors are asked for once");
        doubt.note(factors.is_none())?;
        if self.params.match_norm {
            let total: f64 = row_sums.iter().sum();
            let equal = own.iter().map(|weight| f64::from(*weight) / total).collect();
            let wanted = gradient(model, batch, equal).norm();
            let norm = gradient_of_step.norm();
            if norm > 0.0 {
                gradient_of_step = gradient_of_step.times(wanted / norm);
            }
        }
        let loss = found
            .losses
            .iter()
            .zip(&shares)
            .map(|(loss, share)| loss * share)
            .sum();
        Ok(Weighed {
            notes: notes(factors.as_deref()),
            taken: Some(Taken {
                loss,
                gradient: gradient_of_step,
            }),
            ..Weighed::by(vec![scaled(own, batch.width, |n| factor(factors.as_deref(), n))])
        })
    }
}

/// What an example counts; 1 where contributions say nothing.
fn factor(factors: Option<&[f64]>, n: usize) -> f64 {
    factors.map_or(1.0, |factors| factors[n])
}

/// Weights of tokens, each row's times a factor.
fn scaled(mut weights: Vec<f32>, width: usize, factor: impl Fn(usize) -> f64) -> Vec<f32> {
    for (n, row) in weights.chunks_mut(width.max(1)).enumerate() {
        let factor = factor(n) as f32;
        for weight in row {
            *weight *= factor;
        }
    }
    weights
}

/// Share of the examples that are used, and whether all counted alike for want of contributions.
fn notes(factors: Option<&[f64]>) -> Vec<(&'static str, f64)> {
    let used = factors.map_or(1.0, |factors| {
        factors.iter().filter(|factor| **factor > 0.0).count() as f64 / factors.len() as f64
    });
    vec![
        ("examples_used", used),
        ("examples_alike", f64::from(u8::from(factors.is_none()))),
    ]
}

impl Weighting for Reweighting {
    fn weigh(
        &self,
        model: &Decoder,
        optimizer: &Optimizer,
        step: u64,
        passes: &[HostBatch],
    ) -> Result<Weighed> {
        if step < self.params.warmup_steps {
            return Ok(Weighed::by(passes.iter().map(item_weights).collect()));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut flops = 0.0;
        if self.params.refreshes_at(step) {
            let (direction, cost) = self.direction(model, optimizer, step)?;
            flops = cost;
            state.direction = Some(direction);
        }
        let State { direction, doubt } = &mut *state;
        let direction = direction
            .as_ref()
            .expect("a training goes on where it is taken anew");
        let lengths = passes.iter().flat_map(|pass| pass.batch.row_lengths());
        flops += lengths.map(|length| self.flops_of_row(length)).sum::<f64>();
        let weighed = if self.plain {
            self.take(model, direction, &passes[0], doubt)?
        } else {
            let mut contributions = Vec::new();
            for pass in passes {
                self.context.check_cancelled()?;
                contributions.extend(self.contributions(model, direction, &pass.batch));
            }
            let factors = self.params.weigh().factors(&contributions);
            doubt.note(factors.is_none())?;
            let mut first = 0;
            let weights = passes.iter().map(|pass| {
                let before = first;
                first += pass.batch.rows;
                scaled(item_weights(pass), pass.batch.width, |n| {
                    factor(factors.as_deref(), before + n)
                })
            });
            Weighed {
                notes: notes(factors.as_deref()),
                ..Weighed::by(weights.collect())
            }
        };
        Ok(Weighed { flops, ..weighed })
    }

    fn resumes_at(&self, step: u64) -> bool {
        step <= self.params.warmup_steps || self.params.refreshes_at(step)
    }

    fn flops_a_row(&self, width: usize) -> f64 {
        self.flops_of_row(width) + self.refresh_flops_a_row
    }

    fn told(&self) -> Option<String> {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .doubt
            .told()
    }
}
