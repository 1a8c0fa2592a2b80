//! `corpus.pairs`: instructions with their answers, from files.

use super::pair_files::{Read, records};
use super::pair_record::Fields;
use super::source::{Expect, OnBadLine};
use super::{Fractions, Sampler};
use crate::artifact::{InstructionPair, PairsWriter};
use crate::component::{Output, Problem, main_output};
use crate::{Component, Context, Error, Estimate, FilePath, Kind, Result, Seeding, Size, Sizes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// Reads instruction pairs.
#[derive(Debug)]
pub enum PairFiles {}

/// Parameters of `corpus.pairs`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairFilesParams {
    /// The files, read in this order: Parquet where the name ends so, else one JSON object a line, `.gz` and `.zst` being
    /// unpacked on the way.
    #[schemars(length(min = 1), example = ["data/dolly.jsonl.gz"])]
    pub files: Vec<FilePath>,
    /// The field that holds the instruction. In JSON a name may be a path, as in `instances.0.input`.
    #[serde(default = "instruction")]
    pub prompt_column: String,
    /// The field that holds what the instruction is to be applied to; it may be missing, null or empty.
    #[serde(default = "input")]
    pub input_column: String,
    /// The field that holds the answer: text, or a list of right answers, of which the first is learned.
    #[serde(default = "output")]
    pub response_column: String,
    /// Fields carried along in `meta`, where they are there.
    #[serde(default)]
    pub keep_columns: Vec<String>,
    /// Keeps instructions of so many words.
    #[serde(default)]
    pub prompt_words: Words,
    /// Keeps answers of so many words; of several, the one that is learned counts. MiniLLM's slices of longer references
    /// are `{ min = 11 }`.
    #[serde(default)]
    pub response_words: Words,
    /// Of equal records the first is kept.
    #[serde(default)]
    pub dedup: Dedup,
    /// What to do with a record that is not UTF-8, not JSON, or no pair.
    #[serde(default)]
    pub on_bad_line: OnBadLine,
    /// Keep at most so many pairs, from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "pairs"))]
    pub limit: Option<u64>,
    /// Deals the pairs that are kept at random into named outputs, as in `{ train = 0.9, valid = 0.1 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Fractions>,
    /// What the files are said to hold, so that a plan can be made without them. A run compares the number of records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-runtime" = true))]
    pub expect: Option<Expect>,
}

/// How many words a text may have: what white space separates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Words {
    /// At least so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unit" = "words"))]
    pub min: Option<u64>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unit" = "words"))]
    pub max: Option<u64>,
}

/// Which records are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dedup {
    /// None are.
    #[default]
    None,
    /// Those with equal instruction and input, so that no part of a split has a question of another.
    Prompt,
    /// Those with equal instruction, input and answer.
    Pair,
}

fn instruction() -> String {
    "instruction".to_owned()
}

fn input() -> String {
    "input".to_owned()
}

fn output() -> String {
    "output".to_owned()
}

impl Component for PairFiles {
    type Params = PairFilesParams;
    const NAME: &'static str = "corpus.pairs";
    const SUMMARY: &'static str = "Reads instructions with their answers from JSON lines or Parquet";
    const PAPER: Option<&'static str> = Some("minillm");
    const SEEDING: Seeding = Seeding::Fixed;
    const EXAMPLE: &'static str = r#"use = "corpus.pairs"
files = ["data/dolly.jsonl.gz"]
response_column = "response"
response_words = { min = 11 }
split = { train = 0.9, valid = 0.1 }
"#;

    fn outputs(params: &PairFilesParams) -> Vec<Output> {
        outputs(params.split.as_ref())
    }

    fn check(params: &PairFilesParams) -> Vec<Problem> {
        let split = params.split.as_ref();
        let mut problems = split.map_or_else(Vec::new, |split| split.check("split"));
        for (field, words) in [
            ("prompt_words", params.prompt_words),
            ("response_words", params.response_words),
        ] {
            if let (Some(min), Some(max)) = (words.min, words.max)
                && min > max
            {
                problems.push(Problem {
                    field: field.to_owned(),
                    code: "bad_value",
                    message: format!("at least {min} words are wanted, and at most {max}"),
                    hint: Some("raise `max` or lower `min`".to_owned()),
                });
            }
        }
        problems
    }

    fn estimate(params: &PairFilesParams, sizes: &Sizes) -> Estimate {
        let whole = super::source::estimate(&params.files, params.expect, params.limit, sizes);
        let whole = whole.outputs.get("").copied().unwrap_or_default();
        Estimate {
            outputs: parts(params.split.as_ref(), whole),
            ..Estimate::default()
        }
    }

    fn run(params: PairFilesParams, context: &Context) -> Result<()> {
        let (names, mut sampler) = match &params.split {
            None => (vec![""], None),
            Some(split) => {
                // The pairs are counted before they are dealt: parts have the sizes that were asked for.
                let total = read(&params, context, "counting", &mut |_| Ok(()))?.kept;
                if total == 0 {
                    (vec![""], None)
                } else {
                    let sampler = Sampler::new(context.stream("split"), split.counts(total)?, total);
                    (split.names().collect(), Some(sampler))
                }
            }
        };
        let mut writers = names
            .iter()
            .map(|name| Ok(PairsWriter::create(&context.output(name)?)))
            .collect::<Result<Vec<_>>>()?;
        let counts = read(&params, context, "reading", &mut |pair| {
            let part = match &mut sampler {
                None => Some(0),
                Some(sampler) => sampler.next_part(),
            };
            part.map_or(Ok(()), |part| writers[part].push(pair))
        })?;
        counts.tell(context);
        for writer in writers {
            writer.finish(counts.records, counts.dropped())?;
        }
        Ok(())
    }
}

/// One output, or one a part.
pub(super) fn outputs(split: Option<&Fractions>) -> Vec<Output> {
    let output = |name: &str| Output {
        name: name.to_owned(),
        kind: Kind::Pairs,
    };
    split.map_or_else(
        || main_output(Kind::Pairs),
        |split| split.names().map(output).collect(),
    )
}

/// The sizes of outputs that share `whole`.
fn parts(split: Option<&Fractions>, whole: Size) -> BTreeMap<String, Size> {
    let part = |share: f64| Size {
        items: share * whole.items,
        tokens: share * whole.tokens,
        bytes: share * whole.bytes,
        ..Size::default()
    };
    Fractions::sizes(split, part)
}

/// What was read, kept and left out.
#[derive(Debug, Default)]
struct Counts {
    records: u64,
    kept: u64,
    bad: u64,
    short_prompts: u64,
    long_prompts: u64,
    short_responses: u64,
    long_responses: u64,
    duplicates: u64,
}

impl Counts {
    fn dropped(&self) -> BTreeMap<String, u64> {
        let all = [
            ("bad_records", self.bad),
            ("short_prompts", self.short_prompts),
            ("long_prompts", self.long_prompts),
            ("short_responses", self.short_responses),
            ("long_responses", self.long_responses),
            ("duplicates", self.duplicates),
        ];
        let counted = all.into_iter().filter(|(_, count)| *count > 0);
        counted.map(|(why, count)| (why.to_owned(), count)).collect()
    }

    fn tell(&self, context: &Context) {
        let dropped = self.dropped();
        if dropped.is_empty() {
            return;
        }
        let why: Vec<String> = dropped
            .iter()
            .map(|(why, count)| format!("{} {count}", why.replace('_', " ")))
            .collect();
        let message = format!(
            "pairs kept: {} of {} records; left out: {}",
            self.kept,
            self.records,
            why.join(", ")
        );
        context.services.note(&message);
    }

    /// Counts a pair; whether it is kept.
    fn keeps(
        &mut self,
        params: &PairFilesParams,
        pair: &InstructionPair,
        seen: &mut HashSet<[u8; 16]>,
    ) -> bool {
        let words = |text: &str| text.split_whitespace().count() as u64;
        let (prompt, response) = (words(&pair.prompt), words(&pair.response));
        let short = |limit: Words, count: u64| limit.min.is_some_and(|min| count < min);
        let long = |limit: Words, count: u64| limit.max.is_some_and(|max| count > max);
        let count = if short(params.prompt_words, prompt) {
            &mut self.short_prompts
        } else if long(params.prompt_words, prompt) {
            &mut self.long_prompts
        } else if short(params.response_words, response) {
            &mut self.short_responses
        } else if long(params.response_words, response) {
            &mut self.long_responses
        } else if params.dedup != Dedup::None && !seen.insert(mark(params.dedup, pair)) {
            &mut self.duplicates
        } else {
            self.kept += 1;
            return true;
        };
        *count += 1;
        false
    }
}

/// 128 bits of a hash of what makes records equal.
fn mark(dedup: Dedup, pair: &InstructionPair) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    let response = (dedup == Dedup::Pair).then_some(&pair.response);
    for text in [&pair.prompt, &pair.input].into_iter().chain(response) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    let mut mark = [0; 16];
    hasher.finalize_xof().fill(&mut mark);
    mark
}

/// Hands the pairs that are kept to `each`.
fn read(
    params: &PairFilesParams,
    context: &Context,
    what: &str,
    each: &mut dyn FnMut(InstructionPair) -> Result<()>,
) -> Result<Counts> {
    let fields = Fields {
        prompt: &params.prompt_column,
        input: &params.input_column,
        response: &params.response_column,
        keep: &params.keep_columns,
    };
    let limit = params.limit.unwrap_or(u64::MAX);
    let bar = context.services.bar(what, 0, "pairs");
    let mut counts = Counts::default();
    let mut seen = HashSet::new();
    records(&params.files, &fields, context, &mut |read| {
        counts.records += 1;
        match read {
            Read::Pair(pair) => {
                if counts.keeps(params, &pair, &mut seen) {
                    each(pair)?;
                    bar.advance(1);
                }
            }
            Read::Bad(error) if params.on_bad_line == OnBadLine::Error => return Err(or_skip(error)),
            Read::Bad(_) => counts.bad += 1,
        }
        Ok(counts.kept < limit)
    })?;
    Ok(counts)
}

/// A mistake that setting `on_bad_line` would pass over.
fn or_skip(error: Error) -> Error {
    let hint = match &error {
        Error::Data(data) => data.hint.clone().unwrap_or_else(|| "mend the record".to_owned()),
        _ => return error,
    };
    error.hint(format!("{hint}, or set `on_bad_line = \"skip\"`"))
}

#[cfg(test)]
#[path = "pairs_tests.rs"]
mod tests;
