//! Reading a corpus back, possibly through a selection of documents.

use crate::artifact::{Cell, CorpusDetails, DOCUMENTS_FILE, Document, View};
use crate::table::{read_error, read_on, row_groups};
use crate::{Artifact, Context, Error, Kind, Result};
use polars::prelude::{AnyValue, DataFrame, ParquetReader, SerReader};
use std::path::{Path, PathBuf};

/// The documents of a corpus or of a selection of them.
#[derive(Debug)]
pub struct Documents {
    source: Artifact,
    details: CorpusDetails,
    view: Option<Vec<(u64, f32)>>,
    groups: Vec<usize>,
}

impl Documents {
    /// Opens a corpus, or a selection of a corpus's documents. `wrong_kind`: it is neither.
    pub fn open(artifact: &Artifact, context: &Context) -> Result<Self> {
        let View {
            source,
            blocks,
            documents,
        } = View::open(artifact, context)?;
        if source.header.kind != Kind::Corpus || blocks.is_some() {
            return Err(Error::data(
                "wrong_kind",
                format!(
                    "`{}` is a selection from {}; expected documents",
                    artifact.label,
                    source.header.kind.name()
                ),
            ));
        }
        let details: CorpusDetails = source.details()?;
        let file = source.path.join(DOCUMENTS_FILE);
        let groups = row_groups(&file)?;
        let rows: usize = groups.iter().sum();
        if rows as u64 != details.documents {
            return Err(Error::data(
                "length_mismatch",
                format!("{rows} rows were found; expected {}", details.documents),
            )
            .in_file(&file));
        }
        if let Some(&(index, _)) = documents
            .iter()
            .flatten()
            .find(|(index, _)| *index >= details.documents)
        {
            return Err(Error::data(
                "index_out_of_range",
                format!(
                    "`{}` selects document {index} of {}",
                    artifact.label, details.documents
                ),
            ));
        }
        Ok(Self {
            source,
            details,
            view: documents,
            groups,
        })
    }

    /// Number of documents in the view.
    pub fn len(&self) -> u64 {
        let view = self.view.as_ref().map(|view| view.len() as u64);
        view.unwrap_or(self.details.documents)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The underlying corpus.
    pub fn source(&self) -> &Artifact {
        &self.source
    }

    /// The underlying corpus's header.
    pub fn details(&self) -> &CorpusDetails {
        &self.details
    }

    /// The row of the corpus and the weight of the document at `position` of the view.
    pub fn index(&self, position: u64) -> (u64, f32) {
        match &self.view {
            None => (position, 1.0),
            Some(view) => view[position as usize],
        }
    }

    /// Refuses a selection with weights, for work that could not carry them on. `weighted_selection`.
    pub fn refuse_weights(&self) -> Result<()> {
        if self.view.iter().flatten().all(|(_, weight)| *weight == 1.0) {
            return Ok(());
        }
        Err(Error::data(
            "weighted_selection",
            format!(
                "the selection of `{}` weights its documents, which would be lost here",
                self.source.label
            ),
        )
        .hint("pack the whole corpus and select from its tokens, or select without weights"))
    }

    /// A column as labels, one for every document of the underlying corpus. `missing_column`.
    pub fn labels(&self, column: &str) -> Result<Vec<Option<String>>> {
        self.require(column)?;
        let file = self.source.path.join(DOCUMENTS_FILE);
        let frame = read_columns(&file, Some(vec![column.to_owned()]), None)?;
        let values = frame.column(column).map_err(read_error(&file))?;
        (0..values.len())
            .map(|row| Ok(cell(values.get(row).map_err(read_error(&file))?).label()))
            .collect()
    }

    /// The documents of the view in order, each with its row in the corpus, holding one row group at a time. Only the
    /// kept columns in `columns` are read, in that order. `missing_column`.
    pub fn read<'a>(
        &'a self,
        columns: &[String],
    ) -> Result<impl Iterator<Item = Result<(u64, Document)>> + use<'a>> {
        self.read_at(columns, 0..self.len())
    }

    /// The same for the documents at some positions of the view.
    pub fn read_at<'a, P: IntoIterator<Item = u64>>(
        &'a self,
        columns: &[String],
        positions: P,
    ) -> Result<impl Iterator<Item = Result<(u64, Document)>> + use<'a, P>> {
        columns.iter().try_for_each(|column| self.require(column))?;
        let mut reader = Reader {
            file: self.source.path.join(DOCUMENTS_FILE),
            columns: columns.to_vec(),
            groups: &self.groups,
            current: None,
        };
        Ok(positions.into_iter().map(move |position| {
            let (index, _) = self.index(position);
            Ok((index, reader.get(index)?))
        }))
    }

    fn require(&self, column: &str) -> Result<()> {
        if column == "id" || self.details.columns.iter().any(|name| name == column) {
            return Ok(());
        }
        let kept = self
            .details
            .columns
            .iter()
            .map(|c| format!("`{c}`"))
            .collect::<Vec<_>>();
        let hint = if kept.is_empty() {
            format!(
                "name it in `keep_columns` of the step that reads `{}`",
                self.source.label
            )
        } else {
            format!("take one of {}, or add it to `keep_columns`", kept.join(", "))
        };
        Err(Error::data(
            "missing_column",
            format!("the corpus `{}` has no column `{column}`", self.source.label),
        )
        .hint(hint))
    }
}

/// Reads documents by row number, fast when they come in order.
struct Reader<'a> {
    file: PathBuf,
    columns: Vec<String>,
    groups: &'a [usize],
    current: Option<(std::ops::Range<u64>, Vec<Document>)>,
}

impl Reader<'_> {
    fn get(&mut self, index: u64) -> Result<Document> {
        let loaded = matches!(&self.current, Some((range, _)) if range.contains(&index));
        if !loaded {
            self.current = Some(self.load(index)?);
        }
        let (range, documents) = self.current.as_ref().expect("just loaded");
        Ok(documents[(index - range.start) as usize].clone())
    }

    fn load(&self, index: u64) -> Result<(std::ops::Range<u64>, Vec<Document>)> {
        let mut start = 0;
        let rows = self.groups.iter().find(|&&rows| {
            let inside = index < start + rows as u64;
            start += if inside { 0 } else { rows as u64 };
            inside
        });
        let rows = *rows.expect("indices were checked when the view was opened");
        let mut wanted = vec!["id".to_owned(), "text".to_owned()];
        wanted.extend(self.columns.iter().cloned());
        let frame = read_columns(&self.file, Some(wanted), Some((start as usize, rows)))?;
        Ok((
            start..start + rows as u64,
            rows_of(&frame, &self.columns).map_err(read_error(&self.file))?,
        ))
    }
}

fn read_columns(
    file: &Path,
    columns: Option<Vec<String>>,
    slice: Option<(usize, usize)>,
) -> Result<DataFrame> {
    read_on(file, |source| {
        ParquetReader::new(source)
            .with_columns(columns)
            .with_slice(slice)
            .finish()
    })
}

fn rows_of(frame: &DataFrame, columns: &[String]) -> polars::prelude::PolarsResult<Vec<Document>> {
    let id = frame.column("id")?.str()?;
    let text = frame.column("text")?.str()?;
    let kept = columns
        .iter()
        .map(|name| frame.column(name))
        .collect::<Result<Vec<_>, _>>()?;
    (0..frame.height())
        .map(|row| {
            let cells = kept
                .iter()
                .map(|column| Ok(cell(column.get(row)?)))
                .collect::<polars::prelude::PolarsResult<Vec<_>>>()?;
            Ok(Document {
                id: id.get(row).unwrap_or_default().to_owned(),
                text: text.get(row).unwrap_or_default().to_owned(),
                cells,
            })
        })
        .collect()
}

/// A value of a kept column; kinds no corpus holds read as empty.
fn cell(value: AnyValue) -> Cell {
    match value {
        AnyValue::Boolean(value) => Cell::Bool(value),
        AnyValue::Float64(value) => Cell::Number(value),
        AnyValue::String(value) => Cell::Text(value.to_owned()),
        AnyValue::StringOwned(value) => Cell::Text(value.to_string()),
        _ => Cell::Null,
    }
}
