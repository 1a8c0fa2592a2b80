//! Asking a model a task.

use super::item::Item;
use super::requests::{pairs, prompts};
use super::results::{Answered, Measured, results};
use super::task::Task;
use crate::inference::{Generator, LanguageModel, score_pairs};
use crate::random::Stream;
use crate::{Device, Result};

/// How a task is asked.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Only so many records, from the first.
    pub limit: Option<usize>,
    /// Examples before a question; none: as the task file says.
    pub shots: Option<usize>,
    /// What examples and written texts are drawn from.
    pub seed: u64,
    /// Sequences that go through the model together; the figures do not depend on it.
    pub batch_size: usize,
}

impl Settings {
    /// The questions of a task.
    ///
    /// # Errors
    /// As [`Task::items`].
    pub fn items(&self, task: &Task) -> Result<Vec<Item>> {
        let shots = self
            .shots
            .or(task.shots().map(|shots| shots.count))
            .unwrap_or_default();
        let stream = Stream::new(self.seed, &format!("shots of {}", task.file.name));
        task.items(self.limit, shots, &stream)
    }
}

/// Asks the model the items of a task; `done` hears how many requests were answered.
///
/// # Errors
/// `too_long`, `empty_prompt`, and those of scoring and generating.
pub fn measure(
    task: &Task,
    items: &[Item],
    model: &LanguageModel,
    settings: &Settings,
    device: &Device,
    done: &mut (dyn FnMut(u64) -> Result<()> + Send),
) -> Result<Vec<Measured>> {
    let Some((sampling, _)) = task.writing() else {
        let pairs = pairs(items, model)?;
        let scores = score_pairs(model, &pairs, settings.batch_size, device, done)?;
        return Ok(results(task, items, Answered::Scored(&scores)));
    };
    // A short context is shared: at least half of it is for the prompt.
    let mut sampling = sampling.clone();
    sampling.max_tokens = sampling.max_tokens.min(model.context() / 2).max(1);
    sampling.min_tokens = sampling.min_tokens.min(sampling.max_tokens);
    let prompts = prompts(items, sampling.max_tokens, model)?;
    let stream = Stream::new(settings.seed, &format!("texts of {}", task.file.name));
    let written = Generator::new(model, device)
        .batch_size(settings.batch_size)
        .generate(&prompts, &sampling, 1, &stream, done)?;
    let texts: Vec<String> = written.into_iter().map(|one| one.text).collect();
    Ok(results(task, items, Answered::Written(&texts)))
}
