//! `evaluate.lm_loss`: the loss of language models on held-out blocks, also by label.

use crate::artifact::{Item, Place, Table};
use crate::component::{Component, Estimate, Output, Problem, Size, Sizes, main_output};
use crate::labels::Labels;
use crate::reference::{self, Ref, Refs};
use crate::score::{Part, Work, batch_size};
use crate::table::ratio;
use crate::tokens::Blocks;
use crate::{Context, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Per model: `loss` (mean over tokens, nats), `document_loss` (mean over blocks of each block's mean), `perplexity`
/// (exp of `loss`); by label `loss` and `perplexity` over the tokens of documents so labelled. Instances are blocks.
#[derive(Debug, Clone, Copy)]
pub struct LmLoss;

/// What `evaluate.lm_loss` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The models; every variant of a step where one is named.
    pub models: Refs<reference::Model>,
    /// The blocks they are measured on. A selection's weights play no part.
    pub data: Ref<reference::Blocks>,
    /// The corpus whose column labels the documents; goes with `group_by`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Ref<reference::Documents>>,
    /// The column of `labels` to measure by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"quality")]
    pub group_by: Option<String>,
    /// Blocks that go through a model together.
    #[serde(default = "batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "blocks"))]
    pub batch_size: usize,
}

impl Component for LmLoss {
    type Params = Params;
    const NAME: &'static str = "evaluate.lm_loss";
    const SUMMARY: &'static str = "loss and perplexity of models on held-out blocks, also by label";
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "evaluate.lm_loss"
models = "@student"
data = "@clean_tokens.valid"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Table)
    }

    fn check(params: &Params) -> Vec<Problem> {
        let (field, other) = match (&params.labels, &params.group_by) {
            (Some(_), None) => ("labels", "group_by"),
            (None, Some(_)) => ("group_by", "labels"),
            _ => return Vec::new(),
        };
        vec![Problem {
            field: field.to_owned(),
            code: "missing_field",
            message: format!("`{field}` needs `{other}` beside it"),
            hint: Some("labels = \"@corpus\", group_by = \"column\"".to_owned()),
        }]
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let data = sizes.of(params.data.as_str());
        let models: Vec<Size> = params.models.iter().map(|model| sizes.of(model)).collect();
        let rows = data.items * models.len() as f64 * 3.0;
        let table = Size {
            items: rows,
            bytes: rows * 16.0,
            ..Size::default()
        };
        Estimate {
            outputs: BTreeMap::from([(String::new(), table)]),
            flops: models
                .iter()
                .map(|model| model.flops_per_token * data.predicted())
                .sum(),
            memory: models
                .iter()
                .map(|model| model.parameters * 4.0)
                .fold(0.0, f64::max)
                + table.bytes,
            ..Estimate::default()
        }
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let models = context.open_all(&params.models)?;
        let blocks = Blocks::open(&data, context)?;
        let work = Work::new(context, &blocks, Item::Block, params.batch_size)?;
        for model in &models {
            work.check_model(model)?;
        }
        let labels = match (&params.labels, &params.group_by) {
            (Some(corpus), Some(column)) => {
                let labels = Labels::read(context.open(corpus)?, column, context)?;
                labels.check_blocks(&blocks, context)?;
                Some(labels)
            }
            _ => None,
        };
        let mut table = Table::default();
        for (number, model) in models.iter().enumerate() {
            let parts = work.run(model, &format!("model{number}"))?;
            measure(&mut table, &model.label, &parts, labels.as_ref());
        }
        table.write(&context.output("")?, ())
    }
}

fn measure(table: &mut Table, variant: &str, parts: &[Part], labels: Option<&Labels>) {
    let all = PerBlock::of(parts.iter());
    all.add_loss(table, variant, None);
    table.mean(Place::of(variant, "document_loss"), &all.blocks, &all.mean);
    for (label, name) in labels.map(Labels::names).unwrap_or_default().iter().enumerate() {
        let labelled = |part: &&Part| labels.is_some_and(|labels| labels.of(part.document) == label);
        PerBlock::of(parts.iter().filter(labelled)).add_loss(table, variant, Some(name));
    }
}

/// Blocks with at least one scored token: their mean loss, and how many tokens it speaks of.
struct PerBlock {
    blocks: Vec<u64>,
    mean: Vec<f64>,
    tokens: Vec<f64>,
}

impl PerBlock {
    fn of<'a>(parts: impl Iterator<Item = &'a Part>) -> Self {
        let mut sums: BTreeMap<u64, (f64, u64)> = BTreeMap::new();
        for part in parts.filter(|part| part.tokens > 0) {
            let (nll, tokens) = sums.entry(part.block).or_default();
            *nll += part.nll;
            *tokens += part.tokens;
        }
        let mean = |&(nll, tokens): &(f64, u64)| nll / tokens as f64;
        Self {
            blocks: sums.keys().copied().collect(),
            mean: sums.values().map(mean).collect(),
            tokens: sums.values().map(|&(_, tokens)| tokens as f64).collect(),
        }
    }

    fn add_loss(&self, table: &mut Table, variant: &str, group: Option<&str>) {
        if self.blocks.is_empty() {
            return;
        }
        let (loss, parts) = ratio(&self.mean, &self.tokens);
        table.estimate(
            Place::of(variant, "loss").within(group),
            loss,
            &self.blocks,
            &parts,
        );
        // To first order around the loss, which is what a standard error speaks of.
        let perplexity = loss.exp();
        let parts: Vec<f64> = parts
            .iter()
            .map(|part| perplexity * (1.0 + part - loss))
            .collect();
        table.estimate(
            Place::of(variant, "perplexity").within(group),
            perplexity,
            &self.blocks,
            &parts,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Artifact, read_table};
    use crate::table::f64_column;
    use std::path::Path;

    #[test]
    fn tokens_weigh_alike_in_the_loss_and_blocks_in_the_document_loss() {
        let part = |block, nll, tokens| Part {
            block,
            document: block,
            nll,
            tokens,
        };
        let parts = [part(0, 2.0, 2), part(0, 4.0, 1), part(3, 1.0, 1), part(5, 0.0, 0)];
        let mut table = Table::default();
        measure(&mut table, "student", &parts, None);
        let folder = tempfile::tempdir().expect("a temporary folder");
        table.write(folder.path(), ()).expect("writes");
        let artifact = Artifact::open(folder.path(), "evaluate.lm_loss/k", "quality").expect("opens");
        let rows = read_table(&artifact).expect("reads");
        let values = f64_column(&rows, "value", Path::new("table.parquet")).expect("floats");
        let expected = [1.75, 1.75_f64.exp(), 1.5];
        assert_eq!(values.len(), 3);
        assert!(
            values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12),
            "{values:?}"
        );
    }

    #[test]
    fn labels_and_group_by_go_together() {
        let params: Params = serde_json::from_value(serde_json::json!({
            "models": "@student", "data": "@tokens", "group_by": "quality"
        }))
        .expect("parameters");
        let problems = LmLoss::check(&params);
        assert_eq!(
            (problems[0].field.as_str(), problems[0].code),
            ("group_by", "missing_field")
        );
    }
}
