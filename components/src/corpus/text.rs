//! `corpus.text`: plain text files.

use super::lines::{LONGEST, Lines};
use super::source::{Expect, Input, empty};
use crate::artifact::{CorpusWriter, Document};
use crate::component::{Output, main_output};
use crate::{Component, Context, Error, Estimate, FilePath, Kind, Result, Seeding, Sizes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Reads documents from plain text.
#[derive(Debug)]
pub enum Text {}

/// Parameters of `corpus.text`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextParams {
    /// The files, read in this order. `.gz` and `.zst` are unpacked on the way.
    #[schemars(length(min = 1), example = ["data/book.txt"])]
    pub files: Vec<FilePath>,
    /// What makes a document. It is called `file:line`, both as numbers, after its first line.
    #[serde(default)]
    pub split_on: SplitOn,
    /// Read at most so many documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "documents"))]
    pub limit: Option<u64>,
    /// What the files are said to hold, so that a plan can be made without them. A run compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-runtime" = true))]
    pub expect: Option<Expect>,
}

/// What makes a document of plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SplitOn {
    /// A whole file.
    #[default]
    File,
    /// What stands between blank lines.
    Paragraph,
    /// A line that is not blank.
    Line,
}

impl Component for Text {
    type Params = TextParams;
    const NAME: &'static str = "corpus.text";
    const SUMMARY: &'static str = "Reads documents from plain text files";
    const SEEDING: Seeding = Seeding::None;
    const EXAMPLE: &'static str = r#"use = "corpus.text"
files = ["data/book.txt"]
split_on = "paragraph"
"#;

    fn outputs(_: &TextParams) -> Vec<Output> {
        main_output(Kind::Corpus)
    }

    fn estimate(params: &TextParams, sizes: &Sizes) -> Estimate {
        super::source::estimate(&params.files, params.expect, params.limit, sizes)
    }

    fn run(params: TextParams, context: &Context) -> Result<()> {
        let mut writer = CorpusWriter::create(&context.output("")?, &[])?;
        let limit = params.limit.unwrap_or(u64::MAX);
        let bar = context.services.bar("reading", 0, "documents");
        for (number, path) in params.files.iter().enumerate() {
            let mut lines = Lines::new(Input::open(path, context)?);
            let mut found = false;
            while writer.documents() < limit
                && let Some((line, text)) = next_document(&mut lines, params.split_on)?
            {
                found = true;
                writer.push(Document {
                    id: format!("{number}:{line}"),
                    text,
                    cells: Vec::new(),
                })?;
                bar.advance(1);
                if writer.documents() % 1024 == 0 {
                    context.check_cancelled()?;
                }
            }
            if !found && writer.documents() < limit {
                return Err(empty(&lines.input.file));
            }
        }
        writer.finish()?;
        Ok(())
    }
}

/// The next document and the number of its first line. Blank text is no document. `document_too_long`.
fn next_document(lines: &mut Lines, split_on: SplitOn) -> Result<Option<(u64, String)>> {
    let mut first = 0;
    let mut text = String::new();
    while let Some((line, input)) = lines.next()? {
        let content = line.text(input)?;
        let blank = content.trim().is_empty();
        if first == 0 && blank && split_on != SplitOn::File {
            continue;
        }
        if blank && split_on == SplitOn::Paragraph {
            break;
        }
        if first == 0 {
            first = line.number;
        } else {
            text.push('\n');
        }
        text.push_str(content);
        if split_on == SplitOn::Line {
            break;
        }
        if text.len() as u64 > LONGEST {
            return Err(Error::data(
                "document_too_long",
                format!("a document of more than {LONGEST} bytes"),
            )
            .in_file(&input.file)
            .at(format!("line {first}"))
            .hint("set `split_on = \"paragraph\"` or `split_on = \"line\"`"));
        }
    }
    Ok((!text.trim().is_empty()).then_some((first, text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Documents;
    use crate::testing::Bench;
    use serde_json::json;

    const POEM: &str = "\n\none\ntwo\r\n \n\nthree\n";

    fn read(contents: &[u8], split_on: &str) -> Result<Vec<(String, String)>> {
        let bench = Bench::new();
        std::fs::write(bench.folder.path().join("a.txt"), contents).expect("writes");
        let params = json!({ "files": ["a.txt"], "split_on": split_on });
        let artifact = bench.run::<Text>("docs", params)?;
        let corpus = Documents::open(&artifact, &bench.context("reading"))?;
        let pair = |document: Result<(u64, Document)>| document.map(|(_, d)| (d.id, d.text));
        corpus.read(&[])?.map(pair).collect()
    }

    #[test]
    fn documents_are_files_paragraphs_or_lines() {
        let owned = |all: &[(&str, &str)]| -> Vec<_> {
            all.iter()
                .map(|&(id, text)| (id.to_owned(), text.to_owned()))
                .collect()
        };
        let lines = read(POEM.as_bytes(), "line").expect("reads");
        assert_eq!(lines, owned(&[("0:3", "one"), ("0:4", "two"), ("0:7", "three")]));
        let paragraphs = read(POEM.as_bytes(), "paragraph").expect("reads");
        assert_eq!(paragraphs, owned(&[("0:3", "one\ntwo"), ("0:7", "three")]));
        let file = read(POEM.as_bytes(), "file").expect("reads");
        assert_eq!(file, owned(&[("0:1", "\n\none\ntwo\n \n\nthree")]));
    }

    #[test]
    fn text_that_is_not_utf8_or_blank_is_named() {
        let error = read(b"one\nt\xffo\n", "file").expect_err("not UTF-8");
        assert_eq!(error.code(), "invalid_utf8");
        assert!(error.to_string().contains("line 2, byte 5"), "{error}");
        for split_on in ["file", "paragraph", "line"] {
            let error = read(b" \n\n", split_on).expect_err("blank");
            assert_eq!(error.code(), "empty_file");
        }
    }
}
