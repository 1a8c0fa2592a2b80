//! Pairs: instructions with their answers, in order.
//!
//! `pairs.parquet` holds `id` (u64: the number of the record it was read or made as, the same whatever was filtered or
//! split off), `prompt`, `input` (may be empty), `response` (strings), `responses` (list of strings: every right answer,
//! `response` among them) and `meta` (a JSON object with what was carried along). Rows are written in groups, so that
//! neither writing nor reading holds more than one of them.

use super::{Kind, write_header};
use crate::disk::{self, Failure};
use crate::table::{damaged, fingerprint, frame, read_error, u64_column, write_error};
use crate::untrusted::quiet;
use crate::{Error, Result};
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{
    Column, DataFrame, DataType, Field, IntoColumn, ListBuilderTrait, ListStringChunkedBuilder,
    ParquetWriter, PlSmallStr, Schema, StatisticsOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// Name of the table inside the folder.
pub(crate) const FILE: &str = "pairs.parquet";
/// A row group is written once it holds this many pairs …
const GROUP_ROWS: usize = 8192;
/// … or this many bytes of text.
const GROUP_BYTES: usize = 16 << 20;

/// An instruction and what answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct InstructionPair {
    /// The number of the record it was read or made as.
    pub id: u64,
    /// What is asked.
    pub prompt: String,
    /// What it is asked of; empty where the prompt says it all.
    pub input: String,
    /// The answer that is learned.
    pub response: String,
    /// Every right answer, `response` among them.
    pub responses: Vec<String>,
    /// What was carried along.
    pub meta: Map<String, Value>,
}

impl InstructionPair {
    /// Bytes of text in the prompt, the input and the answer.
    pub fn bytes(&self) -> usize {
        self.prompt.len() + self.input.len() + self.response.len()
    }

    /// As a template sees it: `prompt`, `input` and `meta`. The answers are not among them.
    pub fn values(&self) -> Value {
        serde_json::json!({ "prompt": self.prompt, "input": self.input, "meta": self.meta })
    }
}

/// What the header of pairs keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairsDetails {
    /// Number of pairs.
    pub pairs: u64,
    /// Bytes of UTF-8 text: prompts, inputs and the answers that are learned.
    pub text_bytes: u64,
    /// How many records were looked at, those of other parts of a split included.
    pub documents: u64,
    /// How many of those records are in no part, by why.
    pub dropped: BTreeMap<String, u64>,
}

/// Writes pairs one by one, holding one row group.
pub struct PairsWriter {
    folder: PathBuf,
    pairs: u64,
    bytes: u64,
    rows: Vec<InstructionPair>,
    row_bytes: usize,
    table: Option<(BatchedWriter<BufWriter<disk::File>>, Failure)>,
}

impl PairsWriter {
    /// Starts the pairs in `folder`.
    pub fn create(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            pairs: 0,
            bytes: 0,
            rows: Vec::new(),
            row_bytes: 0,
            table: None,
        }
    }

    /// Adds a pair.
    pub fn push(&mut self, pair: InstructionPair) -> Result<()> {
        self.pairs += 1;
        self.bytes += pair.bytes() as u64;
        self.row_bytes += pair.bytes() + pair.responses.iter().map(String::len).sum::<usize>();
        self.rows.push(pair);
        if self.rows.len() >= GROUP_ROWS || self.row_bytes >= GROUP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is left and the header; `documents` records were looked at, and `dropped` of them are in no part.
    ///
    /// # Errors
    /// `empty_pairs`: there is none.
    pub fn finish(mut self, documents: u64, dropped: BTreeMap<String, u64>) -> Result<PairsDetails> {
        if self.pairs == 0 {
            let why: Vec<String> = dropped
                .iter()
                .map(|(why, count)| format!("{why} {count}"))
                .collect();
            let why = if why.is_empty() {
                String::new()
            } else {
                format!(": {}", why.join(", "))
            };
            let message = format!("of {documents} records no pair is left{why}");
            return Err(Error::data("empty_pairs", message)
                .hint("look at `limit`, `prompt_words`, `response_words` and the fractions of this step"));
        }
        self.flush()?;
        let file = self.folder.join(FILE);
        let (writer, failure) = self.table.take().expect("at least one row group was written");
        writer.finish().map_err(write_error(&file, &failure))?;
        let details = PairsDetails {
            pairs: self.pairs,
            text_bytes: self.bytes,
            documents,
            dropped,
        };
        let print = fingerprint(&self.folder, &[FILE], "")?;
        write_header(&self.folder, Kind::Pairs, print, None, &details)?;
        Ok(details)
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let file = self.folder.join(FILE);
        if self.table.is_none() {
            self.table = Some(start(&file)?);
        }
        let (writer, failure) = self.table.as_mut().expect("just started");
        writer
            .write_batch(&frame(columns(&self.rows)))
            .map_err(write_error(&file, failure))?;
        self.rows.clear();
        self.row_bytes = 0;
        Ok(())
    }
}

fn start(file: &Path) -> Result<(BatchedWriter<BufWriter<disk::File>>, Failure)> {
    let list = DataType::List(Box::new(DataType::String));
    let fields = [
        ("id", DataType::UInt64),
        ("prompt", DataType::String),
        ("input", DataType::String),
        ("response", DataType::String),
        ("responses", list),
        ("meta", DataType::String),
    ];
    let schema: Schema = fields
        .into_iter()
        .map(|(name, dtype)| Field::new(PlSmallStr::from(name), dtype))
        .collect();
    let sink = disk::File::buffered(file).map_err(Error::io("cannot write", file))?;
    let failure = sink.get_ref().failure();
    // Without statistics: they would keep whole texts in the footer.
    let writer = ParquetWriter::new(sink)
        .with_statistics(StatisticsOptions::empty())
        .batched(&schema)
        .map_err(write_error(file, &failure))?;
    Ok((writer, failure))
}

fn columns(rows: &[InstructionPair]) -> Vec<Column> {
    let texts = |name: &str, get: fn(&InstructionPair) -> &str| {
        Column::new(name.into(), rows.iter().map(get).collect::<Vec<_>>())
    };
    let mut responses = ListStringChunkedBuilder::new("responses".into(), rows.len(), rows.len());
    for row in rows {
        responses.append_values_iter(row.responses.iter().map(String::as_str));
    }
    let meta = |row: &InstructionPair| serde_json::to_string(&row.meta).expect("meta is plain data");
    vec![
        Column::new("id".into(), rows.iter().map(|row| row.id).collect::<Vec<_>>()),
        texts("prompt", |row| &row.prompt),
        texts("input", |row| &row.input),
        texts("response", |row| &row.response),
        responses.finish().into_column(),
        Column::new("meta".into(), rows.iter().map(meta).collect::<Vec<_>>()),
    ]
}

/// The pairs of a table. `bad_table`: a column is missing, of another type, or has empty cells; `meta` is no JSON object.
pub(crate) fn pairs_of(frame: &DataFrame, file: &Path) -> Result<Vec<InstructionPair>> {
    // Damage that Polars took for data may make columns of different lengths, or lists that lead nowhere.
    quiet(|| read_pairs(frame, file)).unwrap_or_else(|| Err(damaged("its pages are damaged", file)))
}

fn read_pairs(frame: &DataFrame, file: &Path) -> Result<Vec<InstructionPair>> {
    let id = u64_column(frame, "id", file)?;
    let column = |name: &str| frame.column(name).map_err(read_error(file));
    let texts = |name: &str| column(name)?.str().map_err(read_error(file));
    let (prompt, input, response) = (texts("prompt")?, texts("input")?, texts("response")?);
    let (responses, meta) = (
        column("responses")?.list().map_err(read_error(file))?,
        texts("meta")?,
    );
    let missing = || damaged("a cell is empty", file);
    let text = |cell: Option<&str>| cell.map(str::to_owned).ok_or_else(missing);
    let row = |i: usize| {
        let list = responses.get_as_series(i).ok_or_else(missing)?;
        let list = list.str().map_err(read_error(file))?;
        let meta = serde_json::from_str(meta.get(i).ok_or_else(missing)?);
        Ok(InstructionPair {
            id: id[i],
            prompt: text(prompt.get(i))?,
            input: text(input.get(i))?,
            response: text(response.get(i))?,
            responses: list.iter().map(text).collect::<Result<_>>()?,
            meta: meta.map_err(|e| damaged(&format!("`meta` is no JSON object: {e}"), file))?,
        })
    };
    (0..frame.height()).map(row).collect()
}
