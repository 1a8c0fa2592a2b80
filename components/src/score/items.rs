//! The items of packed blocks: blocks, or the documents whose parts lie in them.

use crate::artifact::{Item, Segment};
use crate::tokens::{Block, Blocks};
use std::ops::Range;

/// Items in ascending order, each with the places in a view of blocks at which its tokens lie.
#[derive(Debug)]
pub(super) struct Items {
    item: Item,
    /// `(item, position)`: of an item in the order of its blocks, each block once.
    places: Vec<(u64, u64)>,
    /// Where the places of each item begin; one more entry than items.
    starts: Vec<usize>,
}

impl Items {
    /// The items of `blocks`; one that a view repeats is there once.
    pub(super) fn of(blocks: &Blocks, item: Item) -> Self {
        // With the block's number between, so that repetitions lie side by side.
        let mut places: Vec<(u64, u64, u64)> = Vec::new();
        for position in 0..blocks.len() {
            let block = blocks.index(position);
            match item {
                Item::Block => places.push((block, block, position)),
                Item::Document => {
                    let segments = blocks.segments(block).into_iter();
                    places.extend(segments.map(|segment| (segment.document, block, position)));
                }
            }
        }
        places.sort_unstable();
        places.dedup_by_key(|&mut (item, block, _)| (item, block));
        let begins = |&at: &usize| at == 0 || places[at].0 != places[at - 1].0;
        let mut starts: Vec<usize> = (0..places.len()).filter(begins).collect();
        starts.push(places.len());
        Self {
            item,
            places: places.into_iter().map(|(item, _, at)| (item, at)).collect(),
            starts,
        }
    }

    /// Number of items.
    pub(super) fn len(&self) -> u64 {
        self.starts.len() as u64 - 1
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the item at `place`, and the positions of its blocks.
    pub(super) fn get(&self, place: u64) -> (u64, impl Iterator<Item = u64>) {
        let place = place as usize;
        let places = &self.places[self.starts[place]..self.starts[place + 1]];
        (places[0].0, places.iter().map(|&(_, position)| position))
    }

    /// The stretches of `block` that belong to the item `index`, as ranges of its ids.
    pub(super) fn stretches(&self, index: u64, block: &Block, segments: &[Segment]) -> Vec<Range<usize>> {
        let ours = |document| self.item == Item::Block || document == index;
        let stretches = stretches(block.ids.len(), segments).filter(|&(document, _)| ours(document));
        stretches.map(|(_, ids)| ids).collect()
    }
}

/// Where the documents of a block of so many ids lie in it. What stands before the first (a beginning-of-sequence token)
/// belongs to none.
pub(super) fn stretches(
    length: usize,
    segments: &[Segment],
) -> impl Iterator<Item = (u64, Range<usize>)> + '_ {
    let covered: usize = segments.iter().map(|segment| segment.tokens as usize).sum();
    let mut from = length.saturating_sub(covered);
    segments.iter().map(move |segment| {
        let ids = from..(from + segment.tokens as usize).min(length);
        from = ids.end;
        (segment.document, ids)
    })
}

/// The positions whose labels are these ids: position t speaks of id t + 1, and the first id of a block is no label.
pub(super) fn label_positions(ids: &Range<usize>) -> Range<usize> {
    let from = ids.start.max(1);
    from - 1..ids.end.max(from) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    #[allow(clippy::single_range_in_vec_init)] // Ranges are what is meant.
    fn documents_are_gathered_from_their_blocks() {
        let bench = Bench::new();
        let corpus = bench.corpus("pool", "quality", &["good"; 3]);
        let blocks: [crate::testing::BlockOf; 3] = [
            (&[9, 3, 4, 0], &[(2, 3)]),
            (&[5, 6, 7, 0, 8], &[(0, 4), (2, 1)]),
            (&[1, 2], &[(1, 2)]),
        ];
        let tokens = bench.tokens("tokens", &corpus, &blocks);
        let blocks = Blocks::open(&tokens, &bench.context("scores")).expect("opens");
        let items = Items::of(&blocks, Item::Document);
        let all: Vec<(u64, Vec<u64>)> = (0..items.len())
            .map(|place| {
                let (index, positions) = items.get(place);
                (index, positions.collect())
            })
            .collect();
        assert_eq!(all, [(0, vec![1]), (1, vec![2]), (2, vec![0, 1])]);
        let of = |document, position| {
            let block = blocks.get(position);
            items.stretches(document, &block, &blocks.segments(block.index))
        };
        assert_eq!(
            (of(2, 0), of(2, 1), of(0, 1)),
            (vec![1..4], vec![4..5], vec![0..4])
        );
        assert_eq!(label_positions(&(0..4)), 0..3);
        assert_eq!(label_positions(&(4..5)), 3..4);
        assert_eq!(label_positions(&(0..0)), 0..0);
    }
}
