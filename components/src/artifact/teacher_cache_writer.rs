//! Writing teacher caches.

use super::teacher_cache::{CacheType, ENTRIES, INDEX, TeacherCacheDetails};
use super::tokens::Index as IndexWriter;
use super::{Kind, Source, write_header};
use crate::table::fingerprint;
use crate::{Error, Result, disk};
use half::f16;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// One record as bytes.
pub(crate) fn record(
    to: &mut Vec<u8>,
    details: &TeacherCacheDetails,
    ids: &[u32],
    log_p: &[f64],
    log_tail: f64,
) {
    for id in ids {
        to.extend(&id.to_le_bytes()[..details.ids.bytes()]);
    }
    for log_p in log_p {
        match details.log_probs {
            CacheType::F16 => {
                let held = f16::from_f64(*log_p).max(f16::MIN);
                to.extend(held.to_le_bytes());
            }
            CacheType::F32 => to.extend((*log_p as f32).to_le_bytes()),
        }
    }
    // A tail that no probability is left for is the least there is: a logarithm that stays a number.
    to.extend((log_tail as f32).max(f32::MIN).to_le_bytes());
}

/// A stretch of a block that was cached: the block, the position of its first place, and how many places follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) block: u64,
    pub(crate) first: u64,
    pub(crate) rows: u32,
}

/// Writes a teacher cache, stretch by stretch.
pub(crate) struct TeacherCacheWriter {
    folder: PathBuf,
    entries: BufWriter<disk::File>,
    index: IndexWriter,
    details: TeacherCacheDetails,
}

impl TeacherCacheWriter {
    /// Starts the cache in `folder`; blocks and rows of `details` are counted.
    pub(crate) fn create(folder: &Path, details: TeacherCacheDetails) -> Result<Self> {
        let file = folder.join(ENTRIES);
        let sink = disk::File::create(&file).map_err(Error::io("cannot write", &file))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            entries: BufWriter::with_capacity(1 << 20, sink),
            index: IndexWriter::create(folder.join(INDEX), &["block", "offset", "first"], "rows")?,
            details: TeacherCacheDetails {
                blocks: 0,
                rows: 0,
                ..details
            },
        })
    }

    /// Adds stretches, of ascending blocks, with their records one after the other.
    pub(crate) fn push(&mut self, stretches: &[Stretch], records: &[u8]) -> Result<()> {
        let file = || self.folder.join(ENTRIES);
        self.entries
            .write_all(records)
            .map_err(|e| Error::io("cannot write", file())(e))?;
        for stretch in stretches {
            let row = [stretch.block, self.details.rows, stretch.first];
            self.index.push(&row, stretch.rows)?;
            self.details.blocks += 1;
            self.details.rows += u64::from(stretch.rows);
        }
        Ok(())
    }

    /// Writes what is left and the header. `source` are the tokens.
    pub(crate) fn finish(mut self, source: Source) -> Result<()> {
        let file = self.folder.join(ENTRIES);
        self.entries.flush().map_err(Error::io("cannot write", &file))?;
        self.index.finish()?;
        let print = fingerprint(&self.folder, &[ENTRIES, INDEX], &source.fingerprint)?;
        write_header(
            &self.folder,
            Kind::TeacherCache,
            print,
            Some(source),
            self.details,
        )
    }
}
