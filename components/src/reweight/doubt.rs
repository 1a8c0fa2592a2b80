//! Steps in which a target said nothing about the examples.

use crate::{Error, Result};

/// Steps before anything is made of their number.
const FEW: u64 = 20;

/// How often contributions gave no weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// Steps that were to be weighed.
    pub(crate) weighed: u64,
    /// Those of them in which all examples counted alike for want of a contribution above 0.
    pub(crate) alike: u64,
}

impl Doubt {
    /// Counts a step. `no_positive`: it is more than every other one.
    pub(crate) fn note(&mut self, alike: bool) -> Result<()> {
        self.weighed += 1;
        self.alike += u64::from(alike);
        if self.weighed < FEW || 2 * self.alike <= self.weighed {
            return Ok(());
        }
        let message = format!(
            "in {} of {} steps no example's contribution to the target was above 0",
            self.alike, self.weighed
        );
        Err(Error::data("no_positive", message).hint(
            "raise `reweight.target_batch`, since the target's gradient is too noisy, or look whether the target has to do with the data",
        ))
    }

    /// What to tell at the end of a training, if there is anything.
    pub(crate) fn told(self) -> Option<String> {
        (self.alike > 0).then(|| {
            format!(
                "reweight: in {} of {} weighed steps no contribution was above 0, and examples counted alike",
                self.alike, self.weighed
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubt_beyond_every_other_step_is_an_error() {
        let mut doubt = Doubt::default();
        for step in 0..40 {
            doubt.note(step % 2 == 1).expect("half is borne");
        }
        assert!(doubt.told().expect("a note").contains("20 of 40"));
        let error = doubt.note(true).expect_err("more than half");
        assert_eq!(error.code(), "no_positive");
        assert_eq!(Doubt::default().told(), None);
    }
}
