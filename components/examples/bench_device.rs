//! Training and scoring of whole models on a device, on random tokens, beside the device's best rate in matrix products:
//! `cargo run --release --workspace --example bench_device -- DEVICE [f32|bf16|curve|steps]`, where DEVICE is `cpu`, or `cuda`
//! in a build with that feature. On `cpu` the models are small: a run shows that everything works. `curve` trains 200 steps
//! on the device and on a processor, in f32 on both and in bf16 on the device, and fails where a loss in f32 differs by more
//! than 1e-2 and one in bf16 by more than 1e-1. `steps` takes three steps of the first model and nothing else, for a profiler.
//!
//! FLOP/s are the model's own: 6 FLOPs a parameter and token in training and 2 in scoring, and the attention's products.

use burn::tensor::{Distribution, FloatDType, Tensor};
use lyceum_components::flops::{forward_flops, training_flops};
use lyceum_components::model::ModelSpec;
use lyceum_components::train::Rehearsal;
use lyceum_components::{Device, Precision};
use lyceum_kernels::{Orientation, Products, linear};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A name, the model, and the context and blocks of a step in training or scoring.
struct Case {
    name: &'static str,
    model: serde_json::Value,
    vocabulary: usize,
    context: usize,
    blocks: usize,
    training: bool,
}

fn cases(small: bool) -> Vec<Case> {
    let (layers, vocabulary, context) = if small { (1, 997, 64) } else { (12, 50_257, 1024) };
    let gpt2 = serde_json::json!({
        "family": "gpt2", "hidden_size": if small { 64 } else { 768 }, "num_hidden_layers": layers,
        "num_attention_heads": if small { 2 } else { 12 }, "max_position_embeddings": context,
    });
    let llama = serde_json::json!({
        "hidden_size": if small { 64 } else { 2048 }, "num_hidden_layers": 2 * layers,
        "num_attention_heads": if small { 2 } else { 16 }, "max_position_embeddings": context,
    });
    let case = |name, model, blocks, training| Case {
        name,
        model,
        vocabulary,
        context,
        blocks,
        training,
    };
    vec![
        case(
            "gpt2 124M, training",
            gpt2.clone(),
            if small { 2 } else { 16 },
            true,
        ),
        case("gpt2 124M, scoring", gpt2, if small { 2 } else { 32 }, false),
        case("llama 1.3B, scoring", llama, if small { 2 } else { 8 }, false),
    ]
}

/// FLOP/s of products `[m, k] · [k, n]` in this precision, tensors and all: the best of three rounds.
fn product_rate(device: &Device, precision: Precision, [m, k, n]: [usize; 3]) -> f64 {
    const PRODUCTS: u32 = 20;
    let dtype = match precision {
        Precision::Bf16 => FloatDType::BF16,
        _ => FloatDType::F32,
    };
    let draw =
        |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), device).cast(dtype);
    let (a, b) = (draw([m, k]), draw([k, n]));
    let multiply = |a: &Tensor<2>, b: &Tensor<2>| {
        linear(
            a.clone(),
            b.clone(),
            Orientation::InputsFirst,
            None,
            Products::Full,
        )
    };
    // One element, to see that the products are products.
    let line =
        |x: &Tensor<2>, at: [std::ops::Range<usize>; 2]| x.clone().slice(at).into_data().convert::<f64>();
    let (row, column) = (line(&a, [0..1, 0..k]), line(&b, [0..k, 0..1]));
    let expected: f64 = row
        .iter::<f64>()
        .zip(column.iter::<f64>())
        .map(|(x, y)| x * y)
        .sum();
    let found = line(&multiply(&a, &b), [0..1, 0..1])
        .iter::<f64>()
        .next()
        .expect("one element");
    assert!(
        (found - expected).abs() <= 0.02 * (k as f64).sqrt(),
        "an element is {found}, not {expected}"
    );
    let round = || {
        let start = Instant::now();
        let mut product = multiply(&a, &b);
        for _ in 1..PRODUCTS {
            product = multiply(&a, &b);
        }
        // Reading one number waits for the products before it.
        let _ = product.slice([0..1, 0..1]).into_data();
        start.elapsed().as_secs_f64()
    };
    round();
    let best = (0..3).map(|_| round()).fold(f64::INFINITY, f64::min);
    2.0 * (m * k * n) as f64 * f64::from(PRODUCTS) / best
}

/// The median time of a step, of those that fit into `time`, after one to warm up.
fn median(time: Duration, mut step: impl FnMut()) -> f64 {
    step();
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < time || times.is_empty() {
        let start = Instant::now();
        step();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The greatest difference of a loss between the device in this precision and a processor in f32, in 200 steps on one batch.
fn curve(device: &Device, precision: Precision) -> f64 {
    let spec = serde_json::json!({ "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4 });
    let spec: ModelSpec = serde_json::from_value(spec).expect("a valid model");
    let new = |precision, device: &Device| Rehearsal::new(&spec, 500, [4, 64], precision, device);
    let (mut here, mut there) = (new(Precision::F32, &Device::flex()), new(precision, device));
    (0..200)
        .map(|_| (here.train() - there.train()).abs())
        .fold(0.0, |most: f64, apart| {
            // What is no number stays so.
            if most.is_nan() || most > apart {
                most
            } else {
                apart
            }
        })
}

#[allow(clippy::print_stdout)] // A benchmark's output.
fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let (device, small) = match wanted.first().map(String::as_str) {
        Some("cpu") => (Device::flex(), true),
        #[cfg(feature = "cuda")]
        Some("cuda") => (Device::cuda(0), false),
        _ => {
            println!("usage: bench_device cpu|cuda [f32|bf16|curve|steps]; `cuda` where it was built in");
            return ExitCode::from(2);
        }
    };
    let precision = match wanted.get(1).map(String::as_str) {
        Some("curve") => {
            let mut code = ExitCode::SUCCESS;
            for (precision, limit) in [(Precision::F32, 1e-2), (Precision::Bf16, 1e-1)] {
                let apart = curve(&device, precision);
                println!(
                    "200 steps in {precision:?}: losses at most {apart:.2e} apart, of {limit:.0e} allowed"
                );
                if apart.is_nan() || apart > limit {
                    code = ExitCode::FAILURE;
                }
            }
            return code;
        }
        Some("steps") => {
            let case = cases(small).remove(0);
            let spec: ModelSpec = serde_json::from_value(case.model).expect("a valid model");
            let shape = [case.blocks, case.context];
            let mut rehearsal = Rehearsal::new(&spec, case.vocabulary, shape, Precision::Bf16, &device);
            for _ in 0..3 {
                println!("{}: loss {:.3}", case.name, rehearsal.train());
            }
            return ExitCode::SUCCESS;
        }
        Some("bf16") => Precision::Bf16,
        _ => Precision::F32,
    };
    let best = product_rate(&device, precision, [if small { 512 } else { 8192 }; 3]);
    println!("square matrices in {precision:?}: {:.2} TFLOP/s", best / 1e12);
    if !small {
        for shape in [
            [16_384, 768, 2304],
            [16_384, 768, 768],
            [16_384, 768, 3072],
            [16_384, 3072, 768],
        ] {
            let rate = product_rate(&device, precision, shape);
            println!("{shape:?} in {precision:?}: {:.2} TFLOP/s", rate / 1e12);
        }
    }
    let time = Duration::from_secs(if small { 1 } else { 8 });
    for case in cases(small) {
        let spec: ModelSpec = serde_json::from_value(case.model).expect("a valid model");
        let config = spec.config(case.vocabulary);
        let shape = [case.blocks, case.context];
        let mut rehearsal = Rehearsal::new(&spec, case.vocabulary, shape, precision, &device);
        let (seconds, flops) = if case.training {
            let seconds = median(time, || {
                assert!(
                    rehearsal.train().is_finite(),
                    "{}: the loss is a number",
                    case.name
                );
            });
            (seconds, training_flops(&config, case.context))
        } else {
            let seconds = median(time, || {
                assert!(
                    rehearsal.score().is_finite(),
                    "{}: the loss is a number",
                    case.name
                );
            });
            (seconds, forward_flops(&config, case.context))
        };
        let rate = rehearsal.tokens() / seconds;
        let flops = rate * flops / case.context as f64;
        println!(
            "{:<22}{precision:?} {rate:>10.0} tokens/s {:>7.3} TFLOP/s, {:.0} % of the square products'",
            case.name,
            flops / 1e12,
            100.0 * flops / best
        );
    }
    ExitCode::SUCCESS
}
