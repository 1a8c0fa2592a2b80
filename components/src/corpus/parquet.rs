//! `corpus.parquet`: columns of Parquet files.

use super::source::{Expect, empty, existing, id_column, text_column};
use crate::artifact::{Cell, CorpusWriter, Document};
use crate::component::{Output, main_output};
use crate::untrusted::check_ratio;
use crate::untrusted::parquet::{self, corrupt};
use crate::{Component, Context, Error, Estimate, FilePath, Kind, Result, Seeding, Sizes};
use polars::prelude::{AnyValue, Column, DataFrame, DataType, ParquetReader, SerReader};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Rows read at once.
const ROWS: usize = 1 << 16;

/// Reads documents from Parquet files.
#[derive(Debug)]
pub enum Parquet {}

/// Parameters of `corpus.parquet`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParquetParams {
    /// The files, read in this order.
    #[schemars(length(min = 1), example = ["data/pool.parquet"])]
    pub files: Vec<FilePath>,
    /// The column that holds the text.
    #[serde(default = "text_column")]
    pub text_column: String,
    /// The column that holds the documents' names. Without it a document is called `file:row`, both as numbers.
    #[serde(default = "id_column")]
    pub id_column: String,
    /// Columns carried along, for measurements and `group_by`; no method sees them. Text, numbers or truth values.
    #[serde(default)]
    pub keep_columns: Vec<String>,
    /// Read at most so many documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "documents"))]
    pub limit: Option<u64>,
    /// What the files are said to hold, so that a plan can be made without them. A run compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-runtime" = true))]
    pub expect: Option<Expect>,
}

impl Component for Parquet {
    type Params = ParquetParams;
    const NAME: &'static str = "corpus.parquet";
    const SUMMARY: &'static str = "Reads documents from Parquet files";
    const SEEDING: Seeding = Seeding::None;
    const EXAMPLE: &'static str = r#"use = "corpus.parquet"
files = ["data/pool.parquet"]
text_column = "content"
keep_columns = ["quality"]
"#;

    fn outputs(_: &ParquetParams) -> Vec<Output> {
        main_output(Kind::Corpus)
    }

    fn estimate(params: &ParquetParams, sizes: &Sizes) -> Estimate {
        super::source::estimate(&params.files, params.expect, params.limit, sizes)
    }

    fn run(params: ParquetParams, context: &Context) -> Result<()> {
        let mut writer = CorpusWriter::create(&context.output("")?, &params.keep_columns)?;
        let limit = params.limit.unwrap_or(u64::MAX);
        let bar = context.services.bar("reading", 0, "documents");
        // Every file is looked at before the first is read.
        let tables = params
            .files
            .iter()
            .map(|path| Table::open(&existing(path, context)?, &params))
            .collect::<Result<Vec<_>>>()?;
        for (number, table) in tables.iter().enumerate() {
            let mut bytes = 0;
            for start in (0..table.rows).step_by(ROWS) {
                let count = (limit - writer.documents()).min(ROWS as u64) as usize;
                if count == 0 {
                    break;
                }
                context.check_cancelled()?;
                table.read(start, count, number, &params, &mut |document| {
                    bytes += document.text.len() as u64;
                    check_ratio(bytes, table.size, &table.file)?;
                    bar.advance(1);
                    writer.push(document).map_err(|e| e.in_file(&table.file))
                })?;
            }
        }
        writer.finish()?;
        Ok(())
    }
}

/// A file whose columns were found fit.
struct Table {
    file: std::path::PathBuf,
    size: u64,
    rows: usize,
    columns: Vec<String>,
    has_id: bool,
}

impl Table {
    /// `corrupt_parquet`, `missing_column`, `wrong_type`, `empty_file`.
    fn open(file: &Path, params: &ParquetParams) -> Result<Self> {
        parquet::check(file)?;
        let (rows, empty_frame) = parquet::read(file, |source| {
            let mut reader = ParquetReader::new(source);
            let rows = reader.num_rows()?;
            Ok((rows, reader.with_slice(Some((0, 0))).finish()?))
        })?;
        let schema = empty_frame.schema();
        let kind = |name: &str| {
            schema.get(name).ok_or_else(|| {
                let names: Vec<_> = schema.iter_names().map(|name| format!("`{name}`")).collect();
                Error::data(
                    "missing_column",
                    format!("no column `{name}`; found {}", names.join(", ")),
                )
                .in_file(file)
                .hint("name the text's column in `text_column`, and others in `keep_columns`")
            })
        };
        let expect = |name: &str, fits: fn(&DataType) -> bool, expected: &str| {
            let found = kind(name)?;
            if fits(found) {
                return Ok(());
            }
            Err(Error::data(
                "wrong_type",
                format!("column `{name}` holds {found}; expected {expected}"),
            )
            .in_file(file))
        };
        expect(&params.text_column, |kind| *kind == DataType::String, "text")?;
        for name in &params.keep_columns {
            let fits = |kind: &DataType| {
                kind.is_primitive_numeric() || matches!(kind, DataType::String | DataType::Boolean)
            };
            expect(name, fits, "text, numbers or truth values")?;
        }
        let has_id = schema.get(&params.id_column).is_some();
        if has_id {
            let fits = |kind: &DataType| kind.is_integer() || *kind == DataType::String;
            expect(&params.id_column, fits, "text or whole numbers")?;
        }
        if rows == 0 {
            return Err(empty(file));
        }
        let mut columns = vec![params.text_column.clone()];
        let others = has_id.then_some(&params.id_column);
        for name in others.into_iter().chain(&params.keep_columns) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        Ok(Self {
            file: file.to_path_buf(),
            size: std::fs::metadata(file)
                .map_err(Error::io("cannot read", file))?
                .len(),
            rows,
            columns,
            has_id,
        })
    }

    /// Hands out at most `count` documents from row `start` on, of file number `number`. One at a time: a text may stand
    /// in the file once and in every row.
    fn read(
        &self,
        start: usize,
        count: usize,
        number: usize,
        params: &ParquetParams,
        each: &mut dyn FnMut(Document) -> Result<()>,
    ) -> Result<()> {
        let frame: DataFrame = parquet::read(&self.file, |source| {
            ParquetReader::new(source)
                .with_columns(Some(self.columns.clone()))
                .with_slice(Some((start, count)))
                .finish()
        })?;
        let column = |name: &str| {
            frame
                .column(name)
                .map_err(|e| corrupt(&self.file, &e.to_string()))
        };
        let text = column(&params.text_column)?
            .str()
            .map_err(|e| corrupt(&self.file, &e.to_string()))?;
        let id = self.has_id.then(|| column(&params.id_column)).transpose()?;
        let kept = params
            .keep_columns
            .iter()
            .map(|name| column(name))
            .collect::<Result<Vec<_>>>()?;
        let document = |row: usize| {
            let text = text.get(row).ok_or_else(|| {
                Error::data(
                    "wrong_type",
                    format!("column `{}` has an empty cell; expected text", params.text_column),
                )
                .in_file(&self.file)
                .at(format!("row {}", start + row))
                .hint("write an empty text where there is none, or leave the row out")
            })?;
            let id = match id.map(|id| value(id, row, &self.file)).transpose()? {
                Some(AnyValue::String(id)) => id.to_owned(),
                Some(AnyValue::Null) | None => format!("{number}:{}", start + row),
                Some(other) => other.to_string(),
            };
            let cells = kept
                .iter()
                .map(|column| Ok(cell(&value(column, row, &self.file)?)))
                .collect::<Result<_>>()?;
            Ok(Document {
                id,
                text: text.to_owned(),
                cells,
            })
        };
        (0..frame.height()).try_for_each(|row| each(document(row)?))
    }
}

fn value<'a>(column: &'a Column, row: usize, file: &Path) -> Result<AnyValue<'a>> {
    column.get(row).map_err(|e| corrupt(file, &e.to_string()))
}

fn cell(value: &AnyValue) -> Cell {
    match value {
        AnyValue::Null => Cell::Null,
        AnyValue::Boolean(value) => Cell::Bool(*value),
        AnyValue::String(value) => Cell::Text((*value).to_owned()),
        number => number.extract::<f64>().map_or(Cell::Null, Cell::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Documents;
    use crate::table::{frame, write_parquet};
    use crate::testing::Bench;
    use serde_json::{Value, json};

    fn bench() -> Bench {
        let bench = Bench::new();
        let columns = vec![
            Column::new("id".into(), [7_i64, 8, 9]),
            Column::new("text".into(), ["one", "two", "three"]),
            Column::new("empty".into(), [Some("a"), None, Some("c")]),
            Column::new("n".into(), [1_i32, 2, 3]),
            Column::new("good".into(), [true, false, true]),
        ];
        let file = bench.folder.path().join("a.parquet");
        write_parquet(&file, &mut frame(columns)).expect("writes");
        bench
    }

    fn run(bench: &Bench, more: &Value) -> Result<Vec<Document>> {
        let mut params = json!({ "files": ["a.parquet"] });
        let more = more.as_object().expect("an object").clone();
        params.as_object_mut().expect("an object").extend(more);
        let artifact = bench.run::<Parquet>("docs", params)?;
        let corpus = Documents::open(&artifact, &bench.context("reading"))?;
        let columns = corpus.details().columns.clone();
        corpus.read(&columns)?.map(|document| Ok(document?.1)).collect()
    }

    #[test]
    fn rows_become_documents() {
        let bench = bench();
        let all = run(&bench, &json!({ "keep_columns": ["good", "n", "empty"] })).expect("reads");
        assert_eq!(all.len(), 3);
        assert_eq!((all[1].id.as_str(), all[1].text.as_str()), ("8", "two"));
        assert_eq!(all[1].cells, [Cell::Bool(false), Cell::Number(2.0), Cell::Null]);
        let some = run(&bench, &json!({ "id_column": "none", "limit": 2 })).expect("reads");
        assert_eq!((some.len(), some[1].id.as_str()), (2, "0:1"));
    }

    #[test]
    fn columns_that_do_not_fit_are_named() {
        let bench = bench();
        for (params, code, says) in [
            (json!({ "text_column": "body" }), "missing_column", "`good`"),
            (json!({ "text_column": "n" }), "wrong_type", "i32"),
            (json!({ "text_column": "empty" }), "wrong_type", "row 1"),
            (json!({ "id_column": "good" }), "wrong_type", "bool"),
        ] {
            let error = run(&bench, &params).expect_err("a mistake");
            assert_eq!(error.code(), code);
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn damage_anywhere_is_an_error_and_never_a_crash() {
        let bench = bench();
        let file = bench.folder.path().join("a.parquet");
        let sound = std::fs::read(&file).expect("reads");
        let mut refused = 0;
        for at in (0..sound.len()).step_by(3) {
            let mut bad = sound.clone();
            bad[at] ^= 0xff;
            std::fs::write(&file, &bad).expect("writes");
            refused += i32::from(run(&bench, &json!({})).is_err());
        }
        assert!(refused > 20, "{refused}");
        std::fs::write(&file, &sound[..sound.len() / 2]).expect("writes");
        let error = run(&bench, &json!({})).expect_err("half a file");
        assert_eq!(error.code(), "corrupt_parquet");
        std::fs::write(&file, b"").expect("writes");
        assert_eq!(run(&bench, &json!({})).expect_err("empty").code(), "empty_file");
    }
}
