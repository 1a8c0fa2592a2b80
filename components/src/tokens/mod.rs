//! Packed tokens: making blocks of documents, taking them from elsewhere and giving them away, reading them back, and
//! collating them into batches.

mod blocks;
mod collate;
mod export;
mod import;
mod megatron;
mod pack;
#[cfg(test)]
mod pack_tests;
mod packer;
mod pair_encoder;
mod pairs;
mod shard_writer;
mod shards;

pub use blocks::{Block, Blocks};
pub use collate::{Batch, Example, collate};
pub(crate) use collate::{check_block, longest};
pub use export::{Export, ExportParams, ShardsDetails};
pub use import::{Import, ImportParams};
pub use pack::{Pack, PackParams};
pub use packer::{Ends, Packed, Packer, Rules};
pub use pairs::{OnJoined, Pairs, PairsParams};
