//! Running a whole plan.

use super::clock::Moment;
use super::expected;
use super::needs::Needs;
use super::record::{FORMAT, RunFolder, RunRecord, Status, StepRecord};
use super::step;
use crate::cli::say;
use crate::device::{Chosen, cpu_name};
use crate::plan::{Plan, Planned};
use crate::spec::{Resolved, to_toml};
use crate::store::Store;
use crate::units::{duration, number};
use lyceum_components::{Cancel, Error, Result, context, disk};
use std::io;
use std::path::Path;

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Its folder.
    pub folder: RunFolder,
    /// Its record, as saved.
    pub record: RunRecord,
    /// The step that failed and why, if one did.
    pub failure: Option<(String, Error)>,
}

/// Runs every step of a plan that is not in the store, in order, and keeps a record.
///
/// # Errors
/// Only what keeps the record from being written; a failed step is part of the outcome.
pub fn run(
    resolved: &Resolved,
    plan: &Plan,
    store: &Store,
    device: &Chosen,
    cancel: &Cancel,
) -> Result<Ended> {
    let started = Moment::now();
    let (id, folder) = make_folder(store, started)?;
    let links = folder.path.join("steps");
    context::make_folder(&links)?;
    let resolved_file = folder.resolved_file();
    disk::write(&resolved_file, to_toml(resolved)).map_err(Error::io("cannot write", &resolved_file))?;
    let mut record = RunRecord {
        format: FORMAT,
        id,
        experiment: resolved.experiment.name.clone(),
        title: resolved.experiment.title.clone(),
        file: resolved
            .file
            .strip_prefix(&resolved.root)
            .unwrap_or(&resolved.file)
            .to_path_buf(),
        started: started.rfc3339(),
        finished: None,
        status: Status::Running,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        device: device.name.clone(),
        cpu: cpu_name(),
        steps: Vec::new(),
        verdicts: Vec::new(),
    };
    let needed = plan.steps.iter().map(location).collect();
    Needs::write(&folder, needed).map_err(Error::io("cannot write in", &folder.path))?;
    save(&folder, &record)?;
    step::wait_until_freed(store, cancel)?;
    super::runs::point_latest(store.home(), &record.id);
    let mut failure = None;
    for (index, planned) in plan.steps.iter().enumerate() {
        let header = format!(
            "[{}/{}] {}  {}",
            index + 1,
            plan.steps.len(),
            planned.step.id,
            planned.step.component.name
        );
        // Planned from the store, it may have been freed since; from here on it is not.
        let cached = planned.cached.as_ref().filter(|_| {
            let found = store.find(planned.step.component.name, &planned.key);
            found.is_some()
        });
        let done = match cached {
            Some(manifest) => {
                say(&format!("{header}  cached"));
                Ok(step::record(planned, manifest, true))
            }
            None => {
                say(&header);
                let events = folder.path.join("tensorboard").join(&planned.step.id);
                let events = resolved.runtime.tensorboard.then_some(events);
                step::run(planned, store, device, cancel, events)
            }
        };
        let done = done.and_then(|step| expected::check(planned, store).map(|()| step));
        match done {
            Ok(step) => {
                tell(&step);
                link(&links, planned, store);
                record.steps.push(step);
                save(&folder, &record)?;
            }
            Err(error) => {
                record.steps.push(StepRecord {
                    id: planned.step.id.clone(),
                    component: planned.step.component.name.to_owned(),
                    key: planned.key.clone(),
                    location: location(planned),
                    error: Some(error.to_string()),
                    ..StepRecord::default()
                });
                failure = Some((planned.step.id.clone(), error));
                break;
            }
        }
    }
    record.status = match &failure {
        None => Status::Done,
        Some((_, Error::Interrupted)) => Status::Interrupted,
        Some(_) => Status::Failed,
    };
    record.finished = Some(Moment::now().rfc3339());
    match (save(&folder, &record), &failure) {
        // Why the step failed is worth more than that it could not be noted.
        (Err(error), Some(_)) => say(&format!("note: {error}")),
        (saved, _) => saved?,
    }
    if failure.is_none() {
        Needs::remove(&folder);
    }
    Ok(Ended {
        folder,
        record,
        failure,
    })
}

/// Where the artifact of a planned step lies.
fn location(planned: &Planned) -> String {
    Store::location(planned.step.component.name, &planned.key, "")
}

fn tell(step: &StepRecord) {
    if step.cached {
        return;
    }
    let mut parts = vec![duration(step.wall_seconds)];
    if step.tokens > 0 {
        parts.push(format!("{} tokens", number(step.tokens as f64)));
    }
    if let Some(rate) = step.measures.get("tokens_per_second") {
        parts.push(format!("{} tokens/s", number(*rate)));
    }
    say(&format!("  done in {}", parts.join(", ")));
}

/// Links a step's artifact by name. A file system without links only loses the convenience.
fn link(links: &Path, planned: &Planned, store: &Store) {
    let target = store.folder(planned.step.component.name, &planned.key);
    let target = target
        .strip_prefix(store.home())
        .map_or(target.clone(), |inside| Path::new("../../..").join(inside));
    #[cfg(unix)]
    let _ = disk::symlink(&target, &links.join(&planned.step.id));
}

fn save(folder: &RunFolder, record: &RunRecord) -> Result<()> {
    folder
        .save(record)
        .map_err(Error::io("cannot write", folder.record_file()))
}

/// Makes the folder of a run under a name that no other run has: the time, to a part of 65,536 of a second, so that names
/// sort as the runs started.
fn make_folder(store: &Store, started: Moment) -> Result<(String, RunFolder)> {
    context::make_folder(&store.home().join("runs"))?;
    let mut fraction = started.fraction();
    loop {
        let id = format!("{}-{fraction:04x}", started.compact());
        fraction = fraction.wrapping_add(1);
        let folder = RunFolder::new(store.home(), &id);
        match disk::create_dir(&folder.path) {
            Ok(()) => return Ok((id, folder)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
            Err(error) => return Err(Error::io("cannot make the folder", &folder.path)(error)),
        }
    }
}
