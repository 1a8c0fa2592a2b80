//! MiniLLM's loop, `distill.minillm` as it is run, beside plain PyTorch, in turns: `PYTHON=… cargo bench --workspace --bench minillm`.
//!
//! A set of responses is drawn from a mixture of student and teacher, and learnt from in four passes with the exact single
//! step. A rollout's cost is a set's time by its size: medians over `SETS` (2) sets after one to warm up. Every figure is taken by a
//! process of its own; both sides have two threads and an allocator that keeps its memory. `ROUNDS` (3) pairs a row; `ONLY`
//! chooses a row. The peer's teacher gives its distributions once a set and they are kept whole, which no real
//! vocabulary would bear, and none of its responses ends early: of ours one in a hundred does.

#![allow(clippy::print_stdout, reason = "a bench talks")]
#![allow(clippy::disallowed_methods, reason = "its folder is its own")]

mod common;

use common::{keeping_memory, median, memory, number, ours, peer, printed};
use lyceum_components::context::Services;
use lyceum_components::{
    Artifact, Bar, Cancel, Context, Device, Error, FilePath, FolderPath, Precision, Result, Shard, find,
};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VOCABULARY: usize = 8192;
const PROMPT: usize = 64;
const RESPONSE: usize = 64;
const ROLLOUTS: usize = 32;
const BATCH: usize = 16;
const INNER: usize = 4;

/// Width, layers and heads of a teacher; the student has those of the first.
const TEACHERS: [(&str, [usize; 3]); 2] = [("as the student", [256, 6, 4]), ("six times it", [640, 8, 10])];

fn main() {
    lyceum_components::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [row, name] = arguments.as_slice()
        && row == "row"
    {
        println!("{}", measure(teacher(name)));
        return;
    }
    let wanted = std::env::var("ONLY").unwrap_or_default();
    println!(
        "{:<15} {:>10} {:>9} {:>7} {:>15} {:>16} {:>16} {:>17}",
        "teacher", "rollouts/s", "PyTorch", "ratio", "of pairs", "drawing (s)", "learning (s)", "peak (MB)"
    );
    for (name, _) in TEACHERS.iter().filter(|(name, _)| name.contains(&wanted)) {
        compare(name, number("ROUNDS", 3));
    }
}

fn teacher(name: &str) -> [usize; 3] {
    let found = TEACHERS.iter().find(|(known, _)| *known == name);
    found.expect("a teacher of the list").1
}

/// Our side of a row.
fn measure(teacher: [usize; 3]) -> Value {
    let bench = Bench {
        folder: Arc::new(tempfile::tempdir().expect("a folder")),
        clock: Arc::default(),
        cancel: Cancel::default(),
        sets: number("SETS", 2) + 1,
    };
    bench.prepare(teacher);
    let params = json!({
        "data": "@pairs", "model": "@student", "teacher": "@teacher", "rollouts": ROLLOUTS, "inner_epochs": INNER,
        "sampling": { "max_tokens": RESPONSE }, "checkpoint_every": 1_000_000,
        "optim": { "lr": 5e-6, "batch_size": BATCH, "budget": { "steps": 1_000_000 }, "weight_decay": 1e-6 },
    });
    let outcome = bench.run("minillm", "distill.minillm", &params);
    assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
    let clock = bench.clock.lock().expect("nobody panicked");
    let seconds = |from: &Instant, to: &Instant| to.duration_since(*from).as_secs_f64();
    let sets = clock.began.windows(2).skip(1);
    let whole = median(sets.map(|at| seconds(&at[0], &at[1])).collect());
    let drawn = clock.began.iter().zip(&clock.ended).skip(1);
    let drawing = median(drawn.map(|(from, to)| seconds(from, to)).collect());
    json!({
        "rollouts_per_second": ROLLOUTS as f64 / whole, "seconds_drawing": drawing,
        "seconds_updating": whole - drawing, "peak_bytes": memory("VmHWM:"),
    })
}

/// When sets of responses began to be drawn, and when they were there.
#[derive(Default)]
struct Clock {
    began: Vec<Instant>,
    ended: Vec<Instant>,
}

/// Steps in a folder, stopped when enough sets were learnt from.
#[derive(Clone)]
struct Bench {
    folder: Arc<tempfile::TempDir>,
    clock: Arc<Mutex<Clock>>,
    cancel: Cancel,
    sets: usize,
}

impl Bench {
    /// A vocabulary of words, questions of `PROMPT` of them, and two models of random weights.
    fn prepare(&self, teacher: [usize; 3]) {
        let end = "<|endoftext|>";
        let word = |id: usize| if id == 0 { end.to_owned() } else { format!("w{id}") };
        let vocabulary: serde_json::Map<_, _> = (0..VOCABULARY).map(|id| (word(id), json!(id))).collect();
        let tokenizer = json!({
            "version": "1.0",
            "added_tokens": [{
                "id": 0, "content": end, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                "special": true,
            }],
            "pre_tokenizer": { "type": "WhitespaceSplit" },
            "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "w1" },
        });
        let write =
            |name: &str, text: String| fs::write(self.folder.path().join(name), text).expect("writes");
        write("tokenizer.json", tokenizer.to_string());
        let words = |row: usize, count: usize| {
            let id = |i: usize| 1 + (row * 7919 + i * i * 104_729 + i * 31) % (VOCABULARY - 1);
            (0..count).map(|i| word(id(i))).collect::<Vec<_>>().join(" ")
        };
        let pair = |row| json!({ "prompt": words(row, PROMPT), "response": words(row + 1, RESPONSE - 1) });
        let pairs: Vec<String> = (0..512).map(|row| pair(row).to_string()).collect();
        write("pairs.jsonl", pairs.join("\n"));
        let model = |[width, layers, heads]: [usize; 3]| {
            json!({ "tokenizer": "@bpe", "model": {
                "family": "llama", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
                "max_position_embeddings": PROMPT + RESPONSE,
            } })
        };
        let columns =
            json!({ "files": ["pairs.jsonl"], "prompt_column": "prompt", "response_column": "response" });
        let encode = json!({
            "tokenizer": "@bpe", "pairs": "@questions", "template": "plain", "context": PROMPT + RESPONSE - 1,
            "max_prompt": PROMPT,
        });
        let steps = [
            ("bpe", "tokenizer.load", json!({ "file": "tokenizer.json" })),
            ("questions", "corpus.pairs", columns),
            ("pairs", "tokens.pairs", encode),
            ("student", "model.init", model(TEACHERS[0].1)),
            ("teacher", "model.init", model(teacher)),
        ];
        for (step, component, params) in steps {
            self.run(step, component, &params)
                .unwrap_or_else(|error| panic!("{step}: {error}"));
        }
    }

    /// Runs a component as the step called `step`.
    fn run(&self, step: &str, component: &str, params: &Value) -> Result<()> {
        let [output, scratch] = [step.to_owned(), format!("{step}-scratch")].map(|name| {
            let folder = self.folder.path().join(name);
            fs::create_dir_all(&folder).expect("a folder");
            folder
        });
        let context = Context {
            device: Device::flex(),
            precision: Precision::F32,
            // Of other weights for the teacher than for the student.
            seed: step.len() as u64 + u64::from(step == "teacher"),
            shard: Shard::WHOLE,
            output,
            scratch,
            cancel: self.cancel.clone(),
            services: Arc::new(self.clone()),
        };
        (find(component).expect("a component").run)(params, &context)
    }
}

/// A display that tells the clock when it goes.
struct Watched(Option<Arc<Mutex<Clock>>>);

impl Bar for Watched {
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(clock) = &self.0 {
            clock.lock().expect("nobody panicked").ended.push(Instant::now());
        }
    }
}

impl Services for Bench {
    fn artifact(&self, reference: &str) -> Result<Artifact> {
        let step = reference.trim_start_matches('@');
        Artifact::open(&self.folder.path().join(step), step, step)
    }
    fn artifact_at(&self, location: &str) -> Result<Artifact> {
        self.artifact(location)
    }
    fn file(&self, path: &FilePath) -> Result<PathBuf> {
        Ok(self.folder.path().join(&path.0))
    }
    fn folder(&self, path: &FolderPath) -> Result<PathBuf> {
        Ok(self.folder.path().join(&path.0))
    }
    fn bar(&self, what: &str, _: u64, _: &'static str) -> Box<dyn Bar> {
        if what != "drawing" {
            return Box::new(Watched(None));
        }
        let mut clock = self.clock.lock().expect("nobody panicked");
        clock.began.push(Instant::now());
        if clock.began.len() > self.sets {
            self.cancel.cancel();
        }
        Box::new(Watched(Some(self.clock.clone())))
    }
    fn measure(&self, _: &str, _: f64) {}
    fn cost(&self, _: u64, _: f64) {}
    fn note(&self, text: &str) {
        println!("{text}");
    }
}

/// Both sides in turns; prints medians, the ratio of rates, and the least and greatest ratio of a pair.
fn compare(name: &str, rounds: usize) {
    let (mut own_side, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut own = ours(&["row", name]);
        own_side.push(run(&mut own).expect("our own side runs"));
        let mut peer = peer("minillm.py");
        let ([width, layers, heads], [t_width, t_layers, t_heads]) = (TEACHERS[0].1, teacher(name));
        for (key, value) in [
            ("hidden", width),
            ("layers", layers),
            ("heads", heads),
            ("teacher-hidden", t_width),
            ("teacher-layers", t_layers),
            ("teacher-heads", t_heads),
            ("vocab", VOCABULARY),
            ("prompt", PROMPT),
            ("response", RESPONSE),
            ("rollouts", ROLLOUTS),
            ("batch", BATCH),
            ("inner", INNER),
            ("sets", number("SETS", 2)),
        ] {
            peer.arg(format!("--{key}={value}"));
        }
        theirs.extend(run(&mut peer));
    }
    let of =
        |side: &[Value], key: &str| median(side.iter().filter_map(|value| value[key].as_f64()).collect());
    let rate = |value: &Value| value["rollouts_per_second"].as_f64().unwrap_or(f64::NAN);
    let pairs: Vec<f64> = own_side
        .iter()
        .zip(&theirs)
        .map(|(a, b)| rate(a) / rate(b))
        .collect();
    let least = pairs.iter().copied().fold(f64::INFINITY, f64::min);
    let most = pairs.iter().copied().fold(0.0, f64::max);
    let [ours_rate, theirs_rate] = [&own_side, &theirs].map(|side| of(side, "rollouts_per_second"));
    let both = |key: &str, unit: f64| {
        format!(
            "{:.1} / {:.1}",
            of(&own_side, key) / unit,
            of(&theirs, key) / unit
        )
    };
    println!(
        "{name:<15} {ours_rate:>10.2} {theirs_rate:>9.2} {:>6.2}x {least:>6.2} to {most:.2}x {:>16} {:>16} {:>17}",
        ours_rate / theirs_rate,
        both("seconds_drawing", 1.0),
        both("seconds_updating", 1.0),
        both("peak_bytes", 1e6),
    );
}

/// What a side prints last; none if it cannot run.
fn run(command: &mut Command) -> Option<Value> {
    serde_json::from_str(printed(keeping_memory(command))?.lines().last()?).ok()
}
