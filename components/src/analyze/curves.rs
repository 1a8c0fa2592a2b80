//! The training curves that analyses read.

use crate::model::ModelDetails;
use crate::train::read_curve;
use crate::{Artifact, Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a model keeps its curve.
const FILE: &str = "metrics.parquet";

/// Which losses of a training are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Losses {
    /// Those on the data of the training's `eval`.
    #[default]
    Valid,
    /// Those of the steps' own batches.
    Train,
}

impl Losses {
    const fn split(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Train => "train",
        }
    }
}

/// A loss on the way of a training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct At {
    pub(super) steps: f64,
    pub(super) tokens: f64,
    /// In nats a token.
    pub(super) loss: f64,
}

/// A training.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Training {
    /// What the experiment calls the model, as in `student[uniform]`.
    pub(super) label: String,
    pub(super) details: ModelDetails,
    /// In the order of steps; never empty.
    pub(super) curve: Vec<At>,
}

impl Training {
    /// Reads how a model was trained. `no_curve`, `bad_loss`.
    pub(super) fn read(model: &Artifact, losses: Losses) -> Result<Self> {
        let file = model.path.join(FILE);
        let none = |message: String| Error::data("no_curve", message);
        if !file.exists() {
            let message = format!("`{}` was not trained here: it has no curve", model.label);
            return Err(none(message).hint("name models of `train.lm`"));
        }
        let mut curve = Vec::new();
        for point in read_curve(&file)? {
            if point.split != losses.split() || point.metric != "loss" || point.step == 0 {
                continue;
            }
            check_loss(point.value).map_err(|e| e.in_file(&file).at(format!("step {}", point.step)))?;
            curve.push(At {
                steps: point.step as f64,
                tokens: point.tokens as f64,
                loss: point.value,
            });
        }
        if curve.is_empty() {
            let message = format!("the curve of `{}` has no {} losses", model.label, losses.split());
            return Err(none(message).hint("give the training an `eval`, or take `losses = \"train\"`"));
        }
        Ok(Self {
            label: model.label.clone(),
            details: model.details()?,
            curve,
        })
    }
}

/// Refuses losses that have no logarithm. `bad_loss`.
pub(super) fn check_loss(loss: f64) -> Result<()> {
    if loss.is_finite() && loss > 0.0 {
        return Ok(());
    }
    let message = format!("a loss is {loss}; expected a number above 0");
    Err(Error::data("bad_loss", message).hint("leave out trainings that diverged"))
}
