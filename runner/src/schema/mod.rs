//! Everything generated from the components' types: the editor's schema and the reference pages.
//!
//! One generator writes the files and checks that they are current; they are committed and never edited by hand.

mod fields;
mod files;
mod pages;

pub use fields::{FieldDoc, fields};
pub use files::{Stale, generated, stale, whole_schema, write};
pub use pages::page;
