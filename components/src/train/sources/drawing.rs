//! Drawing responses to the prompts of blocks.

use super::params::Drawing;
use crate::flops::forward_flops;
use crate::inference::{Generated, Generator, LanguageModel, Prompt, Sampling};
use crate::model::{Decoder, Loaded, ModelConfig, ModelDetails, token_nll};
use crate::random::Stream;
use crate::reference::{self, Ref};
use crate::tokens::{Block, Blocks, collate, longest};
use crate::{Context, Error, Result};
use burn::module::Module;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Rows of a scoring pass.
const ROWS: usize = 16;

/// Responses that grow at once.
const AT_ONCE: usize = 32;

/// A response that was drawn to the prompt of a block.
pub(super) struct Response {
    /// The prompt and the response, as a block of its own.
    pub(super) block: Block,
    /// What drawing it noted.
    pub(super) generated: Generated,
}

/// Draws responses from the model being trained, from a teacher, or from a mixture of the two.
pub(super) struct Drawer {
    student: Option<Mutex<LanguageModel>>,
    teacher: Option<LanguageModel>,
    teacher_mix: f64,
    sampling: Sampling,
    context: Context,
    pad: u32,
}

impl Drawer {
    /// A drawer without models.
    pub(super) fn new(drawing: &Drawing, blocks: &Blocks, context: &Context) -> Self {
        Self {
            student: None,
            teacher: None,
            teacher_mix: 0.0,
            sampling: drawing.sampling(),
            context: context.clone(),
            pad: blocks.details().eos_id,
        }
    }

    /// With the model being trained, of shape `config`, whose tokenizer lies in `folder`.
    pub(super) fn with_student(
        mut self,
        config: &ModelConfig,
        decoder: &Decoder,
        blocks: &Blocks,
        folder: &Path,
    ) -> Result<Self> {
        let details = ModelDetails {
            tokenizer: blocks.details().tokenizer.clone(),
            ..ModelDetails::untrained(config, &[])
        };
        let loaded = Loaded {
            config: config.clone(),
            decoder: decoder.clone().valid(),
            details,
        };
        let student = LanguageModel::of(folder, loaded, &self.context.device)?;
        self.student = Some(Mutex::new(student));
        Ok(self)
    }

    /// With a teacher, which has the share `mix` of the distribution.
    pub(super) fn with_teacher(mut self, teacher: &Ref<reference::Model>, mix: f64) -> Result<Self> {
        let artifact = self.context.open(teacher)?;
        let teacher = LanguageModel::open(&artifact, &self.context.device, self.context.precision)?;
        self.teacher = Some(teacher.for_writing());
        self.teacher_mix = mix;
        Ok(self)
    }

    /// Draws a response to each prompt from the model being trained (mixed with the teacher, if it has a share): `numbers` are
    /// the prompts' own, which their random numbers follow from.
    pub(super) fn by_student(
        &self,
        model: &Decoder,
        prompts: &[Block],
        numbers: impl Iterator<Item = u64>,
        stream: &Stream,
    ) -> Result<Vec<Response>> {
        let student = self.student.as_ref().ok_or_else(no_model)?;
        let mut student = student.lock().unwrap_or_else(PoisonError::into_inner);
        student.loaded.decoder = model.clone().valid().in_panels();
        let mut generator = Generator::new(&student, &self.context.device).batch_size(AT_ONCE);
        if self.teacher_mix > 0.0
            && let Some(teacher) = &self.teacher
        {
            generator = generator.mixed_with(teacher, self.teacher_mix);
        }
        self.draw(&generator, prompts, numbers, stream)
    }

    /// Draws a response to each prompt from the teacher.
    pub(super) fn by_teacher(
        &self,
        prompts: &[Block],
        numbers: impl Iterator<Item = u64>,
        stream: &Stream,
    ) -> Result<Vec<Response>> {
        let teacher = self.teacher.as_ref().ok_or_else(no_model)?;
        let generator = Generator::new(teacher, &self.context.device).batch_size(AT_ONCE);
        self.draw(&generator, prompts, numbers, stream)
    }

    fn draw(
        &self,
        generator: &Generator,
        prompts: &[Block],
        numbers: impl Iterator<Item = u64>,
        stream: &Stream,
    ) -> Result<Vec<Response>> {
        let asked: Vec<Prompt> = prompts
            .iter()
            .zip(numbers)
            .map(|(block, row)| Prompt {
                row,
                ids: block.ids[..given(block)].to_vec(),
            })
            .collect();
        let most = asked.len() * self.sampling.max_tokens;
        let bar = self.context.services.bar("drawing", most as u64, "tokens");
        let drawn = generator.generate(&asked, &self.sampling, 1, stream, &mut |tokens| {
            bar.advance(tokens);
            self.context.check_cancelled()
        })?;
        let response = |(block, generated): (&Block, Generated)| {
            let prompt = given(block);
            let ids = block.ids[..prompt]
                .iter()
                .chain(&generated.ids)
                .copied()
                .collect();
            Response {
                block: Block {
                    ids,
                    prompt: Some(prompt as u32),
                    ..block.clone()
                },
                generated,
            }
        };
        Ok(prompts.iter().zip(drawn).map(response).collect())
    }

    /// The teacher's log-likelihood of every token of each response, over its whole vocabulary and at temperature 1.
    pub(super) fn ask_teacher(&self, rows: &[Block]) -> Result<Vec<Vec<f32>>> {
        let teacher = self.teacher.as_ref().ok_or_else(no_model)?;
        let mut all = Vec::with_capacity(rows.len());
        for rows in rows.chunks(ROWS) {
            self.context.check_cancelled()?;
            let batch = collate(rows, longest(rows), self.pad)?;
            let nll = token_nll(&teacher.loaded.decoder, &batch, &self.context.device);
            for (row, nll) in rows.iter().zip(nll.chunks(batch.width)) {
                let response = &nll[given(row) - 1..row.ids.len() - 1];
                all.push(response.iter().map(|nll| -nll as f32).collect());
            }
        }
        Ok(all)
    }

    /// FLOPs of the teacher's pass over a row of `tokens` tokens; none without a teacher.
    pub(super) fn teacher_flops(&self, tokens: usize) -> f64 {
        let inputs = tokens.saturating_sub(1);
        let teacher = self.teacher.as_ref();
        teacher.map_or(0.0, |teacher| forward_flops(&teacher.loaded.config, inputs))
    }

    /// FLOPs of drawing a row of `tokens` tokens by a student of shape `config`, mixed with the teacher if it has a share.
    pub(super) fn student_flops(&self, config: &ModelConfig, tokens: usize) -> f64 {
        let mixed = if self.teacher_mix > 0.0 {
            self.teacher_flops(tokens)
        } else {
            0.0
        };
        mixed + forward_flops(config, tokens.saturating_sub(1))
    }

    /// The most tokens of a response.
    pub(super) fn max_tokens(&self) -> usize {
        self.sampling.max_tokens
    }
}

/// Tokens of a block that are given.
fn given(block: &Block) -> usize {
    block.prompt.unwrap_or_default() as usize
}

/// The mistake of a composition: a source asks only what it opened.
fn no_model() -> Error {
    Error::data(
        "missing_key",
        "responses are wanted of a model that was not named",
    )
    .hint("name a `teacher` for the source")
}

/// Refuses data without prompts: `no_prompts`.
pub(super) fn demand_prompts(blocks: &Blocks) -> Result<()> {
    if blocks.details().template.is_some() {
        return Ok(());
    }
    let label = &blocks.source().label;
    let message = format!("`{label}` is packed text: its blocks have no prompts to answer");
    Err(Error::data("no_prompts", message).hint("encode instruction pairs with `tokens.pairs`"))
}
