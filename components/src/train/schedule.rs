//! Learning-rate schedules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the learning rate does after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Half a cosine from the peak to the least.
    #[default]
    Cosine,
    /// A straight line from the peak to the least.
    Linear,
    /// The peak throughout.
    Constant,
    /// Warm-up, stable, decay: the peak, then a straight line to the least over the last part.
    Wsd,
}

/// A schedule over a known number of steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Its form.
    pub kind: ScheduleKind,
    /// Highest learning rate.
    pub peak: f64,
    /// Learning rate at the end.
    pub least: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// Steps in all.
    pub total: u64,
    /// Share of the steps over which `wsd` decays.
    pub decay: f64,
}

impl Schedule {
    /// Learning rate of step `step`, counted from 0 (papers/miniplm.md §3): `peak·t/warmup` during warm-up, so that step 0
    /// has rate 0; afterwards the form of the kind over the remaining steps.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * step as f64 / self.warmup as f64;
        }
        let left = self.total.saturating_sub(self.warmup).max(1) as f64;
        let done = ((step - self.warmup) as f64 / left).min(1.0);
        let line = |done: f64| self.peak + (self.least - self.peak) * done;
        match self.kind {
            ScheduleKind::Constant => self.peak,
            ScheduleKind::Linear => line(done),
            ScheduleKind::Cosine => {
                self.least + 0.5 * (self.peak - self.least) * (1.0 + (std::f64::consts::PI * done).cos())
            }
            ScheduleKind::Wsd => {
                let decay = (self.decay * self.total as f64 / left).clamp(f64::MIN_POSITIVE, 1.0);
                line(((done - (1.0 - decay)) / decay).max(0.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind) -> Schedule {
        Schedule {
            kind,
            peak: 1.0,
            least: 0.1,
            warmup: 10,
            total: 110,
            decay: 0.2,
        }
    }

    #[test]
    fn every_kind_warms_up_from_zero_and_ends_where_it_should() {
        for (kind, end) in [
            (ScheduleKind::Cosine, 0.1),
            (ScheduleKind::Linear, 0.1),
            (ScheduleKind::Constant, 1.0),
            (ScheduleKind::Wsd, 0.1),
        ] {
            let schedule = schedule(kind);
            assert_eq!(schedule.rate(0), 0.0);
            assert!((schedule.rate(5) - 0.5).abs() < 1e-12);
            assert!((schedule.rate(10) - 1.0).abs() < 1e-12);
            assert!((schedule.rate(110) - end).abs() < 1e-12, "{kind:?}");
        }
    }

    #[test]
    fn wsd_is_stable_until_its_last_part() {
        let schedule = schedule(ScheduleKind::Wsd);
        assert_eq!(schedule.rate(87), 1.0);
        assert!((schedule.rate(99) - 0.55).abs() < 1e-9);
    }

    #[test]
    fn without_warm_up_the_first_step_has_the_peak() {
        let schedule = Schedule {
            warmup: 0,
            ..schedule(ScheduleKind::Cosine)
        };
        assert_eq!(schedule.rate(0), 1.0);
    }
}
