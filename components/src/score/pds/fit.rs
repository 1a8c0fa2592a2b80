//! Teaching a scorer its labels.

use super::labels::{accuracy_and_f1, highest};
use super::scorer::ScorerModel;
use super::train::ScorerParams;
use crate::flops::layers_flops;
use crate::metrics::spearman;
use crate::model::{Flat, ModelConfig, read_tensors, write_flat};
use crate::score::common::commit;
use crate::train::{AdamWSettings, Optimizer, Schedule, ScheduleKind, collect, fill, sizes};
use crate::{Context, Error, Result};
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};
use std::collections::BTreeMap;
use std::path::Path;

/// Share of the best whose finding is judged by accuracy and F1.
pub(super) const BEST: f64 = 0.3;

/// Texts and their labels; the first `valid` are not trained on.
pub(super) struct Lessons {
    pub(super) texts: Vec<Vec<u32>>,
    pub(super) labels: Vec<f64>,
    pub(super) valid: usize,
}

/// What an epoch came to. Errors are squared and averaged, in the labels' unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Epoch {
    /// On what was trained on, along the way.
    pub(super) train: f64,
    /// On what was not.
    pub(super) error: f64,
    /// The same of the mean of the labels that were trained on.
    pub(super) error_of_mean: f64,
    pub(super) spearman: f64,
    pub(super) accuracy: f64,
    pub(super) f1: f64,
}

impl Epoch {
    const FIELDS: usize = 6;

    fn numbers(self) -> [f64; Self::FIELDS] {
        let rank = self.spearman;
        [
            self.train,
            self.error,
            self.error_of_mean,
            rank,
            self.accuracy,
            self.f1,
        ]
    }

    fn of(numbers: &[f64]) -> Self {
        Self {
            train: numbers[0],
            error: numbers[1],
            error_of_mean: numbers[2],
            spearman: numbers[3],
            accuracy: numbers[4],
            f1: numbers[5],
        }
    }
}

/// A scorer being taught, as far as it has come.
pub(super) struct Fit<'a> {
    pub(super) params: &'a ScorerParams,
    pub(super) context: &'a Context,
    pub(super) lessons: &'a Lessons,
}

impl Fit<'_> {
    /// Trains for all epochs, and gives the scorer of the epoch that ranked best, and what all epochs came to. A stopped
    /// training goes on at its last finished epoch.
    ///
    /// # Errors
    /// `non_finite_loss`, naming the epoch.
    pub(super) fn run(&self, fresh: ScorerModel) -> Result<(ScorerModel, Vec<Epoch>)> {
        let Self { params, context, .. } = self;
        let mut optimizer = Optimizer::new(AdamWSettings {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: params.weight_decay,
            clip_norm: params.clip_norm,
        });
        let file = context.scratch.join("scorer-epoch.safetensors");
        let (mut model, mut best, mut epochs) = self.restore(&file, fresh, &mut optimizer)?;
        let trained = self.trained();
        let steps = trained.div_ceil(params.batch_size) as u64;
        let schedule = Schedule {
            kind: ScheduleKind::Cosine,
            peak: params.lr,
            least: params.min_lr,
            warmup: params.warmup_steps,
            total: steps * params.epochs as u64,
            decay: 0.0,
        };
        let bar = context
            .services
            .bar("teaching the scorer", (params.epochs * trained) as u64, "blocks");
        bar.advance((epochs.len() * trained) as u64);
        while epochs.len() < params.epochs {
            let number = epochs.len() as u64;
            let mut order: Vec<usize> = (self.lessons.valid..self.lessons.texts.len()).collect();
            context.stream("scorer order").at(number).shuffle(&mut order);
            let mut sum = 0.0;
            for (step, rows) in (number * steps..).zip(order.chunks(params.batch_size)) {
                context.check_cancelled()?;
                let error;
                (model, error) = self.step(model, rows, &mut optimizer, schedule.rate(step));
                sum += error;
                if !error.is_finite() {
                    let message = format!("the scorer's error is not finite in epoch {}", number + 1);
                    return Err(Error::data("non_finite_loss", message).hint("lower `lr`"));
                }
                bar.advance(rows.len() as u64);
            }
            let epoch = self.judge(&model, sum / trained as f64)?;
            bar.message(&format!("Spearman {:.3}", epoch.spearman));
            if best.as_ref().is_none_or(|(rank, _)| epoch.spearman > *rank) {
                best = Some((epoch.spearman, model.clone().valid()));
            }
            epochs.push(epoch);
            keep(
                &file,
                &model,
                &optimizer,
                best.as_ref().map(|(_, model)| model),
                &epochs,
            )?;
        }
        let best = best.map_or_else(|| model.clone().valid(), |(_, model)| model);
        Ok((best, epochs))
    }

    /// Blocks that are trained on.
    fn trained(&self) -> usize {
        self.lessons.texts.len() - self.lessons.valid
    }

    /// FLOPs and tokens of all epochs.
    pub(super) fn cost(&self, config: &ModelConfig) -> (u64, f64) {
        let lengths = || self.lessons.texts[self.lessons.valid..].iter().map(Vec::len);
        let epochs = self.params.epochs;
        let flops: f64 = lengths().map(|length| 3.0 * layers_flops(config, length)).sum();
        ((lengths().sum::<usize>() * epochs) as u64, flops * epochs as f64)
    }

    /// One optimizer step; gives the model and the summed squared error.
    fn step(
        &self,
        model: ScorerModel,
        rows: &[usize],
        optimizer: &mut Optimizer,
        rate: f64,
    ) -> (ScorerModel, f64) {
        let mut gradients = GradientsAccumulator::new();
        let mut sum = 0.0;
        for part in rows.chunks(self.params.micro_batch) {
            let scores = model.score(&self.texts(part), &self.context.device);
            let labels: Vec<f64> = part.iter().map(|&row| self.lessons.labels[row]).collect();
            let labels = TensorData::new(labels, [part.len()]);
            let labels = Tensor::<1>::from_data(labels, (&scores.device(), scores.dtype()));
            let away = scores - labels;
            let error = (away.clone() * away).sum();
            sum += error.clone().into_data().iter::<f64>().sum::<f64>();
            let share = 1.0 / rows.len() as f64;
            let by = GradientsParams::from_grads((error * share).backward(), &model);
            gradients.accumulate(&model, by);
        }
        let (model, _) = optimizer.step(model, gradients.grads(), rate);
        (model, sum)
    }

    fn texts(&self, rows: &[usize]) -> Vec<&[u32]> {
        rows.iter()
            .map(|&row| self.lessons.texts[row].as_slice())
            .collect()
    }

    /// How well the scorer does on what it was not trained on.
    fn judge(&self, model: &ScorerModel, train: f64) -> Result<Epoch> {
        let model = model.clone().valid();
        let rows: Vec<usize> = (0..self.lessons.valid).collect();
        let mut found = Vec::with_capacity(rows.len());
        for part in rows.chunks(self.params.micro_batch) {
            self.context.check_cancelled()?;
            let scores = model.score(&self.texts(part), &self.context.device).into_data();
            found.extend(scores.iter::<f64>());
        }
        let (labels, trained) = self.lessons.labels.split_at(self.lessons.valid);
        let mean = trained.iter().sum::<f64>() / trained.len() as f64;
        let error = |of: &dyn Fn(usize) -> f64| {
            let squares = labels
                .iter()
                .enumerate()
                .map(|(i, label)| (of(i) - label).powi(2));
            squares.sum::<f64>() / labels.len() as f64
        };
        let (accuracy, f1) = accuracy_and_f1(&highest(labels, BEST), &highest(&found, BEST));
        let rank = spearman(labels, &found);
        Ok(Epoch {
            train,
            error: error(&|i| found[i]),
            error_of_mean: error(&|_| mean),
            // Scores that are all equal rank nothing.
            spearman: if rank.is_nan() { 0.0 } else { rank },
            accuracy,
            f1,
        })
    }

    /// Where an earlier try stopped, or the beginning.
    fn restore(
        &self,
        file: &Path,
        fresh: ScorerModel,
        optimizer: &mut Optimizer,
    ) -> Result<(ScorerModel, Option<Ranked>, Vec<Epoch>)> {
        if !file.exists() {
            return Ok((fresh, None, Vec::new()));
        }
        let bad = |what: String| {
            Error::data("bad_checkpoint", what)
                .in_file(file)
                .hint("delete the folder; training starts afresh")
        };
        let mut tensors = read_tensors(file)?;
        let history = tensors.remove("epochs").map(|data| data.convert::<f64>());
        let history = history.and_then(|data| data.try_into_vec::<f64>().ok());
        let history = history.ok_or_else(|| bad("it has no history".to_owned()))?;
        let epochs: Vec<Epoch> = history.chunks_exact(Epoch::FIELDS).map(Epoch::of).collect();
        let part = |prefix: &str| -> BTreeMap<String, TensorData> {
            let named = tensors.iter().filter_map(|(name, data)| {
                let name = name.strip_prefix(prefix)?;
                Some((name.to_owned(), data.clone()))
            });
            named.collect()
        };
        let (now, state, best) = (part("model/"), part("optimizer/"), part("best/"));
        let best = fill(fresh.clone().valid(), best).map_err(bad)?;
        let model = fill(fresh, now).map_err(bad)?;
        let trained = self.trained().div_ceil(self.params.batch_size) * epochs.len();
        optimizer
            .restore(
                trained as u64,
                state,
                &sizes(&model),
                &model.trunk.embedding.val(),
            )
            .map_err(bad)?;
        let rank = epochs.iter().map(|epoch| epoch.spearman).fold(f64::MIN, f64::max);
        Ok((model, Some((rank, best)), epochs))
    }
}

/// A scorer and how well it ranked, as a correlation.
type Ranked = (f64, ScorerModel);

/// Commits a finished epoch: one file, which appears whole or not at all.
fn keep(
    file: &Path,
    model: &ScorerModel,
    optimizer: &Optimizer,
    best: Option<&ScorerModel>,
    epochs: &[Epoch],
) -> Result<()> {
    let mut tensors = BTreeMap::new();
    let mut put = |prefix: &str, part: BTreeMap<String, Flat>| {
        let named = part
            .into_iter()
            .map(|(name, data)| (format!("{prefix}/{name}"), data));
        tensors.extend(named);
    };
    put("model", collect(&model.clone().valid()));
    put("optimizer", optimizer.state());
    if let Some(best) = best {
        put("best", collect(best));
    }
    let history: Vec<f64> = epochs.iter().flat_map(|epoch| epoch.numbers()).collect();
    let history = TensorData::new(history, [epochs.len(), Epoch::FIELDS]);
    let options = TensorCreationOptions::new(Device::flex()).with_dtype(DType::F64);
    tensors.insert(
        "epochs".to_owned(),
        Flat::of(Tensor::<2>::from_data(history, options)),
    );
    commit(file, |file| write_flat(file, &tensors))
}
