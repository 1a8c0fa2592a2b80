//! Reading config.json key by key, with errors that name the key.

use crate::{Error, Result};
use serde_json::{Map, Value};

/// The table of a config.json, or one inside it.
#[derive(Debug)]
pub(crate) struct Json<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Json<'a> {
    /// The value of a key that is there and not null.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn read<T>(&self, key: &str, expected: &str, take: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let refuse = || {
            let mut found = value.to_string();
            if found.len() > 60 {
                "something else".clone_into(&mut found);
            }
            Error::data("bad_config", format!("`{key}` is {found}; expected {expected}"))
        };
        take(value).map(Some).ok_or_else(refuse)
    }

    fn required<T>(key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| Error::data("bad_config", format!("`{key}` is missing")))
    }

    /// A whole number, if it is there.
    pub(crate) fn find_size(&self, key: &str) -> Result<Option<usize>> {
        let whole = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        self.read(key, "a whole number", whole)
    }

    /// A whole number. `bad_config` where it is missing.
    pub(crate) fn size(&self, key: &str) -> Result<usize> {
        Self::required(key, self.find_size(key)?)
    }

    /// A whole number under the first of these names that is there: a family's own, then the common one.
    pub(crate) fn size_of(&self, keys: &[&str]) -> Result<usize> {
        let key = keys
            .iter()
            .find(|key| self.get(key).is_some())
            .unwrap_or(&keys[0]);
        self.size(key)
    }

    /// A number, if it is there.
    pub(crate) fn find_number(&self, key: &str) -> Result<Option<f64>> {
        self.read(key, "a number", Value::as_f64)
    }

    /// A number, or what the family takes where none is given.
    pub(crate) fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        Ok(self.find_number(key)?.unwrap_or(default))
    }

    /// True or false, or what the family takes where neither is given.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self
            .read(key, "true or false", Value::as_bool)?
            .unwrap_or(default))
    }

    /// Refuses any other value than this one, which is also that of a key left out. `unsupported_config`.
    pub(crate) fn only(&self, key: &str, supported: bool) -> Result<()> {
        if self.flag_or(key, supported)? == supported {
            return Ok(());
        }
        Err(self.unsupported(key, &supported.to_string()))
    }

    /// A text, if it is there.
    pub(crate) fn find_text(&self, key: &str) -> Result<Option<&'a str>> {
        self.read(key, "a text", Value::as_str)
    }

    /// A text. `bad_config` where it is missing.
    pub(crate) fn text(&self, key: &str) -> Result<&'a str> {
        Self::required(key, self.find_text(key)?)
    }

    /// A table, if it is there.
    pub(crate) fn find_table(&self, key: &str) -> Result<Option<Json<'a>>> {
        self.read(key, "a table", |value| value.as_object().map(Json))
    }

    /// A list, if it is there.
    pub(crate) fn find_list(&self, key: &str) -> Result<Option<&'a [Value]>> {
        self.read(key, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    /// Refuses a value of `key` that this decoder cannot follow. `unsupported_config`.
    pub(crate) fn unsupported(&self, key: &str, supported: &str) -> Error {
        let value = self.get(key).map_or_else(|| "null".to_owned(), Value::to_string);
        let message = format!("`{key}` is {value}, which this decoder does not do; it does {supported}");
        Error::data("unsupported_config", message)
    }
}
