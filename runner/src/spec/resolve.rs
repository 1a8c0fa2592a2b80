//! From merged layers to a [`Resolved`] experiment: everything is checked, and every mistake is collected.

use super::confine::{absolute, confine, find_root};
use super::diagnostics::Diagnostics;
use super::grammar::{self, Claim, Experiment, Report, Runtime, Sweep, TOP_KEYS};
use super::item::{Item, ItemValue, Origin};
use super::layers::{self, Layers, Options};
use super::references::{self, PointingField, PointsAt};
use super::resolved::{FileUse, Reference, Resolved, Step};
use super::schema_check::{self, Place, simplify};
use super::steps::{self, Written};
use super::suggest;
use lyceum_components::{Descriptor, Kind, Output, Precision, Seeding};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
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
    let mut found = Diagnostics::default();
    let (layers, merged) = layers::read(file, options, &mut found);
    let head: Experiment =
        section(&merged, "experiment", &layers, &mut found).unwrap_or_else(|| Experiment {
            name: String::new(), // the mistake is noted; the rest is checked all the same
            title: None,
            paper: None,
            seed: 0,
            precision: Precision::default(),
        });
    let runtime: Runtime = section(&merged, "runtime", &layers, &mut found).unwrap_or_default();
    let report: Report = section(&merged, "report", &layers, &mut found).unwrap_or_default();
    check_template(&merged, &report, &layers, &mut found);
    let sweep: Option<Sweep> = section(&merged, "sweep", &layers, &mut found);
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
    let root = find_root(file);
    let mut allowed = vec![root.clone()];
    allowed.extend(options.allow.iter().cloned());
    let data = options.environment.iter().find(|(key, _)| key == "LYCEUM_DATA");
    allowed.extend(data.map(|(_, folder)| PathBuf::from(folder)));

    let nothing = Item {
        origin: merged.origin.clone(),
        value: ItemValue::Table(Vec::new()),
    };
    // A file that could not be read lacks its steps for that reason.
    let readable = found.list.is_empty() && !layers.list.is_empty();
    if readable && merged.get("steps").is_none_or(|steps| steps.entries().is_empty()) {
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
        &layers,
        &mut found,
    );
    let mut resolver = Resolver {
        layers: &layers,
        head: &head,
        runtime: &runtime,
        options,
        allowed,
        found: &mut found,
    };
    let drafts: Vec<Draft<'_>> = written.iter().flat_map(|step| resolver.drafts(step)).collect();
    let claims = resolver.claims(&merged, &drafts);
    let steps = resolver.link(drafts, &merged);
    let sweep_paths = sweep
        .iter()
        .flat_map(|sweep| sweep.grid.keys().chain(sweep.zip.keys()));
    for path in sweep_paths {
        resolver.sweep_path(path, &merged);
    }
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
fn section<T: DeserializeOwned + schemars::JsonSchema>(
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
    let before = found.list.len();
    let place = Place {
        what: format!("`[{name}]`"),
        header: &entry.key_origin,
        other_keys: &[],
    };
    schema_check::check(&grammar::schema_of::<T>(), &entry.item, &place, layers, found);
    if found.list.len() > before {
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

fn check_template(merged: &Item, report: &Report, layers: &Layers, found: &mut Diagnostics) {
    if let Some(item) = merged.get("report").and_then(|section| section.get("template"))
        && !crate::report::TEMPLATES.contains(&report.template.as_str())
    {
        let mistake = layers.mistake(
            &item.origin,
            "unknown_value",
            format!("no template `{}`", report.template),
        );
        found.push(mistake.hint(suggest::hint(
            &report.template,
            crate::report::TEMPLATES.iter().copied(),
        )));
    }
}

/// One variant of a step before its references are exact.
struct Draft<'a> {
    written: &'a Written<'a>,
    id: String,
    names: Vec<String>,
    item: Item,
    /// Parameters with defaults; none if they are wrong, which is noted already.
    params: Option<Value>,
    outputs: Vec<Output>,
    fields: Vec<PointingField>,
}

struct Resolver<'a> {
    layers: &'a Layers,
    head: &'a Experiment,
    runtime: &'a Runtime,
    options: &'a Options,
    allowed: Vec<PathBuf>,
    found: &'a mut Diagnostics,
}

impl Resolver<'_> {
    /// The variants of a step that exist, checked against the component's schema.
    fn drafts<'w>(&mut self, written: &'w Written<'w>) -> Vec<Draft<'w>> {
        let component = written.component;
        let mut schema = (component.schema)();
        simplify(&mut schema);
        let mut drafts = Vec::new();
        for variant in &written.variants {
            let item = written.params(variant);
            if !self.exists(written, &item) {
                continue;
            }
            let before = self.found.list.len();
            let what = format!("step `{}` ({})", written.name, component.name);
            let place = Place {
                what,
                header: written.header,
                other_keys: &grammar::STEP_KEYS,
            };
            schema_check::check(&schema, &item, &place, self.layers, self.found);
            let json = item.to_json();
            let mut params = None;
            let mut outputs = Vec::new();
            // A null stands for a value that was refused when it was read.
            if self.found.list.len() == before && !has_null(&json) {
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
            let fields = references::find(&schema, &json);
            drafts.push(Draft {
                written,
                id: written.id(variant),
                names: variant.names.clone(),
                item,
                params,
                outputs,
                fields,
            });
        }
        drafts
    }

    fn component_check(&mut self, written: &Written<'_>, item: &Item, params: &Value) {
        for problem in (written.component.check)(params).unwrap_or_default() {
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
            .and_then(|expression| expression.eval(crate::template_value::from_json(&names)));
        let judged = match judged {
            Ok(value) if value.kind() == minijinja::value::ValueKind::Bool => Ok(value.is_true()),
            Ok(value) => Err(format!("expected true or false, found {}", value.kind())),
            Err(error) => Err(error.to_string()),
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

    /// Makes references exact and puts inputs before those who use them.
    fn link(&mut self, drafts: Vec<Draft<'_>>, merged: &Item) -> Vec<Step> {
        let mut steps: Vec<Option<Step>> = Vec::new();
        let mut wanted: Vec<Vec<usize>> = Vec::new();
        for draft in &drafts {
            let mut inputs = Vec::new();
            let step = self.step(draft, &drafts, merged, &mut inputs);
            inputs.sort_unstable();
            inputs.dedup();
            steps.push(step);
            wanted.push(inputs);
        }
        let order = self.order(&drafts, &wanted);
        order.into_iter().filter_map(|i| steps[i].take()).collect()
    }

    /// A topological order that otherwise keeps the file's; a cycle is a mistake.
    fn order(&mut self, drafts: &[Draft<'_>], wanted: &[Vec<usize>]) -> Vec<usize> {
        let mut order = Vec::new();
        let mut placed = vec![false; drafts.len()];
        while let Some(next) = (0..drafts.len()).find(|&i| !placed[i] && wanted[i].iter().all(|&j| placed[j]))
        {
            placed[next] = true;
            order.push(next);
        }
        if let Some(start) = placed.iter().position(|placed| !placed) {
            // Every step left waits for another step left: following the first such wish ends in a cycle.
            let next = |i: usize| wanted[i].iter().copied().find(|&j| !placed[j]).unwrap_or(i);
            let mut seen = vec![start];
            let mut at = next(start);
            while !seen.contains(&at) {
                seen.push(at);
                at = next(at);
            }
            let cycle: Vec<&str> = seen
                .iter()
                .skip_while(|&&i| i != at)
                .map(|&i| drafts[i].id.as_str())
                .collect();
            let message = format!("steps wait for each other: {} → {}", cycle.join(" → "), cycle[0]);
            self.found
                .push(self.layers.mistake(drafts[at].written.header, "cycle", message));
        }
        order
    }

    fn step(
        &mut self,
        draft: &Draft<'_>,
        drafts: &[Draft<'_>],
        merged: &Item,
        inputs: &mut Vec<usize>,
    ) -> Option<Step> {
        let written = draft.written;
        let mut params = draft.params.clone();
        let mut all = Vec::new();
        let mut files = Vec::new();
        let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for field in &draft.fields {
            let origin = draft
                .item
                .at(&field.pointer)
                .map_or(written.header, |item| &item.origin);
            match &field.target {
                PointsAt::File => files.extend(self.file(field, origin)),
                PointsAt::Artifact { kinds, many } => {
                    let found = self.targets(field, kinds, many.is_some(), origin, drafts, merged);
                    let exact: Vec<String> = found
                        .iter()
                        .map(|(target, output)| exact(&drafts[*target].id, output))
                        .collect();
                    for ((target, output), text) in found.iter().zip(&exact) {
                        inputs.push(*target);
                        all.push(Reference {
                            pointer: many.clone().unwrap_or_else(|| field.pointer.clone()),
                            text: text.clone(),
                            step: drafts[*target].id.clone(),
                            output: output.clone(),
                            many: many.is_some(),
                        });
                    }
                    match (many, exact.first()) {
                        (Some(whole), _) => lists.entry(whole.clone()).or_default().extend(exact),
                        (None, Some(text)) => {
                            if let Some(place) = params
                                .as_mut()
                                .and_then(|params| params.pointer_mut(&field.pointer))
                            {
                                *place = Value::String(text.clone());
                            }
                        }
                        (None, None) => {}
                    }
                }
            }
        }
        for (pointer, texts) in lists {
            for reference in all.iter_mut().filter(|reference| reference.pointer == pointer) {
                let at = texts
                    .iter()
                    .position(|text| *text == reference.text)
                    .unwrap_or_default();
                reference.pointer = format!("{pointer}/{at}");
            }
            if let Some(place) = params.as_mut().and_then(|params| params.pointer_mut(&pointer)) {
                *place = Value::from(texts);
            }
        }
        let seed = match written.component.seeding {
            Seeding::None => None,
            Seeding::Fixed => Some(written.seed.unwrap_or(0)),
            Seeding::Experiment => Some(written.seed.unwrap_or(self.head.seed)),
        };
        Some(Step {
            id: draft.id.clone(),
            name: written.name.to_owned(),
            variant: draft.names.clone(),
            component: written.component,
            params: params?,
            seed,
            precision: written.precision.unwrap_or(self.head.precision),
            references: all,
            files,
            outputs: draft.outputs.clone(),
        })
    }

    fn file(&mut self, field: &PointingField, origin: &Origin) -> Option<FileUse> {
        let folder = &self.layers.list[origin.layer].folder;
        let Some(path) = confine(&field.text, folder, &self.allowed) else {
            let message = format!("`{}` lies outside the root", field.text);
            let hint = "put it inside, name its folder with `--allow DIR`, or set LYCEUM_DATA";
            self.found.push(
                self.layers
                    .mistake(origin, "outside_root", message)
                    .hint(Some(hint.into())),
            );
            return None;
        };
        if !self.options.assume && !path.is_file() {
            let message = format!("there is no file `{}`", field.text);
            let hint = format!(
                "paths are relative to the file that names them: looked for {}",
                path.display()
            );
            self.found.push(
                self.layers
                    .mistake(origin, "missing_file", message)
                    .hint(Some(hint)),
            );
            return None;
        }
        Some(FileUse {
            pointer: field.pointer.clone(),
            written: field.text.clone(),
            path,
        })
    }

    /// What a reference names: (draft, output) pairs. Several only where `many` are wanted.
    fn targets(
        &mut self,
        field: &PointingField,
        kinds: &[String],
        many: bool,
        origin: &Origin,
        drafts: &[Draft<'_>],
        merged: &Item,
    ) -> Vec<(usize, String)> {
        let mut refuse = |code, message: String, hint: Option<String>| {
            self.found
                .push(self.layers.mistake(origin, code, message).hint(hint));
            Vec::new()
        };
        let Some(parts) = references::parts(&field.text) else {
            if !field.text.starts_with('@') {
                return Vec::new(); // the schema's pattern has said so
            }
            let message = format!("`{}` is not a reference", field.text);
            return refuse(
                "not_a_reference",
                message,
                Some("write `\"@step\"`, `\"@step.output\"`, `\"@step[variant]\"`".into()),
            );
        };
        let of_step: Vec<usize> = (0..drafts.len())
            .filter(|&i| drafts[i].written.name == parts.step)
            .collect();
        if of_step.is_empty() {
            let steps = merged.get("steps").map(Item::entries).unwrap_or_default();
            if steps.iter().any(|entry| entry.key == parts.step) {
                let off = steps
                    .iter()
                    .any(|e| e.key == parts.step && e.item.get("when").is_some());
                if !off || many {
                    return Vec::new(); // its own mistakes are noted, or it is switched off where a list is wanted
                }
                return refuse(
                    "switched_off",
                    format!("step `{}` is switched off by its `when`", parts.step),
                    None,
                );
            }
            let names = steps.iter().map(|entry| entry.key.as_str());
            return refuse(
                "unknown_step",
                format!("no step `{}`", parts.step),
                suggest::hint(parts.step, names),
            );
        }
        let variants: Vec<String> = of_step.iter().map(|&i| drafts[i].names.join(",")).collect();
        let chosen: Vec<usize> = match parts.variant {
            Some(name) => of_step
                .iter()
                .copied()
                .filter(|&i| drafts[i].names.join(",") == name)
                .collect(),
            None => of_step.clone(),
        };
        if chosen.is_empty() {
            let name = parts.variant.unwrap_or_default();
            let message = format!("step `{}` has no variant `{name}`", parts.step);
            return refuse(
                "unknown_variant",
                message,
                suggest::hint(name, variants.iter().map(String::as_str)),
            );
        }
        if chosen.len() > 1 && !many {
            let message = format!(
                "step `{}` has {} variants, and one is wanted here",
                parts.step,
                chosen.len()
            );
            let names: Vec<String> = variants
                .iter()
                .map(|name| format!("`@{}[{name}]`", parts.step))
                .collect();
            return refuse(
                "ambiguous_variant",
                message,
                Some(format!("name one of {}", names.join(", "))),
            );
        }
        let wanted = parts.output.unwrap_or_default();
        let mut targets = Vec::new();
        for target in chosen {
            let draft = &drafts[target];
            if draft.params.is_none() {
                continue; // its own mistakes are noted
            }
            let Some(output) = draft.outputs.iter().find(|output| output.name == wanted) else {
                let names: Vec<String> = draft
                    .outputs
                    .iter()
                    .map(|output| exact(parts.step, &output.name))
                    .collect();
                let hint = format!(
                    "it leaves {}",
                    names
                        .iter()
                        .map(|name| format!("`{name}`"))
                        .collect::<Vec<_>>()
                        .join(", ")
                );
                let message = if wanted.is_empty() {
                    format!("step `{}` has several outputs, and one must be named", parts.step)
                } else {
                    format!("step `{}` has no output `{wanted}`", parts.step)
                };
                return refuse("unknown_output", message, Some(hint));
            };
            if !kinds.iter().any(|kind| kind == output.kind.name()) {
                let message = format!(
                    "`{}` is a {}, not a {}",
                    field.text,
                    output.kind.name(),
                    kinds.join(" or a ")
                );
                return refuse("wrong_kind", message, None);
            }
            targets.push((target, output.name.clone()));
        }
        targets
    }

    /// Claims are checked against what is written, so that a mistake in a step is not reported again by its claims.
    fn claims(&mut self, merged: &Item, drafts: &[Draft<'_>]) -> Vec<Claim> {
        let mut claims = Vec::new();
        let schema = grammar::schema_of::<Claim>();
        for entry in merged.get("claims").map(Item::entries).unwrap_or_default() {
            let before = self.found.list.len();
            let place = Place {
                what: "this claim".into(),
                header: &entry.key_origin,
                other_keys: &[],
            };
            schema_check::check(&schema, &entry.item, &place, self.layers, self.found);
            if self.found.list.len() > before {
                continue;
            }
            let Ok(claim) = Claim::deserialize(entry.item.to_json()) else {
                continue;
            };
            self.claim_names(&claim, &entry.item, merged, drafts);
            claims.push(claim);
        }
        claims
    }

    fn claim_names(&mut self, claim: &Claim, item: &Item, merged: &Item, drafts: &[Draft<'_>]) {
        // A step that could not be read is in the file but among no drafts; its mistakes are noted.
        let unread = |name: &str| {
            let written = merged.get("steps").is_some_and(|steps| steps.get(name).is_some());
            written && !drafts.iter().any(|draft| draft.written.name == name)
        };
        for (key, id) in [("better", &claim.better), ("than", &claim.than)] {
            let name = id.split('[').next().unwrap_or_default();
            if !drafts.iter().any(|draft| draft.id == *id) && !unread(name) {
                let origin = item.get(key).map_or(&item.origin, |item| &item.origin);
                let mistake =
                    self.layers
                        .mistake(origin, "unknown_variant", format!("no step or variant `{id}`"));
                let names = drafts.iter().map(|draft| draft.id.as_str());
                self.found.push(mistake.hint(suggest::hint(id, names)));
            }
        }
        let step = claim.metric.split('.').next().unwrap_or_default();
        let measures = |draft: &&Draft<'_>| {
            draft.params.is_none() || draft.outputs.iter().any(|output| output.kind == Kind::Table)
        };
        if !drafts
            .iter()
            .filter(measures)
            .any(|draft| draft.written.name == step)
            && !unread(step)
        {
            let origin = item.get("metric").map_or(&item.origin, |item| &item.origin);
            let names = drafts.iter().filter(measures).map(|draft| draft.written.name);
            let mistake =
                self.layers
                    .mistake(origin, "unknown_step", format!("no step `{step}` leaves a table"));
            self.found.push(mistake.hint(suggest::hint(step, names)));
        }
    }

    /// A path of the sweep must begin with something that exists.
    fn sweep_path(&mut self, path: &str, merged: &Item) {
        let exists = match path.split('.').collect::<Vec<_>>()[..] {
            ["steps", step, _, ..] => merged.at(&format!("/steps/{step}")).is_some(),
            ["experiment", _] => true,
            _ => false,
        };
        if !exists {
            let sweep = merged.get("sweep");
            let mut axes = sweep
                .into_iter()
                .flat_map(|sweep| ["grid", "zip"].map(|kind| sweep.get(kind)))
                .flatten();
            if let Some(entry) = axes.find_map(|axis| axis.entry(path)) {
                let mistake = self.layers.mistake(
                    &entry.key_origin,
                    "unknown_path",
                    format!("nothing stands at `{path}`"),
                );
                self.found.push(mistake.label("expected `steps.NAME.KEY`"));
            }
        }
    }
}

/// `@id` or `@id.output`.
fn exact(id: &str, output: &str) -> String {
    if output.is_empty() {
        format!("@{id}")
    } else {
        format!("@{id}.{output}")
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
