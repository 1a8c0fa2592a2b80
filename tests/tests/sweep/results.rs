//! The tables and the report.

use super::{TINY, lab, report, results, sweep};
use polars::prelude::{ParquetReader, SerReader};
use std::collections::BTreeSet;
use std::fs::{self, File};

const GRID: &str = "seeds = [1, 2, 3]\ngrid = { \"steps.tokens.context\" = [16, 32] }";

#[test]
fn every_point_is_in_the_results_and_shared_steps_run_once() {
    let lab = lab(GRID);
    let points = sweep(&lab);
    assert_eq!(points.len(), 6);
    assert!(points.iter().all(|point| point["status"] == "done"), "{points:?}");
    assert_eq!(lab.artifacts("corpus.jsonl").len(), 1);
    assert_eq!(lab.artifacts("tokenizer.train").len(), 1);
    assert_eq!(lab.artifacts("tokens.pack").len(), 2);

    let rows = results(&lab);
    let ids: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let expected: BTreeSet<&str> = points
        .iter()
        .map(|point| point["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids, expected);
    assert!(ids.iter().all(|id| id.len() == 12), "{ids:?}");
    // Two variants: base rate, AUC, precision, recall, and the kept share of two labels.
    assert_eq!(rows.len(), 6 * 2 * 6);

    let folder = lab.path(".lyceum/sweeps/tiny");
    let frame = ParquetReader::new(File::open(folder.join("results.parquet")).expect("a file"))
        .finish()
        .expect("a table");
    assert_eq!(frame.height(), rows.len());
    let names: Vec<String> = frame.get_column_names().iter().map(ToString::to_string).collect();
    let expected = [
        "point",
        "seed",
        "steps.tokens.context",
        "step",
        "variant",
        "metric",
        "group",
        "value",
        "n",
        "standard_error",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        frame
            .column("steps.tokens.context")
            .expect("a column")
            .dtype()
            .to_string(),
        "i64"
    );

    // What a point measured is what a run of its settings measures.
    let point = &points[0];
    let run = lab
        .lyceum(&[
            "run",
            "tiny.toml",
            "--set",
            "experiment.seed=1",
            "--set",
            "steps.tokens.context=16",
        ])
        .exits(0);
    assert_eq!(run.cached().len(), 6, "{}", run.stderr);
    let file = format!(
        ".lyceum/sweeps/tiny/points/{}/point.toml",
        point["id"].as_str().expect("an id")
    );
    let again = lab.lyceum(&["run", &file]).exits(0);
    assert_eq!(again.cached().len(), 6);
    assert!(
        !fs::read_to_string(lab.path(&file))
            .expect("a spec")
            .contains("[sweep")
    );
}

#[test]
fn the_report_judges_every_setting_over_its_seeds_and_is_the_same_each_time() {
    let lab = lab(&format!("{GRID}\nmetric = \"found.recall\""));
    sweep(&lab);
    let first = report(&lab);
    let rows = |text: &str, start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(
        rows(&first, "| blocks are found better | context = "),
        2,
        "{first}"
    );
    assert!(first.contains("| 3 | seeds |"), "{first}");
    assert_eq!(rows(&first, "| found.recall (higher is better) |"), 2, "{first}");
    assert_eq!(rows(&first, "| found.auc (higher is better) |"), 2, "{first}");
    assert!(
        first.contains("6 of 6 points of `tiny.toml` are done: 2 settings, seeds 1, 2, 3."),
        "{first}"
    );
    assert!(first.contains(" ± "), "{first}");
    for name in first
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        let svg = fs::read_to_string(lab.path(".lyceum/sweeps/tiny").join(name)).expect("a plot");
        assert!(svg.starts_with("<svg") && svg.contains("context"), "{name}");
    }
    assert_eq!(first.matches("](plots/").count(), 2);

    let files = ["report.md", "results.csv", "results.parquet"]
        .map(|name| lab.path(".lyceum/sweeps/tiny").join(name));
    let bytes = || files.clone().map(|file| fs::read(file).expect("a file"));
    let before = bytes();
    let earlier = lab.path(".lyceum/sweeps/tiny/plots/of-an-earlier-report.svg");
    fs::write(&earlier, "<svg/>").expect("a plot");
    for file in &files {
        fs::remove_file(file).expect("it goes");
    }
    sweep(&lab);
    assert_eq!(bytes(), before);
    assert!(!earlier.exists());
    for name in first
        .split("](plots/")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        assert!(
            lab.path(".lyceum/sweeps/tiny/plots").join(name).exists(),
            "{name}"
        );
    }
}

#[test]
fn the_mean_over_seeds_is_that_of_the_results() {
    let lab = lab(GRID);
    sweep(&lab);
    let values: Vec<f64> = results(&lab)
        .iter()
        .filter(|row| row[2] == "32" && row[4] == "chance[block]" && row[5] == "auc")
        .map(|row| row[7].parse().expect("a number"))
        .collect();
    let mean = values.iter().sum::<f64>() / 3.0;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 2.0;
    // t(0.975, 2) = 4.302653 (standard tables).
    let half = 4.302_653 * (variance / 3.0).sqrt();
    let expected = format!("| context = 32 | {mean:.4} ± {half:.4} |");
    assert!(report(&lab).contains(&expected), "{expected}\n{}", report(&lab));
}

#[test]
fn curves_of_seeds_are_drawn_in_one_plot_where_nothing_else_was_swept() {
    let lab = lab("seeds = [1, 2]");
    let student = r#"[steps.student]
use = "train.lm"
data = "@tokens"
model = { hidden_size = 8, num_hidden_layers = 1, num_attention_heads = 1, max_position_embeddings = 32 }
optim = { lr = 1e-3, batch_size = 2, budget = { steps = 3 } }
"#;
    lab.write("tiny.toml", format!("{TINY}{student}[sweep]\nseeds = [1, 2]\n"));
    sweep(&lab);
    let report = report(&lab);
    assert!(report.contains("## Curves over seeds"), "{report}");
    assert!(report.contains("](plots/Loss-of-student.svg)"), "{report}");
    assert!(!report.contains("## Margins"), "{report}");
    let plot = fs::read_to_string(lab.path(".lyceum/sweeps/tiny/plots/Loss-of-student.svg")).expect("a plot");
    assert!(plot.contains("standard deviation of 2 seeds") && plot.contains("<polygon"));
}
