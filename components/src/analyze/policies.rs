//! What `policy.learning_law` left beside its weights, read for analysis.

use crate::policy::{CONTRIBUTIONS, CURVES, EPOCHS, POLICIES, Policy};
use crate::table::{damaged, f64_column, read_parquet, read_text_column};
use crate::{Artifact, Result};
use polars::prelude::{DataFrame, DataType};
use std::path::Path;

/// Curves of a training under one policy: an entry a state θ_0 … θ_T, or, of what concerns weights, a step.
#[derive(Debug, Clone, Default)]
pub(super) struct Curves {
    pub(super) target: Vec<f64>,
    pub(super) test: Vec<f64>,
    /// NaN where it is undefined.
    pub(super) similarity_test: Vec<f64>,
    pub(super) similarity_target: Vec<f64>,
    pub(super) similarity_costate: Vec<f64>,
    pub(super) gap: Vec<f64>,
    pub(super) support: Vec<f64>,
    pub(super) opposed: Vec<f64>,
    pub(super) opposed_unused: Vec<f64>,
}

/// Every example at one step.
#[derive(Debug, Clone, Default)]
pub(super) struct Moment {
    pub(super) step: f64,
    pub(super) weight: Vec<f64>,
    /// Products with the gradient of the test loss.
    pub(super) by_test: Vec<f64>,
    /// Products with the costate.
    pub(super) by_costate: Vec<f64>,
}

/// A policy and what is known of it.
pub(super) struct Found {
    pub(super) label: String,
    pub(super) policy: Policy,
    pub(super) equal: Curves,
    pub(super) weighed: Curves,
    /// The summed target loss before every policy epoch, and the gap.
    pub(super) objective: Vec<f64>,
    pub(super) gap: Vec<f64>,
    pub(super) moments: Vec<Moment>,
}

impl Found {
    pub(super) fn read(artifact: &Artifact) -> Result<Self> {
        let policy = Policy::read(artifact)?;
        let file = artifact.path.join(CURVES);
        let frame = read_parquet(&file)?;
        let names = read_text_column(&file, "policy")?;
        let of = |name: &str| -> Result<Curves> {
            let own: Vec<usize> = (0..names.len())
                .filter(|&i| names[i].as_deref() == Some(name))
                .collect();
            let column = |column: &str| -> Result<Vec<f64>> {
                let all = numbers(&frame, column, &file)?;
                Ok(own.iter().map(|&i| all[i]).collect())
            };
            // What concerns weights ends a step earlier.
            let of_steps = |name: &str| -> Result<Vec<f64>> {
                let mut all = column(name)?;
                all.truncate(own.len().saturating_sub(1));
                Ok(all)
            };
            Ok(Curves {
                target: column("target_loss")?,
                test: column("test_loss")?,
                similarity_test: of_steps("similarity_test")?,
                similarity_target: of_steps("similarity_target")?,
                similarity_costate: of_steps("similarity_costate")?,
                gap: of_steps("gap")?,
                support: of_steps("support")?,
                opposed: of_steps("opposed")?,
                opposed_unused: of_steps("opposed_unused")?,
            })
        };
        let [equal, found] = [of(POLICIES[0])?, of(POLICIES[1])?];
        let steps = policy.details.steps as usize;
        for curves in [&equal, &found] {
            if curves.test.len() != steps + 1 {
                return Err(damaged(
                    "the curves have another number of steps than the policy",
                    &file,
                ));
            }
        }
        let file = artifact.path.join(EPOCHS);
        let epochs = read_parquet(&file)?;
        Ok(Self {
            label: artifact.label.clone(),
            policy,
            equal,
            weighed: found,
            objective: f64_column(&epochs, "objective", &file)?,
            gap: f64_column(&epochs, "gap", &file)?,
            moments: moments(&artifact.path.join(CONTRIBUTIONS))?,
        })
    }
}

fn moments(file: &Path) -> Result<Vec<Moment>> {
    let frame = read_parquet(file)?;
    let column = |name: &str| numbers(&frame, name, file);
    let (step, weight) = (column("step")?, column("weight")?);
    let (by_test, by_costate) = (column("test")?, column("costate")?);
    let mut all: Vec<Moment> = Vec::new();
    for i in 0..step.len() {
        if all.last().is_none_or(|moment| moment.step != step[i]) {
            all.push(Moment {
                step: step[i],
                ..Moment::default()
            });
        }
        if let Some(moment) = all.last_mut() {
            moment.weight.push(weight[i]);
            moment.by_test.push(by_test[i]);
            moment.by_costate.push(by_costate[i]);
        }
    }
    let even = all
        .windows(2)
        .all(|pair| pair[0].weight.len() == pair[1].weight.len());
    if even {
        Ok(all)
    } else {
        Err(damaged("steps have different numbers of examples", file))
    }
}

/// A column as numbers, NaN where it is empty.
fn numbers(frame: &DataFrame, name: &str, file: &Path) -> Result<Vec<f64>> {
    let bad = |error: polars::prelude::PolarsError| damaged(&error.to_string(), file);
    let column = frame
        .column(name)
        .and_then(|column| column.cast(&DataType::Float64));
    let column = column.map_err(bad)?;
    let values = column.f64().map_err(bad)?;
    Ok(values.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}
