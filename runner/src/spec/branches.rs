//! Values that fit none of several forms: what is nearest to being right.

use super::diagnostics::Diagnostics;
use super::schema_check::Checker;
use super::suggest;
use super::words::{any_of, properties};
use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

impl Checker<'_> {
    /// A value that fits none of several forms: says what is nearest to being right.
    pub(super) fn branches(
        &self,
        error: &ValidationError<'_>,
        context: &[Vec<ValidationError<'static>>],
        pointer: &str,
        found: &mut Diagnostics,
    ) {
        let origin = self
            .item
            .at(pointer)
            .map_or(self.place.header, |item| &item.origin);
        let name = self.name_of(pointer);
        let forms: Vec<&Value> = self
            .schema
            .pointer(error.schema_path().as_str())
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|form| self.follow(form))
            .collect();
        let constants: Vec<&str> = forms
            .iter()
            .filter_map(|form| form.get("const")?.as_str())
            .collect();
        if let (Some(text), false) = (error.instance().as_str(), constants.is_empty()) {
            let hint = suggest::nearest(text, constants.iter().copied())
                .map(|near| format!("did you mean `{near}`?"));
            let message = format!("{name} does not take `{text}`");
            let label = format!("expected {}", any_of(&constants));
            found.push(
                self.layers
                    .mistake(origin, "unknown_value", message)
                    .label(label)
                    .hint(hint),
            );
            return;
        }
        if let Some(object) = error.instance().as_object() {
            let keys: Vec<&str> = forms.iter().flat_map(|form| properties(form)).collect();
            let unknown: Vec<String> = object
                .keys()
                .filter(|key| !keys.contains(&key.as_str()))
                .cloned()
                .collect();
            if !unknown.is_empty() && !keys.is_empty() {
                self.unknown_keys(pointer, &unknown, &keys, found);
                return;
            }
            let alternatives: Vec<&str> = forms
                .iter()
                .filter_map(|form| match form.get("required")?.as_array()?.as_slice() {
                    [Value::String(only)] => Some(only.as_str()),
                    _ => None,
                })
                .collect();
            if alternatives.len() == forms.len() && object.len() != 1 {
                let message = format!("{name} wants exactly one of its keys");
                let label = format!("expected one of {}", any_of(&alternatives));
                found.push(
                    self.layers
                        .mistake(origin, "not_exactly_one", message)
                        .label(label),
                );
                return;
            }
        }
        match context
            .iter()
            .filter(|errors| !errors.is_empty())
            .min_by_key(|errors| {
                // A branch that already fails on the type of the whole is further off than one that fails inside.
                let outer = errors.iter().any(|e| {
                    e.instance_path().to_string() == pointer && matches!(e.kind(), Kind::Type { .. })
                });
                (outer, errors.len())
            }) {
            Some(errors) => errors.iter().for_each(|error| self.report(error, found)),
            None => found.push(
                self.layers
                    .mistake(origin, "bad_value", format!("{name}: {error}")),
            ),
        }
    }
}
