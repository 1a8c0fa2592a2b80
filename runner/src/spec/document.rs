//! One TOML text as a tree in which every key and value knows its place.

use super::diagnostics::{Diagnostic, Diagnostics, Source};
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) content: Content,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Table(Vec<Field>),
    Array(Vec<Node>),
    /// A string, number or truth value.
    Scalar(Value),
}

/// A key of a table and its value.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: Node,
}

impl Node {
    /// The value under `key`, if this is a table that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Field> {
        match &self.content {
            Content::Table(fields) => fields.iter().find(|field| field.key == key),
            _ => None,
        }
    }

    /// Takes the value under `key` out of the table.
    pub(crate) fn take(&mut self, key: &str) -> Option<Field> {
        match &mut self.content {
            Content::Table(fields) => fields
                .iter()
                .position(|field| field.key == key)
                .map(|at| fields.remove(at)),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }
}

/// Tables and lists nested deeper than this are taken for a mistake: no experiment comes near, and what walks them recurses.
pub(crate) const DEEPEST: usize = 64;

/// How the parser begins to say that something goes on to the end of the file.
const UNCLOSED: [&str; 2] = ["unclosed array,", "unclosed inline table,"];

/// Parses a text; mistakes go to `found`, and what could be read is returned all the same.
pub(crate) fn parse(source: &Arc<Source>, found: &mut Diagnostics) -> Node {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let told = |error: &toml::de::Error| error.message().replace('\n', ", ");
    // A list that is never closed takes in the rest of the file, in which nothing is a mistake of its own then.
    let unclosed = errors
        .iter()
        .map(told)
        .find(|message| UNCLOSED.iter().any(|start| message.starts_with(start)));
    for error in &errors {
        let (span, message) = (error.span().unwrap_or(0..0), told(error));
        let start = span.start;
        let hint = unclosed.clone().filter(|unclosed| *unclosed != message);
        let mistake = Diagnostic::new(source, span, "bad_toml", format!("not TOML: {message}"));
        found.push(
            mistake.hint(hint.map(|unclosed| format!("something before this is not ended: {unclosed}"))),
        );
        if unclosed.is_some() {
            found.lose(source, start);
            break;
        }
    }
    let span = table.span();
    Node {
        span,
        content: Content::Table(fields(table.into_inner(), 1, source, found)),
    }
}

fn fields(table: DeTable<'_>, depth: usize, source: &Arc<Source>, found: &mut Diagnostics) -> Vec<Field> {
    let mut fields: Vec<Field> = table
        .into_iter()
        .map(|(key, value)| Field {
            key_span: key.span(),
            key: key.into_inner().into_owned(),
            node: node(value, depth, source, found),
        })
        .collect();
    fields.sort_by_key(|field| field.key_span.start);
    fields
}

fn node(value: Spanned<DeValue<'_>>, depth: usize, source: &Arc<Source>, found: &mut Diagnostics) -> Node {
    let span = value.span();
    let mut refuse = |code, message: &str| {
        found.push(Diagnostic::new(source, span.clone(), code, message));
        Content::Scalar(Value::Null)
    };
    if depth > DEEPEST {
        let content = refuse(
            "too_deep",
            &format!("tables or lists are nested more than {DEEPEST} deep"),
        );
        return Node { span, content };
    }
    let content = match value.into_inner() {
        DeValue::String(text) => Content::Scalar(Value::String(text.into_owned())),
        DeValue::Boolean(truth) => Content::Scalar(Value::Bool(truth)),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Content::Scalar(number.into()),
            Err(_) => refuse("bad_value", "this whole number does not fit 64 bits"),
        },
        DeValue::Float(number) => {
            match number
                .as_str()
                .parse::<f64>()
                .ok()
                .and_then(serde_json::Number::from_f64)
            {
                Some(number) => Content::Scalar(Value::Number(number)),
                None => refuse("bad_value", "this number is not finite"),
            }
        }
        DeValue::Datetime(time) => Content::Scalar(Value::String(time.to_string())),
        DeValue::Array(values) => Content::Array(
            values
                .into_iter()
                .map(|value| node(value, depth + 1, source, found))
                .collect(),
        ),
        DeValue::Table(table) => Content::Table(fields(table, depth + 1, source, found)),
    };
    Node { span, content }
}
