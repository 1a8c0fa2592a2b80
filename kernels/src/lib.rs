//! Tensor operations of decoder language models, each with its backward pass.
//!
//! Shape letters: `b` batch, `t` query positions, `s` key positions, `h` heads, `g` key/value heads, `d` width, `n` rows
//! (batch × positions), `v` vocabulary. Every operation takes any float type, with or without automatic differentiation.

mod adamw;
mod attention;
mod cross_entropy;
mod rms_norm;
mod rope;
mod swiglu;

pub use adamw::{AdamW, adamw_step};
pub use attention::causal_attention;
pub use cross_entropy::{CrossEntropy, linear_cross_entropy, linear_nll};
pub use rms_norm::rms_norm;
pub use rope::rope;
pub use swiglu::swiglu;
