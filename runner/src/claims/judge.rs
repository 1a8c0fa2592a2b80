//! One claim's verdict.

use super::intervals::{Interval, paired_bootstrap, student_t};
use crate::execute::record::{Basis, Outcome, Verdict};
use crate::spec::Claim;
use std::collections::BTreeMap;

/// What one run measured for one variant of a claim.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// The metric's value.
    pub value: Option<f64>,
    /// The metric's value by evaluation instance, where there are instances. Their mean is the value.
    pub instances: BTreeMap<u64, f64>,
}

/// Judges a claim by `(better, than)` of every run; several runs are seeds of one experiment.
pub fn judge(claim: &Claim, runs: &[(Measured, Measured)], seed: u64) -> Verdict {
    let values: Vec<(f64, f64)> = runs
        .iter()
        .filter_map(|(better, than)| better.value.zip(than.value))
        .collect();
    let mean = |pick: fn(&(f64, f64)) -> f64| {
        (!values.is_empty()).then(|| values.iter().map(pick).sum::<f64>() / values.len() as f64)
    };
    let mut verdict = Verdict {
        claim: claim.name.clone(),
        metric: claim.metric.clone(),
        group: claim.group.clone(),
        better: claim.better.clone(),
        than: claim.than.clone(),
        better_value: mean(|pair| pair.0),
        than_value: mean(|pair| pair.1),
        difference: mean(|pair| pair.0 - pair.1),
        interval: None,
        n: 0,
        basis: Basis::Values,
        outcome: Outcome::NotDecided,
        note: None,
    };
    if values.len() < runs.len() {
        let missing = missing(claim, runs);
        verdict.note = Some(format!("the metric was not measured for {missing}"));
        return verdict;
    }
    if values
        .iter()
        .any(|(better, than)| !better.is_finite() || !than.is_finite())
    {
        verdict.note = Some("a measured value is not finite".to_owned());
        return verdict;
    }
    let (interval, n) = if runs.len() >= 2 {
        verdict.basis = Basis::Seeds;
        let differences: Vec<f64> = values.iter().map(|(better, than)| better - than).collect();
        (student_t(&differences), differences.len())
    } else {
        let differences: Vec<f64> = runs
            .iter()
            .flat_map(|(better, than)| paired(better, than))
            .collect();
        if differences.len() >= 2 {
            verdict.basis = Basis::Instances;
        }
        (
            paired_bootstrap(&differences, seed).filter(|_| differences.len() >= 2),
            differences.len(),
        )
    };
    verdict.n = n as u64;
    let Some(Interval { mean, low, high }) = interval else {
        verdict.note = Some("one run and no evaluation instances: no interval can be given".to_owned());
        return verdict;
    };
    // Where the variants share only some instances, the difference is that of the shared ones, like its interval.
    verdict.difference = Some(mean);
    verdict.interval = Some((low, high));
    let (all_below, all_above) = (high < 0.0, low > 0.0);
    verdict.outcome = match (all_below, all_above, claim.lower_is_better) {
        (true, _, true) | (_, true, false) => Outcome::Held,
        (true, _, false) | (_, true, true) => Outcome::NotHeld,
        _ => Outcome::NotDecided,
    };
    if verdict.basis == Basis::Instances {
        verdict.note = Some("one run: the interval speaks of evaluation instances, not of seeds".to_owned());
    }
    verdict
}

fn missing(claim: &Claim, runs: &[(Measured, Measured)]) -> String {
    let lacks =
        |pick: fn(&(Measured, Measured)) -> &Measured| runs.iter().any(|run| pick(run).value.is_none());
    let named = [
        (lacks(|run| &run.0), &claim.better),
        (lacks(|run| &run.1), &claim.than),
    ];
    let names: Vec<String> = named
        .iter()
        .filter(|(missing, _)| *missing)
        .map(|(_, name)| format!("`{name}`"))
        .collect();
    names.join(" and ")
}

/// Differences over the instances that both have.
fn paired(better: &Measured, than: &Measured) -> Vec<f64> {
    better
        .instances
        .iter()
        .filter_map(|(instance, value)| Some(value - than.instances.get(instance)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(lower_is_better: bool) -> Claim {
        Claim {
            name: "c".into(),
            metric: "q.loss".into(),
            group: None,
            better: "s[a]".into(),
            than: "s[b]".into(),
            lower_is_better,
        }
    }

    fn measured(values: &[f64]) -> Measured {
        let instances: BTreeMap<u64, f64> = (0..).zip(values.iter().copied()).collect();
        Measured {
            value: Some(values.iter().sum::<f64>() / values.len() as f64),
            instances,
        }
    }

    #[test]
    fn one_run_is_judged_by_its_instances() {
        let low = measured(&[1.0, 1.1, 0.9, 1.0, 1.05]);
        let high = measured(&[2.0, 2.2, 1.9, 2.0, 2.1]);
        let verdict = judge(&claim(true), &[(low.clone(), high.clone())], 0);
        assert_eq!(
            (verdict.outcome, verdict.basis, verdict.n),
            (Outcome::Held, Basis::Instances, 5)
        );
        assert_eq!(
            judge(&claim(false), &[(low.clone(), high)], 0).outcome,
            Outcome::NotHeld
        );
        assert_eq!(
            judge(&claim(true), &[(low.clone(), low)], 0).outcome,
            Outcome::NotDecided
        );
    }

    #[test]
    fn several_runs_are_judged_by_seed_differences() {
        let run = |a: f64, b: f64| (measured(&[a]), measured(&[b]));
        let runs = [run(1.0, 2.0), run(1.1, 2.2), run(0.9, 1.8)];
        let verdict = judge(&claim(true), &runs, 0);
        assert_eq!(
            (verdict.outcome, verdict.basis, verdict.n),
            (Outcome::Held, Basis::Seeds, 3)
        );
        let mixed = [run(1.0, 2.0), run(2.0, 1.0)];
        assert_eq!(judge(&claim(true), &mixed, 0).outcome, Outcome::NotDecided);
    }

    #[test]
    fn what_was_not_measured_is_named() {
        let verdict = judge(&claim(true), &[(measured(&[1.0]), Measured::default())], 0);
        assert_eq!(verdict.outcome, Outcome::NotDecided);
        assert_eq!(verdict.note.unwrap(), "the metric was not measured for `s[b]`");
    }
}
