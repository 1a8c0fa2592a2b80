//! The learning law at the size of the sheet's experiment: `cargo bench --workspace --bench learning_law` prints policy epochs a
//! second (4,096 examples, 2,000 steps), and entries a second of the projection on one core.

#![allow(clippy::print_stdout, reason = "a bench talks")]

use lyceum_components::policy::{LawStep, PerceptronData, Split, improve, perceptron_data};
use lyceum_components::trajectory::{Perceptron, Plan, Trajectory, project_simplex};
use std::time::Instant;

// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Policy epochs that are timed.
const EPOCHS: usize = 4;

/// Steps of a training.
const STEPS: usize = 2000;

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
        let begun = Instant::now();
        for _ in 0..EPOCHS {
            improve(&mut perceptron, &mut trajectory, &start, Some(step), &mut |_| {
                Ok(())
            })
            .expect("goes back");
        }
        let rate = EPOCHS as f64 / begun.elapsed().as_secs_f64();
        println!("{}: {rate:.2} policy epochs/s", stringify!($number));
    }};
}

fn main() {
    policy_epochs!(f64);
    policy_epochs!(f32);
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
