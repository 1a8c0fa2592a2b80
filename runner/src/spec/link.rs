//! Making references exact, and putting inputs before those who use them.

use super::confine::{HINT, confine};
use super::item::{Item, Origin};
use super::references::{self, PointingField, PointsAt};
use super::resolve::{Draft, Resolver};
use super::resolved::{FileUse, Reference, Step};
use super::suggest;
use lyceum_components::tasks::Task;
use lyceum_components::{Error, Output, Seeding};
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

impl Resolver<'_> {
    /// Makes references exact and puts inputs before those who use them.
    pub(super) fn link(&mut self, drafts: Vec<Draft<'_>>, merged: &Item) -> Vec<Step> {
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
        let mut waits: Vec<usize> = wanted.iter().map(Vec::len).collect();
        let mut users = vec![Vec::new(); drafts.len()];
        for (i, inputs) in wanted.iter().enumerate() {
            for &j in inputs {
                users[j].push(i);
            }
        }
        let free = (0..drafts.len()).filter(|&i| waits[i] == 0).map(Reverse);
        let mut ready: BinaryHeap<_> = free.collect();
        while let Some(Reverse(next)) = ready.pop() {
            placed[next] = true;
            order.push(next);
            for &user in &users[next] {
                waits[user] -= 1;
                if waits[user] == 0 {
                    ready.push(Reverse(user));
                }
            }
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
            self.found.push(
                self.layers
                    .mistake(drafts[at].written.header, "cycle", message)
                    .hint(Some("one of them must take something else".into())),
            );
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
                PointsAt::Task => files.extend(self.task(field, origin)),
                PointsAt::Folder { endings } => files.extend(self.folder(field, endings, origin)),
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
        if let Some(params) = &params {
            let kind = |text: &str| {
                let reference = all.iter().find(|reference| reference.text == text)?;
                let target = drafts.iter().find(|draft| draft.id == reference.step)?;
                let output = target
                    .outputs
                    .iter()
                    .find(|output| output.name == reference.output)?;
                Some(output.kind)
            };
            let found = (written.component.check_inputs)(params, &kind).unwrap_or_default();
            self.tell(written, &draft.item, found);
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
            shards: written.shards,
            precision: written.precision.unwrap_or(self.head.precision),
            references: all,
            files,
            outputs: draft.outputs.clone(),
            runtime: draft.runtime.clone(),
        })
    }

    /// Where a named file or folder lies, if it is inside the root.
    fn place(&mut self, field: &PointingField, origin: &Origin) -> Option<PathBuf> {
        if field.text.is_empty() {
            return None; // the schema has said so
        }
        let folder = &self.layers.list[origin.layer].folder;
        let place = confine(&field.text, folder, &self.allowed);
        if place.is_none() {
            let message = format!("`{}` lies outside the root", field.text);
            self.found.push(
                self.layers
                    .mistake(origin, "outside_root", message)
                    .hint(Some(HINT.into())),
            );
        }
        place
    }

    fn missing(&mut self, what: String, path: &Path, origin: &Origin) {
        let hint = format!(
            "paths are relative to the file that names them: looked for {}",
            path.display()
        );
        let mistake = self.layers.mistake(origin, "missing_file", what);
        self.found.push(mistake.hint(Some(hint)));
    }

    fn file(&mut self, field: &PointingField, origin: &Origin) -> Option<FileUse> {
        let path = self.place(field, origin)?;
        if !self.options.assume && !path.is_file() {
            self.missing(format!("there is no file `{}`", field.text), &path, origin);
            return None;
        }
        Some(FileUse {
            pointer: field.pointer.clone(),
            written: field.text.clone(),
            path,
            member: None,
        })
    }

    /// A task file, and the data files that it names.
    fn task(&mut self, field: &PointingField, origin: &Origin) -> Vec<FileUse> {
        let Some(file) = self.file(field, origin) else {
            return Vec::new();
        };
        let found = match Task::data_files(&file.path, self.options.data()) {
            Ok(found) => found,
            Err(_) if self.options.assume => Vec::new(),
            Err(error) => {
                let (code, hint) = match &error {
                    Error::Data(error) => (error.code, error.hint.clone()),
                    other => (other.code(), None),
                };
                let mistake = self.layers.mistake(origin, code, error.to_string());
                self.found.push(mistake.hint(hint));
                Vec::new()
            }
        };
        let mut files = vec![file];
        for (number, path) in found.into_iter().enumerate() {
            let written = path.to_string_lossy().into_owned();
            let data = PointingField {
                text: written.clone(),
                ..field.clone()
            };
            if let Some(path) = self.place(&data, origin) {
                files.push(FileUse {
                    pointer: field.pointer.clone(),
                    written,
                    path,
                    member: Some(format!("data {number}")),
                });
            }
        }
        files
    }

    /// The files of a folder that have one of the endings, by name.
    fn folder(&mut self, field: &PointingField, endings: &[String], origin: &Origin) -> Vec<FileUse> {
        let Some(path) = self.place(field, origin) else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(&path) else {
            if !self.options.assume {
                self.missing(format!("there is no folder `{}`", field.text), &path, origin);
            }
            return Vec::new();
        };
        let ending = |path: &PathBuf| path.extension().and_then(OsStr::to_str).map(str::to_owned);
        let wanted =
            |path: &PathBuf| path.is_file() && ending(path).is_some_and(|end| endings.contains(&end));
        let mut members: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(wanted)
            .collect();
        members.sort();
        if members.is_empty() {
            self.missing(
                format!(
                    "the folder `{}` has no file that ends in .{}",
                    field.text,
                    endings.join(" or .")
                ),
                &path,
                origin,
            );
        }
        let member = |path: PathBuf| FileUse {
            pointer: field.pointer.clone(),
            written: field.text.clone(),
            member: path.file_name().map(|name| name.to_string_lossy().into_owned()),
            path,
        };
        members.into_iter().map(member).collect()
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
                    Some("give this step the same `when`, or take another input".into()),
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
            let hint = if variants.iter().all(String::is_empty) {
                Some(format!("it has no variants: write `@{}`", parts.step))
            } else {
                suggest::hint(name, variants.iter().map(String::as_str))
            };
            return refuse("unknown_variant", message, hint);
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
                    "`{}` is of kind {}; expected {}",
                    field.text,
                    output.kind.name(),
                    kinds.join(" or ")
                );
                let fitting = drafts.iter().flat_map(|draft| {
                    let fits = |output: &&Output| kinds.iter().any(|kind| kind == output.kind.name());
                    draft
                        .outputs
                        .iter()
                        .filter(fits)
                        .map(|output| exact(&draft.id, &output.name))
                });
                let fitting: Vec<String> = fitting.take(5).map(|text| format!("`{text}`")).collect();
                let hint = (!fitting.is_empty()).then(|| format!("these would do: {}", fitting.join(", ")));
                return refuse("wrong_kind", message, hint);
            }
            targets.push((target, output.name.clone()));
        }
        targets
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
