//! Embeddings: one vector a document.
//!
//! `embeddings.npy` is a row-major matrix of 32-bit floats as NumPy keeps it, which `numpy.load(…, mmap_mode="r")` maps;
//! `ids.parquet` holds, row by row, `index` (u64: the document in the corpus) and `id` (its name).

use super::{Artifact, Kind, Source, write_header};
use crate::disk;
use crate::table::{check_rows, damaged, fingerprint, frame, read_parquet, u64_column, write_parquet};
use crate::{Error, Precision, Result};
use memmap2::Mmap;
use polars::prelude::Column;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const MATRIX: &str = "embeddings.npy";
const IDS: &str = "ids.parquet";
/// Bytes of the matrix file before its first number.
const HEADER: usize = 128;
const FLOAT: usize = size_of::<f32>();

/// What the header of embeddings keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingsDetails {
    /// Number of vectors.
    pub rows: u64,
    /// Numbers in each.
    pub width: u64,
    /// Fingerprint of the model that made them.
    pub model: String,
    /// What was computed in.
    pub precision: Precision,
}

/// Writes embeddings vector by vector.
#[derive(Debug)]
pub struct EmbeddingsWriter {
    folder: PathBuf,
    matrix: BufWriter<disk::File>,
    details: EmbeddingsDetails,
    index: Vec<u64>,
    ids: Vec<String>,
}

impl EmbeddingsWriter {
    /// Starts the artifact in `folder`; `details.rows` vectors follow.
    pub fn create(folder: &Path, details: EmbeddingsDetails) -> Result<Self> {
        let file = folder.join(MATRIX);
        let io = Error::io("cannot write", &file);
        let mut matrix = disk::File::buffered(&file).map_err(Error::io("cannot write", &file))?;
        matrix.write_all(&header(&details)).map_err(io)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            matrix,
            details,
            index: Vec::new(),
            ids: Vec::new(),
        })
    }

    /// Adds the vector of a document.
    pub fn push(&mut self, index: u64, id: &str, vector: &[f32]) -> Result<()> {
        debug_assert_eq!(vector.len() as u64, self.details.width);
        self.index.push(index);
        self.ids.push(id.to_owned());
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        let file = self.folder.join(MATRIX);
        self.matrix
            .write_all(&bytes)
            .map_err(Error::io("cannot write", &file))
    }

    /// Writes what is left and the header. `source` is what was embedded. `length_mismatch`: there are more or fewer
    /// vectors than were announced.
    pub fn finish(mut self, source: Source) -> Result<()> {
        let (found, expected) = (self.index.len() as u64, self.details.rows);
        if found != expected {
            let message = format!("{found} vectors were made; expected {expected}");
            return Err(Error::data("length_mismatch", message));
        }
        let file = self.folder.join(MATRIX);
        self.matrix.flush().map_err(Error::io("cannot write", &file))?;
        let columns = vec![
            Column::new("index".into(), &self.index),
            Column::new("id".into(), &self.ids),
        ];
        write_parquet(&self.folder.join(IDS), &mut frame(columns))?;
        let print = fingerprint(&self.folder, &[MATRIX, IDS], &source.fingerprint)?;
        write_header(&self.folder, Kind::Embeddings, print, Some(source), self.details)
    }
}

/// The beginning of a file of NumPy's format 1.0.
fn header(details: &EmbeddingsDetails) -> Vec<u8> {
    let (rows, width) = (details.rows, details.width);
    let what = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    let text = HEADER - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text as u16).to_le_bytes());
    bytes.extend(format!("{what:<0$}\n", text - 1).into_bytes());
    bytes
}

/// Memory-mapped embeddings.
#[derive(Debug)]
pub struct Embeddings {
    details: EmbeddingsDetails,
    matrix: Mmap,
    index: Vec<u64>,
    ids: Vec<String>,
}

impl Embeddings {
    /// Opens the artifact. `bad_table`, `length_mismatch`: it is not what its header says.
    pub fn open(artifact: &Artifact) -> Result<Self> {
        let details: EmbeddingsDetails = artifact.details()?;
        let file = artifact.path.join(MATRIX);
        let opened = File::open(&file).map_err(Error::io("cannot read", &file))?;
        // SAFETY: artifacts are never changed once they are published.
        #[expect(unsafe_code, reason = "memory maps are unsafe where files may change")]
        let matrix = unsafe { Mmap::map(&opened) }.map_err(Error::io("cannot map", &file))?;
        let numbers = details.rows.checked_mul(details.width);
        let bytes = numbers.and_then(|n| n.checked_mul(FLOAT as u64)?.checked_add(HEADER as u64));
        if bytes != Some(matrix.len() as u64) || !matrix.starts_with(&header(&details)) {
            return Err(damaged(
                "the matrix has another shape than the header says",
                &file,
            ));
        }
        let file = artifact.path.join(IDS);
        let frame = read_parquet(&file)?;
        check_rows(&frame, details.rows, &file)?;
        let ids = frame.column("id").and_then(|ids| Ok(ids.str()?.clone()));
        let ids = ids.map_err(crate::table::read_error(&file))?;
        let ids = ids.iter().map(|id| id.unwrap_or_default().to_owned()).collect();
        Ok(Self {
            index: u64_column(&frame, "index", &file)?,
            ids,
            details,
            matrix,
        })
    }

    /// The header.
    pub fn details(&self) -> &EmbeddingsDetails {
        &self.details
    }

    /// The documents' numbers in the corpus, row by row.
    pub fn index(&self) -> &[u64] {
        &self.index
    }

    /// The documents' names, row by row.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The vector of a row below the number of rows.
    pub fn row(&self, row: u64) -> Vec<f32> {
        let bytes = self.details.width as usize * FLOAT;
        let start = HEADER + row as usize * bytes;
        let (numbers, _) = self.matrix[start..start + bytes].as_chunks();
        numbers.iter().map(|&b| f32::from_le_bytes(b)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_cut_matrix_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let details = EmbeddingsDetails {
            rows: 2,
            width: 3,
            model: "m".to_owned(),
            precision: Precision::F32,
        };
        let mut writer = EmbeddingsWriter::create(folder.path(), details.clone()).expect("creates");
        writer.push(4, "a", &[0.5, -1.0, 2.0]).expect("writes");
        writer.push(9, "b", &[1.0, 0.0, f32::MIN]).expect("writes");
        let source = Source {
            location: "corpus.text/k".to_owned(),
            fingerprint: "f".to_owned(),
        };
        writer.finish(source).expect("writes");
        let artifact = Artifact::open(folder.path(), "embed.text/k", "vectors").expect("opens");
        let read = Embeddings::open(&artifact).expect("opens");
        assert_eq!((read.details(), read.index()), (&details, &[4, 9][..]));
        assert_eq!(read.ids(), ["a", "b"]);
        assert_eq!(read.row(1), [1.0, 0.0, f32::MIN]);

        let file = folder.path().join(MATRIX);
        let bytes = std::fs::read(&file).expect("reads");
        std::fs::write(&file, &bytes[..bytes.len() - 1]).expect("writes");
        assert_eq!(Embeddings::open(&artifact).expect_err("cut").code(), "bad_table");
    }
}
