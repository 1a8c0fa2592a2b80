//! Choosing among many scores: `cargo bench --workspace --bench selection`.
//!
//! Makes a score file of `SCORES` (100,000,000) made-up normal scores and chooses half of them: by rank, with noise, with a
//! share mixed in, and lowest first in 7 shards. Every choice is made by a process of its own, so that its peak memory is its
//! own; the file is made in the folder `FOLDER` (a temporary one) if it is not there. Results that are kept lie, dated, in
//! benches/results/.

#![allow(clippy::print_stdout, reason = "a bench talks")]

mod common;

use common::memory;
use lyceum_components::artifact::{Source, write_header};
use lyceum_components::{
    Artifact, Bar, Cancel, Context, Device, Error, FilePath, FolderPath, Kind, Precision, Result, Services,
    Shard, find,
};
use polars::prelude::{Column, DataFrame, DataType, Field, ParquetWriter, Schema};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of a group of the file, as scorers write them.
const GROUP: u64 = 512 * 512;

fn choices() -> [(&'static str, u64, Value); 4] {
    [
        ("by rank", 1, json!({ "keep": 0.5 })),
        (
            "with noise",
            1,
            json!({ "keep": 0.5, "noise": "gumbel", "tau": 0.1 }),
        ),
        ("mixed", 1, json!({ "keep": 0.5, "mix": { "fraction": 0.2 } })),
        ("in 7 shards", 7, json!({ "keep": 0.5, "order": "lowest" })),
    ]
}

fn main() {
    let scores = std::env::var("SCORES").ok().and_then(|n| n.parse().ok());
    let scores: u64 = scores.unwrap_or(100_000_000);
    let folder = std::env::var_os("FOLDER").map_or_else(
        || std::env::temp_dir().join(format!("lyceum-scores-{scores}")),
        PathBuf::from,
    );
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [row, number] = arguments.as_slice()
        && row == "row"
    {
        let number: usize = number.parse().expect("the number of a choice");
        choose(&folder, &choices()[number]);
        return;
    }
    // `cargo test --benches` only wants to see that it starts.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    if !folder.join("artifact.json").exists() {
        let start = Instant::now();
        make(&folder, scores);
        println!("made {scores} scores in {:.1} s", start.elapsed().as_secs_f64());
    }
    for number in 0..choices().len() {
        let program = std::env::current_exe().expect("this program");
        let arguments = ["row".to_owned(), number.to_string()];
        let ended = Command::new(program)
            .args(arguments)
            .env("FOLDER", &folder)
            .status();
        assert!(ended.expect("the program runs").success());
    }
}

/// Makes the scores, a group of rows at a time.
fn make(folder: &Path, scores: u64) {
    lyceum_components::disk::create_dir_all(folder).expect("a folder");
    let schema: Schema = [("index", DataType::UInt64), ("score", DataType::Float64)]
        .map(|(name, kind)| Field::new(name.into(), kind))
        .into_iter()
        .collect();
    #[expect(clippy::disallowed_methods, reason = "no artifact of a user's")]
    let file = File::create(folder.join("scores.parquet")).expect("a file");
    let mut writer = ParquetWriter::new(file).batched(&schema).expect("a table");
    let mut start = 0;
    while start < scores {
        let end = (start + GROUP).min(scores);
        let index: Vec<u64> = (start..end).collect();
        let score: Vec<f64> = index.iter().map(|&item| normal(item)).collect();
        let columns = vec![
            Column::new("index".into(), index),
            Column::new("score".into(), score),
        ];
        let frame = DataFrame::new((end - start) as usize, columns).expect("columns of one length");
        writer.write_batch(&frame).expect("writes");
        start = end;
    }
    writer.finish().expect("writes");
    let details = json!({
        "item": "block", "columns": ["score"], "primary": "score", "rows": scores, "precision": "f32",
    });
    let source = Source {
        location: "tokens".to_owned(),
        fingerprint: "tokens".to_owned(),
    };
    write_header(folder, Kind::Scores, "scores", Some(source), details).expect("writes");
}

/// A number that looks drawn from a normal distribution, and is the item's own.
fn normal(item: u64) -> f64 {
    let mixed = |salt: u64| {
        let mut z = (2 * item + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    (-2.0 * mixed(1).ln()).sqrt() * (std::f64::consts::TAU * mixed(2)).cos()
}

/// Makes one choice, and says how long it took and how much memory.
fn choose(folder: &Path, (name, shards, options): &(&str, u64, Value)) {
    let top = find("select.top").expect("it is registered");
    let mut params = options.clone();
    params["scores"] = "@scores".into();
    let to = folder.join("chosen");
    let context = |output: PathBuf, shard: Shard| Context {
        device: Device::flex(),
        precision: Precision::F32,
        seed: 1,
        shard,
        output,
        scratch: folder.join("scratch"),
        cancel: Cancel::default(),
        services: Arc::new(Folder(folder.to_path_buf())),
    };
    let start = Instant::now();
    if *shards == 1 {
        (top.run)(&params, &context(to.clone(), Shard::WHOLE)).expect("a choice");
    } else {
        let parts: Vec<PathBuf> = (0..*shards)
            .map(|index| to.join(format!("part-{index}")))
            .collect();
        for (index, part) in (0..).zip(&parts) {
            let shard = Shard {
                index,
                count: *shards,
            };
            (top.run)(&params, &context(part.clone(), shard)).expect("a part of a choice");
        }
        (top.merge)(&params, &parts, &context(to.clone(), Shard::WHOLE)).expect("a choice");
    }
    let seconds = start.elapsed().as_secs_f64();
    let kept = Artifact::open(&to, "chosen", "chosen").expect("a selection");
    let kept = &kept.header.details["kept"];
    std::fs::remove_dir_all(&to).expect("it was there");
    println!(
        "{name:<12} {kept:>10} kept {seconds:>7.1} s {:>7.0} MB",
        memory("VmHWM:") / 1e6
    );
}

/// The scores, and nothing else.
struct Folder(PathBuf);

struct Silent;

impl Bar for Silent {
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
}

impl Services for Folder {
    fn artifact(&self, reference: &str) -> Result<Artifact> {
        Artifact::open(&self.0, reference, "scores")
    }
    fn artifact_at(&self, location: &str) -> Result<Artifact> {
        Err(Error::data("unknown_artifact", location))
    }
    fn file(&self, path: &FilePath) -> Result<PathBuf> {
        Err(Error::data("unknown_file", &path.0))
    }
    fn folder(&self, path: &FolderPath) -> Result<PathBuf> {
        Err(Error::data("unknown_file", &path.0))
    }
    fn bar(&self, _: &str, _: u64, _: &'static str) -> Box<dyn Bar> {
        Box::new(Silent)
    }
    fn measure(&self, _: &str, _: f64) {}
    fn cost(&self, _: u64, _: f64) {}
    fn note(&self, text: &str) {
        println!("{text}");
    }
}
