//! The command line: one file a verb.
//!
//! A verb writes data to stdout and talk to stderr, and says how it ended. A closed pipe is a quiet end.

mod advice;
mod check;
mod compare;
mod completions;
mod components;
mod doctor;
mod download;
mod eval;
mod export;
mod gc;
mod generate;
mod load;
mod plan;
mod profile;
mod report;
mod run;
mod runs;
mod schema;
mod show;
mod spec_options;
mod sweep;
mod validate;
mod verify;

use crate::Exit;
use clap::{Parser, Subcommand, ValueEnum};
use std::io::{self, IsTerminal, Write};

/// Declarative experiments for small language models: one TOML file in, checkpoints, tables and a report out.
#[derive(Debug, Parser)]
#[command(name = "lyceum", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Validate(validate::Arguments),
    Plan(plan::Arguments),
    Run(run::Arguments),
    Sweep(sweep::Arguments),
    Check(check::Arguments),
    Runs(runs::Arguments),
    Show(show::Arguments),
    Report(report::Arguments),
    Export(export::Arguments),
    Download(download::Arguments),
    Generate(generate::Arguments),
    Gc(gc::Arguments),
    Verify(verify::Arguments),
    Compare(compare::Arguments),
    Eval(eval::Arguments),
    Doctor(doctor::Arguments),
    Components(components::Arguments),
    Completions(completions::Arguments),
    Schema(schema::Arguments),
}

/// How a listing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Reads the arguments of this process and does what they say.
pub fn main() -> Exit {
    match Arguments::parse().verb {
        Verb::Validate(arguments) => validate::run(&arguments),
        Verb::Plan(arguments) => plan::run(&arguments),
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Sweep(arguments) => sweep::run(&arguments),
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Runs(arguments) => runs::run(&arguments),
        Verb::Show(arguments) => show::run(&arguments),
        Verb::Report(arguments) => report::run(&arguments),
        Verb::Export(arguments) => export::run(&arguments),
        Verb::Download(arguments) => download::run(&arguments),
        Verb::Generate(arguments) => generate::run(&arguments),
        Verb::Gc(arguments) => gc::run(&arguments),
        Verb::Verify(arguments) => verify::run(&arguments),
        Verb::Compare(arguments) => compare::run(&arguments),
        Verb::Eval(arguments) => eval::run(&arguments),
        Verb::Doctor(arguments) => doctor::run(&arguments),
        Verb::Components(arguments) => components::run(&arguments),
        Verb::Completions(arguments) => completions::run(&arguments),
        Verb::Schema(arguments) => schema::run(&arguments),
    }
}

/// Writes data to stdout.
pub(crate) fn print(text: &str) -> Exit {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(e) => {
            say(&format!("cannot write to stdout: {e}"));
            Exit::Failed
        }
    }
}

/// Says something on stderr. Nobody listening is no reason to stop.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether talk may be coloured: on a terminal, unless `NO_COLOR` is set.
pub(crate) fn colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
