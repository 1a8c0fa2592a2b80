//! A record of a file, a JSON object or a row of a table, as an instruction pair.

use super::jsonl::wrong_type;
use crate::artifact::InstructionPair;
use crate::{Error, Result};
use serde_json::{Map, Value};

/// Which fields of a record are what.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    pub(super) prompt: &'a str,
    pub(super) input: &'a str,
    pub(super) response: &'a str,
    pub(super) keep: &'a [String],
}

impl Fields<'_> {
    /// The pair in `record`, which has number `id`. The input may be missing, the answer may be a list of right ones of
    /// which the first is learned. `missing_column`, `wrong_type`, `empty_prompt`.
    pub(super) fn pair(&self, id: u64, record: &Map<String, Value>) -> Result<InstructionPair> {
        let text = |name: &str, value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            other => Err(wrong_type(name, other, "text")),
        };
        let prompt = text(self.prompt, require(record, self.prompt, "prompt_column")?)?;
        let input = match find(record, self.input) {
            None | Some(Value::Null) => String::new(),
            Some(value) => text(self.input, value)?,
        };
        if prompt.trim().is_empty() && input.trim().is_empty() {
            let message = format!("`{}` and `{}` are both empty", self.prompt, self.input);
            return Err(Error::data("empty_prompt", message));
        }
        let name = self.response;
        let responses = match require(record, name, "response_column")? {
            Value::Array(list) if list.is_empty() => {
                let message = format!("the list in `{name}` has no answer");
                return Err(Error::data("wrong_type", message));
            }
            Value::Array(list) => list
                .iter()
                .map(|one| text(name, one))
                .collect::<Result<Vec<_>>>()?,
            one => vec![text(name, one)?],
        };
        let kept = |name: &String| Some((name.clone(), find(record, name)?.clone()));
        Ok(InstructionPair {
            id,
            prompt,
            input,
            response: responses[0].clone(),
            responses,
            meta: self.keep.iter().filter_map(kept).collect(),
        })
    }
}

/// The field called `name`; else, where the name has dots, what lies on that path, numbers being places in lists.
fn find<'a>(record: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = record.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    rest.split('.')
        .try_fold(record.get(first)?, |value, key| match value {
            Value::Array(list) => list.get(key.parse::<usize>().ok()?),
            other => other.get(key),
        })
}

fn require<'a>(record: &'a Map<String, Value>, name: &str, parameter: &str) -> Result<&'a Value> {
    find(record, name)
        .filter(|value| !value.is_null())
        .ok_or_else(|| missing(name, parameter, record.keys().map(String::as_str)))
}

/// The mistake of a field that is not there; `found` are.
pub(super) fn missing<'a>(name: &str, parameter: &str, found: impl Iterator<Item = &'a str>) -> Error {
    let names: Vec<_> = found.map(|name| format!("`{name}`")).collect();
    let names = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    Error::data("missing_column", format!("no field `{name}`; found {names}"))
        .hint(format!("name the field in `{parameter}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pair(record: Value) -> Result<InstructionPair> {
        let keep = ["task".to_owned(), "nothing".to_owned()];
        let fields = Fields {
            prompt: "definition",
            input: "instances.0.input",
            response: "instances.0.output",
            keep: &keep,
        };
        let Value::Object(record) = record else {
            panic!("an object")
        };
        fields.pair(3, &record)
    }

    #[test]
    fn fields_may_lie_deep_and_answers_may_be_several() {
        let found = pair(json!({ "definition": "add", "task": 7,
            "instances": [{ "input": "1 2", "output": ["3", "three"] }] }))
        .expect("a pair");
        let expected = InstructionPair {
            id: 3,
            prompt: "add".to_owned(),
            input: "1 2".to_owned(),
            response: "3".to_owned(),
            responses: vec!["3".to_owned(), "three".to_owned()],
            meta: [("task".to_owned(), json!(7))].into_iter().collect(),
        };
        assert_eq!(found, expected);
        let plain =
            pair(json!({ "definition": "hi", "instances.0.output": "", "instances": [] })).expect("a pair");
        assert_eq!((plain.input.as_str(), plain.response.as_str()), ("", ""));
    }

    #[test]
    fn what_is_no_pair_is_told_by_field() {
        for (record, code, says) in [
            (
                json!({ "text": "a" }),
                "missing_column",
                "`definition`; found `text`",
            ),
            (
                json!({ "definition": "a" }),
                "missing_column",
                "`instances.0.output`",
            ),
            (
                json!({ "definition": 3, "instances.0.output": "" }),
                "wrong_type",
                "is a number",
            ),
            (
                json!({ "definition": "a", "instances": [{ "output": [] }] }),
                "wrong_type",
                "no answer",
            ),
            (
                json!({ "definition": "a", "instances": [{ "output": ["a", 1] }] }),
                "wrong_type",
                "is a number",
            ),
            (
                json!({ "definition": " ", "instances": [{ "output": "a" }] }),
                "empty_prompt",
                "both empty",
            ),
        ] {
            let error = pair(record).expect_err("a mistake");
            assert_eq!(error.code(), code);
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
