//! The loop: a burn-train learning strategy whose unit is the optimizer step.

use super::checkpoint::{self, Position};
use super::curve::Point;
use super::optimizer::Optimizer;
use super::params::EarlyStopping;
use super::recompute::Recompute;
use super::schedule::Schedule;
use super::sources::{BatchSource, HostBatch};
use super::step::TrainBatch;
use super::terms::{Term, Weights};
use super::weighting::{Taken, Weighed, Weighting};
use crate::flops::training_flops;
use crate::model::{Decoder, ModelConfig, ModelSpec, Stopped};
use crate::random::Stream;
use crate::tokens::Blocks;
use crate::{Context, Error, Precision, Result};
use burn::optim::GradientsAccumulator;
use burn::tensor::Device;
use burn::train::{
    Learner, SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainStep,
    TrainingComponents, ValidLoader,
};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A source of batches, and what is learnt from them.
pub(crate) struct Lesson {
    pub(crate) source: Box<dyn BatchSource>,
    pub(crate) terms: Arc<Vec<Box<dyn Term>>>,
    pub(crate) weighting: Box<dyn Weighting>,
}

/// Everything the loop is composed of.
pub(crate) struct Composition {
    /// What every step learns from; the first is the training's data.
    pub(crate) lessons: Vec<Lesson>,
    pub(crate) config: ModelConfig,
    pub(crate) schedule: Schedule,
    pub(crate) accumulate: usize,
    pub(crate) batch_size: usize,
    pub(crate) checkpoint_every: u64,
    pub(crate) recompute: Recompute,
    pub(crate) evaluation: Option<(Blocks, u64)>,
    pub(crate) early_stopping: Option<EarlyStopping>,
    /// Tokens of an average step, for the bar.
    pub(crate) tokens_a_step: f64,
}

/// What a finished training leaves.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) position: Position,
    pub(crate) points: Vec<Point>,
    pub(crate) stopped: Stopped,
}

/// The strategy. Its mutable parts are behind a lock because burn-train shares strategies.
pub(crate) struct StepStrategy {
    pub(super) composition: Composition,
    pub(super) context: Context,
    optimizer: Mutex<Optimizer>,
    outcome: Arc<Mutex<Option<Result<Outcome>>>>,
}

impl StepStrategy {
    /// A strategy and the place where its outcome will be.
    pub(crate) fn new(
        composition: Composition,
        context: Context,
        optimizer: Optimizer,
    ) -> (Self, Arc<Mutex<Option<Result<Outcome>>>>) {
        let outcome = Arc::new(Mutex::new(None));
        (
            Self {
                composition,
                context,
                optimizer: Mutex::new(optimizer),
                outcome: outcome.clone(),
            },
            outcome,
        )
    }

    /// Trains from the newest checkpoint, or from the beginning.
    fn run(&self, model: Decoder, optimizer: &mut Optimizer) -> Result<(Decoder, Outcome)> {
        let Composition {
            schedule,
            checkpoint_every,
            tokens_a_step,
            lessons,
            accumulate,
            ..
        } = &self.composition;
        let scratch = &self.context.scratch;
        let (mut model, mut position, mut points) = checkpoint::restore(scratch, model, optimizer)?;
        let total = schedule.total;
        let bar = self
            .context
            .services
            .bar("train", (total as f64 * tokens_a_step) as u64, "tokens");
        bar.advance(position.tokens);
        let (start, first) = (Instant::now(), position.tokens);
        let mut stopped = Stopped::Budget;
        let (mut saved, mut shown) = (position.step, 0);
        loop {
            // A checkpoint may have been made while the evaluation of its step was being interrupted.
            let judged = if self.evaluation_is_due(&position, &points) {
                self.evaluate_and_judge(&model, &mut position, &mut points)
            } else {
                self.context.check_cancelled().map(|()| false)
            };
            self.context.services.curve(&points[shown..]);
            shown = points.len();
            let resumes = lessons
                .iter()
                .all(|lesson| lesson.weighting.resumes_at(position.step));
            if matches!(judged, Err(Error::Interrupted)) && saved < position.step && resumes {
                checkpoint::save(scratch, &model, optimizer, &position, &points)?;
            }
            if judged? {
                stopped = Stopped::Early;
                break;
            }
            if position.step >= total {
                break;
            }
            if position.step >= saved + checkpoint_every && resumes {
                checkpoint::save(scratch, &model, optimizer, &position, &points)?;
                let passes = position.step * *accumulate as u64;
                lessons
                    .iter()
                    .try_for_each(|lesson| lesson.source.committed(passes))?;
                saved = position.step;
            }
            let before = position.tokens;
            let loss;
            (model, loss) = self.step(model, optimizer, &mut position, &mut points)?;
            bar.advance(position.tokens - before);
            bar.message(&format!("loss {loss:.3}"));
        }
        let told = lessons.iter().filter_map(|lesson| lesson.weighting.told());
        told.for_each(|note| self.context.services.note(&note));
        let seconds = start.elapsed().as_secs_f64();
        if position.tokens > first && seconds > 0.0 {
            self.context
                .services
                .measure("tokens_per_second", (position.tokens - first) as f64 / seconds);
        }
        Ok((
            model,
            Outcome {
                position,
                points,
                stopped,
            },
        ))
    }

    /// One optimizer step over all its passes; gives the model and the loss.
    fn step(
        &self,
        model: Decoder,
        optimizer: &mut Optimizer,
        position: &mut Position,
        points: &mut Vec<Point>,
    ) -> Result<(Decoder, f64)> {
        let mut pass_gradients = GradientsAccumulator::new();
        let (mut loss, mut seen, mut notes) = (0.0, Vec::new(), Vec::new());
        let mut weighing = Vec::new();
        for (number, lesson) in self.composition.lessons.iter().enumerate() {
            let (passes, taken) = {
                let batches = self.batches(lesson, &model, position.step)?;
                let weighed = lesson
                    .weighting
                    .weigh(&model, optimizer, position.step, &batches)?;
                position.flops += weighed.flops;
                weighing.extend(&weighed.notes);
                self.passes(lesson, batches, weighed, position.step)?
            };
            // Errors name what of the training's data the step read.
            if number == 0 {
                seen.extend(passes.iter().flat_map(|pass| &pass.batch.blocks));
            }
            if let Some(Taken { loss: own, gradient }) = taken {
                for pass in &passes {
                    position.flops += self.flops(lesson, &pass.batch);
                    position.tokens += pass.weights.counted() as u64;
                }
                loss += own;
                pass_gradients.accumulate(&model, gradient.into_gradients(&model));
                continue;
            }
            for pass in passes {
                position.flops += self.flops(lesson, &pass.batch);
                let output = TrainStep::step(&model, pass);
                if let Some(error) = output.item.failure {
                    return Err(error);
                }
                loss += output.item.loss;
                position.tokens += output.item.tokens as u64;
                match number {
                    0 => add_notes(&mut notes, &output.item.notes),
                    _ => add_notes(&mut notes, &[("other_data", output.item.loss)]),
                }
                pass_gradients.accumulate(&model, output.grads);
            }
        }
        let step = position.step;
        if !loss.is_finite() {
            return Err(self.not_finite("loss", step, &seen));
        }
        let rate = self.composition.schedule.rate(step);
        let (model, norm) = optimizer.step(model, pass_gradients.grads(), rate);
        if !norm.is_finite() {
            return Err(self.not_finite("gradient", step, &seen));
        }
        position.step = step + 1;
        let figures = [("loss", loss), ("lr", rate), ("grad_norm", norm)];
        for (metric, value) in figures.into_iter().chain(notes).chain(weighing) {
            points.push(Point {
                step: position.step,
                split: "train",
                metric,
                value,
                tokens: position.tokens,
            });
        }
        Ok((model, loss))
    }

    /// The batches of a step.
    fn batches(&self, lesson: &Lesson, model: &Decoder, step: u64) -> Result<Vec<HostBatch>> {
        let count = self.composition.accumulate as u64;
        (0..count)
            .map(|pass| lesson.source.batch(step * count + pass, model))
            .collect()
    }

    /// The passes of a step over a lesson, and what came of them where weighing has gone through them already. Losses are means
    /// over the tokens of all passes, so that accumulation equals one large batch.
    fn passes(
        &self,
        lesson: &Lesson,
        batches: Vec<HostBatch>,
        weighed: Weighed,
        step: u64,
    ) -> Result<(Vec<TrainBatch>, Option<Taken>)> {
        let widths: Vec<usize> = batches.iter().map(|batch| batch.batch.width).collect();
        let weights = Weights::of_step(weighed.weights, &widths);
        if weights.first().is_none_or(|weights| weights.total <= 0.0) {
            let message = format!("every token of step {} has weight 0", step + 1);
            return Err(Error::data("zero_weight", message));
        }
        let pass = |(batch, weights)| TrainBatch {
            batch: Arc::new(batch),
            weights,
            terms: lesson.terms.clone(),
            // A single term is the loss itself.
            noted: self
                .composition
                .lessons
                .iter()
                .flat_map(|lesson| lesson.terms.iter())
                .map(|term| term.parts())
                .sum::<usize>()
                > 1,
            recompute: self.composition.recompute,
        };
        Ok((
            batches.into_iter().zip(weights).map(pass).collect(),
            weighed.taken,
        ))
    }

    /// What a pass takes: making its batch, the model's own passes, and what terms ask of others.
    fn flops(&self, lesson: &Lesson, batch: &HostBatch) -> f64 {
        let passes = lesson.source.passes_a_row();
        let of_row = |length| {
            let others = lesson.terms.iter().map(|term| term.flops(length, passes));
            training_flops(&self.composition.config, length) + others.sum::<f64>()
        };
        batch.flops + batch.batch.row_lengths().map(of_row).sum::<f64>()
    }

    /// The last checkpoint stays as it is: running again with a mended experiment starts from nothing broken.
    fn not_finite(&self, what: &str, step: u64, blocks: &[u64]) -> Error {
        let documents = self.composition.lessons[0].source.documents(blocks);
        let shown: Vec<String> = documents.iter().take(20).map(u64::to_string).collect();
        let more = if documents.len() > shown.len() {
            ", …"
        } else {
            ""
        };
        let message = format!("the {what} of step {} is not finite", step + 1);
        Error::data("non_finite_loss", message)
            .at(format!("documents {}{more}", shown.join(", ")))
            .hint("lower `optim.lr`, raise `warmup`, or look at these documents; the last good checkpoint is kept")
    }
}

/// The least of all models: burn-train wants one back also where there is none.
fn placeholder() -> Decoder {
    let spec = serde_json::json!({ "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1 });
    let spec: ModelSpec = serde_json::from_value(spec).expect("a valid model");
    Decoder::init(
        &spec.config(1),
        Precision::F32,
        &Stream::new(0, "placeholder"),
        &Device::flex(),
    )
}

/// Adds figures to those of the same name.
fn add_notes(all: &mut Vec<(&'static str, f64)>, more: &[(&'static str, f64)]) {
    for &(name, value) in more {
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += value,
            None => all.push((name, value)),
        }
    }
}

impl SupervisedLearningStrategy<Decoder> for StepStrategy {
    fn fit(
        &self,
        components: TrainingComponents<Decoder>,
        learner: Learner<Decoder>,
        _train: TrainLoader<Decoder>,
        _valid: ValidLoader<Decoder>,
        _starting_epoch: usize,
    ) -> (Decoder, SupervisedTrainingEventProcessor<Decoder>) {
        let model = learner.model();
        // Nothing else may hold the parameters, or every step would copy them.
        drop(learner);
        let mut optimizer = self
            .optimizer
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (model, outcome) = match self.run(model, &mut optimizer) {
            Ok((trained, outcome)) => (trained, Ok(outcome)),
            Err(error) => (placeholder(), Err(error)),
        };
        *self
            .outcome
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(outcome);
        (model, components.event_processor)
    }
}
