//! The outcome as JUnit XML, which every CI reads.

use super::case::{Case, Checked, Place, Problem, Result, State, Subject};
use quick_junit::{NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// One suite an experiment: a case `run` for the run itself, and one for each entry of the baseline.
///
/// # Errors
/// None that is known: the text is made in memory.
pub fn junit(all: &[Checked]) -> std::result::Result<String, SerializeError> {
    let mut report = Report::new("lyceum check");
    report.set_time(seconds(all.iter().map(|checked| checked.wall_seconds).sum()));
    report.add_test_suites(all.iter().map(suite));
    report.to_string()
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn suite(checked: &Checked) -> TestSuite {
    let mut suite = TestSuite::new(checked.file.to_string_lossy());
    suite.set_time(seconds(checked.wall_seconds));
    suite.add_property(("experiment", checked.experiment.as_str()));
    if let Some(run) = &checked.run {
        suite.add_property(("run", run.as_str()));
    }
    let class = if checked.experiment.is_empty() {
        checked.file.to_string_lossy().into_owned()
    } else {
        checked.experiment.clone()
    };
    suite.add_test_case(whole(checked, &class));
    suite.add_test_cases(checked.cases.iter().map(|case| entry(case, &class)));
    suite
}

fn whole(checked: &Checked, class: &str) -> TestCase {
    let kind = match checked.result {
        Result::Wrong | Result::Failed | Result::Interrupted => Some(NonSuccessKind::Error),
        Result::Short if !checked.problems.is_empty() => Some(NonSuccessKind::Failure),
        _ => None,
    };
    let status = match kind {
        Some(kind) => failure(kind, checked.result.name(), &describe(&checked.problems)),
        None if checked.result == Result::NotRun => TestCaseStatus::skipped(),
        None => TestCaseStatus::success(),
    };
    let mut case = TestCase::new("run", status);
    case.set_classname(class).set_time(seconds(checked.wall_seconds));
    if let Some(problem) = checked.problems.first() {
        locate(&mut case, &problem.place);
    }
    case
}

fn describe(problems: &[Problem]) -> String {
    let line = |problem: &Problem| {
        let hint = problem.hint.as_ref().map(|hint| format!("\n  hint: {hint}"));
        let hint = hint.unwrap_or_default();
        format!("{}: {} [{}]{hint}", problem.place, problem.message, problem.code)
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn entry(case: &Case, class: &str) -> TestCase {
    let place = case.place.as_ref();
    let status = match case.state {
        State::Passed => TestCaseStatus::success(),
        State::Short => {
            let at = place.map(|place| format!("{place}: ")).unwrap_or_default();
            failure(NonSuccessKind::Failure, "short", &format!("{at}{}", case.message))
        }
        State::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(case.message.as_str());
            status
        }
    };
    let subject = match case.subject {
        Subject::Metric => "metric",
        Subject::Claim => "claim",
        Subject::Performance => "performance",
    };
    let mut out = TestCase::new(format!("{subject}: {}", case.name), status);
    out.set_classname(class);
    let values = [("baseline", &case.baseline), ("measured", &case.measured)];
    for (name, value) in values {
        if let Some(value) = value {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            out.add_property(Property::new(name, text));
        }
    }
    if let Some(tolerance) = &case.tolerance {
        out.add_property(Property::new("tolerance", tolerance.as_str()));
    }
    if let Some(place) = place {
        locate(&mut out, place);
    }
    out
}

fn failure(kind: NonSuccessKind, of_type: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status
        .set_type(of_type)
        .set_message(message.lines().next().unwrap_or_default())
        .set_description(message);
    status
}

/// The attributes by which GitLab and others link to a line.
fn locate(case: &mut TestCase, place: &Place) {
    case.extra
        .insert("file".into(), place.file.to_string_lossy().as_ref().into());
    case.extra.insert("line".into(), place.line.to_string().into());
}
