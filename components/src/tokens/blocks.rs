//! Reading packed tokens, possibly through selections.

use super::Example;
use crate::artifact::{
    BLOCKS_FILE, PROMPTS_FILE, SEGMENTS_FILE, Segment, TOKENS_FILE, TokenType, TokensDetails, View,
};
use crate::untrusted::arrow;
use crate::{Artifact, Context, Error, Kind, Result};
use memmap2::Mmap;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// Larger vocabularies are none.
const LARGEST_VOCABULARY: u32 = 1 << 24;

/// One block of a view.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Its number in the underlying tokens.
    pub index: u64,
    /// Multiplies its loss.
    pub weight: f32,
    /// Its ids: inputs and, shifted by one, labels.
    pub ids: Vec<u32>,
    /// How many of them are given and never predicted, where it is an instruction pair.
    pub prompt: Option<u32>,
}

impl Example for Block {
    fn ids(&self) -> &[u32] {
        &self.ids
    }

    fn prompt(&self) -> Option<usize> {
        self.prompt.map(|prompt| prompt as usize)
    }
}

/// Memory-mapped tokens, or what a chain of selections leaves of them.
#[derive(Debug)]
pub struct Blocks {
    source: Artifact,
    details: TokensDetails,
    ids: Mmap,
    index: Index,
    view: Option<Vec<(u64, f32)>>,
}

/// Where blocks lie and what they are made of.
#[derive(Debug)]
struct Index {
    offsets: Vec<u64>,
    lengths: Vec<u32>,
    /// Tokens of each block that are given, where the blocks are instruction pairs.
    prompts: Option<Vec<u32>>,
    segments: Vec<Segment>,
    /// One more than the last document that a segment names.
    documents: u64,
    /// Where the segments of block i begin; one more entry than blocks.
    starts: Vec<u64>,
}

impl Blocks {
    /// Opens tokens, a selection of their blocks, or a selection of their documents: then a block's weight is its
    /// documents' mean weight by tokens, and blocks of weight 0 are left out.
    /// `wrong_kind`, `bad_artifact`, `index_out_of_range`, `empty_selection`.
    pub fn open(artifact: &Artifact, context: &Context) -> Result<Self> {
        let View {
            source,
            blocks,
            documents,
        } = View::open(artifact, context)?;
        if source.header.kind != Kind::Tokens {
            return Err(Error::data(
                "wrong_kind",
                format!(
                    "`{}` is a selection from {}; expected packed tokens",
                    artifact.label,
                    source.header.kind.name()
                ),
            )
            .hint("pack the selection with `tokens.pack` first"));
        }
        let details: TokensDetails = source.details()?;
        let ids = map(&source.path.join(TOKENS_FILE))?;
        let index = Index::read(&source, &details, ids.len() as u64)?;
        check_ids(&ids, &details).map_err(|e| e.in_file(source.path.join(TOKENS_FILE)))?;
        let view = match (blocks, documents) {
            (None, None) => None,
            (blocks, None) => blocks,
            (blocks, Some(documents)) => Some(index.weigh(blocks, &documents)),
        };
        if let Some(view) = &view {
            let outside = view.iter().find(|(index, _)| *index >= details.blocks);
            if let Some((index, _)) = outside {
                return Err(Error::data(
                    "index_out_of_range",
                    format!("`{}` selects block {index} of {}", artifact.label, details.blocks),
                ));
            }
            if view.is_empty() {
                return Err(Error::data(
                    "empty_selection",
                    format!("`{}` selects no block", artifact.label),
                ));
            }
        }
        Ok(Self {
            source,
            details,
            ids,
            index,
            view,
        })
    }

    /// Number of blocks in the view.
    pub fn len(&self) -> u64 {
        let view = self.view.as_ref().map(|view| view.len() as u64);
        view.unwrap_or(self.details.blocks)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number in the underlying tokens of the block at `position`, which is below [`Self::len`].
    pub fn index(&self, position: u64) -> u64 {
        match &self.view {
            None => position,
            Some(view) => view[position as usize].0,
        }
    }

    /// The block at `position`, which is below [`Self::len`].
    pub fn get(&self, position: u64) -> Block {
        let (index, weight) = match &self.view {
            None => (position, 1.0),
            Some(view) => view[position as usize],
        };
        let width = self.details.dtype.bytes();
        let start = self.index.offsets[index as usize] as usize * width;
        let end = start + self.index.lengths[index as usize] as usize * width;
        let bytes = &self.ids[start..end];
        let ids = match self.details.dtype {
            TokenType::U16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&b| u32::from(u16::from_le_bytes(b)))
                .collect(),
            TokenType::U32 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&b| u32::from_le_bytes(b))
                .collect(),
        };
        let prompts = self.index.prompts.as_ref();
        Block {
            index,
            weight,
            ids,
            prompt: prompts.map(|prompts| prompts[index as usize]),
        }
    }

    /// The header of the underlying tokens.
    pub fn details(&self) -> &TokensDetails {
        &self.details
    }

    /// The underlying tokens.
    pub fn source(&self) -> &Artifact {
        &self.source
    }

    /// One more than the last document that any block names.
    pub(crate) fn documents(&self) -> u64 {
        self.index.documents
    }

    /// The documents that block `index` of the underlying tokens is made of, in order.
    pub fn segments(&self, index: u64) -> Vec<Segment> {
        self.index.segments(index).to_vec()
    }
}

impl Index {
    /// Reads and checks the index of tokens whose ids take `bytes`.
    fn read(source: &Artifact, details: &TokensDetails, bytes: u64) -> Result<Self> {
        let file = source.path.join(BLOCKS_FILE);
        let table = arrow::Index::read(&file)?;
        let (offsets, lengths) = (table.u64("offset")?, table.u32("length")?);
        let bad = |what: &str| {
            Error::data("bad_artifact", format!("the tokens are damaged: {what}"))
                .in_file(&file)
                .hint("delete the folder; the next run makes it again")
        };
        let known = |id: u32| id < details.vocab_size;
        if details.vocab_size > LARGEST_VOCABULARY
            || ![Some(details.eos_id), details.bos_id]
                .into_iter()
                .flatten()
                .all(known)
        {
            return Err(bad("the header names tokens outside the vocabulary"));
        }
        if offsets.len() as u64 != details.blocks {
            return Err(bad("the index has another number of blocks than the header"));
        }
        if details.tokens.checked_mul(details.dtype.bytes() as u64) != Some(bytes) {
            return Err(bad("the ids take another number of bytes than the header says"));
        }
        if lengths
            .iter()
            .any(|&length| length as usize > details.context.saturating_add(1))
        {
            return Err(bad("a block is longer than the header says"));
        }
        let mut blocks = offsets.iter().zip(&lengths);
        let inside = |(&offset, &length): (&u64, &u32)| {
            offset
                .checked_add(u64::from(length))
                .is_some_and(|end| end <= details.tokens)
        };
        if !blocks.all(inside) {
            return Err(bad("a block lies outside the ids"));
        }

        let prompts = match &details.template {
            None => None,
            Some(_) => {
                let prompts = arrow::Index::read(&source.path.join(PROMPTS_FILE))?.u32("tokens")?;
                let mut pairs = prompts.iter().zip(&lengths);
                if prompts.len() != lengths.len() || !pairs.all(|(prompt, length)| prompt < length) {
                    return Err(bad("a prompt leaves nothing of its block"));
                }
                Some(prompts)
            }
        };

        let file = source.path.join(SEGMENTS_FILE);
        let table = arrow::Index::read(&file)?;
        let (block, document, tokens) = (table.u64("block")?, table.u64("document")?, table.u32("tokens")?);
        if !block.is_sorted() || block.last().is_some_and(|&last| last >= details.blocks) {
            return Err(bad("the segments are not in the order of the blocks"));
        }
        let starts = (0..=details.blocks)
            .scan(0, |at, number| {
                *at += block[*at..].iter().take_while(|&&b| b < number).count();
                Some(*at as u64)
            })
            .collect();
        let documents = document.iter().max().map_or(0, |last| last.saturating_add(1));
        let segment = |(document, tokens)| Segment { document, tokens };
        Ok(Self {
            offsets,
            lengths,
            prompts,
            segments: document.into_iter().zip(tokens).map(segment).collect(),
            documents,
            starts,
        })
    }

    fn segments(&self, index: u64) -> &[Segment] {
        let at = |i: u64| self.starts[i as usize] as usize;
        &self.segments[at(index)..at(index + 1)]
    }

    /// Blocks (all, or those of a view) weighted by their documents' weights, averaged by tokens.
    fn weigh(&self, blocks: Option<Vec<(u64, f32)>>, documents: &[(u64, f32)]) -> Vec<(u64, f32)> {
        let mut weights: BTreeMap<u64, f64> = BTreeMap::new();
        for &(document, weight) in documents {
            *weights.entry(document).or_default() += f64::from(weight);
        }
        let count = self.offsets.len() as u64;
        let blocks = blocks.unwrap_or_else(|| (0..count).map(|index| (index, 1.0)).collect());
        let weigh = |(index, weight): (u64, f32)| {
            if index >= count {
                return Some((index, weight));
            }
            let (mut sum, mut tokens) = (0.0, 0.0);
            for segment in self.segments(index) {
                let share = f64::from(segment.tokens);
                sum += share * weights.get(&segment.document).copied().unwrap_or(0.0);
                tokens += share;
            }
            (sum > 0.0).then(|| (index, weight * (sum / tokens) as f32))
        };
        blocks.into_iter().filter_map(weigh).collect()
    }
}

/// Refuses ids that the vocabulary does not have: they would be looked up outside an embedding.
fn check_ids(bytes: &[u8], details: &TokensDetails) -> Result<()> {
    let largest = match details.dtype {
        TokenType::U16 => {
            let ids = bytes.as_chunks().0.par_iter();
            ids.map(|&id| u32::from(u16::from_le_bytes(id))).max()
        }
        TokenType::U32 => {
            let ids = bytes.as_chunks().0.par_iter();
            ids.map(|&id| u32::from_le_bytes(id)).max()
        }
    };
    let vocabulary = details.vocab_size;
    match largest.filter(|&id| id >= vocabulary) {
        None => Ok(()),
        Some(id) => {
            let what = format!("token {id} is not in the vocabulary of {vocabulary}");
            Err(Error::data("bad_artifact", what).hint("delete the folder; the next run makes it again"))
        }
    }
}

fn map(file: &Path) -> Result<Mmap> {
    let source = File::open(file).map_err(Error::io("cannot read", file))?;
    // SAFETY: artifacts are immutable once published; nobody writes to or truncates the file while it is mapped.
    #[allow(unsafe_code)] // there is no safe way to map a file
    let map = unsafe { Mmap::map(&source) };
    map.map_err(Error::io("cannot map", file))
}
