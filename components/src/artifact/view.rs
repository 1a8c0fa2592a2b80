//! Views: an artifact seen through selections.
//!
//! A selection may be used wherever its source is. Following the headers' sources down to the tokens or the corpus,
//! indices intersect and weights multiply; the outermost selection gives the order.

use super::{Artifact, Item, Kind, Selection};
use crate::{Context, Error, Result};
use std::collections::BTreeMap;

/// How many items may come of two selections whatever their lengths …
const MANY: usize = 1 << 20;
/// … and beyond that, for each of theirs.
const REPEATS: usize = 16;
/// Longer chains of selections lead nowhere.
const LONGEST: u32 = 64;

/// What lies under a chain of selections, and what the chain leaves of it.
#[derive(Debug)]
pub struct View {
    /// The tokens or the corpus.
    pub source: Artifact,
    /// The blocks left, in order, with their weights; none if no selection was of blocks.
    pub blocks: Option<Vec<(u64, f32)>>,
    /// The documents left, in order, with their weights; none if no selection was of documents.
    pub documents: Option<Vec<(u64, f32)>>,
}

impl View {
    /// Follows `artifact` down to what is no selection. `fingerprint_mismatch`: what lies there now is not what was
    /// selected from.
    pub fn open(artifact: &Artifact, context: &Context) -> Result<Self> {
        let mut view = Self {
            source: artifact.clone(),
            blocks: None,
            documents: None,
        };
        let mut length = 0;
        while view.source.header.kind == Kind::Selection {
            length += 1;
            if length > LONGEST {
                return Err(damaged(&view.source, "is of itself"));
            }
            let selection = Selection::read(&view.source)?;
            let entries = selection.index.into_iter().zip(selection.weight).collect();
            let slot = match selection.details.item {
                Item::Block => &mut view.blocks,
                Item::Document => &mut view.documents,
            };
            *slot = Some(match slot.take() {
                None => entries,
                Some(outer) => compose(&outer, &entries)
                    .ok_or_else(|| damaged(&view.source, "repeats the same items too often"))?,
            });
            view.source = below(&view.source, context)?;
        }
        Ok(view)
    }
}

/// The artifact a selection was made from.
fn below(selection: &Artifact, context: &Context) -> Result<Artifact> {
    let source = selection.header.source.as_ref();
    let source = source.ok_or_else(|| damaged(selection, "does not say what it is of"))?;
    let mut found = context.open_source(source)?;
    found.label.clone_from(&selection.label);
    Ok(found)
}

fn damaged(selection: &Artifact, what: &str) -> Error {
    Error::data(
        "bad_artifact",
        format!("the selection `{}` {what}", selection.label),
    )
    .in_file(&selection.path)
}

/// `outer` of `inner`: what is in both, in the order of `outer`, weights multiplied. An item repeated in both is there
/// as often as the product says; none if that is out of all proportion.
fn compose(outer: &[(u64, f32)], inner: &[(u64, f32)]) -> Option<Vec<(u64, f32)>> {
    let mut weights: BTreeMap<u64, Vec<f32>> = BTreeMap::new();
    for &(index, weight) in inner {
        weights.entry(index).or_default().push(weight);
    }
    let found = |index: &u64| weights.get(index).map_or(&[][..], Vec::as_slice);
    let length: usize = outer.iter().map(|(index, _)| found(index).len()).sum();
    let both = |&(index, weight): &(u64, f32)| found(&index).iter().map(move |w| (index, weight * w));
    (length <= MANY + REPEATS * (outer.len() + inner.len())).then(|| outer.iter().flat_map(both).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_intersect_in_the_outer_order_and_multiply_weights() {
        let outer = [(4, 0.5), (1, 1.0), (9, 2.0)];
        let inner = [(1, 3.0), (2, 1.0), (4, 0.5), (4, 1.0)];
        let both = compose(&outer, &inner).expect("few");
        assert_eq!(both, [(4, 0.25), (4, 0.5), (1, 3.0)]);
    }

    #[test]
    fn repetitions_cannot_multiply_without_end() {
        let many = vec![(7, 1.0); 10_000];
        assert_eq!(compose(&many, &many), None);
    }
}
