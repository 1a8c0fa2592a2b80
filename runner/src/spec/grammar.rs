//! The parts of an experiment that belong to no component.

use lyceum_components::Precision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use std::collections::BTreeMap;

/// Keys of a step that belong to the grammar; every other key is the component's.
pub(crate) const STEP_KEYS: [&str; 6] = ["use", "matrix", "seed", "when", "shards", "precision"];
/// Top-level keys.
pub(crate) const TOP_KEYS: [&str; 8] = [
    "experiment",
    "runtime",
    "steps",
    "claims",
    "sweep",
    "report",
    "profiles",
    "extends",
];

/// The head: `[experiment]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Short name of letters, digits, `.`, `_` and `-`; names runs and reports.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub name: String,
    /// One line for the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Sheet whose reported figures the report sets beside the measured ones, as in `miniplm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paper: Option<String>,
    /// The seed every random stream is derived from by name.
    #[serde(default)]
    pub seed: u64,
    /// Precision of tensors; a step may set its own.
    #[serde(default)]
    pub precision: Precision,
}

/// What never changes the identity of a result: `[runtime]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[serde(default = "auto")]
    #[schemars(regex(pattern = "^(auto|cpu|cuda(:[0-9]+)?)$"))]
    pub device: String,
    /// Whether training curves are also written as TensorBoard event files, into `tensorboard/` in the run's folder.
    #[serde(default)]
    pub tensorboard: bool,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            device: auto(),
            tensorboard: false,
        }
    }
}

fn auto() -> String {
    "auto".into()
}

/// A statement that the run checks: `[[claims]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The statement, in words.
    pub name: String,
    /// Step and metric, as in `quality.loss`; of one variant of the step, as in `quality[clean].loss`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-]+(\[[^\]]+\])?\..+$"))]
    pub metric: String,
    /// Group of the metric, as in one label; the whole where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The variant that is said to be better, as in `student[miniplm]`.
    pub better: String,
    /// The variant it is compared with.
    pub than: String,
    /// Whether lower values are better.
    #[serde(default)]
    pub lower_is_better: bool,
}

/// How to report: `[report]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Name of a template, or the path of one of your own, which ends in `.j2`.
    #[serde(default = "comparison")]
    pub template: String,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            template: comparison(),
        }
    }
}

fn comparison() -> String {
    "comparison".into()
}

/// Many runs of one experiment: `[sweep]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// Seeds that replace the experiment's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// Values by path, every combination.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grid: BTreeMap<String, Vec<Value>>,
    /// Values by path, taken together position by position.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zip: BTreeMap<String, Vec<Value>>,
    /// Points, each a table of values by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list: Vec<BTreeMap<String, Value>>,
    /// Points drawn at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<RandomSearch>,
    /// Step and metric that points are ranked by besides the claims', as in `quality.loss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-]+\..+$"))]
    pub metric: Option<String>,
    /// Whether lower values of `metric` are better.
    #[serde(default)]
    pub lower_is_better: bool,
}

/// Points of a sweep drawn at random.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomSearch {
    /// How many points.
    #[schemars(range(min = 1))]
    pub points: u64,
    /// Seed of the draw.
    #[serde(default)]
    pub seed: u64,
    /// Bounds `[low, high]` by path; two whole numbers draw whole numbers, both ends included.
    pub ranges: BTreeMap<String, [Number; 2]>,
    /// Paths drawn on a logarithmic scale.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// Schema of one section.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let mut schema = schemars::SchemaGenerator::default()
        .into_root_schema_for::<T>()
        .to_value();
    super::simplify(&mut schema);
    schema
}

/// JSON Schema of a whole experiment file, for editors. Steps are dispatched on `use`; a key that `matrix` may supply is
/// never demanded there, the command checks that.
pub fn experiment_schema(components: &[lyceum_components::Descriptor]) -> Value {
    let names: Vec<&str> = components.iter().map(|component| component.name).collect();
    let mut definitions = serde_json::Map::new();
    let mut dispatch = Vec::new();
    for component in components {
        let name = component.name;
        definitions.insert(name.to_owned(), step_schema(component));
        dispatch.push(serde_json::json!({
            "if": { "properties": { "use": { "const": name } }, "required": ["use"] },
            "then": { "$ref": format!("#/$defs/{name}") },
        }));
    }
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Lyceum experiment",
        "type": "object",
        "additionalProperties": false,
        "required": ["experiment", "steps"],
        "properties": {
            "experiment": schema_of::<Experiment>(),
            "runtime": schema_of::<Runtime>(),
            "steps": {
                "type": "object",
                "propertyNames": { "pattern": "^[A-Za-z0-9_-]+$" },
                "additionalProperties": {
                    "type": "object",
                    "required": ["use"],
                    "properties": { "use": { "enum": names } },
                    "allOf": dispatch,
                },
            },
            "claims": { "type": "array", "items": schema_of::<Claim>() },
            "sweep": schema_of::<Sweep>(),
            "report": schema_of::<Report>(),
            "profiles": { "type": "object", "additionalProperties": { "type": "object" } },
            "extends": { "type": "array", "items": { "type": "string" } },
        },
        "$defs": definitions,
    })
}

/// The schema of a step that uses `component`: its parameters and the grammar's own keys.
fn step_schema(component: &lyceum_components::Descriptor) -> Value {
    let mut schema = (component.schema)();
    super::simplify(&mut schema);
    inline_definitions(&mut schema, component.name);
    if let Some(object) = schema.as_object_mut() {
        object.remove("required");
        object.remove("$schema");
        object.insert("description".into(), component.summary.into());
        let own = serde_json::json!({
            "use": { "const": component.name },
            "matrix": { "type": "object", "description": "variants by key" },
            "seed": { "type": "integer", "minimum": 0, "description": "pins the seed of this step" },
            "when": { "type": "string", "description": "condition under which the step exists" },
            "shards": { "type": "integer", "minimum": 1, "description": "pieces the work is cut into" },
            "precision": { "enum": ["f32", "bf16", "f64"] },
        });
        if let (Some(properties), Value::Object(own)) = (
            object
                .entry("properties")
                .or_insert_with(|| serde_json::json!({}))
                .as_object_mut(),
            own,
        ) {
            properties.extend(own);
        }
    }
    schema
}

/// Points `$ref`s of a component's schema at where its definitions land in the whole.
fn inline_definitions(value: &mut Value, component: &str) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(target)) = object.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/$defs/{component}/$defs/{name}");
            }
            object
                .values_mut()
                .for_each(|value| inline_definitions(value, component));
        }
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| inline_definitions(value, component)),
        _ => {}
    }
}
