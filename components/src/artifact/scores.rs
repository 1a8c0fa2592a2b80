//! Scores: one row an item of what was scored.
//!
//! `scores.parquet` holds `index` (u64: the item in the underlying tokens or corpus) and one f64 column a score. The
//! header's source is what was scored, which may itself be a selection. `tokens.parquet`, where it was asked for, holds
//! what every scored token came to.

use super::{Artifact, Kind, Source, TokenScores, write_header};
use crate::table::{check_rows, f64_column, fingerprint, frame, read_parquet, u64_column, write_parquet};
use crate::{Error, Precision, Result};
use polars::prelude::Column;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Name of the table inside the folder.
pub(super) const FILE: &str = "scores.parquet";

/// What a row speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A packed block.
    #[default]
    Block,
    /// A document.
    Document,
}

impl Item {
    /// As in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Document => "document",
        }
    }
}

/// What the header of scores keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoresDetails {
    /// What a row speaks of.
    pub item: Item,
    /// The score columns, in order.
    pub columns: Vec<String>,
    /// The column a selection takes unless told otherwise.
    pub primary: String,
    /// Number of rows.
    pub rows: u64,
    /// What was computed in.
    pub precision: Precision,
}

/// A table of scores in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// What a row speaks of.
    pub item: Item,
    /// The column a selection takes unless told otherwise.
    pub primary: String,
    /// What was computed in.
    pub precision: Precision,
    /// The items' numbers in the underlying tokens or corpus.
    pub index: Vec<u64>,
    /// Named columns, each as long as `index`.
    pub columns: Vec<(String, Vec<f64>)>,
}

impl Scores {
    /// Writes them as the artifact in `folder`.
    pub fn write(&self, folder: &Path, source: Source) -> Result<()> {
        self.write_as(folder, source, &[FILE])
    }

    /// The same where the table of tokens was written into `folder` before.
    pub(crate) fn write_beside_tokens(&self, folder: &Path, source: Source) -> Result<()> {
        self.write_as(folder, source, &[FILE, TokenScores::FILE])
    }

    /// `files`: those of the artifact besides its header.
    fn write_as(&self, folder: &Path, source: Source, files: &[&str]) -> Result<()> {
        let mut columns = vec![Column::new("index".into(), &self.index)];
        let floats = self
            .columns
            .iter()
            .map(|(name, values)| Column::new(name.into(), values));
        columns.extend(floats);
        write_parquet(&folder.join(FILE), &mut frame(columns))?;
        let details = ScoresDetails {
            item: self.item,
            columns: self.columns.iter().map(|(name, _)| name.clone()).collect(),
            primary: self.primary.clone(),
            rows: self.index.len() as u64,
            precision: self.precision,
        };
        let print = fingerprint(folder, files, &source.fingerprint)?;
        write_header(folder, Kind::Scores, print, Some(source), details)
    }

    /// Reads the artifact. `length_mismatch`: the table is not as long as its header says.
    pub fn read(artifact: &Artifact) -> Result<Self> {
        let details: ScoresDetails = artifact.details()?;
        let file = artifact.path.join(FILE);
        let frame = read_parquet(&file)?;
        check_rows(&frame, details.rows, &file)?;
        let read = |name: String| f64_column(&frame, &name, &file).map(|values| (name, values));
        Ok(Self {
            item: details.item,
            primary: details.primary,
            precision: details.precision,
            index: u64_column(&frame, "index", &file)?,
            columns: details.columns.into_iter().map(read).collect::<Result<_>>()?,
        })
    }

    /// Puts together the scores of shards: rows by item, ascending, as every scorer writes them. None of no part.
    pub fn merge(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let mut whole = parts.next()?;
        for part in parts {
            whole.index.extend(part.index);
            for ((_, values), (_, more)) in whole.columns.iter_mut().zip(part.columns) {
                values.extend(more);
            }
        }
        let mut order: Vec<usize> = (0..whole.index.len()).collect();
        order.sort_by_key(|&row| whole.index[row]);
        whole.index = order.iter().map(|&row| whole.index[row]).collect();
        for (_, values) in &mut whole.columns {
            *values = order.iter().map(|&row| values[row]).collect();
        }
        Some(whole)
    }

    /// The column called `name`, or the primary one.
    pub fn column(&self, name: Option<&str>) -> Result<&[f64]> {
        let name = name.unwrap_or(&self.primary);
        let found = self.columns.iter().find(|(column, _)| column == name);
        let names = self.columns.iter().map(|(name, _)| name.as_str());
        found
            .map(|(_, values)| values.as_slice())
            .ok_or_else(|| unknown_column(name, names))
    }
}

/// Scores do not have the column that was asked for, but these.
pub(super) fn unknown_column<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
    Error::data("unknown_column", format!("the scores have no column `{name}`"))
        .hint(format!("take one of {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores() -> Scores {
        Scores {
            item: Item::Block,
            primary: "score".to_owned(),
            precision: Precision::F32,
            index: vec![0, 2, 5],
            columns: vec![
                ("score".to_owned(), vec![0.1, -1.0, 1.0 / 3.0]),
                ("tokens".to_owned(), vec![3.0, 4.0, 5.0]),
            ],
        }
    }

    fn source() -> Source {
        Source {
            location: "tokens.pack/k".to_owned(),
            fingerprint: "f".to_owned(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_equal_scores_are_equal_bytes() {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
        let [a, b] = folders.each_ref().map(|folder| {
            scores().write(folder.path(), source()).expect("writes");
            Artifact::open(folder.path(), "score.random/k", "scores").expect("opens")
        });
        assert_eq!(a.header, b.header);
        assert_eq!(Scores::read(&a).expect("reads"), scores());
        assert_eq!(a.header.source, Some(source()));
    }

    #[test]
    fn unknown_columns_are_answered_with_the_known_ones() {
        assert_eq!(scores().column(None).expect("primary")[1], -1.0);
        assert_eq!(scores().column(Some("tokens")).expect("there")[0], 3.0);
        let error = scores().column(Some("quality")).expect_err("absent");
        assert_eq!(error.code(), "unknown_column");
    }

    #[test]
    fn a_table_shorter_than_its_header_says_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        scores().write(folder.path(), source()).expect("writes");
        let mut artifact = Artifact::open(folder.path(), "score.random/k", "scores").expect("opens");
        artifact.header.details["rows"] = 4.into();
        let error = Scores::read(&artifact).expect_err("too short");
        assert_eq!(error.code(), "length_mismatch");
    }
}
