//! Taking a cached teacher at its word.

use crate::artifact::{CacheRow, TeacherCache};
use crate::component::Problem;
use crate::tokens::Blocks;
use crate::{Artifact, Error, Result};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use lyceum_kernels::{Divergence, Teacher};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of the probability that the kept tokens leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tail {
    /// All other tokens are one outcome, for teacher and student.
    #[default]
    Bucket,
    /// It is spread over the kept tokens; the student may then put probability elsewhere at no price.
    Renormalise,
}

/// What is wrong with a cache in the place of a teacher that can be asked: `sparse_divergence`, with a divergence that looks
/// at all the student's probability and a tail that is left out; `cache_needs_fixed_text`, where `text` is drawn in training.
/// `field` is the path of the term's table; a divergence comes with its name as the user wrote it.
pub fn cache_problems(
    field: &str,
    tail: Tail,
    (kind, divergence): (&str, Divergence),
    fixed_text: bool,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    if tail == Tail::Renormalise && !divergence.is_forward() {
        problems.push(Problem {
            field: format!("{field}.tail"),
            code: "sparse_divergence",
            message: format!(
                "`{kind}` looks at what the student says of tokens that `tail = \"renormalise\"` leaves out"
            ),
            hint: Some("take `tail = \"bucket\"`, or `kind = \"forward_kl\"`".into()),
        });
    }
    if !fixed_text {
        problems.push(Problem {
            field: format!("{field}.teacher"),
            code: "cache_needs_fixed_text",
            message: "a teacher cache knows the texts it was made of; here texts are drawn in training"
                .into(),
            hint: Some("name the teacher itself, so that it is asked".into()),
        });
    }
    problems
}

/// A cache that fits what is trained on.
#[derive(Debug)]
pub struct CachedTeacher {
    cache: TeacherCache,
    tail: Tail,
}

impl CachedTeacher {
    /// Opens the cache for a training on `blocks` at that temperature.
    ///
    /// # Errors
    /// `tokenizer_mismatch`; `cache_fingerprint`: it is of other tokens, another template or temperature, or lacks blocks.
    pub fn open(artifact: &Artifact, blocks: &Blocks, temperature: f64, tail: Tail) -> Result<Self> {
        let cache = TeacherCache::open(artifact)?;
        let (details, tokens) = (cache.details(), blocks.details());
        let label = &artifact.label;
        if details.tokenizer != tokens.tokenizer {
            let message = format!("`{label}` speaks of another tokenizer than the data was packed with");
            return Err(
                Error::data("tokenizer_mismatch", message).hint("cache the teacher on these very tokens")
            );
        }
        let mismatch = |what: String, hint: &str| {
            Err(Error::data("cache_fingerprint", format!("`{label}` {what}")).hint(hint))
        };
        let again = "cache the teacher on these very tokens";
        if details.template != tokens.template {
            return mismatch("was made with another prompt template".to_owned(), again);
        }
        if cache.source().fingerprint != blocks.source().header.fingerprint {
            return mismatch("was made of other tokens".to_owned(), again);
        }
        // Settings are written, not computed: equal ones have equal bits.
        if details.temperature.to_bits() != temperature.to_bits() {
            let what = format!(
                "was made at temperature {}, not {temperature}",
                details.temperature
            );
            return mismatch(what, "give both the same `temperature`");
        }
        let missing = (0..blocks.len())
            .map(|at| blocks.index(at))
            .find(|&block| !cache.holds(block));
        if let Some(block) = missing {
            let what = format!("does not hold block {block}");
            return mismatch(what, "make the cache of all the blocks that are trained on");
        }
        Ok(Self { cache, tail })
    }

    /// The cache.
    pub fn cache(&self) -> &TeacherCache {
        &self.cache
    }

    /// What the teacher says of places, each a block and a position of its inputs; of a place that does not count, none is
    /// given, and nothing but its shape is promised. Probabilities of a place add up to one, whatever was rounded.
    ///
    /// # Errors
    /// `cache_fingerprint`, `bad_artifact`.
    pub fn teacher(&self, places: &[Option<(u64, u64)>], device: &Device, dtype: DType) -> Result<Teacher> {
        let (n, k) = (places.len(), self.cache.details().k);
        let (mut ids, mut log_p, mut log_tail) = (
            Vec::with_capacity(n * k),
            Vec::with_capacity(n * k),
            Vec::with_capacity(n),
        );
        for place in places {
            let row = match place {
                Some((block, position)) => self.cache.row(*block, *position)?,
                None => CacheRow {
                    ids: (0..k as u32).collect(),
                    log_p: vec![0.0; k],
                    log_tail: 0.0,
                },
            };
            let tail = match self.tail {
                Tail::Bucket if (k as u32) < self.cache.details().vocab_size => f64::from(row.log_tail),
                Tail::Bucket | Tail::Renormalise => f64::NEG_INFINITY,
            };
            let held = row.log_p.iter().map(|log_p| f64::from(*log_p));
            let log_sum = (held.clone().map(f64::exp).sum::<f64>() + tail.exp()).ln();
            ids.extend(row.ids.iter().map(|id| i64::from(*id)));
            log_p.extend(held.map(|log_p| log_p - log_sum));
            log_tail.push(tail - log_sum);
        }
        Ok(Teacher::TopK {
            ids_nk: Tensor::<2, Int>::from_data(TensorData::new(ids, [n, k]), device),
            log_p_nk: Tensor::from_data(TensorData::new(log_p, [n, k]), (device, dtype)),
            log_tail_n: Tensor::from_data(TensorData::new(log_tail, [n]), (device, dtype)),
        })
    }
}
