//! Choosing items by their scores.

mod choice;
mod cut;
mod params;
mod passes;
mod rules;
mod top;
#[cfg(test)]
mod top_tests;

pub use params::{Mix, Noise, Params, Pool, Quotas, Weights};
pub use rules::{check_finite, gumbel_key, keep_count, mixture_counts, top_k};
pub use top::Top;
