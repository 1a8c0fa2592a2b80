//! Scoring continuations of prefixes, as comparisons of answers need it.

use super::LanguageModel;
use super::windows::{Judged, Window, judge, judged, padded};
use crate::model::integers;
use crate::{Error, Result};
use burn::tensor::Device;

/// A continuation and what stands before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What is read but not scored; empty: the token that texts begin with, or else the one that ends them.
    pub prefix: Vec<u32>,
    /// What is scored.
    pub continuation: Vec<u32>,
}

/// What a model makes of a continuation.
#[derive(Debug, Clone, PartialEq)]
pub struct PairScore {
    /// Log-probability of every token of the continuation, in nats.
    pub token_logprobs: Vec<f64>,
    /// Whether no token of the vocabulary was more likely than any of them: greedy decoding would have written it.
    pub greedy: bool,
}

impl PairScore {
    fn of(judged: &[Judged]) -> Self {
        Self {
            token_logprobs: judged.iter().map(|token| token.logprob).collect(),
            greedy: judged.iter().all(|token| token.greedy),
        }
    }
}

/// Scores continuations, `batch_size` prefixes at a time; `done` is told of every pair. Where prefix and continuation are
/// longer than the context, the beginning is cut off, so that the last token has `context` tokens before it. Pairs that
/// follow each other with equal prefix read it once.
///
/// # Errors
/// `continuation_too_long`: longer than the context; `empty_prefix`: and the model has no token to begin with.
pub fn score_pairs(
    model: &LanguageModel,
    pairs: &[Pair],
    batch_size: usize,
    device: &Device,
    done: &mut (dyn FnMut(u64) -> Result<()> + Send),
) -> Result<Vec<PairScore>> {
    let context = model.context();
    let begin = || {
        let begin = model.bos().or(model.ends().first().copied());
        begin.map(|id| vec![id]).ok_or_else(|| {
            Error::data("empty_prefix", "the model has no token that a text begins with")
                .hint("give every continuation a prefix")
        })
    };
    let mut texts = Vec::with_capacity(pairs.len());
    // Of an empty continuation there is nothing to read.
    for (row, pair) in pairs
        .iter()
        .enumerate()
        .filter(|(_, pair)| !pair.continuation.is_empty())
    {
        let tokens = pair.continuation.len();
        if tokens > context {
            let message = format!("a continuation of {tokens} tokens; the model reads at most {context}");
            return Err(Error::data("continuation_too_long", message).at(format!("pair {row}")));
        }
        let prefix = if pair.prefix.is_empty() {
            begin()?
        } else {
            pair.prefix.clone()
        };
        let from = prefix.len();
        let ids = [prefix, pair.continuation.clone()].concat();
        texts.push(Text { row, ids, from });
    }
    let mut scores = vec![PairScore::of(&[]); pairs.len()];
    done((pairs.len() - texts.len()) as u64)?;
    let (mut alone, mut shared) = (Vec::new(), Vec::new());
    for group in texts.chunk_by(|a, b| a.prefix() == b.prefix()) {
        let whole = group.iter().all(|text| text.ids.len() <= context + 1);
        // A prefix of one token is nothing to share.
        if group.len() > 1 && whole && group[0].from > 1 {
            shared.push(group);
        } else {
            alone.extend(group);
        }
    }
    // Those of similar length go together, so that little is padded.
    alone.sort_by_key(|text| text.ids.len().min(context + 1));
    for batch in alone.chunks(batch_size) {
        let windows: Vec<Window> = batch.iter().map(|text| text.window(context)).collect();
        let judged = judged(&model.loaded.decoder, &windows, device);
        for (text, judged) in batch.iter().zip(judged) {
            scores[text.row] = PairScore::of(&judged);
        }
        done(batch.len() as u64)?;
    }
    shared.sort_by_key(|group| group[0].from);
    for batch in shared.chunks(batch_size) {
        score_shared(model, batch, device, &mut scores, done)?;
    }
    Ok(scores)
}

impl Pair {
    /// The ids of a prefix and a continuation, as the common evaluation harness takes them: spaces at the end of the prefix
    /// belong to the continuation, and its ids are those of both together after as many as the prefix alone has.
    /// `special`: with what the tokenizer puts around a text.
    ///
    /// # Errors
    /// As [`LanguageModel::encode`].
    pub fn encode(model: &LanguageModel, prefix: &str, continuation: &str, special: bool) -> Result<Self> {
        let both = [prefix, continuation].concat();
        let prefix = model.encode(prefix.trim_end(), special)?;
        let mut ids = model.encode(&both, special)?;
        let continuation = ids.split_off(prefix.len().min(ids.len()));
        Ok(Self { prefix, continuation })
    }
}

/// A pair as one text: `ids[from..]` are scored.
struct Text {
    row: usize,
    ids: Vec<u32>,
    from: usize,
}

impl Text {
    fn prefix(&self) -> &[u32] {
        &self.ids[..self.from]
    }

    /// Its last `context` inputs and the labels after them.
    fn window(&self, context: usize) -> Window<'_> {
        let cut = self.ids.len().saturating_sub(context + 1);
        Window {
            ids: &self.ids[cut..],
            from: self.from - cut,
        }
    }

    /// The prefix's last token and the continuation but its last: the inputs whose hidden states say what is scored.
    fn inputs(&self) -> &[u32] {
        &self.ids[self.from - 1..self.ids.len() - 1]
    }
}

/// Scores groups of texts with equal prefix, each group in a row of one cache: all prefixes first, then the first
/// continuation of every group, then, the rows cut back to the prefixes, the second ones.
fn score_shared(
    model: &LanguageModel,
    groups: &[&[Text]],
    device: &Device,
    scores: &mut [PairScore],
    done: &mut (dyn FnMut(u64) -> Result<()> + Send),
) -> Result<()> {
    let decoder = &model.loaded.decoder;
    let kept = |group: &[Text]| group[0].from - 1;
    let longest = groups.iter().map(|group| kept(group)).max().unwrap_or_default();
    let widest = groups
        .iter()
        .flat_map(|group| *group)
        .map(|text| text.inputs().len());
    let room = (longest + widest.max().unwrap_or_default()).min(model.context());
    let mut cache = decoder.cache(groups.len(), room);
    let all: Vec<usize> = (0..groups.len()).collect();
    let prefixes: Vec<&[u32]> = groups.iter().map(|group| &group[0].ids[..kept(group)]).collect();
    // Only what the cache keeps of them is wanted.
    decoder.extend_at(padded(&prefixes, device).0, &all, &mut cache, Some(&[]));
    for turn in 0.. {
        let mut left: Vec<(usize, &Text)> = groups
            .iter()
            .enumerate()
            .filter_map(|(row, group)| Some((row, group.get(turn)?)))
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        // Padding takes room after a prefix; those that would have none are read by themselves.
        left.sort_by_key(|(_, text)| text.inputs().len());
        for batch in fitting(&left, room) {
            let inputs: Vec<&[u32]> = batch.iter().map(|(_, text)| text.inputs()).collect();
            let here: Vec<usize> = batch.iter().map(|&(row, _)| row).collect();
            for &row in &here {
                cache.truncate(row, kept(groups[row]));
            }
            let (inputs_bt, width) = padded(&inputs, device);
            let chosen = inputs
                .iter()
                .enumerate()
                .flat_map(|(row, inputs)| row * width..row * width + inputs.len());
            let chosen: Vec<usize> = chosen.collect();
            let targets = batch.iter().flat_map(|(_, text)| &text.ids[text.from..]);
            let targets = targets.map(|&id| i64::from(id)).collect();
            let hidden_nd = decoder.extend_at(inputs_bt, &here, &mut cache, Some(&chosen));
            let judged = judge(decoder, hidden_nd, integers(targets, device));
            let mut judged = judged.as_slice();
            for (_, text) in batch {
                let (own, rest) = judged.split_at(text.inputs().len());
                scores[text.row] = PairScore::of(own);
                judged = rest;
            }
            done(batch.len() as u64)?;
        }
    }
    Ok(())
}

/// Cuts texts in order of length into batches in which every row has room for the longest of the batch.
fn fitting<'a>(left: &'a [(usize, &'a Text)], room: usize) -> Vec<&'a [(usize, &'a Text)]> {
    let mut batches = Vec::new();
    let mut start = 0;
    for end in 1..=left.len() {
        let width = |to: usize| left[to - 1].1.inputs().len();
        let fits = |to: usize| {
            left[start..to]
                .iter()
                .all(|(_, text)| text.from - 1 + width(to) <= room)
        };
        if end == left.len() || !fits(end + 1) {
            batches.push(&left[start..end]);
            start = end;
        }
    }
    batches
}
