//! The work of `policy.learning_law`, whatever the model.

use super::artifact::{PolicyDetails, write_policy};
use super::copies::{keep, kept};
use super::law::{LawEpoch, LawStep, improve};
use super::params::{LawParams, LawScale, LawSchedule, LawStates};
use super::report::{LawReport, acceleration, check_descent, observe};
use super::states::Room;
use super::tables::{write_contributions, write_curves, write_epochs};
use crate::artifact::Source;
use crate::trajectory::{Number, Trajectory, Weighted, to_bytes};
use crate::{Bar, Context, Error, Result};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The work of a run.
pub(super) struct Work<'a> {
    pub(super) params: &'a LawParams,
    pub(super) context: &'a Context,
    pub(super) room: Room,
    pub(super) states: LawStates,
    /// What is trained on.
    pub(super) data: Source,
    /// Outcomes that a prediction is among.
    pub(super) outcomes: usize,
}

impl Work<'_> {
    /// Measures equal weights, improves them, measures again, and writes everything. Gives the weights, and how many policy
    /// epochs they took.
    pub(super) fn run<T: Weighted>(
        &self,
        training: &mut T,
        start: &[T::Number],
    ) -> Result<(Vec<f32>, usize)> {
        let Self { params, context, .. } = self;
        let base = self.measure(training, start, "equal")?;
        let epochs = self.improve(training, start)?;
        let found = self.measure(training, start, "found")?;
        self.tell(&base, &found, epochs.len());
        let folder = context.output("")?;
        write_epochs(&folder, &epochs)?;
        write_curves(&folder, [&base, &found])?;
        write_contributions(&folder, &found)?;
        let details = PolicyDetails {
            steps: params.steps as u64,
            examples: training.examples() as u64,
            outcomes: self.outcomes as u64,
            inner_lr: params.inner_lr,
            epochs: epochs.len() as u64,
            objective: found.area_target() * params.steps as f64,
            precision: context.precision,
            data: self.data.clone(),
            start: blake3::hash(&to_bytes(start)).to_hex().to_string(),
        };
        let policy: Vec<f32> = training
            .policy()
            .iter()
            .map(|weight| weight.wide() as f32)
            .collect();
        write_policy(&folder, policy.clone(), &details)?;
        Ok((policy, epochs.len()))
    }

    /// A trajectory for one training forth and back, and where it lies if that is on disk.
    fn trajectory<N: Number>(&self, name: &str) -> Result<(Trajectory<N>, PathBuf)> {
        let folder = self.context.scratch.join(name);
        let trajectory = self.room.trajectory(self.states, self.params.inner_lr, &folder)?;
        Ok((trajectory, folder))
    }

    /// Frees the disk that a training took.
    fn clear(&self, folder: &Path) -> Result<()> {
        if self.states == LawStates::Disk {
            std::fs::remove_dir_all(folder).map_err(Error::io("cannot remove", folder))?;
        }
        Ok(())
    }

    fn measure<T: Weighted>(&self, training: &mut T, start: &[T::Number], name: &str) -> Result<LawReport> {
        let (mut trajectory, folder) = self.trajectory(name)?;
        let bar = self.bar(&format!("measuring {name} weights"));
        let report = observe(training, &mut trajectory, start, &mut |_| self.step(&*bar))?;
        if name == "equal" {
            check_descent(trajectory.losses(), self.params.inner_lr)?;
        }
        self.clear(&folder)?;
        Ok(report)
    }

    /// A bar over the steps of a training forth and back.
    fn bar(&self, what: &str) -> Box<dyn Bar> {
        let steps = 2 * self.params.steps as u64 + 1;
        self.context.services.bar(what, steps, "steps")
    }

    fn step(&self, bar: &dyn Bar) -> Result<()> {
        bar.advance(1);
        self.context.check_cancelled()
    }

    /// All policy epochs, from the last copy that was kept.
    fn improve<T: Weighted>(&self, training: &mut T, start: &[T::Number]) -> Result<Vec<LawEpoch>> {
        let Self { params, context, .. } = self;
        let file = context.scratch.join("policy");
        let mut epochs = kept(&file, training.policy_mut())?.unwrap_or_default();
        let bar: Box<dyn Bar> =
            context
                .services
                .bar("improving the policy", params.epochs as u64, "policy epochs");
        bar.advance(epochs.len() as u64);
        let (begun, before) = (Instant::now(), epochs.len());
        let mut rises = 0;
        while epochs.len() < params.epochs {
            let number = epochs.len();
            let (mut trajectory, folder) = self.trajectory(&format!("epoch{number}"))?;
            // A stop in the middle of an epoch leaves a part of the weights changed: what is kept is from before.
            let step = self.law_step(number);
            let epoch = improve(training, &mut trajectory, start, Some(step), &mut |_| {
                context.check_cancelled()
            })
            .map_err(|error| error.at(format!("policy epoch {number}")))?;
            self.clear(&folder)?;
            let last = epochs
                .last()
                .map_or(f64::INFINITY, |last: &LawEpoch| last.objective);
            rises = if epoch.objective > last { rises + 1 } else { 0 };
            if rises == 3 {
                context.services.note(&format!(
                    "objective_rose: the summed target loss rose in three policy epochs in a row, to {:.4} in epoch {number}: \
                     lower `lr`",
                    epoch.objective,
                ));
            }
            epochs.push(epoch);
            bar.advance(1);
            bar.message(&format!("area {:.5}", epoch.objective / params.steps as f64));
            if epochs.len().is_multiple_of(params.save_interval()) {
                keep(&file, training.policy(), &epochs)?;
            }
            if epoch.gap <= params.stop_gap {
                break;
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        if epochs.len() > before && seconds > 0.0 {
            let rate = (epochs.len() - before) as f64 / seconds;
            context.services.measure("policy_epochs_per_second", rate);
        }
        Ok(epochs)
    }

    /// How weights are changed in a policy epoch.
    fn law_step(&self, epoch: usize) -> LawStep {
        let params = self.params;
        let share = match params.lr_schedule {
            LawSchedule::Linear => 1.0 - epoch as f64 / params.epochs as f64,
            LawSchedule::Constant => 1.0,
        };
        LawStep {
            lr: params.lr * share,
            by_row: params.lr_scale == LawScale::Row,
            freeze: params.freeze_steps,
        }
    }

    /// Says what the found weights gain, on the target they were found for and on test examples.
    fn tell(&self, base: &LawReport, found: &LawReport, epochs: usize) {
        let times = |base: &[f64], curve: &[f64]| match acceleration(base, curve) {
            Some((times, _)) => format!("{times:.2} ×"),
            None => "never reached".to_owned(),
        };
        let gap = |report: &LawReport| report.gap.iter().sum::<f64>();
        self.context.services.note(&format!(
            "after {epochs} policy epochs: acceleration {} on the target, {} on test examples; mean target loss {:.4} \
             from {:.4}, mean test loss {:.4} from {:.4}; gap {:.4} from {:.4}",
            times(&base.target, &found.target),
            times(&base.test, &found.test),
            found.area_target(),
            base.area_target(),
            found.area_test(),
            base.area_test(),
            gap(found),
            gap(base),
        ));
    }
}
