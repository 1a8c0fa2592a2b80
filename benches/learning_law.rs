//! The learning law at the size of the sheet's experiment, 4,096 examples of 128 inputs and 2,000 steps: policy epochs a second on
//! one core beside numpy's, in turns, and entries a second of the projection on one core.
//! `PYTHON=… cargo bench --workspace --bench learning_law`.
//!
//! Every figure is taken by a process of its own of one thread, over `EPOCHS` (2) policy epochs from equal weights. A row's
//! figures are medians of `ROUNDS` (3).

#![allow(clippy::print_stdout, reason = "a bench talks")]

mod common;

use common::{median, number};
use lyceum_components::policy::{LawStep, PerceptronData, Split, improve, perceptron_data};
use lyceum_components::trajectory::{Perceptron, Plan, Trajectory, project_simplex};
use std::process::Command;
use std::time::Instant;

// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps of a training.
const STEPS: usize = 2000;

/// Policy epochs a second, and the mean target loss before the last of them.
macro_rules! policy_epochs {
    ($number:ty) => {{
        let Split {
            train,
            target,
            test,
            start,
        } = perceptron_data::<$number>(PerceptronData {
            seed: 7,
            width: 128,
            train: 4096,
            target: 512,
            train_deviation: 3_f64.sqrt(),
            target_mean: 0.5,
            target_deviation: 1.0,
        });
        let mut perceptron = Perceptron::new(start.len(), [train, target, test], STEPS);
        let mut trajectory = Trajectory::in_memory(Plan::new(STEPS, 1), 0.1);
        let step = LawStep {
            lr: 5e-6,
            by_row: false,
            freeze: 0,
        };
        let epochs = number("EPOCHS", 2);
        let (mut area, begun) = (f64::NAN, Instant::now());
        for _ in 0..epochs {
            let epoch = improve(&mut perceptron, &mut trajectory, &start, Some(step), &mut |_| {
                Ok(())
            });
            area = epoch.expect("goes back").objective / STEPS as f64;
        }
        (epochs as f64 / begun.elapsed().as_secs_f64(), area)
    }};
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [row, kind] = arguments.as_slice()
        && row == "row"
    {
        let (rate, area) = match kind.as_str() {
            "f32" => policy_epochs!(f32),
            _ => policy_epochs!(f64),
        };
        println!("{rate} {area}");
        return;
    }
    compare();
    project();
}

/// Ours in both precisions and numpy's, in turns.
fn compare() {
    let this = std::env::current_exe().expect("this program");
    let python = std::env::var("PYTHON").ok();
    let peer = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/peers/learning_law.py");
    let (mut rates, mut ratios) = ([Vec::new(), Vec::new(), Vec::new()], Vec::new());
    for _ in 0..number("ROUNDS", 3) {
        let ours = |kind: &str| run(Command::new(&this).args(["row", kind]));
        let ((wide, area), (narrow, narrow_area)) = (ours("f64"), ours("f32"));
        assert!(
            (area - narrow_area).abs() < 1e-4,
            "{area} in f64, {narrow_area} in f32"
        );
        rates[0].push(wide);
        rates[1].push(narrow);
        if let Some(python) = &python {
            let epochs = number("EPOCHS", 2).to_string();
            let (theirs, their_area) = run(Command::new(python).args([peer, "--epochs", &epochs]));
            assert!((area - their_area).abs() < 1e-9, "{area}, numpy {their_area}");
            rates[2].push(theirs);
            ratios.push(wide / theirs);
        }
    }
    for (name, rates) in ["f64", "f32", "numpy, f64"].iter().zip(&rates) {
        if !rates.is_empty() {
            println!("{name:<12} {:>6.2} policy epochs/s", median(rates.clone()));
        }
    }
    if !ratios.is_empty() {
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        let ratio = median(ratios.clone());
        println!(
            "f64 beside numpy {ratio:.2}x, {least:.2} to {most:.2}x of {} pairs",
            ratios.len()
        );
    }
}

/// The two numbers that a process on one thread prints.
fn run(command: &mut Command) -> (f64, f64) {
    for threads in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
        command.env(threads, "1");
    }
    let output = command.output().expect("it starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("text");
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(|n| n.parse().expect("a number"))
        .collect();
    (numbers[0], numbers[1])
}

fn project() {
    for spread in [1e-5, 1e-3, 1.0] {
        let n = 4096;
        let mut rows: Vec<f64> = (0..n * 500)
            .map(|i| 1.0 / n as f64 + spread * ((i * 7919 % 10_007) as f64 / 5003.5 - 1.0))
            .collect();
        let begun = Instant::now();
        for row in rows.chunks_mut(n) {
            project_simplex(row);
        }
        let rate = rows.len() as f64 / begun.elapsed().as_secs_f64();
        println!(
            "projection, spread {spread}: {:.0} M entries/s on a core",
            rate / 1e6
        );
    }
}
