//! What a whole sweep would do: steps that points share count once.

use super::prepare::Prepared;
use crate::plan::{Plan, Planned};
use crate::units::{bytes, count, number};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The distinct steps of all points, and the points.
#[derive(Debug)]
pub struct Overview<'a> {
    prepared: &'a Prepared,
    plans: &'a [Plan],
    /// By component and key.
    steps: BTreeMap<(&'static str, &'a str), &'a Planned>,
}

impl<'a> Overview<'a> {
    /// An overview of the points' plans, in their order.
    pub fn new(prepared: &'a Prepared, plans: &'a [Plan]) -> Self {
        let all = plans.iter().flat_map(|plan| &plan.steps);
        let keyed = all.map(|planned| ((planned.step.component.name, planned.key.as_str()), planned));
        Self {
            prepared,
            plans,
            steps: keyed.collect(),
        }
    }

    fn new_steps(&self) -> impl Iterator<Item = &&'a Planned> {
        self.steps.values().filter(|planned| planned.cached.is_none())
    }

    fn flops(&self) -> f64 {
        self.new_steps().map(|planned| planned.estimate.flops).sum()
    }

    fn memory(&self) -> f64 {
        self.new_steps()
            .map(|planned| planned.estimate.memory)
            .fold(0.0, f64::max)
    }

    fn disk(&self) -> f64 {
        let outputs = self
            .new_steps()
            .flat_map(|planned| planned.estimate.outputs.values());
        outputs.map(|size| size.bytes).sum()
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let names = self.prepared.names();
        let points = &self.prepared.points;
        let labels: Vec<String> = points.iter().map(|point| names.label(&point.settings)).collect();
        let width = labels
            .iter()
            .map(|label| label.chars().count())
            .max()
            .unwrap_or_default();
        let mut out = String::new();
        for ((point, plan), label) in points.iter().zip(self.plans).zip(&labels) {
            let (new, all) = (plan.new_steps().count(), plan.steps.len());
            out += &format!(
                "{}  {label:width$}  seed {}  {new} of {all} steps new\n",
                point.id, point.seed
            );
        }
        let total: usize = self.plans.iter().map(|plan| plan.steps.len()).sum();
        out += &format!(
            "\n{}, {}, {} of them distinct: {} would run, {} are cached\n",
            count(points.len(), "point"),
            count(total, "step"),
            self.steps.len(),
            self.new_steps().count(),
            self.steps.len() - self.new_steps().count(),
        );
        out += &format!(
            "{} FLOPs, {} memory, {} disk\n",
            number(self.flops()),
            bytes(self.memory()),
            bytes(self.disk())
        );
        out
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let point = |(point, plan): (&super::prepare::Ready, &Plan)| {
            json!({
                "id": point.id, "settings": point.settings, "seed": point.seed,
                "steps": plan.steps.len(), "new": plan.new_steps().count(),
            })
        };
        let points = self.prepared.points.iter().zip(self.plans);
        json!({
            "points": points.map(point).collect::<Vec<_>>(),
            "steps": self.steps.len(),
            "new": self.new_steps().count(),
            "cached": self.steps.len() - self.new_steps().count(),
            "flops": self.flops(),
            "memory_bytes": self.memory(),
            "disk_bytes": self.disk(),
        })
    }
}
