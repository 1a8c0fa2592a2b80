//! A preferred response beside one of the model's own (DPKD, sheet 2.4).

use super::collections::Collections;
use super::drawing::{Drawer, demand_prompts};
use super::params::{Chosen, Preferences, Responses};
use super::responses::Written;
use super::{BatchSource, HostBatch, Known, PackedTokens};
use crate::flops::training_flops;
use crate::model::{Decoder, ModelConfig};
use crate::random::Stream;
use crate::tokens::{Block, Blocks, longest};
use crate::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is known of responses that come in twos.
#[derive(Debug, Clone)]
pub(crate) struct PreferredBatch {
    /// The teacher's log-likelihood of each row's response, in nats.
    pub(crate) teacher: Vec<f64>,
    /// Pairs that were left out of this collection because both responses were the same.
    pub(crate) dropped: u64,
}

/// Pairs drawn from the model as it was at some step.
#[derive(Debug, Serialize, Deserialize)]
struct Collection {
    pairs: Vec<Contrast>,
    dropped: u64,
    flops: f64,
}

/// The two responses to a prompt.
#[derive(Debug, Serialize, Deserialize)]
struct Contrast {
    block: u64,
    weight: f32,
    prompt: u32,
    chosen: Answer,
    rejected: Answer,
}

/// A prompt and its response.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    ids: Vec<u32>,
    /// The teacher's log-likelihood of the response, in nats.
    teacher: f64,
}

/// The source.
pub(crate) struct PreferenceSource {
    prompts: PackedTokens,
    drawer: Drawer,
    written: Option<Written>,
    config: ModelConfig,
    batch_size: u64,
    /// Passes that learn from one collection; none: all.
    window: Option<u64>,
    draws: Stream,
    collections: Collections<Collection>,
}

impl PreferenceSource {
    /// Pairs of responses to the prompts of `blocks`, in batches of `batch_size` pairs, `accumulate` of which make a step.
    ///
    /// # Errors
    /// `no_prompts`; those of opening the models.
    pub(crate) fn new(
        params: &Preferences,
        blocks: Blocks,
        [batch_size, accumulate]: [usize; 2],
        model: (&ModelConfig, &Decoder, &Path),
        context: &Context,
    ) -> Result<Self> {
        demand_prompts(&blocks)?;
        let (config, decoder, folder) = model;
        let prompts = PackedTokens::new(blocks, batch_size, context.stream("data order"))?;
        let blocks = prompts.blocks();
        let written = match params.chosen {
            Chosen::Gold => None,
            Chosen::Teacher => {
                let responses = Responses {
                    teacher: params.teacher.clone(),
                    prompt_tokens: None,
                    sampling: params.sampling.clone(),
                };
                Some(Written::new(&responses, &prompts, context)?)
            }
        };
        let drawer = Drawer::new(&params.sampling, blocks, context);
        let mut drawer = drawer.with_student(config, decoder, blocks, folder)?;
        // A teacher that writes is open already.
        if written.is_none() {
            drawer = drawer.with_teacher(&params.teacher, 0.0)?;
        }
        let window = match params.refresh_every {
            Some(0) => None,
            Some(steps) => Some(steps * accumulate as u64),
            None => Some(blocks.len().div_ceil(batch_size as u64)),
        };
        Ok(Self {
            prompts,
            drawer,
            written,
            config: config.clone(),
            batch_size: batch_size as u64,
            window,
            draws: context.stream("rejected"),
            collections: Collections::new(&context.scratch, "preferences"),
        })
    }

    fn collect(&self, number: u64, model: &Decoder) -> Result<Collection> {
        let blocks = self.prompts.blocks();
        let count = self
            .window
            .map_or(blocks.len(), |passes| passes * self.batch_size);
        let samples = number * count..(number + 1) * count;
        let positions: Vec<u64> = samples
            .clone()
            .map(|sample| self.prompts.position(sample))
            .collect();
        let chosen = positions
            .iter()
            .map(|&position| match &self.written {
                Some(written) => written.block(blocks, position),
                None => Ok(blocks.get(position)),
            })
            .collect::<Result<Vec<Block>>>()?;
        let drawn = self.drawer.by_student(model, &chosen, samples, &self.draws)?;
        let mut flops = 0.0;
        for (chosen, drawn) in chosen.iter().zip(&drawn) {
            let writing = self.written.as_ref().filter(|_| number == 0);
            flops += writing.map_or(0.0, |written| written.flops(chosen.ids.len()));
            flops += self.drawer.student_flops(&self.config, drawn.block.ids.len());
            let both = [chosen.ids.len(), drawn.block.ids.len()];
            flops += both
                .map(|tokens| self.asked().teacher_flops(tokens))
                .iter()
                .sum::<f64>();
        }
        // Where both say the same there is nothing to prefer.
        let (chosen, rejected): (Vec<Block>, Vec<Block>) = chosen
            .into_iter()
            .zip(drawn.into_iter().map(|response| response.block))
            .filter(|(chosen, rejected)| chosen.ids != rejected.ids)
            .unzip();
        let sums = |rows: &[Block]| -> Result<Vec<f64>> {
            let asked = self.asked().ask_teacher(rows)?;
            let sum = |row: &Vec<f32>| row.iter().map(|logp| f64::from(*logp)).sum();
            Ok(asked.iter().map(sum).collect())
        };
        let (of_chosen, of_rejected) = (sums(&chosen)?, sums(&rejected)?);
        let dropped = count - chosen.len() as u64;
        let rows = chosen.into_iter().zip(of_chosen);
        let rows = rows.zip(rejected.into_iter().zip(of_rejected));
        let pairs = rows.map(|((chosen, by_chosen), (rejected, by_rejected))| Contrast {
            block: chosen.index,
            weight: chosen.weight,
            prompt: chosen.prompt.unwrap_or_default(),
            chosen: Answer {
                ids: chosen.ids,
                teacher: by_chosen,
            },
            rejected: Answer {
                ids: rejected.ids,
                teacher: by_rejected,
            },
        });
        Ok(Collection {
            pairs: pairs.collect(),
            dropped,
            flops,
        })
    }

    /// What asks the teacher.
    fn asked(&self) -> &Drawer {
        self.written.as_ref().map_or(&self.drawer, Written::drawer)
    }

    /// Number of the collection that pass `pass` learns from, and of the pass in it.
    fn place(&self, pass: u64) -> (u64, u64) {
        match self.window {
            None => (0, pass),
            Some(passes) => (pass / passes, pass % passes),
        }
    }
}

impl Contrast {
    /// The two as blocks, the preferred one first.
    fn blocks(&self) -> [Block; 2] {
        [&self.chosen, &self.rejected].map(|answer| Block {
            index: self.block,
            weight: self.weight,
            ids: answer.ids.clone(),
            prompt: Some(self.prompt),
        })
    }
}

impl BatchSource for PreferenceSource {
    fn batch(&self, pass: u64, model: &Decoder) -> Result<HostBatch> {
        let (number, place) = self.place(pass);
        let collection = self.collections.get(number, || self.collect(number, model))?;
        let pairs = &collection.pairs;
        if pairs.is_empty() {
            let message = "every response of the model is the preferred one: there is nothing to compare";
            return Err(Error::data("no_contrast", message)
                .hint("draw at a higher `temperature`, or stop: the model has learnt the data"));
        }
        let first = place * self.batch_size;
        let at = |i: u64| &pairs[(i % pairs.len() as u64) as usize];
        let chosen: Vec<&Contrast> = (first..first + self.batch_size).map(at).collect();
        let rows: Vec<Block> = chosen.iter().flat_map(|pair| pair.blocks()).collect();
        let teacher = chosen
            .iter()
            .flat_map(|pair| [pair.chosen.teacher, pair.rejected.teacher]);
        Ok(HostBatch {
            known: Known::Preferred(PreferredBatch {
                teacher: teacher.collect(),
                dropped: collection.dropped,
            }),
            flops: if place == 0 { collection.flops } else { 0.0 },
            ..HostBatch::of_rows(&rows, longest(&rows), self.prompts.blocks().details().eos_id)?
        })
    }

    fn committed(&self, pass: u64) -> Result<()> {
        self.collections.forget_before(self.place(pass).0)
    }

    fn flops_a_row(&self, width: usize) -> f64 {
        // Of two responses to a prompt one is drawn, the teacher looks at both, and both are learnt from.
        let drawn = self.drawer.student_flops(&self.config, width + 1);
        drawn + 2.0 * self.asked().teacher_flops(width + 1) + training_flops(&self.config, width)
    }

    fn documents(&self, blocks: &[u64]) -> Vec<u64> {
        self.prompts.documents(blocks)
    }
}
