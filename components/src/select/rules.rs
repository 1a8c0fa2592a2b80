//! The rules of choosing by score (difference sampling, sheet 2.4): how many, which, with what noise, mixed with what.
//!
//! Positions are row numbers of the scores; rows lie in the source's order, so "lower position" is "lower index".

use super::cut::{Keeping, Tally, cuts, rank};
use crate::artifact::Order;
use crate::{Error, Result};

/// How many of `items` a ratio keeps: trunc(ratio · items), the product in double precision (0.29 of 100 are 28).
///
/// Errors: `empty_input`, `ratio_out_of_range` outside (0, 1], `empty_selection` where nothing would be kept.
pub fn keep_count(ratio: f64, items: usize) -> Result<usize> {
    if !(ratio > 0.0 && ratio <= 1.0) {
        return Err(Error::data(
            "ratio_out_of_range",
            format!("`keep` is {ratio}; expected more than 0 and at most 1"),
        ));
    }
    if items == 0 {
        return Err(Error::data("empty_input", "there are no scores to choose by"));
    }
    match (ratio * items as f64) as usize {
        0 => Err(Error::data(
            "empty_selection",
            format!("keeping {ratio} of {items} items leaves none"),
        )
        .hint("raise `keep`, or score more items")),
        k => Ok(k),
    }
}

/// Refuses scores that are not numbers (`non_finite_score`), naming the item by its number in the source.
pub fn check_finite(scores: &[f64], index: &[u64]) -> Result<()> {
    match scores.iter().position(|score| !score.is_finite()) {
        None => Ok(()),
        Some(at) => Err(non_finite(index[at], scores[at])),
    }
}

/// The mistake of a score that is no finite number.
pub(super) fn non_finite(item: u64, score: f64) -> Error {
    Error::data("non_finite_score", format!("the score of item {item} is {score}")).at(format!("item {item}"))
}

/// Positions of the `k` best of finite `scores`, ascending. Of equal scores the lower position is taken first.
pub fn top_k(scores: &[f64], k: usize, order: Order) -> Vec<usize> {
    let ranks = || scores.iter().map(|&score| rank(score, order));
    let mut tally = Tally::new(1);
    ranks().for_each(|rank| tally.add(0, rank));
    let cuts = cuts(tally, &[k as u64], |visit| {
        ranks().for_each(|rank| visit(0, rank));
        Ok(())
    });
    let cuts = cuts.expect("numbers in memory can be passed over again");
    let mut keeping = Keeping::by(&cuts);
    let kept = ranks().enumerate().filter(|&(_, rank)| keeping.keeps(0, rank));
    kept.map(|(at, _)| at).collect()
}

/// A key of which the k largest are a draw without replacement, with probabilities that go with exp(score/τ):
/// score/τ − ln(−ln u), `uniform` being the item's own number of (0, 1) (Gumbel top-k).
pub fn gumbel_key(score: f64, tau: f64, uniform: f64) -> f64 {
    score / tau - (-uniform.ln()).ln()
}

/// Of `total` items, how many come from the best and how many from elsewhere: the first is trunc(fraction · total).
pub fn mixture_counts(refined_fraction: f64, total: usize) -> (usize, usize) {
    let refined = (refined_fraction * total as f64) as usize;
    (refined, total - refined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_ratio_keeps_everything_once() {
        assert_eq!(keep_count(1.0, 7).expect("all"), 7);
        assert_eq!(top_k(&[0.5; 7], 7, Order::Highest), (0..7).collect::<Vec<_>>());
    }

    #[test]
    fn zeros_of_either_sign_are_ties() {
        assert_eq!(top_k(&[-0.0, 0.0, -0.0], 2, Order::Highest), [0, 1]);
        assert_eq!(top_k(&[0.0, -0.0, 0.0], 2, Order::Lowest), [0, 1]);
    }

    #[test]
    fn a_small_temperature_keeps_the_order_and_a_large_one_forgets_it() {
        let scores: Vec<f64> = (0..50).map(f64::from).collect();
        let mut stream = crate::random::Stream::new(1, "gumbel");
        let uniforms: Vec<f64> = (0..50).map(|_| stream.uniform()).collect();
        let keys = |tau| {
            let pairs = scores.iter().zip(&uniforms);
            pairs
                .map(|(score, u)| gumbel_key(*score, tau, *u))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            top_k(&keys(1e-3), 10, Order::Highest),
            (40..50).collect::<Vec<_>>()
        );
        assert!(top_k(&keys(1e6), 10, Order::Highest)[0] < 20);
    }

    #[test]
    fn gumbel_draws_follow_the_softmax() {
        // One draw of two items whose scores differ by ln 3 at τ = 1 takes the better in three of four.
        let stream = crate::random::Stream::new(5, "gumbel");
        let better = (0..20_000).filter(|&i| {
            let mut u = stream.at(i);
            let keys = [0.0, 3.0_f64.ln()].map(|score| gumbel_key(score, 1.0, u.uniform()));
            top_k(&keys, 1, Order::Highest) == [1]
        });
        let share = better.count() as f64 / 20_000.0;
        assert!((share - 0.75).abs() < 0.01, "{share}");
    }

    proptest! {
        #[test]
        fn choosing_agrees_with_sorting_and_is_nested(
            scores in proptest::collection::vec((-5..5_i32).prop_map(f64::from), 1..60),
            cut in 0.0..1.0_f64,
            lowest: bool,
        ) {
            let order = if lowest { Order::Lowest } else { Order::Highest };
            let sign = if lowest { 1.0 } else { -1.0 };
            let k = (cut * scores.len() as f64) as usize;
            let mut sorted: Vec<usize> = (0..scores.len()).collect();
            sorted.sort_by(|&a, &b| (sign * scores[a]).total_cmp(&(sign * scores[b])).then(a.cmp(&b)));
            let mut expected = sorted[..k].to_vec();
            expected.sort_unstable();
            let kept = top_k(&scores, k, order);
            prop_assert_eq!(&kept, &expected);
            let more = top_k(&scores, k + 1, order);
            prop_assert!(kept.iter().all(|i| more.contains(i)));
        }
    }
}
