//! Files that may come from anyone, looked at before anything is taken from them at their word.
//!
//! What a file claims is compared with what it holds: no list, page or table is given more memory than
//! [`SLACK`] + [`RATIO`] × the file's size, and nothing here reserves memory for a number that was only claimed.

pub(crate) mod arrow;
mod flat;
mod pages;
pub(crate) mod parquet;
mod quiet;
mod thrift;

pub(crate) use quiet::quiet;

use crate::{Error, Result};
use std::path::Path;

/// Bytes that unpacking may give whatever the size of the file.
pub(crate) const SLACK: u64 = 64 << 20;
/// Beyond that, how often a file's own size unpacking may give. Text shrinks to a fifth, repetitive logs to a fiftieth.
pub(crate) const RATIO: u64 = 512;

/// Refuses a file of `packed` bytes that unpacks to `unpacked` or more. `decompression_bomb`.
pub(crate) fn check_ratio(unpacked: u64, packed: u64, file: &Path) -> Result<()> {
    if unpacked <= SLACK.saturating_add(packed.saturating_mul(RATIO)) {
        return Ok(());
    }
    let message = format!("{packed} bytes unpack to {unpacked} or more, over {RATIO} times as much");
    Err(Error::data("decompression_bomb", message).in_file(file).hint(
        "such a file is made to fill memory or disk; if it is yours, unpack it and name the unpacked file",
    ))
}
