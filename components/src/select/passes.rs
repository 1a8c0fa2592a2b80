//! Passes over scores: what the options of a choice come to for every row, a piece of rows at a time.

use super::cut::{Tally, rank};
use super::params::{Noise, Params, Quotas};
use super::rules::gumbel_key;
use crate::artifact::{Artifact, Order, ScorePiece, ScoreRows, Source};
use crate::labels::{ItemLabels, Labels};
use crate::random::Stream;
use crate::{Context, Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// Rows that one task works out.
const TASK_ROWS: usize = 1 << 12;

/// Scores that are gone over again and again, of which a piece is held at a time.
pub(super) struct Passes<'a> {
    context: &'a Context,
    rows: ScoreRows,
    column: String,
    order: Order,
    labels: Option<ItemLabels>,
    /// Temperature and stream.
    noise: Option<(f64, Stream)>,
    chance: Stream,
}

/// What a pass has to know of a row besides its value, group and rank without noise.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wants {
    pub(super) index: bool,
    pub(super) rank: bool,
    pub(super) chance: bool,
}

impl Wants {
    pub(super) const RANK: Self = Self {
        index: false,
        rank: true,
        chance: false,
    };
}

/// A row of the scores. What was not wanted is 0, or in the case of `rank` that without noise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Number of the item in the source.
    pub(super) index: u64,
    pub(super) value: f64,
    pub(super) group: usize,
    /// Its rank, with noise if there is noise.
    pub(super) rank: u64,
    /// Its rank without noise.
    pub(super) plain: u64,
    /// Its rank among those that may be mixed in.
    pub(super) chance: u64,
}

impl<'a> Passes<'a> {
    /// Looks at scores of `source` and their groups. `unknown_column`, `tau_out_of_range`, `corpus_mismatch`,
    /// `unknown_label`.
    pub(super) fn open(
        scores: &Artifact,
        source: &Source,
        params: &Params,
        context: &'a Context,
    ) -> Result<Self> {
        let rows = ScoreRows::open(scores)?;
        let labels = match &params.quotas {
            None => None,
            Some(quotas) => {
                let labels = Labels::read(context.open(&quotas.corpus)?, &quotas.column, context)?;
                check_names(quotas, &labels)?;
                let scored = context.open_source(source)?;
                Some(ItemLabels::new(labels, rows.details().item, scored, context)?)
            }
        };
        Ok(Self {
            context,
            column: rows.column(params.column.as_deref())?.to_owned(),
            rows,
            order: params.order,
            labels,
            noise: temperature(params)?.map(|tau| (tau, context.stream("select.top gumbel"))),
            chance: context.stream("select.top mix"),
        })
    }

    /// The scores.
    pub(super) fn scores(&self) -> &ScoreRows {
        &self.rows
    }

    /// The column that is chosen by.
    pub(super) fn column(&self) -> &str {
        &self.column
    }

    /// Number of rows.
    pub(super) fn len(&self) -> u64 {
        self.rows.details().rows
    }

    /// Whether ranks have noise.
    pub(super) fn noisy(&self) -> bool {
        self.noise.is_some()
    }

    /// Names of the groups; none if all rows are one.
    pub(super) fn groups(&self) -> Option<&[String]> {
        self.labels.as_ref().map(ItemLabels::names)
    }

    /// Counts of no row.
    pub(super) fn no_tally(&self) -> Tally {
        Tally::new(self.groups().map_or(1, <[String]>::len))
    }

    /// Shows all rows, to count something of them.
    pub(super) fn all(&self, wants: Wants, mut visit: impl FnMut(&Row)) -> Result<()> {
        self.pass(0..self.len(), wants, |row| {
            visit(row);
            Ok(())
        })
    }

    /// Shows rows one after the other, in order.
    pub(super) fn pass(
        &self,
        range: Range<u64>,
        wants: Wants,
        mut visit: impl FnMut(&Row) -> Result<()>,
    ) -> Result<()> {
        let noisy = wants.rank && self.noise.is_some();
        let with_index = wants.index || wants.chance || noisy || self.labels.is_some();
        for piece in self.rows.pieces(&self.column, with_index, range) {
            self.context.check_cancelled()?;
            let piece = piece?;
            if let Some(labels) = &self.labels {
                labels.check(&piece.index)?;
            }
            let starts = (0..piece.values.len()).into_par_iter().step_by(TASK_ROWS);
            let rows: Vec<Vec<Row>> = starts.map(|start| self.rows(&piece, start, wants)).collect();
            rows.iter().flatten().try_for_each(&mut visit)?;
        }
        Ok(())
    }

    /// The rows of a task: those of `piece` from `start` on.
    fn rows(&self, piece: &ScorePiece, start: usize, wants: Wants) -> Vec<Row> {
        let values = &piece.values[start..piece.values.len().min(start + TASK_ROWS)];
        let index = piece.index.get(start..start + values.len()).unwrap_or_default();
        let noise = self.noise.as_ref().filter(|_| wants.rank);
        let noise = noise.map(|(tau, stream)| (*tau, stream.uniforms_at(index)));
        let chance = wants.chance.then(|| self.chance.uniforms_at(index));
        let row = |(at, &value): (usize, &f64)| {
            let index = index.get(at).copied().unwrap_or_default();
            let plain = rank(value, self.order);
            let with_noise = |(tau, uniforms): &(f64, Vec<f64>)| {
                let better = match self.order {
                    Order::Highest => value,
                    Order::Lowest => -value,
                };
                rank(gumbel_key(better, *tau, uniforms[at]), Order::Highest)
            };
            Row {
                index,
                value,
                group: self.labels.as_ref().map_or(0, |labels| labels.largest(index)),
                rank: noise.as_ref().map_or(plain, with_noise),
                plain,
                chance: chance.as_ref().map_or(0, |drawn| rank(drawn[at], Order::Lowest)),
            }
        };
        values.iter().enumerate().map(row).collect()
    }

    /// The number of the item in row `position`.
    pub(super) fn index(&self, position: u64) -> Result<u64> {
        let mut pieces = self.rows.pieces(&self.column, true, position..position + 1);
        let piece = pieces.next().transpose()?;
        Ok(piece.map_or(position, |piece| piece.index[0]))
    }
}

/// The temperature of the noise, if there is noise. `tau_out_of_range`.
fn temperature(params: &Params) -> Result<Option<f64>> {
    match (params.noise, params.tau) {
        (Noise::None, _) => Ok(None),
        (Noise::Gumbel, Some(tau)) if tau >= 0.0 && tau.is_finite() => Ok(Some(tau).filter(|&tau| tau > 0.0)),
        (Noise::Gumbel, tau) => {
            let found = tau.map_or("missing".to_owned(), |tau| tau.to_string());
            let message = format!("`tau` is {found}; expected a number of at least 0");
            Err(Error::data("tau_out_of_range", message))
        }
    }
}

/// Refuses quotas of groups that no document belongs to.
fn check_names(quotas: &Quotas, labels: &Labels) -> Result<()> {
    let Some(unknown) = quotas.keep.keys().find(|name| !labels.names().contains(name)) else {
        return Ok(());
    };
    let names: Vec<_> = labels
        .names()
        .iter()
        .take(20)
        .map(|name| format!("`{name}`"))
        .collect();
    let message = format!("no document has `{}` = `{unknown}`", quotas.column);
    Err(Error::data("unknown_label", message).hint(format!("the groups are {}", names.join(", "))))
}
