//! Losses of one margin, with their derivatives.

use super::{Form, Rule};
use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

impl Rule {
    /// What the margin is multiplied by before the loss sees it.
    pub(super) fn scale(&self) -> f64 {
        match self.form {
            Form::Ipo => 1.0,
            Form::Dpkd | Form::Cpo | Form::Simpo | Form::Dpop => self.beta,
        }
    }

    /// The loss of margins, scaled already, and its derivative by them; outside any graph.
    pub(super) fn of_margin(&self, h: Tensor<1>) -> (Tensor<1>, Tensor<1>) {
        if self.form == Form::Ipo {
            let off = h - 1.0 / (2.0 * self.tau);
            return (off.clone().powi_scalar(2), off * 2.0);
        }
        let wrong = self.label_smoothing;
        // −log σ(h) = max(−h, 0) + log(1 + e^−|h|), and −log σ(−h) is h more than that.
        let right = h.clone().neg().clamp_min(0.0) + h.clone().abs().neg().exp().log1p();
        let by_h = sigmoid(h.clone().neg()).neg() + wrong;
        (right + h * wrong, by_h)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distill::preference::Preference;
    use burn::tensor::{DType, Device, TensorData};

    #[test]
    fn large_margins_stay_finite_and_smoothing_turns_some_around() {
        let h = [-800.0, -1.5, 0.0, 1.5, 800.0];
        let tensor = Tensor::from_data(TensorData::new(h.to_vec(), [5]), (&Device::flex(), DType::F64));
        for wrong in [0.0, 0.1] {
            let rule = Rule {
                label_smoothing: wrong,
                ..Preference::default().rule()
            };
            let (loss, by_h) = rule.of_margin(tensor.clone());
            let [loss, by_h] = [loss, by_h].map(|found| found.into_data().iter::<f64>().collect::<Vec<_>>());
            let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
            let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
            for (i, h) in h.into_iter().enumerate() {
                let expected = (1.0 - wrong) * softplus(-h) + wrong * softplus(h);
                assert!(
                    (loss[i] - expected).abs() <= 1e-12 * expected.max(1.0),
                    "{} {expected}",
                    loss[i]
                );
                let expected = -(1.0 - wrong) * sigma(-h) + wrong * sigma(h);
                assert!((by_h[i] - expected).abs() < 1e-12, "{} {expected}", by_h[i]);
            }
        }
    }
}
