//! What a model writes, kept over a restart.

use super::Params;
use crate::evaluate::questions::{Questions, Rules};
use crate::flops::forward_flops;
use crate::inference::{Finish, Generator, LanguageModel, Prompt};
use crate::{Artifact, Context, Error, Result, disk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A text that a model wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) tokens: u64,
    /// By itself, not for having as many tokens as were asked for.
    pub(super) ended: bool,
}

/// The draws of every question, in their order. What an earlier attempt has finished is not written again.
pub(super) fn texts(
    params: &Params,
    questions: &Questions,
    rules: &Rules,
    artifact: &Artifact,
    number: usize,
    context: &Context,
) -> Result<Vec<Vec<Written>>> {
    let kept = context.scratch.join(format!("model{number}.json"));
    if let Some(texts) = read(&kept) {
        return Ok(texts);
    }
    let model = LanguageModel::open(artifact, &context.device, context.precision)?.for_writing();
    let prompts = questions.prompts(&model, &artifact.label, rules, context)?;
    let bar = context.services.bar(&artifact.label, 0, "tokens");
    let mut done = |tokens| {
        bar.advance(tokens);
        context.check_cancelled()
    };
    let written = Generator::new(&model, &context.device)
        .batch_size(params.batch_size)
        .generate(
            &prompts,
            &params.sampling,
            params.draws,
            &context.stream("texts"),
            &mut done,
        )?;
    count(&model, &prompts, &written, context);
    let mut by_row: BTreeMap<u64, Vec<Written>> = BTreeMap::new();
    for one in written {
        by_row.entry(one.row).or_default().push(Written {
            tokens: one.ids.len() as u64,
            ended: one.finish != Finish::Length,
            text: one.text,
        });
    }
    let texts: Vec<Vec<Written>> = prompts
        .iter()
        .map(|prompt| by_row.remove(&prompt.row).unwrap_or_default())
        .collect();
    disk::write_atomically(&kept, serde_json::to_vec(&texts).expect("texts are plain"))
        .map_err(Error::io("cannot write", &kept))?;
    Ok(texts)
}

/// Notes what was read and written: every prompt once, and every new token.
fn count(
    model: &LanguageModel,
    prompts: &[Prompt],
    written: &[crate::inference::Generated],
    context: &Context,
) {
    let cost = |width: usize| forward_flops(&model.loaded.config, width);
    let lengths: BTreeMap<u64, usize> = prompts
        .iter()
        .map(|prompt| (prompt.row, prompt.ids.len()))
        .collect();
    let read: usize = lengths.values().sum();
    let new: usize = written.iter().map(|one| one.ids.len()).sum();
    let of_texts = written.iter().map(|one| {
        let prompt = lengths[&one.row];
        cost(prompt + one.ids.len()) - cost(prompt)
    });
    let flops = lengths.values().map(|&prompt| cost(prompt)).sum::<f64>() + of_texts.sum::<f64>();
    context.services.cost((read + new) as u64, flops);
}

/// What an earlier attempt has written.
fn read(file: &Path) -> Option<Vec<Vec<Written>>> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}
