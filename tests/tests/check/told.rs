//! What a CI is told: JUnit XML and annotations.

use super::{EXPERIMENT, edit, lab, value_of};
use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
use std::fs;

#[test]
fn junit_tells_every_entry_and_reads_back() {
    let lab = lab();
    let (value, line) = value_of(&lab, "quality.loss", "model[long]");
    edit(&lab, &value, "99.5");
    lab.lyceum(&["check", "ci", "--junit", "out/check.xml"]).exits(1);
    let text = fs::read_to_string(lab.path("out/check.xml")).expect("a report");
    let report = Report::deserialize_from_str(&text).expect("JUnit");
    assert_eq!((report.tests, report.failures, report.errors), (8, 1, 0));
    let suite = &report.test_suites[0];
    assert_eq!(suite.name.as_str(), "ci/tiny.toml");
    let case = suite
        .test_cases
        .iter()
        .find(|case| case.name.as_str() == "metric: quality.loss of model[long]")
        .expect("the entry");
    assert_eq!(case.extra["line"].as_str(), line.to_string());
    let property = |name: &str| {
        let found = case.properties.iter().find(|p| p.name.as_str() == name);
        found.expect("a property").value.as_str().to_owned()
    };
    assert_eq!(
        (property("baseline"), property("measured")),
        ("99.5".into(), value)
    );
    let TestCaseStatus::NonSuccess { kind, message, .. } = &case.status else {
        panic!("{case:?}");
    };
    assert_eq!(*kind, NonSuccessKind::Failure);
    let message = message.as_ref().expect("a message").as_str();
    assert!(
        message.starts_with(&format!("ci/tiny.baseline.toml:{line}:9: ")),
        "{message}"
    );
}

#[test]
fn junit_tells_of_wrong_files_too() {
    let lab = lab();
    lab.write("ci/other.toml", EXPERIMENT.replace("vocab_size", "vocab_siz"));
    lab.lyceum(&["check", "ci", "--junit", "check.xml"]).exits(2);
    let text = fs::read_to_string(lab.path("check.xml")).expect("a report");
    let report = Report::deserialize_from_str(&text).expect("JUnit");
    assert_eq!((report.tests, report.errors, report.skipped), (2, 1, 1), "{text}");
}

#[test]
fn annotations_stand_at_the_line_and_are_escaped() {
    let lab = lab();
    let (value, line) = value_of(&lab, "quality.loss", "model[long]");
    edit(&lab, &value, "99.5");
    edit(&lab, "\"held\"", "\"not held\""); // better is no error
    let plain = lab.lyceum(&["check", "ci"]).exits(1);
    assert!(
        !plain.stdout.contains("::error"),
        "only where GitHub listens: {}",
        plain.stdout
    );
    let marked = lab.lyceum(&["check", "ci", "--annotations", "github"]).exits(1);
    let errors: Vec<&str> = marked
        .stdout
        .lines()
        .filter(|line| line.starts_with("::"))
        .collect();
    let begin = format!(
        "::error file=ci/tiny.baseline.toml,line={line},col=9,title=tiny%3A quality.loss of model[long]::{value}, the baseline"
    );
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with(&begin), "{errors:?}");

    // Two lines in one message, from a missing baseline; data on stdout stays data.
    fs::remove_file(lab.path("ci/tiny.baseline.toml")).expect("gone");
    let ended = lab
        .lyceum(&["check", "ci", "--annotations", "github", "--format", "json"])
        .exits(1);
    assert_eq!(ended.json()[0]["result"], "short");
    ended.says(&[
        "::error file=ci/tiny.toml,line=1,col=1,title=tiny%3A short::there is no baseline",
        "%0A",
    ]);
}
