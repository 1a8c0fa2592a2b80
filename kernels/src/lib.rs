//! Tensor operations of decoder language models, each with its backward pass.
//!
//! Shape letters: `b` batch, `t` query positions, `s` key positions, `h` heads, `g` key/value heads, `d` width, `n` rows
//! (batch × positions), `v` vocabulary. Every operation takes any float type, with or without automatic differentiation.
//!
//! Each file holds one operation with its bodies: a `reference` composed of burn operations, which runs everywhere and is
//! what the others are tested against, a fused one for f32 on the CPU (burn's Flex backend), and for many of them kernels for GPUs
//! (module `cube`), chosen tensor by tensor.
//! Fused bodies give the same bytes for any number of threads: work is cut at fixed places and added up in a fixed order.

// Matrix products take raw pointers, several tasks write disjoint parts of one output, and code compiled for an
// instruction set may only be called where it exists; every block says why it is sound.
#![allow(unsafe_code)]

mod adamw;
mod append;
mod attention;
mod beside;
mod bodies;
mod cross_entropy;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cuda")]
pub mod cuda;
mod divergence;
mod exp;
mod flex;
mod gelu;
mod layer_norm;
mod likeliest;
mod linear;
mod matrix;
mod memory;
mod panels;
mod product;
mod profile;
mod projection;
mod rms_norm;
mod rope;
mod row_dots;
mod row_linear;
mod row_pass;
mod simd;
mod squared_norm;
mod swiglu;
mod table;
mod tap;
#[cfg(test)]
mod testing;
mod weights;

pub use adamw::{AdamW, adamw_step};
pub use append::append;
pub use attention::{Mask, Relative, Rotation, Row, Segments, attention, self_attention};
pub use beside::beside;
pub use bodies::{Body, bodies};
pub use cross_entropy::{
    CrossEntropy, CrossEntropyAlong, Likelihoods, linear_cross_entropy, linear_cross_entropy_along,
    linear_likelihoods, linear_nll,
};
pub use divergence::{
    Counts, Divergence, LabelledDivergence, Labels, LinearDivergence, OfLikelihood, Teacher,
    linear_divergence, linear_divergence_and_labels,
};
pub use exp::exponentials;
pub use flex::is_on_processor;
pub use gelu::{Gelu, gelu};
pub use layer_norm::layer_norm;
pub use likeliest::{Likeliest, linear_argmax, linear_likeliest};
pub use linear::linear;
pub use memory::keep_freed_memory;
pub use panels::in_panels;
pub use product::Products;
pub use profile::{Spent, profile};
pub use projection::Projection;
pub use rms_norm::rms_norm;
pub use rope::{Pairing, rope, rope_heads};
pub use row_dots::row_dots;
pub use row_linear::{Orientation, row_linear};
pub use row_pass::{LabelledRows, RowElement, RowWeights};
pub use simd::instructions;
pub use squared_norm::squared_norm;
pub use swiglu::swiglu;
pub use table::table_rows;
pub use tap::{tap, with_gradient};
