//! Models that teach: frozen, and asked about the batch the student learns from.

use crate::flops::forward_flops;
use crate::model::{self, Decoder, ModelConfig, ModelDetails};
use crate::reference::{self, Ref};
use crate::tokens::Blocks;
use crate::{Context, Error, Result};
use burn::tensor::{Int, Tensor};
use lyceum_kernels::Projection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    pub(crate) fn check(
        teacher: &Ref<reference::Model>,
        student: &ModelConfig,
        policy: VocabularyPolicy,
        blocks: &Blocks,
        context: &Context,
    ) -> Result<()> {
        let artifact = context.open(teacher)?;
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
    ///
    /// # Errors
    /// Those of [`model::load_frozen`].
    pub(crate) fn open(teacher: &Ref<reference::Model>, context: &Context) -> Result<Self> {
        let artifact = context.open(teacher)?;
        let loaded = model::load_frozen(&artifact, &context.device, context.precision)?;
        Ok(Self {
            decoder: loaded.decoder,
            config: loaded.config,
        })
    }

    /// What it makes of inputs `[b, t]`: hidden states `[b·t, d]` and its head.
    pub(crate) fn ask(&self, inputs_bt: Tensor<2, Int>) -> Projection {
        let hidden_btd = self.decoder.hidden(inputs_bt);
        let [b, t, d] = hidden_btd.dims();
        Projection {
            hidden_nd: hidden_btd.reshape([b * t, d]),
            head_vd: self.decoder.head(),
            bias_v: self.decoder.head_bias(),
        }
    }

    /// Entries of its vocabulary.
    pub(crate) fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    /// FLOPs of asking about a row of `width` inputs.
    pub(crate) fn flops(&self, width: usize) -> f64 {
        forward_flops(&self.config, width)
    }
}

/// A projection over the first `vocabulary` tokens alone.
pub(crate) fn cut(projection: Projection, vocabulary: usize) -> Projection {
    if projection.head_vd.dims()[0] == vocabulary {
        return projection;
    }
    Projection {
        hidden_nd: projection.hidden_nd,
        head_vd: projection.head_vd.narrow(0, 0, vocabulary),
        bias_v: projection.bias_v.map(|bias_v| bias_v.narrow(0, 0, vocabulary)),
    }
}
