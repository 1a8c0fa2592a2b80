//! Choosing items by their scores.

mod rules;

pub use rules::{check_finite, gumbel_keys, keep_count, mixture_counts, top_k};
