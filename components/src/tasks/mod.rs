//! Task files: what is asked of a language model, and how its answers are measured.
//!
//! A [`TaskFile`] is what a user writes; a [`Task`] is that with its templates read and its records at hand; an [`Item`]
//! is one question as text. [`measure`] asks a model all of them.

mod confidence;
mod file;
mod item;
mod measure;
mod nearest;
mod records;
mod requests;
mod results;
mod task;
#[cfg(test)]
mod tests;

pub use confidence::{Chosen, choose};
pub use file::{
    Answer, Classification, Generation, GenerationMetric, LastWord, MultipleChoice, Shots, Source, TaskFile,
};
pub use item::{Ask, Item};
pub use measure::{Settings, measure};
pub use records::data_file;
pub use results::{Answered, Measured, results};
pub use task::Task;
