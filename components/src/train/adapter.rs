//! Runs a composition as a burn-train training, headless: the bar, the curve and the checkpoints are ours.

use super::optimizer::Optimizer;
use super::strategy::{Composition, Outcome, StepStrategy};
use crate::Context;
use crate::model::Decoder;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::optim::AdamWConfig;
use burn::optim::lr_scheduler::constant::ConstantLr;
use burn::tensor::Device;
use burn::train::logger::{EvaluationProgressLogger, InMemoryMetricLogger, TrainingProgressLogger};
use burn::train::metric::MetricDefinition;
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};
use burn::train::{Learner, SupervisedTraining, TrainingStrategy};
use std::sync::{Arc, PoisonError};

/// Trains, and gives the model without its graph.
pub(super) fn train(
    composition: Composition,
    context: &Context,
    decoder: Decoder,
    optimizer: Optimizer,
) -> crate::Result<(Decoder, Outcome)> {
    let (strategy, outcome) = StepStrategy::new(composition, context.clone(), optimizer);
    // The strategy asks its own batch source, and keeps its own optimizer, keyed by parameter path: burn-train's loaders,
    // optimizer and scheduler stay unused.
    let learner = Learner::new(decoder, AdamWConfig::new().init(), ConstantLr::new(0.0));
    let result = SupervisedTraining::new(&context.scratch, Arc::new(NoBatches), Arc::new(NoBatches))
        .with_application_logger(None)
        .with_metric_logger(InMemoryMetricLogger::default())
        .renderer(Box::new(Silent))
        .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)))
        .launch(learner);
    let outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok((result.model, outcome.expect("the strategy leaves an outcome")?))
}

/// The loader that burn-train asks for and the strategy does not use.
struct NoBatches;

impl<O: 'static> DataLoader<O> for NoBatches {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        Box::new(Nothing(std::iter::empty()))
    }
    fn num_items(&self) -> usize {
        0
    }
    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(Self)
    }
    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<O>> {
        Arc::new(Self)
    }
}

/// Its iterator.
struct Nothing<O>(std::iter::Empty<Result<O, DatasetError>>);

impl<O> Iterator for Nothing<O> {
    type Item = Result<O, DatasetError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<O> DataLoaderIterator<O> for Nothing<O> {
    fn progress(&self) -> Progress {
        Progress::new(0, 0, None)
    }
}

/// A renderer that shows nothing.
struct Silent;

impl MetricsRendererTraining for Silent {
    fn update_train(&mut self, _state: MetricState) {}
    fn update_valid(&mut self, _state: MetricState) {}
}

impl MetricsRendererEvaluation for Silent {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl TrainingProgressLogger for Silent {
    fn start(&mut self, _epochs: usize, _first: usize, _items: Option<usize>, _label: Option<&str>) {}
    fn update_epoch(&mut self, _epoch: usize) {}
    fn start_split(&mut self, _split: &str, _items: usize) {}
    fn update_split(&mut self, _items: usize) {}
    fn end_split(&mut self) {}
    fn end(&mut self) {}
    fn log_event_training(&mut self, _event: String) {}
}

impl EvaluationProgressLogger for Silent {
    fn start_global_progress(&mut self, _tests: usize) {}
    fn start_test(&mut self, _name: &str, _items: usize) {}
    fn update_test_progress(&mut self, _items: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _event: String) {}
}

impl MetricsRenderer for Silent {
    fn manual_close(&mut self) {}
    fn register_metric(&mut self, _definition: MetricDefinition) {}
}
