//! Weights of examples that a policy says.

use super::optimizer::Optimizer;
use super::sources::HostBatch;
use super::weighting::{Weighed, Weighting};
use crate::model::Decoder;
use crate::policy::Policy;
use crate::reference::{self, Ref};
use crate::tokens::Blocks;
use crate::{Context, Error, Result};
use std::collections::BTreeMap;

/// Follows a policy: the loss of a step is Σ γ_{n,t} ℓ_n over the examples of its passes, ℓ_n being the mean over the tokens of
/// an example, with weights that add up to 1.
pub(crate) struct Following {
    policy: Policy,
    /// Which example a block of the tokens is.
    example: BTreeMap<u64, usize>,
}

impl Following {
    /// # Errors
    /// `policy_hash`, `policy_shape`; `repeated_item`: an example is in the data twice.
    pub(crate) fn open(
        reference: &Ref<reference::Policy>,
        data: &Ref<reference::Blocks>,
        steps: u64,
        context: &Context,
    ) -> Result<Self> {
        let policy = Policy::read(&context.open(reference)?)?;
        let data = context.open(data)?;
        policy.check(&data, steps)?;
        let blocks = Blocks::open(&data, context)?;
        if policy.details.examples != blocks.len() {
            let message = format!(
                "the policy weighs {} examples; the data has {}",
                policy.details.examples,
                blocks.len()
            );
            return Err(Error::data("policy_shape", message));
        }
        let mut example = BTreeMap::new();
        for position in 0..blocks.len() {
            if example
                .insert(blocks.index(position), position as usize)
                .is_some()
            {
                let message = format!("block {} is in the data twice", blocks.index(position));
                return Err(
                    Error::data("repeated_item", message).hint("follow policies over distinct blocks")
                );
            }
        }
        Ok(Self { policy, example })
    }
}

impl Weighting for Following {
    fn weigh(&self, _: &Decoder, _: &Optimizer, step: u64, passes: &[HostBatch]) -> Result<Weighed> {
        let of_step = self.policy.at(step as usize);
        let of_pass = |batch: &HostBatch| -> Vec<f32> {
            let rows = batch
                .batch
                .mask
                .chunks(batch.batch.width.max(1))
                .zip(&batch.blocks);
            rows.flat_map(|(mask, block)| {
                let weight = self.example.get(block).map_or(0.0, |&n| of_step[n]);
                let counted = mask.iter().sum::<f32>().max(1.0);
                mask.iter().map(move |mask| weight * mask / counted)
            })
            .collect()
        };
        Ok(Weighed::by(passes.iter().map(of_pass).collect()))
    }
}
