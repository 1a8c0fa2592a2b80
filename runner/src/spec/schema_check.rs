//! JSON Schema on merged items: every violation becomes a mistake at its place, with the nearest valid name.

use super::diagnostics::Diagnostics;
use super::item::{Item, Origin};
use super::layers::Layers;
use super::suggest;
use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
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

/// Removes `null` from a schema: TOML has none, and an optional field is one that is left out.
pub fn simplify(schema: &mut Value) {
    let is_null = |value: &Value| value.get("type").is_some_and(|kind| kind == "null");
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(kinds)) = object.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if kinds.len() == 1 {
                    let only = kinds.remove(0);
                    object.insert("type".into(), only);
                }
            }
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            if let Some(Value::Array(values)) = object.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            for keyword in ["anyOf", "oneOf"] {
                if let Some(Value::Array(branches)) = object.get_mut(keyword) {
                    branches.retain(|branch| !is_null(branch));
                    if branches.len() == 1
                        && let Value::Object(only) = branches.remove(0)
                    {
                        object.remove(keyword);
                        for (key, value) in only {
                            object.entry(key).or_insert(value);
                        }
                    }
                }
            }
            object.values_mut().for_each(simplify);
        }
        Value::Array(values) => values.iter_mut().for_each(simplify),
        _ => {}
    }
}

/// Checks `item` against `schema` and collects every mistake.
pub(crate) fn check(
    schema: &Value,
    item: &Item,
    place: &Place<'_>,
    layers: &Layers,
    found: &mut Diagnostics,
) {
    let validator = match jsonschema::validator_for(schema) {
        Ok(validator) => validator,
        Err(error) => unreachable!("a component's schema is a schema: {error}"),
    };
    let value = item.to_json();
    let checker = Checker {
        schema,
        item,
        place,
        layers,
    };
    for error in validator.iter_errors(&value) {
        checker.report(&error, found);
    }
}

struct Checker<'a> {
    schema: &'a Value,
    item: &'a Item,
    place: &'a Place<'a>,
    layers: &'a Layers,
}

impl Checker<'_> {
    fn report(&self, error: &ValidationError<'_>, found: &mut Diagnostics) {
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
                    .map(|text| format!("add it, as in `{key} = {text}`"));
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
                push(
                    "unknown_value",
                    format!("{name} does not take {instance}"),
                    format!("expected {}", show(expected_value)),
                    None,
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
            Kind::Pattern { pattern } => push(
                "bad_form",
                format!("{name} does not have the right form"),
                format!("expected a match of {pattern}"),
                None,
            ),
            Kind::OneOfNotValid { context } | Kind::AnyOf { context } => {
                self.branches(error, context, &pointer, found);
            }
            Kind::OneOfMultipleValid { .. } => push(
                "ambiguous",
                format!("{name} fits more than one form"),
                String::new(),
                None,
            ),
            _ => push("bad_value", format!("{name}: {error}"), String::new(), None),
        }
    }

    /// A value that fits none of several forms: says what is nearest to being right.
    fn branches(
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

    fn unknown_keys(&self, pointer: &str, unexpected: &[String], valid: &[&str], found: &mut Diagnostics) {
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

    fn example_of(&self, error: &ValidationError<'_>, key: &str) -> Option<String> {
        let field = self.follow(self.parent_of(error)?.get("properties")?.get(key)?);
        let example = field.get("examples").and_then(|all| all.get(0));
        example
            .map(show)
            .or_else(|| field.get("x-artifact").map(|_| "\"@step\"".to_owned()))
    }

    /// The schema itself, or what its `$ref` points at.
    fn follow<'s>(&'s self, form: &'s Value) -> &'s Value {
        let target = form
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|text| text.strip_prefix('#'));
        target
            .and_then(|pointer| self.schema.pointer(pointer))
            .unwrap_or(form)
    }

    fn name_of(&self, pointer: &str) -> String {
        let path = pointer.trim_start_matches('/').replace('/', ".");
        if path.is_empty() {
            self.place.what.clone()
        } else {
            format!("`{path}`")
        }
    }
}

fn properties(form: &Value) -> Vec<&str> {
    form.get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|map| map.keys().map(String::as_str))
        .collect()
}

fn any_of(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(" | ")
}

fn show(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        text
    } else {
        text.chars().take(57).chain("...".chars()).collect()
    }
}

fn wanted(kind: &TypeKind) -> String {
    let name = |kind: &dyn std::fmt::Display| match kind.to_string().as_str() {
        "object" => "a table".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        "number" => "a number".to_owned(),
        "string" => "a string".to_owned(),
        "boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    };
    match kind {
        TypeKind::Single(kind) => name(kind),
        TypeKind::Multiple(kinds) => kinds
            .iter()
            .map(|kind| name(&kind))
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "a table",
        Value::Array(_) => "a list",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a string",
        Value::Bool(_) => "a truth value",
        Value::Null => "nothing",
    }
}
