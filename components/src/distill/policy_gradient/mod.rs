//! MiniLLM's policy gradient: reverse KL over whole responses, from responses that student and teacher drew together
//! (Gu et al. 2024).
//!
//! `q` is the student, `p` the teacher, `p̃ = α·p + (1−α)·q` what responses `y` are drawn from. What follows from a set of
//! drawn responses is worked out on the host, in f64, row-major `[rows, width]` with one place for each token of a response;
//! `mask` is 1 where there is a token, the end included, and 0 behind it. Then [`Surrogate`] makes a loss of it that is
//! differentiable by the log-likelihoods of the tokens under the student as it is now. The exact gradient of a single step
//! (`single_step`) is that of the reverse KL at the visited places, which `linear_divergence` gives; its weights are
//! [`Recipe::single_step_weights`].

mod metrics;
mod returns;
mod rollout;
mod settings;
mod surrogate;

pub use metrics::RolloutMetrics;
pub use returns::{Start, advantages, discounted_returns, tokens_left, whitened};
pub use rollout::Rollout;
pub use settings::{Clipping, Mode, PolicyGradient, Recipe, Whiten};
pub use surrogate::{OfToken, Surrogate, Total};
