//! One choice by scores: how many, which, and what they weigh.

use super::cut::{Cut, Keeping, Tally, cuts};
use super::params::{Params, Pool, Quotas, Weights};
use super::passes::{Passes, Row, Wants};
use super::rules::{keep_count, mixture_counts, non_finite};
use crate::artifact::{Order, SelectionDetails, SelectionWriter, Source};
use crate::{Context, Error, Result};
use std::ops::Range;

/// A choice by scores.
pub(super) struct Choice<'a> {
    params: &'a Params,
    context: &'a Context,
    passes: Passes<'a>,
    /// The scores.
    scores: Source,
    /// What was scored.
    source: Source,
}

/// How many of a group are kept by rank, and how many drawn by chance.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    ranked: Vec<u64>,
    drawn: Vec<u64>,
}

/// The lines within the groups.
struct Lines {
    ranked: Vec<Cut>,
    /// Of those mixed in, if any are.
    drawn: Option<Vec<Cut>>,
    /// As `ranked`, without noise, if there is noise.
    quiet: Option<Vec<Cut>>,
}

/// How a row is kept.
#[derive(Debug, Clone, Copy)]
struct Kept {
    times: u32,
    by_rank: bool,
    /// Whether its rank would have been enough without noise.
    quietly: bool,
}

impl<'a> Choice<'a> {
    /// Looks at scores and groups. `empty_input`, and the mistakes of [`Passes::open`].
    pub(super) fn open(params: &'a Params, context: &'a Context) -> Result<Self> {
        let scores = context.open(&params.scores)?;
        let source = scores.header.source.clone().ok_or_else(|| {
            let message = format!("`{}` does not say what it scores", scores.label);
            Error::data("bad_artifact", message)
        })?;
        let passes = Passes::open(&scores, &source, params, context)?;
        if passes.len() == 0 {
            return Err(Error::data("empty_input", "there are no scores to choose by"));
        }
        Ok(Self {
            params,
            context,
            passes,
            scores: scores.as_source(),
            source,
        })
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> u64 {
        self.passes.len()
    }

    /// Counts of no row.
    pub(super) fn no_tally(&self) -> Tally {
        self.passes.no_tally()
    }

    /// Counts of the ranks of some rows. `non_finite_score`.
    pub(super) fn tally(&self, range: Range<u64>) -> Result<Tally> {
        let mut tally = self.no_tally();
        let mut position = range.start;
        self.passes.pass(range, Wants::RANK, |row| {
            if !row.value.is_finite() {
                return Err(non_finite(self.passes.index(position)?, row.value));
            }
            position += 1;
            tally.add(row.group, row.rank);
            Ok(())
        })?;
        Ok(tally)
    }

    /// Chooses by the counts of all rows, and writes the selection. `ratio_out_of_range`, `count_out_of_range`,
    /// `empty_selection`, `negative_weight`, `zero_weights`.
    pub(super) fn finish(&self, tally: Tally) -> Result<()> {
        let wanted = self.wanted(&tally)?;
        let ranked = cuts(tally, &wanted.ranked, |visit| {
            self.passes.all(Wants::RANK, |row| visit(row.group, row.rank))
        })?;
        let drawn = self.draw(&ranked, &wanted)?;
        let quiet = self.without_noise(&wanted)?;
        let lines = Lines { ranked, drawn, quiet };
        let scale = self.scale(&lines)?;
        self.write(&lines, &wanted, scale)
    }

    fn wanted(&self, tally: &Tally) -> Result<Wanted> {
        let kept = match (self.passes.groups(), &self.params.quotas) {
            (Some(groups), Some(quotas)) => self.by_quota(tally, groups, quotas)?,
            _ => vec![self.kept(tally.total(0))?],
        };
        let fraction = self.params.mix.as_ref().map_or(0.0, |mix| mix.fraction);
        let split = |&kept: &u64| {
            let (ranked, drawn) = mixture_counts(1.0 - fraction, kept as usize);
            (ranked as u64, drawn as u64)
        };
        let (ranked, drawn) = kept.iter().map(split).unzip();
        Ok(Wanted { ranked, drawn })
    }

    fn kept(&self, items: u64) -> Result<u64> {
        match (self.params.keep, self.params.count) {
            (Some(ratio), _) => keep_count(ratio, items as usize).map(|kept| kept as u64),
            (None, Some(count)) if count <= items => Ok(count),
            (None, Some(count)) => Err(Error::data(
                "count_out_of_range",
                format!("`count` is {count}, but there are {items} items"),
            )),
            (None, None) => Err(Error::data(
                "empty_selection",
                "neither `keep` nor `count` is given",
            )),
        }
    }

    fn by_quota(&self, tally: &Tally, groups: &[String], quotas: &Quotas) -> Result<Vec<u64>> {
        let mut all = Vec::new();
        for (group, name) in groups.iter().enumerate() {
            let ratio = quotas.keep.get(name).copied();
            let ratio = ratio.or(self.params.keep).unwrap_or(1.0);
            // A group may be too small to give any; only when all are is it a mistake.
            let kept = match keep_count(ratio, tally.total(group) as usize) {
                Err(error) if error.code() == "ratio_out_of_range" => return Err(error),
                count => count.unwrap_or(0),
            };
            all.push(kept as u64);
        }
        if all.iter().all(|&kept| kept == 0) {
            let message = "no group is large enough to give an item";
            return Err(Error::data("empty_selection", message).hint("raise `keep`, or score more items"));
        }
        Ok(all)
    }

    /// The lines of those drawn by chance: the lowest of one uniform number an item.
    fn draw(&self, ranked: &[Cut], wanted: &Wanted) -> Result<Option<Vec<Cut>>> {
        if wanted.drawn.iter().all(|&drawn| drawn == 0) {
            return Ok(None);
        }
        let from_rest = self.draws_from_rest();
        let wants = Wants {
            index: true,
            rank: from_rest,
            chance: true,
        };
        let again = |visit: &mut dyn FnMut(usize, u64)| {
            let mut keeping = Keeping::by(ranked);
            self.passes.all(wants, |row| {
                if !(from_rest && keeping.keeps(row.group, row.rank)) {
                    visit(row.group, row.chance);
                }
            })
        };
        let mut tally = self.no_tally();
        again(&mut |group, chance| tally.add(group, chance))?;
        cuts(tally, &wanted.drawn, again).map(Some)
    }

    fn draws_from_rest(&self) -> bool {
        let from = self.params.mix.as_ref().map(|mix| mix.from);
        from == Some(Pool::Rest)
    }

    /// What a score is divided by to become a weight, where weights follow scores: the mean over kept items.
    fn scale(&self, lines: &Lines) -> Result<Option<f64>> {
        if self.params.weights == Weights::Equal {
            return Ok(None);
        }
        let (mut sum, mut count) = (0.0, 0_u64);
        self.kept_rows(lines, |row, kept| {
            if row.value < 0.0 {
                let message = format!(
                    "the score of item {} is {}; a weight must not be negative",
                    row.index, row.value
                );
                return Err(Error::data("negative_weight", message).hint("weights = \"equal\""));
            }
            for _ in 0..kept.times {
                sum += row.value;
                count += 1;
            }
            Ok(())
        })?;
        let mean = sum / count as f64;
        if mean == 0.0 {
            let message = "every kept score is zero; weights need one that is not";
            return Err(Error::data("zero_weights", message));
        }
        Ok(Some(mean))
    }

    /// Where the lines would run without noise, if there is noise.
    fn without_noise(&self, wanted: &Wanted) -> Result<Option<Vec<Cut>>> {
        if !self.passes.noisy() {
            return Ok(None);
        }
        let wants = Wants::default();
        let mut tally = self.no_tally();
        self.passes.all(wants, |row| tally.add(row.group, row.plain))?;
        let again =
            |visit: &mut dyn FnMut(usize, u64)| self.passes.all(wants, |row| visit(row.group, row.plain));
        cuts(tally, &wanted.ranked, again).map(Some)
    }

    fn write(&self, lines: &Lines, wanted: &Wanted, scale: Option<f64>) -> Result<()> {
        let kept: u64 = wanted.ranked.iter().chain(&wanted.drawn).sum();
        let folder = self.context.output("")?;
        let mut writer = SelectionWriter::create(&folder, kept as usize)?;
        let extreme: fn(f64, f64) -> f64 = match self.params.order {
            Order::Highest => f64::min,
            Order::Lowest => f64::max,
        };
        let (mut negative, mut threshold, mut quietly) = (0, None, 0_u64);
        self.kept_rows(lines, |row, kept| {
            if kept.by_rank {
                threshold = Some(threshold.map_or(row.value, |least| extreme(least, row.value)));
                quietly += u64::from(kept.quietly);
            }
            for _ in 0..kept.times {
                negative += u64::from(row.value < 0.0);
                writer.push(row.index, scale.map_or(1.0, |mean| (row.value / mean) as f32))?;
            }
            Ok(())
        })?;
        if lines.quiet.is_some() {
            let ranked: u64 = wanted.ranked.iter().sum();
            self.context.services.note(&format!(
                "of {ranked} items kept by rank, {quietly} would have been kept without noise"
            ));
        }
        let details = SelectionDetails {
            item: self.passes.scores().details().item,
            kept,
            of: self.rows(),
            threshold,
            negative: negative as f64 / kept as f64,
            scores: self.scores.clone(),
            column: self.passes.column().to_owned(),
            order: self.params.order,
        };
        writer.finish(&details, self.source.clone())
    }

    /// Shows every kept row in order, and how it is kept.
    fn kept_rows(&self, lines: &Lines, mut visit: impl FnMut(&Row, Kept) -> Result<()>) -> Result<()> {
        let mut ranked = Keeping::by(&lines.ranked);
        let mut drawn = lines.drawn.as_deref().map(Keeping::by);
        let mut quiet = lines.quiet.as_deref().map(Keeping::by);
        let from_rest = self.draws_from_rest();
        let wants = Wants {
            index: true,
            rank: true,
            chance: drawn.is_some(),
        };
        self.passes.pass(0..self.rows(), wants, |row| {
            let by_rank = ranked.keeps(row.group, row.rank);
            let by_chance = drawn
                .as_mut()
                .is_some_and(|drawn| !(from_rest && by_rank) && drawn.keeps(row.group, row.chance));
            // Ties are counted down, so every row has to be shown.
            let quietly = quiet
                .as_mut()
                .is_some_and(|quiet| quiet.keeps(row.group, row.plain));
            match u32::from(by_rank) + u32::from(by_chance) {
                0 => Ok(()),
                times => visit(
                    row,
                    Kept {
                        times,
                        by_rank,
                        quietly,
                    },
                ),
            }
        })
    }
}
