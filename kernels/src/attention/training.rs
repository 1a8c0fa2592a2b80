//! Attention of many queries: a task is a sequence and key/value head, whose blocks of queries of one head follow each other. The
//! backward pass works the probabilities out again.

use std::ops::Range;

use rayon::prelude::*;

use super::bias::Biases;
use super::fused::Attention;
use super::operands::Operands;
use super::room::Room;
use super::rotary::Turn;
use crate::matrix::Shared;

/// Queries handled at once.
const BLOCK: usize = 64;

/// Blocks of a task at the least, where a sequence's are shared out: keys are laid out anew for each task.
const SHARE: usize = 4;

/// A call.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) attention: &'a Attention,
    pub(super) operands: Operands<'a>,
    pub(super) biases: &'a Biases,
    /// How queries and keys are rotated.
    pub(super) turn: Option<&'a Turn>,
}

/// A block of queries of one head, and the keys that some of them see.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) sequence: usize,
    pub(super) head: usize,
    /// The first query.
    pub(super) start: usize,
    /// Queries.
    pub(super) rows: usize,
    pub(super) keys: Range<usize>,
}

/// The keys that some of these blocks see.
fn together(blocks: &[Block]) -> Option<Range<usize>> {
    let start = blocks.iter().map(|block| block.keys.start).min()?;
    let end = blocks.iter().map(|block| block.keys.end).max()?;
    Some(start..end)
}

impl Call<'_> {
    /// The blocks of a sequence's heads that read one key/value head, in order; blocks that see nothing are left out.
    fn blocks(&self, sequence: usize, group: usize) -> Vec<Block> {
        let (sight, heads) = (&self.attention.sight, self.operands.h / self.operands.g);
        let block = |head, start| {
            let rows = BLOCK.min(sight.t - start);
            // Neither end of what a query sees lies before that of the query before it.
            let keys = sight.keys(sequence, start).start..sight.keys(sequence, start + rows - 1).end;
            (!keys.is_empty()).then_some(Block {
                sequence,
                head,
                start,
                rows,
                keys,
            })
        };
        (group * heads..(group + 1) * heads)
            .flat_map(|head| (0..sight.t).step_by(BLOCK).map(move |start| (head, start)))
            .filter_map(|(head, start)| block(head, start))
            .collect()
    }

    /// The values of all queries, `[b, t, h, d]`.
    pub(super) fn forward(self) -> Vec<f32> {
        let Operands { h, g, d, .. } = self.operands;
        let sight = &self.attention.sight;
        let (b, t) = (sight.rows.len(), sight.t);
        let mut values = vec![0.0; b * t * h * d];
        let shared = Shared::new(&mut values);
        // Queries do not depend on each other, so that a sequence's may be shared out as threads ask for it.
        let wanted = (2 * rayon::current_num_threads()).div_ceil((b * g).max(1));
        let most = (h / g * t.div_ceil(BLOCK)).div_ceil(SHARE);
        let shares = wanted.min(most).max(1);
        let task = |room: &mut Room, task: usize| {
            let (sequence, group) = (task / shares / g, task / shares % g);
            let blocks = self.blocks(sequence, group);
            let size = blocks.len().div_ceil(shares).max(1);
            let blocks = blocks.chunks(size).nth(task % shares).unwrap_or(&[]);
            let Some(keys) = together(blocks) else { return };
            room.lay_out(self, [sight.rows[sequence].row, group], keys, false);
            for block in blocks {
                room.probabilities(self, block);
                for (i, value) in room.values(block).take(block.rows).enumerate() {
                    let place = ((sequence * t + block.start + i) * h + block.head) * d;
                    // SAFETY: a head's vector in the result, in which no other task writes.
                    unsafe { shared.slice(place, d) }.copy_from_slice(&value[..d]);
                }
            }
        };
        (0..b * g * shares)
            .into_par_iter()
            .for_each_init(Room::default, task);
        values
    }

    /// Writes the gradients of queries, keys and values that are seen; where `sums` has room for them, `[c, h, span]`, those of
    /// the scores are added up by distance.
    ///
    /// # Safety
    /// The targets are as large as the operands, and no one else touches them meanwhile.
    pub(super) unsafe fn backward(self, gradient: &[f32], targets: [Shared; 3], sums: &mut [f32]) {
        let Operands { c, h, g, .. } = self.operands;
        let rows = &self.attention.sight.rows;
        let part = if sums.is_empty() {
            0
        } else {
            h / g * self.biases.span()
        };
        let shared_sums = Shared::new(sums);
        // One task a key sequence and head: several query sequences may read one.
        let task = |room: &mut Room, task: usize| {
            let (row, group) = (task / g, task % g);
            let blocks: Vec<Block> = (0..rows.len())
                .filter(|sequence| rows[*sequence].row == row)
                .flat_map(|sequence| self.blocks(sequence, group))
                .collect();
            let Some(keys) = together(&blocks) else { return };
            // SAFETY: a task's own part.
            let sums = unsafe { shared_sums.slice(task * part, part) };
            room.lay_out(self, [row, group], keys.clone(), true);
            for block in &blocks {
                room.probabilities(self, block);
                room.by_scores(self, block, gradient);
                if part > 0 {
                    room.add_by_distance(self, block, sums);
                }
                room.add_by_keys(self, block);
                let by_q = room.by_queries(self, block);
                let place = [block.sequence, block.start, block.head];
                // SAFETY: a block's queries are its own.
                unsafe { self.write(0, targets[0], by_q, place, block.rows) };
            }
            let [by_k, by_v] = room.by_keys();
            let place = [row, keys.start, group];
            // SAFETY: keys and values of a sequence and head are this task's own.
            unsafe {
                self.write(1, targets[1], by_k, place, keys.len());
                self.write(2, targets[2], by_v, place, keys.len());
            }
        };
        (0..c * g).into_par_iter().for_each_init(Room::default, task);
    }

    /// Writes gradients of consecutive positions of queries (0), keys (1) or values (2), where they were read. Their vectors
    /// are filled up to whole panels.
    ///
    /// # Safety
    /// As for [`backward`](Self::backward), about these positions.
    unsafe fn write(
        self,
        which: usize,
        target: Shared,
        vectors: &mut [f32],
        place: [usize; 3],
        count: usize,
    ) {
        let Operands { d, heads, .. } = self.operands;
        let width = Room::width(d);
        let [sequence, position, head] = place;
        let vectors = &mut vectors[..count * width];
        if let Some(turn) = self.turn.filter(|_| which < 2) {
            // A rotation's transpose is its inverse.
            turn.apply(vectors, width, [sequence, position], self.attention.sight.t, -1.0);
        }
        for (i, vector) in vectors.chunks_exact(width).enumerate() {
            let place = heads[which].place(sequence, position + i, head);
            // SAFETY: the caller's promise.
            unsafe { target.slice(place, d) }.copy_from_slice(&vector[..d]);
        }
    }
}
