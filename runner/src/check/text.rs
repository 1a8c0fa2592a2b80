//! Writing a baseline. What an old text says beside the numbers (comments, hand-made tolerances' reasons) is kept.

use super::baseline::{Baseline, ClaimEntry, MetricEntry, PerformanceEntry, Tolerance, ToleranceKind};
use toml::Value;

/// The text of a baseline; where there was an old one, with its comments.
pub(super) fn write(new: &Baseline, old: Option<(&Baseline, &str)>) -> String {
    let kept = old.and_then(|(old, text)| edited(new, old, text));
    // A text that is laid out unusually cannot be edited line by line, and is written anew.
    kept.filter(|text| toml::from_str::<Baseline>(text).is_ok_and(|read| read == *new))
        .unwrap_or_else(|| fresh(new))
}

fn fresh(new: &Baseline) -> String {
    let head = format!(
        "experiment = {}\nlyceum = {}",
        quoted(new.experiment.get_ref()),
        quoted(&new.lyceum)
    );
    let blocks = new.metrics.iter().map(metric);
    let blocks = blocks.chain(new.claims.iter().map(claim));
    let blocks = blocks.chain(new.performance.iter().map(performance));
    joined(std::iter::once(head).chain(blocks))
}

fn joined(blocks: impl Iterator<Item = String>) -> String {
    let blocks: Vec<String> = blocks.map(|block| block.trim_end().to_owned()).collect();
    blocks.join("\n\n") + "\n"
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn number(value: f64) -> String {
    Value::Float(value).to_string()
}

fn metric(entry: &MetricEntry) -> String {
    let mut lines = vec![
        "[[metrics]]".to_owned(),
        format!("metric = {}", quoted(&entry.metric)),
        format!("variant = {}", quoted(&entry.variant)),
    ];
    if let Some(group) = &entry.group {
        lines.push(format!("group = {}", quoted(group)));
    }
    lines.extend(numbers(entry).map(|(key, value)| format!("{key} = {value}")));
    lines.push(format!("tolerance = {}", tolerance(entry.tolerance.get_ref())));
    if let Some(machine) = &entry.machine {
        lines.push(format!("machine = {}", quoted(machine)));
    }
    lines.join("\n")
}

fn tolerance(tolerance: &Tolerance) -> String {
    let kind = match tolerance.kind {
        ToleranceKind::Exact => "exact",
        ToleranceKind::Absolute => "absolute",
        ToleranceKind::Relative => "relative",
        ToleranceKind::Interval => "interval",
    };
    match tolerance.value {
        Some(value) => format!("{{ kind = \"{kind}\", value = {} }}", number(value)),
        None => format!("{{ kind = \"{kind}\" }}"),
    }
}

fn claim(entry: &ClaimEntry) -> String {
    let outcome = quoted(entry.outcome.get_ref().name());
    format!("[[claims]]\nname = {}\noutcome = {outcome}", quoted(&entry.name))
}

fn performance(entry: &PerformanceEntry) -> String {
    format!(
        "[[performance]]\nstep = {}\nmeasure = \"{}\"\nratio = {}\ntolerance = {}",
        quoted(&entry.step),
        entry.measure.name(),
        number(*entry.ratio.get_ref()),
        number(*entry.tolerance.get_ref())
    )
}

/// The keys of a metric that an update changes.
fn numbers(entry: &MetricEntry) -> impl Iterator<Item = (&'static str, String)> {
    let value = ("value", number(*entry.value.get_ref()));
    let error = entry
        .standard_error
        .map(|error| ("standard_error", number(error)));
    let n = entry.n.map(|n| ("n", n.to_string()));
    [Some(value), error, n].into_iter().flatten()
}

/// The old text with the new values: every entry is a block of lines, from the comment above its header to the next one's.
fn edited(new: &Baseline, old: &Baseline, text: &str) -> Option<String> {
    let (mut head, blocks) = blocks(text);
    head = set(&head, "experiment", &quoted(new.experiment.get_ref()))?;
    head = set(&head, "lyceum", &quoted(&new.lyceum))?;
    let of = |header: &str| -> Vec<&String> {
        let blocks = blocks.iter().filter(|(name, _)| name == header);
        blocks.map(|(_, block)| block).collect()
    };
    let (metrics, claims, speeds) = (of("[[metrics]]"), of("[[claims]]"), of("[[performance]]"));
    let mut out = vec![head];
    for entry in &new.metrics {
        let same = |other: &MetricEntry| other.key() == entry.key() && other.machine == entry.machine;
        out.push(match old.metrics.iter().position(same) {
            Some(at) => numbers(entry).try_fold((*metrics.get(at)?).clone(), |block, (key, value)| {
                set(&block, key, &value).or_else(|| Some(format!("{}\n{key} = {value}", block.trim_end())))
            })?,
            None => metric(entry),
        });
    }
    for entry in &new.claims {
        out.push(
            match old.claims.iter().position(|other| other.name == entry.name) {
                Some(at) => set(
                    claims.get(at)?,
                    "outcome",
                    &quoted(entry.outcome.get_ref().name()),
                )?,
                None => claim(entry),
            },
        );
    }
    for entry in &new.performance {
        let same = |other: &PerformanceEntry| other.step == entry.step && other.measure == entry.measure;
        out.push(match old.performance.iter().position(same) {
            Some(at) => set(speeds.get(at)?, "ratio", &number(*entry.ratio.get_ref()))?,
            None => performance(entry),
        });
    }
    Some(joined(out.into_iter()))
}

/// The text before the first entry, and every entry's header and lines.
fn blocks(text: &str) -> (String, Vec<(String, String)>) {
    let lines: Vec<&str> = text.lines().collect();
    let is_header = |line: &str| line.trim_start().starts_with("[[");
    let is_comment = |line: &str| line.trim_start().starts_with('#');
    let mut starts = Vec::new();
    for at in (0..lines.len()).filter(|&at| is_header(lines[at])) {
        let comments = lines[..at]
            .iter()
            .rev()
            .take_while(|line| is_comment(line))
            .count();
        starts.push((at - comments, lines[at].trim().to_owned()));
    }
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([lines.len()]);
    let blocks = starts.iter().zip(ends).map(|((from, header), to)| {
        let name = header.split('#').next().unwrap_or_default().trim().to_owned();
        (name, lines[*from..to].join("\n"))
    });
    let head = starts.first().map_or(lines.len(), |(at, _)| *at);
    (lines[..head].join("\n"), blocks.collect())
}

/// Replaces the value of a key on its line; a comment behind it stays. None if no line sets the key.
fn set(block: &str, key: &str, value: &str) -> Option<String> {
    let mut lines: Vec<String> = block.lines().map(str::to_owned).collect();
    let line = lines.iter_mut().find(|line| {
        let rest = line.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    })?;
    let (left, right) = line.split_once('=')?;
    let comment = right
        .find(" #")
        .map(|at| right[at..].to_owned())
        .unwrap_or_default();
    *line = format!("{}= {value}{comment}", left.trim_end().to_owned() + " ");
    Some(lines.join("\n"))
}
