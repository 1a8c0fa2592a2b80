//! Selections: items chosen from one source, in the source's order, each with a weight.
//!
//! `selection.parquet` holds `index` (u64: the item in the underlying tokens or corpus) and `weight` (f32, multiplies
//! the loss). The header's source is what was chosen from; when that is itself a selection, the two compose: indices
//! intersect, weights multiply.

use super::{Artifact, Item, Kind, Source, write_header};
use crate::Result;
use crate::table::{
    Pieces, check_rows, damaged, f32_column, fingerprint, group_sizes, read_parquet, u64_column,
};
use polars::prelude::{Column, DataType, Field};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

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
        let mut writer = SelectionWriter::create(folder, self.index.len())?;
        for (&index, &weight) in self.index.iter().zip(&self.weight) {
            writer.push(index, weight)?;
        }
        writer.finish(&self.details, source)
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

/// Writes a selection item by item, holding one row group.
pub struct SelectionWriter {
    folder: PathBuf,
    table: Pieces,
    /// Rows of the groups to come, the next one last.
    groups: Vec<usize>,
    index: Vec<u64>,
    weight: Vec<f32>,
}

impl SelectionWriter {
    /// Starts the selection in `folder`; as many items as `items` will be pushed.
    pub fn create(folder: &Path, items: usize) -> Result<Self> {
        let schema = [("index", DataType::UInt64), ("weight", DataType::Float32)];
        let schema = schema.map(|(name, kind)| Field::new(name.into(), kind));
        let mut groups: Vec<usize> = group_sizes(items).collect();
        groups.reverse();
        Ok(Self {
            folder: folder.to_path_buf(),
            table: Pieces::create(&folder.join(FILE), &schema.into_iter().collect())?,
            groups,
            index: Vec::new(),
            weight: Vec::new(),
        })
    }

    /// Adds an item.
    pub fn push(&mut self, index: u64, weight: f32) -> Result<()> {
        self.index.push(index);
        self.weight.push(weight);
        if self.groups.last() == Some(&self.index.len()) {
            self.groups.pop();
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is left and the header.
    pub fn finish(mut self, details: &SelectionDetails, source: Source) -> Result<()> {
        if !self.index.is_empty() {
            self.flush()?;
        }
        self.table.finish()?;
        let print = fingerprint(&self.folder, &[FILE], &source.fingerprint)?;
        write_header(&self.folder, Kind::Selection, print, Some(source), details)
    }

    fn flush(&mut self) -> Result<()> {
        self.table.group(vec![
            Column::new("index".into(), &self.index),
            Column::new("weight".into(), &self.weight),
        ])?;
        self.index.clear();
        self.weight.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{frame, write_parquet};

    #[test]
    fn pieces_are_the_bytes_of_the_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let group = 512 * 512;
        for items in [1, 5, group - 1, group, 2 * group - 1, 2 * group, 3 * group + 7] {
            let index: Vec<u64> = (0..items as u64).map(|i| 3 * i + i % 3).collect();
            let weight: Vec<f32> = index.iter().map(|&i| (i % 7) as f32).collect();
            let mut writer = SelectionWriter::create(folder.path(), items).expect("creates");
            for (&index, &weight) in index.iter().zip(&weight) {
                writer.push(index, weight).expect("pushes");
            }
            assert!(writer.groups.is_empty());
            writer.table.finish().expect("writes");
            let whole = folder.path().join("whole.parquet");
            let columns = vec![
                Column::new("index".into(), &index),
                Column::new("weight".into(), &weight),
            ];
            write_parquet(&whole, &mut frame(columns)).expect("writes");
            let bytes = [&whole, &folder.path().join(FILE)].map(|file| std::fs::read(file).expect("reads"));
            assert!(bytes[0] == bytes[1], "{items} items");
        }
    }

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
