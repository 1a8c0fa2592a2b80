//! A model as a user describes it.

use super::config::{Family, ModelConfig};
use crate::component::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A model to be made, in Hugging Face's words. The vocabulary is the data's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Which choices the decoder makes.
    #[serde(default)]
    pub family: Family,
    /// Width of the residual stream; a multiple of `num_attention_heads`.
    #[schemars(range(min = 2, max = 65536), example = 128)]
    pub hidden_size: usize,
    /// Number of layers.
    #[schemars(range(min = 1, max = 1024), example = 3)]
    pub num_hidden_layers: usize,
    /// Number of query heads.
    #[schemars(range(min = 1, max = 1024), example = 4)]
    pub num_attention_heads: usize,
    /// Number of key/value heads; divides `num_attention_heads` and equals it where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub num_key_value_heads: Option<usize>,
    /// Width of the feed-forward layers; where left out 8/3 of `hidden_size`, rounded up to a multiple of 64, or four
    /// times `hidden_size` in families whose feed-forward has no gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub intermediate_size: Option<usize>,
    /// Longest sequence the model is made for.
    #[serde(default = "default_positions")]
    #[schemars(range(min = 1, max = 16_777_216), extend("x-unit" = "tokens"))]
    pub max_position_embeddings: usize,
    /// Base of the rotary angles, in families that have them.
    #[serde(default = "default_theta")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub rope_theta: f64,
    /// Added to the mean square, or the variance, before its root.
    #[serde(default = "default_eps")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub rms_norm_eps: f64,
    /// Whether the output head is the embedding.
    #[serde(default = "default_tied")]
    pub tie_word_embeddings: bool,
    /// Standard deviation of the initial weights.
    #[serde(default = "default_range")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub initializer_range: f64,
}

fn default_positions() -> usize {
    2048
}
fn default_theta() -> f64 {
    10_000.0
}
fn default_eps() -> f64 {
    1e-6
}
fn default_tied() -> bool {
    true
}
fn default_range() -> f64 {
    0.02
}

impl ModelSpec {
    /// What the ranges of single fields cannot say. `field` is where the table stands.
    pub(crate) fn check(&self, field: &str) -> Vec<Problem> {
        let heads = self.num_attention_heads;
        let mut problems = Vec::new();
        let mut refuse = |key: &str, message: String| {
            let field = format!("{field}.{key}");
            problems.push(Problem {
                field,
                code: "bad_shape",
                message,
                hint: None,
            });
        };
        if !self.hidden_size.is_multiple_of(2 * heads) {
            let width = self.hidden_size;
            refuse(
                "hidden_size",
                format!("`hidden_size` {width} is not an even multiple of {heads} heads"),
            );
        }
        if let Some(groups) = self.num_key_value_heads {
            if !heads.is_multiple_of(groups) {
                refuse(
                    "num_key_value_heads",
                    format!("{groups} key/value heads do not divide {heads} heads"),
                );
            } else if groups != heads && !self.family.has_groups() {
                let family = self.family.name();
                refuse(
                    "num_key_value_heads",
                    format!("`{family}` has as many key/value heads as heads: {heads}, not {groups}"),
                );
            }
        }
        if let Some(size) = self.intermediate_size
            && self.family == Family::Bloom
            && size != 4 * self.hidden_size
        {
            let width = 4 * self.hidden_size;
            refuse(
                "intermediate_size",
                format!("`bloom` has four times `hidden_size`: {width}, not {size}"),
            );
        }
        problems
    }

    /// Number of key/value heads.
    pub(crate) fn groups(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of a feed-forward layer with a gate.
    pub(crate) fn gated_size(&self) -> usize {
        let third = (8 * self.hidden_size).div_ceil(3);
        self.intermediate_size.unwrap_or(third.next_multiple_of(64))
    }

    /// Width of a feed-forward layer without a gate.
    pub(crate) fn plain_size(&self) -> usize {
        self.intermediate_size.unwrap_or(4 * self.hidden_size)
    }

    /// The model's full configuration over a vocabulary.
    pub fn config(&self, vocab_size: usize) -> ModelConfig {
        ModelConfig::fresh(self, vocab_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_counts_are_those_of_the_published_llama_shapes() {
        // papers/miniplm.md §3: Llama3.1 212M, d 768, ffn 3072, 12 layers, tied, vocabulary 128,256.
        let spec = ModelSpec {
            family: Family::Llama,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_key_value_heads: None,
            intermediate_size: Some(3072),
            max_position_embeddings: 1024,
            rope_theta: 1e6,
            rms_norm_eps: 1e-6,
            tie_word_embeddings: true,
            initializer_range: 0.02,
        };
        assert_eq!(spec.config(128_256).parameters(), 211_766_016);
        assert_eq!(
            ModelSpec {
                intermediate_size: None,
                ..spec
            }
            .config(2)
            .intermediate_size,
            2048
        );
    }
}
