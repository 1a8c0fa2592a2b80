//! A download from beginning to end.

use super::client::Client;
use super::file::Fetcher;
use super::listing::{Listing, Remote, Weights};
use super::partial::Partial;
use super::{Address, Wanted};
use crate::execute::bar;
use crate::plan::free_space;
use crate::units::bytes;
use lyceum_components::model::ModelConfig;
use lyceum_components::{Cancel, Error, Result};
use std::path::Path;

/// Longest list of a repository's files.
const LONGEST_LISTING: u64 = 32 << 20;

/// Fetches a model into a folder that appears once it is whole.
///
/// # Errors
/// Those of [`Listing`] and of asking the hub; `unsupported_model`, `unsupported_config`, `bad_config`, before the weights
/// are fetched; `disk_full`; `busy`, `not_ours`; [`Error::Interrupted`], after which the same call goes on.
pub fn download(wanted: &Wanted, cancel: &Cancel) -> Result<()> {
    let client = Client::new(wanted, cancel)?;
    let Wanted {
        endpoint,
        repository,
        revision,
        ..
    } = wanted;
    let asked = endpoint.at(&format!(
        "/api/models/{repository}/revision/{revision}?blobs=true"
    ));
    let listing = Listing::read(&client.text(&asked, LONGEST_LISTING)?, revision)?;
    let besides = listing.besides()?;
    let weights = listing.weights()?;
    let partial = Partial::open(wanted)?;
    let address = |file: &Remote| endpoint.at(&format!("/{repository}/resolve/{revision}/{}", file.name));
    let files = match weights {
        Weights::Single(file) => vec![file],
        Weights::Indexed(index) => {
            fetch_all(
                &client,
                &partial,
                "the list of weights",
                std::slice::from_ref(&index),
                &address,
            )?;
            listing.shards(&read(&partial.files().join(&index.name))?)?
        }
    };
    fetch_all(&client, &partial, "configuration", &besides, &address)?;
    check_config(&partial.files().join(&besides[0].name))?;
    check_space(&files, &partial, &wanted.to)?;
    fetch_all(&client, &partial, "weights", &files, &address)?;
    if !besides.iter().any(|file| file.name == "tokenizer.json") {
        crate::cli::say(
            "note: there is no tokenizer.json in the repository; before the model is loaded, make one where transformers \
             is: `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)`",
        );
    }
    partial.publish()
}

fn fetch_all(
    client: &Client,
    partial: &Partial,
    what: &str,
    files: &[Remote],
    address: &dyn Fn(&Remote) -> Address,
) -> Result<()> {
    let total = files.iter().map(|file| file.size).sum();
    let bar = bar("download", what, total, "bytes");
    let fetcher = Fetcher {
        client,
        partial,
        bar: &*bar,
    };
    for file in files {
        bar.message(&file.name);
        fetcher.fetch(file, &address(file))?;
    }
    Ok(())
}

/// Refuses a model that could not be loaded, before gigabytes are fetched.
fn check_config(file: &Path) -> Result<()> {
    let json =
        serde_json::from_slice(&read(file)?).map_err(|error| Error::data("bad_config", error.to_string()));
    let config = json.and_then(ModelConfig::from_json);
    config.map(drop).map_err(|error| error.in_file(file))
}

/// `disk_full`: the weights do not fit where they go to.
fn check_space(files: &[Remote], partial: &Partial, to: &Path) -> Result<()> {
    let lacking = |file: &Remote| file.size.saturating_sub(partial.fetched(&file.name));
    let needed: u64 = files.iter().map(lacking).sum();
    match free_space(to) {
        Some(free) if needed > free => {
            let (needed, free) = (bytes(needed as f64), bytes(free as f64));
            let message = format!("the weights need {needed}; {free} are free");
            Err(Error::data("disk_full", message)
                .in_file(to)
                .hint("make room, or take a folder on a larger disk"))
        }
        _ => Ok(()),
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(Error::io("cannot read", file))
}
