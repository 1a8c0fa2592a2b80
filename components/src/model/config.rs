//! What a decoder is made of: the choices that tell one family from another, read from Hugging Face's `config.json`.

use super::families::{self, FamilyFile, Json};
use super::rotary::Rotary;
use super::spec::ModelSpec;
use crate::{Error, Result};
use lyceum_kernels::Gelu;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// A family of models: which choices the decoder makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// RMSNorm before each part, rotate-half rotary positions, SwiGLU, no biases.
    #[default]
    Llama,
    /// Llama with a window.
    Mistral,
    /// Llama with biases on queries, keys and values.
    Qwen2,
    /// Llama with normed queries and keys.
    Qwen3,
    /// Layer norms, learned positions, GELU.
    Gpt2,
    /// GPT-2's, with ReLU.
    Opt,
    /// Layer norms, ALiBi, a normed embedding, GELU.
    Bloom,
    /// Layer norms, rotary positions, attention and feed-forward side by side behind one norm.
    Gptj,
    /// Layer norms, rotary positions, attention and feed-forward side by side.
    GptNeox,
}

impl Family {
    /// Every family.
    pub const ALL: &[Self] = &[
        Self::Llama,
        Self::Mistral,
        Self::Qwen2,
        Self::Qwen3,
        Self::Gpt2,
        Self::Opt,
        Self::Bloom,
        Self::Gptj,
        Self::GptNeox,
    ];

    /// The `model_type` of config.json.
    pub fn name(self) -> &'static str {
        self.file().model_type
    }

    /// Whether there may be fewer key/value heads than heads.
    pub(crate) fn has_groups(self) -> bool {
        matches!(self, Self::Llama | Self::Mistral | Self::Qwen2 | Self::Qwen3)
    }

    /// What is particular to it.
    pub(crate) fn file(self) -> &'static FamilyFile {
        match self {
            Self::Llama => &families::LLAMA,
            Self::Mistral => &families::MISTRAL,
            Self::Qwen2 => &families::QWEN2,
            Self::Qwen3 => &families::QWEN3,
            Self::Gpt2 => &families::GPT2,
            Self::Opt => &families::OPT,
            Self::Bloom => &families::BLOOM,
            Self::Gptj => &families::GPTJ,
            Self::GptNeox => &families::GPT_NEOX,
        }
    }
}

/// What brings a vector to unit size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// Root mean square, a scale.
    Rms,
    /// Mean and variance, a scale and a shift.
    Layer,
}

/// How a position is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// Queries and keys are rotated.
    Rotary(Rotary),
    /// A learned vector is added to the embedding: row `position + offset` of a table.
    Learned {
        /// Rows of the table before that of position 0.
        offset: usize,
    },
    /// Scores fall with the distance, at a slope of each head's own (Press et al. 2022).
    Alibi,
}

/// What stands between the two products of a feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `silu(gate) · up`.
    SwiGlu,
    /// GELU.
    Gelu(Gelu),
    /// `max(0, x)`.
    Relu,
}

/// Which products add a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // Four places, each with or without.
pub struct Biases {
    /// Queries, keys and values.
    pub qkv: bool,
    /// The attention's output.
    pub output: bool,
    /// Both products of the feed-forward layer.
    pub feed_forward: bool,
    /// The output head.
    pub head: bool,
}

/// `config.json`, understood. It is written back as it was read.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // Choices of a family, each independent of the others.
pub struct ModelConfig {
    /// The family.
    pub family: Family,
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
    /// Width of one head.
    pub head_dim: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// The norm before (or between) the parts.
    pub norm: Norm,
    /// Added to the mean square or the variance before its root.
    pub norm_eps: f64,
    /// How a position is told.
    pub positions: Positions,
    /// For each layer how many keys a query sees, itself included; no end of keys where there is none.
    pub windows: Vec<Option<usize>>,
    /// Attention and feed-forward read the same residual stream, and both are added to it.
    pub parallel: bool,
    /// The feed-forward layer reads what the attention reads, instead of a norm of its own.
    pub shared_norm: bool,
    /// Between the two products of the feed-forward layer.
    pub activation: Activation,
    /// Which products add a bias.
    pub biases: Biases,
    /// Queries and keys are normed head by head before they are rotated.
    pub qk_norm: bool,
    /// The embedding is normed before the first layer.
    pub embedding_norm: bool,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
    /// Everything that config.json says.
    pub(crate) json: Map<String, Value>,
}

impl ModelConfig {
    /// The configuration of a model to be made.
    pub(crate) fn fresh(spec: &ModelSpec, vocab_size: usize) -> Self {
        let Value::Object(json) = (spec.family.file().write)(spec, vocab_size) else {
            unreachable!("families write tables");
        };
        let read = (spec.family.file().read)(&Json(&json)).expect("a family reads what it writes");
        Self { json, ..read }
    }

    /// The configuration in the words of config.json.
    ///
    /// # Errors
    /// `bad_config`: a key is missing, of another type or out of range; `unsupported_model`: another family;
    /// `unsupported_config`: a choice that this decoder cannot make.
    pub fn from_json(value: Value) -> Result<Self> {
        let Value::Object(json) = value else {
            return Err(Error::data("bad_config", "expected a table `{ … }`"));
        };
        let model_type = Json(&json).text("model_type")?;
        let family = Family::ALL.iter().find(|family| family.name() == model_type);
        let Some(family) = family else {
            let known: Vec<_> = Family::ALL.iter().map(|family| family.name()).collect();
            let message =
                format!("`model_type` is \"{model_type}\", which is not among the families there are");
            return Err(
                Error::data("unsupported_model", message).hint(format!("there are {}", known.join(", ")))
            );
        };
        let config = (family.file().read)(&Json(&json))?;
        config.check()?;
        Ok(Self { json, ..config })
    }

    /// The words of config.json, as they were read.
    pub fn to_json(&self) -> Value {
        Value::Object(self.json.clone())
    }

    /// Sets the token that ends a document.
    pub fn set_eos(&mut self, id: u32) {
        self.json.insert("eos_token_id".to_owned(), id.into());
    }

    /// Sets the type that weights are stored in, as `float32`.
    pub(crate) fn set_dtype(&mut self, name: &str) {
        let key = if self.json.contains_key("dtype") {
            "dtype"
        } else {
            "torch_dtype"
        };
        self.json.insert(key.to_owned(), name.into());
    }

    /// Refuses a configuration that no model can be made of. The limits are those of [`ModelSpec`]. `bad_config`.
    pub(crate) fn check(&self) -> Result<()> {
        let (heads, groups) = (self.num_attention_heads, self.num_key_value_heads);
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 65_536),
            ("num_hidden_layers", self.num_hidden_layers, 1024),
            ("num_attention_heads", heads, 1024),
            ("num_key_value_heads", groups, 1024),
            ("head_dim", self.head_dim, 65_536),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 24),
        ];
        let bad = |what: String| Err(Error::data("bad_config", what));
        for (key, size, most) in sizes {
            if size == 0 || size > most {
                return bad(format!("`{key}` is {size}; expected 1 to {most}"));
            }
        }
        if !heads.is_multiple_of(groups) {
            return bad(format!("{groups} key/value heads do not divide {heads} heads"));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps > 0.0) {
            let eps = self.norm_eps;
            return bad(format!("the norm's epsilon is {eps}; expected a number above 0"));
        }
        if let Positions::Rotary(rotary) = &self.positions {
            rotary.check(self.head_dim)?;
        }
        if self.windows.len() != self.num_hidden_layers || self.windows.contains(&Some(0)) {
            return bad("`layer_types` or `sliding_window` do not fit the layers".to_owned());
        }
        Ok(())
    }

    /// Width of all heads' queries together.
    pub fn queries_size(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Outputs of the fused query/key/value product.
    pub(crate) fn qkv_size(&self) -> usize {
        (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim
    }

    /// Outputs of the first product of a feed-forward layer.
    pub(crate) fn up_size(&self) -> usize {
        let products = if self.activation == Activation::SwiGlu {
            2
        } else {
            1
        };
        products * self.intermediate_size
    }

    /// Rows of the table of learned positions, if there is one.
    pub(crate) fn position_rows(&self) -> Option<usize> {
        match self.positions {
            Positions::Learned { offset } => Some(self.max_position_embeddings + offset),
            _ => None,
        }
    }

    /// Multiply-adds of a layer's products for one token, which is also their number of weights.
    pub(crate) fn layer_products(&self) -> usize {
        self.hidden_size * (self.qkv_size() + self.queries_size() + self.up_size() + self.intermediate_size)
    }

    /// Number of trainable parameters.
    pub fn parameters(&self) -> usize {
        let d = self.hidden_size;
        let norm = if self.norm == Norm::Layer { 2 * d } else { d };
        let biases = self.biases;
        let optional = |there: bool, size: usize| if there { size } else { 0 };
        let layer = self.layer_products()
            + if self.shared_norm { norm } else { 2 * norm }
            + optional(biases.qkv, self.qkv_size())
            + optional(biases.output, d)
            + optional(biases.feed_forward, self.up_size() + d)
            + optional(self.qk_norm, 2 * self.head_dim);
        let embeddings = if self.tie_word_embeddings { 1 } else { 2 };
        embeddings * self.vocab_size * d
            + self.position_rows().unwrap_or_default() * d
            + optional(self.embedding_norm, norm)
            + self.num_hidden_layers * layer
            + norm
            + optional(biases.head, self.vocab_size)
    }
}

impl Serialize for ModelConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
