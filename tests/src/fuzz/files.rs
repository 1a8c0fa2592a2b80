//! Files that may come from anyone, read by what reads them in a run. Whatever the bytes, reading ends in an artifact or
//! an error.

use lyceum::execute::RunFolder;
use lyceum::store::Manifest;
use lyceum_components::artifact::{Scores, Selection, read_table};
use lyceum_components::corpus::Pairs;
use lyceum_components::model::load;
use lyceum_components::tokenizer::Encoder;
use lyceum_components::tokens::Blocks;
use lyceum_components::{
    Artifact, Bar, COMPONENTS, Cancel, Context, Device, FilePath, FolderPath, Precision, Result, Services,
    Shard,
};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// What lies beside the file that a target reads.
macro_rules! beside {
    ($name:literal) => {
        include_bytes!(concat!("../../fuzz/", $name))
    };
}

/// A folder with nothing in it but what a target puts there.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), bytes).expect("a file");
    }

    /// The folder as an artifact with this header.
    fn open(&self, header: &[u8]) -> Result<Artifact> {
        self.write("artifact.json", header);
        Artifact::open(self.0.path(), "fuzz/f", "fuzz")
    }

    fn context(&self) -> Context {
        Context {
            device: Device::flex(),
            precision: Precision::F32,
            seed: 1,
            shard: Shard::WHOLE,
            output: self.0.path().join("out"),
            scratch: self.0.path().join("scratch"),
            cancel: Cancel::default(),
            services: Arc::new(Files(self.0.path().to_path_buf())),
        }
    }

    /// Runs a component on the folder's files.
    fn run(&self, component: &str, params: &Value) {
        let component = COMPONENTS.iter().find(|known| known.name == component);
        let _ = (component.expect("there is one").run)(params, &self.context());
    }
}

/// Files of one folder, and nothing else.
struct Files(PathBuf);

struct Silent;

impl Bar for Silent {
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
}

impl Services for Files {
    fn artifact(&self, reference: &str) -> Result<Artifact> {
        Artifact::open(&self.0.join(reference.trim_start_matches('@')), reference, "fuzz")
    }
    fn artifact_at(&self, location: &str) -> Result<Artifact> {
        Artifact::open(&self.0, location, "fuzz")
    }
    fn file(&self, path: &FilePath) -> Result<PathBuf> {
        Ok(self.0.join(&path.0))
    }
    fn folder(&self, path: &FolderPath) -> Result<PathBuf> {
        Ok(self.0.join(&path.0))
    }
    fn bar(&self, _: &str, _: u64, _: &'static str) -> Box<dyn Bar> {
        Box::new(Silent)
    }
    fn measure(&self, _: &str, _: f64) {}
    fn cost(&self, _: u64, _: f64) {}
    fn note(&self, _: &str) {}
}

/// The weights of a model whose configuration and header are sound.
pub fn safetensors(data: &[u8]) {
    model(data, beside!("corpus/config/sound"));
}

/// The configuration of a model whose weights and header are sound.
pub fn config(data: &[u8]) {
    model(beside!("corpus/safetensors/sound"), data);
}

fn model(weights: &[u8], config: &[u8]) {
    let bench = Bench::new();
    bench.write("model.safetensors", weights);
    bench.write("config.json", config);
    let artifact = bench.open(beside!("beside/model.json")).expect("a sound header");
    let _ = load(&artifact, &Device::flex(), Precision::F32);
}

/// A Parquet file: of the user's, and of artifacts.
pub fn parquet(data: &[u8]) {
    let bench = Bench::new();
    for name in [
        "data.parquet",
        "table.parquet",
        "scores.parquet",
        "selection.parquet",
        "pairs.parquet",
    ] {
        bench.write(name, data);
    }
    bench.run(
        "corpus.parquet",
        &json!({ "files": ["data.parquet"], "limit": 1000 }),
    );
    bench.run(
        "corpus.pairs",
        &json!({ "files": ["data.parquet"], "limit": 1000, "prompt_column": "text", "response_column": "id" }),
    );
    let scores = bench
        .open(beside!("corpus/artifact/scores"))
        .expect("a sound header");
    let _ = (Scores::read(&scores), read_table(&scores));
    let selection = bench
        .open(beside!("corpus/artifact/selection"))
        .expect("a sound header");
    let _ = Selection::read(&selection);
    let details = json!({ "pairs": 3, "text_bytes": 9, "documents": 3, "dropped": {} });
    let pairs =
        json!({ "kind": "pairs", "format": 1, "fingerprint": "f", "source": null, "details": details });
    let pairs = bench.open(pairs.to_string().as_bytes()).expect("a sound header");
    if let Ok(pairs) = Pairs::open(&pairs) {
        let _ = pairs.read().find(Result::is_err);
    }
}

/// One index of packed tokens, the other being sound.
pub fn ipc(data: &[u8]) {
    let (blocks, segments) = (beside!("corpus/ipc/blocks"), beside!("corpus/ipc/segments"));
    for (blocks, segments) in [(data, &segments[..]), (&blocks[..], data)] {
        let bench = Bench::new();
        bench.write("tokens.bin", beside!("beside/tokens.bin"));
        bench.write("blocks.arrow", blocks);
        bench.write("segments.arrow", segments);
        let artifact = bench.open(beside!("beside/tokens.json")).expect("a sound header");
        if let Ok(blocks) = Blocks::open(&artifact, &bench.context()) {
            (0..blocks.len()).for_each(|position| drop(blocks.get(position)));
        }
    }
}

/// Documents, one a line, packed or not.
pub fn jsonl(data: &[u8]) {
    let bench = Bench::new();
    bench.write("data.jsonl", data);
    bench.run(
        "corpus.jsonl",
        &json!({ "files": ["data.jsonl"], "keep_columns": ["n"], "on_bad_line": "skip" }),
    );
    bench.run(
        "corpus.pairs",
        &json!({ "files": ["data.jsonl"], "prompt_column": "text", "response_column": "id", "on_bad_line": "skip" }),
    );
}

/// A tokenizer and a text for it.
pub fn tokenizer(data: &[u8]) {
    let bench = Bench::new();
    bench.write("tokenizer.json", data);
    bench.run("tokenizer.load", &json!({ "file": "tokenizer.json" }));
    let out = bench.0.path().join("out");
    if let Ok(artifact) = Artifact::open(&out, "fuzz/f", "fuzz")
        && let Ok(encoder) = Encoder::open(&artifact)
    {
        let _ = (
            encoder.encode("The cat sat, didn't it? \u{1f600} 12"),
            encoder.texts(),
        );
    }
}

/// One file of a token shard, the other being sound.
pub fn shards(data: &[u8]) {
    let (ids, index) = (beside!("corpus/shards/ids"), beside!("corpus/shards/index"));
    for (ids, index) in [(data, &index[..]), (&ids[..], data)] {
        let bench = Bench::new();
        bench.write("tokenizer.json", beside!("corpus/tokenizer/bpe"));
        bench.run("tokenizer.load", &json!({ "file": "tokenizer.json" }));
        bench.write("data_0.bin", ids);
        bench.write("data_0.idx", index);
        bench.run("tokens.import", &json!({ "folders": ["."], "tokenizer": "@out" }));
    }
}

/// A header, a manifest, or the record of a run.
pub fn artifact(data: &[u8]) {
    let bench = Bench::new();
    bench.write("manifest.json", data);
    if let Ok(manifest) = Manifest::read(bench.0.path()) {
        let _ = (manifest.fits(bench.0.path()), manifest.bytes());
    }
    bench.write("scores.parquet", beside!("corpus/parquet/scores"));
    bench.write("selection.parquet", beside!("corpus/parquet/selection"));
    if let Ok(artifact) = bench.open(data) {
        let _ = (Scores::read(&artifact), Selection::read(&artifact));
        let _ = Blocks::open(&artifact, &bench.context());
    }
    let run = RunFolder::new(bench.0.path(), "run");
    fs::create_dir_all(&run.path).expect("a folder");
    fs::write(run.record_file(), data).expect("a file");
    let _ = run.load();
}
