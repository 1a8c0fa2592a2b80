//! Running the experiments, each as a process of its own, and judging them as they end.

use super::baseline::{baseline_file, is_baseline};
use super::case::{Checked, Place, Problem, Result, State};
use super::files::Found;
use super::judge::{Measured, judge};
use super::read::{Stored, read};
use super::update::update;
use super::{machine, problems};
use crate::device;
use crate::execute::RunFolder;
use crate::execute::child::{Job, JobEnded, run_jobs};
use crate::report::measurements;
use crate::spec::{self, Resolved};
use crate::store::home;
use lyceum_components::machine::calibration_rate;
use lyceum_components::{COMPONENTS, Cancel, Device};
use std::io;
use std::path::PathBuf;

/// How to check.
#[derive(Debug, Clone)]
pub struct Options {
    /// Experiments at a time.
    pub jobs: usize,
    /// Whether baselines are written anew instead of being held against the runs.
    pub update: bool,
    /// Whether a claim that is not decided is short.
    pub strict: bool,
    /// What is added to every experiment.
    pub spec: spec::Options,
    /// The same, as flags of `lyceum run`.
    pub arguments: Vec<String>,
}

/// An experiment that can be run.
struct Ready {
    resolved: Resolved,
    baseline: PathBuf,
    stored: Option<Stored>,
    device: Device,
}

impl Ready {
    /// Whether speeds will be judged or written.
    fn wants_speed(&self, options: &Options) -> bool {
        let has = self
            .stored
            .as_ref()
            .is_some_and(|stored| !stored.baseline.performance.is_empty());
        options.jobs == 1 && (has || options.update)
    }
}

/// Checks experiments, in order; `tell` hears of each as it ends. If any of them, or its baseline, is wrong, none is run.
///
/// # Errors
/// A process that could not be started.
pub fn check(
    found: &[Found],
    options: &Options,
    cancel: &Cancel,
    mut tell: impl FnMut(&Checked),
) -> io::Result<Vec<Checked>> {
    let mut all: Vec<Checked> = found.iter().map(not_run).collect();
    let mut ready = Vec::new();
    for (at, found) in found.iter().enumerate() {
        match prepare(found, options) {
            Ok(experiment) => ready.push((at, experiment)),
            Err(problems) => {
                all[at].result = Result::Wrong;
                all[at].problems = problems;
            }
        }
    }
    if ready.len() < found.len() {
        all.iter().for_each(tell);
        return Ok(all);
    }
    let mut waiting = Vec::new();
    for (at, experiment) in ready {
        all[at]
            .experiment
            .clone_from(&experiment.resolved.experiment.name);
        if experiment.stored.is_none() && !options.update {
            all[at].result = Result::Short;
            all[at]
                .problems
                .push(problems::no_baseline(&found[at].file, &experiment.baseline));
            tell(&all[at]);
        } else {
            waiting.push((at, experiment));
        }
    }
    let mut waiting = waiting.into_iter();
    let talk = |at: usize| format!("check/{}-{at}", std::process::id());
    run_jobs(
        options.jobs,
        cancel,
        || {
            let Some((at, experiment)) = waiting.next() else {
                return Ok(None);
            };
            let before = experiment
                .wants_speed(options)
                .then(|| calibration_rate(&experiment.device));
            let arguments = ["run", "--format", "json"].map(str::to_owned).into_iter();
            let arguments = arguments.chain(options.arguments.iter().cloned());
            let file = found[at].file.display().to_string();
            let job = Job {
                arguments: arguments.chain(["--".to_owned(), file]).collect(),
                folder: home(&experiment.resolved.root).join(talk(at)),
                ..Job::default()
            };
            Ok(Some(((at, experiment, before), job)))
        },
        |_, _| {},
        |(at, experiment, before), ended| {
            // The mean of before and after: other work on the machine comes and goes.
            let loops = before.map(|before| f64::midpoint(before, calibration_rate(&experiment.device)));
            judged(&mut all[at], &experiment, &ended, loops, options, cancel);
            let folder = home(&experiment.resolved.root).join(talk(at));
            // What it holds was read; the folder of all checks goes with the last one.
            let _ = std::fs::remove_dir_all(&folder);
            let _ = folder.parent().map(std::fs::remove_dir);
            tell(&all[at]);
        },
    )?;
    if cancel.is_cancelled() {
        for checked in all.iter_mut().filter(|checked| checked.result == Result::NotRun) {
            checked.result = Result::Interrupted;
        }
    }
    Ok(all)
}

fn not_run(found: &Found) -> Checked {
    Checked {
        file: found.file.clone(),
        experiment: found.name.clone(),
        result: Result::NotRun,
        run: None,
        wall_seconds: 0.0,
        problems: Vec::new(),
        cases: Vec::new(),
        diff: None,
    }
}

fn prepare(found: &Found, options: &Options) -> std::result::Result<Ready, Vec<Problem>> {
    if is_baseline(&found.file) {
        return Err(vec![Problem {
            code: "baseline_named".into(),
            place: Place::start(found.file.clone()),
            message: "this is a baseline by its name".into(),
            hint: Some("name the experiment that it belongs to".into()),
        }]);
    }
    let resolved =
        spec::load(&found.file, COMPONENTS, &options.spec).map_err(|e| problems::of_mistakes(&e))?;
    let baseline = baseline_file(&found.file);
    let name = (!options.update).then_some(resolved.experiment.name.as_str());
    let stored = read(&baseline, name).map_err(|e| problems::of_mistakes(&e))?;
    let device = device::choose(&resolved.runtime.device).map_err(|error| {
        vec![Problem {
            code: error.code.into(),
            place: Place::start(found.file.clone()),
            message: error.to_string(),
            hint: Some(error.hint),
        }]
    })?;
    Ok(Ready {
        resolved,
        baseline,
        stored,
        device: device.device,
    })
}

/// Notes how a run ended and, if it is done, what it came to.
fn judged(
    checked: &mut Checked,
    experiment: &Ready,
    ended: &JobEnded,
    loops_per_second: Option<f64>,
    options: &Options,
    cancel: &Cancel,
) {
    checked.wall_seconds = ended.wall_seconds;
    checked.run = ended.output["run"].as_str().map(str::to_owned);
    let interrupted = ended.code == Some(130) || (cancel.is_cancelled() && ended.code != Some(0));
    if interrupted {
        checked.result = Result::Interrupted;
        return;
    }
    let (Some(0), Some(id)) = (ended.code, &checked.run) else {
        checked.result = if ended.code == Some(2) {
            Result::Wrong
        } else {
            Result::Failed
        };
        checked.problems.push(problems::of_run(&checked.file, ended));
        return;
    };
    let folder = RunFolder::new(&home(&experiment.resolved.root), id);
    let done = measurements::read(&folder)
        .map_err(|error| error.to_string())
        .and_then(|(record, all)| {
            let measured = Measured {
                machines: machine::of_run(&folder, &record),
                record,
                all,
                loops_per_second,
            };
            conclude(checked, experiment, &measured, options)
        });
    if let Err(message) = done {
        checked.result = Result::Failed;
        checked.problems.push(Problem {
            code: "io".into(),
            place: Place::start(checked.file.clone()),
            message,
            hint: None,
        });
    }
}

fn conclude(
    checked: &mut Checked,
    experiment: &Ready,
    measured: &Measured,
    options: &Options,
) -> std::result::Result<(), String> {
    if options.update {
        checked.diff = update(&experiment.baseline, experiment.stored.as_ref(), measured)
            .map_err(|error| format!("cannot write `{}`: {error}", experiment.baseline.display()))?;
        checked.result = if checked.diff.is_some() {
            Result::Updated
        } else {
            Result::Passed
        };
    } else if let Some(stored) = &experiment.stored {
        checked.cases = judge(stored, measured, options.strict);
        let short = checked.cases_in(State::Short).next().is_some();
        checked.result = if short { Result::Short } else { Result::Passed };
    }
    Ok(())
}
