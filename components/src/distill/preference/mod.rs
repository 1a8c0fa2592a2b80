//! DPKD's preference of a teacher's answers to a student's own (Li et al. 2024), and the losses it is compared with.
//!
//! `q` is the student, `p` the teacher; `y_t` is preferred to `y_s`. The paper compares whole sequences, by
//! [`sequence_preference`]; its released code compares, at every place of a given text, the token that the teacher finds
//! likeliest with the student's own, by [`token_preference`]. Both have their gradient in closed form.

mod pointwise;
mod sequence;
mod settings;
mod token;

pub use sequence::{SequencePreference, Side, sequence_log_likelihoods, sequence_preference};
pub use settings::{Form, Preference, PreferenceMode, Reference, Rule};
pub use token::{TokenPreference, token_preference, trimmed_length};
