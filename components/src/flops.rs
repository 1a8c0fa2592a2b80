//! FLOPs: 2 × multiply-adds of every matrix product, output head included, causal attention at half; backward is twice
//! forward. Every token counts as if it went through all of the model, also where nothing of the last is asked for.

use crate::model::ModelConfig;

/// How FLOPs are counted in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Convention {
    /// As everywhere else: every matrix product.
    #[default]
    Products,
    /// As papers do: two a parameter and token forward, six in training, whatever the parameter is for; no attention.
    Parameters,
}

impl Convention {
    /// FLOPs of one forward pass over one sequence of `width` tokens.
    pub fn forward(self, config: &ModelConfig, width: usize) -> f64 {
        match self {
            Self::Products => forward_flops(config, width),
            Self::Parameters => 2.0 * config.parameters() as f64 * width as f64,
        }
    }

    /// The same of a trunk that has no output head.
    pub fn trunk(self, config: &ModelConfig, width: usize) -> f64 {
        match self {
            Self::Products => layers_flops(config, width),
            Self::Parameters => self.forward(config, width),
        }
    }
}

/// FLOPs of one forward pass over one sequence of `width` tokens.
pub fn forward_flops(config: &ModelConfig, width: usize) -> f64 {
    let head = config.hidden_size as f64 * config.vocab_size as f64;
    layers_flops(config, width) + 2.0 * width as f64 * head
}

/// FLOPs of one forward pass through the layers alone.
pub fn layers_flops(config: &ModelConfig, width: usize) -> f64 {
    let width = width as f64;
    let products = config.layer_products() as f64;
    // Scores and their mix with the values: 2 · 2 · width² · (heads' width) multiply-adds and adds, of which causality
    // leaves half.
    let attention = 2.0 * width * width * config.queries_size() as f64;
    config.num_hidden_layers as f64 * (2.0 * width * products + attention)
}

/// FLOPs of a training step over one sequence: forward, and backward at twice that.
pub fn training_flops(config: &ModelConfig, width: usize) -> f64 {
    3.0 * forward_flops(config, width)
}
