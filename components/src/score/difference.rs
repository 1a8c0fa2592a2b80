//! The difference between a reference's and a teacher's loss.

use crate::{Error, Result};

/// nll(x; reference) − nll(x; teacher), item by item: how far the teacher is ahead (MiniPLM, sheet 2.3; higher is kept).
///
/// `length_mismatch`: the two were not measured on the same items.
pub fn score_difference(reference_nll: &[f64], teacher_nll: &[f64]) -> Result<Vec<f64>> {
    if reference_nll.len() != teacher_nll.len() {
        return Err(Error::data(
            "length_mismatch",
            format!(
                "the reference scored {} items and the teacher {}",
                reference_nll.len(),
                teacher_nll.len()
            ),
        ));
    }
    let difference = |(reference, teacher): (&f64, &f64)| reference - teacher;
    Ok(reference_nll.iter().zip(teacher_nll).map(difference).collect())
}
