//! Artifacts: typed, immutable folders of plain files.
//!
//! Every artifact folder holds `artifact.json`, the [`Header`]. A loader reads it first and refuses a folder of another
//! kind or format.

mod base;
mod scores;
mod selection;
mod table;

pub use base::{Artifact, Header, Kind, Source, write_header};
pub use scores::{Item, Scores, ScoresDetails};
pub use selection::{Order, Selection, SelectionDetails};
pub use table::{Place, Table, read_histogram, read_instances, read_table};
