//! The results of all points as one long table.

use super::names::plain;
use super::prepare::{Prepared, Ready};
use crate::execute::{RunFolder, RunRecord, Status};
use crate::report::ReportError;
use crate::report::measurements::{self, Measurement};
use crate::sweep::PointRecord;
use lyceum_components::disk;
use polars::prelude::{Column, CsvWriter, DataFrame, ParquetWriter, PolarsResult, SerWriter};
use serde_json::Value;

/// A point that is done, and what it measured.
#[derive(Debug)]
pub(super) struct Result<'a> {
    pub(super) point: &'a Ready,
    pub(super) record: RunRecord,
    pub(super) measured: Vec<Measurement>,
}

/// Reads what the points that are done measured.
pub(super) fn read<'a>(
    prepared: &'a Prepared,
    records: &[Option<PointRecord>],
) -> std::result::Result<Vec<Result<'a>>, ReportError> {
    let mut results = Vec::new();
    for (point, record) in prepared.points.iter().zip(records) {
        let Some(record) = record.as_ref().filter(|record| record.status == Status::Done) else {
            continue;
        };
        let folder = RunFolder::new(prepared.store.home(), record.run.as_deref().unwrap_or_default());
        let (record, measured) = measurements::read(&folder)?;
        results.push(Result {
            point,
            record,
            measured,
        });
    }
    Ok(results)
}

/// Writes `results.parquet` and `results.csv`.
pub(super) fn write(prepared: &Prepared, results: &[Result<'_>]) -> std::result::Result<(), ReportError> {
    let parquet = prepared.folder.parquet_file();
    let failed = |message: String| ReportError::File {
        path: parquet.clone(),
        message,
    };
    let mut frame = frame(&prepared.paths, results).map_err(|e| failed(e.to_string()))?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .finish(&mut frame)
        .map_err(|e| failed(e.to_string()))?;
    disk::write_atomically(&parquet, &bytes).map_err(|e| failed(e.to_string()))?;
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes)
        .finish(&mut frame)
        .map_err(|e| failed(e.to_string()))?;
    disk::write_atomically(&prepared.folder.csv_file(), &bytes).map_err(|e| failed(e.to_string()))
}

fn frame(paths: &[String], results: &[Result<'_>]) -> PolarsResult<DataFrame> {
    let rows: Vec<(&Ready, &Measurement)> = results
        .iter()
        .flat_map(|result| result.measured.iter().map(|one| (result.point, one)))
        .collect();
    let text = |name: &str, get: &dyn Fn(&Ready, &Measurement) -> Option<String>| {
        let values: Vec<Option<String>> = rows.iter().map(|(point, one)| get(point, one)).collect();
        Column::new(name.into(), values)
    };
    let mut columns = vec![
        text("point", &|point, _| Some(point.id.clone())),
        Column::new(
            "seed".into(),
            rows.iter().map(|(point, _)| point.seed).collect::<Vec<_>>(),
        ),
    ];
    for path in paths {
        let values: Vec<Option<&Value>> = rows.iter().map(|(point, _)| point.settings.get(path)).collect();
        let all = |is: fn(&Value) -> bool| {
            let set = results
                .iter()
                .filter_map(|result| result.point.settings.get(path));
            set.into_iter().all(is)
        };
        let name = path.as_str().into();
        columns.push(if all(Value::is_i64) {
            let numbers = values.iter().map(|value| value.and_then(Value::as_i64));
            Column::new(name, numbers.collect::<Vec<_>>())
        } else if all(Value::is_number) {
            let numbers = values.iter().map(|value| value.and_then(Value::as_f64));
            Column::new(name, numbers.collect::<Vec<_>>())
        } else {
            let texts = values.iter().map(|value| value.map(plain));
            Column::new(name, texts.collect::<Vec<_>>())
        });
    }
    columns.extend([
        text("step", &|_, one| Some(one.step.clone())),
        text("variant", &|_, one| Some(one.variant.clone())),
        text("metric", &|_, one| Some(one.metric.clone())),
        text("group", &|_, one| one.group.clone()),
        Column::new(
            "value".into(),
            rows.iter().map(|(_, one)| one.value).collect::<Vec<_>>(),
        ),
        Column::new("n".into(), rows.iter().map(|(_, one)| one.n).collect::<Vec<_>>()),
        Column::new(
            "standard_error".into(),
            rows.iter().map(|(_, one)| one.standard_error).collect::<Vec<_>>(),
        ),
    ]);
    DataFrame::new(rows.len(), columns)
}
