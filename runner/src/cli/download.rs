//! `lyceum download`.

use super::export::is_empty;
use super::say;
use crate::Exit;
use crate::hub::{Address, PUBLIC, Repository, Revision, Wanted};
use std::path::PathBuf;

/// Fetches a model of a hub into a new folder, for `model.load` and `lyceum generate` (in builds with the feature `hub`).
///
/// Only what is read of a model is fetched: weights in safetensors, configurations, tokenizer and chat template; never
/// pickles or code. Sizes and hashes are checked, and the folder appears once it is whole. What an interrupted download
/// has fetched is kept beside it, and the same command goes on from that. The variable HF_TOKEN, where it is set, is shown
/// to the hub and to no other host.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The repository, as in `openai-community/gpt2`.
    #[arg(value_name = "REPO")]
    repository: Repository,
    /// The commit, by its 40 hex digits.
    #[arg(long, value_name = "COMMIT")]
    revision: Revision,
    /// The folder it goes to, which is not there yet or empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The hub; where left out what HF_ENDPOINT names, else the public one.
    #[arg(long, value_name = "URL")]
    endpoint: Option<Address>,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let wrong = |message: &str| {
        say(&format!("error: {message}"));
        Exit::Wrong
    };
    if !is_empty(&arguments.to) {
        return wrong(&format!(
            "`{}` holds something already; take another folder",
            arguments.to.display()
        ));
    }
    if arguments.to.file_name().is_none() {
        return wrong(&format!(
            "`{}` is no name for a new folder",
            arguments.to.display()
        ));
    }
    let variable = |name| {
        std::env::var(name)
            .ok()
            .filter(|value: &String| !value.trim().is_empty())
    };
    let endpoint = match (&arguments.endpoint, variable("HF_ENDPOINT")) {
        (Some(endpoint), _) => Ok(endpoint.clone()),
        (None, Some(named)) => named.trim().parse(),
        (None, None) => PUBLIC.parse(),
    };
    let endpoint = match endpoint {
        Ok(endpoint) => endpoint,
        Err(error) => return wrong(&format!("HF_ENDPOINT: {error}")),
    };
    fetch(Wanted {
        endpoint,
        repository: arguments.repository.clone(),
        revision: arguments.revision.clone(),
        to: arguments.to.clone(),
        token: variable("HF_TOKEN").map(|token| token.trim().to_owned()),
    })
}

#[cfg(feature = "hub")]
fn fetch(mut wanted: Wanted) -> Exit {
    use super::{advice::show_error, print};
    use crate::execute::cancel_on_signal;
    use crate::hub::download;
    use lyceum_components::Error;

    if wanted.token.is_some() && !wanted.endpoint.is_secure() && !wanted.endpoint.is_here() {
        let host = wanted.endpoint.host();
        say(&format!(
            "note: HF_TOKEN is not sent: the way to `{host}` is not encrypted"
        ));
        wanted.token = None;
    }
    match download(&wanted, &cancel_on_signal()) {
        Ok(()) => print(&format!("{}\n", wanted.to.display())),
        Err(Error::Interrupted) => {
            say("interrupted; what was fetched is kept, and the same command goes on from it");
            Exit::Interrupted
        }
        Err(error) => {
            show_error("", &error);
            Exit::Failed
        }
    }
}

#[cfg(not(feature = "hub"))]
fn fetch(wanted: Wanted) -> Exit {
    let (repository, host) = (wanted.repository, wanted.endpoint.host());
    say(&format!(
        "error[hub_not_built]: this program is built without downloads; `{repository}` was not asked for at `{host}`\n  \
         hint: build it with them: `cargo build --release --features hub`, or `cargo install --path runner --features hub`"
    ));
    Exit::Wrong
}
