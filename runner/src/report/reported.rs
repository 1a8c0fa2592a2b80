//! Figures that papers report. Only what stands in a paper's text or its authors' repository is kept.

use polars::prelude::{CsvReader, DataType, SerReader};
use std::io::Cursor;

/// A reported figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) setting: String,
    pub(super) method: String,
    pub(super) model: String,
    pub(super) dataset: String,
    pub(super) metric: String,
    pub(super) value: f64,
}

/// The sheets there are figures of.
const SHEETS: [(&str, &str); 5] = [
    ("miniplm", include_str!("../../../reports/reported/miniplm.csv")),
    ("pds", include_str!("../../../reports/reported/pds.csv")),
    ("minillm", include_str!("../../../reports/reported/minillm.csv")),
    ("dpkd", include_str!("../../../reports/reported/dpkd.csv")),
    (
        "learning_law",
        include_str!("../../../reports/reported/learning_law.csv"),
    ),
];

/// The figures reported by a paper; empty for one that is not known.
pub(super) fn figures(paper: &str) -> Vec<Figure> {
    let sheet = SHEETS.iter().find(|(name, _)| *name == paper);
    sheet.and_then(|(_, text)| parse(text)).unwrap_or_default()
}

fn parse(text: &str) -> Option<Vec<Figure>> {
    let frame = CsvReader::new(Cursor::new(text.as_bytes())).finish().ok()?;
    let column = |name: &str| -> Option<Vec<String>> {
        let column = frame.column(name).ok()?.cast(&DataType::String).ok()?;
        Some(
            column
                .str()
                .ok()?
                .iter()
                .map(|value| value.unwrap_or_default().to_owned())
                .collect(),
        )
    };
    let names = ["setting", "method", "model", "dataset", "metric", "value"].map(column);
    let [setting, method, model, dataset, metric, value] = names;
    let (setting, method, model, dataset, metric) = (setting?, method?, model?, dataset?, metric?);
    let rows = value?.into_iter().enumerate().filter_map(|(i, value)| {
        Some(Figure {
            setting: setting[i].clone(),
            method: method[i].clone(),
            model: model[i].clone(),
            dataset: dataset[i].clone(),
            metric: metric[i].clone(),
            value: value.parse().ok()?,
        })
    });
    Some(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accelerations_of_the_learning_law_are_there() {
        let of = |model: &str| -> Vec<f64> {
            let own = figures("learning_law").into_iter();
            own.filter(|figure| figure.metric == "acceleration_ratio" && figure.model == model)
                .map(|figure| figure.value)
                .collect()
        };
        assert_eq!(of("Perceptron-128"), [5.5]);
        assert!(of("Transformer-1.7M").contains(&2.41));
    }

    #[test]
    fn the_main_figures_are_there_and_only_checked_ones() {
        let figures = figures("miniplm");
        let find = |method: &str, model: &str| {
            let wanted = |f: &&Figure| f.method == method && f.model == model && f.dataset == "average-9";
            figures.iter().find(wanted).map(|figure| figure.value)
        };
        assert_eq!(find("Pre-Train w/o KD", "Qwen-200M"), Some(39.9));
        assert_eq!(find("MiniPLM", "Qwen-200M"), Some(41.3));
        for line in SHEETS.iter().flat_map(|(_, text)| text.lines().skip(1)) {
            assert!(line.ends_with(",paper-text") || line.ends_with(",repo"), "{line}");
        }
        let saved = super::figures("pds");
        assert_eq!(
            saved.iter().map(|figure| figure.value).collect::<Vec<_>>(),
            [1.8, 2.0]
        );
        assert!(super::figures("unknown").is_empty());
    }
}
