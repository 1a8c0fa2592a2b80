//! The store: artifacts by what was asked for, published whole or not at all.
//!
//! A folder of plain files and nothing else: no database, no daemon. `store/<component>/<key>/` is one artifact with its
//! manifest; the same request has the same key on every machine that shares the folder.

mod attempt;
mod base;
mod collect;
mod files;
mod key;
mod lock;
mod manifest;
mod sync;
mod verify;

pub use attempt::Attempt;
pub use base::{Store, home};
pub(crate) use collect::size;
pub use collect::{Garbage, GarbageKind};
pub use files::FileHashes;
pub use key::{canonical, key};
pub(crate) use lock::is_held;
pub use lock::{Lock, Owner};
pub(crate) use manifest::is_inside;
pub use manifest::{Cost, FileEntry, MadeBy, Manifest};
pub(crate) use sync::{hash_file, sync_tree};
pub use verify::{Damage, Problem, Verified};
