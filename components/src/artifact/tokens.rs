//! Tokens: packed blocks of token ids.
//!
//! - `tokens.bin`: little-endian ids, u16 where the vocabulary allows it, else u32; made to be memory-mapped.
//! - `blocks.arrow` (Arrow IPC): `offset` (u64, in tokens) and `length` (u32) of each block. A block has up to
//!   context + 1 tokens: its inputs and, shifted by one, its labels.
//! - `segments.arrow` (Arrow IPC): `block` (u64), `document` (u64, row of the corpus), `tokens` (u32): which documents
//!   a block is made of, in order. A block's leading bos belongs to none.
//! - `prompts.arrow` (Arrow IPC), only where blocks are instruction pairs: `tokens` (u32), how many of each block's tokens are
//!   given and never predicted.
//! - `tokenizer.json`: what the ids mean.

use super::{Kind, Source, write_header};
use crate::disk::{self, Failure};
use crate::table::{fingerprint, frame, write_error};
use crate::{Error, Result};
use polars::prelude::{Column, DataType, Field, IpcWriter, SerWriter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

pub(crate) const TOKENS: &str = "tokens.bin";
pub(crate) const BLOCKS: &str = "blocks.arrow";
pub(crate) const SEGMENTS: &str = "segments.arrow";
pub(crate) const PROMPTS: &str = "prompts.arrow";
/// Vocabularies below this are stored in 16 bits (the MiniPLM authors' rule, so that shards stay interchangeable).
const SMALL_VOCABULARY: u32 = 65_500;
/// Rows of an index held before they are written.
const INDEX_ROWS: usize = 1 << 16;

/// Where a block may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    /// Documents follow each other and every block is full.
    Concat,
    /// As `concat`, but a block ends at the last sentence or document end in it, and what follows opens the next.
    #[default]
    Sentence,
    /// A block never holds two documents; long documents make several blocks, short ones stay short.
    Document,
}

/// How ids are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenType {
    /// 16 bits.
    U16,
    /// 32 bits.
    U32,
}

impl TokenType {
    /// What a vocabulary of that size is stored in.
    pub const fn of(vocab_size: u32) -> Self {
        if vocab_size < SMALL_VOCABULARY {
            Self::U16
        } else {
            Self::U32
        }
    }

    /// Bytes of one id.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U16 => 2,
            Self::U32 => 4,
        }
    }
}

/// What the header of tokens keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensDetails {
    /// Inputs of a full block; it has one token more.
    pub context: usize,
    /// Rows an embedding needs.
    pub vocab_size: u32,
    /// The token that ends a document; also what batches are padded with.
    pub eos_id: u32,
    /// The token every block begins with, if there is one.
    pub bos_id: Option<u32>,
    /// Where blocks may end.
    pub boundary: Boundary,
    /// Number of blocks.
    pub blocks: u64,
    /// Tokens in all blocks.
    pub tokens: u64,
    /// Documents that went in.
    pub documents: u64,
    /// Tokens of documents that are in no block: tails, pieces of one token, and what the cap cut.
    pub dropped_tokens: u64,
    /// How ids are stored.
    pub dtype: TokenType,
    /// Fingerprint of the tokenizer.
    pub tokenizer: String,
    /// The corpus whose rows the segments name; none if the tokens were made elsewhere, and every block is a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus: Option<Source>,
    /// Fingerprint of the template that instruction pairs were written by; then every block begins with a prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Instruction pairs that are not there as they were, by why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<PairCounts>,
}

/// Instruction pairs that were left out or cut when blocks were made of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairCounts {
    /// Left out: the prompt was too long.
    pub long_prompts: u64,
    /// There without their ends: the answers were too long.
    pub cut_responses: u64,
    /// Left out: the tokenizer joins the prompt's end and the answer's beginning.
    pub joined: u64,
}

/// A document's part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Row of the corpus.
    pub document: u64,
    /// How many of the block's tokens come from it.
    pub tokens: u32,
}

/// Writes tokens block by block.
pub struct TokensWriter {
    folder: PathBuf,
    ids: BufWriter<disk::File>,
    dtype: TokenType,
    blocks: Index,
    segments: Index,
    prompts: Option<Index>,
    written_blocks: u64,
    written_tokens: u64,
}

impl TokensWriter {
    /// Starts the tokens in `folder`.
    pub fn create(folder: &Path, vocab_size: u32) -> Result<Self> {
        let file = folder.join(TOKENS);
        let sink = disk::File::create(&file).map_err(Error::io("cannot write", &file))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            ids: BufWriter::with_capacity(1 << 20, sink),
            dtype: TokenType::of(vocab_size),
            blocks: Index::create(folder.join(BLOCKS), &["offset"], "length")?,
            segments: Index::create(folder.join(SEGMENTS), &["block", "document"], "tokens")?,
            prompts: None,
            written_blocks: 0,
            written_tokens: 0,
        })
    }

    /// Starts tokens in `folder` whose blocks all begin with a prompt.
    pub fn create_pairs(folder: &Path, vocab_size: u32) -> Result<Self> {
        let prompts = Some(Index::create(folder.join(PROMPTS), &[], "tokens")?);
        Ok(Self {
            prompts,
            ..Self::create(folder, vocab_size)?
        })
    }

    /// Number of blocks so far.
    pub fn blocks(&self) -> u64 {
        self.written_blocks
    }

    /// Number of tokens so far.
    pub fn tokens(&self) -> u64 {
        self.written_tokens
    }

    /// How ids are stored.
    pub fn dtype(&self) -> TokenType {
        self.dtype
    }

    /// Adds a block and the documents it is made of.
    pub fn push(&mut self, ids: &[u32], segments: &[Segment]) -> Result<()> {
        let file = || self.folder.join(TOKENS);
        for &id in ids {
            let bytes = id.to_le_bytes();
            self.ids
                .write_all(&bytes[..self.dtype.bytes()])
                .map_err(Error::io("cannot write", file()))?;
        }
        self.blocks.push(&[self.written_tokens], ids.len() as u32)?;
        for segment in segments {
            self.segments
                .push(&[self.written_blocks, segment.document], segment.tokens)?;
        }
        self.written_blocks += 1;
        self.written_tokens += ids.len() as u64;
        Ok(())
    }

    /// Adds a block whose first `prompt` tokens are given. The tokens were begun with [`Self::create_pairs`].
    pub fn push_pair(&mut self, ids: &[u32], prompt: u32, segments: &[Segment]) -> Result<()> {
        if let Some(prompts) = &mut self.prompts {
            prompts.push(&[], prompt)?;
        }
        self.push(ids, segments)
    }

    /// Writes what is left, the tokenizer and the header.
    pub fn finish(mut self, tokenizer: &[u8], details: &TokensDetails) -> Result<()> {
        let file = self.folder.join(TOKENS);
        self.ids.flush().map_err(Error::io("cannot write", &file))?;
        self.blocks.finish()?;
        self.segments.finish()?;
        let file = self.folder.join(super::tokenizer::FILE);
        disk::write(&file, tokenizer).map_err(Error::io("cannot write", &file))?;
        let mut files = vec![TOKENS, BLOCKS, SEGMENTS];
        if let Some(prompts) = self.prompts {
            prompts.finish()?;
            files.push(PROMPTS);
        }
        let print = fingerprint(&self.folder, &files, &details.tokenizer)?;
        write_header(&self.folder, Kind::Tokens, print, None, details)
    }
}

/// An Arrow table being written: u64 columns and a last one of u32.
pub(super) struct Index {
    file: PathBuf,
    table: polars::io::ipc::BatchedWriter<BufWriter<disk::File>>,
    failure: Failure,
    names: Vec<&'static str>,
    wide: Vec<Vec<u64>>,
    last_name: &'static str,
    last: Vec<u32>,
}

impl Index {
    pub(super) fn create(file: PathBuf, names: &[&'static str], last_name: &'static str) -> Result<Self> {
        let sink = disk::File::buffered(&file).map_err(Error::io("cannot write", &file))?;
        let failure = sink.get_ref().failure();
        let wide = names
            .iter()
            .map(|&name| Field::new(name.into(), DataType::UInt64));
        let narrow = std::iter::once(Field::new(last_name.into(), DataType::UInt32));
        let columns = names.len() + 1;
        let schema = wide.chain(narrow).collect();
        #[expect(
            clippy::default_trait_access,
            reason = "Polars does not export the type's name"
        )]
        let fields = vec![Default::default(); columns];
        let table = IpcWriter::new(sink)
            .batched(&schema, fields)
            .map_err(write_error(&file, &failure))?;
        Ok(Self {
            file,
            table,
            failure,
            names: names.to_vec(),
            wide: vec![Vec::new(); names.len()],
            last_name,
            last: Vec::new(),
        })
    }

    pub(super) fn push(&mut self, wide: &[u64], last: u32) -> Result<()> {
        for (column, &value) in self.wide.iter_mut().zip(wide) {
            column.push(value);
        }
        self.last.push(last);
        if self.last.len() >= INDEX_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.last.is_empty() {
            return Ok(());
        }
        let wide = self.names.iter().zip(&self.wide);
        let mut columns: Vec<_> = wide
            .map(|(&name, values)| Column::new(name.into(), values))
            .collect();
        columns.push(Column::new(self.last_name.into(), &self.last));
        self.table
            .write_batch(&frame(columns))
            .map_err(write_error(&self.file, &self.failure))?;
        self.wide.iter_mut().for_each(Vec::clear);
        self.last.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.table
            .finish()
            .map_err(write_error(&self.file, &self.failure))
    }
}
