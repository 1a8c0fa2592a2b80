//! What an experiment says about its steps besides them: claims, and the paths of a sweep.

use super::grammar::{self, Claim};
use super::item::Item;
use super::resolve::{Draft, Resolver};
use super::schema_check::{self, Place};
use super::suggest;
use lyceum_components::Kind;
use serde::Deserialize;

impl Resolver<'_> {
    /// Claims are checked against what is written, so that a mistake in a step is not reported again by its claims.
    pub(super) fn claims(&mut self, merged: &Item, drafts: &[Draft<'_>]) -> Vec<Claim> {
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
    pub(super) fn sweep_path(&mut self, path: &str, merged: &Item) {
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
