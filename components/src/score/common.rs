//! What the scorers by models share.

use super::nll::ItemNll;
use crate::artifact::{Item, Scores, TokenScores, TokenScoresWriter};
use crate::component::{Estimate, Size, Sizes};
use crate::{Artifact, Context, Error, Result, disk};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How an item's token losses become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Their mean over the scored tokens.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

impl Reduction {
    /// The number of one item, in nats.
    pub(super) fn of(self, item: &ItemNll) -> f64 {
        match self {
            Self::Mean => item.mean(),
            Self::Sum => item.sum,
        }
    }

    /// The numbers of all items.
    pub(super) fn all(self, items: &[ItemNll]) -> Vec<f64> {
        items.iter().map(|item| self.of(item)).collect()
    }
}

/// Sequences that go through a model together, unless told otherwise.
pub(crate) fn batch_size() -> usize {
    16
}

/// Tokens or words of the longest n-gram, unless told otherwise.
pub(super) fn longest_ngram() -> usize {
    2
}

/// Tokens of packed data, or about as many words as a corpus has: one in six bytes.
pub(super) fn units(sizes: &Sizes, data: &str) -> f64 {
    let data = sizes.of(data);
    if data.tokens > 0.0 {
        data.tokens
    } else {
        data.bytes / 6.0
    }
}

/// How many tokens of each item were scored, as a column.
pub(super) fn tokens(items: &[ItemNll]) -> Vec<f64> {
    items.iter().map(|item| item.tokens as f64).collect()
}

/// Writes the main output: scores of `data`, whose column `primary` a selection takes.
pub(super) fn write(
    context: &Context,
    data: &Artifact,
    item: Item,
    index: Vec<u64>,
    primary: &str,
    columns: Vec<(&str, Vec<f64>)>,
) -> Result<()> {
    scores(context, item, index, primary, columns).write(&context.output("")?, data.as_source())
}

/// Starts the table of tokens of the main output, where one is `wanted`.
pub(super) fn tokens_table(context: &Context, wanted: bool) -> Result<Option<TokenScoresWriter>> {
    let create = || TokenScoresWriter::create(&context.output("")?.join(TokenScores::FILE));
    wanted.then(create).transpose()
}

/// Writes a file of finished work, which appears whole or not at all.
pub(crate) fn commit(file: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let unfinished = file.with_extension("part");
    write(&unfinished)?;
    let commit = || {
        disk::sync(&unfinished)?;
        disk::rename(&unfinished, file)
    };
    commit().map_err(Error::io("cannot write", file))
}

/// Scores whose column `primary` a selection takes.
pub(super) fn scores(
    context: &Context,
    item: Item,
    index: Vec<u64>,
    primary: &str,
    columns: Vec<(&str, Vec<f64>)>,
) -> Scores {
    let columns = columns
        .into_iter()
        .map(|(name, values)| (name.to_owned(), values));
    Scores {
        item,
        primary: primary.to_owned(),
        precision: context.precision,
        index,
        columns: columns.collect(),
    }
}

/// Writes the main output of the shards whose output folders these are.
pub(super) fn merge(context: &Context, parts: &[PathBuf]) -> Result<()> {
    merge_with(context, parts, |_| Ok(()))
}

/// The same, with something done to the scores of all items before they are written.
pub(super) fn merge_with(
    context: &Context,
    parts: &[PathBuf],
    finish: impl FnOnce(&mut Scores) -> Result<()>,
) -> Result<()> {
    let parts: Vec<Artifact> = parts
        .iter()
        .map(|folder| Artifact::open(folder, "", "a shard's scores"))
        .collect::<Result<_>>()?;
    let read: Vec<Scores> = parts.iter().map(Scores::read).collect::<Result<_>>()?;
    let source = parts.first().and_then(|part| part.header.source.clone());
    let (Some(mut scores), Some(source)) = (Scores::merge(read), source) else {
        return Err(Error::data(
            "bad_artifact",
            "a shard's scores do not say what they are of",
        ));
    };
    finish(&mut scores)?;
    // Every part has a table of tokens or none has; their rows follow each other as the parts do.
    let files = parts.iter().map(|part| part.path.join(TokenScores::FILE));
    let files: Vec<PathBuf> = files.filter(|file| file.exists()).collect();
    let to = context.output("")?;
    let Some(mut tokens) = tokens_table(context, !files.is_empty())? else {
        return scores.write(&to, source);
    };
    for file in &files {
        tokens.append(file)?;
    }
    tokens.finish()?;
    scores.write_beside_tokens(&to, source)
}

/// What scoring `data` with `models` costs, with `columns` columns coming out.
pub(super) fn estimate(sizes: &Sizes, data: &str, models: &[&str], columns: f64) -> Estimate {
    let data = sizes.of(data);
    let models = || models.iter().map(|model| sizes.of(model));
    let scores = Size {
        items: data.items,
        tokens: data.tokens,
        bytes: data.items * 8.0 * (columns + 1.0),
        vocab_size: data.vocab_size,
        ..Size::default()
    };
    Estimate {
        outputs: BTreeMap::from([(String::new(), scores)]),
        flops: models()
            .map(|model| model.flops_per_token * data.predicted())
            .sum(),
        memory: models().map(|model| model.parameters * 4.0).fold(0.0, f64::max) + scores.bytes,
        ..Estimate::default()
    }
}
