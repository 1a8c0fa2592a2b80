//! `tokenizer.train`: byte-level BPE.

use super::bpe::learn;
use crate::artifact::{Document, InstructionPair, write_tokenizer};
use crate::component::{Output, Problem, main_output};
use crate::corpus::{Documents, Pairs};
use crate::reference;
use crate::{Component, Context, Error, Estimate, Kind, Ref, Result, Seeding, Size, Sizes};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer};

/// Documents whose words are counted at once.
const BATCH: usize = 1024;

/// Trains a byte-level BPE tokenizer.
#[derive(Debug)]
pub enum Train {}

/// Parameters of `tokenizer.train`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainParams {
    /// The documents to learn from; of instruction pairs, instruction, input and answer are lines of a document.
    pub corpus: Ref<reference::Texts>,
    /// Entries of the vocabulary: special tokens, 256 bytes, and merges. A small corpus may give fewer.
    #[schemars(range(min = 257, max = 1_000_000), extend("x-unit" = "tokens"))]
    pub vocab_size: usize,
    /// The token that ends a document; it is always the first entry.
    #[serde(default = "eos")]
    #[schemars(length(min = 1))]
    pub eos_token: String,
    /// Further special tokens, after it.
    #[serde(default)]
    pub special_tokens: Vec<String>,
    /// A pair met fewer times is not merged.
    #[serde(default = "min_frequency")]
    #[schemars(range(min = 1))]
    pub min_frequency: u64,
}

fn eos() -> String {
    "<|endoftext|>".to_owned()
}

fn min_frequency() -> u64 {
    2
}

impl Component for Train {
    type Params = TrainParams;
    const NAME: &'static str = "tokenizer.train";
    const SUMMARY: &'static str = "Trains a byte-level BPE tokenizer on documents";
    const SEEDING: Seeding = Seeding::None;
    const EXAMPLE: &'static str = r#"use = "tokenizer.train"
corpus = "@pool"
vocab_size = 2048
"#;

    fn outputs(_: &TrainParams) -> Vec<Output> {
        main_output(Kind::Tokenizer)
    }

    fn check(params: &TrainParams) -> Vec<Problem> {
        let mut problems = Vec::new();
        let special: BTreeSet<_> = params.special_tokens.iter().chain([&params.eos_token]).collect();
        if special.len() <= params.special_tokens.len() {
            problems.push(Problem {
                field: "special_tokens".to_owned(),
                code: "duplicate_token",
                message: "a special token is named twice".to_owned(),
                hint: Some("`eos_token` is one of them already".to_owned()),
            });
        }
        let least = 256 + special.len();
        if params.vocab_size < least {
            problems.push(Problem {
                field: "vocab_size".to_owned(),
                code: "vocabulary_too_small",
                message: format!(
                    "{} entries; expected at least {least}: 256 bytes and the special tokens",
                    params.vocab_size
                ),
                hint: None,
            });
        }
        problems
    }

    fn estimate(params: &TrainParams, _: &Sizes) -> Estimate {
        let size = Size {
            vocab_size: params.vocab_size as f64,
            ..Size::default()
        };
        Estimate {
            outputs: [(String::new(), size)].into(),
            ..Estimate::default()
        }
    }

    fn run(params: TrainParams, context: &Context) -> Result<()> {
        let corpus = context.open(&params.corpus)?;
        let words = if corpus.header.kind == Kind::Pairs {
            let pairs = Pairs::open(&corpus)?;
            count_words(pairs.len(), pairs.read().map(of_pair), context)?
        } else {
            let documents = Documents::open(&corpus, context)?;
            let read = documents.read(&[])?.map(|read| Ok(read?.1));
            count_words(documents.len(), read, context)?
        };
        let mut vocabulary = vec![params.eos_token.clone()];
        vocabulary.extend(params.special_tokens.iter().cloned());
        let special = vocabulary.len();
        let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
        alphabet.sort_unstable();
        vocabulary.extend(alphabet.into_iter().map(String::from));

        let wanted = params.vocab_size - vocabulary.len();
        let bar = context.services.bar("learning merges", wanted as u64, "merges");
        let learnt = learn(
            &words,
            vocabulary,
            params.vocab_size,
            params.min_frequency,
            || {
                bar.advance(1);
                context.check_cancelled()
            },
        )?;
        if learnt.vocabulary.len() < params.vocab_size {
            context.services.note(&format!(
                "the corpus gives a vocabulary of {}, not {}: no other pair is met {} times",
                learnt.vocabulary.len(),
                params.vocab_size,
                params.min_frequency
            ));
        }
        let json = assemble(learnt.vocabulary, learnt.merges, special)?;
        write_tokenizer(&context.output("")?, json.as_bytes(), &params.eos_token)?;
        Ok(())
    }
}

/// How often each word occurs, spelt in the byte-level alphabet. Sorted, so that nothing depends on hashing.
fn count_words(
    count: u64,
    documents: impl Iterator<Item = Result<Document>>,
    context: &Context,
) -> Result<BTreeMap<String, u64>> {
    let split = ByteLevel::new(false, true, true);
    let bar = context.services.bar("counting words", count, "documents");
    let mut total: HashMap<String, u64> = HashMap::new();
    let mut batch = Vec::new();
    let mut add = |batch: &mut Vec<Document>| -> Result<()> {
        context.check_cancelled()?;
        let counted: Vec<HashMap<String, u64>> = batch
            .par_chunks(64)
            .map(|documents| count_in(documents, split))
            .collect::<Result<_>>()?;
        // Sums do not depend on the order of the words.
        counted.into_iter().flatten().for_each(|(word, count)| {
            *total.entry(word).or_default() += count;
        });
        bar.advance(batch.len() as u64);
        batch.clear();
        Ok(())
    };
    for document in documents {
        batch.push(document?);
        if batch.len() == BATCH {
            add(&mut batch)?;
        }
    }
    add(&mut batch)?;
    Ok(total.into_iter().collect())
}

/// A pair as a text.
fn of_pair(pair: Result<InstructionPair>) -> Result<Document> {
    let pair = pair?;
    Ok(Document {
        id: pair.id.to_string(),
        text: format!("{}\n{}\n{}", pair.prompt, pair.input, pair.response),
        cells: Vec::new(),
    })
}

fn count_in(documents: &[Document], split: ByteLevel) -> Result<HashMap<String, u64>> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for document in documents {
        let mut text = PreTokenizedString::from(document.text.as_str());
        split.pre_tokenize(&mut text).map_err(|e| {
            Error::data(
                "cannot_encode",
                format!("document `{}` cannot be cut into words: {e}", document.id),
            )
        })?;
        for (word, _, _) in text.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

/// `tokenizer.json` for a vocabulary whose first `special` entries are special tokens.
fn assemble(vocabulary: Vec<String>, merges: Vec<(String, String)>, special: usize) -> Result<String> {
    let added: Vec<_> = vocabulary[..special]
        .iter()
        .map(|token| AddedToken::from(token.clone(), true))
        .collect();
    let model = BPE::new(vocabulary.into_iter().zip(0..).collect(), merges);
    let mut tokenizer = Tokenizer::new(model);
    let bytes = ByteLevel::new(false, true, true);
    tokenizer
        .with_pre_tokenizer(Some(bytes))
        .with_decoder(Some(bytes))
        .with_post_processor(Some(bytes));
    let failed = |e| {
        Error::data(
            "bad_tokenizer",
            format!("the trained tokenizer is not sound: {e}"),
        )
    };
    tokenizer.add_special_tokens(added).map_err(failed)?;
    tokenizer.to_string(false).map_err(failed)
}
