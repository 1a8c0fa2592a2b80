//! What the guide says about regression runs can be done as it stands there.

use super::{EXPERIMENT, bare};
use std::fs;
use std::path::Path;

fn page(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path);
    fs::read_to_string(file).expect("a page")
}

/// Blocks of a page in a language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let mark = format!("```{language}\n");
    let blocks = page.match_indices(&mark).map(|(at, _)| &page[at + mark.len()..]);
    blocks.filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_commands_and_the_baseline_of_the_guide_work() {
    let lab = bare();
    lab.write("experiments/ci/tiny.toml", EXPERIMENT);
    fs::rename(lab.path("ci/data"), lab.path("experiments/ci/data")).expect("the documents");
    let (guide, workflow) = (page("ci.md"), page("ci/lyceum.yml"));
    let in_blocks = blocks(&guide, "sh").into_iter().flat_map(str::lines);
    let elsewhere = guide.lines().chain(workflow.lines()).map(str::trim);
    let elsewhere =
        elsewhere.filter_map(|line| line.strip_prefix("- ").or_else(|| line.strip_prefix("run: ")));
    let commands: Vec<&str> = in_blocks
        .chain(elsewhere)
        .filter_map(|line| line.strip_prefix("lyceum check "))
        .collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    for command in commands {
        let arguments: Vec<&str> = std::iter::once("check").chain(command.split(' ')).collect();
        lab.lyceum(&arguments).exits(0);
    }
    assert!(lab.path("lyceum.xml").exists());

    let example = blocks(&guide, "toml");
    assert_eq!(example.len(), 1);
    lab.write("experiments/ci/tiny.baseline.toml", example[0]);
    let ended = lab.lyceum(&["check", "experiments/ci", "--format", "json"]);
    assert_ne!(ended.code, Some(2), "{}", ended.stdout);
    let cases = ended.json()[0]["cases"].as_array().expect("cases").clone();
    let judged = |subject: &str| {
        cases
            .iter()
            .filter(|case| case["subject"] == subject && !case["place"].is_null())
            .count()
    };
    assert_eq!(
        (judged("metric"), judged("claim"), judged("performance")),
        (2, 1, 1)
    );
}
