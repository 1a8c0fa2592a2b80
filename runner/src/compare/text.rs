//! A comparison as text.

use super::{Comparison, Cost, MetricRow};
use crate::units::{duration, number};

pub(super) fn write(comparison: &Comparison) -> String {
    let heads = |name: &str| {
        let mut row = vec![name.to_owned()];
        row.extend(comparison.runs.iter().cloned());
        row
    };
    let mut out = String::new();
    if comparison.spec.is_empty() {
        out += "the resolved experiments are the same\n";
    } else {
        let rows = comparison.spec.iter().map(|row| {
            let values = row.values.iter();
            let shown = values.map(|value| value.as_ref().map_or("–".to_owned(), ToString::to_string));
            std::iter::once(row.path.clone()).chain(shown).collect()
        });
        out += &table(heads("experiment"), rows.collect());
    }
    let (same, differ): (Vec<_>, Vec<_>) = comparison.metrics.iter().partition(|row| is_same(row));
    if !differ.is_empty() {
        let mut head = heads("measured");
        head.push("difference from the first (95 % interval)".to_owned());
        out += "\n";
        out += &table(head, differ.iter().map(|row| metric(row)).collect());
    }
    if !same.is_empty() {
        out += &format!("\n{} measured values are the same in all runs\n", same.len());
    }
    let rows = comparison.cost.iter().map(|row| {
        let costs = row
            .runs
            .iter()
            .map(|cost| cost.as_ref().map_or("–".to_owned(), spent));
        std::iter::once(row.step.clone()).chain(costs).collect()
    });
    let mut rows: Vec<Vec<String>> = rows.collect();
    let total = (0..comparison.runs.len()).map(|run| {
        let costs = comparison.cost.iter().filter_map(|row| row.runs[run].as_ref());
        let (wall, flops) = costs.fold((0.0, 0.0), |sum, cost| {
            (sum.0 + cost.wall_seconds, sum.1 + cost.flops)
        });
        format!("{}, {} FLOPs", duration(wall), number(flops))
    });
    rows.push(std::iter::once("all".to_owned()).chain(total).collect());
    out += "\n";
    out + &table(heads("cost"), rows)
}

/// Whether every run has it with the same value.
fn is_same(row: &MetricRow) -> bool {
    row.values
        .iter()
        .all(|value| value.is_some() && *value == row.values[0])
}

fn metric(row: &MetricRow) -> Vec<String> {
    let group = row
        .group
        .as_ref()
        .map_or(String::new(), |group| format!(" ({group})"));
    let mut cells = vec![format!("{}.{}{group} {}", row.step, row.metric, row.variant)];
    let values = row.values.iter();
    cells.extend(values.map(|value| value.map_or("–".to_owned(), |value| format!("{value:.4}"))));
    let differences = row.differences.iter().map(|difference| match difference {
        None => "–".to_owned(),
        Some(found) => match found.interval {
            Some((low, high)) => {
                format!(
                    "{:+.4} ({low:+.4} to {high:+.4}, n = {})",
                    found.difference, found.n
                )
            }
            None => format!("{:+.4}", found.difference),
        },
    });
    cells.push(differences.collect::<Vec<_>>().join("; "));
    cells
}

fn spent(cost: &Cost) -> String {
    let wall = if cost.cached {
        "cached".to_owned()
    } else {
        duration(cost.wall_seconds)
    };
    if cost.flops > 0.0 {
        format!("{wall}, {} FLOPs", number(cost.flops))
    } else {
        wall
    }
}

fn table(head: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let columns = all.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in &all {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        out += cells.join("  ").trim_end();
        out += "\n";
    }
    out
}
