//! A first look at a Parquet file from elsewhere, before Polars sees it.
//!
//! Polars reserves memory for as many entries as a list in the footer claims to have: seven bytes can ask for a hundred
//! gigabytes, and a failed reservation ends the whole process. Here every list must fit into the bytes that are left.

use crate::{Error, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

const MAGIC: &[u8; 4] = b"PAR1";
/// Footers of real files have kilobytes.
const LARGEST: u64 = 64 << 20;
/// Deeper nesting than any real footer has.
const DEEPEST: u32 = 32;

/// Refuses what is no Parquet file or claims what it cannot hold. `corrupt_parquet`.
pub(super) fn check(path: &Path) -> Result<()> {
    let mut file = File::open(path).map_err(Error::io("cannot read", path))?;
    let mut read = |from: SeekFrom, count: u64| -> Result<Vec<u8>> {
        let mut bytes = vec![0; count as usize];
        file.seek(from)
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(Error::io("cannot read", path))?;
        Ok(bytes)
    };
    let size = std::fs::metadata(path)
        .map_err(Error::io("cannot read", path))?
        .len();
    if size < 12 || read(SeekFrom::Start(0), 4)? != MAGIC {
        return Err(corrupt(path, "it does not begin with `PAR1`").at("byte 0"));
    }
    let tail = read(SeekFrom::End(-8), 8)?;
    if &tail[4..] != MAGIC {
        return Err(corrupt(path, "it does not end with `PAR1`").at(format!("byte {}", size - 4)));
    }
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if length > size - 12 || length > LARGEST {
        let what = format!("its footer claims {length} bytes of {size}");
        return Err(corrupt(path, &what).at(format!("byte {}", size - 8)));
    }
    let start = size - 8 - length;
    let footer = read(SeekFrom::Start(start), length)?;
    let mut walk = Walk {
        bytes: &footer,
        at: 0,
    };
    walk.structure(0).ok_or_else(|| {
        let place = start + walk.at as u64;
        corrupt(path, "its footer is damaged").at(format!("byte {place}"))
    })
}

/// The mistake of a file that is no sound Parquet.
pub(super) fn corrupt(path: &Path, what: &str) -> Error {
    Error::data("corrupt_parquet", format!("no sound Parquet file: {what}"))
        .in_file(path)
        .hint("fetch or write the file again")
}

/// Walks over a value in Thrift's compact protocol without keeping any of it; none where it does not hold together.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        let left = (self.bytes.len() - self.at) as u64;
        (count <= left).then(|| self.at += count as usize)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn structure(&mut self, depth: u32) -> Option<()> {
        loop {
            let head = self.byte()?;
            let kind = head & 0x0f;
            if kind == 0 {
                return Some(());
            }
            if head >> 4 == 0 {
                self.varint()?;
            }
            // A truth value stands in the head itself.
            if kind > 2 {
                self.value(kind, depth)?;
            }
        }
    }

    fn value(&mut self, kind: u8, depth: u32) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.varint()?,
                    count => u64::from(count),
                };
                // An empty list may leave its kind at 0.
                self.many(count, &[head & 0x0f], depth)
            }
            11 => {
                let count = self.varint()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                self.many(count, &[kinds >> 4, kinds & 0x0f], depth)
            }
            12 => self.structure(depth + 1),
            _ => None,
        }
    }

    /// `count` times one value of each kind; each takes a byte at least.
    fn many(&mut self, count: u64, kinds: &[u8], depth: u32) -> Option<()> {
        if count > (self.bytes.len() - self.at) as u64 {
            return None;
        }
        for _ in 0..count {
            for &kind in kinds {
                self.value(kind, depth + 1)?;
            }
        }
        Some(())
    }
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
