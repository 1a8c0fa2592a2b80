//! Selections: items chosen from one source, in the source's order, each with a weight.
//!
//! `selection.parquet` holds `index` (u64: the item in the underlying tokens or corpus) and `weight` (f32, multiplies
//! the loss). The header's source is what was chosen from; when that is itself a selection, the two compose: indices
//! intersect, weights multiply.

use super::{Artifact, Item, Kind, Source, write_header};
use crate::Result;
use crate::table::{
    check_rows, damaged, f32_column, fingerprint, frame, read_parquet, u64_column, write_parquet,
};
use polars::prelude::Column;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

const FILE: &str = "selection.parquet";

/// Which end of the scores is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The largest scores.
    #[default]
    Highest,
    /// The smallest scores.
    Lowest,
}

/// What the header of a selection keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectionDetails {
    /// What an index names.
    pub item: Item,
    /// Number of items kept.
    pub kept: u64,
    /// Number of items there were to choose from.
    pub of: u64,
    /// The least extreme score among those kept by rank; none if all were drawn by chance.
    pub threshold: Option<f64>,
    /// Share of kept items whose score is below zero.
    pub negative: f64,
    /// The scores it was made from.
    pub scores: Source,
    /// The column of the scores.
    pub column: String,
    /// Which end was kept.
    pub order: Order,
}

/// A selection in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// What the header says.
    pub details: SelectionDetails,
    /// The items' numbers in the underlying tokens or corpus, ascending unless repeated on purpose.
    pub index: Vec<u64>,
    /// Their weights.
    pub weight: Vec<f32>,
}

impl Selection {
    /// Writes it as the artifact in `folder`.
    pub fn write(&self, folder: &Path, source: Source) -> Result<()> {
        let columns = vec![
            Column::new("index".into(), &self.index),
            Column::new("weight".into(), &self.weight),
        ];
        write_parquet(&folder.join(FILE), &mut frame(columns))?;
        let print = fingerprint(folder, &[FILE], &source.fingerprint)?;
        write_header(folder, Kind::Selection, print, Some(source), &self.details)
    }

    /// Reads the artifact. `length_mismatch`: the table is not as long as its header says. `bad_table`.
    pub fn read(artifact: &Artifact) -> Result<Self> {
        let file = artifact.path.join(FILE);
        let frame = read_parquet(&file)?;
        let details: SelectionDetails = artifact.details()?;
        check_rows(&frame, details.kept, &file)?;
        let weight = f32_column(&frame, "weight", &file)?;
        if !weight.iter().all(|weight| weight.is_finite()) {
            return Err(damaged("a weight is no finite number", &file));
        }
        Ok(Self {
            index: u64_column(&frame, "index", &file)?,
            details,
            weight,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let source = |location: &str| Source {
            location: location.to_owned(),
            fingerprint: "f".to_owned(),
        };
        let selection = Selection {
            details: SelectionDetails {
                item: Item::Document,
                kept: 2,
                of: 4,
                threshold: Some(0.25),
                negative: 0.0,
                scores: source("score.random/k"),
                column: "score".to_owned(),
                order: Order::Highest,
            },
            index: vec![1, 3],
            weight: vec![1.0, 0.5],
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        selection
            .write(folder.path(), source("corpus.jsonl/k"))
            .expect("writes");
        let artifact = Artifact::open(folder.path(), "select.top/k", "chosen").expect("opens");
        assert_eq!(Selection::read(&artifact).expect("reads"), selection);
        assert_eq!(artifact.header.source, Some(source("corpus.jsonl/k")));
    }
}
