//! JSON Schema on merged items: every violation becomes a mistake at its place, with the nearest valid name.

use super::diagnostics::Diagnostics;
use super::form::Form;
use super::item::{Item, Origin};
use super::layers::Layers;
use super::suggest;
use super::words::{any_of, kind_of, properties, show, wanted};
use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

/// Where a checked item stands.
pub(crate) struct Place<'a> {
    /// For messages, as in "step `bpe` (tokenizer.train)".
    pub(crate) what: String,
    /// Where a missing key is reported: the header of the table.
    pub(crate) header: &'a Origin,
    /// Keys that may be written besides the schema's.
    pub(crate) other_keys: &'a [&'a str],
}

/// Checks `item` against `form` and collects every mistake. Gives whether there is none.
pub(crate) fn check(
    form: &Form,
    item: &Item,
    place: &Place<'_>,
    layers: &Layers,
    found: &mut Diagnostics,
) -> bool {
    let value = item.to_json();
    if form.validator.is_valid(&value) {
        return true;
    }
    let checker = Checker::new(form, item, place, layers);
    for error in form.validator.iter_errors(&value) {
        checker.report(&error, found);
    }
    false
}

/// Collects the keys of `item` that `form` does not know: all that can be said of something that need not be complete.
pub(crate) fn check_keys(
    form: &Form,
    item: &Item,
    place: &Place<'_>,
    layers: &Layers,
    found: &mut Diagnostics,
) {
    let checker = Checker::new(form, item, place, layers);
    for error in form.validator.iter_errors(&item.to_json()) {
        if let Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. } = error.kind() {
            checker.report(&error, found);
        }
    }
}

/// One item beside its schema.
pub(super) struct Checker<'a> {
    pub(super) schema: &'a Value,
    pub(super) item: &'a Item,
    pub(super) place: &'a Place<'a>,
    pub(super) layers: &'a Layers,
}

impl<'a> Checker<'a> {
    fn new(form: &'a Form, item: &'a Item, place: &'a Place<'a>, layers: &'a Layers) -> Self {
        Self {
            schema: &form.schema,
            item,
            place,
            layers,
        }
    }

    pub(super) fn report(&self, error: &ValidationError<'_>, found: &mut Diagnostics) {
        if error.instance().is_null() {
            return; // TOML has no null: this value was refused when it was read
        }
        let pointer = error.instance_path().to_string();
        let origin = self
            .item
            .at(&pointer)
            .map_or(self.place.header, |item| &item.origin);
        let name = self.name_of(&pointer);
        let instance = show(error.instance());
        let mut push = |code, message: String, label: String, hint: Option<String>| {
            found.push(self.layers.mistake(origin, code, message).label(label).hint(hint));
        };
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let valid = self.valid_keys(error);
                self.unknown_keys(&pointer, unexpected, &valid, found);
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let (at, whole) = if pointer.is_empty() {
                    (self.place.header, self.place.what.clone())
                } else {
                    (origin, name)
                };
                let message = format!("{whole} lacks the key `{key}`");
                let hint = self
                    .example_of(error, key)
                    .map(|text| format!("add it, as in `{key} = {text}`"))
                    .or_else(|| {
                        let field = self.parent_of(error)?.get("properties")?.get(key)?;
                        Some(format!("add it: {}", first_sentence(field)?))
                    });
                found.push(
                    self.layers
                        .mistake(at, "missing_key", message)
                        .label("required here")
                        .hint(hint),
                );
            }
            Kind::Type { kind } => {
                let label = format!("expected {}, found {}", wanted(kind), kind_of(error.instance()));
                push("wrong_type", format!("{name} has the wrong type"), label, None);
            }
            Kind::Enum { options } => {
                let options: Vec<&str> = options
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                let label = format!("expected {}", any_of(&options));
                let hint = suggest::nearest(
                    error.instance().as_str().unwrap_or_default(),
                    options.iter().copied(),
                );
                let hint = hint.map(|near| format!("did you mean `{near}`?"));
                push(
                    "unknown_value",
                    format!("{name} does not take {instance}"),
                    label,
                    hint,
                );
            }
            Kind::Constant { expected_value } => {
                let near = suggest::nearest(
                    error.instance().as_str().unwrap_or_default(),
                    expected_value.as_str(),
                );
                push(
                    "unknown_value",
                    format!("{name} does not take {instance}"),
                    format!("expected {}", show(expected_value)),
                    near.map(|near| format!("did you mean `{near}`?")),
                );
            }
            Kind::Minimum { limit } => push(
                "out_of_range",
                format!("{name} is out of range"),
                format!("{instance} is below the least value, {limit}"),
                None,
            ),
            Kind::Maximum { limit } => push(
                "out_of_range",
                format!("{name} is out of range"),
                format!("{instance} is above the greatest value, {limit}"),
                None,
            ),
            Kind::ExclusiveMinimum { limit } => push(
                "out_of_range",
                format!("{name} is out of range"),
                format!("expected more than {limit}, found {instance}"),
                None,
            ),
            Kind::ExclusiveMaximum { limit } => push(
                "out_of_range",
                format!("{name} is out of range"),
                format!("expected less than {limit}, found {instance}"),
                None,
            ),
            Kind::MinItems { limit } | Kind::MinProperties { limit } => push(
                "too_few",
                format!("{name} has too few entries"),
                format!("expected at least {limit}"),
                None,
            ),
            Kind::MaxItems { limit } => push(
                "too_many",
                format!("{name} has too many entries"),
                format!("expected at most {limit}"),
                None,
            ),
            Kind::MinLength { .. } => push(
                "empty",
                format!("{name} is empty"),
                "expected some text".into(),
                None,
            ),
            Kind::Pattern { pattern } if pattern == "^@" => {
                let hint = error
                    .instance()
                    .as_str()
                    .map(|text| format!("write `\"@{text}\"` if `{text}` is a step"));
                push(
                    "not_a_reference",
                    format!("{name} wants a reference to a step"),
                    "expected `\"@step\"`".into(),
                    hint,
                );
            }
            Kind::Pattern { pattern } => {
                let label = match self.meaning_of(error) {
                    Some(meaning) => format!("expected: {meaning}"),
                    None => format!("expected a match of {pattern}"),
                };
                let message = format!("{name} does not have the right form: {instance}");
                push("bad_form", message, label, None);
            }
            Kind::OneOfNotValid { context } | Kind::AnyOf { context } => {
                self.branches(error, context, &pointer, found);
            }
            _ => push("bad_value", format!("{name}: {error}"), String::new(), None),
        }
    }

    pub(super) fn unknown_keys(
        &self,
        pointer: &str,
        unexpected: &[String],
        valid: &[&str],
        found: &mut Diagnostics,
    ) {
        let inside = if pointer.is_empty() {
            self.place.what.clone()
        } else {
            self.name_of(pointer)
        };
        for key in unexpected {
            if pointer.is_empty() && self.place.other_keys.contains(&key.as_str()) {
                continue;
            }
            let escaped = key.replace('~', "~0").replace('/', "~1");
            let entry = self.item.key_at(&format!("{pointer}/{escaped}"));
            let origin = entry.map_or(self.place.header, |entry| &entry.key_origin);
            let others: &[&str] = if pointer.is_empty() {
                self.place.other_keys
            } else {
                &[]
            };
            let candidates = valid.iter().chain(others).copied();
            let message = format!("{inside} has no key `{key}`");
            found.push(
                self.layers
                    .mistake(origin, "unknown_key", message)
                    .label("unknown key")
                    .hint(suggest::hint(key, candidates)),
            );
        }
    }

    /// Keys that the schema an error speaks of knows.
    fn valid_keys(&self, error: &ValidationError<'_>) -> Vec<&str> {
        self.parent_of(error)
            .map(|form| properties(form))
            .unwrap_or_default()
    }

    fn parent_of(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let path = error.schema_path().as_str();
        self.schema.pointer(path.rsplit_once('/')?.0)
    }

    /// The first sentence of the description of the field that an error speaks of.
    fn meaning_of(&self, error: &ValidationError<'_>) -> Option<&str> {
        first_sentence(self.parent_of(error)?)
    }

    fn example_of(&self, error: &ValidationError<'_>, key: &str) -> Option<String> {
        let field = self.follow(self.parent_of(error)?.get("properties")?.get(key)?);
        let example = field.get("examples").and_then(|all| all.get(0));
        example
            .map(show)
            .or_else(|| field.get("x-artifact").map(|_| "\"@step\"".to_owned()))
    }

    /// The schema itself, or what its `$ref` points at.
    pub(super) fn follow<'s>(&'s self, form: &'s Value) -> &'s Value {
        let target = form
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|text| text.strip_prefix('#'));
        target
            .and_then(|pointer| self.schema.pointer(pointer))
            .unwrap_or(form)
    }

    pub(super) fn name_of(&self, pointer: &str) -> String {
        let path = pointer.trim_start_matches('/').replace('/', ".");
        if path.is_empty() {
            self.place.what.clone()
        } else {
            format!("`{path}`")
        }
    }
}

/// The first sentence of a description, without its full stop.
fn first_sentence(field: &Value) -> Option<&str> {
    let text = field.get("description")?.as_str()?;
    Some(text.split(['\n', ';']).next()?.trim_end_matches('.'))
}
