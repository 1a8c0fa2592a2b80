//! Whether a number is near enough to its baseline.

use super::baseline::{MetricEntry, Tolerance, ToleranceKind};
use crate::report::measurements::Measurement;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Whether a measured number is as the baseline says, or how it is not.
pub(super) fn agree(entry: &MetricEntry, row: &Measurement) -> Result<(), String> {
    let (base, value) = (*entry.value.get_ref(), row.value);
    if base.to_bits() == value.to_bits() || (base.is_nan() && value.is_nan()) {
        return Ok(());
    }
    let tolerance = entry.tolerance.get_ref();
    let off = format!("{value}, the baseline says {base}");
    if !base.is_finite() || !value.is_finite() {
        return Err(off);
    }
    let within = |distance: f64| {
        if (value - base).abs() <= distance {
            Ok(())
        } else {
            let (low, high) = (base - distance, base + distance);
            Err(format!("{off} ({} allows {low} to {high})", words(tolerance)))
        }
    };
    match (tolerance.kind, tolerance.value) {
        (ToleranceKind::Exact, _) => Err(format!("{off} (exact)")),
        (ToleranceKind::Absolute, distance) => within(distance.unwrap_or(0.0)),
        (ToleranceKind::Relative, share) => within(share.unwrap_or(0.0) * base.abs()),
        (ToleranceKind::Interval, _) => {
            let (Some(old_error), Some(old_n)) = (entry.standard_error, entry.n) else {
                return Err("the entry lacks `standard_error` or `n`: `--update` adds them".into());
            };
            let Some(error) = row.standard_error else {
                return Err("the measurement has no standard error: choose another tolerance".into());
            };
            let half = half_width((old_error, old_n), (error, row.n));
            let difference = value - base;
            if difference.abs() <= half {
                return Ok(());
            }
            let (low, high) = (difference - half, difference + half);
            Err(format!(
                "{off} (95 % interval of the difference: {low:+.4} to {high:+.4})"
            ))
        }
    }
}

/// Half the 95 % interval of the difference of two means, each by its standard error and number (Welch).
fn half_width(a: (f64, u64), b: (f64, u64)) -> f64 {
    let variance = a.0.powi(2) + b.0.powi(2);
    let share = |(error, n): (f64, u64)| error.powi(4) / (n.saturating_sub(1).max(1)) as f64;
    let freedom = variance.powi(2) / (share(a) + share(b));
    let quantile = StudentsT::new(0.0, 1.0, freedom).map_or(1.96, |t| t.inverse_cdf(0.975));
    quantile * variance.sqrt()
}

/// A tolerance for messages, as in `relative 0.001`.
pub(super) fn words(tolerance: &Tolerance) -> String {
    match (tolerance.kind, tolerance.value) {
        (ToleranceKind::Exact, _) => "exact".into(),
        (ToleranceKind::Absolute, value) => format!("absolute {}", value.unwrap_or(0.0)),
        (ToleranceKind::Relative, value) => format!("relative {}", value.unwrap_or(0.0)),
        (ToleranceKind::Interval, _) => "interval".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: f64, kind: ToleranceKind, tolerance: Option<f64>) -> MetricEntry {
        let tolerance = Tolerance {
            kind,
            value: tolerance,
        };
        MetricEntry {
            metric: "q.loss".into(),
            variant: "m".into(),
            group: None,
            value: toml::Spanned::new(0..0, value),
            standard_error: Some(0.1),
            n: Some(100),
            tolerance: toml::Spanned::new(0..0, tolerance),
            machine: None,
        }
    }

    fn row(value: f64, standard_error: Option<f64>) -> Measurement {
        Measurement {
            step: "q".into(),
            variant: "m".into(),
            metric: "loss".into(),
            group: None,
            value,
            n: 100,
            standard_error,
            instances: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn every_kind_of_tolerance_has_an_inside_and_an_outside() {
        let fits = |entry: &MetricEntry, value: f64| agree(entry, &row(value, Some(0.1))).is_ok();
        let exact = entry(2.0, ToleranceKind::Exact, None);
        assert!(fits(&exact, 2.0) && !fits(&exact, 2.0 + f64::EPSILON * 2.0));
        let absolute = entry(2.0, ToleranceKind::Absolute, Some(0.5));
        assert!(fits(&absolute, 1.5) && fits(&absolute, 2.5) && !fits(&absolute, 2.6));
        let relative = entry(-2.0, ToleranceKind::Relative, Some(0.1));
        assert!(fits(&relative, -2.15) && !fits(&relative, -2.25) && !fits(&relative, 2.0));
        // Two standard errors of 0.1 with 100 instances each: half the interval is 1.972 · 0.1414 = 0.279.
        let interval = entry(2.0, ToleranceKind::Interval, None);
        assert!(fits(&interval, 2.27) && !fits(&interval, 2.29));
        assert!(agree(&interval, &row(2.1, None)).is_err());
    }

    #[test]
    fn what_is_not_a_number_agrees_with_nothing_but_itself() {
        let relative = |value| entry(value, ToleranceKind::Relative, Some(0.1));
        assert!(agree(&relative(2.0), &row(f64::NAN, None)).is_err());
        assert!(agree(&relative(f64::NAN), &row(2.0, None)).is_err());
        assert!(agree(&relative(f64::NAN), &row(f64::NAN, None)).is_ok());
        assert!(agree(&relative(2.0), &row(f64::INFINITY, None)).is_err());
        assert!(agree(&relative(f64::INFINITY), &row(2.0, None)).is_err());
    }

    #[test]
    fn welch_agrees_with_the_tables() {
        // t(0.975, 198) = 1.97202 (standard tables).
        assert!((half_width((0.1, 100), (0.1, 100)) - 1.972_02 * 0.02f64.sqrt()).abs() < 1e-5);
    }
}
