//! Scores read a piece at a time, for tables that need not fit into memory.

use super::scores::{FILE, unknown_column};
use super::{Artifact, ScoresDetails};
use crate::table::{damaged, f64_column, read_on, read_with, u64_column};
use crate::{Error, Result};
use polars::prelude::{ParquetReader, SerReader};
use std::ops::Range;
use std::path::PathBuf;

/// A piece has about this many rows: some row groups, which are unpacked at once on all cores.
const PIECE_ROWS: u64 = 1 << 20;

/// The table of a scores artifact, of which a piece is held at a time.
#[derive(Debug, Clone)]
pub struct ScoreRows {
    file: PathBuf,
    details: ScoresDetails,
}

/// Rows that follow each other.
#[derive(Debug, Clone, PartialEq)]
pub struct ScorePiece {
    /// The items' numbers in the underlying tokens or corpus; empty if they were not asked for.
    pub index: Vec<u64>,
    /// One column's values.
    pub values: Vec<f64>,
}

impl ScoreRows {
    /// Looks at the artifact. `bad_table`; `length_mismatch`: the table is not as long as its header says.
    pub fn open(artifact: &Artifact) -> Result<Self> {
        let details: ScoresDetails = artifact.details()?;
        let file = artifact.path.join(FILE);
        let found = read_with(&file, |source| ParquetReader::new(source).num_rows())?;
        if found as u64 != details.rows {
            let what = format!("{found} rows were found; expected {}", details.rows);
            return Err(Error::data("length_mismatch", what)
                .in_file(&file)
                .hint("delete the artifact's folder; the next run makes it again"));
        }
        Ok(Self { file, details })
    }

    /// What the header says.
    pub fn details(&self) -> &ScoresDetails {
        &self.details
    }

    /// The name of the column called `name`, or of the primary one. `unknown_column`.
    pub fn column<'a>(&'a self, name: Option<&'a str>) -> Result<&'a str> {
        let name = name.unwrap_or(&self.details.primary);
        let mut known = self.details.columns.iter().map(String::as_str);
        if known.any(|column| column == name) {
            return Ok(name);
        }
        Err(unknown_column(
            name,
            self.details.columns.iter().map(String::as_str),
        ))
    }

    /// The rows of `range` in pieces: `column`, and the items' numbers `with_index`. `bad_table`.
    pub fn pieces<'a>(
        &'a self,
        column: &'a str,
        with_index: bool,
        range: Range<u64>,
    ) -> impl Iterator<Item = Result<ScorePiece>> + 'a {
        let starts = range.clone().step_by(PIECE_ROWS as usize);
        starts.map(move |start| {
            let rows = PIECE_ROWS.min(range.end - start);
            self.piece(column, with_index, start, rows)
        })
    }

    fn piece(&self, column: &str, with_index: bool, start: u64, rows: u64) -> Result<ScorePiece> {
        let mut columns = vec![column.to_owned()];
        if with_index {
            columns.push("index".to_owned());
        }
        let frame = read_on(&self.file, |source| {
            ParquetReader::new(source)
                .with_columns(Some(columns))
                .with_slice(Some((start as usize, rows as usize)))
                .finish()
        })?;
        let index = if with_index {
            u64_column(&frame, "index", &self.file)?
        } else {
            Vec::new()
        };
        let values = f64_column(&frame, column, &self.file)?;
        if values.len() as u64 != rows || (with_index && index.len() != values.len()) {
            return Err(damaged("its columns are not as long as it says", &self.file));
        }
        Ok(ScorePiece { index, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;
    use crate::artifact::{Item, Scores, Source};

    fn written(rows: u64) -> (tempfile::TempDir, Artifact, Scores) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let scores = Scores {
            item: Item::Block,
            primary: "score".to_owned(),
            precision: Precision::F32,
            index: (0..rows).map(|row| 2 * row).collect(),
            columns: vec![("score".to_owned(), (0..rows).map(|row| -(row as f64)).collect())],
        };
        let source = Source {
            location: "tokens.pack/k".to_owned(),
            fingerprint: "f".to_owned(),
        };
        scores.write(folder.path(), source).expect("writes");
        let artifact = Artifact::open(folder.path(), "score.random/k", "scores").expect("opens");
        (folder, artifact, scores)
    }

    #[test]
    fn pieces_put_together_are_the_table() {
        let (_folder, artifact, scores) = written(2 * PIECE_ROWS + 5);
        let rows = ScoreRows::open(&artifact).expect("opens");
        let column = rows.column(None).expect("the primary one");
        for range in [0..rows.details().rows, 7..PIECE_ROWS + 9, 3..3] {
            let pieces: Vec<ScorePiece> = rows
                .pieces(column, true, range.clone())
                .collect::<Result<_>>()
                .expect("reads");
            let expected = range.start as usize..range.end as usize;
            let index: Vec<u64> = pieces.iter().flat_map(|piece| piece.index.clone()).collect();
            let values: Vec<f64> = pieces.iter().flat_map(|piece| piece.values.clone()).collect();
            assert!(index == scores.index[expected.clone()], "{range:?}");
            assert!(values == scores.columns[0].1[expected], "{range:?}");
        }
        assert_eq!(
            rows.column(Some("nll")).expect_err("absent").code(),
            "unknown_column"
        );
    }

    #[test]
    fn a_table_shorter_than_its_header_says_is_refused() {
        let (_folder, mut artifact, _) = written(3);
        artifact.header.details["rows"] = 4.into();
        let error = ScoreRows::open(&artifact).expect_err("too short");
        assert_eq!(error.code(), "length_mismatch");
    }
}
