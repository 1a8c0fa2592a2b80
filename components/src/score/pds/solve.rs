//! The work of `score.pds_proxy`.

use super::drawn::draw;
use super::params::{Keep, ProxyParams};
use super::proxy::plan;
use crate::artifact::Item;
use crate::context::make_folder;
use crate::model::{self, ModelConfig};
use crate::score::common;
use crate::score::nll::check_model;
use crate::table::{frame, write_parquet};
use crate::tokens::{Blocks, check_block};
use crate::trajectory::{
    Agreement, BlocksAt, DecoderTraining, Difference, Gains, Number, Passed, RowModel, Steps, Targets,
    Trajectory, gains, project_simplex,
};
use crate::{Artifact, Bar, Context, Error, Result, disk};
use polars::prelude::Column;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;

/// Products by differences of two lengths must rank the examples this alike …
const SPEARMAN: f64 = 0.999_9;
/// … or, where few examples make ranks a coarse measure, be this near.
const ERROR: f64 = 1e-2;

/// Inputs that were found to fit each other.
pub(super) struct Solver<'a> {
    params: &'a ProxyParams,
    context: &'a Context,
    data: Artifact,
    blocks: Blocks,
    target: Blocks,
    models: Vec<Artifact>,
    /// Positions of the blocks that get a score, ascending.
    drawn: Vec<u64>,
}

/// What one model's trajectory left.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Solution {
    /// The weights after the last outer epoch, or the gains.
    scores: Vec<f64>,
    gains: Gains,
    losses: Vec<f64>,
}

/// How far the outer epochs of one model have come.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Progress {
    /// Epochs that are done.
    epochs: usize,
    /// γ after them.
    weights: Vec<f64>,
    /// The area of the last one.
    area: Option<f64>,
    tokens: u64,
    flops: f64,
    /// Once all are done.
    solution: Option<Solution>,
}

impl<'a> Solver<'a> {
    /// Finds before any work what would stop it: `empty_input`, `empty_target`, `not_enough_items`,
    /// `proxy_num_exceeds_corpus`, `vocab_mismatch`, `tokenizer_mismatch`, `context_too_long`; `too_short` and
    /// `empty_loss_mask`, naming the block.
    pub(super) fn open(params: &'a ProxyParams, context: &'a Context) -> Result<Self> {
        let data = context.open(&params.data)?;
        let blocks = Blocks::open(&data, context)?;
        if blocks.is_empty() {
            return Err(Error::data(
                "empty_input",
                "there are no blocks to train on and to score",
            ));
        }
        let target_data = context.open(&params.target)?;
        let target = Blocks::open(&target_data, context).map_err(|error| match error.code() {
            "empty_selection" => empty_target(&target_data),
            _ => error,
        })?;
        if target.is_empty() {
            return Err(empty_target(&target_data));
        }
        if target.details().tokenizer != blocks.details().tokenizer {
            let message = "the target and the corpus were packed with different tokenizers";
            return Err(
                Error::data("tokenizer_mismatch", message).hint("pack both with the model's tokenizer")
            );
        }
        let models = context.open_all(&params.models)?;
        for model in &models {
            check_model(&blocks, model)?;
            check_model(&target, model)?;
        }
        let trained = if params.weighted() {
            0
        } else {
            params.steps * params.optim.batch_size
        } as u64;
        let (drawn, overlap) = draw(&blocks, trained, params.proxy, &context.stream("proxy"))?;
        if overlap > 0 {
            context.services.note(&format!(
                "proxy_overlap: {overlap} of the {} blocks that get a score are also trained on; \
                 beyond the {trained} that are, the corpus has too few others",
                drawn.len(),
            ));
        }
        let pad = blocks.details().eos_id;
        let read = (0..trained).chain(drawn.iter().copied());
        read.map(|position| blocks.get(position))
            .chain((0..target.len()).map(|position| target.get(position)))
            .try_for_each(|block| check_block(&block, pad))?;
        Ok(Self {
            params,
            context,
            data,
            blocks,
            target,
            models,
            drawn,
        })
    }

    /// Solves from every model and writes the mean of what they say.
    pub(super) fn run<N: Number>(&self) -> Result<()> {
        let mut solutions = Vec::new();
        for number in 0..self.models.len() {
            solutions.push(self.solve::<N>(number)?);
        }
        let mean = |of: fn(&Solution) -> &[f64]| -> Vec<f64> {
            let sum = |i| solutions.iter().map(|solution| of(solution)[i]).sum::<f64>();
            (0..self.drawn.len())
                .map(|i| sum(i) / solutions.len() as f64)
                .collect()
        };
        let mut columns = vec![("score", mean(|solution| &solution.scores))];
        if self.params.weighted() {
            columns.push(("gradient", mean(|solution| &solution.gains.gains)));
        }
        let index = self.drawn.iter().map(|&position| self.blocks.get(position).index);
        self.write_steps(&solutions)?;
        common::write(
            self.context,
            &self.data,
            Item::Block,
            index.collect(),
            "score",
            columns,
        )
    }

    fn solve<N: Number>(&self, number: usize) -> Result<Solution> {
        let Self { params, context, .. } = self;
        let artifact = &self.models[number];
        let file = context.scratch.join(format!("model{number}.json"));
        let mut progress = self.progress(&file)?;
        let bar = context.services.bar(
            &format!("solving from {}", artifact.label),
            ((2 * params.steps + 1) * params.outer_epochs) as u64,
            "steps",
        );
        bar.advance(((2 * params.steps + 1) * progress.epochs) as u64);
        if progress.solution.is_none() {
            let loaded = model::load(artifact, &context.device.clone().autodiff(), context.precision)?;
            let mut training = self.training::<N>(loaded.decoder);
            let start = training.model.start();
            if progress.epochs == 0 {
                self.check_differences(training.agreement(&start)?)?;
            }
            while progress.solution.is_none() {
                let folder = context
                    .scratch
                    .join(format!("model{number}-epoch{}", progress.epochs));
                self.epoch(
                    &mut training,
                    &loaded.config,
                    &start,
                    &folder,
                    &mut progress,
                    &*bar,
                )?;
                let text = serde_json::to_vec(&progress).expect("finite numbers");
                disk::write_atomically(&file, text).map_err(Error::io("cannot write", &file))?;
                std::fs::remove_dir_all(&folder).map_err(Error::io("cannot remove", &folder))?;
            }
        }
        context.services.cost(progress.tokens, progress.flops);
        Ok(progress.solution.expect("the loop ends with one"))
    }

    /// Where an earlier try stopped, or the beginning.
    fn progress(&self, file: &Path) -> Result<Progress> {
        if !file.exists() {
            return Ok(Progress {
                epochs: 0,
                weights: vec![1.0 / self.drawn.len() as f64; self.drawn.len()],
                area: None,
                tokens: 0,
                flops: 0.0,
                solution: None,
            });
        }
        let text = std::fs::read(file).map_err(Error::io("cannot read", file))?;
        serde_json::from_slice(&text).map_err(|error| {
            Error::data("bad_checkpoint", error.to_string())
                .in_file(file)
                .hint("delete the folder; the solver starts afresh")
        })
    }

    /// Once forth and back, and with several outer epochs a step of the weights.
    fn epoch<N: Number>(
        &self,
        training: &mut DecoderTraining<N>,
        config: &ModelConfig,
        start: &[N],
        folder: &Path,
        progress: &mut Progress,
        bar: &dyn Bar,
    ) -> Result<()> {
        let params = self.params;
        let (plan, rate) = (plan(params), params.optim.lr);
        if params.weighted() {
            training.steps = Steps::Weighted(progress.weights.clone());
        }
        make_folder(folder)?;
        let mut trajectory = match params.trajectory {
            Keep::Disk => Trajectory::on_disk(plan, rate, folder),
            Keep::Memory => Trajectory::in_memory(plan, rate),
        };
        let mut step = |_: usize| {
            bar.advance(1);
            self.context.check_cancelled()
        };
        trajectory.forward(training, start, &mut step)?;
        let file = folder.join("costate");
        let found = gains(training, &trajectory, params.interval(), Some(&file), &mut step)?;
        let area = found.area();
        bar.message(&format!("area {area:.4}"));
        if let Some(before) = progress.area.filter(|before| area > *before) {
            self.context.services.note(&format!(
                "area_rose: outer epoch {} took the summed target loss from {before:.4} to {area:.4}; lower `outer_lr`",
                progress.epochs,
            ));
        }
        let (tokens, flops) = training.cost(config, params.steps, params.scored_steps());
        progress.tokens += tokens;
        progress.flops += flops;
        progress.area = Some(area);
        progress.epochs += 1;
        if params.weighted() {
            for (weight, gain) in progress.weights.iter_mut().zip(&found.gains) {
                *weight += params.outer_lr * gain;
            }
            project_simplex(&mut progress.weights);
        }
        if progress.epochs == params.outer_epochs {
            progress.solution = Some(Solution {
                scores: if params.weighted() {
                    progress.weights.clone()
                } else {
                    found.gains.clone()
                },
                gains: found,
                losses: trajectory.losses().to_vec(),
            });
        }
        Ok(())
    }

    fn training<N: Number>(&self, decoder: model::Decoder) -> DecoderTraining<'_, N> {
        let params = self.params;
        let at = |blocks, positions| Box::new(BlocksAt { blocks, positions });
        let trained: Range<u64> = 0..(params.steps * params.optim.batch_size) as u64;
        let tick = Box::new(|_| self.context.check_cancelled());
        DecoderTraining {
            model: RowModel::new(decoder, self.blocks.details().eos_id, params.micro_batch, tick),
            steps: if params.weighted() {
                Steps::Weighted(vec![1.0 / self.drawn.len() as f64; self.drawn.len()])
            } else {
                Steps::Batches {
                    sequences: at(&self.blocks, trained.collect()),
                    batch: params.optim.batch_size,
                }
            },
            targets: Targets {
                sequences: at(&self.target, (0..self.target.len()).collect()),
                drawn: params
                    .target_sample
                    .map(|drawn| (drawn, self.context.stream("target"))),
            },
            examples: at(&self.blocks, self.drawn.clone()),
            difference: Difference::relative(params.rel_step, self.context.precision),
        }
    }

    /// `imprecise_differences`, before the trajectory is begun.
    fn check_differences(&self, agreement: Agreement) -> Result<()> {
        let Agreement { spearman, error } = agreement;
        let measures = [("difference_spearman", spearman), ("difference_error", error)];
        for (name, value) in measures.into_iter().filter(|(_, value)| value.is_finite()) {
            self.context.services.measure(name, value);
        }
        if spearman >= SPEARMAN || error <= ERROR {
            return Ok(());
        }
        let message = format!(
            "products by differences of two lengths differ by {:.1} % and rank the blocks alike to {spearman:.5} only",
            100.0 * error,
        );
        Err(Error::data("imprecise_differences", message).hint(
            "set `precision = \"f64\"` on this step, or try a `rel_step` three times larger or smaller",
        ))
    }

    /// Losses and norms of every state: `model`, `step`, `train_loss` (empty at the last), `target_loss`,
    /// `target_gradient_norm`, `curvature_norm` (of η ∇²L λ), `costate_norm`.
    fn write_steps(&self, solutions: &[Solution]) -> Result<()> {
        let mut models = Vec::new();
        let mut losses = Vec::new();
        let mut passed: Vec<Passed> = Vec::new();
        for (model, solution) in self.models.iter().zip(solutions) {
            for one in &solution.gains.passed {
                models.push(model.label.as_str());
                losses.push(solution.losses.get(one.step).copied());
                passed.push(*one);
            }
        }
        let float = |name: &str, get: fn(&Passed) -> f64| {
            Column::new(name.into(), passed.iter().map(get).collect::<Vec<f64>>())
        };
        let steps: Vec<u64> = passed.iter().map(|passed| passed.step as u64).collect();
        let columns = vec![
            Column::new("model".into(), models),
            Column::new("step".into(), steps),
            Column::new("train_loss".into(), losses),
            float("target_loss", |passed| passed.target),
            float("target_gradient_norm", |passed| passed.target_gradient),
            float("curvature_norm", |passed| passed.curvature),
            float("costate_norm", |passed| passed.costate),
        ];
        let file = self.context.output("")?.join("steps.parquet");
        write_parquet(&file, &mut frame(columns))
    }
}

fn empty_target(target: &Artifact) -> Error {
    let message = format!("`{}` has no blocks to judge by", target.label);
    Error::data("empty_target", message)
}
