//! Running one step: locked, in a private folder, published whole or not at all.

use super::memory;
use super::record::StepRecord;
use super::services::StepServices;
use super::shards;
use crate::device::{Chosen, cpu_features};
use crate::plan::Planned;
use crate::store::{MadeBy, Manifest, Owner, Store};
use lyceum_components::{Artifact, Cancel, Context, Error, Result, Shard};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Runs a step that is not in the store, or waits for the process that runs it. `events` is the folder of its TensorBoard
/// events, if they are wanted.
///
/// # Errors
/// What the component says; nothing is published then, and the scratch folder stays for the next try.
pub(super) fn run(
    planned: &Planned,
    store: &Store,
    device: &Chosen,
    cancel: &Cancel,
    events: Option<PathBuf>,
) -> Result<StepRecord> {
    let step = &planned.step;
    let name = step.component.name;
    let start = Instant::now();
    let mut told = false;
    let lock = store.lock(name, &planned.key, |owner: Option<&Owner>| {
        if !std::mem::replace(&mut told, true) {
            let who = owner.map_or(String::new(), |owner| format!(" (process {})", owner.pid));
            crate::cli::say(&format!("  {}: another process{who} is at it; waiting", step.id));
        }
        Waiting::unless(cancel)
    });
    let folder = store.path().join(name);
    let _lock = lock.map_err(|waiting| waiting.error(&folder))?;
    if let Some(manifest) = store.find(name, &planned.key) {
        return Ok(record(planned, &manifest, true));
    }
    store.refuse_newer(name, &planned.key)?;
    let scratch = store.scratch(&planned.key);
    lyceum_components::context::make_folder(&scratch)?;
    let attempt = store
        .attempt(name, &planned.key)
        .map_err(Error::io("cannot write in", &folder))?;
    let services = Arc::new(StepServices::new(store, planned, events));
    let context = Context {
        device: device.device.clone(),
        precision: step.precision,
        seed: step.seed.unwrap_or_default(),
        shard: Shard::WHOLE,
        output: attempt.folder().to_path_buf(),
        scratch: scratch.clone(),
        cancel: cancel.clone(),
        services: services.clone(),
    };
    memory::reset_peak();
    let before = Instant::now();
    caught(|| match step.shards {
        1 => (step.component.run)(&step.params, &context),
        _ => shards::run(planned, store, &context),
    })?;
    let inside = before.elapsed().as_secs_f64();
    check_outputs(planned, attempt.folder())?;
    let noted = services.noted();
    let manifest = Manifest {
        format: 0, // set when it is published
        component: name.to_owned(),
        version: step.component.version,
        key: planned.key.clone(),
        request: planned.request.clone(),
        inputs: planned.inputs.clone(),
        outputs: step.outputs.iter().map(|output| output.name.clone()).collect(),
        made_by: MadeBy {
            lyceum: env!("CARGO_PKG_VERSION").to_owned(),
            device: device.class.clone(),
            cpu_features: cpu_features(),
        },
        cost: noted.cost,
        files: Vec::new(),
    };
    let published = attempt
        .publish(manifest)
        .map_err(Error::io("cannot publish in", &folder))?;
    // The artifact stands; what is left in the scratch folder only takes space.
    let _ = std::fs::remove_dir_all(&scratch);
    let wall_seconds = start.elapsed().as_secs_f64();
    Ok(StepRecord {
        wall_seconds,
        overhead_seconds: wall_seconds - inside,
        peak_memory_bytes: memory::peak(),
        measures: noted.measures,
        ..record(planned, &published, false)
    })
}

/// Refuses to publish what is not what the component declared (`internal`).
fn check_outputs(planned: &Planned, folder: &Path) -> Result<()> {
    for output in &planned.step.outputs {
        let written = Artifact::open(&folder.join(&output.name), "", &planned.step.id);
        let found = match &written {
            Ok(artifact) if artifact.header.kind == output.kind => continue,
            Ok(artifact) => format!("a {}", artifact.header.kind.name()),
            Err(error) => error.to_string(),
        };
        let declared = output.kind.name();
        return Err(internal(&format!(
            "`{}` left no {declared} as output `{}`: {found}",
            planned.step.component.name, output.name
        )));
    }
    Ok(())
}

/// The record of a step whose artifact is there.
pub(super) fn record(planned: &Planned, manifest: &Manifest, cached: bool) -> StepRecord {
    StepRecord {
        id: planned.step.id.clone(),
        component: planned.step.component.name.to_owned(),
        key: planned.key.clone(),
        location: Store::location(planned.step.component.name, &planned.key, ""),
        cached,
        tokens: manifest.cost.tokens,
        flops: manifest.cost.flops,
        ..StepRecord::default()
    }
}

/// Waits while the store is freed, once a run has said what it needs.
pub(super) fn wait_until_freed(store: &Store, cancel: &Cancel) -> Result<()> {
    let mut told = false;
    let freed = store.wait_until_freed(|| {
        if !std::mem::replace(&mut told, true) {
            crate::cli::say("the store is being freed; waiting");
        }
        Waiting::unless(cancel)
    });
    freed.map_err(|waiting| waiting.error(&store.path()))
}

/// Why waiting for a lock ended.
enum Waiting {
    Interrupted,
    Io(std::io::Error),
}

impl Waiting {
    /// Goes on, unless the user has had enough.
    fn unless(cancel: &Cancel) -> Result<(), Self> {
        if cancel.is_cancelled() {
            Err(Self::Interrupted)
        } else {
            Ok(())
        }
    }

    fn error(self, folder: &Path) -> Error {
        match self {
            Self::Interrupted => Error::Interrupted,
            Self::Io(source) => Error::io("cannot lock an artifact in", folder)(source),
        }
    }
}

impl From<std::io::Error> for Waiting {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs a component; a panic becomes an error that names the place, and asks for a report.
fn caught(run: impl FnOnce() -> Result<()>) -> Result<()> {
    static MESSAGE: Mutex<String> = Mutex::new(String::new());
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(|info| {
        *MESSAGE.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
    }));
    let result = catch_unwind(AssertUnwindSafe(run));
    std::panic::set_hook(earlier);
    result.unwrap_or_else(|_| {
        let message = std::mem::take(&mut *MESSAGE.lock().unwrap_or_else(PoisonError::into_inner));
        Err(internal(&message.replace('\n', ": ")))
    })
}

fn internal(message: &str) -> Error {
    Error::data("internal", format!("internal error: {message}")).hint(
        "this is a mistake in lyceum, not in your experiment; please report it with the experiment file",
    )
}
