//! What a check came to: for every experiment, and for every entry of its baseline.

use crate::Exit;
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file, as the user calls it.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of a byte in a file's text.
    pub(super) fn at(file: PathBuf, text: &str, byte: usize) -> Self {
        let before = &text[..byte];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Self {
            file,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The beginning of a file.
    pub(super) fn start(file: PathBuf) -> Self {
        Self {
            file,
            line: 1,
            column: 1,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A measured number.
    Metric,
    /// A claim's outcome.
    Claim,
    /// A step's speed.
    Performance,
}

/// How an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As the baseline says, or better.
    Passed,
    /// Not as the baseline says.
    Short,
    /// Not judged.
    Skipped,
}

/// One entry of a baseline, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Case {
    /// What it is about.
    pub subject: Subject,
    /// For messages, as in `quality.loss of student[miniplm]`.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// Where it stands in the baseline, if there.
    pub place: Option<Place>,
    /// What the baseline says.
    pub baseline: Option<Value>,
    /// What was measured.
    pub measured: Option<Value>,
    /// What is allowed, in words.
    pub tolerance: Option<String>,
    /// What is wrong, why it was not judged, or what is worth a note; empty where there is nothing to say.
    pub message: String,
}

/// How an experiment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Result {
    /// Everything is as the baseline says.
    Passed,
    /// Its baseline was written anew.
    Updated,
    /// Something is not as the baseline says, or there is no baseline.
    Short,
    /// A step failed.
    Failed,
    /// The experiment or its baseline is wrong.
    Wrong,
    /// The user stopped it.
    Interrupted,
    /// It was not begun.
    NotRun,
}

impl Result {
    /// The word in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Updated => "updated",
            Self::Short => "short",
            Self::Failed => "failed",
            Self::Wrong => "wrong",
            Self::Interrupted => "interrupted",
            Self::NotRun => "not run",
        }
    }

    /// The exit status of a check that ended with this.
    pub const fn exit(self) -> Exit {
        match self {
            Self::Passed | Self::Updated | Self::NotRun => Exit::Done,
            Self::Short => Exit::Short,
            Self::Failed => Exit::Failed,
            Self::Wrong => Exit::Wrong,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

/// One experiment, checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// The experiment file, as the user calls it.
    pub file: PathBuf,
    /// Its name; empty where the file could not be read.
    pub experiment: String,
    /// How it stands.
    pub result: Result,
    /// Id of the run, if it came to one.
    pub run: Option<String>,
    /// Seconds that running it took.
    pub wall_seconds: f64,
    /// What is wrong with the whole, each at its place: mistakes, a failed step, a missing baseline.
    pub problems: Vec<Problem>,
    /// Every entry of the baseline, judged.
    pub cases: Vec<Case>,
    /// How the baseline was changed, as a unified diff.
    pub diff: Option<String>,
}

/// What is wrong with an experiment as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Problem {
    /// Stable snake_case name.
    pub code: String,
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Checked {
    /// The cases in a state.
    pub fn cases_in(&self, state: State) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(move |case| case.state == state)
    }
}
