//! Training and scoring beside PyTorch, taken in turns: `PYTHON=… cargo bench --workspace --bench models`.
//!
//! Every figure is taken by a process of its own, so that its peak memory is its own; both sides have two threads and an
//! allocator that keeps its memory. Needs a Python with torch; without one only our side is shown. `ROUNDS` (5) pairs of each
//! row; the results that are kept lie, dated, in benches/results/.

#![allow(clippy::print_stdout, reason = "a bench talks")]

mod common;

use common::{keeping_memory, median, memory, number, ours, peer, printed};
use lyceum_components::model::ModelSpec;
use lyceum_components::train::Rehearsal;
use lyceum_components::{Device, Precision};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Instant;

// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A model, and the blocks and tokens of a batch.
struct Shape {
    name: &'static str,
    family: &'static str,
    width: usize,
    layers: usize,
    heads: usize,
    vocabulary: usize,
    blocks: usize,
    context: usize,
    /// Steps that are timed, after two to warm up.
    steps: usize,
}

const SHAPES: [Shape; 3] = [
    Shape {
        name: "gpt2-7m",
        family: "gpt2",
        width: 256,
        layers: 6,
        heads: 4,
        vocabulary: 8192,
        blocks: 8,
        context: 256,
        steps: 8,
    },
    Shape {
        name: "llama-7m",
        family: "llama",
        width: 256,
        layers: 6,
        heads: 4,
        vocabulary: 8192,
        blocks: 8,
        context: 256,
        steps: 8,
    },
    Shape {
        name: "gpt2-124m",
        family: "gpt2",
        width: 768,
        layers: 12,
        heads: 12,
        vocabulary: 50_257,
        blocks: 2,
        context: 512,
        steps: 3,
    },
];

const WORK: [(&str, &str); 4] = [
    ("train", "f32"),
    ("train", "bf16"),
    ("score", "f32"),
    ("score", "bf16"),
];

fn main() {
    lyceum_components::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [row, shape, work, precision] = arguments.as_slice()
        && row == "row"
    {
        println!("{}", measure(shape_of(shape), work, precision));
        return;
    }
    let rounds = number("ROUNDS", 5);
    let wanted = std::env::var("ONLY").unwrap_or_default();
    println!(
        "{:<10} {:<6} {:<5} {:>9} {:>9} {:>7} {:>15} {:>9} {:>9}",
        "model", "work", "", "tokens/s", "PyTorch", "ratio", "of pairs", "peak MB", "PyTorch"
    );
    for shape in &SHAPES {
        for (work, precision) in WORK {
            if format!("{} {work} {precision}", shape.name).contains(&wanted) {
                compare(shape, work, precision, rounds);
            }
        }
    }
}

fn shape_of(name: &str) -> &'static Shape {
    SHAPES
        .iter()
        .find(|shape| shape.name == name)
        .expect("a shape of the list")
}

/// Our side of a row: tokens a second, the median of the steps, and the peak of memory.
fn measure(shape: &Shape, work: &str, precision: &str) -> Value {
    let spec = json!({
        "family": shape.family, "hidden_size": shape.width, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "max_position_embeddings": shape.context,
    });
    let spec: ModelSpec = serde_json::from_value(spec).expect("a valid model");
    let precision = if precision == "bf16" {
        Precision::Bf16
    } else {
        Precision::F32
    };
    let batch = [shape.blocks, shape.context];
    let mut rehearsal = Rehearsal::new(&spec, shape.vocabulary, batch, precision, &Device::flex());
    let mut step = || {
        if work == "train" {
            rehearsal.train()
        } else {
            rehearsal.score()
        }
    };
    for _ in 0..2 {
        step();
    }
    let mut times: Vec<f64> = (0..shape.steps)
        .map(|_| {
            let start = Instant::now();
            step();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    json!({ "tokens_per_second": rehearsal.tokens() / times[times.len() / 2], "peak_bytes": memory("VmHWM:") })
}

/// Both sides in turns; prints medians, their ratio, and the least and greatest ratio of a pair.
fn compare(shape: &Shape, work: &str, precision: &str, rounds: usize) {
    let (mut own_side, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut own = ours(&["row", shape.name, work, precision]);
        own_side.push(run(&mut own).expect("our own side runs"));
        let mut peer = peer("train_lm.py");
        let numbers = [
            ("hidden", shape.width),
            ("layers", shape.layers),
            ("heads", shape.heads),
            ("vocab", shape.vocabulary),
            ("batch", shape.blocks),
            ("context", shape.context),
            ("steps", shape.steps),
        ];
        for (name, value) in numbers {
            peer.arg(format!("--{name}={value}"));
        }
        peer.args(["--family", shape.family, "--work", work, "--precision", precision]);
        theirs.extend(run(&mut peer));
    }
    let of =
        |side: &[Value], key: &str| median(side.iter().filter_map(|value| value[key].as_f64()).collect());
    let rate = |side: &[Value]| of(side, "tokens_per_second");
    let peak = |side: &[Value]| of(side, "peak_bytes") / 1e6;
    let pairs: Vec<f64> = own_side
        .iter()
        .zip(&theirs)
        .filter_map(|(a, b)| Some(a["tokens_per_second"].as_f64()? / b["tokens_per_second"].as_f64()?))
        .collect();
    let ends = pairs.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), x| {
        (least.min(*x), most.max(*x))
    });
    println!(
        "{:<10} {work:<6} {precision:<5} {:>9.0} {:>9.0} {:>6.2}x {:>6.2} to {:.2}x {:>9.0} {:>9.0}",
        shape.name,
        rate(&own_side),
        rate(&theirs),
        rate(&own_side) / rate(&theirs),
        ends.0,
        ends.1,
        peak(&own_side),
        peak(&theirs),
    );
}

/// What a side prints; none if it cannot run.
fn run(command: &mut Command) -> Option<Value> {
    serde_json::from_str(&printed(keeping_memory(command))?).ok()
}
