//! A component's parameters as rows: what a listing and a reference page show.

use crate::spec::simplify;
use lyceum_components::Descriptor;
use serde::Serialize;
use serde_json::Value;

/// One parameter, or one key of a table inside it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldDoc {
    /// Dotted path in the step, as in `optim.lr`. A list's entries are written `[]`.
    pub path: String,
    /// What it takes, as in "integer" or "reference to tokens or selection".
    pub kind: String,
    /// Its unit.
    pub unit: Option<String>,
    /// Whether it must be given.
    pub required: bool,
    /// What it is where it is left out.
    pub default: Option<Value>,
    /// Which values it takes, as in "> 0, ≤ 1".
    pub range: Option<String>,
    /// A value it takes.
    pub example: Option<Value>,
    /// What it means.
    pub doc: String,
}

/// The parameters of a component in the order of its struct, tables before their keys.
pub fn fields(component: &Descriptor) -> Vec<FieldDoc> {
    let mut schema = (component.schema)();
    simplify(&mut schema);
    let mut rows = Vec::new();
    walk(&schema, &schema, "", &mut Vec::new(), &mut rows);
    rows
}

/// Adds the keys of `table`. `open` holds the definitions being read: a type that contains itself is shown once.
fn walk<'a>(
    root: &'a Value,
    table: &'a Value,
    prefix: &str,
    open: &mut Vec<&'a str>,
    rows: &mut Vec<FieldDoc>,
) {
    let required: Vec<&str> = strings(table.get("required"));
    let properties = table.get("properties").and_then(Value::as_object);
    for (key, written) in properties.into_iter().flatten() {
        let target = written.get("$ref").and_then(Value::as_str);
        let field = follow(root, written);
        let text = |key: &str| written.get(key).or_else(|| field.get(key)).cloned();
        let path = format!("{prefix}{key}");
        rows.push(FieldDoc {
            kind: kind(root, field),
            unit: text("x-unit").and_then(|unit| unit.as_str().map(str::to_owned)),
            required: required.contains(&key.as_str()),
            default: text("default"),
            range: range(field),
            example: text("examples").and_then(|all| all.get(0).cloned()),
            doc: text("description")
                .and_then(|doc| doc.as_str().map(one_paragraph))
                .unwrap_or_default(),
            path: path.clone(),
        });
        if target.is_some_and(|target| open.contains(&target)) {
            continue;
        }
        open.extend(target);
        inside(root, field, &path, open, rows);
        open.truncate(open.len() - usize::from(target.is_some()));
    }
}

/// Adds the keys of the tables that a field may hold.
fn inside<'a>(
    root: &'a Value,
    field: &'a Value,
    path: &str,
    open: &mut Vec<&'a str>,
    rows: &mut Vec<FieldDoc>,
) {
    walk(root, field, &format!("{path}."), open, rows);
    for branch in branches(field) {
        let target = branch.get("$ref").and_then(Value::as_str);
        if target.is_some_and(|target| open.contains(&target)) {
            continue;
        }
        open.extend(target);
        let branch = follow(root, branch);
        let tag = tag(branch).map(|(key, value)| format!("{path}({key} = \"{value}\")"));
        walk(
            root,
            branch,
            &format!("{}.", tag.as_deref().unwrap_or(path)),
            open,
            rows,
        );
        open.truncate(open.len() - usize::from(target.is_some()));
    }
    if let Some(items) = field.get("items") {
        let target = items.get("$ref").and_then(Value::as_str);
        if target.is_none_or(|target| !open.contains(&target)) {
            open.extend(target);
            inside(root, follow(root, items), &format!("{path}[]"), open, rows);
            open.truncate(open.len() - usize::from(target.is_some()));
        }
    }
}

/// What a field takes, in words.
fn kind(root: &Value, field: &Value) -> String {
    if let Some(kinds) = field.get("x-artifact") {
        let kinds = strings(Some(kinds)).join(" or ");
        let noun = if field.get("x-many").is_some() {
            "references to"
        } else {
            "reference to"
        };
        return format!("{noun} {kinds}");
    }
    if field.get("x-task-file").is_some() {
        return "task file".to_owned();
    }
    if field.get("x-file").is_some() {
        return "file".to_owned();
    }
    let names = choices(field);
    if !names.is_empty() {
        return names
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect::<Vec<_>>()
            .join(" | ");
    }
    let word = |name: &str| match name {
        "object" => "table".to_owned(),
        "array" => match field.get("items") {
            Some(items) => format!("list of {}", kind(root, follow(root, items))),
            None => "list".to_owned(),
        },
        other => other.to_owned(),
    };
    match field.get("type") {
        Some(Value::String(name)) => word(name),
        Some(names @ Value::Array(_)) => strings(Some(names))
            .into_iter()
            .map(word)
            .collect::<Vec<_>>()
            .join(" or "),
        _ => {
            let mut kinds: Vec<String> = branches(field)
                .map(|branch| kind(root, follow(root, branch)))
                .collect();
            kinds.dedup();
            if kinds.is_empty() {
                "any value".to_owned()
            } else {
                kinds.join(" or ")
            }
        }
    }
}

/// Which values a number, or the length of a list, may have.
fn range(field: &Value) -> Option<String> {
    let bounds = [
        ("exclusiveMinimum", ">"),
        ("minimum", "≥"),
        ("exclusiveMaximum", "<"),
        ("maximum", "≤"),
        ("minItems", "entries ≥"),
        ("maxItems", "entries ≤"),
    ];
    let texts: Vec<String> = bounds
        .iter()
        .filter_map(|(key, sign)| {
            let text = field.get(key)?.to_string();
            Some(format!("{sign} {}", text.strip_suffix(".0").unwrap_or(&text)))
        })
        .collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// The names an enumeration takes; none if it takes anything else besides.
fn choices(field: &Value) -> Vec<String> {
    if let Some(name) = field.get("const").and_then(Value::as_str) {
        return vec![name.to_owned()];
    }
    if let Some(names) = field.get("enum") {
        return strings(Some(names)).into_iter().map(str::to_owned).collect();
    }
    let all: Vec<Vec<String>> = branches(field).map(choices).collect();
    if all.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    all.concat()
}

/// The key and value by which a branch is told from the others.
fn tag(branch: &Value) -> Option<(&str, &str)> {
    let properties = branch.get("properties")?.as_object()?;
    properties
        .iter()
        .find_map(|(key, field)| Some((key.as_str(), field.get("const")?.as_str()?)))
}

fn branches(field: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf"]
        .iter()
        .filter_map(|key| field.get(key)?.as_array())
        .flatten()
}

fn follow<'a>(root: &'a Value, field: &'a Value) -> &'a Value {
    let target = field
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|text| text.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(field)
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The first paragraph on one line.
fn one_paragraph(doc: &str) -> String {
    let lines = doc.lines().take_while(|line| !line.trim().is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lyceum_components::{Component, Context, Kind, Output, Ref, component, reference};
    use schemars::JsonSchema;
    use serde::Deserialize;

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Params {
        /// What is
        /// kept.
        ///
        /// More about it.
        data: Ref<reference::Blocks>,
        /// Share kept.
        #[serde(default = "half")]
        #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0), example = 0.25)]
        keep: f64,
        /// The optimizer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        optim: Option<Optim>,
        /// Parts.
        #[serde(default)]
        parts: Vec<Part>,
    }

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Optim {
        /// Batch.
        #[schemars(range(min = 1), extend("x-unit" = "sequences"))]
        batch_size: u64,
    }

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
    enum Part {
        Plain {
            /// Its weight.
            weight: f64,
        },
        Nested {
            /// Parts again.
            of: Vec<Part>,
        },
    }

    fn half() -> f64 {
        0.5
    }

    struct Keep;

    impl Component for Keep {
        type Params = Params;
        const NAME: &'static str = "select.keep";
        const SUMMARY: &'static str = "Keeps.";
        const EXAMPLE: &'static str = "use = \"select.keep\"\ndata = \"@tokens\"\n";
        fn outputs(_: &Params) -> Vec<Output> {
            component::main_output(Kind::Selection)
        }
        fn run(_: Params, _: &Context) -> lyceum_components::Result<()> {
            Ok(())
        }
    }

    fn row(rows: &[FieldDoc], path: &str) -> FieldDoc {
        rows.iter()
            .find(|row| row.path == path)
            .unwrap_or_else(|| panic!("no row `{path}`"))
            .clone()
    }

    #[test]
    fn type_unit_default_range_and_example_come_from_the_struct() {
        let rows = fields(&Descriptor::of::<Keep>());
        let data = row(&rows, "data");
        assert!(data.required);
        assert_eq!(data.kind, "reference to tokens or selection");
        assert_eq!(data.doc, "What is kept.");
        let keep = row(&rows, "keep");
        assert_eq!(keep.range.as_deref(), Some("> 0, ≤ 1"));
        assert_eq!(keep.default, Some(0.5.into()));
        assert_eq!(keep.example, Some(0.25.into()));
        assert!(!keep.required);
        let batch = row(&rows, "optim.batch_size");
        assert_eq!(
            (batch.unit.as_deref(), batch.range.as_deref()),
            (Some("sequences"), Some("≥ 1"))
        );
    }

    #[test]
    fn tagged_tables_show_their_tag_and_a_type_that_contains_itself_ends() {
        let rows = fields(&Descriptor::of::<Keep>());
        assert_eq!(row(&rows, "parts[](kind = \"plain\").weight").kind, "number");
        assert_eq!(row(&rows, "parts[](kind = \"nested\").of").kind, "list of table");
    }
}
