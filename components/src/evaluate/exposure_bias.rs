//! `evaluate.exposure_bias`: how much more language models err on their own text than on a teacher's.

use super::divergence::shared_vocabulary;
use super::questions::{Questions, Rules};
use crate::artifact::{Axes, Place, Table};
use crate::component::{Component, Estimate, Output, Problem, Size, Sizes, main_output};
use crate::flops::forward_flops;
use crate::inference::{Compared, Generator, LanguageModel, Prompt, Sampling, divergences};
use crate::metrics::{Errors, Reduction, accumulated, excess};
use crate::pair_template::BuiltIn;
use crate::reference::{self, Ref, Refs};
use crate::score::batch_size;
use crate::train::VocabularyPolicy;
use crate::{Artifact, Context, Error, FilePath, Kind, Result, Seeding, disk};
use lyceum_kernels::Divergence;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Per model and number l of tokens: `ex_acc_err`, by how many percent more KL(p‖q) to the teacher piles up over the first l
/// tokens of the model's own text than over those of the teacher's; and the two sums, `own_kl` and `teacher_kl`, in nats.
/// Instances are prompts.
#[derive(Debug, Clone, Copy)]
pub struct ExposureBias;

/// What `evaluate.exposure_bias` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The models; every variant of a step where one is named.
    pub models: Refs<reference::Model>,
    /// The model that they are held against; its tokenizer and vocabulary are theirs.
    pub teacher: Ref<reference::Model>,
    /// What prompts are made of: instruction pairs, or tokens whose blocks begin with a prompt.
    pub prompts: Ref<reference::Pairwise>,
    /// Pairs only: how an instruction becomes a prompt.
    #[serde(default = "alpaca")]
    pub template: BuiltIn,
    /// Pairs only: a file with a template of your own instead, over `prompt`, `input` and `meta`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_file: Option<FilePath>,
    /// Pairs only: adds the special tokens that the tokenizer puts around a text. A chat template has its own.
    #[serde(default = "yes")]
    pub add_special_tokens: bool,
    /// How all write. It must draw: the measure is a mean over texts. MiniLLM's has `no_repeat_ngram = 6`.
    #[serde(default = "sampling")]
    pub sampling: Sampling,
    /// Texts that each model, and the teacher, writes for a prompt. MiniLLM's authors report 10 and release 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024), extend("x-unit" = "texts"))]
    pub samples: u32,
    /// After how many tokens the sums are told.
    #[serde(default = "lengths")]
    #[schemars(length(min = 1), inner(range(min = 1)), extend("x-unit" = "tokens"))]
    pub lengths: Vec<usize>,
    /// How errors at one position are averaged.
    #[serde(default)]
    pub reduction: Reduction,
    /// Leaves the first token of every answer out, as MiniLLM's released code does.
    #[serde(default)]
    pub skip_first: bool,
    /// What to do about a teacher whose vocabulary has another size.
    #[serde(default)]
    pub vocab_policy: VocabularyPolicy,
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

fn yes() -> bool {
    true
}

fn sampling() -> Sampling {
    Sampling {
        temperature: 1.0,
        ..Sampling::default()
    }
}

fn one() -> u32 {
    1
}

fn lengths() -> Vec<usize> {
    vec![16]
}

impl Component for ExposureBias {
    type Params = Params;
    const NAME: &'static str = "evaluate.exposure_bias";
    const SUMMARY: &'static str = "how much more models err on their own text than on a teacher's";
    const PAPER: Option<&'static str> = Some("minillm");
    const SEEDING: Seeding = Seeding::Experiment;
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "evaluate.exposure_bias"
models = "@student"
teacher = "@teacher"
prompts = "@dolly"
sampling = { temperature = 1.0, max_tokens = 64 }
samples = 10
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Table)
    }

    fn check(params: &Params) -> Vec<Problem> {
        let mut problems = params.sampling.problems("sampling");
        if params.sampling.is_greedy() {
            problems.push(Problem {
                field: "sampling".to_owned(),
                code: "no_randomness",
                message: "at temperature 0 every text is the same; the measure is a mean over drawn ones"
                    .to_owned(),
                hint: Some("set `sampling.temperature = 1.0`".to_owned()),
            });
        }
        problems
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let prompts = sizes.of(params.prompts.as_str()).items;
        let prompts = params.limit.map_or(prompts, |limit| prompts.min(limit as f64));
        let teacher = sizes.of(params.teacher.as_str());
        let models: Vec<Size> = params.models.iter().map(|model| sizes.of(model)).collect();
        let tokens = prompts * f64::from(params.samples) * params.sampling.max_tokens as f64;
        let table = Size {
            items: (models.len() * params.lengths.len() * 3) as f64,
            ..Size::default()
        };
        // Each model writes once and reads twice, beside the teacher.
        let flops = |model: &Size| (3.0 * model.flops_per_token + 2.0 * teacher.flops_per_token) * tokens;
        Estimate {
            outputs: BTreeMap::from([(String::new(), table)]),
            flops: models.iter().map(flops).sum::<f64>() + teacher.flops_per_token * tokens,
            memory: models
                .iter()
                .map(|model| (model.parameters + teacher.parameters) * 4.0)
                .fold(0.0, f64::max),
            ..Estimate::default()
        }
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let rules = Rules {
            template: params.template,
            template_file: params.template_file.as_ref(),
            special: params.add_special_tokens,
            prompt: "",
            references: &[],
            group_by: None,
            limit: params.limit.unwrap_or(usize::MAX),
        };
        let questions = Questions::read(&context.open(&params.prompts)?, &rules, context)?;
        let teacher = context.open(&params.teacher)?;
        let open = |artifact: &Artifact| LanguageModel::open(artifact, &context.device, context.precision);
        let taught = open(&teacher)?.for_writing();
        let prompts = questions.prompts(&taught, &teacher.label, &rules, context)?;
        let work = Work {
            params: &params,
            prompts: &prompts,
            teacher: &taught,
            context,
        };
        let models = context.open_all(&params.models)?;
        let of_teacher = work.texts(&taught, "teacher", &teacher.label)?;
        let mut table = Table::default();
        for (number, artifact) in models.iter().enumerate() {
            let student = open(artifact)?.for_writing();
            let policy = params.vocab_policy;
            let vocabulary = shared_vocabulary(artifact, &student.loaded, &teacher, &taught.loaded, policy)?;
            let own = work.texts(&student, &format!("model{number}"), &artifact.label)?;
            let own = work.errors(&student, vocabulary, &own, &artifact.label)?;
            let teachers = work.errors(&student, vocabulary, &of_teacher, &artifact.label)?;
            work.add_to(&mut table, &artifact.label, &own, &teachers);
        }
        table.write(&context.output("")?, ())
    }
}

struct Work<'a> {
    params: &'a Params,
    prompts: &'a [Prompt],
    teacher: &'a LanguageModel,
    context: &'a Context,
}

impl Work<'_> {
    /// What a model writes after every prompt, as token ids. What an earlier attempt has finished is not written again.
    fn texts(&self, model: &LanguageModel, name: &str, label: &str) -> Result<Vec<Vec<Vec<u32>>>> {
        let context = self.context;
        let kept = context.scratch.join(format!("{name}.json"));
        let read = std::fs::read(&kept).ok();
        if let Some(texts) = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(texts);
        }
        let bar = context.services.bar(label, 0, "tokens");
        let mut done = |tokens| {
            bar.advance(tokens);
            context.check_cancelled()
        };
        let Params {
            sampling,
            samples,
            batch_size,
            ..
        } = self.params;
        // The same stream for all: equal models write equal texts.
        let written = Generator::new(model, &context.device)
            .batch_size(*batch_size)
            .generate(
                self.prompts,
                sampling,
                *samples,
                &context.stream("texts"),
                &mut done,
            )?;
        let mut by_row: BTreeMap<u64, Vec<Vec<u32>>> = BTreeMap::new();
        for one in written {
            by_row.entry(one.row).or_default().push(one.ids);
        }
        let texts: Vec<Vec<Vec<u32>>> = self
            .prompts
            .iter()
            .map(|prompt| by_row.remove(&prompt.row).unwrap_or_default())
            .collect();
        disk::write_atomically(&kept, serde_json::to_vec(&texts).expect("ids are plain"))
            .map_err(Error::io("cannot write", &kept))?;
        Ok(texts)
    }

    /// KL(p‖q) before every token of the texts, over the whole vocabulary.
    fn errors(
        &self,
        student: &LanguageModel,
        vocabulary: usize,
        texts: &[Vec<Vec<u32>>],
        label: &str,
    ) -> Result<Errors> {
        let context = self.context;
        let skipped = usize::from(self.params.skip_first);
        let mut whole = Vec::new();
        for (prompt, texts) in self.prompts.iter().zip(texts) {
            whole.extend(
                texts
                    .iter()
                    .map(|text| ([prompt.ids.as_slice(), text].concat(), prompt.ids.len())),
            );
        }
        let bar = context.services.bar(label, whole.len() as u64, "texts");
        let (mut flops, mut tokens) = (0.0, 0);
        let mut errors = Vec::with_capacity(whole.len());
        for batch in whole.chunks(self.params.batch_size) {
            context.check_cancelled()?;
            let compared = batch.iter().map(|(ids, prompt)| Compared {
                ids: &ids[..ids.len() - 1],
                after: (prompt - 1 + skipped..ids.len() - 1).collect(),
            });
            let compared: Vec<Compared> = compared.collect();
            let (student, teacher) = (&student.loaded, &self.teacher.loaded);
            let decoders = [&student.decoder, &teacher.decoder];
            let kinds = [Divergence::ForwardKl];
            let found = divergences(decoders, vocabulary, &compared, &kinds, &context.device);
            for text in &compared {
                tokens += text.ids.len() as u64;
                flops += forward_flops(&student.config, text.ids.len());
                flops += forward_flops(&teacher.config, text.ids.len());
            }
            errors.extend(found.into_iter().flatten());
            bar.advance(batch.len() as u64);
        }
        context.services.cost(tokens, flops);
        if errors.iter().flatten().any(|error: &f64| !error.is_finite()) {
            let message = format!("a divergence of `{label}` from the teacher is not finite");
            return Err(Error::data("non_finite_divergence", message)
                .hint("one of the models has diverged; in bf16, try f32"));
        }
        let samples = self.params.samples as usize;
        Ok(errors.chunks(samples).map(<[Vec<f64>]>::to_vec).collect())
    }

    fn add_to(&self, table: &mut Table, label: &str, own: &Errors, teachers: &Errors) {
        let reduction = self.params.reduction;
        let sums = |errors: &Errors| accumulated(errors, reduction, 0.0);
        let (own_sums, teacher_sums) = (sums(own), sums(teachers));
        let all = excess(&own_sums, &teacher_sums);
        let instances: Vec<u64> = self.prompts.iter().map(|prompt| prompt.row).collect();
        for &length in &self.params.lengths {
            let group = format!("{length} tokens");
            let place = |metric| Place::of(label, metric).within(Some(&group));
            let at = |sums: &[f64]| sums[..length.min(sums.len())].last().copied().unwrap_or_default();
            let (r, e) = (at(&own_sums), at(&teacher_sums));
            let percent = at(&all);
            if reduction == Reduction::Pooled {
                let n = instances.len() as u64;
                if percent.is_finite() {
                    table.figure(place("ex_acc_err"), percent, n, None);
                }
                table.figure(place("own_kl"), r, n, None);
                table.figure(place("teacher_kl"), e, n, None);
                continue;
            }
            let parts = |errors: &Errors| -> Vec<f64> {
                let of_prompt = |texts: &Vec<Vec<f64>>| at(&sums(&vec![texts.clone()]));
                errors.iter().map(of_prompt).collect()
            };
            let (own, teachers) = (parts(own), parts(teachers));
            // The quotient's part of a prompt, to first order around it, as a standard error is.
            let part = |(own, teacher): (&f64, &f64)| percent + (own - r / e * teacher) / e * 100.0;
            let quotient: Vec<f64> = own.iter().zip(&teachers).map(part).collect();
            // Of a model that is the teacher there is no quotient.
            if percent.is_finite() {
                table.estimate(place("ex_acc_err"), percent, &instances, &quotient);
            }
            table.estimate(place("own_kl"), r, &instances, &own);
            table.estimate(place("teacher_kl"), e, &instances, &teachers);
        }
        let axes = Axes {
            title: "Excess accumulated error",
            x: "tokens written",
            y: "percent",
            logarithmic: false,
        };
        let points: Vec<(f64, f64)> = (1..)
            .map(f64::from)
            .zip(all)
            .filter(|(_, y)| y.is_finite())
            .collect();
        table.curve(axes, label, &points);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::read_table;
    use crate::evaluate::generation::tests::{figures, pairs};
    use crate::inference::tests::bench;
    use serde_json::json;

    #[test]
    fn a_model_held_against_itself_has_no_error_and_another_has() {
        let bench = bench();
        pairs(&bench);
        let params = json!({ "models": ["@other", "@model"], "teacher": "@model", "prompts": "@pairs",
            "template": "plain", "samples": 3, "lengths": [2, 6], "sampling": { "temperature": 1.0, "max_tokens": 6 } });
        let table = bench
            .run::<ExposureBias>("bias", params.clone())
            .expect("measures");
        let found = figures(&read_table(&table).expect("reads"));
        let value = |variant: &str, metric: &str, group: &str| {
            found[&(variant.to_owned(), metric.to_owned(), group.to_owned())]
        };
        for metric in ["own_kl", "teacher_kl"] {
            assert!(value("model", metric, "6 tokens").abs() < 1e-5, "{found:?}");
            let sums = [
                value("other", metric, "2 tokens"),
                value("other", metric, "6 tokens"),
            ];
            assert!(sums[0] > 0.01 && sums[1] > sums[0], "{found:?}");
        }
        let (r, e) = (
            value("other", "own_kl", "6 tokens"),
            value("other", "teacher_kl", "6 tokens"),
        );
        let percent = value("other", "ex_acc_err", "6 tokens");
        assert!((percent - (r - e) / e * 100.0).abs() < 1e-9, "{found:?}");

        let mut pooled = params;
        pooled["reduction"] = json!("pooled");
        let table = bench.run::<ExposureBias>("pooled", pooled).expect("measures");
        let pooled = figures(&read_table(&table).expect("reads"));
        let key = ("other".to_owned(), "own_kl".to_owned(), "6 tokens".to_owned());
        assert!(pooled[&key] >= r - 1e-9, "ended texts leave the pool");
    }

    #[test]
    fn text_must_be_drawn() {
        let params =
            json!({ "models": "@m", "teacher": "@t", "prompts": "@p", "sampling": { "max_tokens": 4 } });
        let params: Params = serde_json::from_value(params).expect("parameters");
        assert_eq!(ExposureBias::check(&params)[0].code, "no_randomness");
    }
}
