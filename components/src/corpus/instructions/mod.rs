//! `corpus.instructions`: a small language of instructions whose right answers are known.
//!
//! ```text
//! pair        = instruction, input → answer
//! instruction = phrase "."  |  phrase ", then " phrase "."
//! input       = word { " " word }  |  word " " word { ", " word " " word }  |  number " " number
//! answer      = word { " " word }  |  "none"  |  number
//! ```
//!
//! A phrase is one of three ways to ask for what a [`Family`] does. Of two phrases the first leaves words (`reverse`,
//! `sort`, `rotate`, `keep`, `drop`), to which the second is applied; they are of two families. A list has different
//! words of at most three of eight classes, all drawn uniformly. Of every instruction all right answers are known, so the
//! best exact match is 1, and the least possible loss of a whole answer is the mean of ln(number of right answers), which
//! is above 0 for `choose` alone.

mod language;
mod lexicon;
mod operation;
mod params;
#[cfg(test)]
mod tests;

use crate::artifact::{InstructionPair, PairsWriter};
use crate::component::{Output, Problem};
use crate::{Component, Context, Error, Estimate, Kind, Result, Seeding, Size, Sizes};
use language::{Sentence, draw};
pub use operation::Family;
pub use params::{InstructionsParams, Lengths};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};

/// Drawing so often without finding anything new means that there is hardly anything left.
const MOST_REPEATS: u32 = 10_000;
/// Bytes of text in a pair, for estimates only.
const BYTES: f64 = 80.0;

/// Draws instructions of the language.
#[derive(Debug)]
pub enum Instructions {}

impl Component for Instructions {
    type Params = InstructionsParams;
    const NAME: &'static str = "corpus.instructions";
    const SUMMARY: &'static str = "Draws instructions of a synthetic language whose right answers are known";
    const SEEDING: Seeding = Seeding::Fixed;
    const EXAMPLE: &'static str = r#"use = "corpus.instructions"
counts = { train = 8000, valid = 200, test = 500 }
length = { min = 3, max = 5 }
"#;

    fn outputs(params: &InstructionsParams) -> Vec<Output> {
        let output = |name: &String| Output {
            name: name.clone(),
            kind: Kind::Pairs,
        };
        params.counts.keys().map(output).collect()
    }

    fn check(params: &InstructionsParams) -> Vec<Problem> {
        params.problems()
    }

    fn estimate(params: &InstructionsParams, _: &Sizes) -> Estimate {
        let part = |(name, count): (&String, &u64)| {
            let items = *count as f64;
            let size = Size {
                items,
                bytes: items * BYTES,
                ..Size::default()
            };
            (name.clone(), size)
        };
        Estimate {
            outputs: params.counts.iter().map(part).collect(),
            ..Estimate::default()
        }
    }

    fn run(params: InstructionsParams, context: &Context) -> Result<()> {
        let total = params.counts.values().sum();
        let bar = context.services.bar("drawing", total, "pairs");
        let mut known = HashSet::new();
        let mut id = 0;
        for (name, &count) in &params.counts {
            let mut writer = PairsWriter::create(&context.output(name)?);
            // A part's instructions follow from its name: another part's size hardly touches them.
            let mut stream = context.stream(&format!("instructions/{name}"));
            for written in 0..count {
                let Some(sentence) = fresh(&params, &mut stream, &mut known) else {
                    let message =
                        format!("after {written} of {count} instructions of `{name}` no new one was found");
                    return Err(Error::data("too_few_instructions", message)
                        .hint("ask for fewer, or allow more: `families`, `compose`, `length`, `words`"));
                };
                writer.push(pair(id, sentence))?;
                id += 1;
                bar.advance(1);
                if id % 1024 == 0 {
                    context.check_cancelled()?;
                }
            }
            writer.finish(count, BTreeMap::new())?;
        }
        Ok(())
    }
}

/// The next instruction that was not drawn before; none if there is hardly one left.
fn fresh(
    params: &InstructionsParams,
    stream: &mut crate::random::Stream,
    known: &mut HashSet<[u8; 16]>,
) -> Option<Sentence> {
    (0..MOST_REPEATS)
        .map(|_| draw(params, stream))
        .find(|sentence| known.insert(mark(sentence)))
}

/// 128 bits of a hash of the question.
fn mark(sentence: &Sentence) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for text in [&sentence.prompt, &sentence.input] {
        hasher.update(text.as_bytes());
        hasher.update(&[0]);
    }
    let mut mark = [0; 16];
    hasher.finalize_xof().fill(&mut mark);
    mark
}

fn pair(id: u64, sentence: Sentence) -> InstructionPair {
    let families: Vec<&str> = sentence.families.iter().map(|family| family.name()).collect();
    let family = if families.len() == 1 {
        families[0]
    } else {
        "composed"
    };
    let meta = json!({
        "family": family,
        "operations": families.join("+"),
        "answers": sentence.responses.len(),
    });
    InstructionPair {
        id,
        prompt: sentence.prompt,
        input: sentence.input,
        response: sentence.response,
        responses: sentence.responses,
        meta: meta.as_object().cloned().unwrap_or_default(),
    }
}
