//! What `policy.learning_law` reads, found to fit together before any training.

use super::data::perceptron_start;
use super::labelled::Labelled;
use super::params::LawParams;
use crate::flops::training_flops;
use crate::model::{self, Decoder, ModelConfig};
use crate::reference::{self, Ref};
use crate::score::check_model;
use crate::tokens::{Blocks, check_block};
use crate::train::ModelChoice;
use crate::trajectory::{
    BlocksAt, Difference, Number, Perceptron, RowModel, Tick, WeightedDecoder, to_bytes,
};
use crate::{Artifact, Context, Error, Kind, Precision, Result};
use lyceum_kernels::RowElement;
use std::collections::BTreeMap;

/// Examples of fewer bytes may be equal by chance: seven ids of four bytes, or a few numbers.
const TELLING: usize = 28;

/// What the three inputs are called.
const ROLES: [&str; 3] = ["data", "target", "test"];

/// The artifacts behind `data`, `target` and `test`, all of one kind.
///
/// # Errors
/// `wrong_kind`: what a perceptron, or a decoder, cannot read.
pub(super) fn open(params: &LawParams, context: &Context) -> Result<[Artifact; 3]> {
    let open = |role: &str, reference: &Ref<reference::Scorable>| -> Result<Artifact> {
        let artifact = context.open(reference)?;
        let is_corpus = artifact.header.kind == Kind::Corpus;
        if artifact.header.kind != Kind::Selection && is_corpus == params.model.is_some() {
            let (what, hint) = if is_corpus {
                (
                    "a corpus, and a decoder reads packed tokens",
                    "pack it with `tokens.pack`, or leave `model` out",
                )
            } else {
                (
                    "packed tokens, and without `model` a perceptron is trained",
                    "add `model = { hidden_size = … }`",
                )
            };
            let message = format!("`{role}` is {what}");
            return Err(Error::data("wrong_kind", message).hint(hint));
        }
        Ok(artifact)
    };
    Ok([
        open(ROLES[0], &params.data)?,
        open(ROLES[1], &params.target)?,
        open(ROLES[2], &params.test)?,
    ])
}

/// A perceptron under equal weights, and its start.
///
/// # Errors
/// Those of [`Labelled::read`]; `bad_input` where widths differ; `target_overlap`.
pub(super) fn perceptron<N: Number + RowElement>(
    params: &LawParams,
    context: &Context,
    artifacts: &[Artifact; 3],
) -> Result<(Perceptron<N>, Vec<N>)> {
    let read = |artifact: &Artifact| Labelled::<N>::read(artifact, context);
    let [train, target, test] = [read(&artifacts[0])?, read(&artifacts[1])?, read(&artifacts[2])?];
    let width = train.width;
    for (other, role) in [(&target, ROLES[1]), (&test, ROLES[2])] {
        if other.width != width {
            let message = format!(
                "`{role}` has {} inputs an example, `data` has {width}",
                other.width
            );
            return Err(Error::data("bad_input", message));
        }
    }
    let prints = |set: &Labelled<N>| set.examples.inputs.chunks(width).map(to_bytes).collect();
    check_overlap([prints(&train), prints(&target), prints(&test)])?;
    let sets = [train.examples, target.examples, test.examples];
    let start = perceptron_start(context.seed, width);
    Ok((Perceptron::new(width, sets, params.steps), start))
}

/// Packed tokens, and the model that is trained on them.
pub(super) struct Tokens {
    sets: [Blocks; 3],
    pub(super) config: ModelConfig,
    decoder: Decoder,
}

impl Tokens {
    /// # Errors
    /// `empty_input`, `empty_target`, `tokenizer_mismatch`, `vocab_mismatch`, `context_too_long`, `too_short`,
    /// `empty_loss_mask`, `weighted_selection`, `target_overlap`.
    pub(super) fn open(params: &LawParams, context: &Context, artifacts: &[Artifact; 3]) -> Result<Self> {
        let sets = [
            blocks(&artifacts[0], ROLES[0], context)?,
            blocks(&artifacts[1], ROLES[1], context)?,
            blocks(&artifacts[2], ROLES[2], context)?,
        ];
        let tokens = sets[0].details().clone();
        let device = context.device.clone().autodiff();
        let (config, decoder) = match &params.model {
            Some(ModelChoice::Continue(reference)) => {
                let artifact = context.open(reference)?;
                check_model(&sets[0], &artifact)?;
                let loaded = model::load(&artifact, &device, context.precision)?;
                (loaded.config, loaded.decoder)
            }
            Some(ModelChoice::Fresh(spec)) => {
                let mut config = spec.config(tokens.vocab_size as usize);
                config.set_eos(tokens.eos_id);
                let decoder = Decoder::init(&config, context.precision, &context.stream("weights"), &device);
                (config, decoder)
            }
            None => unreachable!("asked for with a model only"),
        };
        for (set, role) in sets.iter().zip(ROLES) {
            if set.details().tokenizer != tokens.tokenizer {
                let message = format!("`{role}` was packed with another tokenizer than `data`");
                return Err(Error::data("tokenizer_mismatch", message));
            }
            let (longest, most) = (set.details().context, config.max_position_embeddings);
            if longest > most {
                let message = format!(
                    "blocks of {longest} tokens (`{role}`) are longer than the model's {most} positions"
                );
                return Err(Error::data("context_too_long", message).hint("pack with a smaller `context`"));
            }
            let mut all = (0..set.len()).map(|position| set.get(position));
            all.try_for_each(|block| check_block(&block, tokens.eos_id))?;
        }
        let prints = |set: &Blocks| (0..set.len()).map(|i| bytes_of(&set.get(i).ids)).collect();
        check_overlap([prints(&sets[0]), prints(&sets[1]), prints(&sets[2])])?;
        Ok(Self {
            sets,
            config,
            decoder,
        })
    }

    /// Tokens and FLOPs of so many passes over the three sets.
    pub(super) fn cost(&self, passes: [f64; 3]) -> (f64, f64) {
        let mut cost = (0.0, 0.0);
        for (set, passes) in self.sets.iter().zip(passes) {
            for position in 0..set.len() {
                let width = set.get(position).ids.len() - 1;
                cost.0 += passes * width as f64;
                cost.1 += passes * training_flops(&self.config, width);
            }
        }
        cost
    }

    /// The number in the underlying tokens of every training block.
    pub(super) fn indices(&self) -> Vec<u64> {
        (0..self.sets[0].len())
            .map(|position| self.sets[0].index(position))
            .collect()
    }

    /// The decoder under equal weights.
    pub(super) fn training<'a, N: Number>(
        &'a self,
        params: &LawParams,
        precision: Precision,
        tick: Tick<'a>,
    ) -> WeightedDecoder<'a, N> {
        let at = |set: &'a Blocks| {
            Box::new(BlocksAt {
                blocks: set,
                positions: (0..set.len()).collect(),
            })
        };
        let [train, target, test] = &self.sets;
        let pad = train.details().eos_id;
        let equal = N::of(1.0 / train.len() as f64);
        WeightedDecoder {
            model: RowModel::new(self.decoder.clone(), pad, params.micro_batch, tick),
            examples: at(train),
            target: at(target),
            test: at(test),
            difference: Difference::relative(params.rel_step, precision),
            policy: vec![equal; params.steps * train.len() as usize],
        }
    }
}

/// Opens packed tokens that are not weighted already. `empty_input`, `empty_target`, `weighted_selection`.
fn blocks(artifact: &Artifact, role: &str, context: &Context) -> Result<Blocks> {
    let empty = || {
        let code = if role == ROLES[0] {
            "empty_input"
        } else {
            "empty_target"
        };
        Error::data(code, format!("`{role}` (`{}`) has no blocks", artifact.label))
    };
    let blocks = Blocks::open(artifact, context).map_err(|error| match error.code() {
        "empty_selection" => empty(),
        _ => error,
    })?;
    if blocks.is_empty() {
        return Err(empty());
    }
    if (0..blocks.len()).any(|position| blocks.get(position).weight != 1.0) {
        let message = format!(
            "the selection `{}` weights its blocks, which would be lost here",
            artifact.label
        );
        return Err(Error::data("weighted_selection", message).hint("select without weights"));
    }
    Ok(blocks)
}

fn bytes_of(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

/// Refuses an example that is in two of the sets: `target_overlap`.
fn check_overlap(sets: [Vec<Vec<u8>>; 3]) -> Result<()> {
    let mut seen: BTreeMap<Vec<u8>, (usize, usize)> = BTreeMap::new();
    for (set, examples) in sets.into_iter().enumerate() {
        let telling = |(_, example): &(usize, Vec<u8>)| example.len() >= TELLING;
        for (number, example) in examples.into_iter().enumerate().filter(telling) {
            let &mut (other, at) = seen.entry(example).or_insert((set, number));
            if other != set {
                let message = format!(
                    "example {number} of `{}` is also example {at} of `{}`",
                    ROLES[set], ROLES[other],
                );
                return Err(Error::data("target_overlap", message)
                    .hint("split before packing, so that the sets share nothing"));
            }
        }
    }
    Ok(())
}
