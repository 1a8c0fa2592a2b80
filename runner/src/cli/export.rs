//! `lyceum export`.

use super::advice::show_error;
use super::load::home_here;
use super::{print, say};
use crate::Exit;
use crate::execute::runs;
use crate::export::{self, Form};
use crate::store::Store;
use std::path::{Path, PathBuf};

/// Takes a model, a table or a whole run out of the store, as plain files that are checked against their hashes.
///
/// A model is a folder in Hugging Face's layout. A whole run is its report, its tables and its models.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A step of the run, as in `student`, `student[miniplm]` or `tokens.train`; or a run: an id, or `latest`.
    #[arg(value_name = "STEP|RUN")]
    what: String,
    /// The folder it goes to.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The run that the step belongs to.
    #[arg(long, default_value = runs::LATEST)]
    run: String,
    /// What tables become.
    #[arg(long = "as", value_enum, default_value_t, value_name = "FORM")]
    form: Form,
    /// Writes into a folder that holds something already.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let wrong = |message: &str| {
        say(&format!("error: {message}"));
        Exit::Wrong
    };
    let home = home_here();
    let store = Store::new(home.clone());
    let found = runs::find(&home, &arguments.run);
    let record = match &found {
        Ok((_, record)) => record,
        Err(message) => return wrong(message),
    };
    if !arguments.force && !is_empty(&arguments.to) {
        let message = "holds something already; take another folder, or `--force` to write into it";
        return wrong(&format!("`{}` {message}", arguments.to.display()));
    }
    let exported = match export::wanted(record, &arguments.what) {
        Some(wanted) => export::steps(&store, &wanted, &arguments.to, arguments.form),
        None => match runs::find(&home, &arguments.what) {
            Ok((folder, record)) => export::run(&store, &folder, &record, &arguments.to, arguments.form),
            Err(_) => {
                let ids: Vec<String> = record.steps.iter().map(|step| format!("`{}`", step.id)).collect();
                let (what, id) = (&arguments.what, &record.id);
                return wrong(&format!(
                    "there is no run `{what}`, and run `{id}` has no step `{what}`; it has {}",
                    ids.join(", ")
                ));
            }
        },
    };
    match exported {
        Ok(()) => print(&format!("{}\n", arguments.to.display())),
        Err(error) => {
            show_error("", &error);
            Exit::Failed
        }
    }
}

/// Whether nothing is lost by writing there.
pub(super) fn is_empty(folder: &Path) -> bool {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !folder.exists(),
    }
}
