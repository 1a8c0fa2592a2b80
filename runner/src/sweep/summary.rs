//! Means over seeds, margins over settings, and the best settings.

use super::names::plain;
use super::results::Result;
use crate::claims::student_t;
use crate::spec::{Claim, Sweep};
use serde_json::Value;
use std::collections::BTreeMap;

/// Points that differ only in their seed.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) settings: &'a BTreeMap<String, Value>,
    pub(super) members: Vec<&'a Result<'a>>,
}

/// Groups the points that are done, in their order.
pub(super) fn groups<'a>(results: &'a [Result<'a>]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for result in results {
        let settings = &result.point.settings;
        match groups.iter_mut().find(|group| group.settings == settings) {
            Some(group) => group.members.push(result),
            None => groups.push(Group {
                settings,
                members: vec![result],
            }),
        }
    }
    groups
}

/// A mean over seeds, with half of its 95 % interval where there are two seeds or more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mean {
    pub(super) value: f64,
    pub(super) half: Option<f64>,
    pub(super) n: usize,
}

impl Mean {
    /// Of values by seed; none if there are none.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        let value = values.iter().sum::<f64>() / n as f64;
        let half = student_t(values).map(|interval| (interval.high - interval.low) / 2.0);
        (n > 0).then_some(Self { value, half, n })
    }

    /// As in `2.3456 ± 0.0123`.
    pub(super) fn text(&self) -> String {
        match self.half {
            Some(half) => format!("{:.4} ± {half:.4}", self.value),
            None => format!("{:.4}", self.value),
        }
    }
}

/// A quantity: step, metric and group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quantity {
    pub(super) step: String,
    pub(super) metric: String,
    pub(super) group: Option<String>,
}

impl Quantity {
    /// For headings.
    pub(super) fn title(&self) -> String {
        match &self.group {
            Some(group) => format!("{}.{} ({group})", self.step, self.metric),
            None => format!("{}.{}", self.step, self.metric),
        }
    }

    /// The value that a point measured for a variant.
    fn value(&self, result: &Result<'_>, variant: &str) -> Option<f64> {
        let name = format!("{}.{}", self.step, self.metric);
        let same = |one: &&crate::report::measurements::Measurement| {
            one.variant == variant && one.of(&name, self.group.as_deref())
        };
        result.measured.iter().find(same).map(|one| one.value)
    }

    /// The variants that it was measured for.
    pub(super) fn variants(&self, results: &[Result<'_>]) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for one in results.iter().flat_map(|result| &result.measured) {
            let same = one.step == self.step && one.metric == self.metric && one.group == self.group;
            if same && !all.contains(&one.variant) {
                all.push(one.variant.clone());
            }
        }
        all
    }

    /// Its mean over the seeds of a group.
    pub(super) fn mean(&self, group: &Group<'_>, variant: &str) -> Option<Mean> {
        let values = group
            .members
            .iter()
            .filter_map(|result| self.value(result, variant));
        Mean::of(&values.collect::<Vec<_>>())
    }

    /// Its mean at one value of a path: averaged over the other settings seed by seed, then over the seeds.
    pub(super) fn margin(
        &self,
        results: &[Result<'_>],
        variant: &str,
        path: &str,
        at: &Value,
    ) -> Option<Mean> {
        let mut by_seed: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for result in results
            .iter()
            .filter(|result| result.point.settings.get(path) == Some(at))
        {
            if let Some(value) = self.value(result, variant) {
                by_seed.entry(result.point.seed).or_default().push(value);
            }
        }
        let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        Mean::of(&by_seed.values().map(mean).collect::<Vec<_>>())
    }
}

/// Every quantity that some point measured, in the order of the tables.
pub(super) fn quantities(results: &[Result<'_>]) -> Vec<Quantity> {
    let mut all = Vec::new();
    for one in results.iter().flat_map(|result| &result.measured) {
        let quantity = Quantity {
            step: one.step.clone(),
            metric: one.metric.clone(),
            group: one.group.clone(),
        };
        if !all.contains(&quantity) {
            all.push(quantity);
        }
    }
    all
}

/// The quantities that points are ranked by, and whether lower is better: the claims', and the sweep's own.
pub(super) fn ranked(claims: &[Claim], sweep: &Sweep, all: &[Quantity]) -> Vec<(Quantity, bool)> {
    let own = sweep
        .metric
        .iter()
        .map(|metric| (metric.as_str(), None, sweep.lower_is_better));
    let claimed = claims.iter().map(|claim| {
        (
            claim.metric.as_str(),
            claim.group.as_deref(),
            claim.lower_is_better,
        )
    });
    let mut ranked: Vec<(Quantity, bool)> = Vec::new();
    for (metric, group, lower) in own.chain(claimed) {
        let (step, name) = metric.split_once('.').unwrap_or((metric, ""));
        let named = all.iter().filter(|quantity| {
            let base = quantity.step.split('[').next().unwrap_or_default();
            (quantity.step == step || base == step)
                && quantity.metric == name
                && quantity.group.as_deref() == group
        });
        for quantity in named {
            if !ranked.iter().any(|(known, _)| known == quantity) {
                ranked.push((quantity.clone(), lower));
            }
        }
    }
    ranked
}

/// The distinct values of a path, numbers in their order, others in that of the points.
pub(super) fn values_of(results: &[Result<'_>], path: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for value in results
        .iter()
        .filter_map(|result| result.point.settings.get(path))
    {
        if !all.contains(value) {
            all.push(value.clone());
        }
    }
    if all.iter().all(Value::is_number) {
        all.sort_by(|a, b| {
            let [a, b] = [a, b].map(|value| value.as_f64().unwrap_or_default());
            a.total_cmp(&b)
        });
    }
    all
}

/// The values of a path in one line.
pub(super) fn listed(values: &[Value]) -> String {
    const MOST: usize = 12;
    let shown: Vec<String> = values.iter().take(MOST).map(plain).collect();
    match values.len().checked_sub(MOST) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_has_an_interval_from_two_seeds_on() {
        assert_eq!(Mean::of(&[]), None);
        assert_eq!(Mean::of(&[2.0]).unwrap().text(), "2.0000");
        // t(0.975, 2) = 4.302653; the standard deviation is 1.
        assert_eq!(Mean::of(&[1.0, 2.0, 3.0]).unwrap().text(), "2.0000 ± 2.4841");
    }
}
