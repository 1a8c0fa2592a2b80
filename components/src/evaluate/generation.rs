//! `evaluate.generation`: what language models write, compared with references.

use crate::artifact::{Cell, Place, Table};
use crate::component::{Component, Estimate, Output, Problem, Size, Sizes, main_output};
use crate::corpus::Documents;
use crate::inference::{Generator, LanguageModel, Prompt, Sampling};
use crate::metrics::{Rouge, exact_match};
use crate::reference::{self, Ref, Refs};
use crate::score::batch_size;
use crate::tasks::GenerationMetric;
use crate::template::Template;
use crate::{Context, Error, Kind, Result, Seeding, disk};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Per model: each metric's mean over prompts and draws, and with several draws `METRIC_std`, the standard deviation of
/// the draws' means. Instances are documents, their parts the means over their draws.
#[derive(Debug, Clone, Copy)]
pub struct Generation;

/// What `evaluate.generation` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The models; every variant of a step where one is named.
    pub models: Refs<reference::Model>,
    /// Documents to make prompts of. A selection's weights play no part.
    pub prompts: Ref<reference::Documents>,
    /// A document as a prompt: a template over `id`, `text` and the kept columns.
    #[serde(default = "text")]
    pub prompt: String,
    /// Templates of right answers, of which the best fitting counts; those that come out empty are left out.
    #[schemars(length(min = 1), example = ["{{ output }}"])]
    pub references: Vec<String>,
    /// How the models write.
    #[serde(default)]
    pub sampling: Sampling,
    /// Texts drawn for every prompt.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024), extend("x-unit" = "texts"))]
    pub draws: u32,
    /// What is measured.
    #[serde(default = "metrics")]
    #[schemars(length(min = 1))]
    pub metrics: Vec<GenerationMetric>,
    /// Whether ROUGE compares stems.
    #[serde(default = "yes")]
    pub stemmer: bool,
    /// Only so many documents, from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "documents"))]
    pub limit: Option<usize>,
    /// Sequences that go through a model together.
    #[serde(default = "batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "sequences", "x-runtime" = true))]
    pub batch_size: usize,
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

fn metrics() -> Vec<GenerationMetric> {
    vec![GenerationMetric::RougeL]
}

/// A prompt and the answers that would be right.
struct Asked {
    document: u64,
    prompt: String,
    references: Vec<String>,
}

impl Component for Generation {
    type Params = Params;
    const NAME: &'static str = "evaluate.generation";
    const SUMMARY: &'static str = "what models write, compared with references by ROUGE and exact match";
    const SEEDING: Seeding = Seeding::Experiment;
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "evaluate.generation"
models = "@student"
prompts = "@instructions"
prompt = "{{ instruction }}\n"
references = ["{{ output }}"]
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
        let asked = asked(&params, context)?;
        let mut table = Table::default();
        for (number, artifact) in context.open_all(&params.models)?.iter().enumerate() {
            let kept = context.scratch.join(format!("model{number}.json"));
            let texts = match read(&kept) {
                Some(texts) => texts,
                None => {
                    let model =
                        LanguageModel::open(artifact, &context.device, context.precision)?.for_writing();
                    let bar = context.services.bar(&artifact.label, 0, "texts");
                    let mut done = |texts| {
                        bar.advance(texts);
                        context.check_cancelled()
                    };
                    let texts = write(&params, &asked, &model, context, &mut done)?;
                    disk::write_atomically(&kept, serde_json::to_vec(&texts).expect("texts are plain"))
                        .map_err(Error::io("cannot write", &kept))?;
                    texts
                }
            };
            compare(&params, &asked, &texts, &artifact.label, &mut table);
        }
        table.write(&context.output("")?, ())
    }
}

/// The prompts with their references. `bad_template`, `no_references`, `empty_data`.
fn asked(params: &Params, context: &Context) -> Result<Vec<Asked>> {
    let documents = Documents::open(&context.open(&params.prompts)?, context)?;
    let columns = documents.details().columns.clone();
    let prompt = Template::parse_exact(&params.prompt)?;
    let references = params
        .references
        .iter()
        .map(|source| Template::parse_exact(source));
    let references: Vec<Template> = references.collect::<Result<_>>()?;
    let mut asked = Vec::new();
    for read in documents.read(&columns)?.take(params.limit.unwrap_or(usize::MAX)) {
        let (index, document) = read?;
        let id = document.id.clone();
        let named = columns.iter().cloned().zip(document.cells.into_iter().map(value));
        let mut values = Map::from_iter([
            ("id".to_owned(), Value::String(document.id)),
            ("text".to_owned(), Value::String(document.text)),
        ]);
        values.extend(named);
        let values = Value::Object(values);
        let of_document = |error: Error| error.at(format!("document `{id}`"));
        let rendered = references.iter().map(|one| one.render(&values));
        let mut rendered = rendered.collect::<Result<Vec<_>>>().map_err(of_document)?;
        rendered.retain(|text| !text.trim().is_empty());
        if rendered.is_empty() {
            let error = Error::data("no_references", "every reference of a prompt is empty");
            return Err(of_document(error).hint("mend `references`, or leave the document out"));
        }
        asked.push(Asked {
            document: index,
            prompt: prompt.render(&values).map_err(of_document)?,
            references: rendered,
        });
    }
    if asked.is_empty() {
        return Err(Error::data(
            "empty_data",
            "there are no documents to make prompts of",
        ));
    }
    Ok(asked)
}

fn value(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Bool(truth) => truth.into(),
        Cell::Number(number) => number.into(),
        Cell::Text(text) => text.into(),
    }
}

/// What the model writes: for every prompt its draws.
fn write(
    params: &Params,
    asked: &[Asked],
    model: &LanguageModel,
    context: &Context,
    done: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Vec<Vec<String>>> {
    let prompts = asked.iter().map(|one| {
        let ids = model.encode(&one.prompt, true)?;
        Ok(Prompt {
            row: one.document,
            ids,
        })
    });
    let prompts: Vec<Prompt> = prompts.collect::<Result<_>>()?;
    let written = Generator::new(model, &context.device)
        .batch_size(params.batch_size)
        .generate(
            &prompts,
            &params.sampling,
            params.draws,
            &context.stream("texts"),
            done,
        )?;
    let mut texts: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for one in written {
        texts.entry(one.row).or_default().push(one.text);
    }
    Ok(asked
        .iter()
        .filter_map(|one| texts.remove(&one.document))
        .collect())
}

/// Adds a model's figures; `texts` holds the draws of every prompt.
fn compare(params: &Params, asked: &[Asked], texts: &[Vec<String>], label: &str, table: &mut Table) {
    let mut rouge = Rouge::new(params.stemmer);
    let documents: Vec<u64> = asked.iter().map(|one| one.document).collect();
    for metric in &params.metrics {
        let mut score = |asked: &Asked, text: &String| {
            let mut references = asked.references.iter().map(String::as_str);
            match metric.rouge() {
                Some(variant) => rouge.best(variant, references, text.trim()).f,
                None => f64::from(references.any(|one| exact_match(one, text))),
            }
        };
        let scores: Vec<Vec<f64>> = asked
            .iter()
            .zip(texts)
            .map(|(asked, draws)| draws.iter().map(|text| score(asked, text)).collect())
            .collect();
        let parts: Vec<f64> = scores.iter().map(|draws| mean(draws)).collect();
        table.mean(Place::of(label, metric.name()), &documents, &parts);
        if params.draws > 1 {
            let of_draw = |draw: usize| {
                let column: Vec<f64> = scores.iter().filter_map(|row| row.get(draw).copied()).collect();
                mean(&column)
            };
            let means: Vec<f64> = (0..params.draws as usize).map(of_draw).collect();
            let name = format!("{}_std", metric.name());
            table.figure(
                Place::of(label, &name),
                deviation(&means),
                u64::from(params.draws),
                None,
            );
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample's standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    let squares: f64 = values.iter().map(|x| (x - centre).powi(2)).sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

/// What an earlier attempt has written.
fn read(file: &Path) -> Option<Vec<Vec<String>>> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Artifact, read_table};
    use crate::table::f64_column;

    #[test]
    fn draws_are_averaged_and_their_spread_is_told() {
        let params: Params = serde_json::from_value(serde_json::json!({
            "models": "@m", "prompts": "@p", "references": ["{{ output }}"], "draws": 2,
            "sampling": { "temperature": 1.0 }, "metrics": ["exact_match", "rouge_l"],
        }))
        .expect("parameters");
        assert_eq!(Generation::check(&params), []);
        let asked = |document, reference: &str| Asked {
            document,
            prompt: String::new(),
            references: vec!["none of it".to_owned(), reference.to_owned()],
        };
        let asked = [asked(3, "a cat"), asked(7, "two dogs ran")];
        let texts =
            [["A cat.", "the cat"], ["two dogs ran", "birds"]].map(|draws| draws.map(str::to_owned).to_vec());
        let mut table = Table::default();
        compare(&params, &asked, &texts, "student", &mut table);
        let folder = tempfile::tempdir().expect("a temporary folder");
        table.write(folder.path(), ()).expect("writes");
        let artifact = Artifact::open(folder.path(), "evaluate.generation/k", "quality").expect("opens");
        let rows = read_table(&artifact).expect("reads");
        let values = f64_column(&rows, "value", Path::new("table.parquet")).expect("floats");
        let deviation = |a: f64, b: f64| (a - b).abs() / 2_f64.sqrt();
        let expected = [
            0.5,
            deviation(1.0, 0.0),
            (1.0 + 0.5 + 1.0) / 4.0,
            deviation(1.0, 0.25),
        ];
        let near = |(found, expected): (&f64, f64)| (found - expected).abs() < 1e-12;
        assert!(values.iter().zip(expected).all(near), "{values:?} {expected:?}");
    }

    #[test]
    fn greedy_draws_and_bad_templates_are_refused() {
        let params: Params = serde_json::from_value(serde_json::json!({
            "models": "@m", "prompts": "@p", "references": ["{{ output"], "draws": 2,
        }))
        .expect("parameters");
        let codes: Vec<_> = Generation::check(&params)
            .iter()
            .map(|problem| problem.code)
            .collect();
        assert_eq!(codes, ["bad_template", "no_randomness"]);
    }
}
