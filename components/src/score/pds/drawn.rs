//! Which blocks the solver scores.

use crate::random::Stream;
use crate::tokens::Blocks;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::ops::Range;

/// Positions of `count` distinct blocks, ascending, and how many of them the training reads too: blocks behind the
/// `trained` first ones are preferred.
pub(super) fn draw(blocks: &Blocks, trained: u64, count: u64, stream: &Stream) -> Result<(Vec<u64>, usize)> {
    let all = blocks.len();
    if trained > all {
        let message = format!("the training reads {trained} blocks; the corpus has {all}");
        return Err(Error::data("not_enough_items", message).hint("lower `steps` or `optim.batch_size`"));
    }
    if count > all {
        let message = format!("{count} blocks are to be drawn; the corpus has {all}");
        return Err(Error::data("proxy_num_exceeds_corpus", message).hint("lower `proxy`"));
    }
    let first = if all - trained >= count { trained } else { 0 };
    let drawn = distinct(first..all, count, stream);
    // A view may repeat a block; a score speaks of it once.
    let mut seen = BTreeSet::new();
    let drawn: Vec<u64> = drawn
        .into_iter()
        .filter(|&position| seen.insert(blocks.get(position).index))
        .collect();
    let overlap = drawn.iter().filter(|&&position| position < trained).count();
    Ok((drawn, overlap))
}

/// `count` distinct numbers of `range`, ascending, each set equally likely (Floyd's algorithm: one draw a number).
fn distinct(range: Range<u64>, count: u64, stream: &Stream) -> BTreeSet<u64> {
    let mut stream = stream.clone();
    let mut drawn = BTreeSet::new();
    let size = range.end - range.start;
    for last in size - count..size {
        let candidate = range.start + stream.below(last + 1);
        if !drawn.insert(candidate) {
            drawn.insert(range.start + last);
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_drawn_are_distinct_and_every_one_can_come() {
        let all = distinct(10..15, 5, &Stream::new(0, "proxy"));
        assert_eq!(all.into_iter().collect::<Vec<_>>(), [10, 11, 12, 13, 14]);
        let mut counts = [0_i32; 5];
        for seed in 0..2000 {
            let drawn = distinct(0..5, 2, &Stream::new(seed, "proxy"));
            assert_eq!(drawn.len(), 2);
            for i in drawn {
                counts[i as usize] += 1;
            }
        }
        assert!(counts.iter().all(|count| (count - 800).abs() < 100), "{counts:?}");
    }
}
