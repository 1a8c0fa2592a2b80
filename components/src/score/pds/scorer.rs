//! A decoder's trunk with a head that scores texts, in memory and in an artifact.

use super::head::{HeadShape, ScorerHead};
use crate::artifact::Source;
use crate::inference::windows::padded;
use crate::model::{self, Decoder, Loaded, ModelConfig, ModelDetails, finish, read_tensors, write_tensors};
use crate::{Artifact, Context, Error, Result, disk};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The head's weights, beside the trunk's.
const HEAD: &str = "scorer.safetensors";
/// What the head is and how it was trained.
const ABOUT: &str = "scorer.json";

/// What `scorer.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    /// The head's shape.
    pub(super) shape: HeadShape,
    /// The scores that it learnt.
    pub(super) scores: Source,
    /// Rank correlation with the labels of blocks it has not seen.
    pub(super) spearman: Option<f64>,
}

/// A trunk and its head.
#[derive(Module, Debug)]
pub(super) struct ScorerModel {
    pub(super) trunk: Decoder,
    pub(super) head: ScorerHead,
}

impl ScorerModel {
    /// The scores `[b]` of texts of at least one token.
    pub(super) fn score(&self, texts: &[&[u32]], device: &Device) -> Tensor<1> {
        let (inputs_bt, _) = padded(texts, device);
        let lengths: Vec<usize> = texts.iter().map(|ids| ids.len()).collect();
        self.head.score(self.trunk.hidden(inputs_bt), &lengths)
    }

    /// The artifact: a model folder with the head's files. Its language-model head is what it was before.
    pub(super) fn save(
        &self,
        folder: &Path,
        config: &ModelConfig,
        details: &ModelDetails,
        about: &About,
        tokenizer: &Path,
    ) -> Result<()> {
        let plain = self.clone().valid();
        let mut config = config.clone();
        config.set_dtype(match plain.trunk.embedding.val().dtype() {
            DType::F64 => "float64",
            _ => "float32",
        });
        let weights = folder.join("model.safetensors");
        write_tensors(&weights, &plain.trunk.to_named(&config))?;
        let mut numbers: BTreeMap<String, TensorData> = BTreeMap::new();
        numbers.insert("weight".to_owned(), plain.head.weight.val().into_data());
        if let Some(bias) = &plain.head.bias {
            numbers.insert("bias".to_owned(), bias.val().into_data());
        }
        let head = folder.join(HEAD);
        write_tensors(&head, &numbers)?;
        let file = folder.join(ABOUT);
        let text = serde_json::to_vec_pretty(about).expect("plain data");
        disk::write(&file, text).map_err(Error::io("cannot write", &file))?;
        finish(folder, &config, &[weights, head, file], details, tokenizer)
    }

    /// Reads an artifact to be asked. `not_a_scorer`: a model without a head for scores. `bad_artifact`.
    pub(super) fn open(artifact: &Artifact, context: &Context) -> Result<(Self, Loaded)> {
        let file = artifact.path.join(ABOUT);
        if !file.exists() {
            let message = format!("`{}` is a model without a head that scores", artifact.label);
            return Err(Error::data("not_a_scorer", message).hint("name a step that uses `train.scorer`"));
        }
        let bad = |what: String, file: &Path| {
            Error::data("bad_artifact", what)
                .in_file(file)
                .hint("delete the artifact's folder; the next run makes it again")
        };
        let text = std::fs::read(&file).map_err(Error::io("cannot read", &file))?;
        let about: About = serde_json::from_slice(&text).map_err(|error| bad(error.to_string(), &file))?;
        let loaded = model::load_frozen(artifact, &context.device, context.precision)?;
        let file = artifact.path.join(HEAD);
        let mut numbers = read_tensors(&file)?;
        let mut take = |name: &str| {
            let data = numbers.remove(name)?.convert::<f64>();
            data.try_into_vec::<f64>().ok()
        };
        let width = loaded.config.hidden_size;
        let weight = take("weight").filter(|weight| weight.len() == width);
        let weight = weight.ok_or_else(|| bad(format!("it has no weight of {width} numbers"), &file))?;
        let bias = take("bias").and_then(|bias| bias.first().copied());
        let head = ScorerHead::new(about.shape, weight, bias, &loaded.decoder.norm.val());
        let model = Self {
            trunk: loaded.decoder.clone(),
            head,
        };
        Ok((model, loaded))
    }

    /// Number of parameters that training changes.
    pub(super) fn parameters(&self) -> u64 {
        struct Count(u64);
        impl ModuleVisitor for Count {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0 += param.val().dims().iter().product::<usize>() as u64;
            }
        }
        let mut count = Count(0);
        self.visit(&mut count);
        count.0
    }
}
