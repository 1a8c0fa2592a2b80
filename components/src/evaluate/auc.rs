//! How well scores separate good items from bad.

/// The area under the ROC curve: the chance that a good item outranks a bad one, ties counting half. `good` is each
/// item's good share: an item of mixed documents stands on both sides, by its shares.
///
/// With it comes every item's part: the area plus the item's two placement values centred on it, so that the parts
/// average to the area and their spread is DeLong's. None where there are no good or no bad items.
pub fn auc(scores: &[f64], good: &[f64]) -> Option<(f64, Vec<f64>)> {
    let n = scores.len();
    let all_good: f64 = good.iter().sum();
    let all_bad: f64 = good.iter().map(|g| 1.0 - g).sum();
    if all_good <= 0.0 || all_bad <= 0.0 {
        return None;
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));

    // Over runs of equal scores: what share of the bad lies below an item, and of the good above it, ties half.
    let (mut over_bad, mut under_good) = (vec![0.0; n], vec![0.0; n]);
    let (mut good_below, mut bad_below) = (0.0, 0.0);
    for tie in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let good_here: f64 = tie.iter().map(|&i| good[i]).sum();
        let bad_here: f64 = tie.iter().map(|&i| 1.0 - good[i]).sum();
        for &i in tie {
            over_bad[i] = (bad_below + bad_here / 2.0) / all_bad;
            under_good[i] = (all_good - good_below - good_here / 2.0) / all_good;
        }
        good_below += good_here;
        bad_below += bad_here;
    }
    let area = over_bad.iter().zip(good).map(|(p, g)| p * g).sum::<f64>() / all_good;
    let (per_good, per_bad) = (n as f64 / all_good, n as f64 / all_bad);
    let part = |i: usize| {
        let as_good = per_good * good[i] * (over_bad[i] - area);
        let as_bad = per_bad * (1.0 - good[i]) * (under_good[i] - area);
        area + as_good + as_bad
    };
    Some((area, (0..n).map(part).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    fn by_pairs(scores: &[f64], good: &[f64]) -> f64 {
        let (mut won, mut pairs) = (0.0, 0.0);
        for (a, g) in scores.iter().zip(good) {
            for (b, h) in scores.iter().zip(good) {
                let weight = g * (1.0 - h);
                pairs += weight;
                won += weight * if a > b { 1.0 } else { 0.0 };
                won += weight * if a == b { 0.5 } else { 0.0 };
            }
        }
        won / pairs
    }

    #[test]
    fn extremes_and_ties() {
        let good = [1.0, 1.0, 0.0, 0.0];
        let area = |scores: &[f64]| auc(scores, &good).expect("both sides").0;
        assert_eq!(area(&[4.0, 3.0, 2.0, 1.0]), 1.0);
        assert_eq!(area(&[1.0, 2.0, 3.0, 4.0]), 0.0);
        assert_eq!(area(&[7.0; 4]), 0.5);
        assert_eq!(area(&[2.0, 1.0, 1.0, 0.0]), 0.875);
        assert!(auc(&[1.0, 2.0], &[1.0, 1.0]).is_none());
        assert!(auc(&[], &[]).is_none());
    }

    #[test]
    fn it_is_the_count_over_pairs_and_parts_average_to_it() {
        let mut stream = Stream::new(2, "auc");
        let scores: Vec<f64> = (0..80).map(|_| stream.below(20) as f64).collect();
        let good: Vec<f64> = (0..80).map(|_| stream.below(3) as f64 / 2.0).collect();
        let (area, parts) = auc(&scores, &good).expect("both sides");
        assert!((area - by_pairs(&scores, &good)).abs() < 1e-12);
        assert!((parts.iter().sum::<f64>() / 80.0 - area).abs() < 1e-12);
    }

    #[test]
    fn the_spread_of_the_parts_is_delongs() {
        let mut stream = Stream::new(4, "auc");
        let good: Vec<f64> = (0..60).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
        let scores: Vec<f64> = good.iter().map(|g| g + stream.normal()).collect();
        let (area, parts) = auc(&scores, &good).expect("both sides");
        let over = |a: f64, b: f64| if a > b { 1.0 } else { 0.0 };
        let (good_at, bad_at): (Vec<usize>, Vec<usize>) = (0..60).partition(|&i| good[i] == 1.0);
        let placement = |i: &usize, others: &[usize], sign: f64| {
            let won: f64 = others
                .iter()
                .map(|&j| over(sign * scores[*i], sign * scores[j]))
                .sum();
            (won / others.len() as f64 - area).powi(2)
        };
        let of_good: f64 = good_at.iter().map(|i| placement(i, &bad_at, 1.0)).sum();
        let of_bad: f64 = bad_at.iter().map(|i| placement(i, &good_at, -1.0)).sum();
        let delong = of_good / (good_at.len() as f64).powi(2) + of_bad / (bad_at.len() as f64).powi(2);
        let ours = crate::table::bootstrap_error(&parts).expect("many");
        assert!((ours - delong.sqrt()).abs() < 1e-12, "{ours} {}", delong.sqrt());
    }
}
