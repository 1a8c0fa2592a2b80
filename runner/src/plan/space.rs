//! Whether there is room for what would run.

use super::Plan;
use crate::units::bytes;
use lyceum_components::{Error, Result};
use std::path::Path;

/// Bytes on disk that the new steps would take: their outputs, and the largest partial work.
pub fn needed_space(plan: &Plan) -> f64 {
    let outputs = plan.new_steps().flat_map(|step| step.estimate.outputs.values());
    let scratch = plan.new_steps().map(|step| step.estimate.scratch);
    outputs.map(|size| size.bytes).sum::<f64>() + scratch.fold(0.0, f64::max)
}

/// Bytes that may still be written where `path` lies or would lie; none if the system does not tell.
pub fn free_space(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|ancestor| ancestor.exists())?;
    fs4::available_space(there).ok()
}

/// Refuses a plan that does not fit on the disk (`disk_full`).
pub fn check_space(plan: &Plan, home: &Path) -> Result<()> {
    let needed = needed_space(plan);
    match free_space(home) {
        Some(free) if needed > free as f64 => {
            let message = format!(
                "the new steps need about {}; {} are free",
                bytes(needed),
                bytes(free as f64)
            );
            Err(Error::data("disk_full", message)
                .in_file(home)
                .hint("make room, or set LYCEUM_HOME to a folder on a larger disk"))
        }
        _ => Ok(()),
    }
}
