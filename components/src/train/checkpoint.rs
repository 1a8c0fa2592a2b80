//! Checkpoints: one committed folder a checkpoint, so that a reader sees all of it or none.
//!
//! A checkpoint is written into a scratch folder, synced, and renamed to `checkpoint-<step>`. The newest is read; older
//! ones go once a newer one is committed.

use super::curve::{self, Point};
use super::optimizer::Optimizer;
use crate::context::make_folder;
use crate::format::newer_format;
use crate::model::{Decoder, Flat, read_tensors, write_flat};
use crate::{Error, Result, disk};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorCreationOptions, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const PREFIX: &str = "checkpoint-";
/// The layout that this program writes and reads.
const FORMAT: u32 = 1;

/// What `position.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// Version of the checkpoint's layout.
    format: u32,
    position: Position,
}

/// Where a training stands, besides weights and moments. Batches follow from the step and the seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// Steps taken.
    pub(crate) step: u64,
    /// Tokens trained on.
    pub(crate) tokens: u64,
    /// FLOPs spent.
    pub(crate) flops: f64,
    /// Best evaluated loss so far.
    pub(crate) best: Option<f64>,
    /// Measurements since then.
    pub(crate) since_best: u64,
}

/// Commits a checkpoint and removes older ones.
pub(crate) fn save(
    scratch: &Path,
    decoder: &Decoder,
    optimizer: &Optimizer,
    position: &Position,
    points: &[Point],
) -> Result<()> {
    let attempt = scratch.join("attempt");
    remove(&attempt)?;
    make_folder(&attempt)?;
    write_flat(&attempt.join("model.safetensors"), &collect(decoder))?;
    write_flat(&attempt.join("optimizer.safetensors"), &optimizer.state())?;
    curve::write(&attempt.join("curve.parquet"), points)?;
    let state = attempt.join("position.json");
    let text = serde_json::to_vec(&State {
        format: FORMAT,
        position: position.clone(),
    });
    disk::write(&state, text.expect("plain data")).map_err(Error::io("cannot write", &state))?;
    for name in [
        "model.safetensors",
        "optimizer.safetensors",
        "curve.parquet",
        "position.json",
        "",
    ] {
        sync(&attempt.join(name))?;
    }
    let committed = scratch.join(format!("{PREFIX}{}", position.step));
    remove(&committed)?;
    disk::rename(&attempt, &committed).map_err(Error::io("cannot make", &committed))?;
    sync(scratch)?;
    for (step, folder) in list(scratch)? {
        if step < position.step {
            remove(&folder)?;
        }
    }
    Ok(())
}

/// Puts the newest checkpoint into `decoder` and `optimizer`, and gives its position and curve; the beginning if there is none.
///
/// # Errors
/// `bad_checkpoint` if it is not that of this model: weights are missing, of another shape or not the model's, or moments
/// are; `bad_safetensors` for a damaged file.
pub(crate) fn restore(
    scratch: &Path,
    decoder: Decoder,
    optimizer: &mut Optimizer,
) -> Result<(Decoder, Position, Vec<Point>)> {
    let Some((_, folder)) = list(scratch)?.pop() else {
        return Ok((decoder, Position::default(), Vec::new()));
    };
    let file = folder.join("position.json");
    let text = fs::read(&file).map_err(Error::io("cannot read", &file))?;
    if let Some(format) = newer_format(&text, FORMAT) {
        return Err(Error::newer(&file, format, FORMAT));
    }
    let bad = |what: String| {
        Error::data("bad_checkpoint", what)
            .in_file(&folder)
            .hint("delete the folder; training starts afresh")
    };
    let State { position, .. } =
        serde_json::from_slice(&text).map_err(|error: serde_json::Error| bad(error.to_string()))?;
    let decoder = fill(decoder, read_tensors(&folder.join("model.safetensors"))?).map_err(bad)?;
    let state = read_tensors(&folder.join("optimizer.safetensors"))?;
    optimizer
        .restore(position.step, state, &sizes(&decoder), &decoder.embedding.val())
        .map_err(bad)?;
    let points = curve::read(&folder.join("curve.parquet"))?;
    Ok((decoder, position, points))
}

/// Committed checkpoints, oldest first.
fn list(scratch: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = fs::read_dir(scratch).map_err(Error::io("cannot read", scratch))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("cannot read", scratch))?;
        let step = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        found.extend(step.map(|step| (step, entry.path())));
    }
    found.sort();
    Ok(found)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("cannot remove", folder)(error))
        }
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<()> {
    disk::sync(path).map_err(Error::io("cannot sync", path))
}

/// A module's parameters by path.
pub(crate) fn collect<M: Module>(module: &M) -> BTreeMap<String, Flat> {
    let mut collect = Collect::default();
    module.visit(&mut collect);
    collect.tensors
}

/// Numbers in each of a module's parameters, by path.
pub(crate) fn sizes<M: Module>(module: &M) -> BTreeMap<String, usize> {
    let parameters = collect(module).into_iter();
    parameters.map(|(path, values)| (path, values.len())).collect()
}

/// A module with its parameters replaced by path; else what is missing, or too much.
pub(crate) fn fill<M: Module>(module: M, tensors: BTreeMap<String, TensorData>) -> Result<M, String> {
    let mut fill = Fill {
        tensors,
        ..Fill::default()
    };
    let module = module.map(&mut fill);
    if let Some(path) = fill.missing {
        return Err(format!("it has no weights that fit `{path}`"));
    }
    match fill.tensors.keys().next() {
        Some(path) => Err(format!("it has weights `{path}`, which the model does not have")),
        None => Ok(module),
    }
}

/// Collects a module's parameters by path.
#[derive(Default)]
struct Collect {
    path: Vec<String>,
    tensors: BTreeMap<String, Flat>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.tensors.insert(self.path.join("."), Flat::of(param.val()));
    }
}

/// Replaces a module's parameters by path.
#[derive(Default)]
struct Fill {
    path: Vec<String>,
    tensors: BTreeMap<String, TensorData>,
    missing: Option<String>,
}

impl ModuleMapper for Fill {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let (id, tensor, mapper) = param.consume();
        let fits = |data: &TensorData| data.shape().as_slice() == tensor.dims();
        let Some(data) = self.tensors.remove(&path).filter(fits) else {
            self.missing.get_or_insert(path);
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let options = TensorCreationOptions::new(tensor.device()).with_dtype(tensor.dtype());
        let filled = Tensor::from_data(data, options);
        let filled = if tensor.is_autodiff() {
            filled.require_grad()
        } else {
            filled
        };
        Param::from_mapped_value(id, filled, mapper)
    }
}
