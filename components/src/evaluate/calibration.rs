//! `evaluate.calibration`: whether language models are right as often as they are sure.

use crate::artifact::{Axes, Place, Table};
use crate::component::{Component, Estimate, Output, Problem, Size, Sizes, main_output};
use crate::flops::forward_flops;
use crate::inference::LanguageModel;
use crate::inference::windows::{floats, padded};
use crate::metrics::Calibration as Bins;
use crate::model::{self, integers};
use crate::reference::{self, Ref, Refs, TaskPath};
use crate::score::{batch_size, check_model};
use crate::tasks::{Settings, Task, choose};
use crate::tokens::{Block, Blocks, Example, check_block};
use crate::{Artifact, Context, Error, Kind, Result, Seeding};
use lyceum_kernels::linear_likelihoods;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Per model: `ece`, the expected calibration error Σ |B|/n · |accuracy − confidence| over bins B of equal width;
/// `accuracy` and `confidence`, the means. Of tasks, by task, over what is chosen among the answers there are (instances are
/// records); of blocks, over the likeliest next tokens (instances are blocks).
#[derive(Debug, Clone, Copy)]
pub struct Calibration;

/// What `evaluate.calibration` takes: either `tasks` or `data`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The models; every variant of a step where one is named.
    pub models: Refs<reference::Model>,
    /// Tasks with answers to choose from. MiniLLM's are SST-2 and BoolQ, without examples.
    #[serde(default)]
    #[schemars(example = ["tasks/sst2.toml"])]
    pub tasks: Vec<TaskPath>,
    /// Blocks whose next tokens are foretold; where they begin with a prompt, those of the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Ref<reference::Blocks>>,
    /// Bins of confidence, of equal width.
    #[serde(default = "bins")]
    #[schemars(range(min = 1, max = 10_000))]
    pub bins: usize,
    /// Only so many records of each task, or blocks, from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<usize>,
    /// Tasks only: examples before every question.
    #[serde(default)]
    #[schemars(range(max = 1024), extend("x-unit" = "examples"))]
    pub shots: usize,
    /// Sequences that go through a model together.
    #[serde(default = "batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "sequences", "x-runtime" = true))]
    pub batch_size: usize,
}

fn bins() -> usize {
    10
}

impl Component for Calibration {
    type Params = Params;
    const NAME: &'static str = "evaluate.calibration";
    const SUMMARY: &'static str = "whether models are right as often as they are sure";
    const PAPER: Option<&'static str> = Some("minillm");
    const SEEDING: Seeding = Seeding::Fixed;
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "evaluate.calibration"
models = "@student"
tasks = ["tasks/sst2.toml", "tasks/boolq.toml"]
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Table)
    }

    fn check(params: &Params) -> Vec<Problem> {
        if params.tasks.is_empty() != params.data.is_none() {
            return Vec::new();
        }
        vec![Problem {
            field: "data".to_owned(),
            code: "not_exactly_one",
            message: "one of `tasks` and `data` is wanted".to_owned(),
            hint: Some("tasks = [\"tasks/sst2.toml\"], or data = \"@tokens\"".to_owned()),
        }]
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let models: Vec<Size> = params.models.iter().map(|model| sizes.of(model)).collect();
        let data = params
            .data
            .as_ref()
            .map_or(0.0, |data| sizes.of(data.as_str()).tokens);
        let table = Size {
            items: 3.0 * models.len() as f64 * params.tasks.len().max(1) as f64,
            ..Size::default()
        };
        Estimate {
            outputs: BTreeMap::from([(String::new(), table)]),
            flops: models.iter().map(|model| model.flops_per_token * data).sum(),
            memory: models
                .iter()
                .map(|model| model.parameters * 4.0)
                .fold(0.0, f64::max),
            ..Estimate::default()
        }
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let models = context.open_all(&params.models)?;
        let mut table = Table::default();
        match &params.data {
            Some(data) => {
                let blocks = Blocks::open(&context.open(data)?, context)?;
                for artifact in &models {
                    let answers = of_blocks(&params, &blocks, artifact, context)?;
                    add(&mut table, params.bins, &artifact.label, None, &answers);
                }
            }
            None => of_tasks(&params, &models, &mut table, context)?,
        }
        table.write(&context.output("")?, ())
    }
}

/// A model's answers: which instance they belong to, how sure it is, and whether it is right.
#[derive(Debug, Clone, Copy)]
struct Answer {
    instance: u64,
    confidence: f64,
    correct: bool,
}

fn of_tasks(params: &Params, models: &[Artifact], table: &mut Table, context: &Context) -> Result<()> {
    let settings = Settings {
        limit: params.limit,
        shots: Some(params.shots),
        seed: context.seed,
        batch_size: params.batch_size,
    };
    // Every file is read before the first model is.
    let data = context.services.data();
    let mut tasks = Vec::new();
    for path in &params.tasks {
        let task = Task::open(&context.task(path)?, data.as_deref())?;
        let items = settings.items(&task)?;
        tasks.push((task, items));
    }
    for artifact in models {
        let model = LanguageModel::open(artifact, &context.device, context.precision)?;
        for (task, items) in &tasks {
            let name = task.file.name.as_str();
            let bar = context
                .services
                .bar(&format!("{} on {name}", artifact.label), 0, "answers");
            let mut done = |answers| {
                bar.advance(answers);
                context.check_cancelled()
            };
            let chosen = choose(items, &model, &settings, &context.device, &mut done)
                .map_err(|error| error.at(format!("task `{name}`")))?;
            let answer = |one: crate::tasks::Chosen| Answer {
                instance: one.number,
                confidence: one.confidence,
                correct: one.correct,
            };
            let answers: Vec<Answer> = chosen.into_iter().map(answer).collect();
            add(table, params.bins, &artifact.label, Some(name), &answers);
        }
    }
    Ok(())
}

/// The likeliest tokens of a model at every place that is predicted. `non_finite_score`.
fn of_blocks(
    params: &Params,
    blocks: &Blocks,
    artifact: &Artifact,
    context: &Context,
) -> Result<Vec<Answer>> {
    check_model(blocks, artifact)?;
    let pad = blocks.details().eos_id;
    let device = &context.device;
    let loaded = model::load_frozen(artifact, device, context.precision)?;
    let count = blocks.len().min(params.limit.unwrap_or(usize::MAX) as u64);
    let bar = context.services.bar(&artifact.label, count, "blocks");
    let mut answers = Vec::new();
    let (mut tokens, mut flops) = (0, 0.0);
    let all: Vec<u64> = (0..count).collect();
    for batch in all.chunks(params.batch_size) {
        context.check_cancelled()?;
        let batch: Vec<Block> = batch.iter().map(|&position| blocks.get(position)).collect();
        batch.iter().try_for_each(|block| check_block(block, pad))?;
        let inputs: Vec<&[u32]> = batch
            .iter()
            .map(|block| &block.ids[..block.ids.len() - 1])
            .collect();
        let (inputs_bt, width) = padded(&inputs, device);
        let (mut chosen, mut targets, mut instances) = (Vec::new(), Vec::new(), Vec::new());
        for (row, block) in batch.iter().enumerate() {
            for t in (0..block.ids.len() - 1).filter(|&t| block.counts(t, pad)) {
                chosen.push(row * width + t);
                targets.push(i64::from(block.ids[t + 1]));
                instances.push(block.index);
            }
            tokens += block.ids.len() as u64 - 1;
            flops += forward_flops(&loaded.config, block.ids.len() - 1);
        }
        let decoder = &loaded.decoder;
        let found = linear_likelihoods(
            decoder.hidden_at(inputs_bt, Some(&chosen)),
            decoder.head(),
            decoder.head_bias(),
            integers(targets, device),
            decoder.products(),
        );
        let judged = floats(found.nll_n).into_iter().zip(floats(found.least_n));
        for (instance, (nll, least)) in instances.into_iter().zip(judged) {
            if !nll.is_finite() {
                let message = format!("the loss of `{}` is {nll}", artifact.label);
                return Err(Error::data("non_finite_score", message)
                    .at(format!("block {instance}"))
                    .hint("the model has diverged; train it with a lower learning rate"));
            }
            answers.push(Answer {
                instance,
                confidence: (-least).exp(),
                correct: nll <= least,
            });
        }
        bar.advance(batch.len() as u64);
    }
    context.services.cost(tokens, flops);
    Ok(answers)
}

/// Adds a model's figures. What an answer adds to the error is how much more right than sure it is, with the sign of its
/// bin: the parts of all answers average to the error.
fn add(table: &mut Table, count: usize, label: &str, group: Option<&str>, answers: &[Answer]) {
    let mut bins = Bins::new(count);
    for answer in answers {
        bins.add(answer.confidence, answer.correct);
    }
    let gap = |answer: &Answer| {
        let sign = bins.bins[bins.place(answer.confidence)].gap().signum();
        sign * (f64::from(answer.correct) - answer.confidence)
    };
    let mut by_instance: BTreeMap<u64, [f64; 4]> = BTreeMap::new();
    for answer in answers {
        let sums = by_instance.entry(answer.instance).or_default();
        let own = [gap(answer), f64::from(answer.correct), answer.confidence, 1.0];
        sums.iter_mut().zip(own).for_each(|(sum, value)| *sum += value);
    }
    let instances: Vec<u64> = by_instance.keys().copied().collect();
    let counts: Vec<f64> = by_instance.values().map(|sums| sums[3]).collect();
    for (metric, place) in [("ece", 0), ("accuracy", 1), ("confidence", 2)] {
        let means: Vec<f64> = by_instance.values().map(|sums| sums[place] / sums[3]).collect();
        table.weighted_mean(
            Place::of(label, metric).within(group),
            &instances,
            &means,
            &counts,
        );
    }
    let axes = Axes {
        title: "Reliability",
        x: "confidence",
        y: "accuracy",
        logarithmic: false,
    };
    let point = |bin: &crate::metrics::Bin| {
        let count = bin.count as f64;
        (bin.confidence / count, bin.correct as f64 / count)
    };
    let points: Vec<(f64, f64)> = bins.bins.iter().filter(|bin| bin.count > 0).map(point).collect();
    let line = group.map_or_else(|| label.to_owned(), |group| format!("{label}, {group}"));
    table.curve(axes, &line, &points);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::read_table;
    use crate::evaluate::generation::tests::{figures, pairs};
    use crate::inference::tests::bench;
    use crate::tokens::Pairs;
    use serde_json::json;

    #[test]
    fn parts_average_to_the_error() {
        let answer = |instance, confidence, correct| Answer {
            instance,
            confidence,
            correct,
        };
        let answers = [
            answer(1, 0.95, true),
            answer(1, 0.91, false),
            answer(4, 0.55, true),
            answer(9, 0.15, false),
        ];
        let mut table = Table::default();
        add(&mut table, 10, "m", None, &answers);
        let folder = tempfile::tempdir().expect("a temporary folder");
        table.write(folder.path(), ()).expect("writes");
        let artifact = Artifact::open(folder.path(), "evaluate.calibration/k", "sure").expect("opens");
        let found = figures(&read_table(&artifact).expect("reads"));
        let value = |metric: &str| found[&("m".to_owned(), metric.to_owned(), String::new())];
        let expected = (2.0 * f64::abs(0.5 - 0.93) + f64::abs(1.0 - 0.55) + 0.15) / 4.0;
        assert!((value("ece") - expected).abs() < 1e-12, "{found:?}");
        assert!((value("accuracy") - 0.5).abs() < 1e-12);
        assert!((value("confidence") - 0.64).abs() < 1e-12);
    }

    #[test]
    fn next_tokens_of_answers_and_choices_of_tasks_are_measured() {
        let bench = bench();
        pairs(&bench);
        let tokens = json!({ "tokenizer": "@bpe", "pairs": "@pairs", "template": "plain", "context": 30 });
        bench.run::<Pairs>("tokens", tokens).expect("tokenizes");
        let run = |step: &str, params| {
            let table = bench.run::<Calibration>(step, params).expect("measures");
            figures(&read_table(&table).expect("reads"))
        };
        let found = run("next", json!({ "models": "@model", "data": "@tokens" }));
        let value = |metric: &str| found[&("model".to_owned(), metric.to_owned(), String::new())];
        let (error, gap) = (value("ece"), (value("accuracy") - value("confidence")).abs());
        assert!(error >= gap - 1e-12 && error <= 1.0, "{found:?}");

        std::fs::write(
            bench.folder.path().join("t.jsonl"),
            "{\"q\": \"The cat\", \"c\": [\" sat\", \" dog\"], \"g\": 0}\n{\"q\": \"on\", \"c\": [\" a\", \" b\"], \"g\": 1}\n",
        )
        .expect("writes");
        std::fs::write(
            bench.folder.path().join("t.toml"),
            "name = \"cats\"\nversion = 1\nsource = { file = \"t.jsonl\" }\ntext = \"{{ q }}\"\ndelimiter = \"\"\n\
             [multiple_choice]\nchoices = \"c\"\ngold = \"{{ g }}\"\n",
        )
        .expect("writes");
        let found = run("tasks", json!({ "models": "@model", "tasks": ["t.toml"] }));
        let confidence = found[&("model".to_owned(), "confidence".to_owned(), "cats".to_owned())];
        assert!((0.5..=1.0).contains(&confidence), "{found:?}");
    }

    #[test]
    fn tasks_or_data() {
        for params in [
            json!({ "models": "@m" }),
            json!({ "models": "@m", "data": "@d", "tasks": ["a"] }),
        ] {
            let params: Params = serde_json::from_value(params).expect("parameters");
            assert_eq!(Calibration::check(&params)[0].code, "not_exactly_one");
        }
    }
}
