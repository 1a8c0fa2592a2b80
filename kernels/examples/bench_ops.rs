//! Times of every operation, forward and backward, fused and composed: `cargo build --release --workspace --examples`,
//! then `target/release/examples/bench_ops`, with the names of groups in `main` if not all are wanted.
//!
//! The composed body is what f64 or another device would run, here with burn's own operations in f32.

use std::time::Instant;

use burn::tensor::{DType, Device, Distribution, Int, Tensor, activation};
use lyceum_kernels::{
    AdamW, Divergence, Mask, Orientation, Pairing, Products, Projection, Rotation, Row, Teacher, adamw_step,
    attention, linear, linear_cross_entropy, linear_divergence, linear_nll, rms_norm, rope, row_linear,
    self_attention, swiglu,
};

/// A small decoder's sizes.
const B: usize = 16;
const T: usize = 128;
const H: usize = 4;
const G: usize = 4;
const D: usize = 32;
const V: usize = 2048;
/// Times each operation is run.
const ROUNDS: usize = 15;

/// Prints the median time of `work` in milliseconds.
fn time(name: &str, work: impl FnMut()) {
    time_rounds(name, ROUNDS, work);
}

/// [`time`] with a number of rounds.
#[allow(clippy::print_stdout)] // A benchmark's output.
fn time_rounds(name: &str, rounds: usize, mut work: impl FnMut()) {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name:<50} {:>8.3} ms", times[rounds / 2]);
}

fn random<const N: usize>(shape: [usize; N], device: &Device) -> Tensor<N> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn backward<const N: usize>(value: Tensor<N>) {
    let _ = value.sum().backward();
}

/// Prints the median time of a product of `n` rows with `[k, v]` weights, and how fast weights and sums pass by.
#[allow(clippy::print_stdout)] // A benchmark's output.
fn time_product(name: &str, [n, k, v]: [usize; 3], bytes: usize, mut work: impl FnMut() -> Tensor<2>) {
    /// Products timed together.
    const REPEAT: usize = 20;
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..REPEAT).for_each(|_| drop(work()));
            start.elapsed().as_secs_f64() / REPEAT as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let seconds = times[ROUNDS / 2];
    println!(
        "{name:<28} {:>8.1} µs {:>7.1} GB/s {:>7.1} GFLOP/s",
        seconds * 1e6,
        (k * v * bytes) as f64 / seconds / 1e9,
        (2 * n * k * v) as f64 / seconds / 1e9,
    );
}

/// The products of decoding, in both orientations and types of weights.
#[allow(clippy::print_stdout)] // A benchmark's output.
fn row_linears() {
    let device = Device::flex();
    for [k, v] in [[256, 1024], [768, 3072], [768, 50_257]] {
        for n in [1, 16] {
            println!("row_linear, {n} rows, {k} inputs, {v} outputs");
            let x = random([n, k], &device);
            let [kv, vk] = [random([k, v], &device), random([v, k], &device)];
            for (name, w, orientation) in [
                ("  inputs first", &kv, Orientation::InputsFirst),
                ("  outputs first", &vk, Orientation::OutputsFirst),
            ] {
                let narrow = w.clone().cast(DType::BF16);
                time_product(name, [n, k, v], 4, || {
                    row_linear(x.clone(), w.clone(), orientation, None)
                });
                time_product(&format!("{name}, bf16"), [n, k, v], 2, || {
                    row_linear(x.clone(), narrow.clone(), orientation, None)
                });
            }
            time_product("  burn, inputs first", [n, k, v], 4, || {
                x.clone().matmul(kv.clone())
            });
            time_product("  burn, outputs first", [n, k, v], 4, || {
                x.clone().matmul(vk.clone().transpose())
            });
        }
    }
}

/// Attention of one query a sequence over a cache of keys.
fn decoding() {
    let device = Device::flex();
    for [b, past] in [[1, 127], [16, 127], [16, 1023]] {
        let [h, g, d, s] = [12, 4, 64, 1024];
        let q = random([b, 1, h, d], &device);
        let [k, v] = [0; 2].map(|_| random([b, s, g, d], &device));
        let rows = (0..b).map(|row| Row { row, first: 0, past }).collect();
        let mask = Mask {
            rows: Some(rows),
            ..Mask::default()
        };
        time(&format!("attention, {b} rows, {past} keys"), || {
            attention(q.clone(), k.clone(), v.clone(), 0.125, &mask);
        });
    }
}

/// Attention of a training step, forward and with its backward pass: queries, keys and values as tensors of their own, and cut
/// out of one product and rotated.
fn training_attention() {
    let plain = Device::flex();
    for [b, t, h, g, d] in [[8, 256, 4, 4, 64], [4, 1024, 12, 12, 64], [4, 1024, 12, 3, 64]] {
        let name = |what: &str| format!("{what}, {b} × {t}, {h} heads, {g} of keys");
        let [q, k, v] = [h, g, g].map(|heads| random([b, t, heads, d], &plain));
        let run = |x: [&Tensor<4>; 3]| {
            let [q, k, v] = x.map(Clone::clone);
            attention(q, k, v, 0.125, &Mask::default())
        };
        time(&name("attention"), || drop(run([&q, &k, &v])));
        let [q, k, v] = [q, k, v].map(|x| x.autodiff().require_grad());
        time(&name("  with backward"), || backward(run([&q, &k, &v])));
        let angles = random([t, d / 2], &plain);
        let (cos, sin) = (angles.clone().cos(), angles.sin());
        let qkv = random([b, t, h + 2 * g, d], &plain);
        let cut = |qkv: &Tensor<4>| {
            let part = |first, count| qkv.clone().narrow(2, first, count);
            let turned = |x| rope(x, cos.clone(), sin.clone(), Pairing::Halves);
            let (q, k) = (turned(part(0, h)), turned(part(h, g)));
            attention(q, k, part(h + g, g), 0.125, &Mask::default())
        };
        time(&name("cut and rotated"), || drop(cut(&qkv)));
        let tracked = qkv.autodiff().require_grad();
        time(&name("  with backward"), || backward(cut(&tracked)));
        let whole = |qkv: &Tensor<4>| {
            let rotation = Rotation {
                cos_pr: cos.clone(),
                sin_pr: sin.clone(),
                pairing: Pairing::Halves,
            };
            self_attention(qkv.clone(), g, Some(rotation), 0.125, &Mask::default())
        };
        time(&name("self_attention"), || {
            drop(whole(&tracked.clone().without_autodiff()));
        });
        time(&name("  with backward"), || backward(whole(&tracked)));
    }
}

/// A teacher/student divergence over GPT-2's vocabulary, through both heads and with all logits in memory.
fn divergence() {
    let [n, d, v] = [1024, 256, 50_257];
    let device = Device::flex().autodiff();
    let [hidden_nd, head_vd] = [[n, d], [v, d]].map(|shape| (random(shape, &device) * 0.1).require_grad());
    let [teacher_nd, teacher_vd] = [[n, d], [v, d]].map(|shape| random(shape, &Device::flex()) * 0.1);
    let weights = Tensor::<1>::ones([n], &Device::flex());
    time_rounds("linear_divergence", 5, || {
        let student = Projection {
            hidden_nd: hidden_nd.clone(),
            head_vd: head_vd.clone(),
            bias_v: None,
        };
        let teacher = Projection {
            hidden_nd: teacher_nd.clone(),
            head_vd: teacher_vd.clone(),
            bias_v: None,
        };
        let teacher = Teacher::Dense(teacher);
        backward(linear_divergence(student, teacher, Divergence::ReverseKl, 1.0, weights.clone()).loss);
    });
    time_rounds("  burn", 5, || {
        let log_q = activation::log_softmax(hidden_nd.clone().matmul(head_vd.clone().transpose()), 1);
        let log_p = activation::log_softmax(teacher_nd.clone().matmul(teacher_vd.clone().transpose()), 1);
        backward(log_q.clone().exp() * (log_q - log_p.autodiff()));
    });
}

/// Products with weights in f32, with operands rounded to bfloat16, and with weights held in it.
#[allow(clippy::print_stdout)] // A benchmark's output.
fn products() {
    let device = Device::flex();
    for [n, k, v] in [[512, 768, 3072], [256, 768, 50_257], [2048, 256, 8192]] {
        println!("{n} rows, {k} inputs, {v} outputs");
        let (x, wide) = (random([n, k], &device), random([v, k], &device) * 0.05);
        let narrow = wide.clone().cast(DType::BF16);
        let targets: Tensor<1, Int> = Tensor::arange(0..n as i64, &device);
        for (name, w, products) in [
            ("f32", &wide, Products::Full),
            ("f32, rounded", &wide, Products::Bf16),
            ("bf16", &narrow, Products::Full),
        ] {
            time_rounds(&format!("  linear, {name}"), 9, || {
                linear(x.clone(), w.clone(), Orientation::OutputsFirst, None, products);
            });
            time_rounds(&format!("  linear_nll, {name}"), 9, || {
                linear_nll(x.clone(), w.clone(), None, targets.clone(), products);
            });
        }
    }
}

fn main() {
    let only: Vec<String> = std::env::args().skip(1).collect();
    for (name, group) in [
        ("row_linear", row_linears as fn()),
        ("decoding", decoding),
        ("divergence", divergence),
        ("products", products),
        ("attention", training_attention),
        ("training", training),
    ] {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            group();
        }
    }
}

/// The operations of a training step.
fn training() {
    let device = Device::flex().autodiff();
    let hidden = random([B * T, H * D], &device).require_grad();
    let wide = random([B * T, 4 * H * D], &device).require_grad();
    let weight = random([H * D], &device).require_grad();
    let [q, k, v] = [H, G, G].map(|heads| random([B, T, heads, D], &device).require_grad());
    let head = random([V, H * D], &device).require_grad();
    let angles = random([T, D / 2], &device);
    let targets: Tensor<1, Int> = Tensor::arange(0..(B * T) as i64, &device).remainder_scalar(V as i64);
    let ones = Tensor::<1>::ones([B * T], &device);

    time("swiglu", || backward(swiglu(wide.clone())));
    time("  burn", || {
        let [gate, up] = [0, 2 * H * D].map(|first| wide.clone().narrow(1, first, 2 * H * D));
        backward(activation::silu(gate) * up);
    });
    time("rms_norm", || {
        backward(rms_norm(hidden.clone(), weight.clone(), 1e-5));
    });
    time("  burn", || {
        let scale = (hidden.clone().square().mean_dim(1) + 1e-5).sqrt().recip();
        backward(hidden.clone() * scale * weight.clone().unsqueeze());
    });
    let [cos, sin] = [angles.clone().cos(), angles.sin()];
    for pairing in [Pairing::Halves, Pairing::Interleaved] {
        time(&format!("rope, {pairing:?}"), || {
            backward(rope(q.clone(), cos.clone(), sin.clone(), pairing));
        });
        let [cos, sin] = [&cos, &sin].map(|x| x.clone().narrow(1, 0, D / 4));
        time("  half of each head", || {
            backward(rope(q.clone(), cos.clone(), sin.clone(), pairing));
        });
    }
    time("  burn", || {
        let [left, right] = [0, 1].map(|side| q.clone().narrow(3, side * D / 2, D / 2));
        let [cos, sin] = [&cos, &sin].map(|x| x.clone().reshape([1, T, 1, D / 2]));
        let turned = [
            left.clone() * cos.clone() - right.clone() * sin.clone(),
            right * cos + left * sin,
        ];
        backward(Tensor::cat(turned.to_vec(), 3));
    });
    time("attention", || {
        backward(attention(q.clone(), k.clone(), v.clone(), 0.2, &Mask::default()));
    });
    time("  burn, without a mask", || {
        let [q, k, v] = [&q, &k, &v].map(|x| x.clone().swap_dims(1, 2));
        backward(activation::softmax(q.matmul(k.swap_dims(2, 3)) * 0.2, 3).matmul(v));
    });
    time("linear_cross_entropy", || {
        backward(
            linear_cross_entropy(
                hidden.clone(),
                head.clone(),
                None,
                targets.clone(),
                ones.clone(),
                Products::Full,
            )
            .loss,
        );
    });
    time("  burn", || {
        let log_p = activation::log_softmax(hidden.clone().matmul(head.clone().transpose()), 1);
        backward(log_p.gather(1, targets.clone().unsqueeze_dim(1)).neg());
    });
    let plain = Device::flex();
    let settings = AdamW {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 3,
    };
    let mut state: Option<[Tensor<2>; 3]> = Some([0; 3].map(|_| random([V, H * D], &plain).abs()));
    let gradient = random([V, H * D], &plain);
    time("adamw_step", || {
        if let Some([parameter, first, second]) = state.take() {
            state = Some(adamw_step(parameter, gradient.clone(), first, second, settings).into());
        }
    });
}
