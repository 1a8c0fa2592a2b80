//! A bench for tests: a folder of artifacts, and a context that finds them.

use crate::artifact::{
    Boundary, CorpusWriter, Document, Item, Scores, Segment, TokenType, TokensDetails, TokensWriter,
    write_header,
};
use crate::reference::{FilePath, FolderPath};
use crate::table::{frame, write_parquet};
use crate::{Artifact, Bar, Cancel, Component, Context, Error, Kind, Precision, Result, Services, Shard};
use burn::tensor::Device;
use polars::prelude::Column;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The ids of a block, and which documents they belong to: `(document, tokens)`.
pub(crate) type BlockOf<'a> = (&'a [u32], &'a [(u64, u32)]);

/// Artifacts by location, all in one temporary folder. A step called `x` publishes at location `x`, as `"@x"`.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) folder: Arc<tempfile::TempDir>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    artifacts: BTreeMap<String, Artifact>,
    notes: Vec<String>,
    tokens: u64,
    flops: f64,
}

struct Silent;

impl Bar for Silent {
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            folder: Arc::new(tempfile::tempdir().expect("a temporary folder")),
            state: Arc::default(),
        }
    }

    /// The folder of the artifact at `location`.
    pub(crate) fn at(&self, location: &str) -> PathBuf {
        let folder = self.folder.path().join(location);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Opens the artifact written at `location`, and lets references find it.
    pub(crate) fn publish(&self, location: &str) -> Artifact {
        let artifact = Artifact::open(&self.at(location), location, location).expect("an artifact");
        let mut state = self.state.lock().expect("no test panics while it holds this");
        state.artifacts.insert(location.to_owned(), artifact.clone());
        artifact
    }

    /// The context of the step called `step`, with seed 1.
    pub(crate) fn context(&self, step: &str) -> Context {
        Context {
            device: Device::flex(),
            precision: Precision::F32,
            seed: 1,
            shard: Shard::WHOLE,
            output: self.at(step),
            scratch: self.at(&format!("scratch/{step}")),
            cancel: Cancel::default(),
            services: Arc::new(self.clone()),
        }
    }

    /// Runs `C` as the step called `step` and publishes its main output.
    pub(crate) fn run<C: Component>(&self, step: &str, params: Value) -> Result<Artifact> {
        self.run_with::<C>(&self.context(step), params)?;
        Ok(self.publish(step))
    }

    /// Runs `C` in a context made before.
    #[expect(clippy::unused_self, reason = "reads like `run`")]
    pub(crate) fn run_with<C: Component>(&self, context: &Context, params: Value) -> Result<()> {
        let params: C::Params = serde_json::from_value(params).expect("parameters fit");
        C::run(params, context)
    }

    /// Publishes a corpus of short documents with one more column, which holds `cells`.
    pub(crate) fn corpus(&self, location: &str, column: &str, cells: &[&str]) -> Artifact {
        let folder = self.at(location);
        let ids: Vec<String> = (0..cells.len()).map(|i| i.to_string()).collect();
        let columns = vec![
            Column::new("id".into(), &ids),
            Column::new("text".into(), &ids),
            Column::new(column.into(), cells),
        ];
        write_parquet(&folder.join("documents.parquet"), &mut frame(columns)).expect("writes");
        let details = serde_json::json!({ "documents": cells.len() });
        write_header(&folder, Kind::Corpus, cells.join(" "), None, details).expect("writes");
        self.publish(location)
    }

    /// Publishes a corpus of these texts.
    pub(crate) fn texts(&self, location: &str, texts: &[&str]) -> Artifact {
        let mut writer = CorpusWriter::create(&self.at(location), &[]).expect("creates");
        for (i, text) in texts.iter().enumerate() {
            let document = Document {
                id: i.to_string(),
                text: (*text).to_owned(),
                cells: Vec::new(),
            };
            writer.push(document).expect("pushes");
        }
        writer.finish().expect("writes");
        self.publish(location)
    }

    /// Publishes blocks of up to seven tokens out of twenty, document ends being 0; each with its ids and the documents
    /// they belong to, as `(document, tokens)`.
    pub(crate) fn tokens(&self, location: &str, corpus: &Artifact, blocks: &[BlockOf]) -> Artifact {
        let folder = self.at(location);
        let mut writer = TokensWriter::create(&folder, 20).expect("creates");
        for (ids, segments) in blocks {
            let segment = |&(document, tokens): &(u64, u32)| Segment { document, tokens };
            let segments: Vec<Segment> = segments.iter().map(segment).collect();
            writer.push(ids, &segments).expect("writes");
        }
        let details = TokensDetails {
            context: 6,
            vocab_size: 20,
            eos_id: 0,
            bos_id: None,
            boundary: Boundary::Concat,
            blocks: writer.blocks(),
            tokens: writer.tokens(),
            documents: 5,
            dropped_tokens: 0,
            dtype: TokenType::of(20),
            tokenizer: "a tokenizer".to_owned(),
            corpus: Some(corpus.as_source()),
            template: None,
            pairs: None,
        };
        writer.finish(b"{}", &details).expect("writes");
        self.publish(location)
    }

    /// Publishes scores of the documents of `corpus`.
    pub(crate) fn scores(&self, location: &str, corpus: &Artifact, values: &[f64]) -> Artifact {
        let scores = Scores {
            item: Item::Document,
            primary: "score".to_owned(),
            precision: Precision::F32,
            index: (0..values.len() as u64).collect(),
            columns: vec![("score".to_owned(), values.to_vec())],
        };
        scores
            .write(&self.at(location), corpus.as_source())
            .expect("writes");
        self.publish(location)
    }

    /// What was said to the user.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.state
            .lock()
            .expect("no test panics while it holds this")
            .notes
            .clone()
    }

    /// Tokens and FLOPs counted so far.
    pub(crate) fn cost(&self) -> (u64, f64) {
        let state = self.state.lock().expect("no test panics while it holds this");
        (state.tokens, state.flops)
    }
}

impl Services for Bench {
    fn artifact(&self, reference: &str) -> Result<Artifact> {
        self.artifact_at(reference.trim_start_matches('@'))
    }
    fn artifact_at(&self, location: &str) -> Result<Artifact> {
        let state = self.state.lock().expect("no test panics while it holds this");
        let found = state.artifacts.get(location).cloned();
        found.ok_or_else(|| Error::data("unknown_artifact", location))
    }
    fn file(&self, path: &FilePath) -> Result<PathBuf> {
        Ok(self.folder.path().join(&path.0))
    }
    fn folder(&self, path: &FolderPath) -> Result<PathBuf> {
        Ok(self.folder.path().join(&path.0))
    }
    fn bar(&self, _: &str, _: u64, _: &'static str) -> Box<dyn Bar> {
        Box::new(Silent)
    }
    fn measure(&self, _: &str, _: f64) {}
    fn cost(&self, tokens: u64, flops: f64) {
        let mut state = self.state.lock().expect("no test panics while it holds this");
        state.tokens += tokens;
        state.flops += flops;
    }
    fn note(&self, text: &str) {
        let mut state = self.state.lock().expect("no test panics while it holds this");
        state.notes.push(text.to_owned());
    }
}

/// A bench whose bars of one name note what they are told, and ask to stop after so many reports.
#[derive(Clone)]
pub(crate) struct Watcher {
    bench: Bench,
    bar: &'static str,
    cancel: Cancel,
    reports: usize,
    seen: Arc<Mutex<Vec<u64>>>,
}

impl Watcher {
    /// Watches bars called `bar`.
    pub(crate) fn new(bench: &Bench, bar: &'static str, reports: usize) -> Self {
        Self {
            bench: bench.clone(),
            bar,
            cancel: Cancel::default(),
            reports,
            seen: Arc::default(),
        }
    }

    /// The context of the step called `step`, watched.
    pub(crate) fn context(&self, step: &str) -> Context {
        Context {
            cancel: self.cancel.clone(),
            services: Arc::new(self.clone()),
            ..self.bench.context(step)
        }
    }

    /// The units that bars were told of so far.
    pub(crate) fn seen(&self) -> Vec<u64> {
        let seen = self.seen.lock().expect("no test panics while it holds this");
        seen.clone()
    }
}

impl Bar for Watcher {
    fn advance(&self, units: u64) {
        let mut seen = self.seen.lock().expect("no test panics while it holds this");
        seen.push(units);
        if seen.len() == self.reports {
            self.cancel.cancel();
        }
    }
    fn message(&self, _: &str) {}
}

impl Services for Watcher {
    fn artifact(&self, reference: &str) -> Result<Artifact> {
        self.bench.artifact(reference)
    }
    fn artifact_at(&self, location: &str) -> Result<Artifact> {
        self.bench.artifact_at(location)
    }
    fn file(&self, path: &FilePath) -> Result<PathBuf> {
        self.bench.file(path)
    }
    fn folder(&self, path: &FolderPath) -> Result<PathBuf> {
        self.bench.folder(path)
    }
    fn bar(&self, what: &str, _: u64, _: &'static str) -> Box<dyn Bar> {
        if what == self.bar {
            Box::new(self.clone())
        } else {
            Box::new(Silent)
        }
    }
    fn measure(&self, _: &str, _: f64) {}
    fn cost(&self, _: u64, _: f64) {}
    fn note(&self, _: &str) {}
}

/// Numbers agree to `tolerance` of the greatest.
#[track_caller]
pub(crate) fn assert_near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected
        .iter()
        .fold(0.0, |most: f64, value| most.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= tolerance * scale,
            "{what}: {found}, expected {expected}"
        );
    }
}
