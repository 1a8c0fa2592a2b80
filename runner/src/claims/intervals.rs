//! 95 % intervals of a mean difference.

use lyceum_components::random::Stream;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 10_000;

/// A mean and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Student's t over paired differences: `mean ± t(0.975, n − 1) · s / √n`. None for fewer than two.
pub fn student_t(differences: &[f64]) -> Option<Interval> {
    let n = differences.len() as f64;
    if n < 2.0 {
        return None;
    }
    let mean = differences.iter().sum::<f64>() / n;
    let variance = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let quantile = StudentsT::new(0.0, 1.0, n - 1.0).ok()?.inverse_cdf(0.975);
    let half = quantile * (variance / n).sqrt();
    Some(Interval {
        mean,
        low: mean - half,
        high: mean + half,
    })
}

/// A percentile bootstrap of the mean of paired differences (10,000 resamples from their own stream). None if there are
/// no differences.
pub fn paired_bootstrap(differences: &[f64], seed: u64) -> Option<Interval> {
    let n = differences.len();
    if n == 0 {
        return None;
    }
    let stream = Stream::new(seed, "claims/bootstrap");
    let mut means: Vec<f64> = (0..RESAMPLES as u64)
        .map(|resample| {
            let mut stream = stream.at(resample);
            (0..n)
                .map(|_| differences[stream.below(n as u64) as usize])
                .sum::<f64>()
                / n as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |quantile: f64| means[((RESAMPLES - 1) as f64 * quantile).round() as usize];
    let mean = differences.iter().sum::<f64>() / n as f64;
    Some(Interval {
        mean,
        low: at(0.025),
        high: at(0.975),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn student_t_agrees_with_the_tables() {
        // t(0.975, 2) = 4.302653, t(0.975, 4) = 2.776445 (standard tables).
        let three = student_t(&[1.0, 2.0, 3.0]).unwrap();
        assert!((three.high - (2.0 + 4.302_653 / 3f64.sqrt())).abs() < 1e-5);
        let five = student_t(&[-1.0, 0.0, 1.0, 0.0, 0.0]).unwrap();
        let s = (2.0f64 / 4.0).sqrt();
        assert!((five.high - 2.776_445 * s / 5f64.sqrt()).abs() < 1e-5);
        assert_eq!(student_t(&[1.0]), None);
    }

    #[test]
    fn the_bootstrap_is_repeatable_and_about_as_wide_as_the_normal_interval() {
        let mut stream = Stream::new(3, "test");
        let values: Vec<f64> = (0..400).map(|_| 0.3 + stream.normal()).collect();
        let interval = paired_bootstrap(&values, 1).unwrap();
        assert_eq!(paired_bootstrap(&values, 1), Some(interval));
        let width = interval.high - interval.low;
        assert!((width - 2.0 * 1.96 / 20.0).abs() < 0.03, "{width}");
        assert_eq!(paired_bootstrap(&[], 1), None);
    }

    #[test]
    fn the_bootstrap_covers_the_truth_about_as_often_as_it_says() {
        let mut stream = Stream::new(5, "test");
        let covered = (0..60)
            .filter(|seed| {
                let values: Vec<f64> = (0..60).map(|_| stream.normal()).collect();
                let interval = paired_bootstrap(&values, *seed).unwrap();
                interval.low <= 0.0 && 0.0 <= interval.high
            })
            .count();
        assert!((50..=60).contains(&covered), "{covered} of 60");
    }
}
