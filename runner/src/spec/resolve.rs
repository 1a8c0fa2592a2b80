//! From merged layers to a [`Resolved`] experiment: everything is checked, and every mistake is collected.

use super::confine::{absolute, confine};
use super::diagnostics::Diagnostics;
use super::form;
use super::grammar::{self, Experiment, Report, Runtime, Sweep, TOP_KEYS};
use super::item::{Item, ItemValue, Origin};
use super::layers::{self, Layers, Options};
use super::profiles::with_profiles;
use super::references::{self, PointingField};
use super::resolved::Resolved;
use super::schema_check::{self, Place};
use super::steps::{self, Written};
use super::suggest;
use lyceum_components::component::Problem;
use lyceum_components::{Descriptor, Output, Precision};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Reads, merges and checks an experiment.
///
/// # Errors
/// Every mistake found, each at its place.
pub fn load(
    file: &Path,
    registry: &'static [Descriptor],
    options: &Options,
) -> Result<Resolved, Diagnostics> {
    load_from(file, None, registry, options)
}

/// As [`load`], with what the file holds given: the file itself need not exist.
///
/// # Errors
/// Every mistake found, each at its place.
pub fn load_text(
    text: &str,
    file: &Path,
    registry: &'static [Descriptor],
    options: &Options,
) -> Result<Resolved, Diagnostics> {
    load_from(file, Some(text), registry, options)
}

fn load_from(
    file: &Path,
    text: Option<&str>,
    registry: &'static [Descriptor],
    options: &Options,
) -> Result<Resolved, Diagnostics> {
    let mut found = Diagnostics::default();
    let (layers, merged) = layers::read(file, text, options, &mut found);
    with_profiles(file, registry, options, &layers, &merged, found)
}

/// Checks merged layers. `found` has the mistakes made in reading them.
pub(super) fn resolve(
    file: &Path,
    registry: &'static [Descriptor],
    options: &Options,
    layers: &Layers,
    merged: &Item,
    mut found: Diagnostics,
) -> Result<Resolved, Diagnostics> {
    let head: Experiment = section(merged, "experiment", layers, &mut found).unwrap_or_else(|| Experiment {
        name: String::new(), // the mistake is noted; the rest is checked all the same
        title: None,
        paper: None,
        seed: 0,
        precision: Precision::default(),
    });
    let runtime: Runtime = section(merged, "runtime", layers, &mut found).unwrap_or_default();
    let mut report: Report = section(merged, "report", layers, &mut found).unwrap_or_default();
    let sweep: Option<Sweep> = section(merged, "sweep", layers, &mut found);
    for entry in merged
        .entries()
        .iter()
        .filter(|entry| !TOP_KEYS.contains(&entry.key.as_str()))
    {
        let mistake = layers.mistake(
            &entry.key_origin,
            "unknown_key",
            format!("no section `{}`", entry.key),
        );
        found.push(
            mistake
                .label("unknown section")
                .hint(suggest::hint(&entry.key, TOP_KEYS)),
        );
    }
    let allowed = options.allowed(file);
    let root = allowed[0].clone();
    check_template(merged, &mut report, layers, &allowed, &mut found);

    let nothing = Item {
        origin: merged.origin.clone(),
        value: ItemValue::Table(Vec::new()),
    };
    // A file that could not be read lacks its steps for that reason.
    let readable = found.list.is_empty() && !layers.list.is_empty();
    let steps = merged.get("steps");
    if let Some(steps) = steps.filter(|steps| !matches!(steps.value, ItemValue::Table(_))) {
        let mistake = layers.mistake(&steps.origin, "wrong_type", "`steps` wants tables by name");
        found.push(mistake.label("expected tables, as in `[steps.text]`"));
    } else if readable && steps.is_none_or(|steps| steps.entries().is_empty()) {
        let start = Origin { layer: 0, span: 0..0 };
        let hint = "add one, as in `[steps.text]` with `use = \"corpus.text\"`";
        found.push(
            layers
                .mistake(&start, "missing_key", "there are no `[steps]`")
                .hint(Some(hint.into())),
        );
    }
    let written = steps::read(
        merged.get("steps").unwrap_or(&nothing),
        registry,
        layers,
        &mut found,
    );
    let mut resolver = Resolver {
        layers,
        head: &head,
        runtime: &runtime,
        options,
        allowed,
        found: &mut found,
    };
    let drafts: Vec<Draft<'_>> = written.iter().flat_map(|step| resolver.drafts(step)).collect();
    let claims = resolver.claims(merged, &drafts);
    if let Some(sweep) = &sweep {
        resolver.sweep(sweep, merged, &drafts);
    }
    let steps = resolver.link(drafts, merged);
    found.finish()?;
    let merged = merged.to_json();
    Ok(Resolved {
        experiment: head,
        runtime,
        steps,
        claims,
        report,
        sweep,
        root,
        file: absolute(file),
        merged,
    })
}

/// Checks and reads a section; `None` where it is missing or wrong.
fn section<T: DeserializeOwned + schemars::JsonSchema + 'static>(
    merged: &Item,
    name: &str,
    layers: &Layers,
    found: &mut Diagnostics,
) -> Option<T> {
    let Some(entry) = merged.entry(name) else {
        if name == "experiment" {
            let start = Origin { layer: 0, span: 0..0 };
            let mistake = layers
                .list
                .first()
                .map(|_| layers.mistake(&start, "missing_key", "there is no `[experiment]`"));
            let hint = Some("begin with `[experiment]` and `name = \"…\"`".to_owned());
            if let Some(mistake) = mistake {
                found.push(mistake.hint(hint));
            }
        }
        return None;
    };
    let place = Place {
        what: format!("`[{name}]`"),
        header: &entry.key_origin,
        other_keys: &[],
    };
    if !schema_check::check(&form::of_section::<T>(), &entry.item, &place, layers, found) {
        return None;
    }
    match T::deserialize(entry.item.to_json()) {
        Ok(section) => Some(section),
        Err(error) => {
            found.push(layers.mistake(&entry.key_origin, "bad_value", format!("`[{name}]`: {error}")));
            None
        }
    }
}

/// Checks the template: one of ours by name, or a file of the user's own, whose path is made absolute.
fn check_template(
    merged: &Item,
    report: &mut Report,
    layers: &Layers,
    allowed: &[PathBuf],
    found: &mut Diagnostics,
) {
    let Some(item) = merged.get("report").and_then(|section| section.get("template")) else {
        return;
    };
    let name = &report.template;
    let refuse = |code, message: String| layers.mistake(&item.origin, code, message);
    if crate::report::is_own_template(name) {
        match confine(name, &layers.list[item.origin.layer].folder, allowed) {
            None => {
                let mistake = refuse("outside_root", format!("`{name}` lies outside the root"));
                found.push(mistake.hint(Some(
                    "put the template inside, or name its folder with `--allow DIR`".into(),
                )));
            }
            Some(path) if !path.is_file() => {
                let mistake = refuse("missing_file", format!("there is no file `{name}`"));
                let hint = format!(
                    "paths are relative to the file that names them: looked for {}",
                    path.display()
                );
                found.push(mistake.hint(Some(hint)));
            }
            Some(path) => report.template = path.to_string_lossy().into_owned(),
        }
    } else if !crate::report::TEMPLATES.contains(&name.as_str()) {
        let mistake = refuse("unknown_value", format!("no template `{name}`"));
        found.push(mistake.hint(suggest::hint(name, crate::report::TEMPLATES.iter().copied())));
    }
}

/// One variant of a step before its references are exact.
pub(super) struct Draft<'a> {
    pub(super) written: &'a Written<'a>,
    pub(super) id: String,
    pub(super) names: Vec<String>,
    pub(super) item: Item,
    /// Parameters with defaults; none if they are wrong, which is noted already.
    pub(super) params: Option<Value>,
    pub(super) outputs: Vec<Output>,
    pub(super) fields: Vec<PointingField>,
    pub(super) runtime: Vec<String>,
}

pub(super) struct Resolver<'a> {
    pub(super) layers: &'a Layers,
    pub(super) head: &'a Experiment,
    pub(super) runtime: &'a Runtime,
    pub(super) options: &'a Options,
    pub(super) allowed: Vec<PathBuf>,
    pub(super) found: &'a mut Diagnostics,
}

impl Resolver<'_> {
    /// The variants of a step that exist, checked against the component's schema.
    fn drafts<'w>(&mut self, written: &'w Written<'w>) -> Vec<Draft<'w>> {
        let component = written.component;
        let form = form::of_component(component);
        let mut drafts = Vec::new();
        for variant in &written.variants {
            let item = written.params(variant);
            let place = Place {
                what: format!("step `{}` ({})", written.name, component.name),
                header: written.header,
                other_keys: &grammar::STEP_KEYS,
            };
            if !self.exists(written, &item) {
                // What is missing or points nowhere may come with what switches it on.
                schema_check::check_keys(&form, &item, &place, self.layers, self.found);
                continue;
            }
            let valid = schema_check::check(&form, &item, &place, self.layers, self.found);
            let json = item.to_json();
            let mut params = None;
            let mut outputs = Vec::new();
            // A null stands for a value that was refused when it was read.
            if valid && !has_null(&json) {
                match (component.resolve)(&json).and_then(|full| Ok(((component.outputs)(&full)?, full))) {
                    Ok((all, full)) => {
                        self.component_check(written, &item, &full);
                        outputs = all;
                        params = Some(full);
                    }
                    Err(error) => self.found.push(self.layers.mistake(
                        written.header,
                        "bad_value",
                        format!("step `{}`: {error}", written.name),
                    )),
                }
            }
            let fields = references::find(&form.schema, &json);
            let runtime = references::runtime_fields(&form.schema);
            drafts.push(Draft {
                written,
                id: written.id(variant),
                names: variant.names.clone(),
                item,
                params,
                outputs,
                fields,
                runtime,
            });
        }
        drafts
    }

    fn component_check(&mut self, written: &Written<'_>, item: &Item, params: &Value) {
        let found = (written.component.check)(params).unwrap_or_default();
        self.tell(written, item, found);
    }

    /// Puts a component's complaints where they belong.
    pub(super) fn tell(&mut self, written: &Written<'_>, item: &Item, found: Vec<Problem>) {
        for problem in found {
            let pointer = format!("/{}", problem.field.replace('.', "/"));
            let origin = std::iter::successors(Some(pointer.as_str()), |p| {
                p.rsplit_once('/').map(|(parent, _)| parent)
            })
            .filter(|pointer| !pointer.is_empty())
            .find_map(|pointer| item.at(pointer))
            .map_or(written.header, |item| &item.origin);
            self.found.push(
                self.layers
                    .mistake(origin, problem.code, problem.message)
                    .hint(problem.hint),
            );
        }
    }

    /// Judges `when`: an expression over `seed`, `precision`, `device`, `profile` and the step's parameters.
    fn exists(&mut self, written: &Written<'_>, item: &Item) -> bool {
        let Some((text, origin)) = written.when else {
            return true;
        };
        let mut environment = minijinja::Environment::new();
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        environment.set_fuel(Some(10_000));
        let names = serde_json::json!({
            "seed": self.head.seed,
            "precision": self.head.precision,
            "device": self.runtime.device,
            "profile": self.options.profile,
            "params": item.to_json(),
        });
        let judged = environment
            .compile_expression(text)
            .and_then(|expression| expression.eval(lyceum_components::template::from_json(&names)));
        let judged = match judged {
            Ok(value) if value.kind() == minijinja::value::ValueKind::Bool => Ok(value.is_true()),
            Ok(value) => Err(format!("expected true or false, found {}", value.kind())),
            Err(error) => Err(error.to_string().replace(" (in <expression>:1)", "")),
        };
        match judged {
            Ok(exists) => exists,
            Err(error) => {
                let message = format!("`when` of step `{}`: {error}", written.name);
                let hint = "it knows `seed`, `precision`, `device`, `profile` and `params`";
                self.found.push(
                    self.layers
                        .mistake(origin, "bad_condition", message)
                        .hint(Some(hint.into())),
                );
                true
            }
        }
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().any(has_null),
        Value::Object(object) => object.values().any(has_null),
        _ => false,
    }
}
