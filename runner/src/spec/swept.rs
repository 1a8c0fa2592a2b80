//! One experiment many times, with other values and another seed: read once, resolved for every point.

use super::diagnostics::Diagnostics;
use super::item::{Item, ItemValue, Origin};
use super::layers::{self, Layers, Options};
use super::profiles::with_profiles;
use super::resolve::resolve;
use super::resolved::Resolved;
use lyceum_components::Descriptor;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A value that a point of a sweep sets, and where it stands in `[sweep]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Dotted path of what is set, as in `steps.student.optim.lr`.
    pub path: String,
    /// The value.
    pub value: Value,
    /// JSON pointer of the value, or of what it is drawn from, inside `[sweep]`.
    pub place: String,
}

/// An experiment whose layers were read and merged once.
#[derive(Debug)]
pub struct Swept {
    file: PathBuf,
    registry: &'static [Descriptor],
    options: Options,
    layers: Layers,
    /// The merged layers.
    merged: Item,
    /// The same without `[sweep]`: what points are made from.
    plain: Item,
    /// The experiment as written.
    pub base: Resolved,
}

impl Swept {
    /// Reads an experiment. It need not have a sweep.
    ///
    /// # Errors
    /// Every mistake in the experiment as written.
    pub fn load(
        file: &Path,
        registry: &'static [Descriptor],
        options: &Options,
    ) -> Result<Self, Diagnostics> {
        let mut found = Diagnostics::default();
        let (layers, merged) = layers::read(file, None, options, &mut found);
        let base = with_profiles(file, registry, options, &layers, &merged, found)?;
        let mut plain = merged.clone();
        if let ItemValue::Table(entries) = &mut plain.value {
            entries.retain(|entry| entry.key != "sweep");
        }
        Ok(Self {
            file: file.to_path_buf(),
            registry,
            options: options.clone(),
            layers,
            merged,
            plain,
            base,
        })
    }

    /// The experiment with these settings as a last layer, and without its sweep. Tables merge, everything else replaces.
    ///
    /// # Errors
    /// Every mistake, at the value in `[sweep]` that makes it where it stands there.
    pub fn point(&self, settings: &[Setting]) -> Result<Resolved, Diagnostics> {
        let mut merged = self.plain.clone();
        for setting in settings {
            let origin = self.origin(&setting.place);
            lay(&mut merged, &setting.path, &item(&setting.value, &origin));
        }
        let none = Diagnostics::default();
        resolve(
            &self.file,
            self.registry,
            &self.options,
            &self.layers,
            &merged,
            none,
        )
    }

    fn origin(&self, place: &str) -> Origin {
        let sweep = self.merged.get("sweep");
        let found = sweep.and_then(|sweep| sweep.at(place).or(Some(sweep)));
        found.map_or(Origin { layer: 0, span: 0..0 }, |item| item.origin.clone())
    }
}

/// A plain value that stands at `origin`.
fn item(value: &Value, origin: &Origin) -> Item {
    let value = match value {
        Value::Object(fields) => ItemValue::Table(
            fields
                .iter()
                .map(|(key, value)| super::item::Entry {
                    key: key.clone(),
                    key_origin: origin.clone(),
                    item: item(value, origin),
                })
                .collect(),
        ),
        Value::Array(values) => ItemValue::Array(values.iter().map(|value| item(value, origin)).collect()),
        scalar => ItemValue::Scalar(scalar.clone()),
    };
    Item {
        origin: origin.clone(),
        value,
    }
}

/// Sets what stands at a path; where both are tables, key by key.
fn lay(into: &mut Item, path: &str, over: &Item) {
    let pointer = format!("/{}", path.replace('.', "/"));
    let both_tables = into
        .at(&pointer)
        .is_some_and(|old| matches!(old.value, ItemValue::Table(_)))
        && matches!(over.value, ItemValue::Table(_));
    if both_tables {
        for entry in over.entries() {
            lay(into, &format!("{path}.{}", entry.key), &entry.item);
        }
    } else {
        into.set(path, &over.origin, over.clone());
    }
}
