//! What is wrong with an experiment as a whole, and where.

use super::case::{Place, Problem};
use crate::execute::child::JobEnded;
use crate::spec::Diagnostics;
use std::path::Path;
use toml::de::DeTable;

/// Mistakes in an experiment or a baseline.
pub(super) fn of_mistakes(mistakes: &Diagnostics) -> Vec<Problem> {
    let problems = mistakes.list.iter().map(|mistake| {
        let (file, line, column) = mistake.place();
        let label = if mistake.label.is_empty() {
            String::new()
        } else {
            format!(" ({})", mistake.label)
        };
        Problem {
            code: mistake.code.to_owned(),
            place: Place {
                file: file.into(),
                line,
                column,
            },
            message: format!("{}{label}", mistake.message),
            hint: mistake.hint.clone(),
        }
    });
    problems.collect()
}

/// There is nothing to hold an experiment against.
pub(super) fn no_baseline(file: &Path, baseline: &Path) -> Problem {
    Problem {
        code: "no_baseline".into(),
        place: Place::start(file.to_path_buf()),
        message: format!("there is no baseline `{}`", baseline.display()),
        hint: Some(format!(
            "`lyceum check --update {}` runs the experiment and writes it",
            file.display()
        )),
    }
}

/// Why a run did not come to its end.
pub(super) fn of_run(file: &Path, ended: &JobEnded) -> Problem {
    let failed = &ended.output["failed"];
    let text = |key: &str| failed[key].as_str().map(str::to_owned);
    if let (Some(step), Some(code), Some(message)) = (text("step"), text("code"), text("message")) {
        return Problem {
            code,
            place: of_step(file, &step),
            message: format!("step `{step}`: {message}"),
            hint: Some("`lyceum run` on this file shows all that it says".into()),
        };
    }
    let (code, how) = match ended.code {
        Some(_) => ("run_failed", String::new()),
        None => ("killed", "the run was ended by a signal; ".to_owned()),
    };
    Problem {
        code: code.into(),
        place: Place::start(file.to_path_buf()),
        message: format!("{how}its last words: {}", ended.talk.trim()),
        hint: None,
    }
}

/// The header of a step; the beginning of the file if the step comes from another one.
fn of_step(file: &Path, step: &str) -> Place {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let name = step.split('[').next().unwrap_or(step);
    let (table, _) = DeTable::parse_recoverable(&text);
    let steps = table
        .get_ref()
        .get("steps")
        .and_then(|steps| steps.get_ref().as_table());
    let header = steps.and_then(|steps| steps.keys().find(|key| key.get_ref() == name));
    header.map_or_else(
        || Place::start(file.to_path_buf()),
        |header| Place::at(file.to_path_buf(), &text, header.span().start),
    )
}
