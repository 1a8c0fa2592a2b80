//! A first look at a Parquet file, before Polars sees it.
//!
//! Polars reserves memory for as many entries as a list claims to have, and for as many bytes as a page claims to
//! unpack to: seven bytes can ask for a hundred gigabytes, and a failed reservation ends the whole process. Here every
//! list must fit into the bytes that are left, every page into its column, and all that is claimed into a multiple of
//! the file's size. Polars also takes the types of fields for granted; here they are compared.

use super::check_ratio;
use super::thrift::{BINARY, I32, I64, LIST, STRUCT, Thrift, fits};
use crate::{Error, Result};
use polars::prelude::PolarsResult;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

const MAGIC: &[u8; 4] = b"PAR1";
/// Footers of real files have kilobytes.
const LARGEST: u64 = 64 << 20;
/// Values of a fixed length are dates, decimals and hashes; none is longer.
const LONGEST_FIXED: i32 = 256;

/// Runs Polars on a Parquet file that [`check`] found fit; damage that makes Polars fail or panic is an error.
/// `corrupt_parquet`.
pub(crate) fn read<T>(path: &Path, work: impl FnOnce(File) -> PolarsResult<T>) -> Result<T> {
    let source = File::open(path).map_err(Error::io("cannot read", path))?;
    match super::quiet(|| work(source)) {
        Some(Ok(value)) => Ok(value),
        Some(Err(e)) => Err(corrupt(path, &e.to_string())),
        None => Err(corrupt(path, "its pages are damaged")),
    }
}

/// The mistake of a file that is no sound Parquet.
pub(crate) fn corrupt(path: &Path, what: &str) -> Error {
    Error::data("corrupt_parquet", format!("no sound Parquet file: {what}"))
        .in_file(path)
        .hint("fetch or write the file again")
}

/// Refuses what is no Parquet file or claims what it cannot hold.
/// `corrupt_parquet`, `unsupported_parquet`, `decompression_bomb`.
pub(crate) fn check(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(Error::io("cannot read", path))?;
    let size = file.metadata().map_err(Error::io("cannot read", path))?.len();
    let mut source = Source { path, file };
    if size < 12 || source.read(0, 4)? != MAGIC {
        return Err(corrupt(path, "it does not begin with `PAR1`").at("byte 0"));
    }
    let tail = source.read(size - 8, 8)?;
    if &tail[4..] != MAGIC {
        return Err(corrupt(path, "it does not end with `PAR1`").at(format!("byte {}", size - 4)));
    }
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if length > size - 12 || length > LARGEST {
        let what = format!("its footer claims {length} bytes of {size}");
        return Err(corrupt(path, &what).at(format!("byte {}", size - 8)));
    }
    let start = size - 8 - length;
    let bytes = source.read(start, length)?;
    let mut thrift = Thrift::new(&bytes);
    let footer = Footer::read(&mut thrift).ok_or_else(|| {
        let place = start + thrift.at() as u64;
        corrupt(path, "its footer is damaged").at(format!("byte {place}"))
    })?;
    let mut unpacked = 0_u64;
    for chunk in footer.check(start).map_err(|what| corrupt(path, what))? {
        unpacked = unpacked.saturating_add(chunk.pages(&mut source)?);
        check_ratio(unpacked, size, path)?;
    }
    Ok(())
}

/// The file, read in pieces.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    file: File,
}

impl Source<'_> {
    pub(super) fn read(&mut self, start: u64, count: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count as usize];
        self.file
            .seek(SeekFrom::Start(start))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(Error::io("cannot read", self.path))?;
        Ok(bytes)
    }
}

/// What the footer says of where rows lie.
#[derive(Default)]
struct Footer {
    rows: u64,
    groups: Vec<Group>,
}

/// Some rows.
#[derive(Default)]
struct Group {
    rows: u64,
    chunks: Vec<Chunk>,
}

/// One column of some rows.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) values: u64,
    pub(super) bytes: u64,
    data: u64,
    dictionary: Option<u64>,
}

impl Footer {
    fn read(thrift: &mut Thrift) -> Option<Self> {
        let mut footer = Self::default();
        thrift.structure(|t, field, kind| {
            fits(
                kind,
                field,
                &[
                    (1, I32),
                    (2, LIST),
                    (3, I64),
                    (4, LIST),
                    (5, LIST),
                    (6, BINARY),
                    (7, LIST),
                ],
            )?;
            match field {
                2 => t.structures(schema_element)?,
                3 => footer.rows = t.count()?,
                4 => t.structures(|t| {
                    footer.groups.push(Group::read(t)?);
                    Some(())
                })?,
                5 | 7 => t.structures(|t| t.structure(|_, _, _| Some(false)))?,
                _ => return Some(false),
            }
            Some(true)
        })?;
        Some(footer)
    }

    /// The columns of all groups, if they lie before the footer and their rows add up.
    fn check(&self, end: u64) -> std::result::Result<impl Iterator<Item = &Chunk>, &'static str> {
        let total = self
            .groups
            .iter()
            .try_fold(0_u64, |sum, group| sum.checked_add(group.rows));
        if total != Some(self.rows) {
            return Err("its groups have another number of rows than the file");
        }
        for group in &self.groups {
            for chunk in &group.chunks {
                let inside = |end_of: Option<u64>| end_of.is_some_and(|at| at <= end);
                if chunk.start() < 4 || !inside(chunk.start().checked_add(chunk.bytes)) {
                    return Err("a column lies outside the file");
                }
                if chunk.values < group.rows {
                    return Err("a column has fewer values than rows");
                }
            }
        }
        Ok(self.groups.iter().flat_map(|group| &group.chunks))
    }
}

impl Group {
    fn read(thrift: &mut Thrift) -> Option<Self> {
        let mut group = Self::default();
        thrift.structure(|t, field, kind| {
            fits(kind, field, &[(1, LIST), (2, I64), (3, I64), (4, LIST)])?;
            match field {
                1 => t.structures(|t| {
                    group.chunks.push(Chunk::read(t)?);
                    Some(())
                })?,
                3 => group.rows = t.count()?,
                4 => t.structures(|t| t.structure(|_, _, _| Some(false)))?,
                _ => return Some(false),
            }
            Some(true)
        })?;
        Some(group)
    }
}

impl Chunk {
    fn read(thrift: &mut Thrift) -> Option<Self> {
        let mut chunk = None;
        thrift.structure(|t, field, kind| {
            fits(kind, field, &[(1, BINARY), (2, I64), (3, STRUCT)])?;
            if field == 3 {
                chunk = Some(Self::metadata(t)?);
            }
            // A column in another file is none of this one.
            (field != 1).then_some(field == 3)
        })?;
        chunk
    }

    fn metadata(thrift: &mut Thrift) -> Option<Self> {
        let mut chunk = Self::default();
        let kinds = [
            (1, I32),
            (2, LIST),
            (3, LIST),
            (4, I32),
            (5, I64),
            (6, I64),
            (7, I64),
            (8, LIST),
            (9, I64),
            (10, I64),
            (11, I64),
            (12, STRUCT),
            (13, LIST),
            (14, I64),
        ];
        thrift.structure(|t, field, kind| {
            fits(kind, field, &kinds)?;
            match field {
                5 => chunk.values = t.count()?,
                7 => chunk.bytes = t.count()?,
                9 => chunk.data = t.count()?,
                11 => chunk.dictionary = Some(t.count()?),
                _ => return Some(false),
            }
            Some(true)
        })?;
        Some(chunk)
    }

    /// Where it begins, as Polars sees it.
    pub(super) fn start(&self) -> u64 {
        self.dictionary.filter(|&at| at > 0).unwrap_or(self.data)
    }
}

/// One column of the schema.
fn schema_element(thrift: &mut Thrift) -> Option<()> {
    thrift.structure(|t, field, kind| {
        fits(
            kind,
            field,
            &[
                (1, I32),
                (2, I32),
                (3, I32),
                (4, BINARY),
                (5, I32),
                (6, I32),
                (7, I32),
                (8, I32),
                (9, I32),
                (10, STRUCT),
            ],
        )?;
        if field == 2 {
            return (0..=LONGEST_FIXED).contains(&t.i32()?).then_some(true);
        }
        Some(false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bytes: &[u8]) -> Option<&'static str> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), bytes).expect("writes");
        check(file.path()).err().map(|e| e.code())
    }

    fn with_footer(footer: &[u8]) -> Vec<u8> {
        let length = (footer.len() as u32).to_le_bytes();
        [MAGIC, footer, &length, MAGIC].concat()
    }

    #[test]
    fn what_is_no_parquet_is_refused() {
        let bad = Some("corrupt_parquet");
        assert_eq!(code(b"PAR1"), bad);
        assert_eq!(code(b"not a parquet file at all"), bad);
        assert_eq!(code(b"PAR1 but does not end so"), bad);
        assert_eq!(code(&[&MAGIC[..], &u32::MAX.to_le_bytes(), MAGIC].concat()), bad);
    }

    #[test]
    fn a_short_footer_cannot_ask_for_much_memory() {
        // Field 2 is a list of structures; its length is a varint of 2^31 − 1.
        let greedy = with_footer(&[0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07]);
        assert_eq!(code(&greedy), Some("corrupt_parquet"));
        let endless = with_footer(&[0x1c; 64]);
        assert_eq!(code(&endless), Some("corrupt_parquet"));
    }
}
