//! Matrices: the variants of a step.
//!
//! `matrix.KEY = { name = value, … }` makes a variant for every entry, several keys make the product, and names stand in
//! axis order. A list names its variants by their values; a reference takes every variant of what it refers to. A key may
//! be a quoted dotted path, as in `matrix."optim.lr"`.

use super::diagnostics::Diagnostics;
use super::document::DEEPEST;
use super::item::{Item, ItemValue, Origin};
use super::layers::Layers;
use super::references::parts;
use serde_json::Value;

/// More variants of one step than this are taken for a mistake.
const MOST_VARIANTS: usize = 1_000;

/// One variant: its names in axis order, and what it sets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variant {
    pub(crate) names: Vec<String>,
    pub(crate) settings: Vec<(String, Origin, Item)>,
}

/// Expands a step's `matrix`. `variants_of` gives the names of the variants of another step.
pub(crate) fn expand(
    matrix: Option<&Item>,
    step: &str,
    layers: &Layers,
    found: &mut Diagnostics,
    mut variants_of: impl FnMut(&str) -> Option<Vec<Vec<String>>>,
) -> Vec<Variant> {
    let mut all = vec![Variant::default()];
    let Some(matrix) = matrix else { return all };
    if !matches!(matrix.value, ItemValue::Table(_)) {
        found.push(layers.mistake(
            &matrix.origin,
            "wrong_type",
            format!("`matrix` of step `{step}` is not a table"),
        ));
        return all;
    }
    for axis in matrix.entries() {
        if axis.key.split('.').count() > DEEPEST {
            let message = format!("an axis of step `{step}` lies more than {DEEPEST} tables deep");
            found.push(layers.mistake(&axis.key_origin, "too_deep", message));
            return all;
        }
        let points: Vec<(Vec<String>, Item)> = match &axis.item.value {
            ItemValue::Table(entries) => entries
                .iter()
                .map(|entry| (vec![entry.key.clone()], entry.item.clone()))
                .collect(),
            ItemValue::Array(items) => items
                .iter()
                .map(|item| (vec![name_of(item)], item.clone()))
                .collect(),
            ItemValue::Scalar(value) => taken_from(value, &axis.item, &mut variants_of),
        };
        if points.is_empty() {
            let message = format!("axis `{}` of step `{step}` names no variants", axis.key);
            found.push(
                layers.mistake(&axis.key_origin, "empty_matrix", message).label(
                    "expected a table of named values, a list, or a reference to a step with variants",
                ),
            );
            continue;
        }
        for (names, _) in &points {
            if names
                .iter()
                .any(|name| name.is_empty() || name.contains(['[', ']', ',', '@', '/', '\n']))
            {
                let message = format!("`{}` cannot name a variant of step `{step}`", names.join(","));
                found.push(
                    layers
                        .mistake(&axis.key_origin, "bad_variant_name", message)
                        .hint(Some(
                            "name the values: `{ first = …, second = … }`, without brackets or commas".into(),
                        )),
                );
            }
        }
        if all.len() * points.len() > MOST_VARIANTS {
            let message = format!("step `{step}` would have {} variants", all.len() * points.len());
            let label = format!("expected at most {MOST_VARIANTS}");
            found.push(
                layers
                    .mistake(&axis.key_origin, "too_many_variants", message)
                    .label(label)
                    .hint(Some("many runs of one experiment are a `[sweep]`".into())),
            );
            return all;
        }
        all = all
            .iter()
            .flat_map(|variant| {
                points.iter().map(move |(names, item)| {
                    let mut next = variant.clone();
                    next.names.extend(names.iter().cloned());
                    next.settings
                        .push((axis.key.clone(), axis.key_origin.clone(), item.clone()));
                    next
                })
            })
            .collect();
    }
    all
}

/// The points of an axis that is one reference: all variants of the step it names.
fn taken_from(
    value: &Value,
    item: &Item,
    variants_of: &mut impl FnMut(&str) -> Option<Vec<Vec<String>>>,
) -> Vec<(Vec<String>, Item)> {
    let Some(reference) = value
        .as_str()
        .and_then(parts)
        .filter(|parts| parts.variant.is_none())
    else {
        return Vec::new();
    };
    let variants = variants_of(reference.step).unwrap_or_default();
    let exact = |names: &Vec<String>| {
        let output = reference
            .output
            .map_or(String::new(), |output| format!(".{output}"));
        let text = format!("@{}[{}]{output}", reference.step, names.join(","));
        Item {
            origin: item.origin.clone(),
            value: ItemValue::Scalar(Value::String(text)),
        }
    };
    variants
        .iter()
        .filter(|names| !names.is_empty())
        .map(|names| (names.clone(), exact(names)))
        .collect()
}

fn name_of(item: &Item) -> String {
    match &item.value {
        ItemValue::Scalar(Value::String(text)) => text.clone(),
        ItemValue::Scalar(value) => value.to_string(),
        _ => String::new(),
    }
}
