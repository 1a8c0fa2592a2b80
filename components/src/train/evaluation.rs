//! The loss on other data along the way, and stopping when it no longer falls.

use super::checkpoint::Position;
use super::curve::Point;
use super::params::EarlyStopping;
use super::strategy::StepStrategy;
use crate::Result;
use crate::model::Decoder;
use crate::tokens::{Batch, Block, Blocks, collate, longest};
use burn::module::Module;
use burn::train::InferenceStep;

impl StepStrategy {
    /// Whether it is time to evaluate, and not done yet.
    pub(super) fn evaluation_is_due(&self, position: &Position, points: &[Point]) -> bool {
        let Some((_, every)) = &self.composition.evaluation else {
            return false;
        };
        let step = position.step;
        let time = step > 0 && (step.is_multiple_of(*every) || step == self.composition.schedule.total);
        let done = || {
            let mut here = points.iter().rev().take_while(|point| point.step == step);
            here.any(|point| point.split == "valid")
        };
        time && !done()
    }

    /// Evaluates; says whether to stop early.
    pub(super) fn evaluate_and_judge(
        &self,
        model: &Decoder,
        position: &mut Position,
        points: &mut Vec<Point>,
    ) -> Result<bool> {
        let Some((blocks, _)) = &self.composition.evaluation else {
            return Ok(false);
        };
        let loss = self.evaluate(&model.clone().valid(), blocks)?;
        let (step, tokens) = (position.step, position.tokens);
        points.push(Point {
            step,
            split: "valid",
            metric: "loss",
            value: loss,
            tokens,
        });
        let Some(EarlyStopping { patience, min_delta }) = &self.composition.early_stopping else {
            return Ok(false);
        };
        if position.best.is_none_or(|best| loss < best - min_delta) {
            position.best = Some(loss);
            position.since_best = 0;
        } else {
            position.since_best += 1;
        }
        Ok(position.since_best >= *patience)
    }

    /// Mean negative log-likelihood of a token.
    fn evaluate(&self, model: &Decoder, blocks: &Blocks) -> Result<f64> {
        let (mut loss, mut tokens) = (0.0, 0.0);
        let rows = self.composition.batch_size as u64;
        for start in (0..blocks.len()).step_by(rows as usize) {
            self.context.check_cancelled()?;
            let positions = start..(start + rows).min(blocks.len());
            let rows: Vec<Block> = positions.map(|i| blocks.get(i)).collect();
            let longest = longest(&rows);
            let details = blocks.details();
            let batch: Batch = collate(&rows, longest.min(details.context), details.eos_id)?;
            let output = InferenceStep::step(model, batch);
            loss += output.loss;
            tokens += output.tokens;
        }
        Ok(loss / tokens)
    }
}
