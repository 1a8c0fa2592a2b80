//! Artifacts: typed, immutable folders of plain files.
//!
//! Every artifact folder holds `artifact.json`, the [`Header`]. A loader reads it first and refuses a folder of another
//! kind or format.

mod base;

pub use base::{Artifact, Header, Kind, Source, write_header};
