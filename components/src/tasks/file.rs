//! What a task file holds, and reading it.

use super::nearest::nearest;
use crate::inference::Sampling;
use crate::metrics::Variant;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The longest task file, in bytes.
const MOST_BYTES: u64 = 1 << 20;
/// The keys of which a task has exactly one.
pub(super) const KINDS: &str = "`[multiple_choice]`, `[classification]`, `[generation]`, `[last_word]`";

/// A task: where its records are, how one becomes a question, and how answers are measured. Exactly one of
/// `multiple_choice`, `classification`, `generation` and `last_word` is given. Templates are minijinja over a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskFile {
    /// What tables call it.
    #[schemars(regex(pattern = "^[A-Za-z0-9_.-]+$"), example = &"copa")]
    pub name: String,
    /// Raised by hand when a prompt or a measure changes, so that figures of different versions are not compared.
    #[schemars(range(min = 1))]
    pub version: u32,
    /// One line about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Terms its data come under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Where its records are.
    pub source: Source,
    /// What stands before everything else in a prompt.
    #[serde(default)]
    pub preamble: String,
    /// A record as a question.
    #[serde(default)]
    #[schemars(example = &"Question: {{ question }}\nAnswer:")]
    pub text: String,
    /// What stands between a question and its answer.
    #[serde(default = "blank")]
    pub delimiter: String,
    /// Examples with answers before the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shots: Option<Shots>,
    /// The choice that the model finds most probable counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_choice: Option<MultipleChoice>,
    /// The label that the model finds most probable counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classification: Option<Classification>,
    /// What the model writes is compared with references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// How probable the model finds the one right continuation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_word: Option<LastWord>,
}

/// A file with one JSON object a line, packed or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Relative to the task file; where there is none, to the folder that the environment variable `LYCEUM_DATA` names.
    #[schemars(example = &"mc/copa.jsonl")]
    pub file: String,
    /// Only records whose fields have these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub only: BTreeMap<String, Value>,
}

/// Examples before a question. They are drawn anew for every item, from the seed and the item's number; never the item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shots {
    /// Where they are drawn from; the task's own records if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How many.
    #[serde(default)]
    pub count: usize,
    /// What stands after each.
    #[serde(default = "empty_line")]
    pub separator: String,
}

/// Either `choices`, or `options`, or `contexts` with `target`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultipleChoice {
    /// The field that holds the list of choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<String>,
    /// A template for each choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<String>>,
    /// The field that holds a list of questions, for one answer that fits only one of them (as in Winogrande).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contexts: Option<String>,
    /// That one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The number of the right one, from 0, or its text.
    #[schemars(example = &"{{ gold }}")]
    pub gold: String,
}

/// Label words are scored as answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Classification {
    /// The words.
    #[schemars(length(min = 2))]
    pub labels: Vec<String>,
    /// The number of the right one, from 0, or its text.
    #[schemars(example = &"{{ label }}")]
    pub gold: String,
}

/// The model writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// A right answer; what examples before the question show. Either this or `references`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The field that holds the list of right answers, of which the best fitting counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<String>,
    /// What is measured.
    #[schemars(length(min = 1))]
    pub metrics: Vec<GenerationMetric>,
    /// Whether ROUGE compares stems.
    #[serde(default = "yes")]
    pub stemmer: bool,
    /// How the model writes; the likeliest token each time if left out.
    #[serde(default)]
    pub sampling: Sampling,
    /// Which part of what was written, and of the references, is the answer; all of it if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// A measure of what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GenerationMetric {
    /// Equal but for case, punctuation and white space.
    ExactMatch,
    /// F of tokens in common.
    #[serde(rename = "rouge_1")]
    Rouge1,
    /// F of pairs of tokens in common.
    #[serde(rename = "rouge_2")]
    Rouge2,
    /// F of the longest common subsequence.
    RougeL,
}

impl GenerationMetric {
    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact_match",
            Self::Rouge1 => "rouge_1",
            Self::Rouge2 => "rouge_2",
            Self::RougeL => "rouge_l",
        }
    }

    /// The variant of ROUGE, if it is one.
    pub fn rouge(self) -> Option<Variant> {
        match self {
            Self::ExactMatch => None,
            Self::Rouge1 => Some(Variant::One),
            Self::Rouge2 => Some(Variant::Two),
            Self::RougeL => Some(Variant::L),
        }
    }
}

/// The part of a text that is the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// It begins after the last occurrence of this; where there is none, at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"####")]
    pub after: Option<String>,
    /// It ends before the first of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["\n"])]
    pub until: Vec<String>,
}

impl Answer {
    /// The answer in a text.
    pub fn of<'a>(&self, text: &'a str) -> &'a str {
        let start = self
            .after
            .as_ref()
            .and_then(|mark| text.rfind(mark.as_str()).map(|at| at + mark.len()));
        let rest = text[start.unwrap_or(0)..].trim_start();
        let ends = self.until.iter().filter_map(|mark| rest.find(mark.as_str()));
        rest[..ends.min().unwrap_or(rest.len())].trim_end()
    }
}

/// One continuation is scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LastWord {
    /// The continuation.
    #[schemars(example = &"{{ continuation }}")]
    pub target: String,
}

fn blank() -> String {
    " ".to_owned()
}

fn empty_line() -> String {
    "\n\n".to_owned()
}

fn yes() -> bool {
    true
}

impl TaskFile {
    /// Reads a task file. `missing_file`, `bad_task`: not TOML, an unknown key, a value of the wrong type.
    pub fn read(file: &Path) -> Result<Self> {
        let opened = File::open(file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::data("missing_file", "there is no such task file").in_file(file)
            }
            _ => Error::io("cannot read", file)(error),
        })?;
        let mut text = String::new();
        let read = opened.take(MOST_BYTES + 1).read_to_string(&mut text);
        read.map_err(Error::io("cannot read", file))?;
        if text.len() as u64 > MOST_BYTES {
            return Err(Error::data("bad_task", "a task file of more than 1 MiB").in_file(file));
        }
        Self::parse(&text).map_err(|error| error.in_file(file))
    }

    /// The JSON Schema of a task file.
    pub fn schema() -> Value {
        schemars::SchemaGenerator::default()
            .into_root_schema_for::<Self>()
            .to_value()
    }

    /// Reads a task file's text. `bad_task`.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            let message = error.message().trim().to_owned();
            let line = error
                .span()
                .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let hint = unknown_key(&message);
            let mut failed = Error::data("bad_task", message);
            if let Some(line) = line {
                failed = failed.at(format!("line {line}"));
            }
            failed.hint(hint.unwrap_or_else(|| "docs/tasks.md says what a task file holds".to_owned()))
        })
    }
}

/// What was meant by an unknown key or name, out of the parser's message: the wrong one and then the known ones stand in
/// backticks.
fn unknown_key(message: &str) -> Option<String> {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (wrong, known) = names.split_first()?;
    (message.starts_with("unknown") && !known.is_empty())
        .then(|| nearest(wrong, known).map(|name| format!("did you mean `{name}`?")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "colours"
version = 1
source = { file = "colours.jsonl", only = { split = "test" } }
text = "{{ question }}"
[multiple_choice]
choices = "choices"
gold = "{{ gold }}"
"#;

    #[test]
    fn a_task_file_is_read_with_its_defaults() {
        let task = TaskFile::parse(GOOD).expect("a task");
        assert_eq!((task.delimiter.as_str(), task.version), (" ", 1));
        assert_eq!(task.source.only["split"], "test");
        let back = toml::to_string(&task).expect("TOML");
        assert_eq!(TaskFile::parse(&back).expect("a task"), task);
    }

    #[test]
    fn mistakes_are_named_with_line_and_the_nearest_key() {
        for (from, to, line, what, hint) in [
            (
                "choices = ",
                "chioces = ",
                7,
                "unknown field `chioces`",
                "`choices`",
            ),
            (
                "version = 1",
                "version = \"1\"",
                3,
                "expected u32",
                "docs/tasks.md",
            ),
            (
                "version = 1",
                "verison = 1",
                3,
                "unknown field `verison`",
                "`version`",
            ),
            ("gold = ", "gold ", 8, "expected", "docs/tasks.md"),
            ("only = {", "onyl = {", 4, "unknown field `onyl`", "`only`"),
        ] {
            let error = TaskFile::parse(&GOOD.replace(from, to)).expect_err("a mistake");
            let Error::Data(error) = error else {
                panic!("{error}")
            };
            assert_eq!(error.code, "bad_task");
            assert!(error.message.contains(what), "{error}");
            assert_eq!(error.position, Some(format!("line {line}")), "{error}");
            assert!(
                error.hint.as_ref().is_some_and(|text| text.contains(hint)),
                "{error:?}"
            );
        }
    }

    #[test]
    fn an_answer_is_cut_out_of_a_text() {
        let answer = Answer {
            after: Some("####".into()),
            until: vec!["\n".into(), ".".into()],
        };
        assert_eq!(answer.of("2 + 2\n#### 4. Or so\n"), "4");
        assert_eq!(answer.of(" 5\n\nQuestion"), "5");
    }
}
