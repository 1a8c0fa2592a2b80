//! Where the line runs between what is kept and what is not, found by counting: memory does not grow with the number of
//! items, and what was counted of parts of them adds up.
//!
//! A rank is a whole number that is larger the better an item is. One pass counts ranks by their leading bits, which tells
//! within which of them the line runs; passes over those few alone draw it exactly.

use crate::artifact::Order;
use crate::disk;
use crate::{Error, Result};
use std::path::Path;

/// Ranks that are held at once; more of them are narrowed down by another pass.
const HELD: u64 = 1 << 22;
/// With more groups, ranks are counted by fewer bits at a time.
const MANY_GROUPS: usize = 64;

/// The rank of a finite number. Zeros of either sign are ties.
pub(super) fn rank(value: f64, order: Order) -> u64 {
    let bits = (value + 0.0).to_bits();
    let ascending = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
    match order {
        Order::Highest => ascending,
        Order::Lowest => !ascending,
    }
}

/// How many ranks of each group begin with which bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    bits: u32,
    counts: Vec<u64>,
}

impl Tally {
    /// Nothing yet, of so many groups.
    pub(super) fn new(groups: usize) -> Self {
        let bits = if groups > MANY_GROUPS { 8 } else { 16 };
        Self {
            bits,
            counts: vec![0; groups << bits],
        }
    }

    /// Counts a rank.
    pub(super) fn add(&mut self, group: usize, rank: u64) {
        self.counts[(group << self.bits) + (rank >> (64 - self.bits)) as usize] += 1;
    }

    /// What was counted of `group`, by leading bits.
    fn of(&self, group: usize) -> &[u64] {
        &self.counts[group << self.bits..(group + 1) << self.bits]
    }

    /// How many ranks of `group` were counted.
    pub(super) fn total(&self, group: usize) -> u64 {
        self.of(group).iter().sum()
    }

    /// Writes it as a file.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let bytes: Vec<u8> = self.counts.iter().flat_map(|count| count.to_le_bytes()).collect();
        disk::write(file, bytes).map_err(Error::io("cannot write", file))
    }

    /// Adds what [`Tally::write`] wrote of another part.
    pub(super) fn add_from(&mut self, file: &Path) -> Result<()> {
        let bytes = std::fs::read(file).map_err(Error::io("cannot read", file))?;
        let (counts, rest) = bytes.as_chunks();
        if counts.len() != self.counts.len() || !rest.is_empty() {
            return Err(Error::data("bad_artifact", "a shard's counts are damaged").in_file(file));
        }
        for (count, &more) in self.counts.iter_mut().zip(counts) {
            *count = count.saturating_add(u64::from_le_bytes(more));
        }
        Ok(())
    }
}

/// The line within a group: what ranks above `least` is kept, and of its equals the first `ties`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    least: u64,
    ties: u64,
}

impl Cut {
    const NOTHING: Self = Self {
        least: u64::MAX,
        ties: 0,
    };
    const EVERYTHING: Self = Self {
        least: 0,
        ties: u64::MAX,
    };
}

/// The search for the line within one group.
struct Search {
    /// How many are still to be found among those that begin with `prefix`.
    wanted: u64,
    prefix: u64,
    /// How many begin with it.
    inside: u64,
    cut: Option<Cut>,
}

impl Search {
    /// Adds the next bits to the prefix, by the counts of what follows it; `known` bits are known then.
    fn narrow(&mut self, counts: &[u64], known: u32) {
        for (digit, &count) in counts.iter().enumerate().rev() {
            if count < self.wanted {
                self.wanted -= count;
                continue;
            }
            self.prefix = (self.prefix << counts.len().trailing_zeros()) | digit as u64;
            self.inside = count;
            let least = self.prefix << (64 - known);
            self.cut = if count == self.wanted {
                let ties = u64::MAX;
                Some(Cut { least, ties })
            } else if known == 64 {
                let ties = self.wanted;
                Some(Cut { least, ties })
            } else {
                None
            };
            return;
        }
        self.cut = Some(Cut::EVERYTHING);
    }

    /// Draws the line among the ranks inside.
    fn draw(&mut self, mut inside: Vec<u64>) {
        let last = (self.wanted as usize).min(inside.len()).saturating_sub(1);
        if inside.is_empty() {
            self.cut = Some(Cut::NOTHING);
            return;
        }
        let (better, &mut least, _) = inside.select_nth_unstable_by(last, |a, b| b.cmp(a));
        let above = better.iter().filter(|&&rank| rank > least).count() as u64;
        let ties = self.wanted - above;
        self.cut = Some(Cut { least, ties });
    }
}

/// The lines above which the `wanted` best of each group lie. `tally` counts all ranks; `pass` shows them again, each with
/// its group, as often as it is asked to.
pub(super) fn cuts(
    mut tally: Tally,
    wanted: &[u64],
    mut pass: impl FnMut(&mut dyn FnMut(usize, u64)) -> Result<()>,
) -> Result<Vec<Cut>> {
    let search = |&wanted: &u64| Search {
        wanted,
        prefix: 0,
        inside: 0,
        cut: (wanted == 0).then_some(Cut::NOTHING),
    };
    let mut searches: Vec<Search> = wanted.iter().map(search).collect();
    let mut known = 0;
    loop {
        known += tally.bits;
        let open = searches.iter_mut().enumerate();
        for (group, search) in open.filter(|(_, search)| search.cut.is_none()) {
            search.narrow(tally.of(group), known);
        }
        let open = searches.iter().filter(|search| search.cut.is_none());
        let inside: u64 = open.map(|search| search.inside).sum();
        if inside == 0 {
            break;
        }
        let is_inside = |group: usize, rank: u64| {
            searches[group].cut.is_none() && rank >> (64 - known) == searches[group].prefix
        };
        if inside <= HELD {
            let mut held = vec![Vec::new(); searches.len()];
            pass(&mut |group, rank| {
                if is_inside(group, rank) {
                    held[group].push(rank);
                }
            })?;
            let open = searches.iter_mut().zip(held);
            for (search, held) in open.filter(|(search, _)| search.cut.is_none()) {
                search.draw(held);
            }
            break;
        }
        tally.counts.fill(0);
        pass(&mut |group, rank| {
            if is_inside(group, rank) {
                tally.add(group, rank << known);
            }
        })?;
    }
    let cut = |search: Search| search.cut.unwrap_or(Cut::NOTHING);
    Ok(searches.into_iter().map(cut).collect())
}

/// Says of one item after the other, in their order, which side of the line it lies on.
pub(super) struct Keeping<'a> {
    cuts: &'a [Cut],
    /// How many ties may still be kept.
    left: Vec<u64>,
}

impl<'a> Keeping<'a> {
    pub(super) fn by(cuts: &'a [Cut]) -> Self {
        Self {
            cuts,
            left: cuts.iter().map(|cut| cut.ties).collect(),
        }
    }

    /// Whether the next item is kept.
    pub(super) fn keeps(&mut self, group: usize, rank: u64) -> bool {
        let least = self.cuts[group].least;
        if rank == least && self.left[group] > 0 {
            self.left[group] -= 1;
            return true;
        }
        rank > least
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The best of each group, by cuts.
    fn kept(ranks: &[(usize, u64)], groups: usize, wanted: &[u64]) -> Vec<usize> {
        let mut tally = Tally::new(groups);
        for &(group, rank) in ranks {
            tally.add(group, rank);
        }
        let cuts = cuts(tally, wanted, |visit| {
            for &(group, rank) in ranks {
                visit(group, rank);
            }
            Ok(())
        });
        let cuts = cuts.expect("nothing fails");
        let mut keeping = Keeping::by(&cuts);
        (0..ranks.len())
            .filter(|&at| keeping.keeps(ranks[at].0, ranks[at].1))
            .collect()
    }

    #[test]
    fn more_equals_than_can_be_held_are_told_apart_by_passes() {
        // All agree in the first 48 bits, and most in all.
        let count = HELD + 3;
        let rank = |at: u64| u64::from(at.is_multiple_of(1000)) + (7 << 32);
        let ranks: Vec<(usize, u64)> = (0..count).map(|at| (0, rank(at))).collect();
        let better = count.div_ceil(1000);
        let found = kept(&ranks, 1, &[better + 2]);
        assert_eq!(found.len() as u64, better + 2);
        assert_eq!(found[..4], [0, 1, 2, 1000]);
    }

    #[test]
    fn counts_of_parts_add_up_and_damaged_ones_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("counts");
        let (mut whole, mut part, mut rest) = (Tally::new(2), Tally::new(2), Tally::new(2));
        for at in 0..100_u64 {
            let (group, rank) = ((at % 2) as usize, at << 48);
            whole.add(group, rank);
            if at < 30 { &mut part } else { &mut rest }.add(group, rank);
        }
        part.write(&file).expect("writes");
        rest.add_from(&file).expect("reads");
        assert_eq!(rest, whole);
        std::fs::write(&file, [0; 17]).expect("writes");
        assert_eq!(rest.add_from(&file).expect_err("damaged").code(), "bad_artifact");
    }

    proptest! {
        #[test]
        fn cuts_agree_with_sorting(
            items in proptest::collection::vec((0..3_usize, prop_oneof![0..6_u64, any::<u64>()]), 0..80),
            shares in proptest::collection::vec(0.0..=1.0_f64, 3),
            many: bool,
        ) {
            // Of many groups all but three are empty.
            let groups = if many { MANY_GROUPS + 1 } else { 3 };
            let mut wanted = vec![0; groups];
            let mut expected = Vec::new();
            for group in 0..3 {
                let mut own: Vec<usize> = (0..items.len()).filter(|&at| items[at].0 == group).collect();
                own.sort_by_key(|&at| std::cmp::Reverse(items[at].1));
                wanted[group] = (shares[group] * own.len() as f64) as u64;
                expected.extend_from_slice(&own[..wanted[group] as usize]);
            }
            expected.sort_unstable();
            prop_assert_eq!(kept(&items, groups, &wanted), expected);
        }

        #[test]
        fn ranks_have_the_order_of_numbers(a in -1e9..1e9_f64, b in prop_oneof![-1e9..1e9_f64, Just(0.0), Just(-0.0)]) {
            let order = a.partial_cmp(&b).expect("numbers");
            prop_assert_eq!(rank(a, Order::Highest).cmp(&rank(b, Order::Highest)), order);
            prop_assert_eq!(rank(b, Order::Lowest).cmp(&rank(a, Order::Lowest)), order);
            prop_assert_eq!(rank(0.0, Order::Highest), rank(-0.0, Order::Highest));
        }
    }
}
