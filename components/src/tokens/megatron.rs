//! Token shards in Megatron's layout: `NAME.idx` says where the items of `NAME.bin` lie.
//!
//! The index is a mark of nine bytes, then little-endian: version (u64, 1), type of the ids (u8), number of items (u64) and
//! of document starts (u64); then the items' lengths (i32 each), their places in bytes (i64 each) and the document starts
//! (i64 each). The MiniPLM and PDS authors write one document start, 0; Megatron itself writes one for every document and
//! one for the end. Either is read. Nothing is believed: all that the index claims is compared with the files' sizes before
//! anything is reserved.

use crate::{Error, Result};
use memmap2::Mmap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub(super) const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";
pub(super) const VERSION: u64 = 1;
/// Bytes before the lengths.
pub(super) const HEAD: usize = 34;

/// A type of ids, as the index codes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Width {
    bytes: usize,
    signed: bool,
}

impl Width {
    /// Of a code: 1 to 5 are u8, i8, i16, i32 and i64, 8 is u16; 6 and 7 are floats.
    fn of(code: u8) -> Option<Self> {
        let (bytes, signed) = match code {
            1 => (1, false),
            2 => (1, true),
            3 => (2, true),
            4 => (4, true),
            5 => (8, true),
            8 => (2, false),
            _ => return None,
        };
        Some(Self { bytes, signed })
    }

    /// The id that `bytes` are; none if it is negative or has more than 32 bits.
    fn id(self, bytes: &[u8]) -> Option<u32> {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let negative = self.signed && bytes.last().is_some_and(|&last| last >= 0x80);
        (!negative).then(|| u64::from_le_bytes(wide).try_into().ok())?
    }
}

/// A pair of files that was found sound: every item lies inside.
#[derive(Debug)]
pub(crate) struct Shard {
    file: PathBuf,
    ids: Mmap,
    index: Mmap,
    width: Width,
    items: usize,
}

impl Shard {
    /// Opens `NAME.bin` and `NAME.idx`, of which `stem` is the path without ending. `bad_shard`.
    pub(crate) fn open(stem: &Path) -> Result<Self> {
        let [bin, idx] = ["bin", "idx"].map(|end| stem.with_added_extension(end));
        for (file, other) in [(&bin, &idx), (&idx, &bin)] {
            if !file.is_file() {
                let message = format!("`{}` has no `.{}` beside it", name(other), ending(file));
                return Err(bad(other, &message));
            }
        }
        let (ids, index) = (map(&bin)?, map(&idx)?);
        let (width, items) = check(&index, ids.len() as u64).map_err(|(at, what)| match at {
            Some(at) => bad(&idx, &what).at(format!("byte {at}")),
            None => bad(&idx, &what),
        })?;
        Ok(Self {
            file: bin,
            ids,
            index,
            width,
            items,
        })
    }

    /// The file of the ids.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Number of items.
    pub(crate) fn len(&self) -> usize {
        self.items
    }

    /// Number of tokens of an item.
    pub(crate) fn length(&self, item: usize) -> usize {
        length(&self.index, item).max(0) as usize
    }

    /// The ids of an item. `bad_shard`: one of them is negative or has more than 32 bits.
    pub(crate) fn item(&self, item: usize) -> Result<Vec<u32>> {
        let place = self.place(item);
        let ids = self.ids[place.clone()].chunks_exact(self.width.bytes);
        let ids: Option<Vec<u32>> = ids.map(|bytes| self.width.id(bytes)).collect();
        ids.ok_or_else(|| {
            let message = format!("item {item} holds what is no token id");
            bad(&self.file, &message).at(format!("byte {}", place.start))
        })
    }

    fn place(&self, item: usize) -> Range<usize> {
        let start = pointer(&self.index, self.items, item) as usize;
        start..start + self.length(item) * self.width.bytes
    }
}

/// What an index came to: the type of the ids and the number of items; or where what is wrong.
fn check(index: &[u8], bytes: u64) -> std::result::Result<(Width, usize), (Option<usize>, String)> {
    let wrong = |at: usize, what: String| Err((Some(at), what));
    let Some(head) = index.first_chunk::<HEAD>() else {
        let what = format!("the index has {} bytes; expected {HEAD} at least", index.len());
        return Err((None, what));
    };
    let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    if &head[..9] != MAGIC {
        return wrong(0, "it does not begin with `MMIDIDX`".to_owned());
    }
    if number(9) != VERSION {
        return wrong(
            9,
            format!("it has version {}; this program reads {VERSION}", number(9)),
        );
    }
    let Some(width) = Width::of(head[17]) else {
        return wrong(
            17,
            format!("ids of type {} are none; expected 1 to 5, or 8", head[17]),
        );
    };
    let (items, documents) = (number(18), number(26));
    let needed = HEAD as u128 + 12 * u128::from(items) + 8 * u128::from(documents);
    if needed != index.len() as u128 {
        let what = format!(
            "{items} items and {documents} document starts take {needed} bytes; the index has {}",
            index.len()
        );
        return wrong(18, what);
    }
    // They fit into the file, which fits into memory's addresses.
    let (items, documents) = (items as usize, documents as usize);
    for item in 0..items {
        let (length, start) = (length(index, item), pointer(index, items, item));
        let end = i128::from(start) + i128::from(length) * width.bytes as i128;
        if length < 0 || start < 0 || end > i128::from(bytes) {
            let what =
                format!("item {item} has {length} tokens from byte {start} on; there are {bytes} bytes");
            return wrong(HEAD + 4 * item, what);
        }
    }
    let mut last = 0;
    for document in 0..documents {
        let at = HEAD + 12 * items + 8 * document;
        let start = i64::from_le_bytes(index[at..at + 8].try_into().expect("eight bytes"));
        if start < last || start as u128 > items as u128 {
            return wrong(
                at,
                format!("document {document} begins at item {start} of {items}"),
            );
        }
        last = start;
    }
    Ok((width, items))
}

fn length(index: &[u8], item: usize) -> i32 {
    let at = HEAD + 4 * item;
    i32::from_le_bytes(index[at..at + 4].try_into().expect("four bytes"))
}

fn pointer(index: &[u8], items: usize, item: usize) -> i64 {
    let at = HEAD + 4 * items + 8 * item;
    i64::from_le_bytes(index[at..at + 8].try_into().expect("eight bytes"))
}

/// The mistake of a shard that is none.
pub(crate) fn bad(file: &Path, what: &str) -> Error {
    Error::data("bad_shard", format!("no sound token shard: {what}"))
        .in_file(file)
        .hint("a shard is a pair of files, `NAME.bin` and `NAME.idx`; fetch or write both again")
}

fn name(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn ending(file: &Path) -> String {
    file.extension()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn map(file: &Path) -> Result<Mmap> {
    let source = File::open(file).map_err(Error::io("cannot read", file))?;
    // SAFETY: the file is only read. A file that another process shortens meanwhile ends this one; nothing is written but
    // this attempt's own folder, which goes.
    #[allow(unsafe_code)] // there is no safe way to map a file
    let map = unsafe { Mmap::map(&source) };
    map.map_err(Error::io("cannot map", file))
}

#[cfg(test)]
mod tests {
    use super::super::shard_writer::ShardWriter;
    use super::*;
    use crate::artifact::TokenType;

    #[test]
    fn ids_of_every_type_are_read_and_what_is_none_is_refused() {
        let id = |code: u8, bytes: &[u8]| Width::of(code).expect("a type of ids").id(bytes);
        assert_eq!(id(1, &[200]), Some(200));
        assert_eq!(id(2, &[200]), None, "i8");
        assert_eq!(id(3, &[0, 0x80]), None, "i16");
        assert_eq!(id(8, &[0, 0x80]), Some(0x8000));
        assert_eq!(id(4, &[1, 2, 0, 0]), Some(513));
        assert_eq!(id(4, &[0xff; 4]), None);
        assert_eq!(id(5, &[1, 0, 0, 0, 0, 0, 0, 0]), Some(1));
        assert_eq!(id(5, &[0, 0, 0, 0, 1, 0, 0, 0]), None, "more than 32 bits");
        assert!([0, 6, 7, 9].iter().all(|&code| Width::of(code).is_none()));
    }

    #[test]
    fn what_is_written_is_read_and_damage_anywhere_is_found_or_harmless() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let stem = folder.path().join("my.tokens_0");
        let items: [&[u32]; 4] = [&[5, 6, 7], &[], &[65_000], &[1, 2]];
        let mut writer = ShardWriter::create(&stem, TokenType::U16).expect("creates");
        for ids in items {
            writer.push(ids).expect("writes");
        }
        writer.finish().expect("writes");
        let read = || {
            let shard = Shard::open(&stem)?;
            (0..shard.len())
                .map(|item| shard.item(item))
                .collect::<Result<Vec<_>>>()
        };
        assert_eq!(read().expect("sound"), items);
        let idx = stem.with_added_extension("idx");
        let sound = std::fs::read(&idx).expect("an index");
        for at in 0..sound.len() {
            std::fs::write(&idx, &sound[..at]).expect("writes");
            assert_eq!(read().expect_err("cut off").code(), "bad_shard", "cut at {at}");
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = sound.clone();
                bad[at] ^= flip;
                std::fs::write(&idx, bad).expect("writes");
                match read() {
                    Err(error) => assert_eq!(error.code(), "bad_shard"),
                    // A shorter item, a place elsewhere, or another type of the same width.
                    Ok(read) => assert!(read.len() == 4 && read != items || at >= HEAD || at == 17),
                }
            }
        }
    }
}
