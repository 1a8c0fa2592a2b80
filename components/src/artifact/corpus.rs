//! A corpus: documents in order.
//!
//! `documents.parquet` holds `id` and `text` (strings) and the columns that were kept. The row number is the document's
//! index. Rows are written in groups, so that neither writing nor reading holds more than one of them.

use super::{Kind, write_header};
use crate::disk::{self, Failure};
use crate::table::{fingerprint, frame, write_error};
use crate::{Error, Result};
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{Column, DataType, Field, ParquetWriter, PlSmallStr, Schema, StatisticsOptions};
use serde::{Deserialize, Serialize};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// Name of the table inside the folder.
pub(crate) const FILE: &str = "documents.parquet";
/// A row group is written once it holds this many documents …
const GROUP_ROWS: usize = 8192;
/// … or this many bytes of text.
const GROUP_BYTES: usize = 16 << 20;

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What the source calls it.
    pub id: String,
    /// Its text.
    pub text: String,
    /// The kept columns' values, in the order of [`CorpusDetails::columns`].
    pub cells: Vec<Cell>,
}

/// The value of a kept column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// None.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A string.
    Text(String),
}

impl Cell {
    /// The column type that holds it; none for an empty cell.
    fn dtype(&self) -> Option<DataType> {
        match self {
            Self::Null => None,
            Self::Bool(_) => Some(DataType::Boolean),
            Self::Number(_) => Some(DataType::Float64),
            Self::Text(_) => Some(DataType::String),
        }
    }

    /// As a label: text as it is, other values as they print, an empty cell as nothing.
    pub fn label(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(value) => Some(value.to_string()),
            Self::Text(value) => Some(value.clone()),
        }
    }
}

/// What the header of a corpus keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusDetails {
    /// Number of documents.
    pub documents: u64,
    /// Bytes of UTF-8 text in all of them.
    pub bytes: u64,
    /// The columns kept besides `id` and `text`, in order.
    pub columns: Vec<String>,
}

/// The table being written.
struct Growing {
    writer: BatchedWriter<BufWriter<disk::File>>,
    failure: Failure,
    /// Of the kept columns.
    types: Vec<DataType>,
}

/// Writes a corpus document by document, holding one row group.
pub struct CorpusWriter {
    folder: PathBuf,
    details: CorpusDetails,
    rows: Vec<Document>,
    row_bytes: usize,
    table: Option<Growing>,
}

impl CorpusWriter {
    /// Starts the corpus in `folder`, with `columns` beside `id` and `text`. `reserved_column`, `duplicate_column`.
    pub fn create(folder: &Path, columns: &[String]) -> Result<Self> {
        for (i, name) in columns.iter().enumerate() {
            if name == "id" || name == "text" {
                return Err(Error::data(
                    "reserved_column",
                    format!("a kept column cannot be called `{name}`"),
                )
                .hint("`id` and `text` are always kept; rename the column"));
            }
            if columns[..i].contains(name) {
                return Err(Error::data(
                    "duplicate_column",
                    format!("column `{name}` is named twice"),
                ));
            }
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            details: CorpusDetails {
                documents: 0,
                bytes: 0,
                columns: columns.to_vec(),
            },
            rows: Vec::new(),
            row_bytes: 0,
            table: None,
        })
    }

    /// How many documents were added.
    pub fn documents(&self) -> u64 {
        self.details.documents
    }

    /// Adds a document; it has as many cells as there are kept columns. `wrong_type`: a column's values are of several
    /// kinds.
    pub fn push(&mut self, document: Document) -> Result<()> {
        debug_assert_eq!(document.cells.len(), self.details.columns.len());
        self.details.documents += 1;
        self.details.bytes += document.text.len() as u64;
        self.row_bytes += document.text.len();
        self.rows.push(document);
        if self.rows.len() >= GROUP_ROWS || self.row_bytes >= GROUP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is left and the header. `empty_corpus`: there is no document.
    pub fn finish(mut self) -> Result<CorpusDetails> {
        if self.details.documents == 0 {
            return Err(Error::data("empty_corpus", "no document is left")
                .hint("look at `limit`, `on_bad_line` and the fractions of this step"));
        }
        self.flush()?;
        let file = self.folder.join(FILE);
        let table = self.table.take().expect("at least one row group was written");
        table
            .writer
            .finish()
            .map_err(write_error(&file, &table.failure))?;
        let print = fingerprint(&self.folder, &[FILE], "")?;
        write_header(&self.folder, Kind::Corpus, print, None, &self.details)?;
        Ok(self.details)
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let file = self.folder.join(FILE);
        if self.table.is_none() {
            self.table = Some(self.start(&file)?);
        }
        let Growing {
            writer,
            failure,
            types,
        } = self.table.as_mut().expect("just started");
        let first = self.details.documents - self.rows.len() as u64;
        let mut columns = vec![
            Column::new(
                "id".into(),
                self.rows.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(),
            ),
            Column::new(
                "text".into(),
                self.rows.iter().map(|d| d.text.as_str()).collect::<Vec<_>>(),
            ),
        ];
        for (i, (name, dtype)) in self.details.columns.iter().zip(types.iter()).enumerate() {
            columns.push(column(name, dtype, &self.rows, i, first)?);
        }
        writer
            .write_batch(&frame(columns))
            .map_err(write_error(&file, failure))?;
        self.rows.clear();
        self.row_bytes = 0;
        Ok(())
    }

    /// Opens the table. A kept column takes the kind of its first value; one without a value so far is text.
    fn start(&self, file: &Path) -> Result<Growing> {
        let kind = |i: usize| self.rows.iter().find_map(|row| row.cells[i].dtype());
        let types: Vec<_> = (0..self.details.columns.len())
            .map(|i| kind(i).unwrap_or(DataType::String))
            .collect();
        let field = |name: &str, dtype: &DataType| Field::new(PlSmallStr::from(name), dtype.clone());
        let mut fields = vec![field("id", &DataType::String), field("text", &DataType::String)];
        fields.extend(
            self.details
                .columns
                .iter()
                .zip(&types)
                .map(|(name, dtype)| field(name, dtype)),
        );
        let schema: Schema = fields.into_iter().collect();
        let sink = disk::File::buffered(file).map_err(Error::io("cannot write", file))?;
        let failure = sink.get_ref().failure();
        // Without statistics: they would keep whole texts in the footer.
        let writer = ParquetWriter::new(sink)
            .with_statistics(StatisticsOptions::empty())
            .batched(&schema)
            .map_err(write_error(file, &failure))?;
        Ok(Growing {
            writer,
            failure,
            types,
        })
    }
}

/// The `i`-th kept column of `rows`, the first of which is document number `first`.
fn column(name: &str, dtype: &DataType, rows: &[Document], i: usize, first: u64) -> Result<Column> {
    for (row, document) in rows.iter().enumerate() {
        let found = document.cells[i].dtype();
        if found.as_ref().is_some_and(|found| found != dtype) {
            let found = found.expect("just checked");
            return Err(Error::data(
                "wrong_type",
                format!(
                    "column `{name}` holds {found} in document `{}` but {dtype} before it",
                    document.id
                ),
            )
            .at(format!("document {}", first + row as u64))
            .hint("give every document the same kind of value, or leave the column out of `keep_columns`"));
        }
    }
    let cells = rows.iter().map(|row| &row.cells[i]);
    let name = name.into();
    Ok(match dtype {
        DataType::Boolean => Column::new(
            name,
            cells
                .map(|c| if let Cell::Bool(v) = c { Some(*v) } else { None })
                .collect::<Vec<_>>(),
        ),
        DataType::Float64 => Column::new(
            name,
            cells
                .map(|c| if let Cell::Number(v) = c { Some(*v) } else { None })
                .collect::<Vec<_>>(),
        ),
        _ => Column::new(
            name,
            cells
                .map(|c| {
                    if let Cell::Text(v) = c {
                        Some(v.as_str())
                    } else {
                        None
                    }
                })
                .collect::<Vec<_>>(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(id: &str, cell: Cell) -> Document {
        Document {
            id: id.to_owned(),
            text: format!("text of {id}"),
            cells: vec![cell],
        }
    }

    #[test]
    fn a_column_of_several_kinds_is_refused_with_the_document() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut writer = CorpusWriter::create(folder.path(), &["label".to_owned()]).expect("creates");
        writer.push(document("a", Cell::Null)).expect("pushes");
        writer
            .push(document("b", Cell::Text("x".into())))
            .expect("pushes");
        writer.push(document("c", Cell::Number(1.0))).expect("pushes");
        let error = writer.finish().expect_err("mixed");
        assert_eq!(error.code(), "wrong_type");
        assert!(error.to_string().contains("document 2"), "{error}");
    }

    #[test]
    fn nothing_is_no_corpus_and_names_are_checked() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let create = |columns: &[&str]| {
            CorpusWriter::create(
                folder.path(),
                &columns.iter().map(|&c| c.to_owned()).collect::<Vec<_>>(),
            )
        };
        let empty = create(&[]).expect("creates").finish().expect_err("no documents");
        assert_eq!(empty.code(), "empty_corpus");
        assert_eq!(
            create(&["text"]).err().expect("reserved").code(),
            "reserved_column"
        );
        assert_eq!(
            create(&["a", "a"]).err().expect("twice").code(),
            "duplicate_column"
        );
    }
}
