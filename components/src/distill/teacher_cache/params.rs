//! The component, and what it takes.

use super::work::Work;
use crate::artifact::{CacheType, TokenType, record_bytes};
use crate::component::{Component, Estimate, Output, Sharding, Size, Sizes, main_output};
use crate::reference::{self, Ref};
use crate::{Context, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A teacher's `k` likeliest tokens, their log-probabilities, and that of all others together, at every predicted place of
/// packed tokens. A distillation on these very tokens reads them instead of running the teacher.
#[derive(Debug, Clone, Copy)]
pub struct TeacherCache;

/// What `distill.teacher_cache` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheParams {
    /// What the teacher reads: packed tokens, or a selection of their blocks.
    pub data: Ref<reference::Blocks>,
    /// The teacher.
    pub teacher: Ref<reference::Model>,
    /// How many tokens are kept of every place; all, where the vocabulary has no more. A record takes 4 bytes a token in a
    /// vocabulary below 65,500, else 6, and 4 bytes more.
    #[serde(default = "default_k")]
    #[schemars(range(min = 1, max = 65_536), extend("x-unit" = "tokens"))]
    pub k: usize,
    /// What logits are divided by; a distillation must ask for the same.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub temperature: f64,
    /// How log-probabilities are stored.
    #[serde(default)]
    pub log_probs: CacheType,
    /// Blocks that go through the teacher together.
    #[serde(default = "crate::score::batch_size")]
    #[schemars(range(min = 1, max = 65_536), extend("x-unit" = "sequences"))]
    pub batch_size: usize,
}

fn default_k() -> usize {
    64
}
fn one() -> f64 {
    1.0
}

impl Component for TeacherCache {
    type Params = CacheParams;
    const NAME: &'static str = "distill.teacher_cache";
    const SUMMARY: &'static str = "a teacher's likeliest tokens at every place of packed tokens";
    const PAPER: Option<&'static str> = Some("minillm");
    const NUMERIC: bool = true;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "distill.teacher_cache"
data = "@tokens"
teacher = "@teacher"
k = 64
"#;

    fn outputs(_: &CacheParams) -> Vec<Output> {
        main_output(Kind::TeacherCache)
    }

    fn estimate(params: &CacheParams, sizes: &Sizes) -> Estimate {
        let (data, teacher) = (sizes.of(params.data.as_str()), sizes.of(params.teacher.as_str()));
        let ids = TokenType::of(teacher.vocab_size as u32);
        let bytes = data.tokens * record_bytes(params.k, ids, params.log_probs) as f64;
        let cache = Size {
            items: data.items,
            tokens: data.tokens,
            bytes,
            vocab_size: teacher.vocab_size,
            ..Size::default()
        };
        Estimate {
            outputs: [(String::new(), cache)].into(),
            flops: teacher.flops_per_token * data.tokens,
            memory: teacher.parameters * 4.0,
            scratch: bytes,
            ..Estimate::default()
        }
    }

    fn run(params: CacheParams, context: &Context) -> Result<()> {
        Work::run(&params, context)
    }

    fn merge(_: CacheParams, parts: &[PathBuf], context: &Context) -> Result<()> {
        Work::merge(parts, context)
    }
}
