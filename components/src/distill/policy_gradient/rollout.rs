//! What a sampling leaves, and the rewards and importance weights that follow from it.

use crate::{Error, Result};

/// Log-likelihoods, in nats, of the tokens of drawn responses, row-major `[rows, width]`.
#[derive(Debug, Clone, Copy)]
pub struct Rollout<'a> {
    /// Places of a row.
    pub width: usize,
    /// 1 where there is a token, 0 behind a response's end. What stands there is never looked at.
    pub mask: &'a [f32],
    /// `log q` of the student that drew, at the temperature and over the tokens that were drawn from.
    pub student: &'a [f64],
    /// `log p` of the teacher, over the whole vocabulary and at temperature 1.
    pub teacher: &'a [f64],
    /// `log p` of the teacher as it was drawn from; none where the student drew alone. The same as `teacher` where the
    /// temperature is 1 and every token could be drawn.
    pub teacher_drawn: Option<&'a [f64]>,
}

impl Rollout<'_> {
    /// Importance weights `w = q / p̃` of every token, in (0, 1/(1−α)]; `teacher_mix` is α. 1 where there is no token, and
    /// everywhere where the student drew alone (MiniLLM §2.2, with the weight of the token in place of the product).
    pub fn importance(&self, teacher_mix: f64) -> Vec<f64> {
        let Some(teacher) = self.teacher_drawn else {
            return vec![1.0; self.mask.len()];
        };
        // q / (α·p + (1−α)·q), without the exponentials of small log-likelihoods.
        let weight = |log_q: f64, log_p: f64| 1.0 / (teacher_mix * (log_p - log_q).exp() + 1.0 - teacher_mix);
        let logs = self.student.iter().zip(teacher);
        self.masked(logs, |(log_q, log_p)| weight(*log_q, *log_p), 1.0)
    }

    /// Rewards `(log p − log q) / scaling`, cut to ± `clip`; 0 where there is no token.
    pub fn rewards(&self, scaling: f64, clip: f64) -> Vec<f64> {
        self.masked(self.ratios(), |u| (u / scaling).clamp(-clip, clip), 0.0)
    }

    /// The estimate `e^u − 1 − u` of the reverse KL with `u = log p − log q`, which is never negative (k3 of Schulman 2020).
    pub fn k3(&self) -> Vec<f64> {
        self.masked(self.ratios(), |u| u.exp_m1() - u, 0.0)
    }

    /// Refuses log-likelihoods that are no numbers: `non_finite` names the response and the place in it.
    pub fn check(&self) -> Result<()> {
        let sets = [Some(self.student), Some(self.teacher), self.teacher_drawn];
        for (of, values) in ["student", "teacher", "teacher as drawn from"].iter().zip(sets) {
            let mut places = values.unwrap_or_default().iter().zip(self.mask).enumerate();
            let bad = places.find(|(_, (value, mask))| **mask > 0.0 && !value.is_finite());
            if let Some((place, (value, _))) = bad {
                let (row, column) = (place / self.width, place % self.width);
                let message = format!("the log-likelihood under the {of} is {value}");
                return Err(Error::data("non_finite", message)
                    .at(format!("response {row} of the batch, token {column}"))
                    .hint("a model has diverged, or overflows: take `precision = \"f32\"` or a lower learning rate"));
            }
        }
        Ok(())
    }

    /// `log p − log q` at every place.
    fn ratios(&self) -> impl Iterator<Item = f64> {
        self.teacher
            .iter()
            .zip(self.student)
            .map(|(log_p, log_q)| log_p - log_q)
    }

    /// What `of` makes of the places with a token, and `elsewhere`.
    fn masked<T>(&self, places: impl Iterator<Item = T>, of: impl Fn(T) -> f64, elsewhere: f64) -> Vec<f64> {
        let places = places.zip(self.mask);
        places
            .map(|(place, mask)| if *mask > 0.0 { of(place) } else { elsewhere })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLOUT: Rollout = Rollout {
        width: 2,
        mask: &[1.0, 1.0, 1.0, 0.0],
        student: &[-1.0, -2.0, -700.0, f64::NEG_INFINITY],
        teacher: &[-2.0, -1.0, -1.0, f64::NAN],
        teacher_drawn: Some(&[-2.0, -1.0, -1.0, f64::NAN]),
    };

    #[test]
    fn what_stands_behind_an_end_is_never_looked_at() {
        ROLLOUT.check().expect("every token has a log-likelihood");
        assert_eq!(ROLLOUT.rewards(0.5, 100.0), [-2.0, 2.0, 100.0, 0.0]);
        assert_eq!(ROLLOUT.importance(0.2)[3], 1.0);
        assert_eq!(ROLLOUT.k3()[3], 0.0);
    }

    #[test]
    fn weights_lie_between_zero_and_their_bound() {
        for mix in [0.1, 0.2, 0.9] {
            let weights = ROLLOUT.importance(mix);
            assert!(
                weights.iter().all(|w| *w > 0.0 && *w <= 1.0 / (1.0 - mix)),
                "{weights:?}"
            );
        }
        let alone = Rollout {
            teacher_drawn: None,
            ..ROLLOUT
        };
        assert_eq!(alone.importance(0.2), [1.0; 4]);
    }

    #[test]
    fn a_log_likelihood_that_is_no_number_is_named() {
        let bad = Rollout {
            mask: &[1.0; 4],
            ..ROLLOUT
        };
        let error = bad.check().expect_err("minus infinity");
        assert_eq!(error.code(), "non_finite");
        assert!(
            error.to_string().contains("response 1 of the batch, token 1"),
            "{error}"
        );
    }
}
