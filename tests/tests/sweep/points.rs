//! Which points there are, and what is said of wrong ones.

use super::{lab, sweep};
use lyceum_tests::Lab;
use serde_json::{Value, json};

fn plan(lab: &Lab) -> Value {
    lab.lyceum(&["plan", "tiny.toml", "--sweep", "--format", "json"])
        .exits(0)
        .json()
}

fn settings(plan: &Value) -> Vec<(Value, Value)> {
    let points = plan["points"].as_array().expect("a list").iter();
    points
        .map(|point| (point["settings"].clone(), point["seed"].clone()))
        .collect()
}

#[test]
fn grid_zip_list_and_seeds_multiply() {
    let lab = lab(r#"
seeds = [1, 2]
grid = { "steps.found.keep" = [0.2, 0.4] }
zip = { "steps.bpe.vocab_size" = [300, 310], "steps.tokens.context" = [16, 32] }
list = [{ "steps.found.bins" = 10 }, { "steps.found.bins" = 20, "steps.pool.keep_columns" = ["quality", "id"] }]
"#);
    let points = settings(&plan(&lab));
    assert_eq!(points.len(), 16);
    let first = json!({
        "steps.bpe.vocab_size": 300, "steps.found.bins": 10, "steps.found.keep": 0.2, "steps.tokens.context": 16,
    });
    assert_eq!(points[0], (first.clone(), json!(1)));
    assert_eq!(points[1], (first, json!(2)));
    let last = json!({
        "steps.bpe.vocab_size": 310, "steps.found.bins": 20, "steps.found.keep": 0.4,
        "steps.pool.keep_columns": ["quality", "id"], "steps.tokens.context": 32,
    });
    assert_eq!(points[15], (last, json!(2)));
}

#[test]
fn more_random_points_keep_the_earlier_ones() {
    let random = |points: u32| {
        format!(
            "random = {{ points = {points}, ranges = {{ \"steps.found.keep\" = [0.1, 0.9], \"steps.tokens.context\" = [8, 16] }} }}"
        )
    };
    let lab = lab(&random(2));
    let few = settings(&plan(&lab));
    super::declare(&lab, &random(5));
    let more = settings(&plan(&lab));
    assert_eq!((few.len(), more.len()), (2, 5));
    assert_eq!(few[..], more[..2]);
    for (settings, _) in &more {
        assert!((8..=16).contains(&settings["steps.tokens.context"].as_i64().expect("a whole number")));
        assert!((0.1..=0.9).contains(&settings["steps.found.keep"].as_f64().expect("a number")));
    }
}

#[test]
fn a_condition_sees_the_point() {
    let lab = lab("seeds = [1, 2]\ngrid = { \"steps.found.keep\" = [0.2, 0.4] }");
    let text = std::fs::read_to_string(lab.path("tiny.toml")).expect("the file");
    let only = "[steps.found]\nwhen = \"seed == 2 and params.keep > 0.3\"";
    lab.write("tiny.toml", text.replace("[steps.found]", only));
    let counts: Vec<_> = plan(&lab)["points"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|point| point["steps"].clone())
        .collect();
    assert_eq!(counts, [5, 5, 5, 6]);
    assert_eq!(sweep(&lab).len(), 4);
    let measured = super::results(&lab);
    assert!(
        measured.iter().all(|row| row[1..3] == ["2", "0.4"]),
        "{measured:?}"
    );
    assert!(!measured.is_empty());
}

#[test]
fn tables_merge_as_in_every_layer() {
    let lab = lab("grid = { \"steps.model.optim\" = [{ lr = 1e-3 }, { lr = 2e-3 }] }");
    let text = std::fs::read_to_string(lab.path("tiny.toml")).expect("the file");
    let model = "[steps.model]
use = \"train.lm\"
data = \"@tokens\"
model = { hidden_size = 32, num_hidden_layers = 1, num_attention_heads = 2 }
optim = { lr = 1e-3, batch_size = 4, budget = { steps = 2 } }
[sweep]";
    lab.write("tiny.toml", text.replace("[sweep]", model));
    let plan = plan(&lab);
    assert_eq!(["steps", "new"].map(|key| plan[key].clone()), [8, 8], "{plan}");
}

#[test]
fn an_environment_variable_is_weaker_than_the_point() {
    let lab = lab("grid = { \"steps.tokens.context\" = [8, 16] }");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
        .args(["sweep", "tiny.toml"])
        .current_dir(lab.path(""))
        .env("LYCEUM__STEPS__TOKENS__CONTEXT", "32")
        .env("LYCEUM__STEPS__FOUND__KEEP", "0.3")
        .env("LYCEUM_HOME", "elsewhere")
        .output()
        .expect("the command runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(!lab.path(".lyceum").exists());
    let folder = lab.path("elsewhere/sweeps/tiny/points");
    let mut contexts = Vec::new();
    for id in lyceum_tests::list(&folder) {
        let spec = std::fs::read_to_string(folder.join(id).join("point.toml")).expect("a spec");
        assert!(spec.contains("keep = 0.3"), "{spec}");
        contexts.extend(
            spec.lines()
                .find(|line| line.starts_with("context"))
                .map(str::to_owned),
        );
    }
    contexts.sort();
    assert_eq!(contexts, ["context = 16", "context = 8"]);
    assert_eq!(
        lyceum_tests::list(&lab.path("elsewhere/store/tokens.pack")).len(),
        2
    );
}

#[test]
fn a_mistake_of_a_point_is_shown_once_where_its_value_stands() {
    let lab = lab(
        "seeds = [1, 2, 3]\ngrid = { \"steps.found.keep\" = [0.2, 0.4], \"steps.bpe.vocab_size\" = [300, 12] }",
    );
    let line = super::TINY.lines().count() + 3;
    for verb in [&["sweep", "tiny.toml"][..], &["plan", "tiny.toml", "--sweep"]] {
        let ended = lab.lyceum(verb).exits(2);
        ended.says(&[
            &format!("tiny.toml:{line}:"),
            "12",
            "1 mistake found",
            "at the point",
            "seed 1",
        ]);
        assert_eq!(ended.stdout, "");
    }
    assert!(!lab.path(".lyceum").exists(), "nothing is written");
}

#[test]
fn what_a_sweep_may_not_say_is_shown_in_place() {
    for (sweep, code, said) in [
        (
            "grid = { \"steps.fuond.keep\" = [1] }",
            "unknown_path",
            "did you mean `found`",
        ),
        ("grid = { \"experiment.seed\" = [1] }", "unknown_path", "seeds = "),
        ("grid = { \"steps.found.keep\" = [] }", "empty_axis", "no values"),
        (
            "zip = { \"steps.found.keep\" = [0.1], \"steps.found.bins\" = [3, 4] }",
            "unequal_lengths",
            "expected 1",
        ),
        (
            "grid = { \"steps.found.keep\" = [0.1] }\nlist = [{ \"steps.found.keep\" = 0.2 }]",
            "swept_twice",
            "`steps.found.keep`",
        ),
        (
            "random = { points = 2, ranges = { \"steps.found.keep\" = [0.9, 0.1] } }",
            "bad_range",
            "low below high",
        ),
        (
            "random = { points = 2, ranges = { \"steps.found.keep\" = [0.0, 0.1] }, log = [\"steps.found.keep\"] }",
            "bad_range",
            "above 0",
        ),
        (
            "random = { points = 200_000, ranges = { \"steps.found.keep\" = [0.1, 0.2] } }",
            "too_many_points",
            "at most 100000",
        ),
        ("metric = \"chance.auc\"", "unknown_step", "leaves a table"),
    ] {
        let ended = lab(sweep).lyceum(&["validate", "tiny.toml"]).exits(2);
        ended.says(&[code, said, "1 mistake found"]);
    }
}

#[test]
fn an_experiment_without_a_sweep_is_told_so() {
    let lab = lab("");
    lab.write("plain.toml", super::TINY);
    lab.lyceum(&["sweep", "plain.toml"])
        .exits(2)
        .says(&["no `[sweep]`", "seeds = [1, 2, 3]"]);
    // An empty sweep is the experiment itself.
    assert_eq!(sweep(&lab).len(), 1);
}
