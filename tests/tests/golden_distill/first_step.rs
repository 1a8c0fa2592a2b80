//! `distill_first_step.json`: losses and gradients of every distiller's first step, from a pair of checkpoints, through the
//! trainer itself.
//!
//! AdamW with `lr = 1`, `eps = 1` and no decay moves a parameter by `−g/(|g| + 1)` in its first step: what a step has left of a
//! model tells its gradient to the last digits.

use crate::fixture::assert_near;
use lyceum_components::context::{Bar, Cancel, Services, Shard};
use lyceum_components::model::load;
use lyceum_components::train::{Point, read_curve};
use lyceum_components::{Artifact, Context, Device, Error, FilePath, FolderPath, Precision, Result, find};
use lyceum_tests::{Golden, Node};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TOLERANCE: f64 = 1e-9;

/// Steps in a folder; the step called `x` leaves its artifact in `x`.
#[derive(Clone)]
struct Steps(Arc<tempfile::TempDir>);

struct Silent;

impl Bar for Silent {
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
}

impl Services for Steps {
    fn artifact(&self, reference: &str) -> Result<Artifact> {
        let step = reference.trim_start_matches('@');
        Artifact::open(&self.at(step), step, step)
    }
    fn artifact_at(&self, location: &str) -> Result<Artifact> {
        self.artifact(location)
    }
    fn file(&self, path: &FilePath) -> Result<PathBuf> {
        Ok(self.at(&path.0))
    }
    fn folder(&self, path: &FolderPath) -> Result<PathBuf> {
        Ok(Golden::folder().join("models").join(&path.0))
    }
    fn bar(&self, _: &str, _: u64, _: &'static str) -> Box<dyn Bar> {
        Box::new(Silent)
    }
    fn measure(&self, _: &str, _: f64) {}
    fn cost(&self, _: u64, _: f64) {}
    fn note(&self, _: &str) {}
}

impl Steps {
    fn at(&self, step: &str) -> PathBuf {
        self.0.path().join(step)
    }

    fn scratch(&self, step: &str) -> PathBuf {
        self.at(&format!("scratch-{step}"))
    }

    /// Runs a component as the step called `step`.
    fn run(&self, step: &str, component: &str, params: &Value) {
        let (output, scratch) = (self.at(step), self.scratch(step));
        for folder in [&output, &scratch] {
            fs::create_dir_all(folder).expect("a folder");
        }
        let context = Context {
            device: Device::flex(),
            precision: Precision::F64,
            seed: 1,
            shard: Shard::WHOLE,
            output,
            scratch,
            cancel: Cancel::default(),
            services: Arc::new(self.clone()),
        };
        let component = find(component).expect("a component");
        let outcome: std::result::Result<(), Error> = (component.run)(params, &context);
        outcome.unwrap_or_else(|error| panic!("{step}: {error}"));
    }

    /// The named weights of a model, flat.
    fn weights(&self, step: &str) -> BTreeMap<String, Vec<f64>> {
        let artifact = self.artifact(step).expect("a model");
        let loaded = load(&artifact, &Device::flex(), Precision::F64).expect("loads");
        let named = loaded.decoder.to_named(&loaded.config).into_iter();
        named
            .map(|(name, data)| (name, data.convert::<f64>().try_into_vec().expect("f64")))
            .collect()
    }
}

/// Teacher, student and pairs as the fixture has them.
fn steps(root: &Node) -> Steps {
    let steps = Steps(Arc::new(tempfile::tempdir().expect("a folder")));
    for model in ["teacher", "student"] {
        let folder: String = root.get(model).read();
        steps.run(model, "model.load", &json!({ "folder": folder }));
    }
    let pairs: Vec<Value> = root.get("pairs").read();
    assert_eq!(pairs.len(), 6);
    let lines: Vec<String> = pairs.iter().map(|pair| format!("{pair}\n")).collect();
    fs::write(steps.at("pairs.jsonl"), lines.concat()).expect("writes");
    let read = json!({
        "files": ["pairs.jsonl"], "prompt_column": "prompt", "input_column": "input", "response_column": "response",
    });
    steps.run("questions", "corpus.pairs", &read);
    let encode = json!({
        "tokenizer": "@student", "pairs": "@questions", "template": "plain", "context": 79, "max_prompt": 60,
    });
    steps.run("pairs", "tokens.pairs", &encode);
    steps
}

/// What a source would have drawn, as it keeps it for a training that was stopped.
fn given(root: &Node) -> [(&'static str, Value); 3] {
    let prompts: Vec<u32> = root.get("prompts").read();
    let rollouts = root.get("rollouts").items().into_iter().enumerate();
    let rollouts: Vec<Value> = rollouts
        .map(|(block, row)| {
            let of = |key: &str| row.get(key).read::<Value>();
            json!({
                "block": block, "weight": 1.0, "ids": of("ids"), "prompt": prompts[block],
                "drawn": {
                    "prompt": prompts[block], "student": of("student"), "teacher": of("teacher"),
                    "teacher_drawn": of("teacher"),
                },
            })
        })
        .collect();
    let (chosen, rejected): (Vec<Value>, Vec<Value>) =
        (root.get("chosen").read(), root.get("rejected").read());
    let both = chosen.into_iter().zip(rejected).enumerate();
    let preferences: Vec<Value> = both
        .map(|(block, (chosen, rejected))| {
            json!({
                "block": block, "weight": 1.0, "prompt": prompts[block], "chosen": chosen, "rejected": rejected,
            })
        })
        .collect();
    [
        ("rollouts-0.json", json!({ "rows": rollouts, "flops": 0.0 })),
        ("responses-0.json", root.get("responses").read()),
        (
            "preferences-0.json",
            json!({ "pairs": preferences, "dropped": 0, "flops": 0.0 }),
        ),
    ]
}

/// What the curve says of the first step.
fn first(folder: &Path) -> BTreeMap<String, f64> {
    let points: Vec<Point> = read_curve(&folder.join("metrics.parquet")).expect("a curve");
    let points = points.into_iter().filter(|point| point.step == 1);
    points
        .map(|point| (point.metric.to_string(), point.value))
        .collect()
}

#[test]
fn every_distiller_begins_as_pytorch_says() {
    let golden = Golden::open("distill_first_step");
    let root = golden.root();
    root.prose(&["made_with"]);
    let steps = steps(&root);
    let given = given(&root);
    let before = steps.weights("student");
    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 19);
    for (number, case) in cases.iter().enumerate() {
        let (name, component): (String, String) = (case.get("name").read(), case.get("use").read());
        let step = format!("case-{number}");
        fs::create_dir_all(steps.scratch(&step)).expect("a folder");
        for (file, drawn) in &given {
            fs::write(steps.scratch(&step).join(file), drawn.to_string()).expect("writes");
        }
        let mut params = json!({
            "data": "@pairs", "model": "@student",
            "optim": {
                "lr": 1.0, "eps": 1.0, "weight_decay": 0.0, "clip_norm": 1e9, "batch_size": 6, "budget": { "steps": 1 },
                "warmup_steps": 0, "schedule": "constant",
            },
        });
        let own: serde_json::Map<String, Value> = case.get("params").read();
        params.as_object_mut().expect("an object").extend(own);
        steps.run(&step, &component, &params);

        let found = first(&steps.at(&step));
        let near = |what: &str, expected: f64| {
            let found = found
                .get(what)
                .unwrap_or_else(|| panic!("{name}: no {what} in {found:?}"));
            assert_near(&format!("{name}: {what}"), &[*found], &[expected], TOLERANCE);
        };
        near("loss", case.get("loss").read());
        near("grad_norm", case.get("grad_norm").read());
        let notes = case.get("notes").entries();
        let said = found
            .keys()
            .filter(|key| !["loss", "grad_norm", "lr"].contains(&key.as_str()));
        let (said, told): (BTreeSet<_>, BTreeSet<_>) =
            (said.collect(), notes.iter().map(|(key, _)| key).collect());
        assert_eq!(said, told, "{name}: what the terms say of themselves");
        for (key, note) in notes {
            near(&key, note.read());
        }

        let after = steps.weights(&step);
        let gradients = case.get("gradients").entries();
        assert_eq!(gradients.len(), before.len());
        for (key, gradient) in gradients {
            let at: Vec<usize> = gradient.get("at").read();
            assert_eq!(at.len(), 4);
            let moved = at.iter().map(|&i| before[&key][i] - after[&key][i]);
            let found: Vec<f64> = moved.map(|moved| moved / (1.0 - moved.abs())).collect();
            let expected: Vec<f64> = gradient.get("gradient").read();
            assert_near(
                &format!("{name}: gradient of {key}"),
                &found,
                &expected,
                TOLERANCE,
            );
        }
    }
    golden.finish();
}
