//! Making references exact, and putting inputs before those who use them.

use super::item::Item;
use super::references::PointsAt;
use super::resolve::{Draft, Resolver};
use super::resolved::{Reference, Step};
use super::targets::exact;
use lyceum_components::Seeding;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

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
}
