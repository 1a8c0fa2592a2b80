//! How errors pile up when a model reads its own text (exposure bias; Arora et al. 2022, as MiniLLM measures it).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the errors of several texts at one position are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Over the texts of a prompt that are so long, then over prompts: one whose texts have all ended adds 0.
    #[default]
    Prompts,
    /// Over all texts that are so long.
    Pooled,
}

/// Errors per position, of every prompt's texts: `[prompt][text][position]`, as long as the texts.
pub type Errors = Vec<Vec<Vec<f64>>>;

/// The mean error at every position, added up to there: after l positions Σ_{t≤l} of the mean at t. `slack` is added to
/// numbers of texts that are divided by; the released code of MiniLLM has 0.001. Of no text at all the mean is 0.
pub fn accumulated(errors: &Errors, reduction: Reduction, slack: f64) -> Vec<f64> {
    let longest = errors.iter().flatten().map(Vec::len).max().unwrap_or_default();
    let mean = |texts: &mut dyn Iterator<Item = &Vec<f64>>, t: usize| {
        let (sum, count) = texts
            .filter_map(|text| text.get(t))
            .fold((0.0, 0.0), |(sum, count), error| (sum + error, count + 1.0));
        if count + slack > 0.0 {
            sum / (count + slack)
        } else {
            0.0
        }
    };
    let at = |t: usize| match reduction {
        Reduction::Prompts => {
            let sum: f64 = errors.iter().map(|texts| mean(&mut texts.iter(), t)).sum();
            sum / errors.len().max(1) as f64
        }
        Reduction::Pooled => mean(&mut errors.iter().flatten(), t),
    };
    let add = |sum: &mut f64, t: usize| {
        *sum += at(t);
        Some(*sum)
    };
    (0..longest).scan(0.0, add).collect()
}

/// By how many percent more errors pile up on a model's own text than on the teacher's: `(R(l) − l·ε(l)) / (l·ε(l)) · 100`
/// after every l positions, up to where both go. A sum that has ended stays as it is.
pub fn excess(own: &[f64], teachers: &[f64]) -> Vec<f64> {
    let longest = own.len().max(teachers.len());
    let at = |sums: &[f64], l: usize| sums.get(l).or(sums.last()).copied().unwrap_or_default();
    (0..longest)
        .map(|l| (at(own, l) - at(teachers, l)) / at(teachers, l) * 100.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_texts_add_nothing_to_a_prompt_and_leave_the_pool() {
        let errors = vec![vec![vec![1.0, 2.0]], vec![vec![3.0]]];
        assert_eq!(accumulated(&errors, Reduction::Prompts, 0.0), [2.0, 3.0]);
        assert_eq!(accumulated(&errors, Reduction::Pooled, 0.0), [2.0, 4.0]);
        assert!(accumulated(&Vec::new(), Reduction::Prompts, 0.0).is_empty());
    }

    #[test]
    fn a_model_that_errs_no_more_on_its_own_text_has_no_excess() {
        assert_eq!(excess(&[1.0, 2.0], &[1.0, 2.0]), [0.0, 0.0]);
        assert_eq!(excess(&[1.0, 3.0], &[1.0]), [0.0, 200.0]);
    }
}
