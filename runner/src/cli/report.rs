//! `lyceum report`.

use super::load::home_here;
use super::{print, say};
use crate::execute::runs;
use crate::{Exit, report};
use std::path::PathBuf;

/// Renders the report of a run again, or one report over several runs side by side.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The runs: ids, beginnings of them, or `latest`.
    #[arg(required = true)]
    runs: Vec<String>,
    /// Where the report goes; the run's own folder if left out and there is one run.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Also makes one self-contained page for browsers of it, and names that.
    #[arg(long)]
    html: bool,
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
    let written = match (&arguments.to, &folders[..]) {
        (None, [folder]) => report::write(folder).map(|_| folder.report_file()),
        (Some(to), _) => report::write_several(&folders, to).map(|(file, _)| file),
        (None, _) => {
            say("error: say where a report over several runs goes, as in `--to report`");
            return Exit::Wrong;
        }
    };
    let written = written.and_then(|file| {
        if arguments.html {
            report::write_page(&file)
        } else {
            Ok(file)
        }
    });
    match written {
        Ok(file) => print(&format!("{}\n", file.display())),
        Err(error) => {
            say(&format!("error: {error}"));
            Exit::Failed
        }
    }
}
