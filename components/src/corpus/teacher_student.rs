//! `corpus.teacher_student`: labelled inputs drawn at random, for a perceptron (learning law, sheet 4).

use crate::component::Output;
use crate::policy::{PerceptronData, perceptron_data, write_labelled};
use crate::{Component, Context, Estimate, Kind, Result, Seeding, Size, Sizes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Inputs of normal numbers, labelled by one random linear teacher without noise. `train` lies about 0; `target` and `test` are
/// of one law, elsewhere. A document's text is its inputs, its column `label` is 0 or 1.
#[derive(Debug)]
pub enum TeacherStudent {}

/// Parameters of `corpus.teacher_student`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TeacherStudentParams {
    /// Inputs of an example.
    #[serde(default = "width")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub width: usize,
    /// Examples of `train`.
    #[serde(default = "train")]
    #[schemars(range(min = 2, max = 100_000_000), extend("x-unit" = "examples"))]
    pub train: usize,
    /// Examples of `target`, and as many of `test`.
    #[serde(default = "target")]
    #[schemars(range(min = 1, max = 100_000_000), extend("x-unit" = "examples"))]
    pub target: usize,
    /// Standard deviation of training inputs, about 0.
    #[serde(default = "train_deviation")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub train_deviation: f64,
    /// Mean of the inputs of `target` and `test`.
    #[serde(default = "target_mean")]
    pub target_mean: f64,
    /// Their standard deviation.
    #[serde(default = "target_deviation")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub target_deviation: f64,
}

fn width() -> usize {
    128
}
fn train() -> usize {
    4096
}
fn target() -> usize {
    512
}
fn train_deviation() -> f64 {
    3_f64.sqrt()
}
fn target_mean() -> f64 {
    0.5
}
fn target_deviation() -> f64 {
    1.0
}

impl TeacherStudentParams {
    /// The outputs and how many examples each has.
    fn counts(&self) -> [(&'static str, usize); 3] {
        [
            ("train", self.train),
            ("target", self.target),
            ("test", self.target),
        ]
    }
}

impl Component for TeacherStudent {
    type Params = TeacherStudentParams;
    const NAME: &'static str = "corpus.teacher_student";
    const SUMMARY: &'static str = "Draws labelled inputs for a perceptron";
    const PAPER: Option<&'static str> = Some("learning_law");
    const SEEDING: Seeding = Seeding::Fixed;
    const EXAMPLE: &'static str = r#"use = "corpus.teacher_student"
width = 32
train = 256
target = 128
"#;

    fn outputs(params: &TeacherStudentParams) -> Vec<Output> {
        let output = |(name, _): (&str, usize)| Output {
            name: name.to_owned(),
            kind: Kind::Corpus,
        };
        params.counts().into_iter().map(output).collect()
    }

    fn estimate(params: &TeacherStudentParams, _: &Sizes) -> Estimate {
        let size = |(name, count): (&str, usize)| {
            let numbers = (count * params.width) as f64;
            let size = Size {
                items: count as f64,
                tokens: numbers,
                bytes: 20.0 * numbers,
                ..Size::default()
            };
            (name.to_owned(), size)
        };
        Estimate {
            outputs: params.counts().into_iter().map(size).collect(),
            ..Estimate::default()
        }
    }

    fn run(params: TeacherStudentParams, context: &Context) -> Result<()> {
        let split = perceptron_data::<f64>(PerceptronData {
            seed: context.seed,
            width: params.width,
            train: params.train,
            target: params.target,
            train_deviation: params.train_deviation,
            target_mean: params.target_mean,
            target_deviation: params.target_deviation,
        });
        for (name, examples) in [
            ("train", &split.train),
            ("target", &split.target),
            ("test", &split.test),
        ] {
            context.check_cancelled()?;
            write_labelled(&context.output(name)?, params.width, examples)?;
        }
        Ok(())
    }
}
