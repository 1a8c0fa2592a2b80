//! References (`"@step[variant].output"`) and files: which fields hold them, and how they are written.

use serde_json::Value;

/// A field whose schema says that it points outside its struct.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PointingField {
    /// JSON pointer of the string.
    pub(crate) pointer: String,
    /// The string.
    pub(crate) text: String,
    /// What it points at.
    pub(crate) target: PointsAt,
}

/// What a field points at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PointsAt {
    /// An artifact of one of these kinds; `many` where a list is wanted.
    Artifact {
        kinds: Vec<String>,
        /// Pointer of the whole field, where several are wanted.
        many: Option<String>,
    },
    File,
    /// A task file, and the data that it names.
    Task,
    /// Those files of a folder that have one of these endings.
    Folder {
        endings: Vec<String>,
    },
}

/// Finds every reference and file in `value` by walking it along its schema.
pub(crate) fn find(schema: &Value, value: &Value) -> Vec<PointingField> {
    let mut found = Vec::new();
    walk(schema, schema, value, String::new(), &mut found);
    found
}

/// Names of the parameters that never change the result.
pub(crate) fn runtime_fields(schema: &Value) -> Vec<String> {
    let fields = schema.get("properties").and_then(Value::as_object);
    let marked = |field: &Value| field.get("x-runtime") == Some(&Value::Bool(true));
    fields
        .into_iter()
        .flatten()
        .filter(|(_, field)| marked(field))
        .map(|(name, _)| name.clone())
        .collect()
}

fn walk(root: &Value, schema: &Value, value: &Value, pointer: String, found: &mut Vec<PointingField>) {
    if let Some(target) = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|text| text.strip_prefix('#'))
        && let Some(schema) = root.pointer(target)
    {
        return walk(root, schema, value, pointer, found);
    }
    let mut push = |pointer: &str, value: &Value, target: PointsAt| {
        if let Value::String(text) = value {
            let field = PointingField {
                pointer: pointer.to_owned(),
                text: text.clone(),
                target,
            };
            if !found.contains(&field) {
                found.push(field);
            }
        }
    };
    if let Some(kinds) = schema.get("x-artifact").and_then(Value::as_array) {
        let many = schema.get("x-many").is_some().then(|| pointer.clone());
        let kinds = kinds
            .iter()
            .filter_map(|kind| kind.as_str().map(str::to_owned))
            .collect();
        let target = PointsAt::Artifact { kinds, many };
        match value {
            Value::Array(values) => {
                for (i, value) in values.iter().enumerate() {
                    push(&format!("{pointer}/{i}"), value, target.clone());
                }
            }
            value => push(&pointer, value, target),
        }
    }
    if schema.get("x-file").is_some() {
        push(&pointer, value, PointsAt::File);
    }
    if schema.get("x-task-file").is_some() {
        push(&pointer, value, PointsAt::Task);
    }
    if let Some(endings) = schema.get("x-folder").and_then(Value::as_array) {
        let endings = endings.iter().filter_map(Value::as_str).map(str::to_owned);
        let target = PointsAt::Folder {
            endings: endings.collect(),
        };
        push(&pointer, value, target);
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        for branch in schema
            .get(keyword)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|branch| !is_another(branch, value))
        {
            walk(root, branch, value, pointer.clone(), found);
        }
    }
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let inner = schema
                    .get("properties")
                    .and_then(|all| all.get(key))
                    .or(schema.get("additionalProperties"));
                if let Some(inner) = inner {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    walk(root, inner, value, format!("{pointer}/{key}"), found);
                }
            }
        }
        Value::Array(values) => {
            if let Some(inner) = schema.get("items").filter(|_| schema.get("x-artifact").is_none()) {
                for (i, value) in values.iter().enumerate() {
                    walk(root, inner, value, format!("{pointer}/{i}"), found);
                }
            }
        }
        _ => {}
    }
}

/// Whether a schema is of an object with another constant, such as the name of another form.
fn is_another(schema: &Value, value: &Value) -> bool {
    let fields = schema.get("properties").and_then(Value::as_object);
    let differs = |(key, field): (&String, &Value)| {
        let constant = field.get("const")?;
        Some(value.get(key)? != constant)
    };
    fields
        .into_iter()
        .flatten()
        .any(|field| differs(field).unwrap_or(false))
}

/// The parts of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) step: &'a str,
    pub(crate) variant: Option<&'a str>,
    pub(crate) output: Option<&'a str>,
}

/// Splits `"@step[variant].output"`; none if it is not of that form.
pub(crate) fn parts(text: &str) -> Option<Parts<'_>> {
    let text = text.strip_prefix('@')?;
    let end = text.find(['[', '.']).unwrap_or(text.len());
    let (step, rest) = text.split_at(end);
    let (variant, rest) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (variant, rest) = rest.split_once(']')?;
            (Some(variant), rest)
        }
        None => (None, rest),
    };
    let output = match rest {
        "" => None,
        rest => Some(rest.strip_prefix('.').filter(|name| !name.is_empty())?),
    };
    (!step.is_empty()).then_some(Parts {
        step,
        variant,
        output,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_forms_of_a_reference_are_read() {
        let read = |text| parts(text).map(|p| (p.step, p.variant, p.output));
        assert_eq!(read("@a"), Some(("a", None, None)));
        assert_eq!(read("@a.b"), Some(("a", None, Some("b"))));
        assert_eq!(read("@a[x,y]"), Some(("a", Some("x,y"), None)));
        assert_eq!(read("@a[x].b"), Some(("a", Some("x"), Some("b"))));
        for bad in ["a", "@", "@a[x", "@a[x]b", "@a."] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn of_several_forms_the_one_that_is_written_says_what_a_reference_may_be() {
        let form = |name: &str, kinds: &[&str]| {
            let properties =
                serde_json::json!({ "kind": { "const": name }, "teacher": { "x-artifact": kinds } });
            serde_json::json!({ "properties": properties })
        };
        let forms = [form("policy", &["model"]), form("kl", &["model", "cache"])];
        let schema = serde_json::json!({ "items": { "oneOf": forms } });
        let value = serde_json::json!([{ "kind": "kl", "teacher": "@x" }]);
        let found = find(&schema, &value);
        let target = PointsAt::Artifact {
            kinds: vec!["model".to_owned(), "cache".to_owned()],
            many: None,
        };
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].pointer.as_str(), &found[0].target),
            ("/0/teacher", &target)
        );
    }

    #[test]
    fn references_are_found_at_depth_and_elsewhere_an_at_sign_is_text() {
        let schema = serde_json::json!({
            "properties": {
                "data": { "x-artifact": ["tokens"] },
                "note": { "type": "string" },
                "optim": { "$ref": "#/$defs/optim" },
                "models": { "x-artifact": ["model"], "x-many": true },
            },
            "$defs": { "optim": { "properties": { "like": { "x-artifact": ["model"] } } } },
        });
        let value = serde_json::json!({
            "data": "@a", "note": "@b", "optim": { "like": "@c" }, "models": ["@d", "@e"],
        });
        let found: Vec<_> = find(&schema, &value)
            .into_iter()
            .map(|f| (f.pointer, f.text))
            .collect();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            found,
            [
                pair("/data", "@a"),
                pair("/optim/like", "@c"),
                pair("/models/0", "@d"),
                pair("/models/1", "@e")
            ]
        );
    }
}
