//! From an experiment file to the points of its sweep, each resolved and planned.

use super::folder::{PointFolder, SweepFolder};
use super::names::{Names, label};
use super::points::{Point, points};
use crate::plan::{Plan, PlanError, Planner};
use crate::spec::{Diagnostics, Options, Resolved, Sweep, Swept};
use crate::store::{Store, canonical, home};
use lyceum_components::Descriptor;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Length of a point's name in hex digits.
const ID: usize = 12;
/// More mistakes than this help nobody.
const MOST_MISTAKES: usize = 50;

/// A sweep whose points are known and free of mistakes.
#[derive(Debug)]
pub struct Prepared {
    /// The experiment as written.
    pub base: Resolved,
    /// Where its state is kept.
    pub folder: SweepFolder,
    /// The store of the experiment.
    pub store: Store,
    /// Every path that some point sets, sorted.
    pub paths: Vec<String>,
    /// The points, in their order.
    pub points: Vec<Ready>,
}

/// One point.
#[derive(Debug)]
pub struct Ready {
    /// Its name: the beginning of the hash of what it is.
    pub id: String,
    /// What it sets, by path.
    pub settings: BTreeMap<String, Value>,
    /// Its seed.
    pub seed: u64,
    /// Where its state is kept.
    pub folder: PointFolder,
    /// Its experiment, without a sweep.
    pub resolved: Resolved,
}

/// Why a sweep could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Mistakes in the experiment, or in what a point makes of it.
    #[error("the experiment has mistakes")]
    Mistakes(Diagnostics),
    /// The experiment declares no sweep.
    #[error("there is no `[sweep]` in the experiment")]
    NoSweep,
}

impl Prepared {
    /// What its points and paths are called in few words.
    pub(super) fn names(&self) -> Names {
        let none = Sweep::default();
        Names::new(&self.paths, self.base.sweep.as_ref().unwrap_or(&none))
    }

    /// Reads an experiment and resolves every point of its sweep. The files are read once.
    ///
    /// # Errors
    /// Every mistake, each once, and at which point.
    pub fn load(
        file: &Path,
        registry: &'static [Descriptor],
        options: &Options,
    ) -> Result<Self, PrepareError> {
        let swept = Swept::load(file, registry, options).map_err(PrepareError::Mistakes)?;
        let Some(sweep) = &swept.base.sweep else {
            return Err(PrepareError::NoSweep);
        };
        let home = std::path::absolute(home(&swept.base.root)).unwrap_or_else(|_| home(&swept.base.root));
        let folder = SweepFolder::new(&home, &swept.base.experiment.name);
        let mut ready = Vec::new();
        let mut found = Diagnostics::default();
        for point in points(sweep) {
            match swept.point(&point.layer()) {
                Ok(resolved) => ready.push(Ready::new(&point, resolved, &folder)),
                Err(mistakes) => note(&point, mistakes, &mut found),
            }
            if found.list.len() > MOST_MISTAKES {
                break;
            }
        }
        found.finish().map_err(PrepareError::Mistakes)?;
        let paths: BTreeSet<String> = ready
            .iter()
            .flat_map(|point| point.settings.keys().cloned())
            .collect();
        Ok(Self {
            paths: paths.into_iter().collect(),
            folder,
            store: Store::new(home),
            points: ready,
            base: swept.base,
        })
    }

    /// Plans every point. Files are hashed and artifacts looked for once, however many points share them.
    ///
    /// # Errors
    /// The file that cannot be read.
    pub fn plans(&self, assume: bool) -> Result<Vec<Plan>, PlanError> {
        let mut planner = Planner::new(&self.store).brief();
        let all = self.points.iter();
        all.map(|point| planner.plan(&point.resolved, assume)).collect()
    }
}

/// Takes over a point's mistakes. What several points get wrong in the same way is one mistake.
fn note(point: &Point, mistakes: Diagnostics, found: &mut Diagnostics) {
    let seed = point.seed.as_ref().and_then(|seed| seed.value.as_u64());
    let name = label(&point.values(), seed);
    for mut mistake in mistakes.list {
        mistake.hint = Some(match mistake.hint {
            Some(hint) => format!("{hint} (this is at the point {name})"),
            None => format!("this is at the point {name}"),
        });
        found.push(mistake);
    }
}

impl Ready {
    fn new(point: &Point, resolved: Resolved, folder: &SweepFolder) -> Self {
        let settings = point.values();
        let seed = resolved.experiment.seed;
        let step = |step: &crate::spec::Step| {
            json!([
                step.id,
                step.component.name,
                step.component.version,
                step.params,
                step.seed,
                step.precision
            ])
        };
        let steps: Vec<Value> = resolved.steps.iter().map(step).collect();
        let identity = canonical(&json!({ "settings": settings, "seed": seed, "steps": steps }));
        let id = blake3::hash(identity.as_bytes()).to_hex()[..ID].to_owned();
        Self {
            folder: folder.point(&id),
            id,
            settings,
            seed,
            resolved,
        }
    }
}
