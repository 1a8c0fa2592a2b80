//! Responses that a teacher writes before the training (sequence-level distillation; MiniLLM, sheet 2.4; MiniPLM, sheet 2).

use super::collections::Collections;
use super::drawing::Drawer;
use super::params::Responses;
use super::{BatchSource, HostBatch, PackedTokens};
use crate::model::Decoder;
use crate::random::Stream;
use crate::tokens::{Block, Blocks, longest};
use crate::{Context, Error, Result};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

/// Blocks whose responses are kept together.
const PIECE: u64 = 256;

/// A teacher's answers to the prompts of blocks, drawn a piece at a time as they are first wanted.
pub(super) struct Written {
    drawer: Drawer,
    prompt_tokens: Option<usize>,
    draws: Stream,
    pieces: Collections<Vec<Vec<u32>>>,
    /// Pieces that were read: rows are asked for in an order that leaps between them.
    held: Mutex<BTreeMap<u64, Arc<Vec<Vec<u32>>>>>,
}

impl Written {
    /// By the teacher that `params` name.
    ///
    /// # Errors
    /// `no_prompts` of packed text without `prompt_tokens`; `unused_key` of pairs with it; those of opening the teacher.
    pub(super) fn new(params: &Responses, blocks: &Blocks, context: &Context) -> Result<Self> {
        let (pairs, label) = (blocks.details().template.is_some(), &blocks.source().label);
        if !pairs && params.prompt_tokens.is_none() {
            let message = format!("`{label}` is packed text: its blocks have no prompts to answer");
            return Err(Error::data("no_prompts", message)
                .hint("set `prompt_tokens`, or encode instruction pairs with `tokens.pairs`"));
        }
        if pairs && params.prompt_tokens.is_some() {
            let message = format!("blocks of `{label}` have prompts of their own");
            return Err(Error::data("unused_key", message).hint("take `prompt_tokens` out"));
        }
        Ok(Self {
            drawer: Drawer::new(&params.sampling, blocks, context).with_teacher(&params.teacher, 1.0)?,
            prompt_tokens: params.prompt_tokens,
            draws: context.stream("responses"),
            pieces: Collections::new(&context.scratch, "responses"),
            held: Mutex::default(),
        })
    }

    /// The block at `position`, with the teacher's answer in place of what followed its prompt.
    pub(super) fn block(&self, blocks: &Blocks, position: u64) -> Result<Block> {
        let number = position / PIECE;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let piece = match held.entry(number) {
            Entry::Occupied(piece) => piece.into_mut(),
            Entry::Vacant(place) => place.insert(self.pieces.get(number, || self.write(blocks, number))?),
        };
        let block = blocks.get(position);
        Ok(Block {
            ids: piece[(position % PIECE) as usize].clone(),
            ..block
        })
    }

    /// The teacher's answers to the prompts of a piece.
    fn write(&self, blocks: &Blocks, number: u64) -> Result<Vec<Vec<u32>>> {
        let positions = number * PIECE..((number + 1) * PIECE).min(blocks.len());
        let prompts: Vec<Block> = positions.clone().map(|i| self.prompt(blocks.get(i))).collect();
        let drawn = self.drawer.by_teacher(&prompts, positions, &self.draws)?;
        Ok(drawn.into_iter().map(|response| response.block.ids).collect())
    }

    /// The block, as one that begins with what the teacher is given.
    fn prompt(&self, block: Block) -> Block {
        match self.prompt_tokens {
            None => block,
            Some(tokens) => Block {
                prompt: Some(tokens.min(block.ids.len()) as u32),
                ..block
            },
        }
    }

    /// FLOPs of writing a row of `tokens` tokens.
    pub(super) fn flops(&self, tokens: usize) -> f64 {
        self.drawer.teacher_flops(tokens)
    }

    /// What draws: it asks the same teacher.
    pub(super) fn drawer(&self) -> &Drawer {
        &self.drawer
    }
}

/// The source.
pub(crate) struct ResponseSource {
    data: PackedTokens,
    written: Written,
    batch_size: u64,
    most: usize,
}

impl ResponseSource {
    /// The teacher's answers to the prompts of `blocks`, cut to `most` inputs.
    ///
    /// # Errors
    /// Those of [`Written::new`].
    pub(crate) fn new(
        params: &Responses,
        blocks: Blocks,
        batch_size: usize,
        most: usize,
        context: &Context,
    ) -> Result<Self> {
        Ok(Self {
            written: Written::new(params, &blocks, context)?,
            data: PackedTokens::new(blocks, batch_size, context.stream("data order"))?,
            batch_size: batch_size as u64,
            most,
        })
    }
}

impl BatchSource for ResponseSource {
    fn batch(&self, pass: u64, _model: &Decoder) -> Result<HostBatch> {
        let samples = pass * self.batch_size..(pass + 1) * self.batch_size;
        let blocks = self.data.blocks();
        let rows = samples
            .clone()
            .map(|sample| self.written.block(blocks, self.data.position(sample)))
            .collect::<Result<Vec<_>>>()?;
        // Each answer is written once: in the first pass over the data.
        let first = samples.zip(&rows).filter(|(sample, _)| *sample < blocks.len());
        let flops = first.map(|(_, row)| self.written.flops(row.ids.len())).sum();
        let width = longest(&rows).min(self.most);
        Ok(HostBatch {
            flops,
            pairs: blocks.details().template.is_some(),
            ..HostBatch::of_rows(&rows, width, blocks.details().eos_id)?
        })
    }

    fn flops_a_row(&self, width: usize) -> f64 {
        self.written.flops(width + 1)
    }

    fn documents(&self, blocks: &[u64]) -> Vec<u64> {
        self.data.documents(blocks)
    }
}
