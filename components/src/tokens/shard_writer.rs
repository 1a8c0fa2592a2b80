//! Writing token shards in Megatron's layout (see [`super::megatron`]), as the MiniPLM and PDS authors write them.

use super::megatron::{HEAD, MAGIC, VERSION};
use crate::artifact::TokenType;
use crate::{Error, Result, disk};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes a pair of files, item by item.
pub(crate) struct ShardWriter {
    stem: PathBuf,
    ids: BufWriter<disk::File>,
    dtype: TokenType,
    lengths: Vec<i32>,
}

impl ShardWriter {
    /// Starts `NAME.bin`.
    pub(crate) fn create(stem: &Path, dtype: TokenType) -> Result<Self> {
        let file = stem.with_added_extension("bin");
        Ok(Self {
            ids: disk::File::buffered(&file).map_err(Error::io("cannot write", &file))?,
            stem: stem.to_path_buf(),
            dtype,
            lengths: Vec::new(),
        })
    }

    /// Number of items so far.
    pub(crate) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Adds an item.
    pub(crate) fn push(&mut self, ids: &[u32]) -> Result<()> {
        for id in ids {
            let bytes = id.to_le_bytes();
            self.ids
                .write_all(&bytes[..self.dtype.bytes()])
                .map_err(Error::io("cannot write", self.stem.with_added_extension("bin")))?;
        }
        self.lengths.push(ids.len() as i32);
        Ok(())
    }

    /// Writes `NAME.idx`.
    pub(crate) fn finish(mut self) -> Result<()> {
        let file = self.stem.with_added_extension("bin");
        self.ids.flush().map_err(Error::io("cannot write", file))?;
        let code = match self.dtype {
            TokenType::U16 => 8,
            TokenType::U32 => 4,
        };
        let items = self.lengths.len();
        let mut index = Vec::with_capacity(HEAD + 12 * items + 8);
        index.extend(MAGIC);
        index.extend(VERSION.to_le_bytes());
        index.push(code);
        index.extend((items as u64).to_le_bytes());
        index.extend(1_u64.to_le_bytes());
        index.extend(self.lengths.iter().flat_map(|length| length.to_le_bytes()));
        let mut at = 0_i64;
        for &length in &self.lengths {
            index.extend(at.to_le_bytes());
            at += i64::from(length) * self.dtype.bytes() as i64;
        }
        index.extend(0_i64.to_le_bytes());
        let file = self.stem.with_added_extension("idx");
        disk::write(&file, index).map_err(Error::io("cannot write", &file))
    }
}
