//! What is worked out again for the gradients instead of being kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is worked out again for the gradients instead of being kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Nothing.
    #[default]
    None,
    /// All that is inside a layer: what each layer reads is kept.
    Block,
}
