//! What an experiment claims about its steps.

use super::form;
use super::grammar::Claim;
use super::item::{Item, Origin};
use super::resolve::{Draft, Resolver};
use super::schema_check::{self, Place};
use super::suggest;
use lyceum_components::Kind;
use serde::Deserialize;

/// The step and the name in a metric: `quality.loss` and, of one variant, `quality[clean].loss`.
pub(crate) fn metric_parts(metric: &str) -> (&str, &str) {
    let end = match metric.find(['[', '.']) {
        Some(at) if metric[at..].starts_with('[') => metric.find("].").map(|bracket| bracket + 1),
        at => at,
    };
    end.map_or((metric, ""), |end| (&metric[..end], &metric[end + 1..]))
}

impl Resolver<'_> {
    /// Claims are checked against what is written, so that a mistake in a step is not reported again by its claims.
    pub(super) fn claims(&mut self, merged: &Item, drafts: &[Draft<'_>]) -> Vec<Claim> {
        let mut claims = Vec::new();
        let form = form::of_section::<Claim>();
        for entry in merged.get("claims").map(Item::entries).unwrap_or_default() {
            let place = Place {
                what: "this claim".into(),
                header: &entry.key_origin,
                other_keys: &[],
            };
            if !schema_check::check(&form, &entry.item, &place, self.layers, self.found) {
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
        let unread = |name: &str| may_be_missing(name, merged, drafts);
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
        let origin = item.get("metric").map_or(&item.origin, |item| &item.origin);
        self.metric_step(&claim.metric, origin, merged, drafts);
    }

    /// The step before the dot of a metric must leave a table.
    pub(super) fn metric_step(&mut self, metric: &str, origin: &Origin, merged: &Item, drafts: &[Draft<'_>]) {
        let id = metric_parts(metric).0;
        let step = id.split('[').next().unwrap_or_default();
        let measures = |draft: &&Draft<'_>| {
            draft.params.is_none() || draft.outputs.iter().any(|output| output.kind == Kind::Table)
        };
        let mut names = drafts.iter().filter(measures).map(|draft| draft.written.name);
        if !names.clone().any(|name| name == step) && !may_be_missing(step, merged, drafts) {
            let mistake =
                self.layers
                    .mistake(origin, "unknown_step", format!("no step `{step}` leaves a table"));
            self.found.push(mistake.hint(suggest::hint(step, &mut names)));
        } else if id != step
            && !drafts.iter().any(|draft| draft.id == id)
            && !may_be_missing(step, merged, drafts)
        {
            let message = format!("no step or variant `{id}`");
            let mistake = self.layers.mistake(origin, "unknown_variant", message);
            let ids = drafts.iter().filter(measures).map(|draft| draft.id.as_str());
            self.found.push(mistake.hint(suggest::hint(id, ids)));
        }
    }
}

/// Whether a step is in the file though some or all of its variants are not among the drafts: its mistakes are noted, or
/// it is switched off by its `when`.
fn may_be_missing(name: &str, merged: &Item, drafts: &[Draft<'_>]) -> bool {
    let written = merged.get("steps").and_then(|steps| steps.get(name));
    let read = drafts.iter().any(|draft| draft.written.name == name);
    written.is_some_and(|step| !read || step.get("when").is_some())
}
