//! What a running component is given besides its parameters.

use crate::artifact::Source;
use crate::lineage::{self, Made};
use crate::random::Stream;
use crate::reference::{Accepts, FilePath, FolderPath, Ref, Refs, ShardsPath, TaskPath};
use crate::train::Point;
use crate::{Artifact, Error, Result, disk};
use burn::tensor::{Device, FloatDType};
use lyceum_kernels::Products;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Floating-point type a step computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit.
    #[default]
    F32,
    /// bfloat16 for matrix products, f32 elsewhere.
    Bf16,
    /// 64-bit, for references and checks.
    F64,
}

impl Precision {
    /// The tensor type that parameters and activations are held in.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::F32 | Self::Bf16 => FloatDType::F32,
            Self::F64 => FloatDType::F64,
        }
    }

    /// How matrix products are formed.
    pub fn products(self) -> Products {
        match self {
            Self::F32 | Self::F64 => Products::Full,
            Self::Bf16 => Products::Bf16,
        }
    }
}

/// Which part of the work this run does: `index` of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u64,
    /// At least 1.
    pub count: u64,
}

impl Shard {
    /// All of the work.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// This shard's range of `items` items; the ranges of all shards tile `0..items` in order.
    pub fn range(self, items: u64) -> std::ops::Range<u64> {
        let cut = |i: u64| (u128::from(items) * u128::from(i) / u128::from(self.count)) as u64;
        cut(self.index)..cut(self.index + 1)
    }
}

/// Set once when the user asks to stop.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks everything that holds this handle to stop at its next safe point.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether stopping was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A progress display for one piece of work.
pub trait Bar: Send + Sync {
    /// `units` more are done.
    fn advance(&self, units: u64);
    /// What to show beside the bar, as in "loss 3.21".
    fn message(&self, text: &str);
}

/// What the runner does for a running component.
pub trait Services: Send + Sync {
    /// Opens the artifact that a reference of this step names.
    fn artifact(&self, reference: &str) -> Result<Artifact>;
    /// Opens an artifact by the location another artifact recorded (see [`Artifact::location`]).
    fn artifact_at(&self, location: &str) -> Result<Artifact>;
    /// How the artifact at a location (see [`Artifact::location`]) was made. `unknown_cost` where that is not known.
    fn made(&self, location: &str) -> Result<Made> {
        Err(lineage::unknown(location))
    }
    /// Where a file the user named lies.
    fn file(&self, path: &FilePath) -> Result<PathBuf>;
    /// The folder that the environment variable LYCEUM_DATA names, if it does.
    fn data(&self) -> Option<PathBuf> {
        None
    }
    /// Where a folder the user named lies.
    fn folder(&self, path: &FolderPath) -> Result<PathBuf>;
    /// Shows progress over `total` `unit`s (as in "tokens") of work called `what`.
    fn bar(&self, what: &str, total: u64, unit: &'static str) -> Box<dyn Bar>;
    /// Notes a figure that may differ between equal runs (speed, memory); kept with the run, not in the artifact.
    fn measure(&self, name: &str, value: f64);
    /// Notes what the step cost: tokens processed and FLOPs. The same for equal runs; kept in the manifest.
    fn cost(&self, tokens: u64, flops: f64);
    /// Shows points of the training curve as they are measured. Only for looking at: the artifact holds them too.
    fn curve(&self, _points: &[Point]) {}
    /// Says something worth reading to the user.
    fn note(&self, text: &str);
}

/// Everything a running component may touch.
#[derive(Clone)]
pub struct Context {
    /// Where tensors live. Never an autodiff device; the trainer asks for that itself.
    pub device: Device,
    /// What tensors are made of.
    pub precision: Precision,
    /// The step's seed.
    pub seed: u64,
    /// This run's share of the work.
    pub shard: Shard,
    /// Folder the outputs go to.
    pub output: PathBuf,
    /// Folder for checkpoints and partial work; it survives a restart and goes when the step is done.
    pub scratch: PathBuf,
    /// Asks for an orderly stop.
    pub cancel: Cancel,
    /// What the runner does for the component.
    pub services: Arc<dyn Services>,
}

impl Context {
    /// The random stream called `name` under the step's seed.
    pub fn stream(&self, name: &str) -> Stream {
        Stream::new(self.seed, name)
    }

    /// Fails with [`Error::Interrupted`] once stopping was asked for.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Opens the artifact behind a reference.
    pub fn open<A: Accepts>(&self, reference: &Ref<A>) -> Result<Artifact> {
        self.services.artifact(reference.as_str())?.expect(A::KINDS)
    }

    /// Opens the artifacts behind a list of references, in order.
    pub fn open_all<A: Accepts>(&self, references: &Refs<A>) -> Result<Vec<Artifact>> {
        references
            .iter()
            .map(|r| self.services.artifact(r)?.expect(A::KINDS))
            .collect()
    }

    /// Opens what another artifact speaks of. `fingerprint_mismatch`: something else has taken its place.
    pub fn open_source(&self, source: &Source) -> Result<Artifact> {
        let artifact = self.services.artifact_at(&source.location)?;
        if artifact.header.fingerprint == source.fingerprint {
            return Ok(artifact);
        }
        let message = format!("`{}` is not what it was when it was recorded", source.location);
        Err(Error::data("fingerprint_mismatch", message))
    }

    /// Where a file the user named lies.
    pub fn file(&self, path: &FilePath) -> Result<PathBuf> {
        self.services.file(path)
    }

    /// Where a task file the user named lies.
    pub fn task(&self, path: &TaskPath) -> Result<PathBuf> {
        self.services.file(&FilePath(path.0.clone()))
    }

    /// Where a folder the user named lies.
    pub fn folder(&self, path: &FolderPath) -> Result<PathBuf> {
        self.services.folder(path)
    }

    /// Where a folder of token shards the user named lies.
    pub fn shards(&self, path: &ShardsPath) -> Result<PathBuf> {
        self.services.folder(&FolderPath(path.0.clone()))
    }

    /// Makes and gives the folder of the output called `name` (empty: the main one).
    pub fn output(&self, name: &str) -> Result<PathBuf> {
        let folder = self.output.join(name);
        make_folder(&folder)?;
        Ok(folder)
    }
}

/// Makes a folder and its parents.
pub fn make_folder(folder: &Path) -> Result<()> {
    disk::create_dir_all(folder).map_err(Error::io("cannot make the folder", folder))
}
