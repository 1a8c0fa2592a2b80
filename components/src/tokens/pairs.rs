//! `tokens.pairs`: instruction pairs to blocks of which only the answers are predicted.

use super::pair_encoder::PairEncoder;
use crate::artifact::{
    Boundary, InstructionPair, PairCounts, Segment, TokenType, TokensDetails, TokensWriter,
};
use crate::component::{Output, Problem, main_output};
use crate::corpus::{Fractions, Pairs as PairRows, Sampler};
use crate::pair_template::{BuiltIn, PairTemplate};
use crate::reference;
use crate::tokenizer::Encoder;
use crate::{Component, Context, Error, Estimate, FilePath, Kind, Ref, Result, Seeding, Size, Sizes};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pairs that are encoded at once.
const BATCH: usize = 2048;
/// What a byte-pair token takes of English text; for estimates only.
const BYTES_PER_TOKEN: f64 = 3.5;

/// Tokenizes instruction pairs.
#[derive(Debug)]
pub enum Pairs {}

/// Parameters of `tokens.pairs`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairsParams {
    /// What ids mean; of a model, its tokenizer and its chat template.
    pub tokenizer: Ref<reference::Tokenizer>,
    /// The pairs.
    pub pairs: Ref<reference::Pairs>,
    /// How an instruction becomes a prompt.
    #[serde(default = "alpaca")]
    pub template: BuiltIn,
    /// A file with a template of your own instead: Jinja over `prompt`, `input` and `meta`. Its last newline is part of the
    /// prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_file: Option<FilePath>,
    /// Adds the special tokens that the tokenizer puts around a text. A chat template has its own.
    #[serde(default = "yes")]
    pub add_special_tokens: bool,
    /// Inputs of a block: prompt, answer and end token are cut after one token more.
    #[schemars(range(min = 2, max = 1_048_576), extend("x-unit" = "tokens"))]
    pub context: usize,
    /// Longer prompts are left out and counted; half of `context` where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576), extend("x-unit" = "tokens"))]
    pub max_prompt: Option<usize>,
    /// What to do with a pair whose answer changes the tokens of the prompt before it.
    #[serde(default)]
    pub on_joined: OnJoined,
    /// Deals the pairs at random into named outputs, as in `{ train = 0.9, valid = 0.1 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Fractions>,
}

/// What to do with a pair whose prompt is not how its tokens begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnJoined {
    /// Stop and name it.
    #[default]
    Error,
    /// Leave it out and count it.
    Drop,
}

fn alpaca() -> BuiltIn {
    BuiltIn::Alpaca
}

fn yes() -> bool {
    true
}

impl PairsParams {
    fn max_prompt(&self) -> usize {
        self.max_prompt.unwrap_or(self.context / 2)
    }
}

impl Component for Pairs {
    type Params = PairsParams;
    const NAME: &'static str = "tokens.pairs";
    const SUMMARY: &'static str =
        "Tokenizes instruction pairs, one a block, of which only the answers are predicted";
    const PAPER: Option<&'static str> = Some("minillm");
    const SEEDING: Seeding = Seeding::Fixed;
    const EXAMPLE: &'static str = r#"use = "tokens.pairs"
tokenizer = "@bpe"
pairs = "@dolly"
template = "alpaca"
context = 512
max_prompt = 256
"#;

    fn outputs(params: &PairsParams) -> Vec<Output> {
        let Some(split) = &params.split else {
            return main_output(Kind::Tokens);
        };
        let output = |name: &str| Output {
            name: name.to_owned(),
            kind: Kind::Tokens,
        };
        split.names().map(output).collect()
    }

    fn check(params: &PairsParams) -> Vec<Problem> {
        let split = params.split.as_ref();
        let mut problems = split.map_or_else(Vec::new, |split| split.check("split"));
        let (context, prompt) = (params.context, params.max_prompt());
        if prompt > context {
            problems.push(Problem {
                field: "max_prompt".to_owned(),
                code: "no_room_for_response",
                message: format!("a prompt of {prompt} tokens fills a block of {context} inputs"),
                hint: Some(format!(
                    "set `max_prompt` to {context} at most, or raise `context`"
                )),
            });
        }
        problems
    }

    fn estimate(params: &PairsParams, sizes: &Sizes) -> Estimate {
        let pairs = sizes.of(params.pairs.as_str());
        let vocab_size = sizes.of(params.tokenizer.as_str()).vocab_size;
        let tokens = (pairs.bytes / BYTES_PER_TOKEN).min(pairs.items * (params.context + 1) as f64);
        let size = |share: f64| Size {
            items: share * pairs.items,
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

    fn run(params: PairsParams, context: &Context) -> Result<()> {
        let tokenizer = context.open(&params.tokenizer)?;
        let encoder = Encoder::open(&tokenizer)?;
        let file = params.template_file.as_ref();
        let template = PairTemplate::open(params.template, file, &tokenizer.path, context)?;
        let pair_encoder = PairEncoder::new(&encoder, &template, params.add_special_tokens);
        let pairs = PairRows::open(&context.open(&params.pairs)?)?;
        let (names, mut sampler) = match &params.split {
            None => (vec![""], None),
            Some(split) => {
                let sampler = Sampler::new(context.stream("split"), split.counts(pairs.len())?, pairs.len());
                (split.names().collect(), Some(sampler))
            }
        };
        let mut parts = names
            .iter()
            .map(|name| Part::create(name, &encoder, context))
            .collect::<Result<Vec<_>>>()?;
        let bar = context.services.bar("tokenizing", pairs.len(), "pairs");
        let mut reading = (0..).zip(pairs.read());
        let mut tokens = 0;
        loop {
            context.check_cancelled()?;
            let batch = reading
                .by_ref()
                .take(BATCH)
                .map(|(row, pair)| Ok((row, pair?)))
                .collect::<Result<Vec<(u64, InstructionPair)>>>()?;
            if batch.is_empty() {
                break;
            }
            let encoded: Vec<Option<(Vec<u32>, Vec<u32>)>> = batch
                .par_iter()
                .map(|(_, pair)| match pair_encoder.pair(pair) {
                    Err(error)
                        if params.on_joined == OnJoined::Drop && error.code() == "prompt_not_prefix" =>
                    {
                        Ok(None)
                    }
                    encoded => encoded.map(Some),
                })
                .collect::<Result<_>>()?;
            bar.advance(batch.len() as u64);
            for ((row, _), encoded) in batch.into_iter().zip(encoded) {
                let part = match &mut sampler {
                    None => Some(0),
                    Some(sampler) => sampler.next_part(),
                };
                if let Some(part) = part {
                    tokens += parts[part].add(&params, row, encoded, encoder.details().eos_id)?;
                }
            }
        }
        context.services.cost(tokens, 0.0);
        parts
            .into_iter()
            .try_for_each(|part| part.finish(&params, &encoder, &template, &pairs, context))
    }
}

/// One output.
struct Part {
    name: String,
    writer: TokensWriter,
    documents: u64,
    dropped_tokens: u64,
    counts: PairCounts,
}

impl Part {
    fn create(name: &str, encoder: &Encoder, context: &Context) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            writer: TokensWriter::create_pairs(&context.output(name)?, encoder.details().vocab_size)?,
            documents: 0,
            dropped_tokens: 0,
            counts: PairCounts::default(),
        })
    }

    /// Adds the pair of a row, if it was encoded and its prompt is short enough; how many tokens it has.
    fn add(
        &mut self,
        params: &PairsParams,
        row: u64,
        encoded: Option<(Vec<u32>, Vec<u32>)>,
        end: u32,
    ) -> Result<u64> {
        self.documents += 1;
        let Some((mut ids, response)) = encoded else {
            self.counts.joined += 1;
            return Ok(0);
        };
        let prompt = ids.len();
        ids.extend(response);
        ids.push(end);
        let whole = ids.len() as u64;
        if prompt > params.max_prompt() {
            self.counts.long_prompts += 1;
            self.dropped_tokens += whole;
            return Ok(whole);
        }
        if ids.len() > params.context + 1 {
            ids.truncate(params.context + 1);
            self.counts.cut_responses += 1;
            self.dropped_tokens += whole - ids.len() as u64;
        }
        let segment = Segment {
            document: row,
            tokens: ids.len() as u32,
        };
        self.writer.push_pair(&ids, prompt as u32, &[segment])?;
        Ok(whole)
    }

    /// `no_blocks`: no pair is left.
    fn finish(
        self,
        params: &PairsParams,
        encoder: &Encoder,
        template: &PairTemplate,
        pairs: &PairRows,
        context: &Context,
    ) -> Result<()> {
        let of = if self.name.is_empty() {
            String::new()
        } else {
            format!(" of `{}`", self.name)
        };
        let PairCounts {
            long_prompts,
            cut_responses,
            joined,
        } = self.counts;
        if self.writer.blocks() == 0 {
            let message = format!(
                "of {} pairs{of} none is left: {long_prompts} prompts have more than {} tokens, {joined} are joined to \
                 their answers",
                self.documents,
                params.max_prompt()
            );
            return Err(Error::data("no_blocks", message)
                .hint("raise `max_prompt` and `context`, or take a shorter template"));
        }
        if long_prompts + cut_responses + joined > 0 {
            context.services.note(&format!(
                "pairs{of}: {} of {}; left out for long prompts: {long_prompts}, for being joined: {joined}; answers cut: \
                 {cut_responses}",
                self.writer.blocks(),
                self.documents
            ));
        }
        let details = TokensDetails {
            context: params.context,
            vocab_size: encoder.details().vocab_size,
            eos_id: encoder.details().eos_id,
            bos_id: None,
            boundary: Boundary::Document,
            blocks: self.writer.blocks(),
            tokens: self.writer.tokens(),
            documents: self.documents,
            dropped_tokens: self.dropped_tokens,
            dtype: self.writer.dtype(),
            tokenizer: encoder.fingerprint().to_owned(),
            corpus: Some(pairs.source().as_source()),
            template: Some(template.fingerprint().to_owned()),
            pairs: Some(self.counts),
        };
        self.writer.finish(encoder.json(), &details)
    }
}

#[cfg(test)]
#[path = "pairs_tests.rs"]
mod tests;
