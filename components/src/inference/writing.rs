//! One text that grows.

use super::generate::{Alone, Finish, Generated, Prompt};
use super::sample::{Distribution, most_likely};
use super::stops::Stops;
use super::{LanguageModel, Sampling};
use crate::random::Stream;
use crate::{Error, Result};

/// How all texts of a piece of work grow.
pub(super) struct Style<'a> {
    pub(super) model: &'a LanguageModel,
    pub(super) sampling: &'a Sampling,
    /// Share of the second model, if there is one.
    pub(super) share: f64,
}

/// One text that grows.
pub(super) struct Writing<'a> {
    /// Its number among those of its desk.
    pub(super) number: usize,
    pub(super) prompt: &'a Prompt,
    pub(super) sample: u32,
    /// The prompt and the new tokens.
    history: Vec<u32>,
    logprobs: Vec<f32>,
    alone: Option<Alone>,
    stops: Stops,
    /// The text before a stop string.
    cut: Option<String>,
    stream: Stream,
}

impl<'a> Writing<'a> {
    pub(super) fn new(number: usize, prompt: &'a Prompt, sample: u32, stream: Stream) -> Self {
        Self {
            number,
            prompt,
            sample,
            history: prompt.ids.clone(),
            logprobs: Vec::new(),
            alone: None,
            stops: Stops::default(),
            cut: None,
            stream,
        }
    }

    /// The token added last.
    pub(super) fn last(&self) -> u32 {
        *self.history.last().expect("prompts have a token")
    }

    /// Adds a token that follows from the logits `[v]` of one model or two; whether that ends the text.
    pub(super) fn go_on(&mut self, logits: Vec<&mut [f32]>, style: &Style) -> Result<Option<Finish>> {
        let Style { model, sampling, .. } = *style;
        let drawn = self.logprobs.len();
        let id = self.take(logits, style).map_err(|error| self.name(error))?;
        self.history.push(id);
        if model.ends().contains(&id) {
            return Ok(Some(Finish::End));
        }
        let new = &self.history[self.prompt.ids.len()..];
        self.cut = self.stops.cut(model, new, &sampling.stop)?;
        if self.cut.is_some() {
            return Ok(Some(Finish::Stop));
        }
        Ok((drawn + 1 == sampling.max_tokens).then_some(Finish::Length))
    }

    /// The next token; keeps its log-probabilities.
    fn take(&mut self, mut logits: Vec<&mut [f32]>, style: &Style) -> Result<u32> {
        let (sampling, ends, drawn) = (style.sampling, style.model.ends(), self.logprobs.len());
        if let ([logits_v], true) = (logits.as_mut_slice(), sampling.is_greedy()) {
            let (id, logprob) = most_likely(logits_v, sampling, &self.history, drawn, ends)?;
            self.logprobs.push(logprob as f32);
            return Ok(id);
        }
        let each = logits
            .into_iter()
            .map(|logits_v| Distribution::new(logits_v, sampling, &self.history, drawn, ends))
            .collect::<Result<Vec<_>>>()?;
        let mixed = match each.as_slice() {
            [one, other] => Some(one.mixed_with(other, style.share)),
            _ => None,
        };
        let all = mixed.as_ref().unwrap_or(&each[0]);
        let id = if sampling.is_greedy() {
            all.heaviest()
        } else {
            all.draw(self.stream.uniform())
        };
        let logprob = |distribution: &Distribution| distribution.probability(id).ln() as f32;
        self.logprobs.push(logprob(all));
        if let [one, other] = each.as_slice() {
            let alone = self.alone.get_or_insert_default();
            alone.model.push(logprob(one));
            alone.other.push(logprob(other));
        }
        Ok(id)
    }

    fn new_ids(&self) -> &[u32] {
        &self.history[self.prompt.ids.len()..]
    }

    /// The text that it became.
    pub(super) fn finish(self, finish: Finish, style: &Style) -> Result<Generated> {
        let ids = self.new_ids().to_vec();
        let shown = match finish {
            Finish::End => &ids[..ids.len() - 1],
            Finish::Stop | Finish::Length => &ids,
        };
        let text = match self.cut {
            Some(text) => text,
            None => style.model.decode(shown)?,
        };
        Ok(Generated {
            row: self.prompt.row,
            sample: self.sample,
            text,
            ids,
            logprobs: self.logprobs,
            alone: self.alone,
            finish,
        })
    }

    fn name(&self, error: Error) -> Error {
        let (row, token) = (self.prompt.row, self.logprobs.len());
        error.at(format!("row {row}, new token {token}"))
    }
}
