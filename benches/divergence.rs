//! A divergence between teacher and student through their heads at a vocabulary of 50,257, forward and backward, beside plain
//! PyTorch, in turns: `PYTHON=… cargo bench --workspace --bench divergence`.
//!
//! Every figure is taken by a process of its own: the median time of `STEPS` (3) steps after one to warm up, and what the
//! work adds to the process's memory at its peak. Both sides have two threads and glibc's allocator. `ROUNDS` (3) pairs a row.

#![allow(clippy::print_stdout, reason = "a bench talks")]

mod common;

use burn::tensor::{Device, Distribution, Tensor};
use common::{median, memory, number, ours, peer, printed};
use lyceum_kernels::{Divergence, Projection, Teacher, linear_divergence};
use std::process::Command;
use std::time::Instant;

const ROWS: usize = 1024;
const STUDENT: usize = 256;
const TEACHER: usize = 768;
const VOCABULARY: usize = 50_257;
const KINDS: [(&str, Divergence); 3] = [
    ("forward_kl", Divergence::ForwardKl),
    ("reverse_kl", Divergence::ReverseKl),
    ("jsd", Divergence::JensenShannon { beta: 0.5 }),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [row, kind] = arguments.as_slice()
        && row == "row"
    {
        let (_, divergence) = KINDS
            .into_iter()
            .find(|(name, _)| name == kind)
            .expect("a kind of the list");
        let (seconds, bytes) = measure(divergence);
        println!("{seconds} {bytes}");
        return;
    }
    let rounds = number("ROUNDS", 3);
    println!(
        "{:<11} {:>9} {:>9} {:>7} {:>15} {:>9} {:>9} {:>7}",
        "divergence", "s", "PyTorch", "ratio", "of pairs", "MB", "PyTorch", "ratio"
    );
    for (kind, _) in KINDS {
        compare(kind, rounds);
    }
}

/// Our side of a row: seconds and bytes.
fn measure(divergence: Divergence) -> (f64, f64) {
    let device = Device::flex();
    device.seed(0);
    let projection = |n: usize, d: usize, v: usize, device: &Device| {
        let random =
            |rows: usize, scale: f64| Tensor::random([rows, d], Distribution::Normal(0.0, scale), device);
        Projection {
            hidden_nd: random(n, 1.0),
            head_vd: random(v, (d as f64).sqrt().recip()),
            bias_v: None,
        }
    };
    let student = projection(ROWS, STUDENT, VOCABULARY, &device.clone().autodiff());
    let student = Projection {
        hidden_nd: student.hidden_nd.require_grad(),
        head_vd: student.head_vd.require_grad(),
        ..student
    };
    let teacher = projection(ROWS, TEACHER, VOCABULARY, &device);
    let weights_n = Tensor::<1>::full([ROWS], 1.0 / ROWS as f64, &device);
    let step = || {
        let teacher = Teacher::Dense(teacher.clone());
        let found = linear_divergence(student.clone(), teacher, divergence, 1.0, weights_n.clone());
        let _ = found.loss.backward();
    };
    let before = memory("VmRSS:");
    step();
    let mut times: Vec<f64> = (0..number("STEPS", 3))
        .map(|_| {
            let start = Instant::now();
            step();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], memory("VmHWM:") - before)
}

/// Both sides in turns; prints medians, their ratios, and the least and greatest ratio of times of a pair.
fn compare(kind: &str, rounds: usize) {
    let (mut own_side, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut own = ours(&["row", kind]);
        own_side.push(run(&mut own).expect("our own side runs"));
        let mut peer = peer("divergence.py");
        for (name, value) in [
            ("rows", ROWS),
            ("student", STUDENT),
            ("teacher", TEACHER),
            ("vocab", VOCABULARY),
            ("steps", number("STEPS", 3)),
        ] {
            peer.arg(format!("--{name}={value}"));
        }
        theirs.extend(run(peer.args(["--kind", kind])));
    }
    let pairs: Vec<f64> = own_side.iter().zip(&theirs).map(|(a, b)| b.0 / a.0).collect();
    let least = pairs.iter().copied().fold(f64::INFINITY, f64::min);
    let most = pairs.iter().copied().fold(0.0, f64::max);
    let of = |side: &[(f64, f64)], get: fn(&(f64, f64)) -> f64| median(side.iter().map(get).collect());
    let (seconds, bytes) = (of(&own_side, |s| s.0), of(&own_side, |s| s.1));
    let (peer_seconds, peer_bytes) = (of(&theirs, |s| s.0), of(&theirs, |s| s.1));
    println!(
        "{kind:<11} {seconds:>9.2} {peer_seconds:>9.2} {:>6.2}x {least:>6.2} to {most:.2}x {:>9.0} {:>9.0} {:>6.1}x",
        peer_seconds / seconds,
        bytes / 1e6,
        peer_bytes / 1e6,
        peer_bytes / bytes,
    );
}

/// What a side prints; none if it cannot run.
fn run(command: &mut Command) -> Option<(f64, f64)> {
    let text = printed(command)?;
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
