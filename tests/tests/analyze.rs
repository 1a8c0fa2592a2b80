//! Laws and acceleration as steps of an experiment: from training curves to tables and plots.

#![cfg(unix)]

use lyceum_tests::{Lab, list};
use serde_json::Value;
use std::fmt::Write;
use std::fs;

fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
}

/// The rows of a step's table.
fn rows(lab: &Lab, step: &str) -> Vec<Value> {
    let to = format!("out-{step}");
    lab.lyceum(&["export", step, "--to", &to, "--as", "json"])
        .exits(0);
    let text = fs::read_to_string(lab.path(&to).join("table.json")).expect("a table");
    serde_json::from_str(&text).expect("JSON")
}

fn value(rows: &[Value], variant: &str, metric: &str, group: Option<&str>) -> Option<f64> {
    let row = rows
        .iter()
        .find(|row| row["variant"] == variant && row["metric"] == metric && row["group"].as_str() == group);
    row?["value"].as_f64()
}

/// Losses of two laws, the second with a smaller term of tokens.
fn laws() -> String {
    let mut text = String::from(
        r#"[experiment]
name = "laws"
[steps.law]
use = "analyze.scaling_law"
baseline = "uniform"
bootstrap = 50
predict = [{ name = "large", parameters = 7e9, amount = 1e12 }]
points = ["#,
    );
    for (fit, b) in [("uniform", 410.0), ("chosen", 380.0)] {
        for parameters in [2e8, 4.6e8, 1.2e9, 3e9] {
            for (i, amount) in [1e10, 2e10, 3e10, 4e10, 5e10_f64].into_iter().enumerate() {
                // A little noise, so that intervals have a width.
                let noise = 1.0 + 1e-4 * [0.7, -1.0, 0.2, 0.9, -0.6][i];
                let loss = (1.9 + 320.0 / f64::powf(parameters, 0.33) + b / amount.powf(0.29)) * noise;
                writeln!(
                    text,
                    "  {{ fit = \"{fit}\", parameters = {parameters:e}, amount = {amount:e}, loss = {loss} }},"
                )
                .expect("a string");
            }
        }
    }
    text + "]\n"
}

#[test]
fn laws_of_given_points_predict_and_are_drawn() {
    let lab = lab();
    lab.write("e.toml", laws());
    lab.lyceum(&["run", "e.toml"]).exits(0);
    let rows = rows(&lab, "law");
    let get = |variant: &str, metric: &str| value(&rows, variant, metric, None);
    let large = |variant: &str, metric: &str| value(&rows, variant, metric, Some("large"));
    for (fit, loss) in [("uniform", 2.2162), ("chosen", 2.2062)] {
        assert!((get(fit, "beta").expect("a slope") - 0.29).abs() < 0.02, "{fit}");
        assert!(get(fit, "r2").expect("r2") > 0.999);
        assert!(get(fit, "held_out_error").expect("four sizes") < 0.01);
        let [low, b, high] = ["B_low", "B", "B_high"].map(|metric| get(fit, metric).expect("an interval"));
        assert!(low < b && b < high, "{low} {b} {high}");
        let found = large(fit, "loss").expect("a prediction");
        assert!((found - loss).abs() < 0.01, "{fit}: {found}");
        let ends = ["loss_low", "loss_high"].map(|metric| large(fit, metric).expect("an end"));
        assert!(
            ends[0] < ends[1] && ends[0] <= found && found <= ends[1],
            "{ends:?} {found}"
        );
    }
    // (410/380)^(1/0.29)
    let sooner = large("chosen", "acceleration").expect("it is reached");
    assert!((sooner - 1.3).abs() < 0.05, "{sooner}");
    assert_eq!(large("uniform", "acceleration"), None);
    let run = lab.path(".lyceum/runs/latest");
    let report = fs::read_to_string(run.join("report.md")).expect("a report");
    for fit in ["uniform", "chosen"] {
        let plot = format!("law-Scaling-law--{fit}.svg");
        assert!(
            list(&run.join("plots")).contains(&plot),
            "{:?}",
            list(&run.join("plots"))
        );
        assert!(report.contains(&plot), "{report}");
        let svg = fs::read_to_string(run.join("plots").join(plot)).expect("a plot");
        assert_eq!(svg.matches("<circle").count(), 20);
        assert!(svg.contains("tokens trained on") && svg.contains("2.000e8 parameters"));
    }
    // The same numbers again, whatever the number of threads.
    let hashes = lab.hashes();
    fs::remove_dir_all(lab.path(".lyceum/store/analyze.scaling_law")).expect("a law");
    let one = lab.start_with(&["run", "e.toml"], &[("RAYON_NUM_THREADS", "1")]);
    lyceum_tests::Ended::of(one).exits(0);
    assert_eq!(lab.hashes(), hashes);
}

#[test]
fn trainings_are_compared_by_their_curves() {
    let lab = lab();
    let mut pool = String::new();
    for i in 0..200 {
        let words = ["river", "boat", "hills", "rain", "field", "bird", "green", "old"];
        let line: Vec<&str> = (0..30).map(|k| words[(i * i + 7 * k + k * k * i) % 8]).collect();
        writeln!(pool, "{{\"text\": \"{}.\"}}", line.join(" ")).expect("a string");
    }
    lab.write("pool.jsonl", pool);
    lab.write(
        "e.toml",
        r#"
[experiment]
name = "sooner"
[steps.pool]
use = "corpus.jsonl"
files = ["pool.jsonl"]
[steps.bpe]
use = "tokenizer.train"
corpus = "@pool"
vocab_size = 280
[steps.tokens]
use = "tokens.pack"
tokenizer = "@bpe"
corpus = "@pool"
context = 16
split = { train = 0.8, valid = 0.2 }
[steps.student]
use = "train.lm"
data = "@tokens.train"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
eval = { data = "@tokens.valid", every = 4 }
[steps.student.matrix.optim]
slow = { lr = 3e-4, batch_size = 8, schedule = "constant", budget = { steps = 40 } }
fast = { lr = 1e-2, batch_size = 8, schedule = "constant", budget = { steps = 40 } }
[steps.sooner]
use = "analyze.acceleration"
baseline = "@student[slow]"
models = "@student"
[steps.law]
use = "analyze.scaling_law"
form = "steps"
models = { slow = "@student[slow]", fast = "@student[fast]" }
losses = "train"
"#,
    );
    lab.lyceum(&["run", "e.toml"]).exits(0);
    let rows = rows(&lab, "sooner");
    let slow = value(&rows, "student[slow]", "acceleration", None);
    assert_eq!(slow, Some(1.0), "{rows:?}");
    let fast = value(&rows, "student[fast]", "acceleration", None).expect("it is reached");
    assert!(fast > 2.0, "{fast}");
    let tokens = value(&rows, "student[fast]", "acceleration_tokens", None).expect("it is reached");
    assert!((tokens / fast - 1.0).abs() < 0.2, "{tokens} {fast}");
    let plots = list(&lab.path(".lyceum/runs/latest/plots"));
    for plot in ["sooner-Loss-on-the-way.svg", "law-Scaling-law.svg"] {
        assert!(plots.iter().any(|name| name == plot), "{plots:?}");
    }
}

#[test]
fn what_tells_no_law_is_refused_beforehand_or_with_its_code() {
    let lab = lab();
    let of = |options: &str| {
        format!("[experiment]\nname = \"law\"\n[steps.law]\nuse = \"analyze.scaling_law\"\n{options}\n")
    };
    let points = |losses: &[f64]| {
        let point = |(i, loss): (usize, &f64)| format!("{{ amount = {}, loss = {loss} }}", i + 1);
        let points: Vec<String> = losses.iter().enumerate().map(point).collect();
        format!("points = [{}]", points.join(", "))
    };
    let falling = points(&[4.0, 3.0, 2.5, 2.2, 2.0]);
    for (options, code) in [
        (String::new(), "missing_field"),
        (format!("{falling}\nbaseline = \"uniform\""), "unknown_fit"),
        (format!("{falling}\nfrom = 2"), "conflicting_fields"),
        (format!("{falling}\nskip = 1.0"), "out_of_range"),
        (points(&[4.0, -3.0]), "out_of_range"),
    ] {
        lab.write("bad.toml", of(&options));
        lab.lyceum(&["validate", "bad.toml"]).exits(2).says(&[code]);
    }
    for (options, code) in [
        (falling.clone(), "too_few_points"),
        (
            format!("{}\nform = \"tokens\"", points(&[4.0, 3.0, 2.0])),
            "too_few_points",
        ),
        (
            format!("{}\nform = \"tokens\"", points(&[1.0, 2.0, 3.0, 4.0])),
            "no_fit",
        ),
        (
            format!("{}\nform = \"steps\"", points(&[1.0, 2.0, 3.0, 4.0])),
            "no_fit",
        ),
    ] {
        lab.write("bad.toml", of(&options));
        let error = format!("error[{code}]");
        lab.lyceum(&["run", "bad.toml"])
            .exits(3)
            .says(&[&error, "fit `points`", "hint: "]);
    }
}
