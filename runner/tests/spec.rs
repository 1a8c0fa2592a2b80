//! Experiment files as a whole: what is accepted, what is refused and where, and that nothing makes the reader fall over.

#![allow(clippy::disallowed_methods, reason = "tests lay out files as users do")]

mod common;

use common::REGISTRY;
use lyceum::spec::{Diagnostic, Options, Resolved, load, to_toml};
use proptest::prelude::*;
use std::fs;
use tempfile::TempDir;

const DESIGN: &str = include_str!("../../tests/specs/design.toml");

/// An experiment `a.toml` in a folder of its own, which is its root.
struct Bench(TempDir);

impl Bench {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let bench = Self(tempfile::tempdir().expect("a temporary folder"));
        bench.write("lyceum.toml", "");
        bench.write("a.toml", text);
        bench
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), text).expect("a file in it");
    }

    /// The mistakes, each as its code and line.
    fn load(&self, options: &Options) -> Result<Resolved, Vec<(String, usize)>> {
        let place = |mistake: &Diagnostic| (mistake.code.to_owned(), mistake.place().1);
        load(&self.0.path().join("a.toml"), REGISTRY, options)
            .map_err(|mistakes| mistakes.list.iter().map(place).collect())
    }
}

/// Options under which files need not exist.
fn assume() -> Options {
    Options {
        assume: true,
        ..Options::default()
    }
}

fn set(settings: &[&str]) -> Options {
    let sets = settings.iter().map(|&text| text.to_owned()).collect();
    Options { sets, ..assume() }
}

fn mistakes(text: &str) -> Vec<(String, usize)> {
    Bench::new(text).load(&assume()).err().unwrap_or_default()
}

fn resolved(text: &str) -> Resolved {
    Bench::new(text)
        .load(&assume())
        .expect("an experiment without mistakes")
}

/// Puts `to` in the place of `from` in the design's example, and expects one mistake, where `at` stands.
fn refused(from: &str, to: &str, at: &str, code: &str) {
    assert_eq!(DESIGN.matches(from).count(), 1, "`{from}` is not one piece");
    let text = DESIGN.replace(from, to);
    let line = text
        .lines()
        .position(|line| line.contains(at))
        .expect("a piece of the text")
        + 1;
    assert_eq!(mistakes(&text), [(code.to_owned(), line)], "{from} -> {to}");
}

#[test]
fn the_example_of_the_design_is_valid() {
    let ids: Vec<_> = resolved(DESIGN).steps.into_iter().map(|step| step.id).collect();
    let all = "pool clean bpe tokens clean_tokens teacher reference difference chosen \
        student[uniform] student[miniplm] quality";
    assert_eq!(ids, all.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn a_list_of_references_holds_every_variant_with_exact_names() {
    let experiment = resolved(DESIGN);
    let quality = experiment.step("quality").unwrap();
    let models = serde_json::json!(["@student[uniform]", "@student[miniplm]"]);
    assert_eq!(quality.params["models"], models);
    let pointers: Vec<_> = quality.references.iter().map(|r| r.pointer.as_str()).collect();
    assert_eq!(pointers, ["/models/0", "/models/1", "/data"]);
}

#[test]
fn seeds_reach_only_components_that_draw_and_are_not_pinned() {
    let experiment = resolved(DESIGN);
    let seed = |id: &str| experiment.step(id).unwrap().seed;
    assert_eq!(seed("teacher"), Some(42));
    assert_eq!(seed("tokens"), Some(0));
    assert_eq!(seed("difference"), None);
    let pinned = resolved(&DESIGN.replace("[steps.teacher]", "[steps.teacher]\nseed = 7"));
    assert_eq!(pinned.step("teacher").unwrap().seed, Some(7));
}

#[test]
fn mistakes_in_keys_and_values_are_told_in_their_lines() {
    let keep = "keep = 0.5";
    refused(keep, "keep = 0.5\nkeeps = 1", "keeps", "unknown_key");
    refused(keep, "keep = 0.5\nkeep = 0.6", "keep = 0.6", "bad_toml");
    refused(keep, "keep = \"half\"", "half", "wrong_type");
    refused(keep, "keep = 0", "keep = 0", "out_of_range");
    refused(keep, "keep = 1.5", "keep = 1.5", "out_of_range");
    refused(keep, "", "[steps.chosen]", "missing_key");
    refused(
        "vocab_size = 2048",
        "vocab_size = 3",
        "vocab_size = 3",
        "out_of_range",
    );
    refused(
        "boundary = \"document\"",
        "boundary = \"dokument\"",
        "dokument",
        "unknown_value",
    );
    refused(
        "\"tokenizer.train\"",
        "\"tokeniser.train\"",
        "tokeniser",
        "unknown_component",
    );
    refused("use = \"select.top\"", "", "[steps.chosen]", "missing_key");
    refused("[sweep]", "[sweeps]", "[sweeps]", "unknown_key");
    refused("seed  = 42", "seed  = -1", "seed  = -1", "out_of_range");
    refused("\"f32\" ", "\"f16\" ", "f16", "unknown_value");
    refused("\"auto\" ", "\"gpu\" ", "gpu", "bad_form");
    refused(keep, "keep = 0.5\nshards = 4", "shards", "cannot_shard");
}

#[test]
fn a_number_that_is_not_finite_is_one_mistake() {
    refused("keep = 0.5", "keep = nan", "keep = nan", "bad_value");
}

#[test]
fn mistakes_in_references_are_told_in_their_lines() {
    refused("\"@difference\"", "\"@diference\"", "@diference", "unknown_step");
    refused(
        "\"@difference\"",
        "\"difference\"",
        "scores = \"diff",
        "not_a_reference",
    );
    refused("\"@difference\"", "\"@teacher\"", "scores = \"@t", "wrong_kind");
    refused(
        "\"@clean_tokens.valid\"",
        "\"@clean_tokens.test\"",
        "clean_tokens.test",
        "unknown_output",
    );
    refused(
        "\"@clean_tokens.valid\"",
        "\"@clean_tokens\"",
        "= \"@clean_tokens\"",
        "unknown_output",
    );
    refused(
        "teacher = \"@teacher\"",
        "teacher = \"@student\"",
        "teacher = \"@st",
        "ambiguous_variant",
    );
    refused(
        "reference = \"@reference\"",
        "reference = \"@student[x]\"",
        "@student[x]",
        "unknown_variant",
    );
    refused(
        "better = \"student[miniplm]\"",
        "better = \"student[mini]\"",
        "[mini]",
        "unknown_variant",
    );
}

#[test]
fn a_cycle_is_refused() {
    let text = DESIGN.replace("data = \"@tokens\"\nteacher", "data = \"@chosen\"\nteacher");
    let codes: Vec<_> = mistakes(&text).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, ["cycle"]);
}

#[test]
fn a_component_s_own_check_is_told_at_its_field() {
    let budget = "budget = { tokens = 500_000 }";
    let both = "budget = { tokens = 500_000, steps = 3 }";
    refused(budget, both, both, "not_exactly_one");
}

#[test]
fn all_mistakes_come_at_once() {
    let text = DESIGN
        .replace("keep = 0.5", "keep = 5")
        .replace("vocab_size = 2048", "vocab_sizes = 2048")
        .replace("\"@difference\"", "\"@diff\"");
    let codes: Vec<_> = mistakes(&text).into_iter().map(|(code, _)| code).collect();
    for code in ["out_of_range", "unknown_key", "missing_key", "unknown_step"] {
        assert!(codes.contains(&code.to_owned()), "no {code} in {codes:?}");
    }
}

#[test]
fn a_wrong_kind_is_told_beside_mistakes_of_the_step_it_names() {
    let text = DESIGN
        .replace("vocab_size = 2048", "vocab_size = 3")
        .replace("\"@difference\"", "\"@bpe\"");
    let codes: Vec<_> = mistakes(&text).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, ["out_of_range", "wrong_kind"]);
}

#[test]
fn later_layers_win() {
    let bench = Bench::new(format!(
        "extends = [\"base.toml\"]\n{DESIGN}\n[profiles.tiny.steps.chosen]\nkeep = 0.25\n"
    ));
    bench.write(
        "base.toml",
        "[steps.chosen]\nkeep = 0.9\n[experiment]\npaper = \"other\"\ntitle = \"base\"\n",
    );
    let keep =
        |options: &Options| bench.load(options).unwrap().step("chosen").unwrap().params["keep"].clone();
    assert_eq!(keep(&assume()), 0.5);
    let profile = Options {
        profile: Some("tiny".into()),
        ..assume()
    };
    assert_eq!(keep(&profile), 0.25);
    let environment = vec![("LYCEUM__STEPS__CHOSEN__KEEP".to_owned(), "0.75".to_owned())];
    let environment = Options {
        environment,
        ..profile
    };
    assert_eq!(keep(&environment), 0.75);
    let all = Options {
        sets: vec!["steps.chosen.keep=1.0".into()],
        ..environment
    };
    assert_eq!(keep(&all), 1.0);
}

#[test]
fn extends_may_not_come_back_to_itself() {
    let bench = Bench::new(format!("extends = [\"b.toml\"]\n{DESIGN}"));
    bench.write("b.toml", "extends = [\"a.toml\"]\n");
    assert_eq!(
        bench.load(&assume()).unwrap_err(),
        [("extends_cycle".to_owned(), 1)]
    );
}

#[test]
fn a_missing_file_is_told_unless_files_are_assumed() {
    let bench = Bench::new(DESIGN);
    let codes: Vec<_> = bench.load(&Options::default()).unwrap_err();
    assert_eq!(codes.iter().filter(|(code, _)| code == "missing_file").count(), 2);
    assert!(bench.load(&assume()).is_ok());
}

#[test]
fn a_file_outside_the_root_is_refused() {
    for path in ["../pool.jsonl.gz", "/etc/hostname"] {
        refused("data/pool.jsonl.gz", path, path, "outside_root");
    }
}

#[test]
fn a_key_with_a_dot_in_it_is_an_unknown_section() {
    let codes: Vec<_> = mistakes(&format!("\"a.b\" = 1\n{DESIGN}"));
    assert_eq!(codes, [("unknown_key".to_owned(), 1)]);
}

#[test]
fn a_condition_must_be_true_or_false() {
    let with = |when: &str| DESIGN.replace("[steps.quality]", &format!("[steps.quality]\nwhen = \"{when}\""));
    assert!(resolved(&with("seed == 42")).step("quality").is_some());
    let codes: Vec<_> = mistakes(&with("seed +"))
        .into_iter()
        .map(|(code, _)| code)
        .collect();
    assert_eq!(codes, ["bad_condition"]);
    let codes: Vec<_> = mistakes(&with("seed + 1"))
        .into_iter()
        .map(|(code, _)| code)
        .collect();
    assert_eq!(codes, ["bad_condition"]);
}

#[test]
fn the_resolved_file_gives_the_same_steps() {
    let first = resolved(DESIGN);
    let bench = Bench::new("");
    let shown = to_toml(&first);
    // Its paths are absolute; here they lie in the folder of the first bench, which may be read.
    bench.write("a.toml", &shown);
    let options = Options {
        allow: vec![first.root.clone()],
        ..assume()
    };
    let second = bench
        .load(&options)
        .unwrap_or_else(|codes| panic!("{codes:?}\n{shown}"));
    let facts = |experiment: &Resolved| {
        let step = |step: &lyceum::spec::Step| {
            let mut params = step.params.clone();
            for file in &step.files {
                *params.pointer_mut(&file.pointer).unwrap() = file.path.to_string_lossy().into();
            }
            (
                step.id.clone(),
                params,
                step.seed,
                step.precision,
                step.references.clone(),
            )
        };
        experiment.steps.iter().map(step).collect::<Vec<_>>()
    };
    assert_eq!(facts(&first), facts(&second));
    assert_eq!(first.claims, second.claims);
}

#[test]
fn settings_on_the_command_line_are_checked_too() {
    let bench = Bench::new(DESIGN);
    let codes = |settings: &[&str]| -> Vec<String> {
        let found = bench.load(&set(settings)).err().unwrap_or_default();
        found.into_iter().map(|(code, _)| code).collect()
    };
    assert_eq!(codes(&["steps.chosen.keep=0.3"]), Vec::<String>::new());
    assert_eq!(codes(&["steps.chosen.keep=3"]), ["out_of_range"]);
    assert_eq!(codes(&["steps.chosen.kept=0.3"]), ["unknown_key"]);
}

/// Every `$ref` in a schema.
fn targets(schema: &serde_json::Value) -> Vec<String> {
    match schema {
        serde_json::Value::Object(entries) => {
            let own = entries
                .get("$ref")
                .and_then(|target| target.as_str())
                .map(str::to_owned);
            own.into_iter()
                .chain(entries.values().flat_map(targets))
                .collect()
        }
        serde_json::Value::Array(items) => items.iter().flat_map(targets).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_editor_s_schema_takes_the_design_s_example_and_refuses_a_wrong_key() {
    let schema = lyceum::schema::whole_schema(REGISTRY);
    for target in targets(&schema) {
        assert!(
            schema.pointer(target.trim_start_matches('#')).is_some(),
            "{target} leads nowhere"
        );
    }
    let validator = jsonschema::validator_for(&schema).unwrap();
    let read = |text: &str| toml::from_str::<serde_json::Value>(text).unwrap();
    let complaints: Vec<_> = validator
        .iter_errors(&read(DESIGN))
        .map(|e| e.to_string())
        .collect();
    assert_eq!(complaints, Vec::<String>::new());
    assert!(!validator.is_valid(&read(&DESIGN.replace("vocab_size", "vocab_sizes"))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes changed, cut out or put in anywhere: an answer, never a panic, and every mistake can be shown.
    #[test]
    fn no_bytes_make_it_fall_over(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, prop::collection::vec(any::<u8>(), 0..6)), 1..5),
    ) {
        let mut bytes = DESIGN.as_bytes().to_vec();
        for (at, cut, put) in edits {
            let at = at.index(bytes.len());
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, put);
        }
        let bench = Bench::new(bytes);
        if let Err(mistakes) = load(&bench.0.path().join("a.toml"), REGISTRY, &assume()) {
            prop_assert!(!mistakes.list.is_empty());
            mistakes.render(false);
            mistakes.to_json();
        }
    }

    /// As above, with the pieces TOML and the grammar are made of.
    #[test]
    fn no_pieces_make_it_fall_over(
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(PIECES)), 1..6),
    ) {
        let mut lines: Vec<&str> = DESIGN.lines().collect();
        for (at, piece) in edits {
            let at = at.index(lines.len());
            lines[at] = piece;
        }
        let bench = Bench::new(lines.join("\n"));
        if let Err(mistakes) = load(&bench.0.path().join("a.toml"), REGISTRY, &assume()) {
            prop_assert!(!mistakes.list.is_empty());
            mistakes.render(false);
        }
    }
}

const PIECES: &[&str] = &[
    "",
    "[steps]",
    "[steps.pool]",
    "[[steps]]",
    "[[claims]]",
    "claims = 3",
    "steps = 1",
    "use = 1",
    "matrix = 1",
    "matrix.data = \"@\"",
    "matrix.data = \"@student\"",
    "matrix.keep = []",
    "matrix.keep = [[1], [2]]",
    "data = \"@[\"",
    "data = \"@a[b\"",
    "data = {}",
    "when = \"\"",
    "when = \"seed\"",
    "seed = 1e400",
    "extends = \"a.toml\"",
    "extends = [1]",
    "x = 1979-05-27",
    "\"\" = 1",
    "\"a/b~c\" = 1",
    "é = \"\\u00e9\"",
    "[profiles.a]",
    "[sweep.grid]",
    "\"steps..x\" = [1]",
    "[report]",
    "[runtime]",
];
