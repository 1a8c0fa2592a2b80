//! Corpora: reading documents from files, mixing and splitting them, and reading them back.

mod documents;
mod fractions;
mod instructions;
mod jsonl;
mod lines;
mod mix;
#[cfg(test)]
mod mix_tests;
mod pair_files;
mod pair_record;
mod pair_rows;
mod pairs;
mod parquet;
mod source;
mod split;
mod teacher_student;
mod text;

pub use documents::Documents;
pub use fractions::{Fractions, Sampler};
pub use instructions::{Family, Instructions, InstructionsParams, Lengths};
pub use jsonl::{Jsonl, JsonlParams};
pub use mix::{Mix, MixParams, MixSource};
pub use pair_rows::Pairs;
pub use pairs::{Dedup, PairFiles, PairFilesParams, Words};
pub use parquet::{Parquet, ParquetParams};
pub use source::{Expect, OnBadLine};
pub use split::{Split, SplitParams};
pub use teacher_student::{TeacherStudent, TeacherStudentParams};
pub use text::{SplitOn, Text, TextParams};

pub(crate) use lines::Lines;
pub(crate) use source::{Input, existing as existing_file};
