//! Reading a baseline: every entry knows its place, and mistakes are shown like those of an experiment.

use super::baseline::{Baseline, Tolerance, ToleranceKind};
use super::case::Place;
use crate::spec::{Diagnostic, Diagnostics, Source};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A baseline as it stands in its file.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) file: PathBuf,
    pub(super) baseline: Baseline,
    source: Arc<Source>,
}

impl Stored {
    /// The file's text.
    pub(super) fn text(&self) -> &str {
        &self.source.text
    }

    /// Where a piece of the text stands.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        Place::at(self.file.clone(), &self.source.text, span.start)
    }
}

/// Reads a baseline; none if there is no such file. `experiment` is the name that its head must have, if any must.
pub(super) fn read(file: &Path, experiment: Option<&str>) -> Result<Option<Stored>, Diagnostics> {
    let mut source = Source {
        name: file.display().to_string(),
        text: String::new(),
    };
    match std::fs::read_to_string(file) {
        Ok(text) => source.text = text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            let message = format!("cannot read `{}`: {e}", file.display());
            return Err(one(Diagnostic::new(
                &Arc::new(source),
                0..0,
                "cannot_read",
                message,
            )));
        }
    }
    let source = Arc::new(source);
    let baseline: Baseline = toml::from_str(&source.text).map_err(|error| {
        let code = if error.message().starts_with("unknown field") {
            "unknown_key"
        } else {
            "bad_baseline"
        };
        let span = error.span().unwrap_or(0..0);
        one(Diagnostic::new(
            &source,
            span,
            code,
            error.message().replace('\n', ", "),
        ))
    })?;
    let mut found = Diagnostics::default();
    check(&baseline, &source, experiment, &mut found);
    found.finish()?;
    Ok(Some(Stored {
        file: file.to_path_buf(),
        baseline,
        source,
    }))
}

fn one(mistake: Diagnostic) -> Diagnostics {
    let mut found = Diagnostics::default();
    found.push(mistake);
    found
}

/// What the types do not say.
fn check(baseline: &Baseline, source: &Arc<Source>, experiment: Option<&str>, found: &mut Diagnostics) {
    let mut refuse = |span: Range<usize>, code, message: String, hint: Option<String>| {
        found.push(Diagnostic::new(source, span, code, message).hint(hint));
    };
    let named = baseline.experiment.get_ref();
    if let Some(experiment) = experiment.filter(|name| name != named) {
        refuse(
            baseline.experiment.span(),
            "other_experiment",
            format!("this is the baseline of `{named}`, and the experiment is called `{experiment}`"),
            Some("correct the name, or write the baseline anew with `--update`".into()),
        );
    }
    let mut metrics = Vec::new();
    for metric in &baseline.metrics {
        if let Some(message) = wrong(metric.tolerance.get_ref()) {
            refuse(metric.tolerance.span(), "bad_tolerance", message.into(), None);
        }
        let key = (metric.key(), &metric.machine);
        if metrics.contains(&key) {
            let message = format!("two entries are for {}", metric.name());
            refuse(metric.value.span(), "duplicate_entry", message, None);
        }
        metrics.push(key);
    }
    let mut claims = Vec::new();
    for claim in &baseline.claims {
        if claims.contains(&&claim.name) {
            let message = format!("two entries are for the claim `{}`", claim.name);
            refuse(claim.outcome.span(), "duplicate_entry", message, None);
        }
        claims.push(&claim.name);
    }
    let mut speeds = Vec::new();
    for speed in &baseline.performance {
        let (ratio, tolerance) = (*speed.ratio.get_ref(), *speed.tolerance.get_ref());
        if !(ratio > 0.0 && ratio.is_finite()) {
            let message = "a ratio is more than 0".to_owned();
            refuse(speed.ratio.span(), "out_of_range", message, None);
        }
        if !(tolerance >= 0.0 && tolerance.is_finite()) {
            let message = "a tolerance is 0 or more".to_owned();
            refuse(speed.tolerance.span(), "out_of_range", message, None);
        }
        let key = (&speed.step, speed.measure);
        if speeds.contains(&key) {
            let message = format!("two entries are for {} of {}", speed.measure.name(), speed.step);
            refuse(speed.ratio.span(), "duplicate_entry", message, None);
        }
        speeds.push(key);
    }
}

fn wrong(tolerance: &Tolerance) -> Option<&'static str> {
    match (tolerance.kind, tolerance.value) {
        (ToleranceKind::Absolute | ToleranceKind::Relative, None) => {
            Some("`absolute` and `relative` want a `value`")
        }
        (ToleranceKind::Exact | ToleranceKind::Interval, Some(_)) => {
            Some("`exact` and `interval` take no `value`")
        }
        (_, Some(value)) if !(value >= 0.0 && value.is_finite()) => Some("a tolerance is 0 or more"),
        _ => None,
    }
}
