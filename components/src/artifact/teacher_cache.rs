//! Teacher caches: a teacher's likeliest tokens at every predicted place of packed tokens.
//!
//! - `entries.bin`, made to be memory-mapped: one record a place, all of one size, little-endian: `k` ids (u16 where the
//!   vocabulary allows it, else u32), their `k` log-probabilities in nats (f16 or f32) in descending order, and the
//!   log-probability of all other tokens together (f32).
//! - `index.arrow` (Arrow IPC): `block` (u64, number in the tokens, ascending), `offset` (u64, its first record), `first`
//!   (u64, the input position that the first record speaks of) and `rows` (u32, how many follow each other).

use super::tokens::TokenType;
use super::{Artifact, Kind, Source, Stretch};
use crate::table::damaged;
use crate::untrusted::arrow;
use crate::{Error, Precision, Result};
use half::f16;
use memmap2::Mmap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::PathBuf;

pub(super) const ENTRIES: &str = "entries.bin";
pub(super) const INDEX: &str = "index.arrow";

/// How log-probabilities are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheType {
    /// 16 bits: off by one part in 2,048 at most, so by 0.004 at a log-probability of −8.
    #[default]
    F16,
    /// 32 bits.
    F32,
}

impl CacheType {
    const fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// What the header of a teacher cache keeps; its source are the tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherCacheDetails {
    /// Tokens of a record.
    pub k: usize,
    /// The temperature that log-probabilities are taken at.
    pub temperature: f64,
    /// Rows an embedding of the tokens needs.
    pub vocab_size: u32,
    /// How ids are stored.
    pub ids: TokenType,
    /// How log-probabilities are stored.
    pub log_probs: CacheType,
    /// Number of blocks.
    pub blocks: u64,
    /// Number of records.
    pub rows: u64,
    /// Fingerprint of the tokenizer.
    pub tokenizer: String,
    /// Fingerprint of the template of instruction pairs, if the tokens are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Fingerprint of the teacher.
    pub teacher: String,
    /// What was computed in.
    pub precision: Precision,
}

impl TeacherCacheDetails {
    /// Bytes of one record.
    pub fn record_bytes(&self) -> usize {
        record_bytes(self.k, self.ids, self.log_probs)
    }
}

/// Bytes of one record.
pub(crate) fn record_bytes(k: usize, ids: TokenType, log_probs: CacheType) -> usize {
    k * (ids.bytes() + log_probs.bytes()) + size_of::<f32>()
}

/// What a teacher says of one place.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheRow {
    /// Its likeliest tokens.
    pub ids: Vec<u32>,
    /// Their log-probabilities in nats.
    pub log_p: Vec<f32>,
    /// That of all others together.
    pub log_tail: f32,
}

/// A memory-mapped teacher cache.
#[derive(Debug)]
pub struct TeacherCache {
    file: PathBuf,
    source: Source,
    details: TeacherCacheDetails,
    entries: Mmap,
    blocks: Vec<u64>,
    firsts: Vec<u64>,
    /// Where the records of block i begin; one more entry than blocks.
    offsets: Vec<u64>,
}

impl TeacherCache {
    /// Opens the artifact. `bad_table`, `bad_artifact`: it is not what its header says.
    pub fn open(artifact: &Artifact) -> Result<Self> {
        let artifact = artifact.clone().expect(&[Kind::TeacherCache])?;
        let details: TeacherCacheDetails = artifact.details()?;
        let index = artifact.path.join(INDEX);
        let table = arrow::Index::read(&index)?;
        let (blocks, mut offsets) = (table.u64("block")?, table.u64("offset")?);
        let (firsts, rows) = (table.u64("first")?, table.u32("rows")?);
        let tiled = offsets.iter().zip(&rows).try_fold(0_u64, |at, (offset, rows)| {
            (at == *offset)
                .then(|| at.checked_add(u64::from(*rows)))
                .flatten()
        });
        let ascending = blocks.windows(2).all(|pair| pair[0] < pair[1]);
        if tiled != Some(details.rows) || !ascending || blocks.len() as u64 != details.blocks {
            return Err(damaged("the index is not what the header says", &index));
        }
        offsets.push(details.rows);
        let file = artifact.path.join(ENTRIES);
        let opened = File::open(&file).map_err(Error::io("cannot read", &file))?;
        // SAFETY: artifacts are never changed once they are published.
        #[expect(unsafe_code, reason = "memory maps are unsafe where files may change")]
        let entries = unsafe { Mmap::map(&opened) }.map_err(Error::io("cannot map", &file))?;
        let sound = (1..=details.vocab_size as usize).contains(&details.k);
        let bytes = sound
            .then(|| details.rows.checked_mul(details.record_bytes() as u64))
            .flatten();
        if bytes != Some(entries.len() as u64) {
            return Err(damaged(
                "the records take another number of bytes than the header says",
                &file,
            ));
        }
        let source = artifact.header.source.ok_or_else(|| {
            Error::data("bad_artifact", "a teacher cache does not say what it is of").in_file(&artifact.path)
        })?;
        Ok(Self {
            file,
            source,
            details,
            entries,
            blocks,
            firsts,
            offsets,
        })
    }

    /// The header.
    pub fn details(&self) -> &TeacherCacheDetails {
        &self.details
    }

    /// The tokens it is of.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The stretches it holds, in order.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = Stretch> {
        (0..self.blocks.len()).map(|i| Stretch {
            block: self.blocks[i],
            first: self.firsts[i],
            rows: (self.offsets[i + 1] - self.offsets[i]) as u32,
        })
    }

    /// All records as they lie.
    pub(crate) fn entries(&self) -> &[u8] {
        &self.entries
    }

    /// Whether a block is there.
    pub fn holds(&self, block: u64) -> bool {
        self.blocks.binary_search(&block).is_ok()
    }

    /// What the teacher says after the input at `position` of a block. `cache_fingerprint`: the place was not cached;
    /// `bad_artifact`: the record is damaged.
    pub fn row(&self, block: u64, position: u64) -> Result<CacheRow> {
        let place = self.blocks.binary_search(&block).ok().and_then(|i| {
            let row = self.offsets[i].checked_add(position.checked_sub(self.firsts[i])?)?;
            (row < self.offsets[i + 1]).then_some(row)
        });
        let row = place.ok_or_else(|| {
            let message = format!("the teacher cache holds nothing for position {position} of block {block}");
            Error::data("cache_fingerprint", message)
                .in_file(&self.file)
                .hint("make the cache of all the blocks that are trained on")
        })?;
        let TeacherCacheDetails {
            k, ids, log_probs, ..
        } = self.details;
        let bytes = self.details.record_bytes();
        let record = &self.entries[row as usize * bytes..(row as usize + 1) * bytes];
        let (id_bytes, rest) = record.split_at(k * ids.bytes());
        let (log_p_bytes, tail) = rest.split_at(k * log_probs.bytes());
        let found = CacheRow {
            ids: match ids {
                TokenType::U16 => each(id_bytes, |b| u32::from(u16::from_le_bytes(b))),
                TokenType::U32 => each(id_bytes, u32::from_le_bytes),
            },
            log_p: match log_probs {
                CacheType::F16 => each(log_p_bytes, |b| f16::from_le_bytes(b).to_f32()),
                CacheType::F32 => each(log_p_bytes, f32::from_le_bytes),
            },
            log_tail: each(tail, f32::from_le_bytes)[0],
        };
        let known = found.ids.iter().all(|id| *id < self.details.vocab_size);
        let numbers = found.log_p.iter().chain([&found.log_tail]);
        if known && numbers.into_iter().all(|log_p| log_p.is_finite()) {
            return Ok(found);
        }
        Err(
            Error::data("bad_artifact", "a record of the teacher cache is damaged")
                .in_file(&self.file)
                .at(format!("record {row}"))
                .hint("delete the folder; the next run makes it again"),
        )
    }
}

fn each<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{TeacherCacheWriter, record};
    use std::path::Path;

    fn details(k: usize, ids: TokenType, log_probs: CacheType) -> TeacherCacheDetails {
        TeacherCacheDetails {
            k,
            temperature: 1.0,
            vocab_size: 60_000,
            ids,
            log_probs,
            blocks: 0,
            rows: 0,
            tokenizer: "t".to_owned(),
            template: None,
            teacher: "m".to_owned(),
            precision: Precision::F32,
        }
    }

    fn written(folder: &Path, details: &TeacherCacheDetails) -> Artifact {
        let mut writer = TeacherCacheWriter::create(folder, details.clone()).expect("creates");
        for (block, first, rows) in [(2, 5, 2), (7, 0, 1)] {
            let mut bytes = Vec::new();
            for row in 0..rows {
                let ids = [59_999, u32::try_from(block).expect("small") + row];
                record(&mut bytes, details, &ids, &[-0.25, -7.7], f64::NEG_INFINITY);
            }
            writer
                .push(&[Stretch { block, first, rows }], &bytes)
                .expect("writes");
        }
        let source = Source {
            location: "tokens.pack/k".to_owned(),
            fingerprint: "f".to_owned(),
        };
        writer.finish(source).expect("writes");
        Artifact::open(folder, "distill.teacher_cache/k", "cache").expect("opens")
    }

    #[test]
    fn records_are_found_by_block_and_position() {
        for ids in [TokenType::U16, TokenType::U32] {
            for (log_probs, off) in [(CacheType::F16, 0.004), (CacheType::F32, 1e-6)] {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let cache =
                    TeacherCache::open(&written(folder.path(), &details(2, ids, log_probs))).expect("opens");
                assert_eq!((cache.details().blocks, cache.details().rows), (2, 3));
                let row = cache.row(2, 6).expect("the second of block 2");
                assert_eq!(row.ids, [59_999, 3]);
                assert_eq!(row.log_p[0], -0.25);
                assert!((row.log_p[1] + 7.7).abs() < off, "{:?}", row.log_p);
                assert_eq!(row.log_tail, f32::MIN);
                assert!(cache.holds(7) && !cache.holds(3));
                for (block, position) in [(2, 4), (2, 7), (3, 0), (7, 1)] {
                    let error = cache.row(block, position).expect_err("not cached");
                    assert_eq!(error.code(), "cache_fingerprint");
                }
            }
        }
    }

    #[test]
    fn sixty_four_tokens_take_less_than_three_hundred_bytes() {
        assert_eq!(record_bytes(64, TokenType::U16, CacheType::F16), 260);
    }

    #[test]
    fn damaged_records_and_indexes_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let artifact = written(folder.path(), &details(2, TokenType::U16, CacheType::F16));
        let file = folder.path().join(ENTRIES);
        let bytes = std::fs::read(&file).expect("reads");
        std::fs::write(&file, &bytes[1..]).expect("writes");
        assert_eq!(
            TeacherCache::open(&artifact).expect_err("cut").code(),
            "bad_table"
        );
        let mut wrong = bytes.clone();
        wrong[..2].copy_from_slice(&u16::MAX.to_le_bytes());
        std::fs::write(&file, &wrong).expect("writes");
        let cache = TeacherCache::open(&artifact).expect("the header holds");
        assert_eq!(cache.row(2, 5).expect_err("no such token").code(), "bad_artifact");
        let mut header = artifact.clone();
        header.header.details["rows"] = 4.into();
        assert_eq!(
            TeacherCache::open(&header).expect_err("three rows").code(),
            "bad_table"
        );
    }
}
