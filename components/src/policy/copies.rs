//! Copies of the weights, from which a stopped step goes on.

use super::law::LawEpoch;
use crate::trajectory::{Number, from_bytes, to_bytes};
use crate::{Error, Result, disk};
use std::path::Path;

/// Numbers that an epoch is kept as.
const FIELDS: usize = 3;

/// Commits the weights after the epochs.
pub(super) fn keep<N: Number>(file: &Path, policy: &[N], epochs: &[LawEpoch]) -> Result<()> {
    let numbers = epochs
        .iter()
        .flat_map(|epoch| [epoch.objective, epoch.gradient, epoch.gap]);
    let mut bytes = (epochs.len() as u64).to_le_bytes().to_vec();
    bytes.extend(to_bytes(&numbers.collect::<Vec<f64>>()));
    bytes.extend(to_bytes(policy));
    disk::write_atomically(file, bytes).map_err(Error::io("cannot write", file))
}

/// What [`keep`] left; none if there is no file.
pub(super) fn kept<N: Number>(file: &Path, policy: &mut [N]) -> Result<Option<Vec<LawEpoch>>> {
    if !file.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(file).map_err(Error::io("cannot read", file))?;
    let bad = || {
        Error::data("bad_checkpoint", "it is of another number of epochs or weights")
            .in_file(file)
            .hint("delete the folder; the policy starts afresh")
    };
    let (count, rest) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
    let length = usize::try_from(u64::from_le_bytes(*count))
        .ok()
        .and_then(|count| count.checked_mul(FIELDS * f64::BYTES));
    let (numbers, weights) = length
        .and_then(|length| rest.split_at_checked(length))
        .filter(|(_, weights)| weights.len() == policy.len() * N::BYTES)
        .ok_or_else(bad)?;
    policy.copy_from_slice(&from_bytes::<N>(weights));
    let epoch = |one: &[f64]| LawEpoch {
        objective: one[0],
        gradient: one[1],
        gap: one[2],
    };
    let numbers: Vec<f64> = from_bytes(numbers);
    Ok(Some(numbers.chunks_exact(FIELDS).map(epoch).collect()))
}
