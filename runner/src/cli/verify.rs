//! `lyceum verify`.

use super::load::home_here;
use super::{Format, print, say};
use crate::Exit;
use crate::store::{Store, Verified};
use crate::units::bytes;
use serde_json::json;
use std::collections::BTreeSet;
use std::io;

/// Checks every stored byte against its hash. Exit status 3 where something is damaged and was not removed.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Takes damaged artifacts away, so that the next run makes them anew.
    #[arg(long)]
    remove: bool,
    /// How the findings are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    match verify(arguments.remove) {
        Ok((verified, damaged, removed)) => {
            let printed = match arguments.format {
                Format::Text => print(&text(&verified, &damaged, &removed)),
                Format::Json => print(&format!(
                    "{:#}\n",
                    json!({
                        "artifacts": verified.artifacts, "files": verified.files, "bytes": verified.bytes,
                        "found": verified.found, "damaged": damaged, "removed": removed,
                    })
                )),
            };
            if printed == Exit::Done && damaged.len() > removed.len() {
                Exit::Failed
            } else {
                printed
            }
        }
        Err(error) => {
            say(&format!("error: the store cannot be checked: {error}"));
            Exit::Failed
        }
    }
}

/// What was found, and the locations that are damaged and that were removed.
fn verify(remove: bool) -> io::Result<(Verified, BTreeSet<String>, BTreeSet<String>)> {
    let store = Store::new(home_here());
    let verified = store.verify()?;
    let damaged = verified.found.iter().filter(|damage| damage.problem.is_damage());
    let damaged: BTreeSet<String> = damaged.map(|damage| damage.location.clone()).collect();
    let mut removed = BTreeSet::new();
    for location in damaged.iter().filter(|_| remove) {
        if store.remove(location)? {
            removed.insert(location.clone());
        }
    }
    Ok((verified, damaged, removed))
}

fn text(verified: &Verified, damaged: &BTreeSet<String>, removed: &BTreeSet<String>) -> String {
    let mut out = String::new();
    for damage in &verified.found {
        let slash = if damage.file.is_empty() { "" } else { "/" };
        out += &format!(
            "{}{slash}{}: {}\n",
            damage.location,
            damage.file,
            damage.problem.name()
        );
    }
    let Verified { artifacts, files, .. } = verified;
    out += &format!(
        "{artifacts} artifacts, {files} files, {}: ",
        bytes(verified.bytes as f64)
    );
    out + &match (damaged.len(), removed.len()) {
        (0, _) => "all as they were written\n".to_owned(),
        (count, 0) => format!(
            "{count} artifacts are damaged; `--remove` takes them away, and the next run makes them anew\n"
        ),
        (count, gone) => {
            format!("{count} artifacts were damaged, {gone} removed; the next run makes them anew\n")
        }
    }
}
