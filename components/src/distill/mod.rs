//! Distillation: what a student learns from a teacher, beyond the divergences of their distributions.
//!
//! Plain functions over log-likelihoods: [`policy_gradient`] of responses that student and teacher drew (MiniLLM), and
//! [`preference`] of a teacher's answers to a student's own (DPKD). None of them holds logits of all tokens: what they need
//! of a head goes through it in chunks, by [`of_likelihoods`] and the operations of `lyceum-kernels`.

mod likelihoods;
mod methods;
pub mod policy_gradient;
pub mod preference;
mod teacher_cache;

pub use likelihoods::{Beside, OfLikelihoods, of_likelihoods, of_likelihoods_beside};
pub use methods::{
    Corpus, DivergenceChoice, Dpkd, DpkdParams, Gkd, GkdParams, MiniLlm, MiniLlmParams, SeqKd, SeqKdParams,
    Sft, SftParams, WordKd, WordKdParams,
};
pub use teacher_cache::{CacheParams, CachedTeacher, Tail, TeacherCache, cache_problems};
