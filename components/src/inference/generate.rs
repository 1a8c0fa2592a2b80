//! Going on with texts: prompts are read into rows of a cache, then all rows take a token at a time.
//!
//! A row's tokens depend on its prompt, its number and the random stream alone, never on the rows beside it: a prompt is
//! read by itself, one position of several rows is computed row by row, and every row and sample draws from a stream of
//! its own. A row that is done makes room for the next prompt at once.

use super::voice::Voice;
use super::writing::{Style, Writing};
use super::{LanguageModel, Sampling};
use crate::random::Stream;
use crate::{Error, Result};
use burn::tensor::Device;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};

/// Samples that a row may have: their streams are numbered `row · SAMPLES + sample`.
const SAMPLES: u64 = 1 << 20;

/// Slots of a desk at the least, where there are several: each reads all weights for every token of its own.
const LEAST_SLOTS: usize = 16;

/// A text to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its number, which its random numbers follow from.
    pub row: u64,
    /// Its tokens, at least one.
    pub ids: Vec<u32>,
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// A token that ends texts was drawn.
    End,
    /// A stop string was written.
    Stop,
    /// It has as many tokens as were asked for.
    Length,
}

impl Finish {
    /// As it stands in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// A text that was gone on with.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The prompt's number.
    pub row: u64,
    /// Which of the prompt's samples.
    pub sample: u32,
    /// The new tokens: with the one that ended it, and with those of a stop string.
    pub ids: Vec<u32>,
    /// The new text: without special tokens, and cut before a stop string.
    pub text: String,
    /// Natural logarithm of each token's probability under the distribution it was drawn from, after every rule; at
    /// temperature 0 under the model's at temperature 1, after penalties.
    pub logprobs: Vec<f32>,
    /// Of a mixture, the same under each model alone: −∞ where its own rules leave the token out.
    pub alone: Option<Alone>,
    /// Why it ended.
    pub finish: Finish,
}

/// Log-probabilities of tokens drawn from a mixture, under each model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alone {
    /// Under the model.
    pub model: Vec<f32>,
    /// Under the one mixed in.
    pub other: Vec<f32>,
}

/// Goes on with texts.
#[derive(Debug)]
pub struct Generator<'a> {
    model: &'a LanguageModel,
    other: Option<(&'a LanguageModel, f64)>,
    device: Device,
    batch_size: usize,
}

impl<'a> Generator<'a> {
    /// By `model`, whose weights live on `device`.
    pub fn new(model: &'a LanguageModel, device: &Device) -> Self {
        Self {
            model,
            other: None,
            device: device.clone(),
            batch_size: 16,
        }
    }

    /// Draws from `(1 − share) · p_model + share · p_other`, each after its own temperature and limits (MiniLLM, sheet 2.1).
    #[must_use]
    pub fn mixed_with(mut self, other: &'a LanguageModel, share: f64) -> Self {
        self.other = Some((other, share));
        self
    }

    /// Texts that grow side by side; 16 unless told otherwise. It changes no result.
    #[must_use]
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size.max(1);
        self
    }

    /// Goes on with every prompt `samples` times; by prompts as given, then by samples. `done` is told of new tokens as
    /// they come, and may stop the work.
    ///
    /// # Errors
    /// `empty_prompt`, `prompt_too_long`, `non_finite_logits`, `no_token_left`, naming the row; `vocab_mismatch`,
    /// `tokenizer_mismatch` of a mixture.
    pub fn generate(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
        samples: u32,
        stream: &Stream,
        done: &mut (dyn FnMut(u64) -> Result<()> + Send),
    ) -> Result<Vec<Generated>> {
        self.check(prompts, sampling)?;
        let texts = prompts.len() * samples as usize;
        let slots = self.batch_size.min(texts);
        let share = texts.div_ceil(self.desks(slots)).max(1);
        let starts: Vec<usize> = (0..texts).step_by(share).collect();
        let slots = slots.div_ceil(starts.len().max(1));
        let longest = prompts.iter().map(|prompt| prompt.ids.len()).max();
        let capacity = longest.unwrap_or_default() + sampling.max_tokens;
        let done = Mutex::new(done);
        // Also a single desk, among the threads that share its products: a step need not wake them for each.
        let written: Vec<Result<Vec<Generated>>> = starts
            .into_par_iter()
            .map(|first| {
                let text = |number: usize| {
                    let (prompt, sample) = (&prompts[number / samples as usize], number as u32 % samples);
                    let stream = stream.at(prompt.row * SAMPLES + u64::from(sample));
                    Writing::new(number - first, prompt, sample, stream)
                };
                let own = first..texts.min(first + share);
                let mut done = |tokens| done.lock().unwrap_or_else(PoisonError::into_inner)(tokens);
                let desk = Desk::new(self, slots.min(own.len()), samples, capacity, sampling);
                desk.write(own.map(text), &mut done)
            })
            .collect();
        let written = written.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(written.into_iter().flatten().collect())
    }

    /// Among how many desks texts in so many slots are shared out: one for each thread where each keeps it busy, since threads
    /// that share a token's products wait for each other after every one.
    fn desks(&self, slots: usize) -> usize {
        let threads = if self.model.loaded.decoder.is_on_processor() {
            rayon::current_num_threads()
        } else {
            1
        };
        (slots / LEAST_SLOTS).clamp(1, threads)
    }

    fn models(&self) -> impl Iterator<Item = &'a LanguageModel> {
        std::iter::once(self.model).chain(self.other.map(|(other, _)| other))
    }

    /// What [`generate`](Self::generate) finds wrong before it begins.
    ///
    /// # Errors
    /// `empty_prompt`, `prompt_too_long`, naming the row; `vocab_mismatch`, `tokenizer_mismatch` of a mixture.
    pub fn check(&self, prompts: &[Prompt], sampling: &Sampling) -> Result<()> {
        self.check_models()?;
        prompts
            .iter()
            .try_for_each(|prompt| self.check_prompt(prompt, sampling))
    }

    fn check_prompt(&self, prompt: &Prompt, sampling: &Sampling) -> Result<()> {
        let row = prompt.row;
        let (found, most) = (prompt.ids.len(), sampling.max_tokens);
        if found == 0 {
            return Err(Error::data("empty_prompt", format!("prompt {row} has no tokens"))
                .hint("leave out empty prompts, or begin them with text in `template`"));
        }
        let context = self
            .models()
            .map(LanguageModel::context)
            .min()
            .unwrap_or_default();
        if found + most > context {
            let limit = context.saturating_sub(most);
            let what = format!(
                "prompt {row} has {found} tokens; with `max_tokens` {most} a context of {context} leaves {limit}"
            );
            return Err(
                Error::data("prompt_too_long", what).hint("shorten the prompt, or lower `max_tokens`")
            );
        }
        Ok(())
    }

    fn check_models(&self) -> Result<()> {
        let Some((other, _)) = self.other else {
            return Ok(());
        };
        let [ours, theirs] = [self.model, other].map(|model| &model.loaded.details);
        if ours.vocab_size != theirs.vocab_size {
            let (ours, theirs) = (ours.vocab_size, theirs.vocab_size);
            let what = format!("the model knows {ours} tokens; the one mixed in knows {theirs}");
            return Err(Error::data("vocab_mismatch", what));
        }
        if ours.tokenizer != theirs.tokenizer {
            let what = "the model and the one mixed in have different tokenizers";
            return Err(Error::data("tokenizer_mismatch", what));
        }
        Ok(())
    }
}

/// Texts growing side by side, each in a slot, which is a row of the models' caches.
struct Desk<'a> {
    voices: Vec<Voice<'a>>,
    slots: Vec<Option<Writing<'a>>>,
    style: Style<'a>,
    /// The row that a prompt of several samples is read into, and copied from.
    spare: Option<usize>,
    /// What followed the prompt that was read last, of every model.
    begun: Vec<Vec<f32>>,
}

impl<'a> Desk<'a> {
    fn new(
        generator: &Generator<'a>,
        slots: usize,
        samples: u32,
        capacity: usize,
        sampling: &'a Sampling,
    ) -> Self {
        let spare = (samples > 1).then_some(slots);
        let rows = slots + usize::from(spare.is_some());
        let voice = |model| Voice::new(model, rows, capacity, &generator.device);
        Self {
            voices: generator.models().map(voice).collect(),
            slots: (0..slots).map(|_| None).collect(),
            style: Style {
                model: generator.model,
                share: generator.other.map_or(0.0, |(_, share)| share),
                sampling,
            },
            spare,
            begun: Vec::new(),
        }
    }

    /// Goes on with these texts to their ends, in their order.
    fn write(
        mut self,
        texts: impl ExactSizeIterator<Item = Writing<'a>>,
        done: &mut impl FnMut(u64) -> Result<()>,
    ) -> Result<Vec<Generated>> {
        let mut all: Vec<Option<Generated>> = vec![None; texts.len()];
        let mut texts = texts.enumerate();
        loop {
            // A text of one token is done as it begins, so that its slot is free again.
            while let Some(slot) = self.free()
                && let Some((number, writing)) = texts.next()
            {
                all[number] = self.begin(slot, writing)?;
                done(1)?;
            }
            let active = self.active();
            if active.is_empty() {
                return Ok(all.into_iter().flatten().collect());
            }
            for (number, generated) in self.step(&active)? {
                all[number] = Some(generated);
            }
            done(active.len() as u64)?;
        }
    }

    fn free(&self) -> Option<usize> {
        self.slots.iter().position(Option::is_none)
    }

    fn active(&self) -> Vec<usize> {
        (0..self.slots.len())
            .filter(|&slot| self.slots[slot].is_some())
            .collect()
    }

    /// Reads a prompt, or what was kept of it, and draws the first token; the text, if that ends it.
    fn begin(&mut self, slot: usize, mut writing: Writing<'a>) -> Result<Option<Generated>> {
        let prompt = &writing.prompt.ids;
        if writing.sample == 0 || self.begun.is_empty() {
            let row = self.spare.unwrap_or(slot);
            self.begun = self
                .voices
                .iter_mut()
                .map(|voice| voice.read(prompt, row))
                .collect();
        }
        if let Some(spare) = self.spare {
            self.voices.iter_mut().for_each(|voice| voice.copy(spare, slot));
        }
        let mut logits = self.begun.clone();
        let logits = logits.iter_mut().map(Vec::as_mut_slice).collect();
        match writing.go_on(logits, &self.style)? {
            Some(finish) => Ok(Some(writing.finish(finish, &self.style)?)),
            None => {
                self.slots[slot] = Some(writing);
                Ok(None)
            }
        }
    }

    /// Draws one more token in every slot of `active`; the texts that ended, with their numbers.
    fn step(&mut self, active: &[usize]) -> Result<Vec<(usize, Generated)>> {
        let mut growing: Vec<&mut Writing> = self.slots.iter_mut().flatten().collect();
        let last: Vec<u32> = growing.iter().map(|writing| writing.last()).collect();
        let mut logits: Vec<Vec<f32>> = self
            .voices
            .iter_mut()
            .map(|voice| voice.step(&last, active))
            .collect();
        let mut of_rows: Vec<Vec<&mut [f32]>> = active.iter().map(|_| Vec::new()).collect();
        for logits_nv in &mut logits {
            let vocabulary = logits_nv.len() / active.len();
            let rows = logits_nv.chunks_exact_mut(vocabulary);
            of_rows
                .iter_mut()
                .zip(rows)
                .for_each(|(row, logits_v)| row.push(logits_v));
        }
        let style = &self.style;
        let ends: Vec<Result<Option<Finish>>> = growing
            .par_iter_mut()
            .zip(of_rows)
            .map(|(writing, logits)| writing.go_on(logits, style))
            .collect();
        let mut finished = Vec::new();
        for (&slot, end) in active.iter().zip(ends) {
            if let Some(finish) = end?
                && let Some(writing) = self.slots[slot].take()
            {
                finished.push((writing.number, writing.finish(finish, &self.style)?));
            }
        }
        Ok(finished)
    }
}
