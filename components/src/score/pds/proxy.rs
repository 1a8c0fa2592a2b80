//! `score.pds_proxy`: the solver of PDS. What a little more of a block in every step of a short training would do to the
//! loss on a target, summed over the training.

use super::params::{Keep, ProxyParams};
use super::solve::Solver;
use crate::component::{Component, Estimate, Output, Problem, Seeding, Size, Sizes, main_output};
use crate::trajectory::{Plan, too_narrow};
use crate::{Context, Kind, Precision, Result};
use std::collections::BTreeMap;

/// How much of each of some blocks a training wants: `score` is minus the derivative, by the weight of the block in every
/// step, of the target loss summed over the steps. Positive: more of it lowers the target loss. With several outer epochs
/// `score` is the block's weight and `gradient` that derivative at the end. Beside the scores, `steps.parquet` has the
/// losses and norms of every step.
#[derive(Debug, Clone, Copy)]
pub struct PdsProxy;

impl Component for PdsProxy {
    type Params = ProxyParams;
    const NAME: &'static str = "score.pds_proxy";
    const VERSION: u32 = 2;
    const SUMMARY: &'static str =
        "what blocks are worth to a short training that a target judges, by its costate";
    const PAPER: Option<&'static str> = Some("pds");
    const SEEDING: Seeding = Seeding::Experiment;
    const NUMERIC: bool = true;
    // Not cut into shards: the way back is one after the other.
    const EXAMPLE: &'static str = r#"use = "score.pds_proxy"
data = "@tokens"
target = "@clean_tokens.valid"
models = "@reference"
proxy = 2000
steps = 50
optim = { lr = 0.1, batch_size = 16 }
"#;

    fn outputs(_: &ProxyParams) -> Vec<Output> {
        main_output(Kind::Scores)
    }

    fn check(params: &ProxyParams) -> Vec<Problem> {
        params.problems()
    }

    fn estimate(params: &ProxyParams, sizes: &Sizes) -> Estimate {
        let (data, target) = (sizes.of(params.data.as_str()), sizes.of(params.target.as_str()));
        let models: Vec<Size> = params.models.iter().map(|model| sizes.of(model)).collect();
        let plan = plan(params);
        let steps = params.steps as f64;
        let drawn = params.proxy as f64 * data.width();
        let of_step = if params.weighted() {
            drawn
        } else {
            params.optim.batch_size as f64 * data.width()
        };
        let targets = params
            .target_sample
            .map_or(target.items, |drawn| (drawn as f64).min(target.items));
        // Forth, and twice for the Hessian; the target at every state; the drawn blocks forward, twice.
        let trained = 3.0 * steps * of_step + (steps + 1.0) * targets * target.width();
        let tokens = 3.0 * trained + 2.0 * params.scored_steps() as f64 * drawn;
        let largest = models.iter().map(|model| model.parameters).fold(0.0, f64::max);
        let on_disk = params.trajectory == Keep::Disk;
        let scores = Size {
            items: params.proxy as f64,
            tokens: params.proxy as f64 * (data.width() + 1.0),
            bytes: params.proxy as f64 * 16.0,
            vocab_size: data.vocab_size,
            ..Size::default()
        };
        let flops = models
            .iter()
            .map(|model| model.flops_per_token * tokens)
            .sum::<f64>();
        Estimate {
            outputs: BTreeMap::from([(String::new(), scores)]),
            flops: flops * params.outer_epochs as f64,
            // The model itself stands beside: as it was read, in a graph and filled with a state.
            memory: plan.memory(largest, 4, on_disk) + 4.0 * 4.0 * largest,
            scratch: if on_disk { plan.scratch(largest, 4) } else { 0.0 },
            ..Estimate::default()
        }
    }

    fn run(params: ProxyParams, context: &Context) -> Result<()> {
        match context.precision {
            Precision::F32 => Solver::open(&params, context)?.run::<f32>(),
            Precision::F64 => Solver::open(&params, context)?.run::<f64>(),
            Precision::Bf16 => Err(too_narrow()),
        }
    }
}

/// Which states are kept.
pub(super) fn plan(params: &ProxyParams) -> Plan {
    match params.checkpoint_every {
        Some(every) => Plan::new(params.steps, every),
        None => Plan::root(params.steps),
    }
}
