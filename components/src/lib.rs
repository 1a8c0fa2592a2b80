//! Lyceum's components: every data source, model, method and measurement that an experiment can name.
//!
//! A component is three things in one file: a parameters struct (from which validation, schema and reference pages
//! come), a [`Component`] implementation, and a line in the list of [`registry`]. It is handed its parameters, its
//! input artifacts and a [`Context`]; it knows nothing of the command line, the store or the scheduler.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests lay out files as users do")
)]

pub mod artifact;
pub mod component;
pub mod context;
pub mod disk;
pub mod error;
pub mod flops;
pub mod format;
pub mod inference;
mod labels;
pub mod lineage;
pub mod machine;
pub mod pair_template;
pub mod random;
pub mod reference;
pub mod registry;
pub mod table;
pub mod template;
#[cfg(test)]
mod testing;
mod untrusted;

pub mod analyze;
pub mod corpus;
pub mod distill;
pub mod embed;
pub mod evaluate;
pub mod generate;
pub mod gradients;
pub mod metrics;
pub mod model;
pub mod policy;
pub mod reweight;
pub mod score;
pub mod select;
pub mod tasks;
pub mod tokenizer;
pub mod tokens;
pub mod train;
pub mod trajectory;

pub use artifact::{Artifact, Kind};
pub use burn::tensor::Device;
pub use component::{Choice, Component, Descriptor, Estimate, Output, Seeding, Sharding, Size, Sizes};
pub use context::{Bar, Cancel, Context, Precision, Services, Shard};
pub use error::{Error, Result};
#[cfg(feature = "cuda")]
pub use lyceum_kernels::cuda;
pub use lyceum_kernels::{Body, bodies, instructions, keep_freed_memory, profile};
pub use reference::{FilePath, FolderPath, Ref, Refs, TaskPath};
pub use registry::{COMPONENTS, find};
