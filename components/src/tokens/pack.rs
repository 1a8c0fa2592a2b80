//! `tokens.pack`: documents to blocks of token ids.

use super::packer::{Ends, Packer, Rules};
use crate::artifact::{Boundary, Cell, Document, TokenType, TokensDetails, TokensWriter};
use crate::component::{Output, Problem, main_output};
use crate::corpus::{Documents, Fractions, Sampler};
use crate::reference;
use crate::tokenizer::Encoder;
use crate::{Component, Context, Error, Estimate, Kind, Ref, Result, Seeding, Size, Sizes};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;

/// Documents, or bytes of text, that are encoded at once.
const BATCH_DOCUMENTS: usize = 2048;
const BATCH_BYTES: usize = 8 << 20;
/// What a byte-pair token takes of English text; for estimates only.
const BYTES_PER_TOKEN: f64 = 3.5;

/// Packs documents into blocks.
#[derive(Debug)]
pub enum Pack {}

/// Parameters of `tokens.pack`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackParams {
    /// What ids mean.
    pub tokenizer: Ref<reference::Tokenizer>,
    /// The documents.
    pub corpus: Ref<reference::Documents>,
    /// Inputs of a block; a full block has one token more, its last label.
    #[schemars(range(min = 1, max = 1_048_576), extend("x-unit" = "tokens"))]
    pub context: usize,
    /// Where a block may end.
    #[serde(default)]
    pub boundary: Boundary,
    /// A kept column; documents of different values never share a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), example = &"domain")]
    pub group_by: Option<String>,
    /// A token put before every block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), example = &"<s>")]
    pub bos_token: Option<String>,
    /// Deals the documents at random into named outputs, as in `{ train = 0.8, valid = 0.2 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Fractions>,
}

impl Component for Pack {
    type Params = PackParams;
    const NAME: &'static str = "tokens.pack";
    const SUMMARY: &'static str = "Tokenizes documents and packs them into blocks";
    const PAPER: Option<&'static str> = Some("miniplm");
    const SEEDING: Seeding = Seeding::Fixed;
    const EXAMPLE: &'static str = r#"use = "tokens.pack"
tokenizer = "@bpe"
corpus = "@pool"
context = 128
boundary = "sentence"
"#;

    fn outputs(params: &PackParams) -> Vec<Output> {
        let Some(split) = &params.split else {
            return main_output(Kind::Tokens);
        };
        let output = |name: &str| Output {
            name: name.to_owned(),
            kind: Kind::Tokens,
        };
        split.names().map(output).collect()
    }

    fn check(params: &PackParams) -> Vec<Problem> {
        let split = params.split.as_ref();
        split.map_or_else(Vec::new, |split| split.check("split"))
    }

    fn estimate(params: &PackParams, sizes: &Sizes) -> Estimate {
        let corpus = sizes.of(params.corpus.as_str());
        let vocab_size = sizes.of(params.tokenizer.as_str()).vocab_size;
        let tokens = if corpus.tokens > 0.0 {
            corpus.tokens
        } else {
            corpus.bytes / BYTES_PER_TOKEN
        };
        let size = |share: f64| Size {
            items: (share * tokens / (params.context + 1) as f64).ceil(),
            tokens: share * tokens,
            bytes: share * tokens * TokenType::of(vocab_size as u32).bytes() as f64,
            vocab_size,
            ..Size::default()
        };
        Estimate {
            outputs: Fractions::sizes(params.split.as_ref(), size),
            ..Estimate::default()
        }
    }

    fn run(params: PackParams, context: &Context) -> Result<()> {
        let encoder = Encoder::open(&context.open(&params.tokenizer)?)?;
        let documents = Documents::open(&context.open(&params.corpus)?, context)?;
        documents.refuse_weights()?;
        let bos = params
            .bos_token
            .as_ref()
            .map(|token| encoder.id(token))
            .transpose()?;
        let ends = match params.boundary {
            Boundary::Sentence => Ends::of(&encoder.texts()),
            Boundary::Concat | Boundary::Document => Ends::of(&[]),
        };
        let rules = Rules {
            boundary: params.boundary,
            length: params.context + 1,
            eos: encoder.details().eos_id,
            bos,
            ends: &ends,
        };
        let (names, mut sampler) = match &params.split {
            None => (vec![""], None),
            Some(split) => {
                let counts = split.counts(documents.len())?;
                let sampler = Sampler::new(context.stream("split"), counts, documents.len());
                (split.names().collect(), Some(sampler))
            }
        };
        let mut parts = names
            .iter()
            .map(|name| Part::create(name, rules, &encoder, context))
            .collect::<Result<Vec<_>>>()?;

        let bar = context.services.bar("packing", documents.len(), "documents");
        let (started, mut tokens) = (Instant::now(), 0);
        let columns: Vec<String> = params.group_by.iter().cloned().collect();
        let mut reading = documents.read(&columns)?;
        loop {
            context.check_cancelled()?;
            let batch = next_batch(&mut reading)?;
            if batch.is_empty() {
                break;
            }
            let encoded: Vec<Vec<u32>> = batch
                .par_iter()
                .map(|(_, document)| {
                    encoder
                        .encode(&document.text)
                        .map_err(|e| e.at(format!("document `{}`", document.id)))
                })
                .collect::<Result<_>>()?;
            for ((index, document), ids) in batch.iter().zip(&encoded) {
                tokens += ids.len() as u64 + 1;
                let part = match &mut sampler {
                    None => Some(0),
                    Some(sampler) => sampler.next_part(),
                };
                if let Some(part) = part {
                    let group = document.cells.first().and_then(Cell::label);
                    parts[part].add(group, *index, ids)?;
                }
            }
            bar.advance(batch.len() as u64);
        }
        let seconds = started.elapsed().as_secs_f64().max(1e-9);
        context
            .services
            .measure("tokens_per_second", tokens as f64 / seconds);
        context.services.cost(tokens, 0.0);
        for part in parts {
            part.finish(&params, &encoder, &documents)?;
        }
        Ok(())
    }
}

/// The next documents to encode together.
fn next_batch(reading: &mut impl Iterator<Item = Result<(u64, Document)>>) -> Result<Vec<(u64, Document)>> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH_DOCUMENTS
        && bytes < BATCH_BYTES
        && let Some(document) = reading.next()
    {
        let document = document?;
        bytes += document.1.text.len();
        batch.push(document);
    }
    Ok(batch)
}

/// One output being packed: a buffer for every group.
struct Part<'a> {
    name: String,
    writer: TokensWriter,
    rules: Rules<'a>,
    packers: BTreeMap<Option<String>, Packer<'a>>,
    documents: u64,
}

impl<'a> Part<'a> {
    fn create(name: &str, rules: Rules<'a>, encoder: &Encoder, context: &Context) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            writer: TokensWriter::create(&context.output(name)?, encoder.details().vocab_size)?,
            rules,
            packers: BTreeMap::new(),
            documents: 0,
        })
    }

    fn add(&mut self, group: Option<String>, index: u64, ids: &[u32]) -> Result<()> {
        let packer = self
            .packers
            .entry(group)
            .or_insert_with(|| Packer::new(self.rules));
        self.documents += 1;
        let blocks = packer.add(index, ids);
        blocks
            .iter()
            .try_for_each(|block| self.writer.push(&block.ids, &block.segments))
    }

    /// `no_blocks`: the documents do not fill one.
    fn finish(self, params: &PackParams, encoder: &Encoder, documents: &Documents) -> Result<()> {
        let left: u64 = self
            .packers
            .values()
            .map(|packer| packer.dropped() + packer.rest().count() as u64)
            .sum();
        if self.writer.blocks() == 0 {
            let which = if self.name.is_empty() {
                String::new()
            } else {
                format!(" of `{}`", self.name)
            };
            return Err(Error::data(
                "no_blocks",
                format!(
                    "{} documents{which} with {left} tokens fill no block of {}",
                    self.documents, self.rules.length
                ),
            )
            .hint("lower `context`, or set `boundary = \"document\"`"));
        }
        let details = TokensDetails {
            context: params.context,
            vocab_size: encoder.details().vocab_size,
            eos_id: self.rules.eos,
            bos_id: self.rules.bos,
            boundary: params.boundary,
            blocks: self.writer.blocks(),
            tokens: self.writer.tokens(),
            documents: self.documents,
            dropped_tokens: left,
            dtype: self.writer.dtype(),
            tokenizer: encoder.fingerprint().to_owned(),
            corpus: Some(documents.source().as_source()),
            template: None,
            pairs: None,
        };
        self.writer.finish(encoder.json(), &details)
    }
}
