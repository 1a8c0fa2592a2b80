//! Writing baselines anew.

use super::{EXPERIMENT, bare, baseline, edit, lab, value_of};

#[test]
fn an_update_shows_what_it_writes_and_then_has_nothing_to_write() {
    let lab = bare();
    let first = lab.lyceum(&["check", "ci", "--update"]).exits(0);
    assert!(
        first.stdout.contains("+++ ci/tiny.baseline.toml"),
        "{}",
        first.stdout
    );
    assert!(
        first.stdout.contains("+metric = \"quality.loss\""),
        "{}",
        first.stdout
    );
    let written = baseline(&lab);
    let again = lab.lyceum(&["check", "ci", "--update"]).exits(0);
    assert!(
        again.stdout.contains("the baseline is as it was"),
        "{}",
        again.stdout
    );
    assert_eq!(baseline(&lab), written);
}

#[test]
fn a_changed_experiment_is_short_until_its_numbers_are_accepted() {
    let lab = lab();
    lab.write("ci/tiny.toml", EXPERIMENT.replace("steps = 12", "steps = 20"));
    let (old, _) = value_of(&lab, "quality.loss", "model[long]");
    let short = lab.lyceum(&["check", "ci"]).exits(1);
    short.says(&["--update"]);
    let diff = lab.lyceum(&["check", "ci", "--update"]).exits(0).stdout;
    let (new, _) = value_of(&lab, "quality.loss", "model[long]");
    assert!(
        diff.contains(&format!("-value = {old}\n+value = {new}\n")),
        "{diff}"
    );
    assert!(
        !diff.contains("model[short]\n-"),
        "only what moved is written: {diff}"
    );
    lab.lyceum(&["check", "ci"]).exits(0);
}

#[test]
fn tolerances_and_comments_made_by_hand_stay() {
    let lab = lab();
    let (value, _) = value_of(&lab, "quality.loss", "model[long]");
    edit(&lab, "experiment = ", "# Kept by the data team.\nexperiment = ");
    edit(
        &lab,
        &format!("value = {value}\ntolerance = {{ kind = \"relative\", value = 0.001 }}"),
        "value = 99.0 # as last year\ntolerance = { kind = \"absolute\", value = 0.25 } # noisy",
    );
    edit(&lab, "[[claims]]", "# The point of it all.\n[[claims]]");
    let before = baseline(&lab);
    lab.lyceum(&["check", "ci", "--update"]).exits(0);
    let after = before.replace("value = 99.0 # as", &format!("value = {value} # as"));
    assert_eq!(baseline(&lab), after);
}

#[test]
fn a_layout_of_another_kind_is_read_and_written_anew() {
    let lab = lab();
    lab.write(
        "ci/tiny.baseline.toml",
        "experiment = 'tiny'\nlyceum = '0.0.1'\nmetrics = [{ metric = 'quality.loss', variant = 'model[long]', value = 1, tolerance = { kind = 'absolute', value = 2.5 } }]\n",
    );
    lab.lyceum(&["check", "ci"]).exits(1);
    lab.lyceum(&["check", "ci", "--update"]).exits(0);
    assert!(
        baseline(&lab).contains("{ kind = \"absolute\", value = 2.5 }"),
        "{}",
        baseline(&lab)
    );
    assert!(!baseline(&lab).contains("0.0.1"), "{}", baseline(&lab));
    lab.lyceum(&["check", "ci"]).exits(0);
}

#[test]
fn a_renamed_experiment_is_refused_until_it_is_accepted() {
    let lab = lab();
    lab.write("ci/tiny.toml", EXPERIMENT.replace("\"tiny\"", "\"small\""));
    let refused = lab.lyceum(&["check", "ci"]).exits(2);
    assert!(
        refused.stdout.contains("ci/tiny.baseline.toml:1:14: ")
            && refused.stdout.contains("[other_experiment]"),
        "{}",
        refused.stdout
    );
    lab.lyceum(&["check", "ci", "--update"]).exits(0);
    lab.lyceum(&["check", "ci"]).exits(0);
}
