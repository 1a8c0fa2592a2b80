//! What every scored token came to.
//!
//! One row a token: `index` (u64: the document, or the block of packed tokens), `position` (u64: the token's place in it),
//! `id` (u64), `logprob` (f64, nats). Rows come in the order of the data, in groups of a fixed number: neither writing nor
//! reading holds more than one of them, and how the rows came together changes no byte.

use crate::disk::{self, Failure};
use crate::table::{f64_column, frame, read_groups, u64_column, write_error};
use crate::{Error, Result};
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{Column, DataFrame, DataType, Field, ParquetWriter, Schema};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// Rows of a group, which are as many as Polars puts into one.
const GROUP_ROWS: usize = 512 * 512;

/// Log-probabilities of tokens, in memory: columns of equal length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenScores {
    /// The item.
    pub index: Vec<u64>,
    /// The token's place among the item's.
    pub position: Vec<u64>,
    /// The token.
    pub id: Vec<u64>,
    /// Its log-probability, in nats.
    pub logprob: Vec<f64>,
}

impl TokenScores {
    /// Name of the table inside the folder of scores.
    pub const FILE: &str = "tokens.parquet";

    /// Adds a token.
    pub fn push(&mut self, index: u64, position: u64, id: u32, logprob: f64) {
        self.index.push(index);
        self.position.push(position);
        self.id.push(u64::from(id));
        self.logprob.push(logprob);
    }

    /// Adds the rows of another table.
    pub fn extend(&mut self, other: Self) {
        self.index.extend(other.index);
        self.position.extend(other.position);
        self.id.extend(other.id);
        self.logprob.extend(other.logprob);
    }

    fn len(&self) -> usize {
        self.index.len()
    }

    /// Takes the rows from `row` on.
    fn split_off(&mut self, row: usize) -> Self {
        Self {
            index: self.index.split_off(row),
            position: self.position.split_off(row),
            id: self.id.split_off(row),
            logprob: self.logprob.split_off(row),
        }
    }

    /// Writes them.
    pub(crate) fn write(self, file: &Path) -> Result<()> {
        let mut writer = TokenScoresWriter::create(file)?;
        writer.extend(self)?;
        writer.finish()
    }

    /// Reads them all. `bad_table`.
    pub fn read(file: &Path) -> Result<Self> {
        let mut all = Self::default();
        Self::read_each(file, |rows| {
            all.extend(rows);
            Ok(())
        })?;
        Ok(all)
    }

    /// Reads them group by group. `bad_table`.
    pub(crate) fn read_each(file: &Path, mut each: impl FnMut(Self) -> Result<()>) -> Result<()> {
        read_groups(file, |frame| {
            each(Self {
                index: u64_column(&frame, "index", file)?,
                position: u64_column(&frame, "position", file)?,
                id: u64_column(&frame, "id", file)?,
                logprob: f64_column(&frame, "logprob", file)?,
            })
        })
    }

    fn frame(&self) -> DataFrame {
        frame(vec![
            Column::new("index".into(), &self.index),
            Column::new("position".into(), &self.position),
            Column::new("id".into(), &self.id),
            Column::new("logprob".into(), &self.logprob),
        ])
    }
}

/// Writes a table of tokens, holding one group of rows.
pub(crate) struct TokenScoresWriter {
    file: PathBuf,
    writer: BatchedWriter<BufWriter<disk::File>>,
    failure: Failure,
    rows: TokenScores,
}

impl TokenScoresWriter {
    /// Starts the table.
    pub(crate) fn create(file: &Path) -> Result<Self> {
        let whole = |name: &str| Field::new(name.into(), DataType::UInt64);
        let fields = [
            whole("index"),
            whole("position"),
            whole("id"),
            Field::new("logprob".into(), DataType::Float64),
        ];
        let schema: Schema = fields.into_iter().collect();
        let sink = disk::File::buffered(file).map_err(Error::io("cannot write", file))?;
        let failure = sink.get_ref().failure();
        let writer = ParquetWriter::new(sink)
            .batched(&schema)
            .map_err(write_error(file, &failure))?;
        Ok(Self {
            file: file.to_path_buf(),
            writer,
            failure,
            rows: TokenScores::default(),
        })
    }

    /// Adds rows.
    pub(crate) fn extend(&mut self, more: TokenScores) -> Result<()> {
        self.rows.extend(more);
        while self.rows.len() >= GROUP_ROWS {
            let rest = self.rows.split_off(GROUP_ROWS);
            let group = std::mem::replace(&mut self.rows, rest);
            self.write(&group)?;
        }
        Ok(())
    }

    /// Adds the rows of a table.
    pub(crate) fn append(&mut self, file: &Path) -> Result<()> {
        TokenScores::read_each(file, |rows| self.extend(rows))
    }

    /// Writes what is left.
    pub(crate) fn finish(mut self) -> Result<()> {
        let last = std::mem::take(&mut self.rows);
        if last.len() > 0 {
            self.write(&last)?;
        }
        let finished = self.writer.finish();
        finished.map_err(write_error(&self.file, &self.failure))?;
        Ok(())
    }

    fn write(&mut self, group: &TokenScores) -> Result<()> {
        let written = self.writer.write_batch(&group.frame());
        written.map_err(write_error(&self.file, &self.failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{row_groups, write_parquet};

    fn rows(range: std::ops::Range<u64>) -> TokenScores {
        let mut rows = TokenScores::default();
        for i in range {
            rows.push(i / 7, i % 7, (i % 300) as u32, -(i as f64) / 3.0);
        }
        rows
    }

    #[test]
    fn how_rows_came_together_changes_no_byte() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let many = 2 * GROUP_ROWS as u64 + 5;
        rows(0..many).write(&at("whole")).expect("writes");
        let mut writer = TokenScoresWriter::create(&at("parts")).expect("creates");
        for (from, to) in [(0, 3), (3, 3), (3, many - 9), (many - 9, many)] {
            rows(from..to).write(&at("part")).expect("writes");
            writer.append(&at("part")).expect("reads");
        }
        writer.finish().expect("writes");
        let bytes = |name: &str| std::fs::read(at(name)).expect("reads");
        assert_eq!(bytes("whole"), bytes("parts"));
        assert_eq!(
            row_groups(&at("whole")).expect("reads"),
            [GROUP_ROWS, GROUP_ROWS, 5]
        );
        assert_eq!(TokenScores::read(&at("whole")).expect("reads"), rows(0..many));
    }

    #[test]
    fn one_group_or_none_is_written_as_any_table() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        for many in [0, 10] {
            rows(0..many).write(&at("ours")).expect("writes");
            write_parquet(&at("table"), &mut rows(0..many).frame()).expect("writes");
            let bytes = |name: &str| std::fs::read(at(name)).expect("reads");
            assert_eq!(bytes("ours"), bytes("table"));
            assert_eq!(TokenScores::read(&at("ours")).expect("reads"), rows(0..many));
        }
    }
}
