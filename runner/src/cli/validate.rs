//! `lyceum validate`.

use super::{Format, print, say, spec_options};
use crate::units::count;
use crate::{Exit, spec};
use lyceum_components::COMPONENTS;
use std::path::PathBuf;

/// Checks experiment files: every mistake at once. Nothing is run or written.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The experiment files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    spec: spec_options::SpecOptions,
    /// How the mistakes are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let options = arguments.spec.options();
    let mut exit = Exit::Done;
    let mut rows = Vec::new();
    for file in &arguments.files {
        match (spec::load(file, COMPONENTS, &options), arguments.format) {
            (Ok(resolved), Format::Text) => {
                let steps = count(resolved.steps.len(), "step");
                say(&format!("{}: ok, {steps}", file.display()));
            }
            (Ok(_), Format::Json) => {}
            (Err(mistakes), Format::Text) => {
                say(mistakes.render(super::colour()).trim_end());
                exit = Exit::Wrong;
            }
            (Err(mistakes), Format::Json) => {
                rows.extend(mistakes.to_json().as_array().cloned().unwrap_or_default());
                exit = Exit::Wrong;
            }
        }
    }
    if arguments.format == Format::Json
        && print(&format!("{:#}\n", serde_json::Value::from(rows))) != Exit::Done
    {
        return Exit::Failed;
    }
    exit
}
