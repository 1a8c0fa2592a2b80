//! Layout versions: what a newer program wrote is refused by name and never taken for damage.

use serde::Deserialize;

/// The `format` of a JSON text if it is higher than `known`.
pub fn newer_format(text: &[u8], known: u32) -> Option<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let versioned: Versioned = serde_json::from_slice(text).ok()?;
    (versioned.format > known).then_some(versioned.format)
}
