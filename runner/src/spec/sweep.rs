//! What `[sweep]` may say.

use super::document::DEEPEST;
use super::grammar::{RandomSearch, Sweep};
use super::item::{Entry, Item, ItemValue};
use super::resolve::{Draft, Resolver};
use super::suggest;

/// More points than this are taken for a mistake.
const MOST_POINTS: u64 = 100_000;

impl Sweep {
    /// How many points are declared, before equal ones are taken together; none if the number is beyond counting.
    pub fn count(&self) -> Option<u64> {
        let zipped = self.zip.values().next().map_or(1, |values| values.len() as u64);
        let listed = self.list.len().max(1) as u64;
        let seeds = self.seeds.len().max(1) as u64;
        let drawn = self.random.as_ref().map_or(1, |random| random.points);
        let axes = self.grid.values().map(|values| values.len() as u64);
        axes.chain([zipped, listed, seeds, drawn])
            .try_fold(1, |all: u64, one| all.checked_mul(one))
    }
}

impl Resolver<'_> {
    /// Checks paths, lengths, bounds and the number of points.
    pub(super) fn sweep(&mut self, sweep: &Sweep, merged: &Item, drafts: &[Draft<'_>]) {
        let Some(header) = merged.entry("sweep") else {
            return;
        };
        let written = &header.item;
        let table = |name: &str| written.get(name).map(Item::entries).unwrap_or_default();
        let random = written.get("random");
        let ranges = random.and_then(|random| random.get("ranges"));
        let ranges = ranges.map(Item::entries).unwrap_or_default();
        let list: &[Item] = match written.get("list").map(|list| &list.value) {
            Some(ItemValue::Array(entries)) => entries,
            _ => &[],
        };
        let kinds = [table("grid"), table("zip"), ranges];
        for entry in kinds
            .into_iter()
            .flatten()
            .chain(list.iter().flat_map(Item::entries))
        {
            self.sweep_path(entry, merged);
        }
        // Entries of the list may share paths; every other path is set in one place.
        let mut seen: Vec<&str> = Vec::new();
        for entry in kinds.into_iter().flatten() {
            self.set_once(entry, &seen);
            seen.push(&entry.key);
        }
        for entry in list.iter().flat_map(Item::entries) {
            self.set_once(entry, &seen);
        }
        self.lengths(table("grid"), table("zip"));
        if let (Some(random), Some(item)) = (&sweep.random, random) {
            self.bounds(random, item, ranges);
        }
        if let (Some(metric), Some(item)) = (&sweep.metric, written.get("metric")) {
            self.metric_step(metric, &item.origin, merged, drafts);
        }
        let count = sweep.count();
        if count.is_none_or(|count| count > MOST_POINTS) {
            let count = count.map_or("far too many".to_owned(), |count| count.to_string());
            let message = format!("the sweep has {count} points");
            let mistake = self
                .layers
                .mistake(&header.key_origin, "too_many_points", message);
            self.found
                .push(mistake.label(format!("expected at most {MOST_POINTS}")));
        }
    }

    fn set_once(&mut self, entry: &Entry, seen: &[&str]) {
        if seen.contains(&entry.key.as_str()) {
            let message = format!("`{}` is swept twice", entry.key);
            self.found
                .push(self.layers.mistake(&entry.key_origin, "swept_twice", message));
        }
    }

    /// A path must begin with something that exists, and be something that tells points apart.
    fn sweep_path(&mut self, entry: &Entry, merged: &Item) {
        let parts: Vec<&str> = entry.key.split('.').collect();
        if parts.len() > DEEPEST {
            let message = format!("a swept path is more than {DEEPEST} tables deep");
            self.found
                .push(self.layers.mistake(&entry.key_origin, "too_deep", message));
        }
        let steps = merged.get("steps").map(Item::entries).unwrap_or_default();
        let hint = match parts[..] {
            ["steps", step, _, ..] if steps.iter().any(|known| known.key == step) => return,
            ["experiment", "precision"] => return,
            ["experiment", "seed"] => Some("list seeds under `seeds = […]`".to_owned()),
            ["steps", step, _, ..] => suggest::hint(step, steps.iter().map(|known| known.key.as_str())),
            _ => None,
        };
        let message = format!("nothing to sweep stands at `{}`", entry.key);
        let mistake = self.layers.mistake(&entry.key_origin, "unknown_path", message);
        self.found
            .push(mistake.label("expected `steps.NAME.KEY`").hint(hint));
    }

    fn lengths(&mut self, grid: &[Entry], zip: &[Entry]) {
        let length = |entry: &Entry| match &entry.item.value {
            ItemValue::Array(values) => values.len(),
            _ => 0,
        };
        for entry in grid.iter().chain(zip).filter(|entry| length(entry) == 0) {
            let message = format!("`{}` has no values", entry.key);
            self.found
                .push(self.layers.mistake(&entry.item.origin, "empty_axis", message));
        }
        for entry in zip
            .iter()
            .skip(1)
            .filter(|entry| length(entry) != length(&zip[0]))
        {
            let (here, first) = (length(entry), length(&zip[0]));
            let message = format!("`zip` takes values together, but there are {here} here");
            let mistake = self
                .layers
                .mistake(&entry.item.origin, "unequal_lengths", message);
            self.found
                .push(mistake.label(format!("expected {first}, as for `{}`", zip[0].key)));
        }
    }

    fn bounds(&mut self, random: &RandomSearch, item: &Item, ranges: &[Entry]) {
        for entry in ranges {
            let Some(bounds) = random.ranges.get(&entry.key) else {
                continue;
            };
            let [low, high] = [0, 1].map(|end| bounds[end].as_f64().unwrap_or(f64::NAN));
            let log = random.log.contains(&entry.key);
            let expected = match (low < high, log && low <= 0.0) {
                (false, _) => "expected `[low, high]` with low below high",
                (true, true) => "expected a lower bound above 0 on a logarithmic scale",
                (true, false) => continue,
            };
            let message = format!("range of `{}`", entry.key);
            self.found.push(
                self.layers
                    .mistake(&entry.item.origin, "bad_range", message)
                    .label(expected),
            );
        }
        let names = item.get("log").map(|log| &log.value);
        let Some(ItemValue::Array(names)) = names else {
            return;
        };
        for name in names {
            let path = name.as_str().unwrap_or_default();
            if !random.ranges.contains_key(path) {
                let message = format!("`{path}` is not drawn");
                let hint = suggest::hint(path, random.ranges.keys().map(String::as_str));
                self.found.push(
                    self.layers
                        .mistake(&name.origin, "unknown_path", message)
                        .hint(hint),
                );
            }
        }
    }
}
