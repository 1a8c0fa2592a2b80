//! Packed tokens: making blocks of documents, reading them back, and collating them into batches.

mod blocks;
mod collate;
mod pack;
#[cfg(test)]
mod pack_tests;
mod packer;

pub use blocks::{Block, Blocks};
pub(crate) use collate::check_block;
pub use collate::{Batch, collate};
pub use pack::{Pack, PackParams};
pub use packer::{Ends, Packed, Packer, Rules};
