//! `lyceum compare`.

use super::load::home_here;
use super::{Format, print, say};
use crate::Exit;
use crate::compare::Comparison;
use crate::execute::runs;

/// Shows what differs between runs: in the experiment key by key, in what was measured, and in what it cost.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The runs: ids, beginnings of them, or `latest`. The others are compared with the first.
    #[arg(required = true, num_args = 2..)]
    runs: Vec<String>,
    /// How the comparison is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let home = home_here();
    let mut folders = Vec::new();
    for name in &arguments.runs {
        match runs::find(&home, name) {
            Ok((folder, _)) => folders.push(folder),
            Err(message) => {
                say(&format!("error: {message}"));
                return Exit::Wrong;
            }
        }
    }
    match Comparison::new(&folders) {
        Ok(comparison) => print(&match arguments.format {
            Format::Text => comparison.to_text(),
            Format::Json => format!("{:#}\n", serde_json::json!(comparison)),
        }),
        Err(error) => {
            say(&format!("error: {error}"));
            Exit::Failed
        }
    }
}
