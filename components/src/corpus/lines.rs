//! Lines of the user's files, with their places.

use super::source::Input;
use crate::{Error, Result};

/// The longest line, paragraph or file that may become one document.
pub(super) const LONGEST: u64 = 256 << 20;

/// A line of a file.
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: u64,
    /// Where it starts in the unpacked data.
    pub(crate) offset: u64,
    /// Its bytes, without the line's end.
    pub(crate) bytes: &'a [u8],
}

impl Line<'_> {
    /// Its text. `invalid_utf8` names the byte.
    pub(crate) fn text(&self, input: &Input) -> Result<&str> {
        std::str::from_utf8(self.bytes).map_err(|e| {
            Error::data("invalid_utf8", "not UTF-8")
                .in_file(&input.file)
                .at(format!(
                    "line {}, byte {}",
                    self.number,
                    self.offset + e.valid_up_to() as u64
                ))
                .hint("convert the file to UTF-8")
        })
    }
}

/// Walks over the lines of a file.
pub(crate) struct Lines {
    pub(crate) input: Input,
    buffer: Vec<u8>,
    number: u64,
    offset: u64,
}

impl Lines {
    pub(crate) fn new(input: Input) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            number: 0,
            offset: 0,
        }
    }

    /// The next line, and the file for messages. A byte-order mark at the start is not part of the first. `line_too_long`.
    pub(crate) fn next(&mut self) -> Result<Option<(Line<'_>, &Input)>> {
        let read = self.input.read_line(&mut self.buffer, LONGEST + 1, self.offset)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if read as u64 > LONGEST {
            return Err(
                Error::data("line_too_long", format!("a line of more than {LONGEST} bytes"))
                    .in_file(&self.input.file)
                    .at(format!("line {}, byte {}", self.number, self.offset))
                    .hint("split it; one document may have at most 256 MiB"),
            );
        }
        let mut offset = self.offset;
        self.offset += read as u64;
        let mut bytes = self.buffer.as_slice();
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if offset == 0
            && let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf")
        {
            offset = 3;
            bytes = rest;
        }
        let line = Line {
            number: self.number,
            offset,
            bytes,
        };
        Ok(Some((line, &self.input)))
    }
}
