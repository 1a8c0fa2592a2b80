//! Rank correlation.

/// Spearman's correlation: Pearson's of the ranks, equal values sharing the mean of theirs. NaN where either side has no
/// spread.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = f64::midpoint(a.len() as f64, 1.0);
    let product =
        |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum() };
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

/// Ranks from 1.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    while first < order.len() {
        let equal = |&&i: &&usize| values[i] == values[order[first]];
        let count = order[first..].iter().take_while(equal).count().max(1);
        for &i in &order[first..first + count] {
            ranks[i] = first as f64 + f64::midpoint(count as f64, 1.0);
        }
        first += count;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
    }

    #[test]
    fn order_is_all_that_counts() {
        assert!((spearman(&[1.0, 2.0, 9.0], &[-5.0, 0.0, 0.1]) - 1.0).abs() < 1e-15);
        assert!((spearman(&[1.0, 2.0, 9.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-15);
        // By hand: ranks 1 2 3 4 against 2 1 4 3, sum of products 3 of 5.
        assert!((spearman(&[1.0, 2.0, 3.0, 4.0], &[2.0, 1.0, 4.0, 3.0]) - 0.6).abs() < 1e-15);
        assert!(spearman(&[1.0, 1.0], &[1.0, 2.0]).is_nan());
    }
}
