//! The teacher–student data of the perceptron (learning law, sheet 4), by portable streams of random numbers.

use crate::trajectory::{Examples, Number};
use std::f64::consts::TAU;

/// SplitMix64's increment.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerceptronData {
    /// Streams begin at 1000 times this.
    pub seed: u64,
    /// Inputs of an example.
    pub width: usize,
    /// Training examples.
    pub train: usize,
    /// Target examples, and test examples.
    pub target: usize,
    /// Standard deviation of training inputs, about 0.
    pub train_deviation: f64,
    /// Mean of the inputs of target and test.
    pub target_mean: f64,
    /// Their standard deviation.
    pub target_deviation: f64,
}

/// The data of one draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Split<N> {
    /// What is trained on.
    pub train: Examples<N>,
    /// What policies are found for.
    pub target: Examples<N>,
    /// Of the same law as the target, for measuring only.
    pub test: Examples<N>,
    /// θ_0.
    pub start: Vec<N>,
}

/// Output `number`, from 1, of SplitMix64 started at `seed`.
fn splitmix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn uniform(seed: u64, number: u64) -> f64 {
    ((splitmix(seed, number) >> 11) as f64 + 0.5) * (1.0 / (1_u64 << 53) as f64)
}

/// `count` standard normal numbers, by Box and Muller's transform of consecutive pairs.
fn normals(seed: u64, count: usize) -> Vec<f64> {
    let pair = |pair: u64| {
        let radius = (-2.0 * uniform(seed, 2 * pair + 1).ln()).sqrt();
        let angle = TAU * uniform(seed, 2 * pair + 2);
        [radius * angle.cos(), radius * angle.sin()]
    };
    let mut all: Vec<f64> = (0..count.div_ceil(2) as u64).flat_map(pair).collect();
    all.truncate(count);
    all
}

/// Draws training, target and test examples, labelled by one linear teacher, and the start. Streams: 1 teacher, 2 training,
/// 3 target, 4 test, 5 start.
pub fn perceptron_data<N: Number>(data: PerceptronData) -> Split<N> {
    let stream = |number: u64| stream(data.seed, number);
    let teacher = normals(stream(1), data.width);
    let examples = |number, count: usize, mean: f64, deviation: f64| {
        let inputs = normals(stream(number), count * data.width);
        let inputs: Vec<f64> = inputs.into_iter().map(|x| mean + deviation * x).collect();
        let label = |z: &[f64]| {
            let product: f64 = z.iter().zip(&teacher).map(|(z, w)| z * w).sum();
            f64::from(u8::from(product > 0.0))
        };
        Examples {
            labels: inputs.chunks(data.width).map(label).collect(),
            inputs: inputs.into_iter().map(N::of).collect(),
        }
    };
    let PerceptronData {
        target_mean: mean,
        target_deviation: deviation,
        ..
    } = data;
    Split {
        train: examples(2, data.train, 0.0, data.train_deviation),
        target: examples(3, data.target, mean, deviation),
        test: examples(4, data.target, mean, deviation),
        start: perceptron_start(data.seed, data.width),
    }
}

/// θ_0 of a perceptron with so many inputs: uniform within ± 1 over the root of their number.
pub(crate) fn perceptron_start<N: Number>(seed: u64, width: usize) -> Vec<N> {
    let root = (width as f64).sqrt();
    let stream = stream(seed, 5);
    let start = (1..=width as u64).map(|i| N::of((2.0 * uniform(stream, i) - 1.0) / root));
    start.collect()
}

/// Where the stream called `number` starts.
fn stream(seed: u64, number: u64) -> u64 {
    seed.wrapping_mul(1000).wrapping_add(number)
}
