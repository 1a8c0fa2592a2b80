//! What is held against a baseline: numbers, claims, machines.

use super::{bare, baseline, edit, lab, value_of};
use lyceum_tests::{Ended, Lab};
use serde_json::Value;

fn check(lab: &Lab, more: &[&str]) -> Ended {
    lab.lyceum(&[&["check", "ci", "--format", "json"], more].concat())
}

/// The entries in a state, by name, with their messages.
fn cases(ended: &Ended, state: &str) -> Vec<(String, String)> {
    let all = ended.json();
    let cases = all[0]["cases"].as_array().expect("cases").clone();
    let text = |case: &Value, key: &str| case[key].as_str().expect("a text").to_owned();
    let cases = cases.iter().filter(|case| case["state"] == state);
    cases
        .map(|case| (text(case, "name"), text(case, "message")))
        .collect()
}

#[test]
fn without_a_baseline_a_check_is_short_and_says_how_to_make_one() {
    let lab = bare();
    let ended = lab.lyceum(&["check", "ci"]).exits(1);
    assert!(
        ended.stdout.contains("check --update ci/tiny.toml"),
        "{}",
        ended.stdout
    );
    assert!(!lab.path(".lyceum/runs").exists(), "nothing was run");
}

#[test]
fn a_run_agrees_with_its_own_baseline_also_computed_anew() {
    let lab = lab();
    assert_eq!(cases(&check(&lab, &[]).exits(0), "passed").len(), 7);
    std::fs::remove_dir_all(lab.path(".lyceum")).expect("gone");
    let ended = check(&lab, &[]).exits(0);
    assert_eq!(cases(&ended, "passed").len(), 7, "{}", ended.stdout);
    assert!(!lab.path(".lyceum/check").exists(), "nothing is left behind");
}

#[test]
fn a_number_outside_its_tolerance_is_short_and_one_inside_is_not() {
    let lab = lab();
    let (value, line) = value_of(&lab, "quality.loss", "model[long]");
    let number: f64 = value.parse().expect("a number");
    edit(&lab, &value, &(number * 1.0005).to_string());
    check(&lab, &[]).exits(0);
    edit(
        &lab,
        &(number * 1.0005).to_string(),
        &(number * 1.002).to_string(),
    );
    let ended = check(&lab, &[]).exits(1);
    let short = cases(&ended, "short");
    assert_eq!(short.len(), 1);
    assert_eq!(short[0].0, "quality.loss of model[long]");
    assert!(short[0].1.starts_with(&value), "{short:?}");
    let text = lab.lyceum(&["check", "ci"]).exits(1).stdout;
    let place = format!("ci/tiny.baseline.toml:{line}:9: quality.loss of model[long]: ");
    assert!(text.contains(&place), "{text}");
}

#[test]
fn an_interval_is_as_wide_as_the_standard_errors_make_it() {
    let lab = lab();
    let (value, _) = value_of(&lab, "quality.loss", "model[long]");
    let number: f64 = value.parse().expect("a number");
    edit(
        &lab,
        &format!("{value}\ntolerance = {{ kind = \"relative\", value = 0.001 }}"),
        &format!("{}\ntolerance = {{ kind = \"interval\" }}", number + 1e-9),
    );
    let ended = check(&lab, &[]).exits(1);
    assert!(
        cases(&ended, "short")[0].1.contains("lacks `standard_error`"),
        "{}",
        ended.stdout
    );
    lab.lyceum(&["check", "ci", "--update"]).exits(0);
    assert!(baseline(&lab).contains("standard_error = "), "{}", baseline(&lab));
    check(&lab, &[]).exits(0);
    edit(&lab, &value, &(number * 1.002).to_string());
    check(&lab, &[]).exits(0); // inside the interval, though outside what was allowed before
    edit(&lab, &(number * 1.002).to_string(), &(number * 3.0).to_string());
    let ended = check(&lab, &[]).exits(1);
    assert!(
        cases(&ended, "short")[0].1.contains("95 % interval"),
        "{}",
        ended.stdout
    );
}

#[test]
fn what_is_measured_no_more_is_short_and_what_is_new_is_only_named() {
    let lab = lab();
    edit(&lab, "model[short]", "model[gone]");
    let ended = check(&lab, &[]).exits(1);
    let short = cases(&ended, "short");
    assert_eq!(short[0].1, "not measured any more");
    let new = cases(&ended, "skipped");
    assert!(
        new[0].0.ends_with("model[short]") && new[0].1.contains("`--update` adds it"),
        "{new:?}"
    );
}

#[test]
fn an_entry_for_other_machines_is_passed_over_and_one_for_this_class_is_judged() {
    let lab = lab();
    let (value, _) = value_of(&lab, "quality.loss", "model[long]");
    let with = |machine: &str| {
        format!("{value}\ntolerance = {{ kind = \"exact\" }}\nmachine = \"{machine}\"\n# was:")
    };
    edit(
        &lab,
        &format!("{value}\ntolerance"),
        &(with("riscv64") + " tolerance"),
    );
    let skipped = cases(&check(&lab, &[]).exits(0), "skipped");
    assert_eq!(skipped.len(), 1);
    let message = &skipped[0].1;
    assert!(message.contains("class riscv64"), "{message}");

    let here = message.rsplit(' ').next().expect("a class").to_owned();
    edit(&lab, "riscv64", &here);
    assert_eq!(cases(&check(&lab, &[]).exits(0), "skipped"), []);
    let number: f64 = value.parse().expect("a number");
    edit(&lab, &value, &f64::from_bits(number.to_bits() + 1).to_string());
    let short = cases(&check(&lab, &[]).exits(1), "short");
    assert!(short[0].1.ends_with("(exact)"), "{short:?}");
}

#[test]
fn a_claim_may_do_better_than_its_baseline_and_not_worse() {
    let lab = lab();
    assert!(
        baseline(&lab).contains("outcome = \"held\""),
        "{}",
        baseline(&lab)
    );
    edit(&lab, "outcome = \"held\"", "outcome = \"not decided\"");
    let text = lab.lyceum(&["check", "ci"]).exits(0).stdout;
    assert!(
        text.contains("note: longer is better: held, better than"),
        "{text}"
    );

    // The same models the other way round: what held is now not held.
    let wrong_way = super::EXPERIMENT.replace("lower_is_better = true", "lower_is_better = false");
    lab.write("ci/tiny.toml", wrong_way);
    let short = cases(&check(&lab, &[]).exits(1), "short");
    assert_eq!(short[0].1, "not held, the baseline says not decided");
    // Without an entry a claim is short only if it is not held.
    let text = baseline(&lab);
    let (without, _) = text.split_once("[[claims]]").expect("claims");
    lab.write("ci/tiny.baseline.toml", without);
    let short = cases(&check(&lab, &[]).exits(1), "short");
    assert_eq!(short[0].1, "not held, and not in the baseline");
    lab.write("ci/tiny.toml", super::EXPERIMENT);
    check(&lab, &[]).exits(0);
}

#[test]
fn strict_wants_every_claim_decided() {
    let lab = bare();
    // A model and itself: no difference can be told.
    lab.write(
        "ci/tiny.toml",
        super::EXPERIMENT.replace("than = \"model[short]\"", "than = \"model[long]\""),
    );
    lab.lyceum(&["check", "ci", "--update"]).exits(0);
    check(&lab, &[]).exits(0);
    let short = cases(&check(&lab, &["--strict"]).exits(1), "short");
    assert_eq!(short.len(), 1);
    assert!(short[0].1.contains("`--strict`"), "{short:?}");
}
