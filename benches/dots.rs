//! What products of every example's gradient with a vector take beside a step of training, on a decoder of 7 M parameters:
//! `cargo bench --workspace --bench dots`. Every round runs each of them once, in turns, so that other work on the machine
//! meets them all; printed are the medians of `ROUNDS` (9) and of their ratios to the step.

#![allow(clippy::print_stdout, reason = "a bench talks")]

mod common;

use common::number;
use lyceum_components::gradients::Vector;
use lyceum_components::model::ModelSpec;
use lyceum_components::train::Rehearsal;
use lyceum_components::{Device, Precision, keep_freed_memory};
use std::time::Instant;

// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps from one gradient of the target to the next, as `reweight` has it.
const REFRESH: f64 = 8.0;

fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let _ = work();
    start.elapsed().as_secs_f64()
}

fn main() {
    keep_freed_memory();
    let rounds = number("ROUNDS", 9);
    for family in ["gpt2", "llama"] {
        let spec = serde_json::json!({
            "family": family, "hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4,
            "max_position_embeddings": 256,
        });
        let spec: ModelSpec = serde_json::from_value(spec).expect("a valid model");
        let mut rehearsal = Rehearsal::new(&spec, 8192, [8, 256], Precision::F32, &Device::flex());
        rehearsal.train();
        let direction: Vector = rehearsal.gradient();
        let names = [
            "step",
            "dots",
            "central differences",
            "scoring",
            "reweighted step",
            "target's gradient",
        ];
        let mut times = names.map(|_| Vec::new());
        for round in 0..=rounds {
            let taken = [
                seconds(|| rehearsal.train()),
                seconds(|| rehearsal.dots(&direction)),
                seconds(|| rehearsal.differences(&direction)),
                seconds(|| rehearsal.score()),
                seconds(|| rehearsal.reweigh(&direction)),
                seconds(|| rehearsal.gradient()),
            ];
            // The first warms up.
            if round > 0 {
                times
                    .iter_mut()
                    .zip(taken)
                    .for_each(|(times, taken)| times.push(taken));
            }
        }
        println!("{family}, {} parameters", direction.len());
        let ratio = |times: &[f64], steps: &[f64]| {
            let mut ratios: Vec<f64> = times.iter().zip(steps).map(|(time, step)| time / step).collect();
            ratios.sort_by(f64::total_cmp);
            ratios[ratios.len() / 2]
        };
        for (name, taken) in names.iter().zip(&times) {
            let mut sorted = taken.clone();
            sorted.sort_by(f64::total_cmp);
            let median = sorted[sorted.len() / 2];
            println!(
                "  {name:<20} {:>7.1} ms, {:.2} of a step",
                median * 1e3,
                ratio(taken, &times[0])
            );
        }
        let weighed: Vec<f64> = times[4]
            .iter()
            .zip(&times[5])
            .map(|(step, target)| step + target / REFRESH)
            .collect();
        println!(
            "  reweighting with a target's gradient every {REFRESH} steps: {:.0} % beyond a step",
            100.0 * (ratio(&weighed, &times[0]) - 1.0)
        );
        let (exact, near) = (rehearsal.dots(&direction).dots, rehearsal.differences(&direction));
        let apart = exact
            .iter()
            .zip(&near)
            .map(|(exact, near)| (exact - near).abs() / exact.abs())
            .inspect(|apart| assert!(apart.is_finite(), "a training that does not diverge"));
        println!(
            "  differences are off by {:.1e} at most",
            apart.fold(0.0, f64::max)
        );
    }
}
