//! Models that teach: frozen, and asked about the batch the student learns from.

use super::sources::{Collection, OfSet};
use super::terms::{DivergenceKind, DivergenceTerm, Pass};
use crate::distill::CachedTeacher;
use crate::flops::{forward_flops, layers_flops};
use crate::model::{self, Decoder, ModelConfig, ModelDetails, integers};
use crate::reference::{self, Ref};
use crate::tokens::Blocks;
use crate::{Artifact, Context, Error, Kind, Result};
use burn::tensor::{Int, Tensor, TensorData};
use lyceum_kernels::Projection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// What it made of the set of responses that is learnt from now.
    read: Mutex<Option<Read>>,
}

/// A set of responses as a teacher has read it: `d` floats for every token that is predicted.
#[derive(Debug)]
struct Read {
    set: Arc<Collection>,
    /// Final hidden states at the positions that predict a response, row after row, `[n, d]`.
    hidden_nd: Tensor<2>,
    /// By row of the set: where its hidden states begin, and its first position that predicts.
    rows: Vec<(usize, usize)>,
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
            read: Mutex::default(),
        })
    }

    /// What the student and this teacher make of a pass's rows, over the tokens that both have.
    pub(crate) fn beside(&self, pass: &Pass) -> (Projection, Projection) {
        let vocabulary = self.config.vocab_size.min(pass.head_vd.dims()[0]);
        let hidden_nd = match &pass.batch.set {
            Some(set) if pass.places.is_some() => self.of_set(set, pass),
            _ => self
                .decoder
                .hidden_at(pass.inputs_bt.clone(), pass.places.as_deref()),
        };
        let teacher = Projection {
            hidden_nd,
            head_vd: self.decoder.head(),
            bias_v: self.decoder.head_bias(),
        };
        (cut(pass.projection(), vocabulary), cut(teacher, vocabulary))
    }

    /// Hidden states at a pass's rows, which belong to a set that several passes learn from: it is read once, whatever part of
    /// it comes first, so that a training that was stopped goes on with the same numbers.
    fn of_set(&self, set: &OfSet, pass: &Pass) -> Tensor<2> {
        let mut held = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held.take().filter(|read| Arc::ptr_eq(&read.set, &set.all));
        let read = held.insert(known.unwrap_or_else(|| self.read(&set.all, pass)));
        let width = pass.batch.batch.width;
        let at = |place: usize| {
            let (begin, first) = read.rows[set.chosen[place / width] as usize];
            (begin + place % width - first) as i64
        };
        let rows_n = integers(pass.places().map(at).collect(), &read.hidden_nd.device());
        read.hidden_nd.clone().select(0, rows_n)
    }

    /// Reads a set, as many rows at a time as a pass has, the shortest first.
    fn read(&self, set: &Arc<Collection>, pass: &Pass) -> Read {
        let texts: Vec<(&[u32], usize)> = set.texts().collect();
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&row| texts[row].0.len());
        let device = pass.inputs_bt.device();
        let (mut parts, mut rows, mut begin) = (Vec::new(), vec![(0, 0); texts.len()], 0);
        for chunk in order.chunks(pass.batch.batch.rows) {
            let width = chunk
                .iter()
                .map(|&row| texts[row].0.len() - 1)
                .max()
                .unwrap_or_default();
            let (mut inputs, mut places) = (vec![0_i64; chunk.len() * width], Vec::new());
            for (i, &row) in chunk.iter().enumerate() {
                let (ids, prompt) = texts[row];
                let (last, first) = (ids.len() - 1, prompt.max(1) - 1);
                let inputs = inputs[i * width..].iter_mut().zip(&ids[..last]);
                inputs.for_each(|(input, id)| *input = i64::from(*id));
                places.extend(i * width + first..i * width + last);
                rows[row] = (begin, first);
                begin += last - first;
            }
            let inputs_bt =
                Tensor::<2, Int>::from_data(TensorData::new(inputs, [chunk.len(), width]), &device);
            parts.push(self.decoder.hidden_at(inputs_bt, Some(&places)));
        }
        Read {
            set: set.clone(),
            hidden_nd: Tensor::cat(parts, 0),
            rows,
        }
    }

    /// FLOPs of asking about a row of `width` inputs in one of so many passes that share what the layers make of it.
    pub(crate) fn flops(&self, width: usize, passes: f64) -> f64 {
        let layers = layers_flops(&self.config, width);
        layers / passes + forward_flops(&self.config, width) - layers
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
        // What `check_inputs` says where it is known beforehand what is named.
        if let Some(problem) = term.cache_problems(kind, "", self.fixed_text).into_iter().next() {
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
