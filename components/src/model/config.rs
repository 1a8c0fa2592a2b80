//! What a model is made of: as a user writes it, and as Hugging Face's `config.json` says it.

use crate::component::Problem;
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A family of models: which choices the decoder makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// RMSNorm before each part, rotate-half rotary positions, SwiGLU, no biases.
    #[default]
    Llama,
}

impl Family {
    /// The name in `config.json`'s `architectures`.
    fn architecture(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
        }
    }
}

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
    /// Width of the feed-forward layers; 8/3 of `hidden_size`, rounded up to a multiple of 64, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub intermediate_size: Option<usize>,
    /// Longest sequence the model is made for.
    #[serde(default = "default_positions")]
    #[schemars(range(min = 1, max = 16_777_216), extend("x-unit" = "tokens"))]
    pub max_position_embeddings: usize,
    /// Base of the rotary angles.
    #[serde(default = "default_theta")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub rope_theta: f64,
    /// Added to the mean square before its root.
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
        if let Some(groups) = self.num_key_value_heads
            && !heads.is_multiple_of(groups)
        {
            refuse(
                "num_key_value_heads",
                format!("{groups} key/value heads do not divide {heads} heads"),
            );
        }
        problems
    }

    /// The model's full configuration over a vocabulary.
    pub fn config(&self, vocab_size: usize) -> ModelConfig {
        let third = (8 * self.hidden_size).div_ceil(3);
        ModelConfig {
            architectures: vec![self.family.architecture().to_owned()],
            model_type: self.family,
            vocab_size,
            hidden_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            intermediate_size: self.intermediate_size.unwrap_or(third.next_multiple_of(64)),
            max_position_embeddings: self.max_position_embeddings,
            rope_theta: self.rope_theta,
            rms_norm_eps: self.rms_norm_eps,
            tie_word_embeddings: self.tie_word_embeddings,
            initializer_range: self.initializer_range,
            hidden_act: "silu".to_owned(),
            attention_bias: false,
            mlp_bias: false,
            bos_token_id: None,
            eos_token_id: None,
            torch_dtype: "float32".to_owned(),
        }
    }
}

/// `config.json`, as transformers reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Class names of transformers.
    pub architectures: Vec<String>,
    /// The family.
    pub model_type: Family,
    /// Entries of the vocabulary.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key/value heads.
    pub num_key_value_heads: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// Added to the mean square before its root.
    pub rms_norm_eps: f64,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
    /// The activation, always `silu`.
    pub hidden_act: String,
    /// Always false.
    pub attention_bias: bool,
    /// Always false.
    pub mlp_bias: bool,
    /// Token a sequence begins with, if any.
    pub bos_token_id: Option<u32>,
    /// Token a document ends with.
    pub eos_token_id: Option<u32>,
    /// Type of the stored weights.
    pub torch_dtype: String,
}

impl ModelConfig {
    /// Refuses a configuration that no model can be made of. The limits are those of [`ModelSpec`]. `bad_config`.
    pub(crate) fn check(&self) -> Result<()> {
        let (heads, groups) = (self.num_attention_heads, self.num_key_value_heads);
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 65_536),
            ("num_hidden_layers", self.num_hidden_layers, 1024),
            ("num_attention_heads", heads, 1024),
            ("num_key_value_heads", groups, 1024),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 24),
        ];
        let bad = |what: String| Err(Error::data("bad_config", what));
        for (key, size, most) in sizes {
            if size == 0 || size > most {
                return bad(format!("`{key}` is {size}; expected 1 to {most}"));
            }
        }
        if !self.hidden_size.is_multiple_of(2 * heads) {
            let width = self.hidden_size;
            return bad(format!(
                "`hidden_size` {width} is not an even multiple of {heads} heads"
            ));
        }
        if !heads.is_multiple_of(groups) {
            return bad(format!("{groups} key/value heads do not divide {heads} heads"));
        }
        for (key, value) in [
            ("rope_theta", self.rope_theta),
            ("rms_norm_eps", self.rms_norm_eps),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return bad(format!("`{key}` is {value}; expected a number above 0"));
            }
        }
        if self.hidden_act != "silu" || self.attention_bias || self.mlp_bias {
            return bad(
                "`hidden_act` must be \"silu\", and `attention_bias` and `mlp_bias` false".to_owned(),
            );
        }
        Ok(())
    }

    /// Width of one head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Outputs of the fused query/key/value product.
    pub(crate) fn qkv_size(&self) -> usize {
        (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim()
    }

    /// Number of trainable parameters.
    pub fn parameters(&self) -> usize {
        let d = self.hidden_size;
        let layer = d * self.qkv_size() + d * d + 3 * d * self.intermediate_size + 2 * d;
        let embeddings = if self.tie_word_embeddings { 1 } else { 2 };
        embeddings * self.vocab_size * d + self.num_hidden_layers * layer + d
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
