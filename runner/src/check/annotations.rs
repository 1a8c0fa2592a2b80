//! What GitHub Actions shows at a line: workflow commands on stdout.

use super::case::{Checked, Place, State};
use std::path::{Path, PathBuf};

/// `::error` commands for everything that is wrong or short. Paths are given from `workspace`, the root of the checkout,
/// where GitHub looks for them.
pub fn github(all: &[Checked], workspace: Option<&Path>) -> String {
    let mut out = String::new();
    let mut add = |place: &Place, title: &str, message: &str| {
        let file = from_workspace(&place.file, workspace);
        out += &format!(
            "::error file={},line={},col={},title={}::{}\n",
            property(&file.to_string_lossy()),
            place.line,
            place.column,
            property(title),
            data(message)
        );
    };
    for checked in all {
        for problem in &checked.problems {
            let hint = problem
                .hint
                .as_ref()
                .map(|hint| format!("\n{hint}"))
                .unwrap_or_default();
            let title = format!("{}: {}", name(checked), checked.result.name());
            add(&problem.place, &title, &format!("{}{hint}", problem.message));
        }
        for case in checked.cases_in(State::Short) {
            let place = case
                .place
                .clone()
                .unwrap_or_else(|| Place::start(checked.file.clone()));
            let title = format!("{}: {}", name(checked), case.name);
            add(&place, &title, &case.message);
        }
    }
    out
}

fn name(checked: &Checked) -> String {
    if checked.experiment.is_empty() {
        checked.file.display().to_string()
    } else {
        checked.experiment.clone()
    }
}

fn from_workspace(file: &Path, workspace: Option<&Path>) -> PathBuf {
    let real = |path: &Path| path.canonicalize().ok();
    let inside = || {
        let (file, workspace) = (real(file)?, real(workspace?)?);
        file.strip_prefix(workspace).ok().map(Path::to_path_buf)
    };
    inside().unwrap_or_else(|| file.to_path_buf())
}

/// Escapes a message as GitHub reads it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property, where commas and colons have a meaning too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_to_github_is_escaped() {
        assert_eq!(data("50 %\nof: a, b\r"), "50 %25%0Aof: a, b%0D");
        assert_eq!(property("a: b, c"), "a%3A b%2C c");
    }
}
