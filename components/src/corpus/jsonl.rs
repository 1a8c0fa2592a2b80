//! `corpus.jsonl`: one JSON object a line.

use super::lines::{Line, Lines};
use super::source::{Expect, Input, OnBadLine, empty, id_column, text_column};
use crate::artifact::{Cell, CorpusWriter, Document};
use crate::component::{Output, main_output};
use crate::{Component, Context, Error, Estimate, FilePath, Kind, Result, Seeding, Sizes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Reads documents from JSON lines.
#[derive(Debug)]
pub enum Jsonl {}

/// Parameters of `corpus.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonlParams {
    /// The files, read in this order. `.gz` and `.zst` are unpacked on the way.
    #[schemars(length(min = 1), example = ["data/pool.jsonl.gz"])]
    pub files: Vec<FilePath>,
    /// The field that holds the text.
    #[serde(default = "text_column")]
    pub text_column: String,
    /// The field that holds the document's name. A document without it is called `file:line`, both as numbers.
    #[serde(default = "id_column")]
    pub id_column: String,
    /// Fields carried along, for measurements and `group_by`; no method sees them. A field may be missing in a
    /// document, but its values must be of one kind: text, number or truth value.
    #[serde(default)]
    pub keep_columns: Vec<String>,
    /// What to do with a line that is not UTF-8, not JSON, or without text.
    #[serde(default)]
    pub on_bad_line: OnBadLine,
    /// Read at most so many documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "documents"))]
    pub limit: Option<u64>,
    /// What the files are said to hold, so that a plan can be made without them. A run compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-runtime" = true))]
    pub expect: Option<Expect>,
}

impl Component for Jsonl {
    type Params = JsonlParams;
    const NAME: &'static str = "corpus.jsonl";
    const SUMMARY: &'static str = "Reads documents from files with one JSON object a line";
    const SEEDING: Seeding = Seeding::None;
    const EXAMPLE: &'static str = r#"use = "corpus.jsonl"
files = ["data/pool.jsonl.gz"]
keep_columns = ["quality"]
"#;

    fn outputs(_: &JsonlParams) -> Vec<Output> {
        main_output(Kind::Corpus)
    }

    fn estimate(params: &JsonlParams, sizes: &Sizes) -> Estimate {
        super::source::estimate(&params.files, params.expect, params.limit, sizes)
    }

    fn run(params: JsonlParams, context: &Context) -> Result<()> {
        let mut writer = CorpusWriter::create(&context.output("")?, &params.keep_columns)?;
        let limit = params.limit.unwrap_or(u64::MAX);
        let bar = context.services.bar("reading", 0, "documents");
        let mut skipped = 0;
        for (number, path) in params.files.iter().enumerate() {
            let mut lines = Lines::new(Input::open(path, context)?);
            let mut found = false;
            while writer.documents() < limit
                && let Some((line, input)) = lines.next()?
            {
                if line.bytes.trim_ascii().is_empty() {
                    continue;
                }
                found = true;
                match parse(&params, number, &line, input) {
                    Ok(document) => {
                        writer.push(document).map_err(|e| e.in_file(&input.file))?;
                        bar.advance(1);
                    }
                    Err(error) if params.on_bad_line == OnBadLine::Error => return Err(error),
                    Err(_) => skipped += 1,
                }
                if line.number % 1024 == 0 {
                    context.check_cancelled()?;
                }
            }
            if !found && writer.documents() < limit {
                return Err(empty(&lines.input.file));
            }
        }
        if skipped > 0 {
            context.services.note(&format!(
                "left out lines that could not be read: {skipped}; documents read: {}",
                writer.documents()
            ));
            context.services.measure("skipped_lines", f64::from(skipped));
        }
        writer.finish()?;
        Ok(())
    }
}

/// The document in a line. `invalid_utf8`, `bad_json`, `missing_column`, `wrong_type`.
fn parse(params: &JsonlParams, file: usize, line: &Line, input: &Input) -> Result<Document> {
    let text = line.text(input)?;
    let at = |error: Error, hint: &str| {
        error
            .in_file(&input.file)
            .at(format!("line {}", line.number))
            .hint(format!("{hint}, or set `on_bad_line = \"skip\"`"))
    };
    let mut object: Map<String, Value> = serde_json::from_str(text).map_err(|e| {
        let error = Error::data("bad_json", format!("not a JSON object: {}", reason(&e)));
        at(error, "mend the line").at(format!("line {}, column {}", line.number, e.column()))
    })?;
    let cells = params
        .keep_columns
        .iter()
        .map(|name| cell(name, object.get(name)).map_err(|e| at(e, "mend the line")))
        .collect::<Result<_>>()?;
    let id = match object.get(&params.id_column) {
        None | Some(Value::Null) => format!("{file}:{}", line.number),
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        Some(other) => return Err(at(wrong_type(&params.id_column, other, "text"), "mend the line")),
    };
    let text = match object.remove(&params.text_column) {
        Some(Value::String(text)) => text,
        Some(other) => {
            return Err(at(
                wrong_type(&params.text_column, &other, "text"),
                "name the text's field in `text_column`",
            ));
        }
        None => {
            let names: Vec<_> = object.keys().map(|key| format!("`{key}`")).collect();
            let message = format!(
                "no field `{}`; found {}",
                params.text_column,
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            );
            return Err(at(
                Error::data("missing_column", message),
                "name the text's field in `text_column`",
            ));
        }
    };
    Ok(Document { id, text, cells })
}

/// The value of a kept field.
fn cell(name: &str, value: Option<&Value>) -> Result<Cell> {
    match value {
        None | Some(Value::Null) => Ok(Cell::Null),
        Some(Value::Bool(value)) => Ok(Cell::Bool(*value)),
        Some(Value::String(value)) => Ok(Cell::Text(value.clone())),
        Some(Value::Number(value)) => value.as_f64().map(Cell::Number).ok_or_else(|| {
            Error::data(
                "wrong_type",
                format!("field `{name}` holds a number that is no float"),
            )
        }),
        Some(other) => Err(wrong_type(name, other, "text, a number or a truth value")),
    }
}

pub(super) fn wrong_type(name: &str, found: &Value, expected: &str) -> Error {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Error::data(
        "wrong_type",
        format!("field `{name}` is {found}; expected {expected}"),
    )
}

/// The parser's message without its own place, which counts within the line.
pub(super) fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or(text.clone(), |(reason, _)| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::CorpusDetails;
    use crate::corpus::Documents;
    use crate::testing::Bench;
    use crate::{Artifact, Error};
    use serde_json::json;
    use std::io::Write;

    const GOOD: &str = "{\"id\": \"a\", \"text\": \"first\", \"n\": 1}\n\n{\"text\": \"sécond\", \"n\": 2.5, \"x\": [1]}\r\n";

    fn read(bench: &Bench, contents: &[u8], more: serde_json::Value) -> Result<Artifact> {
        read_as(bench, "docs.jsonl", contents, more)
    }

    fn read_as(bench: &Bench, name: &str, contents: &[u8], more: serde_json::Value) -> Result<Artifact> {
        std::fs::write(bench.folder.path().join(name), contents).expect("writes");
        let mut params = json!({ "files": [name] });
        let more = more.as_object().expect("an object").clone();
        params.as_object_mut().expect("an object").extend(more);
        bench.run::<Jsonl>("docs", params)
    }

    fn fails(contents: &[u8]) -> Error {
        read(&Bench::new(), contents, json!({})).expect_err("a mistake")
    }

    fn documents(bench: &Bench, artifact: &Artifact, columns: &[&str]) -> Vec<Document> {
        let columns: Vec<_> = columns.iter().map(|&c| c.to_owned()).collect();
        let corpus = Documents::open(artifact, &bench.context("reading")).expect("opens");
        let read = corpus.read(&columns).expect("columns are there");
        read.map(|document| document.expect("reads").1).collect()
    }

    #[test]
    fn documents_are_read_with_ids_and_kept_columns() {
        let bench = Bench::new();
        let artifact = read(&bench, GOOD.as_bytes(), json!({ "keep_columns": ["n"] })).expect("reads");
        let documents = documents(&bench, &artifact, &["n"]);
        assert_eq!(documents.len(), 2);
        assert_eq!((documents[0].id.as_str(), documents[1].id.as_str()), ("a", "0:3"));
        assert_eq!(documents[1].text, "sécond");
        assert_eq!(documents[1].cells, [Cell::Number(2.5)]);
        let details: CorpusDetails = artifact.details().expect("a header");
        assert_eq!((details.documents, details.bytes), (2, 12));
    }

    #[test]
    fn packed_files_give_the_same_corpus() {
        let bench = Bench::new();
        let plain = read(&bench, GOOD.as_bytes(), json!({})).expect("reads");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(GOOD.as_bytes()).expect("packs");
        let gzip = gzip.finish().expect("packs");
        let zstd = zstd::encode_all(GOOD.as_bytes(), 1).expect("packs");
        for (name, packed) in [("d.jsonl.gz", &gzip), ("d.jsonl.zst", &zstd), ("d", &gzip)] {
            let artifact = read_as(&Bench::new(), name, packed, json!({})).expect("reads");
            assert_eq!(artifact.header, plain.header);
        }
        let cut = read_as(&bench, "cut.jsonl.gz", &gzip[..gzip.len() - 9], json!({})).expect_err("cut");
        assert_eq!(cut.code(), "corrupt_gzip");
        let cut = read_as(&bench, "cut.jsonl.zst", &zstd[..zstd.len() - 5], json!({})).expect_err("cut");
        assert_eq!(cut.code(), "corrupt_zstd");
        let none = read_as(&bench, "none.jsonl.gz", GOOD.as_bytes(), json!({})).expect_err("no gzip");
        assert_eq!(none.code(), "corrupt_gzip");
    }

    #[test]
    fn bad_lines_are_named_with_their_place() {
        for (contents, code, place) in [
            (
                &b"{\"text\": \"a\"}\n{\"text\": \xff\"b\"}\n"[..],
                "invalid_utf8",
                "line 2, byte 23",
            ),
            (
                b"{\"text\": \"a\"}\n{\"text\": b}\n",
                "bad_json",
                "line 2, column 10",
            ),
            (b"[1]\n", "bad_json", "line 1"),
            (b"{\"txt\": \"a\"}\n", "missing_column", "line 1"),
            (b"{\"text\": 3}\n", "wrong_type", "line 1"),
            (b"{\"id\": [], \"text\": \"\"}\n", "wrong_type", "line 1"),
        ] {
            let error = fails(contents);
            assert_eq!(error.code(), code);
            assert!(error.to_string().contains(place), "{error}");
            assert!(error.to_string().contains("docs.jsonl"), "{error}");
        }
    }

    #[test]
    fn bad_lines_can_be_left_out_and_are_counted() {
        let bench = Bench::new();
        let contents = b"{\"text\": \"a\"}\nnonsense\n{\"text\": \"\xff\"}\n{\"text\": \"b\"}\n";
        let artifact = read(&bench, contents, json!({ "on_bad_line": "skip" })).expect("reads");
        assert_eq!(documents(&bench, &artifact, &[]).len(), 2);
        assert!(
            bench.notes()[0].contains("could not be read: 2"),
            "{:?}",
            bench.notes()
        );
    }

    #[test]
    fn missing_and_empty_files_are_named() {
        let bench = Bench::new();
        let missing = bench
            .run::<Jsonl>("docs", json!({ "files": ["no.jsonl"] }))
            .expect_err("missing");
        assert_eq!(missing.code(), "missing_file");
        assert_eq!(fails(b"").code(), "empty_file");
        assert_eq!(fails(b"\n  \n").code(), "empty_file");
        bench.at("folder");
        let folder = bench
            .run::<Jsonl>("docs", json!({ "files": ["folder"] }))
            .expect_err("a folder");
        assert_eq!(folder.code(), "bad_file");
    }

    #[test]
    fn a_limit_stops_reading_and_a_byte_order_mark_is_no_text() {
        let bench = Bench::new();
        let contents = format!("\u{feff}{GOOD}");
        let artifact = read(&bench, contents.as_bytes(), json!({ "limit": 1 })).expect("reads");
        assert_eq!(documents(&bench, &artifact, &[])[0].text, "first");
    }
}
