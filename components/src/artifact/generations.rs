//! Generations: texts that a model wrote, one row a prompt and sample.
//!
//! `generations.parquet` holds `index` (u64: the prompt's document in the underlying corpus), `sample` (u32), `prompt` and
//! `text` (strings), `tokens` (list of u32: the new ids), `logprobs` (list of f32: one a token), `finish` (`end`, `stop`
//! or `length`); of a mixture also `logprobs_model` and `logprobs_other`. The header's source is where the prompts come
//! from, which may itself be a selection. Rows are in the order of the prompts, then of the samples.

use super::{Artifact, Kind, Source, write_header};
use crate::inference::{Alone, Finish, Generated};
use crate::table::{
    check_rows, damaged, fingerprint, frame, read_error, read_parquet, u64_column, write_parquet,
};
use crate::{Precision, Result};
use polars::prelude::{
    Column, DataFrame, Float32Type, IntoColumn, ListBuilderTrait, ListPrimitiveChunkedBuilder,
    PolarsNumericType, UInt32Type,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

const FILE: &str = "generations.parquet";

/// A prompt, and what was made of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The prompt, as the model read it.
    pub prompt: String,
    /// The new text; its row is the document's.
    pub generated: Generated,
}

/// What the header of generations keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationsDetails {
    /// Number of rows.
    pub rows: u64,
    /// Texts of each prompt.
    pub samples: u32,
    /// New tokens in all rows.
    pub tokens: u64,
    /// The model that wrote.
    pub model: Source,
    /// What was computed in.
    pub precision: Precision,
}

/// Writes `all` as the artifact in `folder`. `source`: where the prompts come from.
pub fn write_generations(
    folder: &Path,
    all: &[Generation],
    source: Source,
    details: &GenerationsDetails,
) -> Result<()> {
    write_rows(&folder.join(FILE), all)?;
    let speaks_of = format!("{}{}", source.fingerprint, details.model.fingerprint);
    let print = fingerprint(folder, &[FILE], &speaks_of)?;
    write_header(folder, Kind::Generations, print, Some(source), details)
}

/// Reads the artifact. `length_mismatch`: the table is not as long as its header says.
pub fn read_generations(artifact: &Artifact) -> Result<Vec<Generation>> {
    let details: GenerationsDetails = artifact.details()?;
    let file = artifact.path.join(FILE);
    let frame = read_parquet(&file)?;
    check_rows(&frame, details.rows, &file)?;
    rows_of(&frame, &file)
}

/// Writes rows as a table.
pub(crate) fn write_rows(file: &Path, all: &[Generation]) -> Result<()> {
    let each = || all.iter().map(|row| &row.generated);
    let text = |get: fn(&Generation) -> &str| all.iter().map(get).collect::<Vec<_>>();
    let mut columns = vec![
        Column::new("index".into(), each().map(|g| g.row).collect::<Vec<_>>()),
        Column::new("sample".into(), each().map(|g| g.sample).collect::<Vec<_>>()),
        Column::new("prompt".into(), text(|row| &row.prompt)),
        Column::new("text".into(), text(|row| &row.generated.text)),
        lists::<UInt32Type>("tokens", each().map(|g| g.ids.as_slice())),
        lists::<Float32Type>("logprobs", each().map(|g| g.logprobs.as_slice())),
    ];
    let alone: Vec<&Alone> = each().filter_map(|g| g.alone.as_ref()).collect();
    if !alone.is_empty() {
        let of = |name, get: fn(&Alone) -> &[f32]| lists::<Float32Type>(name, alone.iter().map(|a| get(a)));
        columns.push(of("logprobs_model", |alone| &alone.model));
        columns.push(of("logprobs_other", |alone| &alone.other));
    }
    columns.push(Column::new(
        "finish".into(),
        text(|row| row.generated.finish.name()),
    ));
    write_parquet(file, &mut frame(columns))
}

/// Reads rows of a table. `bad_table`.
pub(crate) fn read_rows(file: &Path) -> Result<Vec<Generation>> {
    rows_of(&read_parquet(file)?, file)
}

fn rows_of(frame: &DataFrame, file: &Path) -> Result<Vec<Generation>> {
    let index = u64_column(frame, "index", file)?;
    let samples = frame
        .column("sample")
        .and_then(|column| column.u32())
        .map_err(read_error(file))?;
    let prompts = texts(frame, "prompt", file)?;
    let written = texts(frame, "text", file)?;
    let finish = texts(frame, "finish", file)?;
    let tokens = read_lists::<UInt32Type>(frame, "tokens", file)?;
    let logprobs = read_lists::<Float32Type>(frame, "logprobs", file)?;
    let mixed = frame.column("logprobs_model").is_ok();
    let alone = |name| {
        mixed
            .then(|| read_lists::<Float32Type>(frame, name, file))
            .transpose()
    };
    let (model, other) = (alone("logprobs_model")?, alone("logprobs_other")?);
    let row = |i: usize| {
        let of = |lists: &Option<Vec<Vec<f32>>>| lists.as_ref().map(|lists| lists[i].clone());
        let all = [Finish::End, Finish::Stop, Finish::Length];
        let known = all.into_iter().find(|known| known.name() == finish[i]);
        let generated = Generated {
            row: index[i],
            sample: samples.get(i).unwrap_or_default(),
            ids: tokens[i].clone(),
            text: written[i].clone(),
            logprobs: logprobs[i].clone(),
            alone: of(&model)
                .zip(of(&other))
                .map(|(model, other)| Alone { model, other }),
            finish: known.ok_or_else(|| damaged("a text ended in no known way", file))?,
        };
        Ok(Generation {
            prompt: prompts[i].clone(),
            generated,
        })
    };
    (0..frame.height()).map(row).collect()
}

/// A column of lists.
fn lists<'a, T: PolarsNumericType>(name: &str, rows: impl Iterator<Item = &'a [T::Native]>) -> Column {
    let mut builder = ListPrimitiveChunkedBuilder::<T>::new(name.into(), 0, 0, T::get_static_dtype());
    rows.for_each(|row| builder.append_slice(row));
    builder.finish().into_column()
}

fn read_lists<T: PolarsNumericType>(
    frame: &DataFrame,
    name: &str,
    file: &Path,
) -> Result<Vec<Vec<T::Native>>> {
    let column = frame.column(name).map_err(read_error(file))?;
    let list = column.list().map_err(read_error(file))?;
    let row = |i: usize| {
        let row = list
            .get_as_series(i)
            .ok_or_else(|| damaged("a list is missing", file))?;
        let values = row.unpack::<T>().map_err(read_error(file))?;
        Ok(values.into_no_null_iter().collect())
    };
    (0..list.len()).map(row).collect()
}

fn texts(frame: &DataFrame, name: &str, file: &Path) -> Result<Vec<String>> {
    let column = frame
        .column(name)
        .and_then(|column| column.str())
        .map_err(read_error(file))?;
    Ok(column
        .iter()
        .map(|cell| cell.unwrap_or_default().to_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(row: u64, ids: &[u32], alone: Option<Alone>) -> Generation {
        Generation {
            prompt: "Once".to_owned(),
            generated: Generated {
                row,
                sample: 1,
                ids: ids.to_vec(),
                text: "upon – a time".to_owned(),
                logprobs: ids.iter().map(|&id| -(id as f32) / 3.0).collect(),
                alone,
                finish: Finish::Stop,
            },
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = |name: &str| Source {
            location: name.to_owned(),
            fingerprint: name.to_owned(),
        };
        let details = GenerationsDetails {
            rows: 2,
            samples: 1,
            tokens: 3,
            model: source("model"),
            precision: Precision::F32,
        };
        let alone = || {
            Some(Alone {
                model: vec![-1.0, f32::NEG_INFINITY],
                other: vec![-0.5, 0.0],
            })
        };
        for all in [
            [generation(4, &[7, 9], None), generation(9, &[1], None)],
            [generation(4, &[7, 9], alone()), generation(9, &[1, 2], alone())],
        ] {
            write_generations(folder.path(), &all, source("prompts"), &details).expect("writes");
            let artifact = Artifact::open(folder.path(), "generate.text/k", "texts").expect("opens");
            assert_eq!(read_generations(&artifact).expect("reads"), all);
        }
    }
}
