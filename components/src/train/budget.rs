//! From a budget to a number of steps.

use super::optim_params::Budget;
use super::params::{LmParams, ModelChoice};
use super::sources::SourceParams;
use crate::flops::training_flops;
use crate::lineage::{self, Charge, Input, Made};
use crate::model::{ModelConfig, ModelDetails};
use crate::tokens::Blocks;
use crate::{Context, Error, Result, Sizes};
use std::collections::BTreeMap;

/// What an average block costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BlockCost {
    /// Tokens predicted.
    pub(crate) tokens: f64,
    /// Tokens read.
    pub(crate) width: f64,
    /// FLOPs of training on it.
    pub(crate) flops: f64,
}

impl BlockCost {
    /// The average over all blocks.
    pub(crate) fn mean(blocks: &Blocks, config: &ModelConfig) -> Self {
        let count = blocks.len().max(1) as f64;
        let mut sum = Self {
            tokens: 0.0,
            width: 0.0,
            flops: 0.0,
        };
        for position in 0..blocks.len() {
            let block = blocks.get(position);
            let cost = Self::of(block.ids.len(), config);
            // Of a pair the response alone is predicted.
            let given = block
                .prompt
                .map_or(0.0, |prompt| f64::from(prompt.saturating_sub(1)));
            sum.tokens += cost.tokens - given;
            sum.width += cost.width;
            sum.flops += cost.flops;
        }
        Self {
            tokens: sum.tokens / count,
            width: sum.width / count,
            flops: sum.flops / count,
        }
    }

    /// A block of `length` ids.
    pub(crate) fn of(length: usize, config: &ModelConfig) -> Self {
        let width = length.saturating_sub(1);
        Self {
            tokens: width as f64,
            width: width as f64,
            flops: training_flops(config, width),
        }
    }
}

/// The budget of a training that is matched with another model.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Matched {
    /// FLOPs of that model's trainings: its own, and those of the models that it went on from.
    pub(crate) flops: f64,
    /// FLOPs that the model which this training goes on from has had already.
    pub(crate) before: f64,
    /// FLOPs of earlier steps that are paid from them; negative where the other model's were dearer.
    pub(crate) charged: BTreeMap<Charge, f64>,
}

impl Matched {
    /// All that is charged.
    pub(crate) fn charge(&self) -> f64 {
        self.charged.values().sum()
    }

    /// What is left for the training itself.
    pub(crate) fn left(&self) -> f64 {
        self.flops - self.before - self.charge()
    }

    /// As in `less 1.2e12 (scoring 1.0e12, teacher 2e11)`; none if nothing is taken off.
    fn terms(&self) -> Option<String> {
        let start = ("the model it goes on from", self.before);
        let charged = self.charged.iter().map(|(charge, flops)| (charge.name(), *flops));
        let taken = std::iter::once(start)
            .filter(|(_, flops)| *flops > 0.0)
            .chain(charged);
        let terms: Vec<String> = taken.map(|(name, flops)| format!("{name} {flops:.3e}")).collect();
        let sum = self.before + self.charge();
        (!terms.is_empty()).then(|| format!("less {sum:.3e} ({})", terms.join(", ")))
    }
}

/// What a training is made from: the data, the model that it goes on from and those that teach, each with its field and
/// reference.
fn materials(params: &LmParams) -> Vec<(String, &str)> {
    let mut all = vec![("data".to_owned(), params.data.as_str())];
    if let ModelChoice::Continue(reference) = &params.model {
        all.push(("model".to_owned(), reference.as_str()));
    }
    let source = params.source.as_ref().and_then(SourceParams::teacher);
    all.extend(source.map(|teacher| ("source.teacher".to_owned(), teacher.as_str())));
    for (i, term) in params.objective.iter().enumerate() {
        let teacher = term
            .teacher()
            .map(|teacher| (format!("objective.{i}.teacher"), teacher));
        let data = term
            .data()
            .map(|data| (format!("objective.{i}.data"), data.as_str()));
        all.extend(teacher.into_iter().chain(data));
    }
    all
}

/// The budget of a training with `match`, which goes on from a model that has had `before` FLOPs, and what it is charged
/// for. `unknown_cost`.
pub(crate) fn matched(params: &LmParams, before: f64, context: &Context) -> Result<Option<Matched>> {
    let Budget {
        match_model: Some(reference),
        charge,
        ..
    } = &params.optim.budget
    else {
        return Ok(None);
    };
    let model = context.open(reference)?;
    let mut matched = Matched {
        flops: model.details::<ModelDetails>()?.flops,
        before,
        charged: BTreeMap::new(),
    };
    if !charge.is_empty() {
        let input = |(field, reference): (String, &str)| {
            let artifact = context.services.artifact(reference)?;
            Ok(Input {
                field,
                location: artifact.location,
            })
        };
        let ours: Vec<Input> = materials(params).into_iter().map(input).collect::<Result<_>>()?;
        let made = |location: &str| context.services.made(location);
        matched.charged = charged(charge, &ours, &model.location, made)?;
    }
    if let Some(terms) = matched.terms() {
        let (all, left) = (matched.flops, matched.left());
        context.services.note(&format!(
            "of {all:.3e} FLOPs, {terms}, {left:.3e} are left for training"
        ));
    }
    Ok(Some(matched))
}

/// The same as far as it can be told beforehand; nothing without `match`.
pub(crate) fn expected(params: &LmParams, before: f64, sizes: &Sizes) -> Matched {
    let Budget {
        match_model: Some(reference),
        charge,
        ..
    } = &params.optim.budget
    else {
        return Matched::default();
    };
    let location = |reference: &str| sizes.locations.get(reference).cloned().unwrap_or_default();
    let ours: Vec<Input> = materials(params)
        .into_iter()
        .map(|(field, reference)| Input {
            field,
            location: location(reference),
        })
        .collect();
    let made = |location: &str| {
        let made = sizes.made.get(location).cloned();
        made.ok_or_else(|| lineage::unknown(location))
    };
    Matched {
        flops: sizes.of(reference.as_str()).flops,
        before,
        charged: charged(charge, &ours, &location(reference.as_str()), made).unwrap_or_default(),
    }
}

/// What of `charge` stands behind `ours` and not behind the model at `theirs`.
fn charged(
    charge: &[Charge],
    ours: &[Input],
    theirs: &str,
    mut made: impl FnMut(&str) -> Result<Made>,
) -> Result<BTreeMap<Charge, f64>> {
    if charge.is_empty() {
        return Ok(BTreeMap::new());
    }
    let theirs = made(theirs)?.inputs;
    let (ours, theirs) = (lineage::spent(ours, &mut made)?, lineage::spent(&theirs, made)?);
    Ok(lineage::beyond(&ours, &theirs, charge))
}

/// Steps that a budget pays for, at `blocks_a_step` blocks each; `matched` is the budget of a training with `match`.
///
/// # Errors
/// `budget_too_small` if it does not pay for one step.
pub(crate) fn steps(
    budget: &Budget,
    mean: BlockCost,
    blocks_a_step: f64,
    matched: Option<&Matched>,
) -> Result<u64> {
    if let Some(steps) = budget.steps {
        return Ok(steps);
    }
    if let Some(tokens) = budget.tokens {
        return Ok((tokens as f64 / (mean.tokens * blocks_a_step)).ceil() as u64);
    }
    let flops = budget.flops.or(matched.map(Matched::left)).unwrap_or_default();
    let steps = (flops / (mean.flops * blocks_a_step)).round() as u64;
    if steps == 0 {
        let one = mean.flops * blocks_a_step;
        let taken = matched.and_then(|matched| Some((matched.flops, matched.terms()?)));
        let Some((all, terms)) = taken else {
            let message = format!("the budget of {flops:.3e} FLOPs does not pay for one step of {one:.3e}");
            return Err(
                Error::data("budget_too_small", message).hint("raise the budget, or lower `batch_size`")
            );
        };
        let message =
            format!("the budget of {all:.3e} FLOPs, {terms}, leaves nothing for a step of {one:.3e}");
        let hint = "match a longer training, go on from a model that took less, or charge for less: scores serve as many \
                    students as you like";
        return Err(Error::data("budget_too_small", message).hint(hint));
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn every_kind_of_budget_becomes_steps() {
        let mean = BlockCost {
            tokens: 100.0,
            width: 100.0,
            flops: 1e6,
        };
        let of = |budget: Value, matched: Option<Matched>| {
            let budget = serde_json::from_value(budget).expect("a budget");
            steps(&budget, mean, 16.0, matched.as_ref()).map_err(|error| (error.code(), error.to_string()))
        };
        assert_eq!(of(json!({ "steps": 7 }), None), Ok(7));
        assert_eq!(of(json!({ "tokens": 1601 }), None), Ok(2));
        assert_eq!(of(json!({ "flops": 3.3e7 }), None), Ok(2));
        let matched = |charged: &[(Charge, f64)]| {
            Some(Matched {
                flops: 4.8e7,
                before: 0.0,
                charged: charged.iter().copied().collect(),
            })
        };
        let like = || json!({ "match": "@student" });
        assert_eq!(of(like(), matched(&[])), Ok(3));
        let paid = [(Charge::Scoring, 1e7), (Charge::Teacher, 6e6)];
        assert_eq!(of(like(), matched(&paid)), Ok(2));
        // The other model's data were dearer.
        assert_eq!(of(like(), matched(&[(Charge::Scoring, -1.6e7)])), Ok(4));
        // What it goes on from has had some of it.
        let further = |before| {
            Some(Matched {
                before,
                ..matched(&[]).expect("a budget")
            })
        };
        assert_eq!(of(like(), further(1.6e7)), Ok(2));
        let error = of(like(), further(4.7e7)).expect_err("nothing is left");
        assert_eq!(error.0, "budget_too_small");
        assert!(
            error
                .1
                .contains("less 4.700e7 (the model it goes on from 4.700e7)"),
            "{}",
            error.1
        );
        let error = of(json!({ "flops": 1.0 }), None).expect_err("too little");
        assert_eq!(error.0, "budget_too_small");
        let dear = [(Charge::Scoring, 1e7), (Charge::Teacher, 3.5e7)];
        let error = of(like(), matched(&dear)).expect_err("nothing is left");
        assert_eq!(error.0, "budget_too_small");
        assert!(
            error.1.contains("(scoring 1.000e7, teacher 3.500e7)"),
            "{}",
            error.1
        );
    }
}
