//! What is accepted, and what becomes of it.

use super::*;
use lyceum::spec::to_toml;

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
