//! Opening the user's files: what is there, and what it is packed with.

use crate::untrusted::check_ratio;
use crate::{Context, Error, Estimate, FilePath, Result, Size, Sizes};
use flate2::read::MultiGzDecoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// How much gzip or zstd usually shrinks English text.
const TYPICAL_RATIO: f64 = 2.6;

/// Where documents' texts are, unless said otherwise.
pub(super) fn text_column() -> String {
    "text".to_owned()
}

/// Where their names are.
pub(super) fn id_column() -> String {
    "id".to_owned()
}

/// What to do with a line that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadLine {
    /// Stop and name it.
    #[default]
    Error,
    /// Leave it out and tell how many there were.
    Skip,
}

/// What the files are said to hold, so that a plan can be made without them. A run compares documents and bytes with what
/// it read, unless a limit cut it short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Number of documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<u64>,
    /// Number of tokens; only for plans, as it depends on the tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Bytes of text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unit" = "bytes"))]
    pub bytes: Option<u64>,
}

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A file being read, unpacked on the way.
pub(crate) struct Input {
    /// Where it lies.
    pub(crate) file: PathBuf,
    packing: Packing,
    size: u64,
    reader: Box<dyn BufRead>,
}

impl Input {
    /// Opens a file of the user's. `missing_file`, `empty_file`, `bad_file`.
    pub(super) fn open(path: &FilePath, context: &Context) -> Result<Self> {
        Self::at(existing(path, context)?)
    }

    /// Opens a file that is there.
    pub(crate) fn at(file: PathBuf) -> Result<Self> {
        let raw = File::open(&file).map_err(Error::io("cannot read", &file))?;
        let mut raw = BufReader::with_capacity(1 << 18, raw);
        let size = raw
            .get_ref()
            .metadata()
            .map_err(Error::io("cannot read", &file))?
            .len();
        let start = raw.fill_buf().map_err(Error::io("cannot read", &file))?;
        let packing = packing(&file, start);
        let reader: Box<dyn BufRead> = match packing {
            Packing::Plain => Box::new(raw),
            Packing::Gzip => Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(raw))),
            Packing::Zstd => {
                let decoder =
                    zstd::stream::read::Decoder::with_buffer(raw).map_err(Error::io("cannot read", &file))?;
                Box::new(BufReader::with_capacity(1 << 18, decoder))
            }
        };
        Ok(Self {
            file,
            packing,
            size,
            reader,
        })
    }

    /// Reads on until after the next newline, or to the end, but no more than `limit` bytes. Zero: nothing is left.
    /// `offset` is where reading stands in the unpacked data. `corrupt_gzip`, `corrupt_zstd`, `decompression_bomb`.
    pub(super) fn read_line(&mut self, line: &mut Vec<u8>, limit: u64, offset: u64) -> Result<usize> {
        line.clear();
        let read = (&mut self.reader).take(limit).read_until(b'\n', line);
        let unpacked = offset + line.len() as u64;
        let read = read.map_err(|e| self.broken(&e, unpacked))?;
        check_ratio(unpacked, self.size, &self.file)?;
        Ok(read)
    }

    /// What a failed read means: for a packed file, nearly always a damaged one.
    fn broken(&self, error: &std::io::Error, offset: u64) -> Error {
        let (code, name) = match self.packing {
            Packing::Plain => {
                let again = std::io::Error::new(error.kind(), error.to_string());
                return Error::io("cannot read", &self.file)(again);
            }
            Packing::Gzip => ("corrupt_gzip", "gzip"),
            Packing::Zstd => ("corrupt_zstd", "zstd"),
        };
        Error::data(code, format!("damaged {name} data: {error}"))
            .in_file(&self.file)
            .at(format!("byte {offset} of the unpacked data"))
            .hint("fetch or pack the file again")
    }
}

/// Where a file of the user's lies. `missing_file`, `bad_file`, `empty_file`.
pub(crate) fn existing(path: &FilePath, context: &Context) -> Result<PathBuf> {
    let file = context.file(path)?;
    let about = std::fs::metadata(&file).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::data("missing_file", format!("there is no file `{}`", path.0))
            .in_file(&file)
            .hint("paths are relative to the experiment file that names them"),
        _ => Error::io("cannot read", &file)(e),
    })?;
    if !about.is_file() {
        return Err(Error::data("bad_file", "a file was expected, not a folder").in_file(&file));
    }
    if about.len() == 0 {
        return Err(empty(&file));
    }
    Ok(file)
}

/// The mistake of a file without anything in it.
pub(super) fn empty(file: &Path) -> Error {
    Error::data("empty_file", "the file holds no document")
        .in_file(file)
        .hint("take it out of `files`, or fetch it again")
}

/// By the ending of the name, else by how the file starts.
fn packing(file: &Path, start: &[u8]) -> Packing {
    let ending = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if ending.eq_ignore_ascii_case("gz") || start.starts_with(&[0x1f, 0x8b]) {
        Packing::Gzip
    } else if ending.eq_ignore_ascii_case("zst") || start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Packing::Zstd
    } else {
        Packing::Plain
    }
}

/// What reading `files` would give: as the user says, else what the files' sizes tell.
pub(super) fn estimate(
    files: &[FilePath],
    expect: Option<Expect>,
    limit: Option<u64>,
    sizes: &Sizes,
) -> Estimate {
    let expect = expect.unwrap_or_default();
    let unpacked = |path: &FilePath| {
        let packed = packing(Path::new(&path.0), &[]) != Packing::Plain;
        sizes.of(&path.0).bytes * if packed { TYPICAL_RATIO } else { 1.0 }
    };
    let or = |said: Option<u64>, otherwise: f64| said.map_or(otherwise, |n| n as f64);
    let documents = or(expect.documents, 0.0);
    let size = Size {
        items: limit.map_or(documents, |limit| documents.min(limit as f64)),
        tokens: or(expect.tokens, 0.0),
        bytes: or(expect.bytes, files.iter().map(unpacked).sum()),
        ..Size::default()
    };
    Estimate {
        outputs: [(String::new(), size)].into(),
        ..Estimate::default()
    }
}
