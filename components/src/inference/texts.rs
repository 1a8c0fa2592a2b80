//! The text that is made of a document.

use crate::artifact::{Cell, Document};
use crate::template::Template;
use crate::{Error, Result};
use serde_json::{Map, Value};

/// A template over a document's `id`, `text` and kept columns.
#[derive(Debug)]
pub(crate) struct Texts(Template);

impl Texts {
    /// Reads a template, as in `"{{ question }}"`. `bad_template`.
    pub(crate) fn parse(template: &str) -> Result<Self> {
        Template::parse_exact(template).map(Self)
    }

    /// The text of a document whose cells are of these columns. `bad_template`.
    pub(crate) fn of(&self, document: &Document, columns: &[String]) -> Result<String> {
        let mut values = Map::new();
        values.insert("id".to_owned(), document.id.as_str().into());
        values.insert("text".to_owned(), document.text.as_str().into());
        for (column, cell) in columns.iter().zip(&document.cells) {
            let value = match cell {
                Cell::Null => Value::Null,
                Cell::Bool(value) => (*value).into(),
                Cell::Number(value) if value.fract() == 0.0 && value.abs() < 9e15 => (*value as i64).into(),
                Cell::Number(value) => (*value).into(),
                Cell::Text(value) => value.as_str().into(),
            };
            values.insert(column.clone(), value);
        }
        self.0.render(&Value::Object(values)).map_err(|error: Error| {
            let known: Vec<String> = columns.iter().map(|column| format!("`{column}`")).collect();
            error.hint(format!(
                "it knows `id`, `text` and the kept columns {}",
                known.join(", ")
            ))
        })
    }
}
