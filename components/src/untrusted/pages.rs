//! The pages of a Parquet file's columns: what their headers claim.

use super::parquet::{Chunk, Source, corrupt};
use super::thrift::{BINARY, I32, I64, STRUCT, Thrift, fits};
use crate::{Error, Result};

/// The longest header of a page that is looked at.
const LONGEST: u64 = 16 << 20;
/// What Polars holds for one value of any type.
const VALUE_BYTES: u64 = 16;
/// The deltas: their pages claim numbers of values of their own, under the compression.
const DELTAS: std::ops::RangeInclusive<i32> = 5..=7;

impl Chunk {
    /// Walks over the pages and adds up what holding them would take.
    pub(super) fn pages(&self, source: &mut Source) -> Result<u64> {
        let (mut at, end) = (self.start(), self.start() + self.bytes);
        let (mut unpacked, mut values) = (0_u64, 0_u64);
        while at < end && values < self.values {
            let (header, length) = Page::read(source, at, end)?;
            if DELTAS.contains(&header.encoding) {
                let message = "a column is stored as differences, which is not read";
                return Err(Error::data("unsupported_parquet", message)
                    .in_file(source.path)
                    .at(format!("byte {at}"))
                    .hint("write the file with plain or dictionary encoding"));
            }
            at += length;
            if header.packed > end - at {
                let what = "a page is longer than its column";
                return Err(corrupt(source.path, what).at(format!("byte {at}")));
            }
            at += header.packed;
            if !header.dictionary {
                values = values.saturating_add(header.values);
            }
            let held = header.values.saturating_mul(VALUE_BYTES);
            unpacked = unpacked.saturating_add(held).saturating_add(header.unpacked);
        }
        if values != self.values {
            let what = format!("a column has {values} values; its footer claims {}", self.values);
            return Err(corrupt(source.path, &what).at(format!("byte {at}")));
        }
        Ok(unpacked)
    }
}

/// The header of a page.
#[derive(Default)]
struct Page {
    dictionary: bool,
    unpacked: u64,
    packed: u64,
    values: u64,
    encoding: i32,
}

impl Page {
    /// The header at `at` of a column that ends at `end`, and its length.
    fn read(source: &mut Source, at: u64, end: u64) -> Result<(Self, u64)> {
        // Statistics may make a header longer than the usual hundred bytes.
        let mut count = 1 << 10;
        loop {
            let bytes = source.read(at, count.min(end - at))?;
            let mut thrift = Thrift::new(&bytes);
            if let Some(page) = Self::header(&mut thrift) {
                return Ok((page, thrift.at() as u64));
            }
            if count >= (end - at).min(LONGEST) {
                return Err(corrupt(source.path, "the header of a page is damaged").at(format!("byte {at}")));
            }
            count *= 16;
        }
    }

    fn header(thrift: &mut Thrift) -> Option<Self> {
        let mut page = Self::default();
        let kinds = [
            (1, I32),
            (2, I32),
            (3, I32),
            (4, I32),
            (5, STRUCT),
            (6, STRUCT),
            (7, STRUCT),
            (8, STRUCT),
        ];
        thrift.structure(|t, field, kind| {
            fits(kind, field, &kinds)?;
            match field {
                1 => page.dictionary = t.i32()? == 2,
                2 => page.unpacked = t.i32()?.try_into().ok()?,
                3 => page.packed = t.i32()?.try_into().ok()?,
                5 => page.body(t, 2, 5, &[(1, I32), (2, I32), (3, I32), (4, I32), (5, STRUCT)])?,
                7 => page.body(t, 2, 0, &[(1, I32), (2, I32)])?,
                8 => {
                    let kinds = [
                        (1, I32),
                        (2, I32),
                        (3, I32),
                        (4, I32),
                        (5, I32),
                        (6, I32),
                        (8, STRUCT),
                    ];
                    page.body(t, 4, 8, &kinds)?;
                }
                _ => return Some(false),
            }
            Some(true)
        })?;
        Some(page)
    }

    /// The header of one type of page: its number of values, its encoding, its statistics.
    fn body(
        &mut self,
        thrift: &mut Thrift,
        encoding: i16,
        statistics: i16,
        kinds: &[(i16, u8)],
    ) -> Option<()> {
        thrift.structure(|t, field, kind| {
            fits(kind, field, kinds)?;
            if field == 1 {
                self.values = t.i32()?.try_into().ok()?;
            } else if field == encoding {
                self.encoding = t.i32()?;
            } else if field == statistics {
                t.structure(|_, field, kind| {
                    fits(
                        kind,
                        field,
                        &[
                            (1, BINARY),
                            (2, BINARY),
                            (3, I64),
                            (4, I64),
                            (5, BINARY),
                            (6, BINARY),
                        ],
                    )?;
                    Some(false)
                })?;
            } else {
                return Some(false);
            }
            Some(true)
        })
    }
}
