//! Running the points that are not done, each as a process of its own.
//!
//! Any number of processes may work on one sweep: whoever holds the lock in a point's folder runs it. Points that others
//! hold are passed over and looked at again at the end, so that a dead process's points are taken over.

use super::folder::{FORMAT, PointRecord};
use super::prepare::{Prepared, Ready};
use super::show::Show;
use crate::execute::child::{Job, JobEnded, run_jobs};
use crate::execute::{RunFolder, Status};
use crate::plan::Plan;
use crate::spec::to_toml;
use crate::store::{Lock, Store, is_held};
use lyceum_components::{Cancel, disk};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

/// How to run a sweep.
#[derive(Debug, Clone)]
pub struct How {
    /// Points at a time.
    pub jobs: usize,
    /// Folders outside the root that may be read.
    pub allow: Vec<PathBuf>,
    /// Environment variables whose settings the points have already.
    pub without: Vec<String>,
}

/// Runs every point that is not done, and tells how each stands at the end; none for those it did not get to because it
/// was cancelled. `keys` belong to the points in their order.
///
/// # Errors
/// What keeps state from being written or children from being started.
pub fn run(
    prepared: &Prepared,
    keys: &[Keys],
    how: &How,
    cancel: &Cancel,
    show: &mut Show,
) -> io::Result<Vec<Option<PointRecord>>> {
    let runner = RefCell::new(Runner {
        prepared,
        keys,
        how,
        show,
        started: SystemTime::now(),
        queue: (0..prepared.points.len()).collect(),
        held: Vec::new(),
        records: vec![None; prepared.points.len()],
    });
    loop {
        run_jobs(
            how.jobs,
            cancel,
            || runner.borrow_mut().next(),
            |(point, _), line| {
                let show = &mut *runner.borrow_mut().show;
                show.says(*point, &prepared.points[*point], line);
            },
            |(point, lock), ended| {
                runner.borrow_mut().ended(point, &ended, cancel);
                drop(lock);
            },
        )?;
        let runner = &mut *runner.borrow_mut();
        if let Some(error) = runner.show.failure.take() {
            return Err(error);
        }
        if runner.held.is_empty() || cancel.is_cancelled() {
            return Ok(std::mem::take(&mut runner.records));
        }
        runner.wait(cancel)?;
        runner.queue = std::mem::take(&mut runner.held).into();
    }
}

/// Component and key of every step of a point.
pub type Keys = Vec<(&'static str, String)>;

/// The keys of a plan.
pub fn keys(plan: &Plan) -> Keys {
    let steps = plan.steps.iter();
    steps
        .map(|planned| (planned.step.component.name, planned.key.clone()))
        .collect()
}

struct Runner<'a> {
    prepared: &'a Prepared,
    keys: &'a [Keys],
    how: &'a How,
    show: &'a mut Show,
    started: SystemTime,
    queue: VecDeque<usize>,
    /// Points that other processes are at.
    held: Vec<usize>,
    records: Vec<Option<PointRecord>>,
}

impl Runner<'_> {
    /// The next point that nobody is at and that is not done.
    fn next(&mut self) -> io::Result<Option<((usize, Lock), Job)>> {
        while let Some(at) = self.queue.pop_front() {
            if self.is_over(at) {
                continue;
            }
            let point = &self.prepared.points[at];
            disk::create_dir_all(&point.folder.path)?;
            let Some(lock) = Lock::take(&point.folder.lock_file())? else {
                self.held.push(at);
                continue;
            };
            // It may have come to its end between the two looks.
            if self.is_over(at) {
                continue;
            }
            point.folder.write_spec(&to_toml(&point.resolved))?;
            point.folder.save(&record(point, Status::Running))?;
            self.show.start(at, point);
            return Ok(Some(((at, lock), self.job(point))));
        }
        Ok(None)
    }

    /// Whether a point needs no run: it is done, or another process had it fail since this sweep began.
    fn is_over(&mut self, at: usize) -> bool {
        let point = &self.prepared.points[at];
        let Some(record) = point.folder.load() else {
            return false;
        };
        let over = match record.status {
            Status::Done => stands(&self.prepared.store, &self.keys[at], &record),
            Status::Failed => point.folder.noted().is_some_and(|noted| noted >= self.started),
            Status::Running | Status::Interrupted => false,
        };
        if over {
            self.show.found(point, &record);
            self.records[at] = Some(record);
        }
        over
    }

    fn job(&self, point: &Ready) -> Job {
        let spec = point.folder.spec_file();
        let mut arguments = ["run", &spec.to_string_lossy(), "--format", "json"]
            .map(str::to_owned)
            .to_vec();
        let root = &self.prepared.base.root;
        for folder in std::iter::once(root).chain(&self.how.allow) {
            arguments.extend(["--allow".to_owned(), folder.to_string_lossy().into_owned()]);
        }
        let home = self.prepared.store.home().as_os_str().to_owned();
        Job {
            arguments,
            folder: point.folder.path.clone(),
            environment: vec![("LYCEUM_HOME".to_owned(), home)],
            without: self.how.without.clone(),
        }
    }

    fn ended(&mut self, at: usize, ended: &JobEnded, cancel: &Cancel) {
        let point = &self.prepared.points[at];
        let run = ended.output["run"].as_str().map(str::to_owned);
        let status = match (ended.code, &run) {
            (Some(0), Some(_)) => Status::Done,
            _ if cancel.is_cancelled() => Status::Interrupted,
            _ => Status::Failed,
        };
        let record = PointRecord {
            run,
            error: (status == Status::Failed).then(|| why(ended)),
            wall_seconds: ended.wall_seconds,
            ..record(point, status)
        };
        if let Err(error) = point.folder.save(&record) {
            self.show.failure.get_or_insert(error);
        }
        self.show.end(at, point, &record);
        if status != Status::Interrupted {
            self.records[at] = Some(record);
        }
    }

    /// Waits until one of the points that others hold is free.
    fn wait(&self, cancel: &Cancel) -> io::Result<()> {
        enum Stop {
            Look,
            Io(io::Error),
        }
        impl From<io::Error> for Stop {
            fn from(error: io::Error) -> Self {
                Self::Io(error)
            }
        }
        let locks: Vec<PathBuf> = self
            .held
            .iter()
            .map(|&at| self.prepared.points[at].folder.lock_file())
            .collect();
        let waited = Lock::acquire(&locks[0], |_| {
            if cancel.is_cancelled() || locks[1..].iter().any(|lock| !is_held(lock)) {
                return Err(Stop::Look);
            }
            Ok(())
        });
        match waited {
            Ok(_) | Err(Stop::Look) => Ok(()),
            Err(Stop::Io(error)) => Err(error),
        }
    }
}

fn record(point: &Ready, status: Status) -> PointRecord {
    PointRecord {
        format: FORMAT,
        id: point.id.clone(),
        settings: point.settings.clone(),
        seed: point.seed,
        status,
        run: None,
        error: None,
        wall_seconds: 0.0,
    }
}

/// Whether the run that did a point is there, and everything it made.
fn stands(store: &Store, keys: &Keys, record: &PointRecord) -> bool {
    let Some(run) = &record.run else { return false };
    let Ok(run) = RunFolder::new(store.home(), run).load() else {
        return false;
    };
    let made = run
        .steps
        .iter()
        .map(|step| (step.component.as_str(), step.key.as_str()));
    let wanted = keys.iter().map(|(component, key)| (*component, key.as_str()));
    run.status == Status::Done
        && made.eq(wanted)
        && keys
            .iter()
            .all(|(component, key)| store.find(component, key).is_some())
}

/// Why a child failed: what it said from its first error on, on one line.
fn why(ended: &JobEnded) -> String {
    let lines: Vec<&str> = ended
        .talk
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let from = lines.iter().position(|line| line.starts_with("error"));
    match (ended.code, from) {
        (None, _) => "a signal ended it".to_owned(),
        (Some(130), _) => "it was interrupted".to_owned(),
        (_, Some(from)) => lines[from..].join("; "),
        (Some(code), None) => match lines.last() {
            Some(last) => format!("{last} (exit status {code})"),
            None => format!("exit status {code}"),
        },
    }
}
