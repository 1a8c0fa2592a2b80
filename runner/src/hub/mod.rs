//! Models of a hub: which files of a repository are fetched, from where, and how they get onto the disk.
//!
//! What is decided about names, addresses and plans is always compiled; what talks to a hub only with the feature `hub`.

mod address;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod download;
#[cfg(feature = "hub")]
mod file;
mod listing;
mod names;
#[cfg(feature = "hub")]
mod partial;

pub use address::Address;
#[cfg(feature = "hub")]
pub use download::download;
pub use listing::{Listing, Remote, Weights};
pub use names::{Repository, Revision};

use std::path::PathBuf;

/// The hub that is asked where none is named.
pub const PUBLIC: &str = "https://huggingface.co";

/// What is to be fetched, from where and to where. It has no `Debug`: nothing should ever print the token.
#[derive(Clone)]
pub struct Wanted {
    /// The hub.
    pub endpoint: Address,
    /// The repository of the model.
    pub repository: Repository,
    /// The commit.
    pub revision: Revision,
    /// The folder that comes to be.
    pub to: PathBuf,
    /// What shows the hub who asks; sent to no other host.
    pub token: Option<String>,
}
