//! Laws of how the loss falls with parameters N and tokens D, and their fits (MiniPLM, sheet 5; PDS, sheet 5; learning
//! law, sheet 5).

/// A measured loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// N; of no account to a law of the amount alone.
    pub parameters: f64,
    /// D: tokens, or steps.
    pub amount: f64,
    /// In nats a token, above 0.
    pub loss: f64,
}

/// L(N, D) = E + A/N^α + B/D^β. Without A it is the law of one size, L(D) = L∞ + (D₀/D)^β with B = D₀^β.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Law {
    /// What is left however large N and D are, in nats.
    pub irreducible: f64,
    /// ln A and α, if the law is one of sizes.
    pub size: Option<(f64, f64)>,
    /// ln B.
    pub log_b: f64,
    /// β.
    pub beta: f64,
}

impl Law {
    /// The loss of `parameters` trained on `amount`.
    pub fn loss(&self, parameters: f64, amount: f64) -> f64 {
        self.floor(parameters) + (self.log_b - self.beta * amount.ln()).exp()
    }

    /// The loss of `parameters` trained without end.
    fn floor(&self, parameters: f64) -> f64 {
        let size = |(log_a, alpha): (f64, f64)| (log_a - alpha * parameters.ln()).exp();
        self.irreducible + self.size.map_or(0.0, size)
    }

    /// The amount after which `parameters` come to `loss`: D with L(N, D) = loss. None if they never do.
    pub fn amount(&self, parameters: f64, loss: f64) -> Option<f64> {
        let above = loss - self.floor(parameters);
        let amount = ((self.log_b - above.ln()) / self.beta).exp();
        (above > 0.0 && amount.is_finite()).then_some(amount)
    }

    /// How much less of an amount it takes under this law to come to the loss that `baseline` has after `amount`: that amount
    /// divided by this law's. None if this law never comes to it.
    pub fn acceleration(&self, baseline: &Self, parameters: f64, amount: f64) -> Option<f64> {
        let needed = self.amount(parameters, baseline.loss(parameters, amount))?;
        Some(amount / needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAW: Law = Law {
        irreducible: 1.7,
        size: Some((6.0, 0.34)),
        log_b: 6.1,
        beta: 0.28,
    };

    #[test]
    fn amounts_and_losses_are_each_others_inverse() {
        let loss = LAW.loss(1e9, 3e10);
        let amount = LAW.amount(1e9, loss).expect("it is reached");
        assert!((amount / 3e10 - 1.0).abs() < 1e-9, "{amount}");
        assert_eq!(LAW.amount(1e9, LAW.floor(1e9)), None);
        assert_eq!(LAW.amount(1e9, 1.0), None);
        let itself = LAW.acceleration(&LAW, 1e9, 3e10).expect("it is reached");
        assert!((itself - 1.0).abs() < 1e-9, "{itself}");
    }
}
