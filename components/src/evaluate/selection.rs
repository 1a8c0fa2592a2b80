//! `evaluate.selection`: how well scores and selections separate good items from bad, by labels that no method sees.

use super::auc;
use crate::artifact::{Item, Order, Place, Scores, Selection, SelectionDetails, Source, Table};
use crate::component::{Component, Estimate, Output, Problem, Size, Sizes, main_output};
use crate::labels::{ItemLabels, Labels};
use crate::reference::{self, Ref, Refs};
use crate::select::{check_finite, keep_count, top_k};
use crate::{Artifact, Context, Error, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Per variant: `base_rate` (good share of all items), `auc` (chance that a good item outranks a bad one), `precision`
/// (good share of the kept), `recall` (kept share of the good), and by label `kept_share`. Items of several documents
/// count by the share of their tokens. Histograms of the scores by label lie beside the table.
#[derive(Debug, Clone, Copy)]
pub struct SelectionQuality;

/// What `evaluate.selection` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Scores to judge; of each the best are taken as kept, as many as `keep` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<Refs<reference::Scores>>,
    /// Selections to judge: by what they keep, and by the scores they were made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selections: Option<Refs<reference::Selection>>,
    /// The share of items that counts as kept where scores are judged.
    #[serde(default = "half")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub keep: f64,
    /// The corpus whose column labels the documents.
    pub labels: Ref<reference::Documents>,
    /// The column of `labels`.
    #[schemars(example = &"quality")]
    pub column: String,
    /// The labels that count as good; all others are bad.
    #[schemars(length(min = 1), example = ["good"])]
    pub good: Vec<String>,
    /// Bins of the histograms.
    #[serde(default = "bins")]
    #[schemars(range(min = 1, max = 10_000))]
    pub bins: usize,
}

fn half() -> f64 {
    0.5
}

fn bins() -> usize {
    40
}

impl Component for SelectionQuality {
    type Params = Params;
    const NAME: &'static str = "evaluate.selection";
    const SUMMARY: &'static str = "how well scores and selections separate good items from bad";
    const EXAMPLE: &'static str = r#"use = "evaluate.selection"
scores = "@difference"
labels = "@pool"
column = "quality"
good = ["good"]
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Table)
    }

    fn check(params: &Params) -> Vec<Problem> {
        if params.scores.is_some() || params.selections.is_some() {
            return Vec::new();
        }
        vec![Problem {
            field: "scores".to_owned(),
            code: "missing_field",
            message: "expected `scores` or `selections`, found neither".to_owned(),
            hint: Some("scores = \"@difference\"".to_owned()),
        }]
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let scores = params.scores.iter().flat_map(Refs::iter);
        let selections = params.selections.iter().flat_map(Refs::iter);
        let items: f64 = scores.chain(selections).map(|one| sizes.of(one).items).sum();
        let table = Size {
            items,
            bytes: items * 16.0 * 3.0,
            ..Size::default()
        };
        Estimate {
            outputs: BTreeMap::from([(String::new(), table)]),
            memory: 4.0 * table.bytes,
            ..Estimate::default()
        }
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let corpus = context.open(&params.labels)?;
        let mut artifacts = Vec::new();
        if let Some(scores) = &params.scores {
            artifacts.extend(context.open_all(scores)?);
        }
        if let Some(selections) = &params.selections {
            artifacts.extend(context.open_all(selections)?);
        }
        let mut table = Table::default();
        for artifact in artifacts {
            context.check_cancelled()?;
            let labels = Labels::read(corpus.clone(), &params.column, context)?;
            let good = good_labels(&labels, &params)?;
            let judged = Judged::open(&artifact, params.keep, context)?;
            let source = context.open_source(&judged.source)?;
            let labels = ItemLabels::new(labels, judged.item, source, context)?;
            labels.check(&judged.index)?;
            judged.measure(&mut table, &labels, &good, params.bins);
        }
        table.write(&context.output("")?, ())
    }
}

/// Which of the labels are good; one that no document has is a mistake.
fn good_labels(labels: &Labels, params: &Params) -> Result<Vec<bool>> {
    if let Some(unknown) = params.good.iter().find(|good| !labels.names().contains(good)) {
        let names: Vec<_> = labels
            .names()
            .iter()
            .take(20)
            .map(|name| format!("`{name}`"))
            .collect();
        return Err(Error::data(
            "unknown_label",
            format!("no document has `{}` = `{unknown}`", params.column),
        )
        .hint(format!("the labels are {}", names.join(", "))));
    }
    Ok(labels
        .names()
        .iter()
        .map(|name| params.good.contains(name))
        .collect())
}

/// Scores, and how often each item was kept.
struct Judged {
    variant: String,
    item: Item,
    source: Source,
    index: Vec<u64>,
    scores: Vec<f64>,
    order: Order,
    column: String,
    kept: Vec<f64>,
}

impl Judged {
    fn open(artifact: &Artifact, keep: f64, context: &Context) -> Result<Self> {
        if artifact.header.kind == Kind::Scores {
            let mut judged = Self::of(artifact, artifact, None, Order::Highest)?;
            let k = keep_count(keep, judged.index.len())?;
            for at in top_k(&judged.scores, k, judged.order) {
                judged.kept[at] = 1.0;
            }
            return Ok(judged);
        }
        let selection = Selection::read(artifact)?;
        let scores = context.open_source(&selection.details.scores)?;
        let SelectionDetails { column, order, .. } = &selection.details;
        let mut judged = Self::of(artifact, &scores, Some(column), *order)?;
        for item in &selection.index {
            let at = judged.index.binary_search(item).map_err(|_| {
                let message = format!("item {item} of `{}` has no score", artifact.label);
                Error::data("length_mismatch", message)
            })?;
            judged.kept[at] += 1.0;
        }
        Ok(judged)
    }

    fn of(named: &Artifact, scores: &Artifact, column: Option<&str>, order: Order) -> Result<Self> {
        let source = scores.header.source.as_ref().ok_or_else(|| {
            Error::data(
                "bad_artifact",
                format!("`{}` does not say what it scores", scores.label),
            )
        })?;
        let read = Scores::read(scores)?;
        let values = read.column(column)?.to_vec();
        check_finite(&values, &read.index)?;
        Ok(Self {
            variant: named.label.clone(),
            item: read.item,
            source: source.clone(),
            scores: values,
            order,
            column: column.unwrap_or(&read.primary).to_owned(),
            kept: vec![0.0; read.index.len()],
            index: read.index,
        })
    }

    fn measure(&self, table: &mut Table, labels: &ItemLabels, good: &[bool], bins: usize) {
        let variant = self.variant.as_str();
        let shares: Vec<Vec<f64>> = self.index.iter().map(|&item| labels.shares(item)).collect();
        let good_share = |share: &Vec<f64>| {
            share
                .iter()
                .zip(good)
                .map(|(s, g)| if *g { *s } else { 0.0 })
                .sum()
        };
        let good: Vec<f64> = shares.iter().map(good_share).collect();

        table.mean(Place::of(variant, "base_rate"), &self.index, &good);
        let sign = match self.order {
            Order::Highest => 1.0,
            Order::Lowest => -1.0,
        };
        let ranked: Vec<f64> = self.scores.iter().map(|score| sign * score).collect();
        if let Some((area, parts)) = auc(&ranked, &good) {
            table.estimate(Place::of(variant, "auc"), area, &self.index, &parts);
        }
        table.weighted_mean(Place::of(variant, "precision"), &self.index, &good, &self.kept);
        let once: Vec<f64> = self.kept.iter().map(|times| times.min(1.0)).collect();
        if good.iter().any(|share| *share > 0.0) {
            table.weighted_mean(Place::of(variant, "recall"), &self.index, &once, &good);
        }
        for (label, name) in labels.names().iter().enumerate() {
            let share: Vec<f64> = shares.iter().map(|share| share[label]).collect();
            if share.iter().any(|share| *share > 0.0) {
                let place = Place::of(variant, "kept_share").within(Some(name));
                table.weighted_mean(place, &self.index, &once, &share);
            }
        }
        let mut by_label = vec![Vec::new(); labels.names().len()];
        for (&item, &score) in self.index.iter().zip(&self.scores) {
            by_label[labels.largest(item)].push(score);
        }
        let groups: Vec<_> = labels.names().iter().cloned().zip(by_label).collect();
        table.histogram(variant, &self.column, &groups, bins);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{read_histogram, read_instances, read_table};
    use crate::select::Top;
    use crate::table::{f64_column, u64_column};
    use crate::testing::Bench;
    use serde_json::json;
    use std::path::Path;

    /// Ten documents, six of them good; by score the best five are four good ones and a bad one.
    fn bench() -> Bench {
        let bench = Bench::new();
        let quality = [
            "good", "bad", "good", "good", "bad", "good", "good", "bad", "spam", "good",
        ];
        let corpus = bench.corpus("pool", "quality", &quality);
        let scores = [9.0, 8.0, 7.0, 6.0, 1.0, 5.0, 4.0, 3.0, 2.0, 0.0];
        bench.scores("difference", &corpus, &scores);
        bench
    }

    fn figures(table: &Artifact) -> BTreeMap<(String, Option<String>), f64> {
        let rows = read_table(table).expect("reads");
        let text = |name| rows.column(name).expect("there").str().expect("text").clone();
        let (metrics, groups) = (text("metric"), text("group"));
        let values = f64_column(&rows, "value", Path::new("table.parquet")).expect("floats");
        let row = |(at, value)| {
            let metric = metrics.get(at).expect("never empty").to_owned();
            ((metric, groups.get(at).map(str::to_owned)), value)
        };
        values.into_iter().enumerate().map(row).collect()
    }

    fn judge(bench: &Bench, what: &str, good: &[&str]) -> Result<Artifact> {
        let mut params = json!({ "labels": "@pool", "column": "quality", "good": good, "bins": 3 });
        let field = if what == "chosen" { "selections" } else { "scores" };
        params[field] = format!("@{what}").into();
        bench.run::<SelectionQuality>("separation", params)
    }

    #[test]
    fn the_figures_are_those_of_the_definitions() {
        let bench = bench();
        let table = judge(&bench, "difference", &["good"]).expect("a table");
        let figures = figures(&table);
        let close = |metric: &str, group: Option<&str>, expected: f64| {
            let found = figures[&(metric.to_owned(), group.map(str::to_owned))];
            assert!((found - expected).abs() < 1e-12, "{metric} {found} {expected}");
        };
        close("base_rate", None, 0.6);
        close("precision", None, 0.8);
        close("recall", None, 4.0 / 6.0);
        close("kept_share", Some("good"), 4.0 / 6.0);
        close("kept_share", Some("bad"), 1.0 / 3.0);
        close("kept_share", Some("spam"), 0.0);
        // Good over bad pairs, by hand: 4 + 3 + 3 + 3 + 3 + 0 of 24.
        close("auc", None, 16.0 / 24.0);

        let file = Path::new("instances.parquet");
        let instances = read_instances(&table).expect("reads").expect("there");
        let metrics = instances
            .column("metric")
            .expect("there")
            .str()
            .expect("text")
            .clone();
        let values = f64_column(&instances, "value", file).expect("floats");
        let of = |metric: &str| {
            (0..values.len())
                .filter(|&i| metrics.get(i) == Some(metric))
                .collect::<Vec<_>>()
        };
        for metric in ["base_rate", "auc", "precision", "recall"] {
            let at = of(metric);
            assert_eq!(at.len(), 10, "{metric}");
            close(metric, None, at.iter().map(|&i| values[i]).sum::<f64>() / 10.0);
        }
        let bins = read_histogram(&table).expect("reads").expect("there");
        let counts = u64_column(&bins, "count", Path::new("histogram.parquet")).expect("counts");
        assert_eq!((counts.len(), counts.iter().sum::<u64>()), (9, 10));
    }

    #[test]
    fn a_selection_is_judged_by_what_it_keeps() {
        let bench = bench();
        bench
            .run::<Top>(
                "chosen",
                json!({ "scores": "@difference", "keep": 0.2, "order": "lowest" }),
            )
            .expect("a choice");
        let figures = figures(&judge(&bench, "chosen", &["good"]).expect("a table"));
        let found = |metric: &str| figures[&(metric.to_owned(), None)];
        assert!((found("precision") - 0.5).abs() < 1e-12);
        assert!(
            (found("auc") - 8.0 / 24.0).abs() < 1e-12,
            "the lowest are ranked first"
        );
    }

    #[test]
    fn unknown_labels_and_columns_are_named() {
        let bench = bench();
        let error = judge(&bench, "difference", &["fine"]).expect_err("no such label");
        assert_eq!(error.code(), "unknown_label");
        let params = json!({ "scores": "@difference", "labels": "@pool", "column": "q", "good": ["good"] });
        let error = bench
            .run::<SelectionQuality>("separation", params)
            .expect_err("no such column");
        assert_eq!(error.code(), "unknown_column");
        let neither = json!({ "labels": "@pool", "column": "quality", "good": ["good"] });
        let params = serde_json::from_value(neither).expect("parameters");
        assert_eq!(SelectionQuality::check(&params)[0].code, "missing_field");
    }

    #[test]
    fn labels_of_another_corpus_are_refused() {
        let bench = bench();
        bench.corpus("other", "quality", &["good"; 10]);
        let params =
            json!({ "scores": "@difference", "labels": "@other", "column": "quality", "good": ["good"] });
        let error = bench
            .run::<SelectionQuality>("separation", params)
            .expect_err("another corpus");
        assert_eq!(error.code(), "corpus_mismatch");
        bench.corpus("pool", "quality", &["good"; 10]);
        let error = judge(&bench, "difference", &["good"]).expect_err("the pool was replaced");
        assert_eq!(error.code(), "fingerprint_mismatch");
    }
}
