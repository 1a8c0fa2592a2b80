//! Choosing items by their scores.

mod rules;
mod top;
#[cfg(test)]
mod top_tests;

pub use rules::{check_finite, gumbel_keys, keep_count, mixture_counts, top_k};
pub use top::{Mix, Noise, Pool, Quotas, Top, Weights};
