//! Steps as written, taken apart: the grammar's own keys, the component, and the parameters of every variant.

use super::diagnostics::Diagnostics;
use super::grammar::STEP_KEYS;
use super::item::{Entry, Item, ItemValue, Origin};
use super::layers::Layers;
use super::matrix::{self, Variant};
use super::references::parts;
use super::suggest;
use super::words::{any_of, kind_of, show};
use lyceum_components::{Descriptor, Precision, Seeding, Sharding};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What `precision` takes.
const PRECISIONS: [&str; 3] = ["f32", "bf16", "f64"];
/// More steps than this, each variant counted, are taken for a mistake.
const MOST_STEPS: usize = 2_000;

/// A step whose component is known.
pub(crate) struct Written<'a> {
    pub(crate) name: &'a str,
    pub(crate) header: &'a Origin,
    pub(crate) item: &'a Item,
    pub(crate) component: &'static Descriptor,
    pub(crate) variants: Vec<Variant>,
    pub(crate) seed: Option<u64>,
    pub(crate) shards: u64,
    pub(crate) precision: Option<Precision>,
    pub(crate) when: Option<(&'a str, &'a Origin)>,
}

impl Written<'_> {
    /// Parameters of a variant, as written.
    pub(crate) fn params(&self, variant: &Variant) -> Item {
        let own = self
            .item
            .entries()
            .iter()
            .filter(|entry| !STEP_KEYS.contains(&entry.key.as_str()));
        let mut item = Item {
            origin: self.header.clone(),
            value: ItemValue::Table(own.cloned().collect()),
        };
        for (path, origin, value) in &variant.settings {
            item.set(path, origin, value.clone());
        }
        item
    }

    /// `name` or `name[a,b]`.
    pub(crate) fn id(&self, variant: &Variant) -> String {
        if variant.names.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}[{}]", self.name, variant.names.join(","))
        }
    }
}

/// Reads every step. A step that cannot be read is left out after its mistakes were noted.
pub(crate) fn read<'a>(
    steps: &'a Item,
    registry: &'static [Descriptor],
    layers: &Layers,
    found: &mut Diagnostics,
) -> Vec<Written<'a>> {
    if let Some(entry) = steps.entries().get(MOST_STEPS) {
        let message = format!("there are {} steps", steps.entries().len());
        let mistake = layers.mistake(&entry.key_origin, "too_many_steps", message);
        found.push(mistake.label(format!("expected at most {MOST_STEPS}")));
        return Vec::new();
    }
    let mut names = BTreeMap::new();
    for entry in steps.entries() {
        variants_of(&entry.key, steps, layers, &mut names, &mut Vec::new());
    }
    let count: usize = names.values().map(Vec::len).sum();
    if count > MOST_STEPS {
        let message = format!("the steps have {count} variants in all");
        let hint = "many runs of one experiment are a `[sweep]`";
        let mistake = layers.mistake(&steps.origin, "too_many_variants", message);
        found.push(
            mistake
                .label(format!("expected at most {MOST_STEPS}"))
                .hint(Some(hint.into())),
        );
        return Vec::new();
    }
    steps
        .entries()
        .iter()
        .filter_map(|entry| read_one(entry, registry, layers, &names, found))
        .collect()
}

fn read_one<'a>(
    entry: &'a Entry,
    registry: &'static [Descriptor],
    layers: &Layers,
    names: &BTreeMap<String, Vec<Vec<String>>>,
    found: &mut Diagnostics,
) -> Option<Written<'a>> {
    let (name, item, header) = (entry.key.as_str(), &entry.item, &entry.key_origin);
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    {
        let message = format!("`{name}` cannot name a step");
        let label = "expected letters, digits, `_` and `-`";
        found.push(layers.mistake(header, "bad_step_name", message).label(label));
    }
    if !matches!(item.value, ItemValue::Table(_)) {
        let mistake = layers.mistake(
            &item.origin,
            "wrong_type",
            format!("step `{name}` is not a table"),
        );
        found.push(mistake.label("expected a table"));
        return None;
    }
    let component = component(name, item, header, registry, layers, found);
    let seed = whole_number(item, "seed", 0, layers, found);
    if let (Some(entry), Some(component)) = (item.entry("seed"), component)
        && component.seeding == Seeding::None
    {
        let message = format!("`{}` draws no random numbers", component.name);
        let mistake = layers.mistake(&entry.key_origin, "no_randomness", message);
        found.push(mistake.hint(Some("leave `seed` out".into())));
    }
    let shards = whole_number(item, "shards", 1, layers, found);
    if let (Some(shards), Some(component)) = (shards, component)
        && shards > 1
        && component.sharding == Sharding::None
    {
        let why = format!("`{}` runs whole", component.name);
        let at = &item.entry("shards")?.item.origin;
        found.push(
            layers
                .mistake(at, "cannot_shard", why)
                .hint(Some("leave `shards` out".into())),
        );
    }
    let precision = item.get("precision").and_then(|value| {
        let parsed = Precision::deserialize(value.to_json()).ok();
        if parsed.is_none() {
            let mistake = layers.mistake(
                &value.origin,
                "unknown_value",
                format!("`precision` does not take {}", show(&value.to_json())),
            );
            let near = suggest::nearest(value.as_str().unwrap_or_default(), PRECISIONS);
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            found.push(
                mistake
                    .label(format!("expected {}", any_of(&PRECISIONS)))
                    .hint(hint),
            );
        }
        parsed
    });
    let when = item.get("when").and_then(|value| {
        if value.as_str().is_none() {
            let mistake = layers.mistake(&value.origin, "wrong_type", "`when` has the wrong type");
            found.push(mistake.label(format!("expected a string, found {}", kind_of(&value.to_json()))));
        }
        Some((value.as_str()?, &value.origin))
    });
    let variants = matrix::expand(item.get("matrix"), name, layers, found, |step| {
        names.get(step).cloned()
    });
    Some(Written {
        name,
        header,
        item,
        component: component?,
        variants,
        seed,
        shards: shards.unwrap_or(1),
        precision,
        when,
    })
}

fn component(
    name: &str,
    item: &Item,
    header: &Origin,
    registry: &'static [Descriptor],
    layers: &Layers,
    found: &mut Diagnostics,
) -> Option<&'static Descriptor> {
    let Some(used) = item.get("use") else {
        // A key that holds the name of a component, or looks like it, is `use` misspelt.
        let names_one = |entry: &&Entry| {
            let text = entry.item.as_str();
            text.is_some_and(|text| registry.iter().any(|component| component.name == text))
        };
        let near = |entry: &&Entry| suggest::nearest(&entry.key, ["use"]).is_some();
        let entries = item.entries();
        if let Some(entry) = entries.iter().find(names_one).or(entries.iter().find(near)) {
            let message = format!("step `{name}` has no key `{}`", entry.key);
            let mistake = layers.mistake(&entry.key_origin, "unknown_key", message);
            found.push(
                mistake
                    .label("unknown key")
                    .hint(Some("did you mean `use`?".into())),
            );
            return None;
        }
        let mistake = layers.mistake(
            header,
            "missing_key",
            format!("step `{name}` lacks the key `use`"),
        );
        found.push(
            mistake
                .label("required here")
                .hint(Some("name a component, as in `use = \"train.lm\"`".into())),
        );
        return None;
    };
    let Some(text) = used.as_str() else {
        let mistake = layers.mistake(&used.origin, "wrong_type", "`use` wants the name of a component");
        let label = format!("expected a string, found {}", kind_of(&used.to_json()));
        found.push(mistake.label(label));
        return None;
    };
    let component = registry.iter().find(|component| component.name == text);
    if component.is_none() {
        let near = suggest::nearest(text, registry.iter().map(|component| component.name));
        let hint = near.map_or("`lyceum components` lists them".into(), |near| {
            format!("did you mean `{near}`?")
        });
        let mistake = layers.mistake(
            &used.origin,
            "unknown_component",
            format!("no component `{text}`"),
        );
        found.push(mistake.label("unknown component").hint(Some(hint)));
    }
    component
}

fn whole_number(item: &Item, key: &str, least: u64, layers: &Layers, found: &mut Diagnostics) -> Option<u64> {
    let value = item.get(key)?;
    let number = match &value.value {
        ItemValue::Scalar(Value::Number(number)) => number.as_u64().filter(|number| *number >= least),
        _ => None,
    };
    if number.is_none() {
        let found_value = value.to_json();
        let (code, what) = if found_value.is_i64() {
            ("out_of_range", "is out of range")
        } else {
            ("wrong_type", "has the wrong type")
        };
        let message = format!("`{key}` {what}");
        let label = format!(
            "expected a whole number of at least {least}, found {}",
            show(&found_value)
        );
        found.push(layers.mistake(&value.origin, code, message).label(label));
    }
    number
}

/// Names of the variants of a step; an axis that takes another step's variants asks for those first. A cycle gives none.
fn variants_of(
    step: &str,
    steps: &Item,
    layers: &Layers,
    known: &mut BTreeMap<String, Vec<Vec<String>>>,
    stack: &mut Vec<String>,
) {
    let Some(item) = steps.get(step) else { return };
    if known.contains_key(step) || stack.iter().any(|name| name == step) {
        return;
    }
    stack.push(step.to_owned());
    let matrix = item.get("matrix");
    for axis in matrix.map(Item::entries).unwrap_or_default() {
        if let Some(reference) = axis.item.as_str().and_then(parts) {
            variants_of(reference.step, steps, layers, known, stack);
        }
    }
    // Mistakes are reported when the step itself is read.
    let variants = matrix::expand(matrix, step, layers, &mut Diagnostics::default(), |name| {
        known.get(name).cloned()
    });
    known.insert(
        step.to_owned(),
        variants.into_iter().map(|variant| variant.names).collect(),
    );
    stack.pop();
}
