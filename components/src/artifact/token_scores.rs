//! What every scored token came to.
//!
//! One row a token: `index` (u64: the item), `position` (u64: the token's place in the item), `id` (u64), `logprob` (f64,
//! nats).

use crate::Result;
use crate::table::{f64_column, frame, read_parquet, u64_column, write_parquet};
use polars::prelude::Column;
use std::path::Path;

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

    /// The rows by item, ascending.
    #[must_use]
    pub fn sorted(self) -> Self {
        let mut order: Vec<usize> = (0..self.index.len()).collect();
        order.sort_by_key(|&row| self.index[row]);
        let take = |values: &[u64]| order.iter().map(|&row| values[row]).collect();
        Self {
            index: take(&self.index),
            position: take(&self.position),
            id: take(&self.id),
            logprob: order.iter().map(|&row| self.logprob[row]).collect(),
        }
    }

    /// Writes them.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let columns = vec![
            Column::new("index".into(), &self.index),
            Column::new("position".into(), &self.position),
            Column::new("id".into(), &self.id),
            Column::new("logprob".into(), &self.logprob),
        ];
        write_parquet(file, &mut frame(columns))
    }

    /// Reads them. `bad_table`.
    pub fn read(file: &Path) -> Result<Self> {
        let frame = read_parquet(file)?;
        Ok(Self {
            index: u64_column(&frame, "index", file)?,
            position: u64_column(&frame, "position", file)?,
            id: u64_column(&frame, "id", file)?,
            logprob: f64_column(&frame, "logprob", file)?,
        })
    }
}
