//! The difference between two models' losses.

use super::common::{self, Reduction};
use super::nll::Work;
use crate::artifact::Item;
use crate::model::ModelDetails;
use crate::tokens::Blocks;
use crate::{Artifact, Context, Error, Result};

/// The loss of one model less that of another, item by item: of a reference and a teacher, how far the teacher is ahead
/// (MiniPLM, sheet 2.3); of a learner and a reference, what it may still learn (RHO-Loss; PDS, sheet 2.5). Higher is kept.
///
/// `length_mismatch`: the two were not measured on the same items.
pub fn score_difference(behind_nll: &[f64], ahead_nll: &[f64]) -> Result<Vec<f64>> {
    if behind_nll.len() != ahead_nll.len() {
        return Err(Error::data(
            "length_mismatch",
            format!(
                "one model scored {} items and the other {}",
                behind_nll.len(),
                ahead_nll.len()
            ),
        ));
    }
    let difference = |(behind, ahead): (&f64, &f64)| behind - ahead;
    Ok(behind_nll.iter().zip(ahead_nll).map(difference).collect())
}

/// A model and the column its losses go to.
pub(super) struct Measured<'a> {
    pub(super) model: &'a Artifact,
    pub(super) column: &'static str,
}

/// Two models that score the same data.
pub(super) struct Difference<'a> {
    pub(super) data: &'a Artifact,
    pub(super) behind: Measured<'a>,
    pub(super) ahead: Measured<'a>,
    /// Of the two, the one that should not have been trained on the data, and what comes of it otherwise.
    pub(super) apart: (&'a Artifact, &'static str),
    pub(super) reduction: Reduction,
    pub(super) item: Item,
    pub(super) batch_size: usize,
}

impl Difference<'_> {
    /// Scores with both: `score`, the two losses, `tokens`.
    pub(super) fn write(&self, context: &Context) -> Result<()> {
        let (ahead, behind) = (&self.ahead, &self.behind);
        let blocks = Blocks::open(self.data, context)?;
        let work = Work::new(context, &blocks, self.item, self.batch_size)?;
        work.check_model(ahead.model)?;
        work.check_model(behind.model)?;
        self.note_overlap(context, &blocks)?;
        // The columns' names tell the two models' unfinished work apart.
        let by_ahead = work.items(ahead.model, ahead.column)?;
        let by_behind = work.items(behind.model, behind.column)?;
        let ahead_nll = self.reduction.all(&by_ahead);
        let behind_nll = self.reduction.all(&by_behind);
        let columns = vec![
            ("score", score_difference(&behind_nll, &ahead_nll)?),
            (ahead.column, ahead_nll),
            (behind.column, behind_nll),
            ("tokens", common::tokens(&by_ahead)),
        ];
        let index = by_ahead.iter().map(|item| item.index).collect();
        common::write(context, self.data, self.item, index, "score", columns)
    }

    /// A reference that has seen what it scores is too good there (MiniPLM, sheet 10). At small scale one trains it on the
    /// pool all the same, so it is said and not refused.
    fn note_overlap(&self, context: &Context, blocks: &Blocks) -> Result<()> {
        let (model, comes) = self.apart;
        let details: ModelDetails = model.details()?;
        let Some(seen) = details.data.map(|data| data.fingerprint) else {
            return Ok(());
        };
        if seen == self.data.header.fingerprint || seen == blocks.source().header.fingerprint {
            context.services.note(&format!(
                "reference_overlap: the reference was trained on the data it scores; \
                 what it has learnt by heart scores {comes}"
            ));
        }
        Ok(())
    }
}
