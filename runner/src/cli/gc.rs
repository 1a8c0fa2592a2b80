//! `lyceum gc`.

use super::load::home_here;
use super::{Format, print, say};
use crate::Exit;
use crate::execute::prune::{Needed, Old, old_runs, remove_run};
use crate::store::{Garbage, GarbageKind, Store};
use crate::units::bytes;
use serde_json::json;
use std::io;

/// Frees what no run needs: artifacts, partial work and leftovers of dead processes. Shows what would go; `--yes` does it.
///
/// A run needs the artifact of each of its steps, also where it is not done yet. So an artifact goes when the last run
/// that needs it goes: by `--keep-runs`, by `--older-than`, or with its folder in `.lyceum/runs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Removes them; without it nothing is touched.
    #[arg(long)]
    yes: bool,
    /// Removes all runs but the last N first.
    #[arg(long, value_name = "N")]
    keep_runs: Option<usize>,
    /// Removes runs that started more than DAYS days ago first; with `--keep-runs`, only those beyond the last N.
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u64>,
    /// How the listing is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    match collect(arguments) {
        Ok((runs, garbage)) => match arguments.format {
            Format::Text => print(&text(&runs, &garbage, arguments.yes)),
            Format::Json => print(&format!(
                "{:#}\n",
                json!({
                    "removed": arguments.yes,
                    "bytes": total(&garbage) + runs.iter().map(|run| run.bytes).sum::<u64>(),
                    "runs": runs,
                    "garbage": garbage,
                })
            )),
        },
        Err(error) => {
            say(&format!("error: the store cannot be freed: {error}"));
            Exit::Failed
        }
    }
}

/// What goes, or went.
fn collect(arguments: &Arguments) -> io::Result<(Vec<Old>, Vec<Garbage>)> {
    let home = home_here();
    let store = Store::new(home.clone());
    let _freeing = arguments.yes.then(|| store.freeing()).transpose()?;
    let runs = old_runs(&home, arguments.keep_runs, arguments.older_than);
    let needed = Needed::by_runs(&home, &runs);
    let garbage = store.garbage(&needed.locations)?;
    if !arguments.yes {
        return Ok((runs, garbage));
    }
    for run in &runs {
        remove_run(&home, &run.id)?;
    }
    let mut freed = Vec::new();
    for piece in garbage {
        let key = piece.path.file_name().unwrap_or_default().to_string_lossy();
        if store.free(&piece, || needed.newly(&home, &key))? {
            freed.push(piece);
        }
    }
    Ok((runs, freed))
}

fn total(garbage: &[Garbage]) -> u64 {
    garbage.iter().map(|piece| piece.bytes).sum()
}

fn text(runs: &[Old], garbage: &[Garbage], done: bool) -> String {
    let mut out = String::new();
    let mut line = |count: usize, what: &str, size: u64| {
        if count > 0 {
            out += &format!("{count:>6}  {what}, {}\n", bytes(size as f64));
        }
    };
    let of_runs = runs.iter().map(|run| run.bytes).sum();
    line(runs.len(), "runs", of_runs);
    for kind in [
        GarbageKind::Artifact,
        GarbageKind::Broken,
        GarbageKind::Leftover,
        GarbageKind::Scratch,
    ] {
        let own: Vec<Garbage> = garbage
            .iter()
            .filter(|piece| piece.kind == kind)
            .cloned()
            .collect();
        line(own.len(), kind.name(), total(&own));
    }
    if out.is_empty() {
        return "nothing to free\n".to_owned();
    }
    let sum = bytes((total(garbage) + of_runs) as f64);
    out + &if done {
        format!("{sum} freed\n")
    } else {
        format!("{sum} would be freed; `--yes` does it\n")
    }
}
