//! `model.export`: a model written for other programs, in a type of their choice.

use super::files::{ModelDetails, finish};
use super::stored::{Stored, Weights};
use super::tensors::write_tensors;
use super::{fill, folder};
use crate::component::{Estimate, Output, Size, Sizes, main_output};
use crate::reference::{self, Ref};
use crate::{Component, Context, Kind, Result};
use burn::tensor::TensorData;
use half::{bf16, f16};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Writes a model for other programs.
#[derive(Debug)]
pub enum Export {}

/// A type to store weights in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 64 bits.
    Float64,
    /// 32 bits.
    #[default]
    Float32,
    /// 16 bits, of which 8 for the exponent.
    Bfloat16,
    /// 16 bits, of which 5 for the exponent.
    Float16,
}

impl Dtype {
    fn name(self) -> &'static str {
        match self {
            Self::Float64 => "float64",
            Self::Float32 => "float32",
            Self::Bfloat16 => "bfloat16",
            Self::Float16 => "float16",
        }
    }

    /// Bytes of a number.
    fn size(self) -> f64 {
        match self {
            Self::Float64 => 8.0,
            Self::Float32 => 4.0,
            Self::Bfloat16 | Self::Float16 => 2.0,
        }
    }
}

/// Parameters of `model.export`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportParams {
    /// The model.
    pub model: Ref<reference::Model>,
    /// The type that its weights are stored in.
    #[serde(default)]
    pub dtype: Dtype,
}

impl Component for Export {
    type Params = ExportParams;
    const NAME: &'static str = "model.export";
    const SUMMARY: &'static str = "writes a model in Hugging Face's layout, in a type of one's choice";
    const EXAMPLE: &'static str = r#"use = "model.export"
model = "@model"
dtype = "bfloat16"
"#;

    fn outputs(_: &ExportParams) -> Vec<Output> {
        main_output(Kind::Model)
    }

    fn estimate(params: &ExportParams, sizes: &Sizes) -> Estimate {
        let model = sizes.of(params.model.as_str());
        let size = Size {
            bytes: params.dtype.size() * model.parameters,
            ..model
        };
        Estimate {
            outputs: [(String::new(), size)].into(),
            memory: size.bytes,
            ..Estimate::default()
        }
    }

    fn run(params: ExportParams, context: &Context) -> Result<()> {
        let artifact = context.open(&params.model)?;
        let details: ModelDetails = artifact.details()?;
        let mut config = folder::config(&artifact.path)?;
        config.set_dtype(params.dtype.name());
        let weights = Weights::open(&artifact.path)?;
        let mut tensors = BTreeMap::new();
        for name in weights.names() {
            context.check_cancelled()?;
            if let Some(view) = weights.find(name)? {
                let shape = view.shape.to_vec();
                let data = match params.dtype {
                    Dtype::Float64 => TensorData::new(fill::copied::<f64>(view), shape),
                    Dtype::Float32 => TensorData::new(fill::copied::<f32>(view), shape),
                    Dtype::Bfloat16 => TensorData::new(fill::copied::<bf16>(view), shape),
                    Dtype::Float16 => TensorData::new(fill::copied::<f16>(view), shape),
                };
                tensors.insert(name.to_owned(), data);
                weights.release(name);
            }
        }
        let to = context.output("")?;
        let file = to.join("model.safetensors");
        write_tensors(&file, &tensors)?;
        finish(&to, &config, &[file], &details, &artifact.path)
    }
}
