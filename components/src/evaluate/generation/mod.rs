//! `evaluate.generation`: what language models write, compared with references.

mod measures;
mod write;

use super::questions::{Questions, Rules};
use crate::artifact::Table;
use crate::component::{Component, Estimate, Output, Problem, Size, Sizes, main_output};
use crate::inference::Sampling;
use crate::pair_template::BuiltIn;
use crate::reference::{self, Ref, Refs};
use crate::score::batch_size;
use crate::template::Template;
use crate::{Context, Error, FilePath, Kind, Result, Seeding, disk};
use measures::Measuring;
pub use measures::Metric;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use write::{Written, texts};

/// File of the texts, beside the table.
const TEXTS: &str = "texts.jsonl";

/// Per model: each metric's mean over prompts and draws, over all prompts and by group; with several draws also
/// `METRIC_std`, the standard deviation of the draws' means over all prompts. Instances are pairs, documents or blocks, their parts the means over
/// their draws. `texts.jsonl` beside the table has what was written.
#[derive(Debug, Clone, Copy)]
pub struct Generation;

/// What `evaluate.generation` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The models; every variant of a step where one is named.
    pub models: Refs<reference::Model>,
    /// What prompts are made of: instruction pairs, tokens whose blocks begin with a prompt, or documents. Pairs have
    /// their right answers with them. A selection's weights play no part.
    pub prompts: Ref<reference::Prompts>,
    /// Pairs only: how an instruction becomes a prompt.
    #[serde(default = "alpaca")]
    pub template: BuiltIn,
    /// Pairs only: a file with a template of your own instead, over `prompt`, `input` and `meta`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_file: Option<FilePath>,
    /// Pairs and documents: adds the special tokens that the tokenizer puts around a text. A chat template has its own.
    #[serde(default = "yes")]
    pub add_special_tokens: bool,
    /// Documents only: a document as a prompt, as a template over `id`, `text` and the kept columns.
    #[serde(default = "text")]
    pub prompt: String,
    /// Documents only: templates of right answers, of which the best fitting counts; those that come out empty are left
    /// out.
    #[serde(default)]
    #[schemars(example = ["{{ output }}"])]
    pub references: Vec<String>,
    /// How the models write. MiniLLM and DPKD draw at temperature 1, at most 256 tokens, MiniLLM with `no_repeat_ngram = 6`.
    #[serde(default)]
    pub sampling: Sampling,
    /// Texts drawn for every prompt, each from a random stream of its own: what other programs do with as many seeds.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024), extend("x-unit" = "texts"))]
    pub draws: u32,
    /// What is measured.
    #[serde(default = "metrics")]
    #[schemars(length(min = 1))]
    pub metrics: Vec<Metric>,
    /// Whether ROUGE compares stems.
    #[serde(default = "yes")]
    pub stemmer: bool,
    /// Measures also by words of the reference (the first, of several): up to the first of these numbers, from there to the
    /// next, and beyond the last. Ascending.
    #[serde(default)]
    #[schemars(example = [5, 10], extend("x-unit" = "words"))]
    pub length_buckets: Vec<u64>,
    /// Measures also by what this field of `meta` (of documents: this kept column) says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), example = &"family")]
    pub group_by: Option<String>,
    /// Only so many prompts, from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "prompts"))]
    pub limit: Option<usize>,
    /// Sequences that go through a model together.
    #[serde(default = "batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "sequences", "x-runtime" = true))]
    pub batch_size: usize,
}

fn alpaca() -> BuiltIn {
    BuiltIn::Alpaca
}

fn text() -> String {
    "{{ text }}".to_owned()
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn metrics() -> Vec<Metric> {
    vec![Metric::RougeL]
}

impl Params {
    fn rules(&self) -> Rules<'_> {
        Rules {
            template: self.template,
            template_file: self.template_file.as_ref(),
            special: self.add_special_tokens,
            prompt: &self.prompt,
            references: &self.references,
            group_by: self.group_by.as_deref(),
            limit: self.limit.unwrap_or(usize::MAX),
        }
    }
}

impl Component for Generation {
    type Params = Params;
    const NAME: &'static str = "evaluate.generation";
    const VERSION: u32 = 2;
    const SUMMARY: &'static str = "what models write, compared with references by ROUGE and exact match";
    const PAPER: Option<&'static str> = Some("minillm");
    const SEEDING: Seeding = Seeding::Experiment;
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "evaluate.generation"
models = "@student"
prompts = "@dolly"
template = "alpaca"
sampling = { temperature = 1.0, max_tokens = 256, no_repeat_ngram = 6 }
draws = 5
metrics = ["rouge_l", "exact_match", "distinct_4"]
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Table)
    }

    fn check(params: &Params) -> Vec<Problem> {
        let mut problems = params.sampling.problems("sampling");
        let templates = std::iter::once(("prompt".to_owned(), &params.prompt));
        let references = params.references.iter().enumerate();
        let references = references.map(|(i, source)| (format!("references.{i}"), source));
        for (field, source) in templates.chain(references) {
            if let Err(error) = Template::parse_exact(source) {
                problems.push(Problem {
                    field,
                    code: "bad_template",
                    message: error.to_string(),
                    hint: None,
                });
            }
        }
        if params.draws > 1 && params.sampling.is_greedy() {
            problems.push(Problem {
                field: "draws".to_owned(),
                code: "no_randomness",
                message: "at temperature 0 every draw is the same".to_owned(),
                hint: Some("set `sampling.temperature`, or leave `draws` out".to_owned()),
            });
        }
        if !params.length_buckets.is_sorted_by(|a, b| a < b) {
            problems.push(Problem {
                field: "length_buckets".to_owned(),
                code: "bad_value",
                message: "the numbers do not ascend".to_owned(),
                hint: Some("write each once, the least first, as in [5, 10]".to_owned()),
            });
        }
        problems
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let prompts = sizes.of(params.prompts.as_str()).items;
        let prompts = params.limit.map_or(prompts, |limit| prompts.min(limit as f64));
        let models: Vec<Size> = params.models.iter().map(|model| sizes.of(model)).collect();
        let tokens = prompts * f64::from(params.draws) * params.sampling.max_tokens as f64;
        let table = Size {
            items: models.len() as f64 * params.metrics.len() as f64,
            ..Size::default()
        };
        Estimate {
            outputs: BTreeMap::from([(String::new(), table)]),
            flops: models.iter().map(|model| model.flops_per_token * tokens).sum(),
            memory: models
                .iter()
                .map(|model| model.parameters * 4.0)
                .fold(0.0, f64::max),
            ..Estimate::default()
        }
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let rules = params.rules();
        let questions = Questions::read(&context.open(&params.prompts)?, &rules, context)?;
        let measuring = Measuring {
            metrics: &params.metrics,
            stemmer: params.stemmer,
            buckets: &params.length_buckets,
            draws: params.draws as usize,
        };
        let folder = context.output("")?;
        let mut table = Table::default();
        let mut lines = Vec::new();
        for (number, artifact) in context.open_all(&params.models)?.iter().enumerate() {
            let texts = texts(&params, &questions, &rules, artifact, number, context)?;
            measuring.compare(&questions.all, &texts, &artifact.label, &mut table);
            let instances = questions.all.iter().map(|question| question.instance);
            instances
                .zip(&texts)
                .for_each(|(instance, draws)| add_lines(&mut lines, &artifact.label, instance, draws));
        }
        write_lines(&folder.join(TEXTS), &lines)?;
        table.write(&folder, ())
    }
}

/// What was written for a question, a line a draw.
fn add_lines(lines: &mut Vec<String>, variant: &str, instance: u64, draws: &[Written]) {
    for (draw, written) in draws.iter().enumerate() {
        let line = json!({ "variant": variant, "instance": instance, "draw": draw, "text": written.text });
        lines.push(line.to_string());
    }
}

fn write_lines(file: &Path, lines: &[String]) -> Result<()> {
    let failed = |e| Error::io("cannot write", file)(e);
    let mut sink = disk::File::buffered(file).map_err(failed)?;
    for line in lines {
        writeln!(sink, "{line}").map_err(failed)?;
    }
    sink.flush().map_err(failed)
}

#[cfg(test)]
pub(crate) mod tests;
