//! The distillers: each is a way to write down a composition of the one trainer, with the defaults of its paper.

mod common;
mod dpkd;
mod gkd;
mod kd;
mod minillm;
#[cfg(test)]
mod tests;

pub use common::{Corpus, DivergenceChoice};
pub use dpkd::{Dpkd, DpkdParams};
pub use gkd::{Gkd, GkdParams};
pub use kd::{SeqKd, SeqKdParams, Sft, SftParams, WordKd, WordKdParams};
pub use minillm::{MiniLlm, MiniLlmParams};
