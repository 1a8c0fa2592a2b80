//! What a model makes of documents: each scored whole, by windows where it is longer than the context, or a continuation
//! scored after a prefix.
//!
//! Work goes in chunks of documents like that of blocks (see [`super::nll`]), for restarts and for shards.

use super::common::commit;
use super::nll::CHUNK_BATCHES;
use crate::artifact::{Document, TokenScores, TokenScoresWriter};
use crate::corpus::Documents;
use crate::flops::forward_flops;
use crate::inference::{LanguageModel, Pair, Texts, score_pairs, windows};
use crate::table::{f64_column, frame, read_parquet, u64_column, write_parquet};
use crate::{Context, Error, Result};
use polars::prelude::Column;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

/// What one document cost a model.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct DocumentNll {
    /// The document's number in the corpus.
    pub(super) index: u64,
    /// Summed negative log-likelihood of the scored tokens, in nats.
    pub(super) sum: f64,
    /// Number of scored tokens.
    pub(super) tokens: u64,
    /// Bytes of the scored text in UTF-8.
    pub(super) bytes: u64,
    /// Tokens that were read for it.
    read: u64,
    /// What that took.
    flops: f64,
}

/// What is scored of a document.
#[derive(Debug)]
pub(super) enum Scored {
    /// Its text, by windows begun every so many tokens.
    Whole { stride: usize },
    /// A continuation after a prefix.
    Continuation { prefix: Texts, continuation: Texts },
}

/// This shard's share of the documents.
pub(super) struct Work<'a> {
    pub(super) context: &'a Context,
    pub(super) documents: &'a Documents,
    pub(super) model: &'a LanguageModel,
    pub(super) scored: Scored,
    /// Whether the tokenizer puts what it puts around a text.
    pub(super) special: bool,
    pub(super) batch_size: usize,
}

/// A document made ready.
struct Ready {
    nll: DocumentNll,
    pair: Pair,
    /// Place of the first scored token among the document's.
    from: usize,
}

impl Work<'_> {
    /// Scores this shard's documents, by document, ascending; those of which no token is scored are left out. What every
    /// token came to goes to `tokens`, in the order of the data.
    pub(super) fn run(&self, mut tokens: Option<&mut TokenScoresWriter>) -> Result<Vec<DocumentNll>> {
        let services = &self.context.services;
        let (positions, own) = self.share();
        let total: usize = positions[own.clone()].iter().map(Vec::len).sum();
        let bar = services.bar("scoring documents", total as u64, "documents");
        let started = Instant::now();
        let mut fresh = 0;
        let mut all = Vec::new();
        for number in own {
            self.context.check_cancelled()?;
            let positions = &positions[number];
            let file = self
                .context
                .scratch
                .join(format!("documents-{number:08}.parquet"));
            let beside = file.with_extension("tokens");
            let scores = if file.exists() {
                bar.advance(positions.len() as u64);
                read_chunk(&file)?
            } else {
                let (scores, of_tokens) = self.chunk(positions, &mut |documents| {
                    bar.advance(documents);
                    self.context.check_cancelled()
                })?;
                fresh += scores.iter().map(|score| score.read).sum::<u64>();
                if tokens.is_some() {
                    commit(&beside, |file| of_tokens.write(file))?;
                }
                commit(&file, |file| write_chunk(file, &scores))?;
                scores
            };
            all.extend(scores);
            if let Some(tokens) = tokens.as_deref_mut() {
                tokens.append(&beside)?;
            }
        }
        if fresh > 0 {
            services.measure(
                "tokens_per_second",
                fresh as f64 / started.elapsed().as_secs_f64(),
            );
        }
        services.cost(
            all.iter().map(|d| d.read).sum(),
            all.iter().map(|d| d.flops).sum(),
        );
        all.retain(|document| document.tokens > 0);
        all.sort_by_key(|document| document.index);
        Ok(all)
    }

    /// Positions of all documents, each once however often a selection repeats it, in chunks; and which of them are ours.
    fn share(&self) -> (Vec<Vec<u64>>, Range<usize>) {
        let mut seen = BTreeSet::new();
        let once = |position: &u64| seen.insert(self.documents.index(*position).0);
        let positions: Vec<u64> = (0..self.documents.len()).filter(once).collect();
        let size = CHUNK_BATCHES * self.batch_size;
        let chunks: Vec<Vec<u64>> = positions.chunks(size).map(<[u64]>::to_vec).collect();
        let own = self.context.shard.range(chunks.len() as u64);
        (chunks, own.start as usize..own.end as usize)
    }

    fn chunk(
        &self,
        positions: &[u64],
        done: &mut (dyn FnMut(u64) -> Result<()> + Send),
    ) -> Result<(Vec<DocumentNll>, TokenScores)> {
        let columns = &self.documents.details().columns;
        let documents = self.documents.read_at(columns, positions.iter().copied())?;
        let mut ready = Vec::new();
        for read in documents {
            let (index, document) = read?;
            let made = self.ready(index, &document);
            ready.push(made.map_err(|error| error.at(format!("document `{}`", document.id)))?);
        }
        let logprobs = match self.scored {
            Scored::Whole { stride } => self.by_windows(&mut ready, stride, done)?,
            Scored::Continuation { .. } => self.continuations(&mut ready, done)?,
        };
        let mut tokens = TokenScores::default();
        for (one, logprobs) in ready.iter_mut().zip(&logprobs) {
            let index = one.nll.index;
            one.nll.sum = -logprobs.iter().sum::<f64>();
            one.nll.tokens = logprobs.len() as u64;
            if !one.nll.sum.is_finite() {
                let message = format!("the model's loss on document {index} is {}", one.nll.sum);
                return Err(Error::data("non_finite_score", message)
                    .hint("the model has diverged; train it with a lower learning rate"));
            }
            let scored = one
                .pair
                .prefix
                .iter()
                .chain(&one.pair.continuation)
                .skip(one.from);
            for (place, (&id, logprob)) in scored.zip(logprobs).enumerate() {
                tokens.push(index, (one.from + place) as u64, id, *logprob);
            }
        }
        Ok((ready.into_iter().map(|one| one.nll).collect(), tokens))
    }

    /// The ids of a document, and how many bytes of text they are.
    fn ready(&self, index: u64, document: &Document) -> Result<Ready> {
        let (pair, bytes) = match &self.scored {
            Scored::Whole { .. } => {
                let ids = self.model.encode(&document.text, self.special)?;
                let unscored = self.unscored_bytes(&document.text, &ids)?;
                let pair = Pair {
                    prefix: Vec::new(),
                    continuation: ids,
                };
                (pair, document.text.len() - unscored)
            }
            Scored::Continuation { prefix, continuation } => {
                let columns = &self.documents.details().columns;
                let prefix = prefix.of(document, columns)?;
                let continuation = continuation.of(document, columns)?;
                let spaces = prefix.len() - prefix.trim_end().len();
                let pair = Pair::encode(self.model, &prefix, &continuation, self.special)?;
                (pair, spaces + continuation.len())
            }
        };
        let from = match self.scored {
            Scored::Whole { .. } => 1,
            Scored::Continuation { .. } => pair.prefix.len(),
        };
        let nll = DocumentNll {
            index,
            bytes: bytes as u64,
            ..DocumentNll::default()
        };
        Ok(Ready { nll, pair, from })
    }

    /// Bytes of the first token where it is of the text: nothing stands before it, so it is not scored.
    fn unscored_bytes(&self, text: &str, ids: &[u32]) -> Result<usize> {
        let plain = self.model.encode(text, false)?;
        if plain.first() != ids.first() {
            return Ok(0);
        }
        let rest = crate::untrusted::quiet(|| self.model.tokenizer().encode(text, self.special).ok());
        let offsets = rest.flatten().map(|encoding| encoding.get_offsets().to_vec());
        let first = offsets.and_then(|offsets| Some(offsets.first()?.1));
        Ok(first.unwrap_or_default().min(text.len()))
    }

    fn by_windows(
        &self,
        ready: &mut [Ready],
        stride: usize,
        done: &mut (dyn FnMut(u64) -> Result<()> + Send),
    ) -> Result<Vec<Vec<f64>>> {
        let config = &self.model.loaded.config;
        let mut all = Vec::new();
        for (number, one) in ready.iter_mut().enumerate() {
            let cut = windows::strided(&one.pair.continuation, self.model.context(), stride);
            one.nll.read = cut.iter().map(|window| window.ids.len() as u64 - 1).sum();
            one.nll.flops = cut.iter().map(|w| forward_flops(config, w.ids.len() - 1)).sum();
            all.extend((0..cut.len()).map(|place| (number, place)));
        }
        let cut: Vec<Vec<windows::Window>> = ready
            .iter()
            .map(|one| windows::strided(&one.pair.continuation, self.model.context(), stride))
            .collect();
        // Those of similar length go together, so that little is padded.
        all.sort_by_key(|&(number, place)| cut[number][place].ids.len());
        let mut parts: Vec<Vec<Vec<f64>>> = cut.iter().map(|cut| vec![Vec::new(); cut.len()]).collect();
        let mut left: Vec<usize> = cut.iter().map(Vec::len).collect();
        done(left.iter().filter(|&&windows| windows == 0).count() as u64)?;
        for batch in all.chunks(self.batch_size) {
            let these: Vec<_> = batch.iter().map(|&(number, place)| cut[number][place]).collect();
            let logprobs = windows::logprobs(&self.model.loaded.decoder, &these, &self.context.device);
            let mut ended = 0;
            for (&(number, place), logprobs) in batch.iter().zip(logprobs) {
                parts[number][place] = logprobs;
                left[number] -= 1;
                ended += u64::from(left[number] == 0);
            }
            done(ended)?;
        }
        Ok(parts.into_iter().map(|parts| parts.concat()).collect())
    }

    fn continuations(
        &self,
        ready: &mut [Ready],
        done: &mut (dyn FnMut(u64) -> Result<()> + Send),
    ) -> Result<Vec<Vec<f64>>> {
        let config = &self.model.loaded.config;
        for one in ready.iter_mut().filter(|one| !one.pair.continuation.is_empty()) {
            let inputs = one.pair.prefix.len().max(1) + one.pair.continuation.len() - 1;
            let inputs = inputs.min(self.model.context());
            (one.nll.read, one.nll.flops) = (inputs as u64, forward_flops(config, inputs));
        }
        let pairs: Vec<Pair> = ready.iter().map(|one| one.pair.clone()).collect();
        let scores = score_pairs(self.model, &pairs, self.batch_size, &self.context.device, done)?;
        Ok(scores.into_iter().map(|score| score.token_logprobs).collect())
    }
}

fn write_chunk(file: &Path, scores: &[DocumentNll]) -> Result<()> {
    let whole = |get: fn(&DocumentNll) -> u64| scores.iter().map(get).collect::<Vec<_>>();
    let float = |get: fn(&DocumentNll) -> f64| scores.iter().map(get).collect::<Vec<_>>();
    let columns = vec![
        Column::new("index".into(), whole(|d| d.index)),
        Column::new("sum".into(), float(|d| d.sum)),
        Column::new("tokens".into(), whole(|d| d.tokens)),
        Column::new("bytes".into(), whole(|d| d.bytes)),
        Column::new("read".into(), whole(|d| d.read)),
        Column::new("flops".into(), float(|d| d.flops)),
    ];
    write_parquet(file, &mut frame(columns))
}

fn read_chunk(file: &Path) -> Result<Vec<DocumentNll>> {
    let frame = read_parquet(file)?;
    let whole = |name| u64_column(&frame, name, file);
    let float = |name| f64_column(&frame, name, file);
    let (index, tokens, bytes, read) = (whole("index")?, whole("tokens")?, whole("bytes")?, whole("read")?);
    let (sum, flops) = (float("sum")?, float("flops")?);
    let document = |i: usize| DocumentNll {
        index: index[i],
        sum: sum[i],
        tokens: tokens[i],
        bytes: bytes[i],
        read: read[i],
        flops: flops[i],
    };
    Ok((0..frame.height()).map(document).collect())
}
