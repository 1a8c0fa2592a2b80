//! Names of activations.

use super::Json;
use crate::Result;
use crate::model::config::Activation;
use lyceum_kernels::Gelu;

/// The activation that `key` names, of a feed-forward layer without a gate; `default` where it names none.
///
/// # Errors
/// `bad_config`; `unsupported_config`: another one.
pub(super) fn activation(json: &Json, key: &str, default: Activation) -> Result<Activation> {
    Ok(match json.find_text(key)? {
        None => default,
        Some("relu") => Activation::Relu,
        Some("gelu" | "gelu_python") => Activation::Gelu(Gelu::Erf),
        Some("gelu_new" | "gelu_fast" | "gelu_pytorch_tanh") => Activation::Gelu(Gelu::Tanh),
        Some(_) => {
            let supported = "relu, gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh";
            return Err(json.unsupported(key, supported));
        }
    })
}
