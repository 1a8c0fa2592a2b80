//! `distill.teacher_cache`: what a teacher says of every predicted place of packed tokens, kept so that no training asks it
//! again.

mod params;
mod read;
mod work;

#[cfg(test)]
mod tests;

pub use params::{CacheParams, TeacherCache};
pub use read::{CachedTeacher, Tail, cache_problems};
