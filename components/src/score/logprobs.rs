//! `score.logprobs`: what every item costs a model.

use super::common::{self, Reduction};
use super::documents::{self, Scored};
use super::nll::Work;
use crate::artifact::{Item, Scores, TokenScoresWriter, View};
use crate::component::{Component, Estimate, Output, Problem, Sharding, Sizes, main_output};
use crate::corpus::Documents;
use crate::inference::{LanguageModel, Texts};
use crate::reference::{self, Ref};
use crate::tokens::Blocks;
use crate::{Artifact, Context, Error, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Negative log-likelihoods, in nats: `mean_nll`, `sum_nll`, `tokens` (scored tokens of the item), and of documents `bytes`
/// (of the scored text in UTF-8): `sum_nll` / ln 2 / `bytes` is in bits per byte.
#[derive(Debug, Clone, Copy)]
pub struct Logprobs;

/// What `score.logprobs` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What is scored: packed blocks, or documents, which are read with the model's own tokenizer.
    pub data: Ref<reference::Scorable>,
    /// The model that scores.
    pub model: Ref<reference::Model>,
    /// Which of the columns a selection takes unless told otherwise: `mean_nll` or `sum_nll`.
    #[serde(default)]
    pub reduction: Reduction,
    /// What of packed blocks gets a score: each block, or each document by all its tokens. Of documents, each has one.
    #[serde(default)]
    pub item: Item,
    /// Blocks, or windows of documents, that go through the model together.
    #[serde(default = "common::batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "sequences"))]
    pub batch_size: usize,
    /// Documents only: a document longer than the context is read in windows begun every so many tokens, and each token is
    /// scored with at least the context less this many before it. Half of the context where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "tokens"))]
    pub stride: Option<usize>,
    /// Documents only: whether the tokenizer puts around a text what it is made to, as a token of beginning. True where left
    /// out. Without such a token the first of a document is not scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_special_tokens: Option<bool>,
    /// Documents only: a template over `id`, `text` and the kept columns; what it gives is read but not scored. Spaces at its
    /// end count to the continuation. Goes with `continuation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"{{ question }}")]
    pub prefix: Option<String>,
    /// Documents only: a template for what is scored after `prefix`, instead of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &" {{ answer }}")]
    pub continuation: Option<String>,
    /// Whether `tokens.parquet` beside the scores keeps every scored token's `index` (the document; of packed blocks the
    /// block, whatever `item` is), `position` in it, `id` and `logprob`. False where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<bool>,
}

impl Component for Logprobs {
    type Params = Params;
    const NAME: &'static str = "score.logprobs";
    const SUMMARY: &'static str = "negative log-likelihood of every item under a model";
    const PAPER: Option<&'static str> = Some("miniplm");
    const NUMERIC: bool = true;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "score.logprobs"
data = "@tokens"
model = "@teacher"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Scores)
    }

    fn check(params: &Params) -> Vec<Problem> {
        let (field, other) = match (&params.prefix, &params.continuation) {
            (Some(_), None) => ("prefix", "continuation"),
            (None, Some(_)) => ("continuation", "prefix"),
            _ => ("", ""),
        };
        let mut problems = Vec::new();
        if !field.is_empty() {
            problems.push(Problem {
                field: field.to_owned(),
                code: "missing_field",
                message: format!("`{field}` needs `{other}` beside it"),
                hint: Some("prefix = \"{{ question }}\", continuation = \" {{ answer }}\"".to_owned()),
            });
        }
        for (field, template) in [("prefix", &params.prefix), ("continuation", &params.continuation)] {
            if let Some(Err(error)) = template.as_deref().map(Texts::parse) {
                problems.push(Problem {
                    field: field.to_owned(),
                    code: "bad_template",
                    message: error.to_string(),
                    hint: None,
                });
            }
        }
        problems
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        common::estimate(sizes, params.data.as_str(), &[params.model.as_str()], 4.0)
    }

    fn merge(_: Params, parts: &[PathBuf], context: &Context) -> Result<()> {
        common::merge(context, parts)
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let model = context.open(&params.model)?;
        if View::open(&data, context)?.source.header.kind == Kind::Corpus {
            return of_documents(&params, context, &data, &model);
        }
        let of_documents_only = [
            ("stride", params.stride.is_some()),
            ("add_special_tokens", params.add_special_tokens.is_some()),
            ("prefix", params.prefix.is_some()),
        ];
        if let Some((field, _)) = of_documents_only.iter().find(|(_, given)| *given) {
            let message = format!("`{field}` speaks of documents; `{}` is packed", data.label);
            return Err(
                Error::data("not_for_blocks", message).hint("leave it out, or give the corpus as `data`")
            );
        }
        let blocks = Blocks::open(&data, context)?;
        let work = Work::new(context, &blocks, params.item, params.batch_size)?;
        work.check_model(&model)?;
        let mut tokens = common::tokens_table(context, params.tokens.unwrap_or(false))?;
        let items = work.items_with_tokens(&model, "model", tokens.as_mut())?;
        let columns = vec![
            ("mean_nll", Reduction::Mean.all(&items)),
            ("sum_nll", Reduction::Sum.all(&items)),
            ("tokens", common::tokens(&items)),
        ];
        let index = items.iter().map(|item| item.index).collect();
        let scores = common::scores(context, params.item, index, primary(&params), columns);
        write(context, &scores, &data, tokens)
    }
}

/// Writes the main output, with the table of tokens that was begun there, if one was.
fn write(
    context: &Context,
    scores: &Scores,
    data: &Artifact,
    tokens: Option<TokenScoresWriter>,
) -> Result<()> {
    let to = context.output("")?;
    let Some(tokens) = tokens else {
        return scores.write(&to, data.as_source());
    };
    tokens.finish()?;
    scores.write_beside_tokens(&to, data.as_source())
}

fn primary(params: &Params) -> &'static str {
    match params.reduction {
        Reduction::Mean => "mean_nll",
        Reduction::Sum => "sum_nll",
    }
}

fn of_documents(params: &Params, context: &Context, data: &Artifact, model: &Artifact) -> Result<()> {
    let documents = Documents::open(data, context)?;
    if documents.is_empty() {
        return Err(Error::data("empty_input", "there are no documents to score"));
    }
    let model = LanguageModel::open(model, &context.device, context.precision)?;
    let scored = match (&params.prefix, &params.continuation) {
        (Some(prefix), Some(continuation)) => Scored::Continuation {
            prefix: Texts::parse(prefix)?,
            continuation: Texts::parse(continuation)?,
        },
        _ => Scored::Whole {
            stride: stride(params, model.context())?,
        },
    };
    let work = documents::Work {
        context,
        documents: &documents,
        model: &model,
        scored,
        special: params.add_special_tokens.unwrap_or(true),
        batch_size: params.batch_size,
    };
    let mut tokens = common::tokens_table(context, params.tokens.unwrap_or(false))?;
    let items = work.run(tokens.as_mut())?;
    let column = |get: fn(&documents::DocumentNll) -> f64| items.iter().map(get).collect();
    let columns = vec![
        ("mean_nll", column(|d| d.sum / d.tokens as f64)),
        ("sum_nll", column(|d| d.sum)),
        ("tokens", column(|d| d.tokens as f64)),
        ("bytes", column(|d| d.bytes as f64)),
    ];
    let index = items.iter().map(|item| item.index).collect();
    let scores = common::scores(context, Item::Document, index, primary(params), columns);
    write(context, &scores, data, tokens)
}

/// How far windows lie apart in a model of this context. `stride_too_long`.
fn stride(params: &Params, context: usize) -> Result<usize> {
    let stride = params.stride.unwrap_or((context / 2).max(1));
    if stride < context {
        return Ok(stride);
    }
    let message = format!("`stride` is {stride}; the model reads at most {context} tokens");
    Err(Error::data("stride_too_long", message).hint("take a smaller `stride`, or leave it out"))
}
