//! Items as bags of hashed n-grams: of the token ids of packed blocks, or of the words of documents.
//!
//! Items are read a chunk at a time and handed on in order, so memory does not grow with their number but for a few words
//! an item that say where it lies.

use super::items::Items;
use super::ngrams::NGrams;
use crate::artifact::{Document, Item, View};
use crate::corpus::Documents;
use crate::reference::{self, Ref};
use crate::tokens::Blocks;
use crate::{Artifact, Bar, Context, Error, Kind, Result};
use rayon::prelude::*;
use std::collections::BTreeSet;

/// Items that are read at once.
const CHUNK: usize = 1024;

/// An item's n-grams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bag {
    /// The item's number in the tokens or the corpus.
    pub(super) index: u64,
    /// Tokens or words that were read.
    pub(super) tokens: u64,
    /// The bucket of every n-gram.
    pub(super) buckets: Vec<u32>,
}

/// Items of which bags are made.
#[derive(Debug)]
pub(super) struct Bags {
    label: String,
    fingerprint: String,
    ngrams: NGrams,
    data: Data,
}

#[derive(Debug)]
enum Data {
    /// Documents, each at one position of the view.
    Documents(Box<Documents>, Vec<u64>),
    /// Packed tokens.
    Blocks(Box<Blocks>, Items),
}

impl Bags {
    /// The items of packed blocks, or documents.
    pub(super) fn open(artifact: &Artifact, item: Item, ngrams: NGrams, context: &Context) -> Result<Self> {
        let data = if View::open(artifact, context)?.source.header.kind == Kind::Corpus {
            let documents = Documents::open(artifact, context)?;
            // A view may repeat a document; it is scored once.
            let mut seen = BTreeSet::new();
            let once = |position: &u64| seen.insert(documents.index(*position).0);
            let positions = (0..documents.len()).filter(once).collect();
            Data::Documents(Box::new(documents), positions)
        } else {
            let blocks = Blocks::open(artifact, context)?;
            let items = Items::of(&blocks, item);
            Data::Blocks(Box::new(blocks), items)
        };
        Ok(Self {
            label: artifact.label.clone(),
            fingerprint: artifact.header.fingerprint.clone(),
            ngrams,
            data,
        })
    }

    /// Number of items.
    pub(super) fn len(&self) -> u64 {
        match &self.data {
            Data::Documents(_, positions) => positions.len() as u64,
            Data::Blocks(_, items) => items.len(),
        }
    }

    /// What an item is.
    pub(super) fn item(&self, of_blocks: Item) -> Item {
        match self.data {
            Data::Documents(..) => Item::Document,
            Data::Blocks(..) => of_blocks,
        }
    }

    /// Hands on the bags of the items at some places, in that order; those without an n-gram are passed over.
    pub(super) fn each(
        &self,
        places: impl IntoIterator<Item = u64>,
        context: &Context,
        bar: &dyn Bar,
        mut take: impl FnMut(Bag),
    ) -> Result<()> {
        let mut places = places.into_iter();
        loop {
            context.check_cancelled()?;
            let chunk: Vec<u64> = places.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                return Ok(());
            }
            let bags = self.chunk(&chunk)?;
            bags.into_iter()
                .filter(|bag| !bag.buckets.is_empty())
                .for_each(&mut take);
            bar.advance(chunk.len() as u64);
        }
    }

    fn chunk(&self, places: &[u64]) -> Result<Vec<Bag>> {
        match &self.data {
            Data::Documents(documents, positions) => {
                let positions = places.iter().map(|&place| positions[place as usize]);
                let texts: Vec<(u64, Document)> =
                    documents.read_at(&[], positions)?.collect::<Result<_>>()?;
                Ok(texts
                    .par_iter()
                    .map(|(index, document)| self.of_text(*index, &document.text))
                    .collect())
            }
            Data::Blocks(blocks, items) => Ok(places
                .par_iter()
                .map(|&place| self.of_blocks(blocks, items, place))
                .collect()),
        }
    }

    fn of_text(&self, index: u64, text: &str) -> Bag {
        let mut buckets = Vec::new();
        let tokens = self.ngrams.of_text(text, &mut buckets) as u64;
        Bag {
            index,
            tokens,
            buckets,
        }
    }

    /// N-grams cross neither documents nor blocks, and the tokens that begin and end documents are in none.
    fn of_blocks(&self, blocks: &Blocks, items: &Items, place: u64) -> Bag {
        let (index, positions) = items.get(place);
        let mut bag = Bag {
            index,
            tokens: 0,
            buckets: Vec::new(),
        };
        let eos = blocks.details().eos_id;
        for position in positions {
            let block = blocks.get(position);
            for ids in items.stretches(index, &block, &blocks.segments(block.index)) {
                bag.tokens += ids.len() as u64;
                for piece in block.ids[ids].split(|&id| id == eos) {
                    self.ngrams.of_ids(piece, &mut bag.buckets);
                }
            }
        }
        bag
    }

    /// Refuses a target or a raw corpus, called `other` in the step, whose n-grams are not of the same kind.
    fn check_comparable(&self, other: &Self, called: &str) -> Result<()> {
        match (&self.data, &other.data) {
            (Data::Documents(..), Data::Documents(..)) => Ok(()),
            (Data::Blocks(ours, _), Data::Blocks(theirs, _)) => {
                if ours.details().tokenizer == theirs.details().tokenizer {
                    return Ok(());
                }
                let message = format!(
                    "`{called}` (`{}`) was packed with another tokenizer than `data` (`{}`)",
                    other.label, self.label
                );
                Err(Error::data("tokenizer_mismatch", message).hint("pack both with the same tokenizer"))
            }
            _ => {
                let message = format!(
                    "of `{called}` (`{}`) and `data` (`{}`) one is packed and the other is not: \
                     tokens and words have no n-gram in common",
                    other.label, self.label
                );
                Err(Error::data("wrong_kind", message).hint("give both as documents, or both packed"))
            }
        }
    }
}

/// What is scored, what it shall be like, and what stands for everything there is.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) data: Bags,
    pub(super) target: Bags,
    raw: Option<Bags>,
}

impl Sides {
    /// Opens all three. `empty_input`, `empty_target`, `empty_raw`; `wrong_kind`, `tokenizer_mismatch`; `same_corpus`: the
    /// target is what it is to be told from.
    pub(super) fn open(
        data: &Artifact,
        target: &Ref<reference::Scorable>,
        raw: Option<&Ref<reference::Scorable>>,
        item: Item,
        ngrams: NGrams,
        context: &Context,
    ) -> Result<Self> {
        let data = Bags::open(data, item, ngrams, context)?;
        if data.len() == 0 {
            return Err(Error::data("empty_input", "there is nothing to score"));
        }
        let open = |reference: &Ref<reference::Scorable>, called: &str, code: &'static str| {
            let bags = Bags::open(&context.open(reference)?, item, ngrams, context)?;
            if bags.len() == 0 {
                return Err(empty(code, called, &bags.label));
            }
            data.check_comparable(&bags, called)?;
            Ok(bags)
        };
        let target = open(target, "target", "empty_target")?;
        let raw = raw.map(|raw| open(raw, "raw", "empty_raw")).transpose()?;
        let sides = Self { data, target, raw };
        if sides.target.fingerprint == sides.raw().fingerprint {
            let message = format!(
                "the target is what it is to be told from, `{}`: every score would be the same",
                sides.raw().label
            );
            return Err(
                Error::data("same_corpus", message).hint("give a corpus of what you want as `target`")
            );
        }
        Ok(sides)
    }

    /// What stands for everything there is: the data itself, unless another corpus was named.
    pub(super) fn raw(&self) -> &Bags {
        self.raw.as_ref().unwrap_or(&self.data)
    }

    /// Refuses a target without a single n-gram.
    pub(super) fn nothing_in_target(&self) -> Error {
        empty("empty_target", "target", &self.target.label)
    }
}

fn empty(code: &'static str, called: &str, label: &str) -> Error {
    Error::data(code, format!("`{called}` (`{label}`) has no token or word in it"))
        .hint("look at how the step that makes it splits or selects")
}
