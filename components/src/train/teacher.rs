//! Models that teach: frozen, and asked about the batch the student learns from.

use super::terms::{DivergenceKind, DivergenceTerm, Pass};
use crate::distill::{CachedTeacher, cache_problems};
use crate::flops::forward_flops;
use crate::model::{self, Decoder, ModelConfig, ModelDetails};
use crate::reference::{self, Ref};
use crate::tokens::Blocks;
use crate::{Artifact, Context, Error, Kind, Result};
use burn::tensor::{Int, Tensor};
use lyceum_kernels::Projection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What to do about a teacher whose vocabulary has another size than the student's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VocabularyPolicy {
    /// It is a mistake.
    #[default]
    Equal,
    /// Both are cut to the shorter, whose end is padding where one tokenizer made both: distributions are over the tokens that
    /// both have.
    TruncateTail,
}

/// A model that teaches.
#[derive(Debug)]
pub(crate) struct TeacherModel {
    decoder: Decoder,
    config: ModelConfig,
}

impl TeacherModel {
    /// Whether a teacher fits a student of `student`'s shape that learns from `blocks`.
    ///
    /// # Errors
    /// `tokenizer_mismatch`, `teacher_vocab_mismatch`, `context_too_long`.
    fn check(
        artifact: &Artifact,
        student: &ModelConfig,
        policy: VocabularyPolicy,
        blocks: &Blocks,
    ) -> Result<()> {
        let details: ModelDetails = artifact.details()?;
        let tokens = blocks.details();
        let label = &artifact.label;
        if details.tokenizer != tokens.tokenizer {
            let message =
                format!("teacher `{label}` and the student's data were made with different tokenizers");
            return Err(Error::data("tokenizer_mismatch", message)
                .hint("token ids must mean the same to both: pack the data with the teacher's tokenizer"));
        }
        let (ours, theirs) = (student.vocab_size, details.vocab_size);
        if ours != theirs && policy == VocabularyPolicy::Equal {
            let message = format!("teacher `{label}` knows {theirs} tokens; the student knows {ours}");
            return Err(Error::data("teacher_vocab_mismatch", message).hint(
                "if only the padding at the end differs, set `vocab_policy = \"truncate_tail\"` on the term",
            ));
        }
        if ours.min(theirs) < tokens.vocab_size as usize {
            let message = format!(
                "the data has a vocabulary of {}; teacher and student share {}",
                tokens.vocab_size,
                ours.min(theirs)
            );
            return Err(Error::data("teacher_vocab_mismatch", message));
        }
        if tokens.context > details.context {
            let message = format!(
                "blocks have a context of {}; teacher `{label}` reads at most {}",
                tokens.context, details.context
            );
            return Err(Error::data("context_too_long", message).hint("pack with a smaller `context`"));
        }
        Ok(())
    }

    /// Opens a teacher.
    fn open(artifact: &Artifact, context: &Context) -> Result<Self> {
        let loaded = model::load_frozen(artifact, &context.device, context.precision)?;
        Ok(Self {
            decoder: loaded.decoder,
            config: loaded.config,
        })
    }

    /// What the student and this teacher make of a pass's rows, over the tokens that both have.
    pub(crate) fn beside(&self, pass: &Pass) -> (Projection, Projection) {
        let vocabulary = self.config.vocab_size.min(pass.head_vd.dims()[0]);
        let asked = self.ask(pass.inputs_bt.clone());
        let teacher = Projection {
            hidden_nd: pass.rows_of(asked.hidden_nd),
            ..asked
        };
        (cut(pass.projection(), vocabulary), cut(teacher, vocabulary))
    }

    /// What it makes of inputs `[b, t]`: hidden states `[b·t, d]` and its head.
    fn ask(&self, inputs_bt: Tensor<2, Int>) -> Projection {
        let hidden_btd = self.decoder.hidden(inputs_bt);
        let [b, t, d] = hidden_btd.dims();
        Projection {
            hidden_nd: hidden_btd.reshape([b * t, d]),
            head_vd: self.decoder.head(),
            bias_v: self.decoder.head_bias(),
        }
    }

    /// FLOPs of asking about a row of `width` inputs.
    pub(crate) fn flops(&self, width: usize) -> f64 {
        forward_flops(&self.config, width)
    }
}

/// Opens the teachers of a training, each once.
pub(crate) struct Teachers<'a> {
    student: &'a ModelConfig,
    context: &'a Context,
    /// Whether the text that is learnt is known before the training.
    fixed_text: bool,
    opened: BTreeMap<String, Arc<TeacherModel>>,
}

/// Who is asked for distributions.
#[derive(Debug)]
pub(crate) enum Oracle {
    /// A model.
    Model(Arc<TeacherModel>),
    /// What a model said before.
    Cache(Box<CachedTeacher>),
}

impl<'a> Teachers<'a> {
    /// None opened yet, for a student of that shape.
    pub(crate) fn new(student: &'a ModelConfig, fixed_text: bool, context: &'a Context) -> Self {
        Self {
            student,
            context,
            fixed_text,
            opened: BTreeMap::new(),
        }
    }

    /// The model behind a reference, for a student that learns from `blocks`.
    ///
    /// # Errors
    /// `tokenizer_mismatch`, `teacher_vocab_mismatch`, `context_too_long`; those of [`model::load_frozen`].
    pub(crate) fn model(
        &mut self,
        teacher: &Ref<reference::Model>,
        policy: VocabularyPolicy,
        blocks: &Blocks,
    ) -> Result<Arc<TeacherModel>> {
        let artifact = self.context.open(teacher)?;
        TeacherModel::check(&artifact, self.student, policy, blocks)?;
        if let Some(teacher) = self.opened.get(&artifact.location) {
            return Ok(teacher.clone());
        }
        let teacher = Arc::new(TeacherModel::open(&artifact, self.context)?);
        self.opened.insert(artifact.location.clone(), teacher.clone());
        Ok(teacher)
    }

    /// The model or cache that a divergence is taken from.
    ///
    /// # Errors
    /// As [`Self::model`]; of a cache `cache_needs_fixed_text`, `sparse_divergence` and those of [`CachedTeacher::open`].
    pub(crate) fn oracle(
        &mut self,
        term: &DivergenceTerm,
        kind: DivergenceKind,
        blocks: &Blocks,
    ) -> Result<Oracle> {
        let artifact = self.context.open(&term.teacher)?;
        if artifact.header.kind == Kind::Model {
            return self
                .model(&term.teacher.widened(), term.vocab_policy, blocks)
                .map(Oracle::Model);
        }
        let named = Some((kind.name(), term.divergence(kind)));
        let fixed = self.fixed_text || term.data.is_some();
        if let Some(problem) = cache_problems("teacher", term.tail, named, fixed)
            .into_iter()
            .next()
        {
            return Err(Error::data(problem.code, problem.message).hint(problem.hint.unwrap_or_default()));
        }
        CachedTeacher::open(&artifact, blocks, term.temperature, term.tail)
            .map(|cache| Oracle::Cache(Box::new(cache)))
    }
}

/// A projection over the first `vocabulary` tokens alone.
fn cut(projection: Projection, vocabulary: usize) -> Projection {
    if projection.head_vd.dims()[0] == vocabulary {
        return projection;
    }
    Projection {
        hidden_nd: projection.hidden_nd,
        head_vd: projection.head_vd.narrow(0, 0, vocabulary),
        bias_v: projection.bias_v.map(|bias_v| bias_v.narrow(0, 0, vocabulary)),
    }
}
