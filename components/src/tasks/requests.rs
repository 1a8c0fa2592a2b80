//! Questions as tokens.

use super::item::{Ask, Item};
use crate::inference::{LanguageModel, Pair, Prompt};
use crate::{Error, Result};

/// The pairs of prefix and continuation to be scored for all items, in their order.
pub(super) fn pairs(items: &[Item], model: &LanguageModel) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for item in items {
        match &item.ask {
            Ask::Choose {
                contexts,
                continuations,
                ..
            } => {
                for (context, continuation) in contexts.iter().zip(continuations) {
                    pairs.push(pair(context, continuation, model)?);
                }
            }
            Ask::Continue {
                context,
                continuation,
            } => pairs.push(pair(context, continuation, model)?),
            Ask::Write { .. } => {}
        }
    }
    Ok(pairs)
}

/// A tokenizer may draw the answer's first letters into the question's last token. If that takes all of them, the answer
/// is encoded on its own: one without tokens would be certain.
fn pair(context: &str, continuation: &str, model: &LanguageModel) -> Result<Pair> {
    let mut pair = Pair::encode(model, context, continuation, true)?;
    if pair.continuation.is_empty() {
        pair.continuation = model.encode(continuation, false)?;
    }
    Ok(pair)
}

/// The prompts to be gone on with; each leaves room for `room` new tokens: of one that is too long the end is kept.
pub(super) fn prompts(items: &[Item], room: usize, model: &LanguageModel) -> Result<Vec<Prompt>> {
    let most = model.context().saturating_sub(room).max(1);
    let mut prompts = Vec::new();
    for item in items {
        if let Ask::Write { prompt, .. } = &item.ask {
            let mut ids = model.encode(prompt, true)?;
            ids.drain(..ids.len().saturating_sub(most));
            if ids.is_empty() {
                ids.push(first(model)?);
            }
            prompts.push(Prompt {
                row: item.number,
                ids,
            });
        }
    }
    Ok(prompts)
}

/// The token that a text without any begins with.
fn first(model: &LanguageModel) -> Result<u32> {
    let first = model.bos().or(model.ends().first().copied());
    first.ok_or_else(|| {
        Error::data(
            "empty_prompt",
            "an empty prompt, and the model has no token of beginning or end",
        )
        .hint("give the task a `text` or a `preamble`")
    })
}
