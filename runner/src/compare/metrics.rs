//! Measurements run by run, with the interval of their differences where instances can be paired.

use crate::claims::{Interval, paired_bootstrap};
use crate::report::measurements::Measurement;
use serde::Serialize;

/// One quantity of one variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricRow {
    /// The step that measured it.
    pub step: String,
    /// What was measured.
    pub variant: String,
    /// The quantity.
    pub metric: String,
    /// The part it was measured on, if not the whole.
    pub group: Option<String>,
    /// Its value in every run.
    pub values: Vec<Option<f64>>,
    /// How every run but the first differs from the first.
    pub differences: Vec<Option<Difference>>,
}

/// How a value differs from the first run's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// The run's value minus the first run's; over the shared instances where there are two or more.
    pub difference: f64,
    /// 95 % interval by paired bootstrap over the shared instances.
    pub interval: Option<(f64, f64)>,
    /// Number of shared instances.
    pub n: u64,
}

/// Every quantity that some run measured, in the order of the tables.
pub(super) fn rows(runs: &[Vec<Measurement>]) -> Vec<MetricRow> {
    let same = |a: &Measurement, b: &Measurement| {
        (&a.step, &a.variant, &a.metric, &a.group) == (&b.step, &b.variant, &b.metric, &b.group)
    };
    let mut distinct: Vec<&Measurement> = Vec::new();
    for one in runs.iter().flatten() {
        if !distinct.iter().any(|known| same(known, one)) {
            distinct.push(one);
        }
    }
    let row = |known: &Measurement| {
        let sides: Vec<Option<&Measurement>> = runs
            .iter()
            .map(|run| run.iter().find(|one| same(one, known)))
            .collect();
        let against = |side: &Measurement| Some(difference(sides[0]?, side));
        MetricRow {
            step: known.step.clone(),
            variant: known.variant.clone(),
            metric: known.metric.clone(),
            group: known.group.clone(),
            values: sides.iter().map(|side| side.map(|one| one.value)).collect(),
            differences: sides[1..].iter().map(|side| side.and_then(against)).collect(),
        }
    };
    distinct.into_iter().map(row).collect()
}

fn difference(first: &Measurement, other: &Measurement) -> Difference {
    let shared = other
        .instances
        .iter()
        .filter_map(|(instance, value)| Some(value - first.instances.get(instance)?));
    let paired: Vec<f64> = shared.collect();
    let interval = match &paired[..] {
        [] | [_] => None,
        // Nothing to resample where nothing differs.
        all if all.iter().all(|d| *d == 0.0) => Some(Interval {
            mean: 0.0,
            low: 0.0,
            high: 0.0,
        }),
        all => paired_bootstrap(all, 0),
    };
    Difference {
        difference: interval.map_or(other.value - first.value, |interval| interval.mean),
        interval: interval.map(|interval| (interval.low, interval.high)),
        n: paired.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(variant: &str, instances: &[f64]) -> Measurement {
        Measurement {
            step: "q".into(),
            variant: variant.into(),
            metric: "loss".into(),
            group: None,
            value: instances.iter().sum::<f64>() / instances.len() as f64,
            n: instances.len() as u64,
            standard_error: None,
            instances: (0..).zip(instances.iter().copied()).collect(),
        }
    }

    #[test]
    fn instances_are_paired_and_what_one_run_lacks_is_left_open() {
        let first = vec![measured("a", &[1.0, 2.0, 3.0, 4.0])];
        let second = vec![measured("a", &[1.5, 2.5, 3.5, 4.5, 9.0]), measured("b", &[1.0])];
        let rows = rows(&[first, second]);
        let found = rows[0].differences[0].unwrap();
        assert_eq!(
            (found.difference, found.interval, found.n),
            (0.5, Some((0.5, 0.5)), 4)
        );
        assert_eq!(
            (
                rows[1].variant.as_str(),
                rows[1].values[0],
                rows[1].differences[0]
            ),
            ("b", None, None)
        );
    }
}
