//! From a budget to a number of steps.

use super::params::Budget;
use crate::flops::training_flops;
use crate::model::ModelConfig;
use crate::tokens::Blocks;
use crate::{Error, Result};

/// What an average block costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BlockCost {
    /// Tokens predicted.
    pub(crate) tokens: f64,
    /// FLOPs of training on it.
    pub(crate) flops: f64,
}

impl BlockCost {
    /// The average over all blocks.
    pub(crate) fn mean(blocks: &Blocks, config: &ModelConfig) -> Self {
        let count = blocks.len().max(1) as f64;
        let mut sum = Self {
            tokens: 0.0,
            flops: 0.0,
        };
        for position in 0..blocks.len() {
            let cost = Self::of(blocks.get(position).ids.len(), config);
            sum.tokens += cost.tokens;
            sum.flops += cost.flops;
        }
        Self {
            tokens: sum.tokens / count,
            flops: sum.flops / count,
        }
    }

    /// A block of `length` ids.
    pub(crate) fn of(length: usize, config: &ModelConfig) -> Self {
        let width = length.saturating_sub(1);
        Self {
            tokens: width as f64,
            flops: training_flops(config, width),
        }
    }
}

/// Steps that a budget pays for, at `blocks_a_step` blocks each; `matched` are the FLOPs of the model to match.
///
/// # Errors
/// `budget_too_small` if it does not pay for one step.
pub(crate) fn steps(
    budget: &Budget,
    mean: BlockCost,
    blocks_a_step: f64,
    matched: Option<f64>,
) -> Result<u64> {
    if let Some(steps) = budget.steps {
        return Ok(steps);
    }
    if let Some(tokens) = budget.tokens {
        return Ok((tokens as f64 / (mean.tokens * blocks_a_step)).ceil() as u64);
    }
    let flops = budget.flops.or(matched).unwrap_or_default();
    let steps = (flops / (mean.flops * blocks_a_step)).round() as u64;
    if steps == 0 {
        let one = mean.flops * blocks_a_step;
        let message = format!("the budget of {flops:.3e} FLOPs does not pay for one step of {one:.3e}");
        return Err(Error::data("budget_too_small", message).hint("raise the budget, or lower `batch_size`"));
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_budget_becomes_steps() {
        let mean = BlockCost {
            tokens: 100.0,
            flops: 1e6,
        };
        let of = |budget: Budget, matched| steps(&budget, mean, 16.0, matched);
        assert_eq!(
            of(
                Budget {
                    steps: Some(7),
                    ..Budget::default()
                },
                None
            )
            .unwrap(),
            7
        );
        assert_eq!(
            of(
                Budget {
                    tokens: Some(1601),
                    ..Budget::default()
                },
                None
            )
            .unwrap(),
            2
        );
        assert_eq!(
            of(
                Budget {
                    flops: Some(3.3e7),
                    ..Budget::default()
                },
                None
            )
            .unwrap(),
            2
        );
        assert_eq!(of(Budget::default(), Some(4.8e7)).unwrap(), 3);
        assert_eq!(
            of(
                Budget {
                    flops: Some(1.0),
                    ..Budget::default()
                },
                None
            )
            .unwrap_err()
            .code(),
            "budget_too_small"
        );
    }
}
