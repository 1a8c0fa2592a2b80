//! A plan as text, JSON or a graph.

use super::base::{Plan, Planned};
use super::rates::Rates;
use super::space::needed_space;
use crate::units::{bytes, count, duration, number};
use lyceum_components::{Choice, Estimate};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// For people.
pub fn to_text(plan: &Plan, device_class: &str, rates: &Rates) -> String {
    let width = plan
        .steps
        .iter()
        .map(|p| p.step.id.chars().count())
        .max()
        .unwrap_or_default();
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("writing to a string succeeds");
    for planned in &plan.steps {
        let state = if planned.cached.is_some() {
            "cached"
        } else {
            "new   "
        };
        let (id, component) = (&planned.step.id, planned.step.component.name);
        let flops = planned.estimate.flops;
        let cost = if planned.cached.is_none() && flops > 0.0 {
            let seconds = seconds(planned, rates).0;
            let charged = match planned.estimate.charged {
                0.0 => String::new(),
                charged => format!(", {} FLOPs charged", number(charged)),
            };
            format!("  {} FLOPs, about {}{charged}", number(flops), duration(seconds))
        } else {
            String::new()
        };
        let pieces = match planned.step.shards {
            1 => String::new(),
            shards => format!("  in {shards} shards"),
        };
        line(format_args!("{state}  {id:width$}  {component}{cost}{pieces}\n"));
        for reason in &planned.why {
            line(format_args!("        {:width$}  because {reason}\n", ""));
        }
        if planned.cached.is_none() && flops > 0.0 {
            for choice in &planned.estimate.choices {
                line(format_args!(
                    "        {:width$}  memory {}; with `{}` {}, about {}\n",
                    "",
                    bytes(planned.estimate.memory),
                    choice.setting,
                    bytes(choice.memory),
                    duration(rates.seconds(component, flops + choice.recomputed).0)
                ));
            }
        }
        if let Some(other) = other_device(planned, device_class) {
            line(format_args!(
                "        {:width$}  note: made on another device class ({other})\n",
                ""
            ));
        }
    }
    let new: Vec<&Planned> = plan.new_steps().collect();
    let flops: f64 = new.iter().map(|planned| planned.estimate.flops).sum();
    let memory = new
        .iter()
        .map(|planned| planned.estimate.memory)
        .fold(0.0, f64::max);
    let (seconds, measured) = new
        .iter()
        .map(|planned| seconds(planned, rates))
        .filter(|(seconds, _)| *seconds > 0.0)
        .fold((0.0, true), |sum, one| (sum.0 + one.0, sum.1 && one.1));
    let basis = if measured {
        "as fast as lately"
    } else {
        "partly an assumed speed"
    };
    line(format_args!(
        "\n{} of {} would run: {} FLOPs, about {} ({basis}), {} memory, {} disk\n",
        new.len(),
        count(plan.steps.len(), "step"),
        number(flops),
        duration(seconds),
        bytes(memory),
        bytes(needed_space(plan)),
    ));
    out
}

/// Seconds that a step would take, and whether that rests on a measurement.
fn seconds(planned: &Planned, rates: &Rates) -> (f64, bool) {
    let Estimate {
        flops, recomputed, ..
    } = planned.estimate;
    rates.seconds(planned.step.component.name, flops + recomputed)
}

fn other_device<'a>(planned: &'a Planned, device_class: &str) -> Option<&'a str> {
    let made = &planned.cached.as_ref()?.made_by.device;
    (planned.step.component.numeric && made != device_class).then_some(made)
}

/// For programs.
pub fn to_json(plan: &Plan, device_class: &str, rates: &Rates) -> Value {
    let step = |planned: &Planned| {
        let estimate = &planned.estimate;
        let component = planned.step.component.name;
        let (seconds, measured) = seconds(planned, rates);
        let choice = |choice: &Choice| {
            json!({
                "setting": choice.setting,
                "memory_bytes": choice.memory,
                "recomputed_flops": choice.recomputed,
                "seconds": rates.seconds(component, estimate.flops + choice.recomputed).0,
            })
        };
        json!({
            "id": planned.step.id,
            "component": component,
            "key": planned.key,
            "cached": planned.cached.is_some(),
            "why": planned.why,
            "inputs": planned.step.references.iter().map(|r| &r.text).collect::<Vec<_>>(),
            "shards": planned.step.shards,
            "flops": estimate.flops,
            "recomputed_flops": estimate.recomputed,
            "charged_flops": estimate.charged,
            "seconds": seconds,
            "seconds_from_measured_rate": measured,
            "memory_bytes": estimate.memory,
            "choices": estimate.choices.iter().map(choice).collect::<Vec<_>>(),
            "disk_bytes": estimate.outputs.values().map(|size| size.bytes).sum::<f64>(),
            "made_on_other_device": other_device(planned, device_class),
        })
    };
    json!({ "steps": plan.steps.iter().map(step).collect::<Vec<_>>(), "disk_bytes": needed_space(plan) })
}

/// For Graphviz: solid boxes would run, dashed ones are cached.
pub fn to_dot(plan: &Plan) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = String::from("digraph plan {\n  rankdir = LR;\n  node [shape = box];\n");
    for planned in &plan.steps {
        let style = if planned.cached.is_some() {
            "dashed"
        } else {
            "solid"
        };
        let label = format!("{}\\n{}", planned.step.id, planned.step.component.name);
        out.push_str(&format!(
            "  {} [label = \"{label}\", style = {style}];\n",
            quoted(&planned.step.id)
        ));
        // A step may take several outputs of another; that is one arrow.
        let before: BTreeSet<_> = planned.step.references.iter().map(|r| &r.step).collect();
        for step in before {
            out.push_str(&format!("  {} -> {};\n", quoted(step), quoted(&planned.step.id)));
        }
    }
    out.push_str("}\n");
    out
}
