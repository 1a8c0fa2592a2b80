//! `generate.text`: goes on with every document of a corpus.

use crate::artifact::{
    Cell, Document, Generation, GenerationsDetails, read_generations, read_rows, write_generations,
    write_rows,
};
use crate::component::{Component, Estimate, Output, Problem, Seeding, Sharding, Size, Sizes, main_output};
use crate::corpus::Documents;
use crate::flops::forward_flops;
use crate::inference::{Chat, Generator, LanguageModel, Message, Prompt, Sampling};
use crate::reference::{self, Ref};
use crate::table::damaged;
use crate::template::Template;
use crate::{Artifact, Context, Error, Kind, Result, disk};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::iter::repeat_n;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

/// Texts that are written between two checkpoints of the work, as prompts times samples.
const CHUNK: usize = 256;

/// Goes on with every document, alone or as a mixture of two models.
#[derive(Debug, Clone, Copy)]
pub struct Text;

/// What `generate.text` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The model that writes.
    pub model: Ref<reference::Model>,
    /// The documents that prompts are made of.
    pub prompts: Ref<reference::Documents>,
    /// The prompt, as a template over a document's columns.
    #[serde(default = "whole_text")]
    #[schemars(example = &"Question: {{ text }}\nAnswer:")]
    pub template: String,
    /// Puts the prompt as one message of a user into the model's chat template.
    #[serde(default)]
    pub chat: bool,
    /// Adds the special tokens that the tokenizer puts around a text. A chat template has its own.
    #[serde(default = "yes")]
    pub add_special_tokens: bool,
    /// How texts are gone on with.
    #[serde(default)]
    pub sampling: Sampling,
    /// Texts written for each prompt.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 65536))]
    pub samples: u32,
    /// Draws from the probabilities of two models, mixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// Texts that grow side by side. It changes no result.
    #[serde(default = "batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "texts", "x-runtime" = true))]
    pub batch_size: usize,
}

/// A second model that tokens are drawn from.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// The model; its tokenizer is that of the first.
    pub model: Ref<reference::Model>,
    /// Its share of the probability.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: f64,
}

fn whole_text() -> String {
    "{{ text }}".to_owned()
}
fn yes() -> bool {
    true
}
fn one() -> u32 {
    1
}
fn batch_size() -> usize {
    16
}

impl Component for Text {
    type Params = Params;
    const NAME: &'static str = "generate.text";
    const VERSION: u32 = 2;
    const SUMMARY: &'static str = "texts that a model writes, one or several for every document";
    const SEEDING: Seeding = Seeding::Experiment;
    const NUMERIC: bool = true;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "generate.text"
model = "@model"
prompts = "@prompts"
template = "Question: {{ text }}\nAnswer:"
sampling = { max_tokens = 64, temperature = 0.7, top_p = 0.9, stop = ["\n"] }
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Generations)
    }

    fn check(params: &Params) -> Vec<Problem> {
        let mut problems = params.sampling.problems("sampling");
        if let Err(error) = Template::parse_exact(&params.template) {
            problems.push(Problem {
                field: "template".to_owned(),
                code: "bad_template",
                message: error.to_string(),
                hint: None,
            });
        }
        problems
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let prompts = sizes.of(params.prompts.as_str());
        let texts = prompts.items * f64::from(params.samples);
        let tokens = texts * params.sampling.max_tokens as f64;
        let other = params.mix.as_ref().map(|mix| sizes.of(mix.model.as_str()));
        let models = || [sizes.of(params.model.as_str())].into_iter().chain(other);
        let made = Size {
            items: texts,
            tokens,
            bytes: prompts.bytes * f64::from(params.samples) + tokens * 12.0,
            ..Size::default()
        };
        Estimate {
            outputs: BTreeMap::from([(String::new(), made)]),
            flops: models()
                .map(|model| model.flops_per_token * (tokens + prompts.tokens))
                .sum(),
            memory: models().map(|model| model.parameters * 4.0).sum(),
            ..Estimate::default()
        }
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let prompts = context.open(&params.prompts)?;
        let artifact = context.open(&params.model)?;
        let documents = Documents::open(&prompts, context)?;
        if documents.is_empty() {
            return Err(Error::data("empty_input", "there are no prompts"));
        }
        documents.refuse_weights()?;
        let open = |artifact| -> Result<_> {
            Ok(LanguageModel::open(artifact, &context.device, context.precision)?.for_writing())
        };
        let model = open(&artifact)?;
        let other = match &params.mix {
            Some(mix) => Some((open(&context.open(&mix.model)?)?, mix.share)),
            None => None,
        };
        let mut generator = Generator::new(&model, &context.device).batch_size(params.batch_size);
        if let Some((other, share)) = &other {
            generator = generator.mixed_with(other, *share);
        }
        let (texts, prompts_ids) = read_prompts(&params, &documents, &model)?;
        generator.check(&prompts_ids, &params.sampling)?;
        let own = share(&params, context, prompts_ids.len());
        let (texts, prompts_ids) = (&texts[own.clone()], &prompts_ids[own.clone()]);
        let first = own.start / chunk_size(&params);
        let all = write_all(&params, context, &generator, first, texts, prompts_ids)?;
        let models = [Some(&model), other.as_ref().map(|(other, _)| other)];
        count(&params, context, models.into_iter().flatten(), prompts_ids, &all);
        let details = GenerationsDetails {
            rows: all.len() as u64,
            samples: params.samples,
            tokens: all.iter().map(|row| row.generated.ids.len() as u64).sum(),
            model: artifact.as_source(),
            precision: context.precision,
        };
        write_generations(&context.output("")?, &all, prompts.as_source(), &details)
    }

    fn merge(_: Params, parts: &[PathBuf], context: &Context) -> Result<()> {
        let mut all = Vec::new();
        let mut whole: Option<(_, GenerationsDetails)> = None;
        for folder in parts {
            let part = Artifact::open(folder, "", "a shard's texts")?;
            all.extend(read_generations(&part)?);
            let details: GenerationsDetails = part.details()?;
            match &mut whole {
                Some((_, whole)) => {
                    whole.rows += details.rows;
                    whole.tokens += details.tokens;
                }
                None => whole = Some((part.header.source, details)),
            }
        }
        let Some((Some(source), details)) = whole else {
            let message = "a shard's texts do not say what they go on with";
            return Err(Error::data("bad_artifact", message));
        };
        write_generations(&context.output("")?, &all, source, &details)
    }
}

/// Prompts of a chunk.
fn chunk_size(params: &Params) -> usize {
    (CHUNK / params.samples as usize).max(1)
}

/// This shard's prompts out of so many: whole chunks.
fn share(params: &Params, context: &Context, prompts: usize) -> Range<usize> {
    let size = chunk_size(params);
    let chunks = context.shard.range(prompts.div_ceil(size) as u64);
    let cut = |chunk: u64| (chunk as usize * size).min(prompts);
    cut(chunks.start)..cut(chunks.end)
}

/// The prompts as texts and as tokens, numbered by document.
fn read_prompts(
    params: &Params,
    documents: &Documents,
    model: &LanguageModel,
) -> Result<(Vec<String>, Vec<Prompt>)> {
    let template = Template::parse_exact(&params.template)?;
    let chat = params.chat.then(|| Chat::of(model)).transpose()?;
    let columns = &documents.details().columns;
    let mut texts = Vec::new();
    let mut prompts = Vec::new();
    for document in documents.read(columns)? {
        let (row, document) = document?;
        let named = |error: Error| error.at(format!("document {row}"));
        let mut text = template.render(&values(&document, columns)).map_err(named)?;
        let ids = match &chat {
            Some(chat) => {
                text = chat.render(&[Message::user(text)]).map_err(named)?;
                model.encode_marked(&text)
            }
            None => model.encode(&text, params.add_special_tokens),
        };
        let ids = ids.map_err(named)?;
        texts.push(text);
        prompts.push(Prompt { row, ids });
    }
    Ok((texts, prompts))
}

/// A document as a template sees it.
fn values(document: &Document, columns: &[String]) -> Value {
    let mut values = Map::new();
    values.insert("id".to_owned(), json!(document.id));
    values.insert("text".to_owned(), json!(document.text));
    for (name, cell) in columns.iter().zip(&document.cells) {
        let value = match cell {
            Cell::Null => Value::Null,
            Cell::Bool(value) => json!(value),
            Cell::Number(value) => json!(value),
            Cell::Text(value) => json!(value),
        };
        values.insert(name.clone(), value);
    }
    Value::Object(values)
}

/// Writes chunk by chunk, from chunk `first` of all on; what a file in scratch holds is not written again.
fn write_all(
    params: &Params,
    context: &Context,
    generator: &Generator,
    first: usize,
    texts: &[String],
    prompts: &[Prompt],
) -> Result<Vec<Generation>> {
    let services = &context.services;
    let stream = context.stream("generate.text");
    let most = u64::from(params.samples) * params.sampling.max_tokens as u64;
    let bar = services.bar("generating", prompts.len() as u64 * most, "tokens");
    let size = chunk_size(params);
    let (started, mut fresh) = (Instant::now(), 0);
    let mut all = Vec::new();
    for (number, (texts, prompts)) in (first..).zip(texts.chunks(size).zip(prompts.chunks(size))) {
        context.check_cancelled()?;
        let file = context.scratch.join(format!("generations-{number:08}.parquet"));
        if file.exists() {
            let kept = read_rows(&file)?;
            let rows = kept.iter().map(|row| row.generated.row);
            let wanted = prompts
                .iter()
                .flat_map(|prompt| repeat_n(prompt.row, params.samples as usize));
            if !rows.eq(wanted) {
                return Err(damaged("these are texts of other prompts", &file));
            }
            all.extend(kept);
            bar.advance(prompts.len() as u64 * most);
            continue;
        }
        let before = fresh;
        let made = generator.generate(
            prompts,
            &params.sampling,
            params.samples,
            &stream,
            &mut |tokens| {
                fresh += tokens;
                bar.advance(tokens);
                context.check_cancelled()
            },
        )?;
        // Texts that ended early leave a rest.
        bar.advance(prompts.len() as u64 * most - (fresh - before));
        let prompt = |i: usize| texts[i / params.samples as usize].clone();
        let made = made.into_iter().enumerate().map(|(i, generated)| Generation {
            prompt: prompt(i),
            generated,
        });
        let chunk: Vec<Generation> = made.collect();
        let unfinished = file.with_extension("part");
        write_rows(&unfinished, &chunk)?;
        let commit = disk::sync(&unfinished).and_then(|()| disk::rename(&unfinished, &file));
        commit.map_err(Error::io("cannot write", &file))?;
        all.extend(chunk);
    }
    if fresh > 0 {
        services.measure(
            "tokens_per_second",
            fresh as f64 / started.elapsed().as_secs_f64(),
        );
    }
    Ok(all)
}

/// Notes what was read and written: every prompt once, and every new token.
fn count<'a>(
    params: &Params,
    context: &Context,
    models: impl Iterator<Item = &'a LanguageModel>,
    prompts: &[Prompt],
    all: &[Generation],
) {
    let samples = params.samples as usize;
    let read = |i: usize| prompts[i].ids.len();
    let written = |i: usize| read(i / samples) + all[i].generated.ids.len();
    let flops: f64 = models
        .map(|model| {
            let cost = |width: usize| forward_flops(&model.loaded.config, width);
            let prompts: f64 = (0..prompts.len()).map(|i| cost(read(i))).sum();
            let texts: f64 = (0..all.len())
                .map(|i| cost(written(i)) - cost(read(i / samples)))
                .sum();
            prompts + texts
        })
        .sum();
    let new: usize = all.iter().map(|row| row.generated.ids.len()).sum();
    let tokens = prompts.iter().map(|prompt| prompt.ids.len()).sum::<usize>() + new;
    context.services.cost(tokens as u64, flops);
}
