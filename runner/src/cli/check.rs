//! `lyceum check`.

use super::{Format, print, say, spec_options};
use crate::Exit;
use crate::check::{self, Case, Checked, Options, Result, State, annotations};
use crate::execute::cancel_on_signal;
use crate::units::duration;
use clap::ValueEnum;
use lyceum_components::disk;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Regression: runs experiments and holds what they measure, claim and cost against the baselines beside them
/// (`NAME.baseline.toml`). Ends with 1 if anything is short.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Experiment files, and folders of them.
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Checks only experiments with this in their path or name; a pattern of all of it with `*` or `?`.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// How many experiments run at a time; they divide the processor's threads. Speed is judged with 1 alone.
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: NonZeroUsize,
    #[command(flatten)]
    spec: spec_options::SpecOptions,
    /// Writes the baselines anew where they are short, and shows what changed.
    #[arg(long)]
    update: bool,
    /// Counts a claim that is not decided as short.
    #[arg(long)]
    strict: bool,
    /// Writes the outcome as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Marks what is wrong at its line in a CI; `auto` does where GITHUB_ACTIONS=true.
    #[arg(long, value_enum, default_value_t)]
    annotations: Annotations,
    /// How the outcome is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Annotations {
    #[default]
    Auto,
    Github,
    None,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let found = match check::find(&arguments.paths, arguments.filter.as_deref()) {
        Ok(found) if found.is_empty() => {
            let hint = match &arguments.filter {
                Some(filter) => format!("nothing matches `--filter {filter}`"),
                None => "an experiment is a `.toml` file with `[experiment]` in it".into(),
            };
            say(&format!("error: no experiments here\n  hint: {hint}"));
            return Exit::Wrong;
        }
        Ok(found) => found,
        Err(error) => {
            say(&format!("error: {error}"));
            return Exit::Wrong;
        }
    };
    let options = Options {
        jobs: arguments.jobs.get(),
        update: arguments.update,
        strict: arguments.strict,
        spec: arguments.spec.options(),
        arguments: arguments.spec.arguments(),
    };
    let mut left = found.len();
    let tell = |checked: &Checked| {
        left -= 1;
        let (word, file) = (checked.result.name(), checked.file.display());
        say(&format!("{word}: {file} ({left} to go)"));
    };
    let all = match check::check(&found, &options, &cancel_on_signal(), tell) {
        Ok(all) => all,
        Err(error) => {
            say(&format!("error: a run could not be started: {error}"));
            return Exit::Failed;
        }
    };
    let written = arguments
        .junit
        .as_ref()
        .map_or(Ok(()), |file| write_junit(file, &all));
    let printed = show(arguments, &all);
    if let Err(message) = written {
        say(&message);
        return Exit::Failed;
    }
    let order = [Exit::Interrupted, Exit::Wrong, Exit::Failed, Exit::Short];
    let ends = |exit: &Exit| all.iter().any(|checked| checked.result.exit() == *exit);
    order.into_iter().find(ends).unwrap_or(printed)
}

fn write_junit(file: &Path, all: &[Checked]) -> std::result::Result<(), String> {
    let cannot = |error: &dyn std::fmt::Display| format!("error: cannot write `{}`: {error}", file.display());
    let text = check::junit(all).map_err(|error| cannot(&error))?;
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        disk::create_dir_all(folder).map_err(|error| cannot(&error))?;
    }
    disk::write_atomically(file, text).map_err(|error| cannot(&error))
}

fn show(arguments: &Arguments, all: &[Checked]) -> Exit {
    let github = match arguments.annotations {
        Annotations::Github => true,
        Annotations::None => false,
        Annotations::Auto => std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true"),
    };
    let marks = if github {
        let workspace = std::env::var_os("GITHUB_WORKSPACE").map(PathBuf::from);
        annotations::github(all, workspace.as_deref())
    } else {
        String::new()
    };
    let printed = match arguments.format {
        Format::Text => print(&(all.iter().map(text).collect::<String>() + &marks)),
        Format::Json => {
            // Stdout is for the data alone; GitHub reads both.
            if !marks.is_empty() {
                say(marks.trim_end());
            }
            print(&format!("{:#}\n", serde_json::json!(all)))
        }
    };
    if all
        .iter()
        .any(|checked| checked.cases_in(State::Short).next().is_some())
    {
        say("hint: where the change is meant, the same command with `--update` accepts it");
    }
    printed
}

/// An experiment for people: how it stands, and everything worth a look.
fn text(checked: &Checked) -> String {
    let mut out = format!("{:11}  {}", checked.result.name(), checked.file.display());
    let judged = checked.cases.len() - checked.cases_in(State::Skipped).count();
    if judged > 0 {
        let short = checked.cases_in(State::Short).count();
        out += &format!("  {judged} entries, {short} short");
    }
    if checked.run.is_some() {
        out += &format!(", in {}", duration(checked.wall_seconds));
    }
    out.push('\n');
    for problem in &checked.problems {
        out += &format!("  {}: {} [{}]\n", problem.place, problem.message, problem.code);
        if let Some(hint) = &problem.hint {
            out += &format!("    hint: {hint}\n");
        }
    }
    for case in checked.cases_in(State::Short) {
        let place = case
            .place
            .as_ref()
            .map(|place| format!("{place}: "))
            .unwrap_or_default();
        out += &format!("  {place}{}: {}\n", case.name, case.message);
    }
    for case in checked
        .cases_in(State::Passed)
        .filter(|case| !case.message.is_empty())
    {
        out += &format!("  note: {}: {}\n", case.name, case.message);
    }
    out += &skipped(checked);
    match &checked.diff {
        Some(diff) => out += diff,
        None if checked.result == Result::Passed && checked.cases.is_empty() => {
            out += "  the baseline is as it was\n";
        }
        None => {}
    }
    out
}

/// What was not judged, by reason.
fn skipped(checked: &Checked) -> String {
    let mut reasons: Vec<(&str, Vec<&Case>)> = Vec::new();
    for case in checked.cases_in(State::Skipped) {
        match reasons.iter_mut().find(|(reason, _)| *reason == case.message) {
            Some((_, cases)) => cases.push(case),
            None => reasons.push((&case.message, vec![case])),
        }
    }
    let line = |(reason, cases): &(&str, Vec<&Case>)| match cases[..] {
        [only] => format!("  skipped: {}: {reason}\n", only.name),
        _ => format!("  skipped: {} entries: {reason}\n", cases.len()),
    };
    reasons.iter().map(line).collect()
}
