//! Speeds in terms of the calibration loop.

use super::{baseline, lab};
use lyceum_tests::Lab;

/// Checks with a speed entry added, from an empty store.
fn with(lab: &Lab, measure: &str, ratio: &str, jobs: &str) -> lyceum_tests::Ended {
    let text = baseline(lab);
    let text = text.split("\n[[performance]]").next().expect("the rest");
    let entry = format!(
        "\n[[performance]]\nstep = \"model[long]\"\nmeasure = \"{measure}\"\nratio = {ratio}\ntolerance = 0.5\n"
    );
    lab.write("ci/tiny.baseline.toml", format!("{text}{entry}"));
    let _ = std::fs::remove_dir_all(lab.path(".lyceum"));
    lab.lyceum(&["check", "ci", "--jobs", jobs])
}

#[test]
fn slower_than_the_baseline_is_short_and_faster_is_a_note() {
    let lab = lab();
    let slow = with(&lab, "tokens_per_second", "1e12", "1").exits(1);
    assert!(
        slow.stdout.contains("tokens_per_second of model[long]: ") && slow.stdout.contains("times as slow"),
        "{}",
        slow.stdout
    );
    let fast = with(&lab, "tokens_per_second", "1e-6", "1").exits(0);
    assert!(fast.stdout.contains("times as fast"), "{}", fast.stdout);
    let slow = with(&lab, "wall_seconds", "1e-9", "1").exits(1);
    assert!(slow.stdout.contains("times as slow"), "{}", slow.stdout);
    let fast = with(&lab, "wall_seconds", "1e9", "1").exits(0);
    assert!(fast.stdout.contains("times as fast"), "{}", fast.stdout);

    // What came from the store has no speed, and neither has what shares the machine.
    let again = lab.lyceum(&["check", "ci"]).exits(0);
    assert!(again.stdout.contains("came from the store"), "{}", again.stdout);
    let shared = with(&lab, "wall_seconds", "1e-9", "2").exits(0);
    assert!(shared.stdout.contains("`--jobs 1`"), "{}", shared.stdout);
}

#[test]
fn an_update_takes_over_a_speed_that_moved() {
    let lab = lab();
    with(&lab, "wall_seconds", "1e-9", "1").exits(1);
    std::fs::remove_dir_all(lab.path(".lyceum")).expect("gone");
    let ended = lab.lyceum(&["check", "ci", "--update"]).exits(0);
    assert!(
        ended.stdout.contains("-ratio = 1e-9\n+ratio = "),
        "{}",
        ended.stdout
    );
}
