//! How fast this machine was lately, for telling how long a plan would take.

use crate::execute::RunRecord;
use std::collections::BTreeMap;

/// FLOP/s where nothing was measured yet.
const ASSUMED: f64 = 5e10;

/// FLOP/s by component, from the steps that recent runs on the same device really ran.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates(BTreeMap<String, f64>);

impl Rates {
    /// The rates of these runs, latest first; of a component the latest run that computed anything counts. Runs of other
    /// devices and processors are passed over.
    pub fn of(runs: &[RunRecord], device: &str, cpu: &str) -> Self {
        let mut rates = BTreeMap::new();
        for run in runs.iter().filter(|run| run.device == device && run.cpu == cpu) {
            let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
            for step in run
                .steps
                .iter()
                .filter(|step| !step.cached && step.error.is_none())
            {
                let (flops, seconds) = sums.entry(&step.component).or_default();
                // What was done again took time too.
                let again = step.measures.get("recomputed_flops");
                *flops += step.flops + again.copied().unwrap_or_default();
                *seconds += step.wall_seconds;
            }
            for (component, (flops, seconds)) in sums {
                if flops > 0.0 && seconds > 0.0 {
                    rates.entry(component.to_owned()).or_insert(flops / seconds);
                }
            }
        }
        Self(rates)
    }

    /// Seconds that `flops` of a component would take, those done again included, and whether that rests on a measurement.
    pub fn seconds(&self, component: &str, flops: f64) -> (f64, bool) {
        match self.0.get(component) {
            Some(rate) => (flops / rate, true),
            None => (flops / ASSUMED, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::{Status, StepRecord, record::FORMAT};

    fn run(cpu: &str, steps: &[(&str, bool, f64, f64)]) -> RunRecord {
        let step = |&(component, cached, flops, wall_seconds): &(&str, bool, f64, f64)| StepRecord {
            component: component.into(),
            cached,
            flops,
            wall_seconds,
            ..StepRecord::default()
        };
        RunRecord {
            format: FORMAT,
            id: "r".into(),
            experiment: "e".into(),
            title: None,
            file: "e.toml".into(),
            started: String::new(),
            finished: None,
            status: Status::Done,
            version: "0".into(),
            device: "cpu".into(),
            cpu: cpu.into(),
            steps: steps.iter().map(step).collect(),
            verdicts: Vec::new(),
        }
    }

    #[test]
    fn the_latest_measurement_of_this_machine_counts() {
        let runs = [
            run("other", &[("train.lm", false, 100.0, 1.0)]),
            run(
                "this",
                &[("train.lm", false, 30.0, 2.0), ("train.lm", false, 10.0, 2.0)],
            ),
            run(
                "this",
                &[("train.lm", false, 99.0, 1.0), ("select.top", false, 0.0, 1.0)],
            ),
            run("this", &[("score.logprobs", true, 5.0, 0.0)]),
        ];
        let rates = Rates::of(&runs, "cpu", "this");
        assert_eq!(rates.seconds("train.lm", 20.0), (2.0, true));
        assert_eq!(rates.seconds("select.top", ASSUMED), (1.0, false));
        assert_eq!(rates.seconds("score.logprobs", ASSUMED), (1.0, false));
        assert_eq!(
            Rates::of(&runs, "cuda:0", "this").seconds("train.lm", ASSUMED),
            (1.0, false)
        );
    }

    #[test]
    fn what_was_done_again_belongs_to_the_rate() {
        let mut run = run("this", &[("train.lm", false, 30.0, 2.0)]);
        run.steps[0].measures.insert("recomputed_flops".into(), 10.0);
        let rates = Rates::of(&[run], "cpu", "this");
        assert_eq!(rates.seconds("train.lm", 40.0), (2.0, true));
    }
}
