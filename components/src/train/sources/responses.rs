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

/// Blocks whose responses are drawn and kept together.
const PIECE: usize = 64;

/// A teacher's answers to the prompts of blocks, drawn a piece at a time, in the order in which the training first wants them.
pub(super) struct Written {
    drawer: Drawer,
    prompt_tokens: Option<usize>,
    draws: Stream,
    /// Positions of the blocks, piece by piece in the order of the first epoch.
    order: Vec<u32>,
    /// The place of every position in it.
    places: Vec<u32>,
    /// Share of the blocks that have something to answer.
    share: f64,
    pieces: Collections<Vec<Vec<u32>>>,
    /// Pieces that were read: rows are asked for in an order that leaps between them.
    held: Mutex<BTreeMap<u64, Arc<Vec<Vec<u32>>>>>,
}

impl Written {
    /// By the teacher that `params` name, to the blocks of `data`.
    ///
    /// # Errors
    /// `no_prompts` of packed text without `prompt_tokens`; `unused_key` of pairs with it; those of opening the teacher.
    pub(super) fn new(params: &Responses, data: &PackedTokens, context: &Context) -> Result<Self> {
        let blocks = data.blocks();
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
        let mut order: Vec<u32> = (0..blocks.len())
            .map(|sample| data.position(sample) as u32)
            .collect();
        // Within a piece blocks lie as in the data.
        order.chunks_mut(PIECE).for_each(<[u32]>::sort_unstable);
        let mut places = vec![0; order.len()];
        for (place, &position) in order.iter().enumerate() {
            places[position as usize] = place as u32;
        }
        let answered = (0..blocks.len()).filter(|&i| given(&blocks.get(i), params.prompt_tokens).is_some());
        Ok(Self {
            drawer: Drawer::new(&params.sampling, blocks, context).with_teacher(&params.teacher, 1.0)?,
            prompt_tokens: params.prompt_tokens,
            draws: context.stream("responses"),
            share: answered.count() as f64 / order.len().max(1) as f64,
            order,
            places,
            pieces: Collections::new(&context.scratch, "responses"),
            held: Mutex::default(),
        })
    }

    /// The block at `position`, with the teacher's answer in place of what followed its prompt.
    pub(super) fn block(&self, blocks: &Blocks, position: u64) -> Result<Block> {
        let place = self.places[position as usize] as usize;
        let number = (place / PIECE) as u64;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let piece = match held.entry(number) {
            Entry::Occupied(piece) => piece.into_mut(),
            Entry::Vacant(vacant) => {
                let first = place - place % PIECE;
                vacant.insert(self.pieces.get(number, || self.write(blocks, first))?)
            }
        };
        let block = blocks.get(position);
        Ok(Block {
            ids: piece[place % PIECE].clone(),
            ..block
        })
    }

    /// The ids of a piece's blocks, from place `first` on, with the teacher's answers where there is something to answer.
    fn write(&self, blocks: &Blocks, first: usize) -> Result<Vec<Vec<u32>>> {
        let positions = &self.order[first..(first + PIECE).min(self.order.len())];
        let blocks: Vec<Block> = positions.iter().map(|&at| blocks.get(u64::from(at))).collect();
        let (places, prompts): (Vec<usize>, Vec<Block>) = blocks
            .iter()
            .enumerate()
            .filter_map(|(i, block)| Some((i, given(block, self.prompt_tokens)?)))
            .unzip();
        let mut rows: Vec<Vec<u32>> = blocks.into_iter().map(|block| block.ids).collect();
        if !prompts.is_empty() {
            let numbers = places.iter().map(|&i| u64::from(positions[i]));
            let drawn = self.drawer.by_teacher(&prompts, numbers, &self.draws)?;
            for (i, response) in places.into_iter().zip(drawn) {
                rows[i] = response.block.ids;
            }
        }
        Ok(rows)
    }

    /// FLOPs of writing a row of `tokens` tokens; a block that is all prompt takes none.
    pub(super) fn flops(&self, tokens: usize) -> f64 {
        if self.prompt_tokens.is_some_and(|prompt| tokens <= prompt) {
            return 0.0;
        }
        self.drawer.teacher_flops(tokens)
    }

    /// The same for a row of about `tokens` tokens, on average.
    fn mean_flops(&self, tokens: usize) -> f64 {
        let prompt = self.prompt_tokens;
        let tokens = prompt.map_or(tokens, |prompt| prompt + self.drawer.max_tokens());
        self.share * self.drawer.teacher_flops(tokens)
    }

    /// What draws: it asks the same teacher.
    pub(super) fn drawer(&self) -> &Drawer {
        &self.drawer
    }
}

/// A block that begins with what the teacher is given; none if that is all of it.
fn given(block: &Block, prompt_tokens: Option<usize>) -> Option<Block> {
    match prompt_tokens {
        None => Some(block.clone()),
        Some(tokens) if tokens < block.ids.len() => Some(Block {
            prompt: Some(tokens as u32),
            ..block.clone()
        }),
        Some(_) => None,
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
        let data = PackedTokens::new(blocks, batch_size, context.stream("data order"))?;
        Ok(Self {
            written: Written::new(params, &data, context)?,
            data,
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
        self.written.mean_flops(width + 1)
    }

    fn documents(&self, blocks: &[u64]) -> Vec<u64> {
        self.data.documents(blocks)
    }
}
