//! Making the cache: chunk by chunk of blocks, each finished chunk a file in the scratch folder.
//!
//! Where chunks and batches begin does not depend on the shard, so shards leave the very bytes that one process does.

use super::CacheParams;
use crate::artifact::{
    Stretch, TeacherCache as Cache, TeacherCacheDetails, TeacherCacheWriter, TokenType, record,
};
use crate::flops::forward_flops;
use crate::model::{self, Loaded};
use crate::score::{check_model, commit};
use crate::tokens::{Block, Blocks, Example, check_block, collate, longest};
use crate::{Artifact, Context, Error, Result, disk};
use burn::tensor::{Int, Tensor, TensorData};
use lyceum_kernels::{Likeliest, Projection, linear_likeliest};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

/// Batches between two checkpoints of the work.
const CHUNK_BATCHES: usize = 8;

/// The work of a run.
pub(super) struct Work<'a> {
    params: &'a CacheParams,
    context: &'a Context,
    blocks: &'a Blocks,
    loaded: Loaded,
    details: TeacherCacheDetails,
}

/// Where a block's predicted places lie: the first, and as many as follow it up to the block's end.
pub(super) fn predicted(block: &Block, pad: u32) -> Range<usize> {
    let places = 0..block.ids.len() - 1;
    let first = places.clone().find(|&t| block.counts(t, pad));
    first.unwrap_or(places.end)..places.end
}

impl Work<'_> {
    pub(super) fn run(params: &CacheParams, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let teacher = context.open(&params.teacher)?;
        let blocks = Blocks::open(&data, context)?;
        if blocks.is_empty() {
            return Err(Error::data("empty_input", "there are no blocks to cache"));
        }
        check_model(&blocks, &teacher)?;
        // A view may repeat a block and name them in any order; each is cached once, in the order of the tokens.
        let positions: BTreeMap<u64, u64> = (0..blocks.len()).map(|at| (blocks.index(at), at)).collect();
        let positions: Vec<u64> = positions.into_values().collect();
        for &position in &positions {
            check_block(&blocks.get(position), blocks.details().eos_id)?;
        }
        let loaded = model::load_frozen(&teacher, &context.device, context.precision)?;
        let tokens = blocks.details();
        let vocab_size = loaded.config.vocab_size;
        let details = TeacherCacheDetails {
            k: params.k.min(vocab_size),
            temperature: params.temperature,
            vocab_size: vocab_size as u32,
            ids: TokenType::of(vocab_size as u32),
            log_probs: params.log_probs,
            blocks: 0,
            rows: 0,
            tokenizer: tokens.tokenizer.clone(),
            template: tokens.template.clone(),
            teacher: teacher.header.fingerprint.clone(),
            precision: context.precision,
        };
        let work = Work {
            params,
            context,
            blocks: &blocks,
            loaded,
            details: details.clone(),
        };
        let mut writer = TeacherCacheWriter::create(&context.output("")?, details)?;
        work.all(&positions, &mut writer)?;
        writer.finish(blocks.source().as_source())
    }

    /// This shard's chunks, from what an earlier run left or anew.
    fn all(&self, positions: &[u64], writer: &mut TeacherCacheWriter) -> Result<()> {
        let size = CHUNK_BATCHES * self.params.batch_size;
        let chunks = self.context.shard.range(positions.len().div_ceil(size) as u64);
        let chunks = positions
            .chunks(size)
            .enumerate()
            .skip(chunks.start as usize)
            .take((chunks.end - chunks.start) as usize);
        let widths = |positions: &[u64]| -> Vec<usize> {
            let width = |&position| self.blocks.get(position).ids.len() - 1;
            positions.iter().map(width).collect()
        };
        let total: usize = chunks.clone().flat_map(|(_, chunk)| widths(chunk)).sum();
        let services = &self.context.services;
        let bar = services.bar("asking the teacher", total as u64, "tokens");
        let (started, mut fresh, mut flops) = (Instant::now(), 0_usize, 0.0);
        for (number, positions) in chunks {
            self.context.check_cancelled()?;
            let blocks: Vec<Block> = positions.iter().map(|&at| self.blocks.get(at)).collect();
            let file = self.context.scratch.join(format!("entries-{number:08}"));
            let widths = widths(positions);
            let tokens: usize = widths.iter().sum();
            if !file.exists() {
                let records = self.chunk(&blocks)?;
                commit(&file, |file| {
                    disk::write(file, &records).map_err(Error::io("cannot write", file))
                })?;
                fresh += tokens;
            }
            let records = std::fs::read(&file).map_err(Error::io("cannot read", &file))?;
            writer.push(&self.stretches(&blocks), &records)?;
            bar.advance(tokens as u64);
            let config = &self.loaded.config;
            flops += widths
                .iter()
                .map(|&width| forward_flops(config, width))
                .sum::<f64>();
        }
        if fresh > 0 {
            let rate = fresh as f64 / started.elapsed().as_secs_f64();
            services.measure("tokens_per_second", rate);
        }
        services.cost(total as u64, flops);
        Ok(())
    }

    fn stretches(&self, blocks: &[Block]) -> Vec<Stretch> {
        let pad = self.blocks.details().eos_id;
        let stretch = |block: &Block| {
            let places = predicted(block, pad);
            Stretch {
                block: block.index,
                first: places.start as u64,
                rows: places.len() as u32,
            }
        };
        blocks.iter().map(stretch).collect()
    }

    /// The records of a chunk's blocks, in their order. `non_finite_score`.
    fn chunk(&self, blocks: &[Block]) -> Result<Vec<u8>> {
        // Blocks of similar length go together, so that little is padded.
        let mut by_length: Vec<usize> = (0..blocks.len()).collect();
        by_length.sort_by_key(|&i| blocks[i].ids.len());
        let mut records = vec![Vec::new(); blocks.len()];
        for rows in by_length.chunks(self.params.batch_size) {
            self.context.check_cancelled()?;
            let of: Vec<&Block> = rows.iter().map(|&i| &blocks[i]).collect();
            let (found, counts) = self.ask(&of)?;
            let mut next = 0;
            for (&i, count) in rows.iter().zip(counts) {
                for row in next..next + count {
                    let k = row * found.k..(row + 1) * found.k;
                    let (ids, log_p) = (&found.ids_nk[k.clone()], &found.log_p_nk[k]);
                    if !log_p.iter().all(|log_p| log_p.is_finite()) {
                        return Err(not_finite(&blocks[i]));
                    }
                    record(&mut records[i], &self.details, ids, log_p, found.log_tail_n[row]);
                }
                next += count;
            }
        }
        Ok(records.concat())
    }

    /// What the teacher says of the predicted places of blocks, and how many places each has.
    fn ask(&self, blocks: &[&Block]) -> Result<(Likeliest, Vec<usize>)> {
        let pad = self.blocks.details().eos_id;
        let batch = collate(blocks, longest(blocks), pad)?;
        let (rows, width, device) = (batch.rows, batch.width, &self.context.device);
        let places: Vec<Range<usize>> = blocks.iter().map(|block| predicted(block, pad)).collect();
        let counts = places.iter().map(Range::len).collect();
        let places = places.into_iter().enumerate();
        let places: Vec<usize> = places
            .flat_map(|(row, places)| places.map(move |t| row * width + t))
            .collect();
        let inputs_bt = Tensor::<2, Int>::from_data(TensorData::new(batch.inputs, [rows, width]), device);
        let decoder = &self.loaded.decoder;
        let projection = Projection {
            hidden_nd: decoder.hidden_at(inputs_bt, Some(&places)),
            head_vd: decoder.head(),
            bias_v: decoder.head_bias(),
        };
        let Self { params, details, .. } = self;
        let found = linear_likeliest(projection, details.k, params.temperature, decoder.products());
        Ok((found, counts))
    }

    /// Puts together what shards left.
    pub(super) fn merge(parts: &[PathBuf], context: &Context) -> Result<()> {
        let open = |folder: &PathBuf| Cache::open(&Artifact::open(folder, "", "a shard's teacher cache")?);
        let Some(first) = parts.first() else {
            return Err(Error::data("bad_artifact", "there are no shards to put together"));
        };
        let first = open(first)?;
        let mut writer = TeacherCacheWriter::create(&context.output("")?, first.details().clone())?;
        for part in parts {
            let part = open(part)?;
            writer.push(&part.stretches().collect::<Vec<_>>(), part.entries())?;
        }
        writer.finish(first.source().clone())
    }
}

fn not_finite(block: &Block) -> Error {
    let message = format!(
        "the teacher's log-probabilities in block {} are not finite",
        block.index
    );
    Error::data("non_finite_score", message)
        .hint("the teacher has diverged; train it with a lower learning rate")
}
