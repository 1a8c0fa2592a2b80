//! What plans say things cost: experiments at the papers' scale by the papers' own counts, and small ones by what they took.

use lyceum::plan::Planner;
use lyceum::spec::{Options, load};
use lyceum::store::Store;
use lyceum_components::COMPONENTS;
use lyceum_components::flops::Convention;
use lyceum_tests::Lab;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// FLOPs by step, planned without data.
fn costs(experiment: &str, convention: Convention) -> BTreeMap<String, f64> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../experiments/paper")
        .join(experiment);
    let options = Options {
        assume: true,
        ..Options::default()
    };
    let resolved = load(&file, COMPONENTS, &options).unwrap_or_else(|said| panic!("{}", said.render(false)));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::new(folder.path().to_path_buf());
    let plan = Planner::new(&store)
        .counting(convention)
        .plan(&resolved, true)
        .expect("a plan");
    let cost = |step: &lyceum::plan::Planned| (step.step.id.clone(), step.estimate.flops);
    plan.steps.iter().map(cost).collect()
}

#[track_caller]
fn close(costs: &BTreeMap<String, f64>, step: &str, paper: f64) {
    let planned = costs[step];
    assert!(
        (planned / paper - 1.0).abs() < 0.05,
        "{step}: {planned:.3e}, the paper's count is {paper:.3e}"
    );
}

#[test]
fn difference_sampling_costs_what_its_paper_counts() {
    for (size, training) in [("200m", 6.4e19), ("500m", 1.5e20), ("1.2b", 2.9e20)] {
        let costs = costs(&format!("miniplm/{size}.toml"), Convention::Products);
        // Teacher and reference over 1e11 tokens.
        close(&costs, "difference", 3.1e20 + 2.1e19);
        close(&costs, "reference", 3.1e18);
        close(&costs, "student[plain]", training);
        close(&costs, "student[miniplm]", training);
    }
}

#[test]
fn pds_costs_what_its_paper_counts() {
    let tokens = 512.0 * 1024.0 * 1e5;
    let sizes = [
        ("160m", 162_417_408.0),
        ("470m", 468_239_360.0),
        ("1b", 1_004_348_928.0),
        ("1.7b", 1_741_785_088.0),
    ];
    for (size, parameters) in sizes {
        let costs = costs(&format!("pds/{size}.toml"), Convention::Parameters);
        // Trajectory, target gradients, Hessian products, proxy scores.
        close(&costs, "proxy", 2.5e16 + 1.0e17 + 5e16 + 1.1e18);
        close(&costs, "scorer", 5.7e17);
        close(&costs, "scores", 2.0 * 1.25e8 * 125e9);
        close(&costs, "proxy_model", 5.1e19 / 10.0);
        close(&costs, "student[pds]", 6.0 * parameters * tokens);
        close(&costs, "student[conventional]", 6.0 * parameters * tokens);
    }
}

/// A student on chosen data, and two that are matched with each other's.
const SMALL: &str = r#"
[experiment]
name = "charged"
seed = 3

[steps.pool]
use = "corpus.jsonl"
files = ["pool.jsonl"]

[steps.bpe]
use = "tokenizer.train"
corpus = "@pool"
vocab_size = 300

[steps.tokens]
use = "tokens.pack"
tokenizer = "@bpe"
corpus = "@pool"
context = 32
boundary = "concat"
split = { pool = 0.8, other = 0.2 }

[steps.teacher]
use = "train.lm"
data = "@tokens.other"
model = { hidden_size = 32, num_hidden_layers = 2, num_attention_heads = 2 }
optim = { lr = 1e-3, batch_size = 4, budget = { steps = 6 } }

[steps.reference]
use = "train.lm"
data = "@tokens.other"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
optim = { lr = 1e-3, batch_size = 4, budget = { steps = 8 } }

[steps.difference]
use = "score.miniplm"
data = "@tokens.pool"
teacher = "@teacher"
reference = "@reference"

[steps.chosen]
use = "select.top"
scores = "@difference"
keep = 0.5

[steps.plain]
use = "train.lm"
data = "@tokens.pool"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
optim = { lr = 1e-3, batch_size = 4, budget = { steps = 60 } }

[steps.student]
use = "train.lm"
data = "@chosen"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
optim = { lr = 1e-3, batch_size = 4, budget = { match = "@plain", charge = ["scoring", "reference"] } }

[steps.paid]
use = "train.lm"
data = "@tokens.pool"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
optim = { lr = 1e-3, batch_size = 4, budget = { match = "@student", charge = ["scoring", "reference"] } }
"#;

fn small(experiment: &str) -> Lab {
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    let words = [
        "sea", "boat", "wind", "harbour", "sail", "rope", "captain", "whale",
    ];
    let line = |i: usize| {
        let text: Vec<&str> = (0..40)
            .map(|at| words[(i * 7 + at * at * (i % 5 + 1)) % 8])
            .collect();
        format!("{{\"text\": \"{}.\"}}\n", text.join(" "))
    };
    lab.write("pool.jsonl", (0..60).map(line).collect::<String>());
    lab.write("charged.toml", experiment);
    lab
}

/// A number of every step in a plan.
fn planned(plan: &Value, field: &str) -> BTreeMap<String, f64> {
    let steps = plan["steps"].as_array().expect("steps");
    let of = |step: &Value| {
        let id = step["id"].as_str().expect("a name").to_owned();
        (id, step[field].as_f64().expect("a number"))
    };
    steps.iter().map(of).collect()
}

#[test]
fn data_are_paid_from_the_budget() {
    let lab = small(SMALL);
    lab.lyceum(&["run", "charged.toml"])
        .exits(0)
        .says(&["are left for training"]);
    let took = |step: &str| -> (f64, f64) {
        let key = |plan: &Value| {
            let steps = plan["steps"].as_array().expect("steps").clone();
            let found = steps
                .into_iter()
                .find(|found| found["id"] == step)
                .expect("the step");
            format!(
                "{}/{}",
                found["component"].as_str().expect("text"),
                found["key"].as_str().expect("text")
            )
        };
        let plan = lab
            .lyceum(&["plan", "charged.toml", "--format", "json"])
            .exits(0)
            .json();
        let folder = lab.path(&format!(".lyceum/store/{}", key(&plan)));
        let read = |name: &str| -> Value {
            let text = std::fs::read(folder.join(name)).expect("a file");
            serde_json::from_slice(&text).expect("JSON")
        };
        let charged = read("artifact.json")["details"]["charged"].clone();
        let charged = charged.as_object().into_iter().flatten();
        let flops = read("manifest.json")["cost"]["flops"].as_f64().expect("a number");
        (
            flops,
            charged.map(|(_, flops)| flops.as_f64().expect("a number")).sum(),
        )
    };
    let (plain, student, paid) = (took("plain"), took("student"), took("paid"));
    let charge = took("difference").0 + took("reference").0;
    assert!(
        (student.1 / charge - 1.0).abs() < 1e-12,
        "{student:?} {charge:.3e}"
    );
    assert!((paid.1 / charge + 1.0).abs() < 1e-12, "{paid:?} {charge:.3e}");
    // To a step, of which the plain one took sixty.
    assert!(
        (student.0 + charge - plain.0).abs() < plain.0 / 60.0,
        "{student:?} {plain:?}"
    );
    assert!((paid.0 - plain.0).abs() < plain.0 / 60.0, "{paid:?} {plain:?}");

    // What the plan expects once the data are there is what it took, and what is charged is told beforehand.
    let plan = lab
        .lyceum(&["plan", "charged.toml", "--format", "json"])
        .exits(0)
        .json();
    let (flops, charged) = (planned(&plan, "flops"), planned(&plan, "charged_flops"));
    for step in ["teacher", "reference", "difference", "plain", "student", "paid"] {
        let took = took(step).0;
        assert!(
            (flops[step] / took - 1.0).abs() < 0.02,
            "{step}: {:.4e} {took:.4e}",
            flops[step]
        );
    }
    assert_eq!((charged["student"], charged["paid"]), (student.1, paid.1));
    let text = lab
        .lyceum(&["plan", "charged.toml", "--set", "experiment.seed=4"])
        .exits(0)
        .stdout;
    assert!(text.contains("FLOPs charged"), "{text}");
    let report = lab.lyceum(&["report", "latest", "--to", "report"]).exits(0);
    let page =
        std::fs::read_to_string(lab.path("report/report.md")).unwrap_or_else(|e| panic!("{e}: {report:?}"));
    assert!(page.contains(" charged |"), "{page}");
}

#[test]
fn a_charge_that_leaves_nothing_is_refused_before_training() {
    let lab = small(&SMALL.replace("budget = { steps = 60 }", "budget = { steps = 2 }"));
    let ended = lab.lyceum(&["run", "charged.toml"]).exits(3);
    ended.says(&["budget_too_small", "scoring", "reference"]);
}

#[test]
fn a_charge_without_a_match_is_a_mistake() {
    let lab = small(&SMALL.replace(
        "budget = { steps = 60 }",
        "budget = { steps = 60, charge = [\"scoring\"] }",
    ));
    lab.lyceum(&["validate", "charged.toml"])
        .exits(2)
        .says(&["conflicting_fields"]);
}
