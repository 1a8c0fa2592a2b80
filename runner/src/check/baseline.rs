//! What a baseline file says.

use crate::execute::record::Outcome;
use crate::spec::simplify;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// What an experiment came to when its result was last accepted: `NAME.baseline.toml` beside `NAME.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Name of the experiment.
    #[schemars(with = "String")]
    pub experiment: Spanned<String>,
    /// Version of the program that last changed this file.
    pub lyceum: String,
    /// Numbers that the experiment measures.
    #[serde(default)]
    pub metrics: Vec<MetricEntry>,
    /// What its claims came to.
    #[serde(default)]
    pub claims: Vec<ClaimEntry>,
    /// How fast its steps were, in terms of the calibration loop.
    #[serde(default)]
    pub performance: Vec<PerformanceEntry>,
}

/// One number: `[[metrics]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricEntry {
    /// Step and metric, as in `quality.loss`.
    pub metric: String,
    /// What was measured, as in `student[miniplm]`.
    pub variant: String,
    /// The part it was measured on; the whole where it is left out.
    pub group: Option<String>,
    /// The value.
    #[schemars(with = "f64")]
    pub value: Spanned<f64>,
    /// Its standard error, for the tolerance `interval`.
    pub standard_error: Option<f64>,
    /// The number of instances it is over, for the tolerance `interval`.
    pub n: Option<u64>,
    /// How far a measured value may be off.
    #[schemars(with = "Tolerance")]
    pub tolerance: Spanned<Tolerance>,
    /// The class of machines it is for, as in `x86_64-avx512`; every machine where it is left out.
    pub machine: Option<String>,
}

/// How far a measured value may be off.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// What the tolerance is a number of.
    pub kind: ToleranceKind,
    /// That number, for `absolute` and `relative`.
    #[schemars(range(min = 0.0))]
    pub value: Option<f64>,
}

/// What a tolerance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToleranceKind {
    /// The same bits. Give `machine` too: sums are ordered differently on other processors.
    Exact,
    /// At most `value` away.
    Absolute,
    /// At most `value` times the baseline away.
    Relative,
    /// The 95 % interval of the difference holds 0, by both standard errors.
    Interval,
}

/// What a claim came to: `[[claims]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimEntry {
    /// The claim's name.
    pub name: String,
    /// Its outcome; a worse one is short.
    #[serde(with = "outcome_words")]
    #[schemars(with = "OutcomeWords")]
    pub outcome: Spanned<Outcome>,
}

/// How fast a step was: `[[performance]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerformanceEntry {
    /// The step with its variant, as in `student[miniplm]`.
    pub step: String,
    /// What was measured.
    pub measure: Measure,
    /// Tokens for each calibration loop (`tokens_per_second`), or loops that the step took (`wall_seconds`).
    #[schemars(with = "f64", range(min = 0.0))]
    pub ratio: Spanned<f64>,
    /// How much slower it may be: 0.5 allows half as long again.
    #[schemars(with = "f64", range(min = 0.0))]
    pub tolerance: Spanned<f64>,
}

/// A measure of speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Tokens trained on or scored in a second.
    TokensPerSecond,
    /// Seconds from start to end.
    WallSeconds,
}

impl Measure {
    /// The word in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokensPerSecond => "tokens_per_second",
            Self::WallSeconds => "wall_seconds",
        }
    }
}

/// Outcomes as reports write them.
#[derive(Deserialize, JsonSchema)]
enum OutcomeWords {
    #[serde(rename = "held")]
    Held,
    #[serde(rename = "not held")]
    NotHeld,
    #[serde(rename = "not decided")]
    NotDecided,
}

mod outcome_words {
    use super::{Outcome, OutcomeWords};
    use serde::{Deserialize, Deserializer};
    use toml::Spanned;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Spanned<Outcome>, D::Error> {
        let words = Spanned::<OutcomeWords>::deserialize(from)?;
        let span = words.span();
        let outcome = match words.into_inner() {
            OutcomeWords::Held => Outcome::Held,
            OutcomeWords::NotHeld => Outcome::NotHeld,
            OutcomeWords::NotDecided => Outcome::NotDecided,
        };
        Ok(Spanned::new(span, outcome))
    }
}

impl Tolerance {
    /// For a number over `n` items that no one has given a tolerance: a thousandth of it, which is more than another
    /// processor changes in a short training and less than a reader of a table would notice. Between 0 and 1 it may be a
    /// share, of which two items may change sides.
    pub(super) fn default_of(value: f64, n: u64) -> Self {
        if value.abs() > 1.0 {
            return Self {
                kind: ToleranceKind::Relative,
                value: Some(1e-3),
            };
        }
        let items = if n == 0 { 0.0 } else { 2.0 / n as f64 };
        Self {
            kind: ToleranceKind::Absolute,
            value: Some(two_digits(items.clamp(1e-4, 0.05))),
        }
    }
}

/// A number as people write tolerances, rounded up.
fn two_digits(value: f64) -> f64 {
    let unit = 10f64.powf(value.log10().floor() - 1.0);
    let rounded = (value / unit - 1e-9).ceil() * unit;
    format!("{rounded:.1e}").parse().unwrap_or(rounded)
}

impl MetricEntry {
    /// What tells it from the other numbers, but for the machine.
    pub(super) fn key(&self) -> (&str, &str, Option<&str>) {
        (&self.metric, &self.variant, self.group.as_deref())
    }

    /// For messages, as in `quality.loss of student[miniplm]`.
    pub(super) fn name(&self) -> String {
        name(&self.metric, &self.variant, self.group.as_deref())
    }
}

/// A metric for messages.
pub(super) fn name(metric: &str, variant: &str, group: Option<&str>) -> String {
    let group = group.map(|group| format!(", {group}")).unwrap_or_default();
    format!("{metric} of {variant}{group}")
}

/// The baseline's file of an experiment: `NAME.baseline.toml` beside `NAME.toml`.
pub(super) fn baseline_file(experiment: &Path) -> PathBuf {
    experiment.with_extension("baseline.toml")
}

/// Whether a file is a baseline by its name.
pub(super) fn is_baseline(file: &Path) -> bool {
    file.to_string_lossy().ends_with(".baseline.toml")
}

/// The JSON Schema of a baseline file.
pub fn baseline_schema() -> Value {
    let mut schema = schemars::schema_for!(Baseline).to_value();
    simplify(&mut schema);
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_that_no_one_gave_fits_the_number() {
        let of = |value, n| {
            let tolerance = Tolerance::default_of(value, n);
            (tolerance.kind, tolerance.value.unwrap())
        };
        assert_eq!(of(5.4, 100), (ToleranceKind::Relative, 1e-3));
        assert_eq!(of(0.5, 300), (ToleranceKind::Absolute, 0.0067));
        assert_eq!(of(0.0, 10), (ToleranceKind::Absolute, 0.05));
        assert_eq!(of(-0.2, 0), (ToleranceKind::Absolute, 1e-4));
    }
}
