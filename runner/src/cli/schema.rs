//! `lyceum schema`.

use super::say;
use crate::{Exit, schema};
use lyceum_components::COMPONENTS;
use std::path::PathBuf;

/// Writes (or checks) everything generated: `schemas/` and the reference pages.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Writes nothing; says what is out of date, and ends with 1 if anything is.
    #[arg(long)]
    check: bool,
    /// The repository.
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let done = if arguments.check {
        schema::stale(&arguments.dir, COMPONENTS)
    } else {
        schema::write(&arguments.dir, COMPONENTS)
    };
    let files = match done {
        Ok(files) => files,
        Err(e) => {
            say(&format!(
                "cannot bring generated files up to date in `{}`: {e}",
                arguments.dir.display()
            ));
            return Exit::Failed;
        }
    };
    for (path, state) in &files {
        say(&format!("{}: {}", path.display(), state.word()));
    }
    if arguments.check && !files.is_empty() {
        say("hint: run `cargo run --release -- schema`");
        return Exit::Short;
    }
    Exit::Done
}
