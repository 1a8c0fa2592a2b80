//! Arrow tables of unsigned numbers: the indexes that lie beside token ids.
//!
//! Only what such an index is made of is read: uncompressed columns of u32 and u64 without empty cells. Everything is
//! looked up inside the file's own bytes, so that nothing can be claimed that is not there.

use super::flat::{Flat, Table};
use crate::table::damaged;
use crate::{Error, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"ARROW1";
/// The type of a column of whole numbers.
const INT: u8 = 2;
/// The type of a message that holds rows.
const RECORD_BATCH: u8 = 3;

/// A table whose columns are asked for by name.
pub(crate) struct Index {
    file: PathBuf,
    bytes: Vec<u8>,
    columns: Vec<Column>,
}

/// A column: its name, the bytes of one value, and where the values lie.
struct Column {
    name: String,
    width: usize,
    places: Vec<Range<usize>>,
}

impl Index {
    /// Reads a table. `bad_table`.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).map_err(Error::io("cannot read", file))?;
        let columns = columns(&bytes).ok_or_else(|| damaged("it is no sound Arrow table", file))?;
        Ok(Self {
            file: file.to_path_buf(),
            bytes,
            columns,
        })
    }

    /// The column called `name`, of 64-bit numbers. `bad_table`.
    pub(crate) fn u64(&self, name: &str) -> Result<Vec<u64>> {
        self.column(name, u64::from_le_bytes)
    }

    /// The column called `name`, of 32-bit numbers. `bad_table`.
    pub(crate) fn u32(&self, name: &str) -> Result<Vec<u32>> {
        self.column(name, u32::from_le_bytes)
    }

    fn column<T, const N: usize>(&self, name: &str, number: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let column = self.columns.iter().find(|c| c.name == name && c.width == N);
        let column = column.ok_or_else(|| {
            let what = format!("there is no column `{name}` of {}-bit numbers", 8 * N);
            damaged(&what, &self.file)
        })?;
        let chunks = column
            .places
            .iter()
            .flat_map(|place| self.bytes[place.clone()].as_chunks().0);
        Ok(chunks.map(|&chunk| number(chunk)).collect())
    }
}

/// The columns of a file; none if it does not hold together.
fn columns(bytes: &[u8]) -> Option<Vec<Column>> {
    let tail = bytes.len().checked_sub(10)?;
    if !bytes.starts_with(MAGIC) || &bytes[tail + 4..] != MAGIC {
        return None;
    }
    let length = usize::try_from(Flat(bytes).u32(tail)?).ok()?;
    let footer = Flat(bytes.get(tail.checked_sub(length)?..tail)?);
    let footer = footer.root()?;
    let mut columns = schema(footer.table(1)?)?;
    for block in footer.structures(3, 24)? {
        let [offset, metadata] = [block.size(0)?, usize::try_from(block.u32(8)?).ok()?];
        let message = bytes.get(offset..offset.checked_add(metadata)?)?;
        let body = bytes.get(offset + metadata..)?.get(..block.size(16)?)?;
        // A message begins with its length, and that, in newer files, with a mark.
        let start = if message.starts_with(&[0xff; 4]) { 8 } else { 4 };
        let message = Flat(message.get(start..)?).root()?;
        if message.u8(1)? != RECORD_BATCH {
            return None;
        }
        add(&mut columns, message.table(2)?, body.len(), offset + metadata)?;
    }
    Some(columns)
}

/// The names and widths of the columns, so far without values.
fn schema(schema: Table) -> Option<Vec<Column>> {
    let column = |field: Table| {
        let kind = field.table(3)?;
        let width = match kind.u32(0)? {
            32 => 4,
            64 => 8,
            _ => return None,
        };
        if field.u8(2)? != INT || field.has(4) {
            return None;
        }
        Some(Column {
            name: field.text(0)?.to_owned(),
            width,
            places: Vec::new(),
        })
    };
    schema.tables(1)?.map(|field| column(field?)).collect()
}

/// Adds the rows of a batch, whose values lie in `body` bytes from `start` of the file on.
fn add(columns: &mut [Column], batch: Table, body: usize, start: usize) -> Option<()> {
    let rows = batch.size(0)?;
    let nodes: Vec<Flat> = batch.structures(1, 16)?.collect();
    let buffers: Vec<Flat> = batch.structures(2, 16)?.collect();
    // Every column has a node, a mask of empty cells (which may be left out) and values.
    if batch.has(3) || nodes.len() != columns.len() || buffers.len() != 2 * columns.len() {
        return None;
    }
    for ((column, node), buffers) in columns.iter_mut().zip(nodes).zip(buffers.chunks(2)) {
        let (offset, held) = (buffers[1].size(0)?, buffers[1].size(8)?);
        let needed = rows.checked_mul(column.width)?;
        let inside = offset.checked_add(held).is_some_and(|end| end <= body);
        if node.size(0)? != rows || node.size(8)? != 0 || needed > held || !inside {
            return None;
        }
        column.places.push(start + offset..start + offset + needed);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{BLOCKS_FILE, SEGMENTS_FILE};
    use crate::testing::Bench;
    use polars::prelude::{IpcReader, SerReader};

    /// Blocks and their segments, as the packer writes them.
    fn written() -> (Bench, PathBuf) {
        let bench = Bench::new();
        let corpus = bench.corpus("docs", "kind", &["a", "b"]);
        let artifact = bench.tokens(
            "tokens",
            &corpus,
            &[(&[1, 2, 3], &[(0, 3)]), (&[4, 0], &[(1, 2)])],
        );
        (bench, artifact.path)
    }

    #[test]
    fn what_polars_writes_is_read_as_polars_reads_it() {
        let (_bench, path) = written();
        let (blocks, segments) = (path.join(BLOCKS_FILE), path.join(SEGMENTS_FILE));
        let index = Index::read(&blocks).expect("reads");
        assert_eq!(index.u64("offset").expect("there"), [0, 3]);
        assert_eq!(index.u32("length").expect("there"), [3, 2]);
        let frame = IpcReader::new(std::fs::File::open(&segments).expect("opens")).finish();
        let frame = frame.expect("reads");
        let index = Index::read(&segments).expect("reads");
        let document = frame.column("document").expect("there").u64().expect("u64");
        assert_eq!(
            index.u64("document").expect("there"),
            document.into_no_null_iter().collect::<Vec<_>>()
        );
        assert_eq!(index.u32("offset").expect_err("absent").code(), "bad_table");
    }

    #[test]
    fn damage_anywhere_is_an_error_or_other_numbers() {
        let (_bench, path) = written();
        let sound = std::fs::read(path.join(SEGMENTS_FILE)).expect("reads");
        let names = |columns: Vec<Column>| columns.iter().map(|c| c.places.len()).sum::<usize>();
        let mut refused = 0;
        for at in 0..sound.len() {
            assert!(columns(&sound[..at]).is_none(), "cut at {at}");
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = sound.clone();
                bad[at] ^= flip;
                refused += i32::from(columns(&bad).map(names).is_none());
            }
        }
        assert!(refused > 100, "{refused}");
    }
}
