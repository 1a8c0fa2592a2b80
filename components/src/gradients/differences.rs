//! Products with gradients by differences of losses: for models that can only be asked for losses.

use super::Vector;
use burn::module::Module;

/// How far parameters θ are moved along a direction v. With too long a step the loss bends on the way, with too short a one
/// rounding of the losses shows; ReLU wants the longer ones, since its kinks weigh one over the length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Displacement {
    /// By `r (1 + ‖θ‖)`: 1e-4 in f32 and 1e-6 in f64 for transformers (PDS, arXiv 2410.07064).
    Relative(f64),
    /// By this Euclidean length: 0.01 in f32.
    Length(f64),
}

impl Displacement {
    /// ε such that εv has the length that is wanted; none where v is zero.
    fn step<M: Module>(self, module: &M, direction: &Vector) -> Option<f64> {
        let wanted = match self {
            Self::Relative(r) => r * (1.0 + Vector::parameters(module).norm()),
            Self::Length(length) => length,
        };
        let norm = direction.norm();
        (norm > 0.0).then(|| wanted / norm)
    }
}

/// `⟨∇ℓ_n, v⟩ ≈ (ℓ_n(θ + εv) − ℓ_n(θ − εv)) / 2ε` for all losses that `losses` gives, which it is asked for twice, of modules outside
/// any graph. The error falls with ε². Weights must be f32 or f64, and losses free of bfloat16.
pub fn difference_dots<M: Module>(
    module: &M,
    direction: &Vector,
    displacement: Displacement,
    losses: impl Fn(&M) -> Vec<f64>,
) -> Vec<f64> {
    let module = module.valid();
    let step = displacement.step(&module, direction);
    let [above, below] =
        [1.0, -1.0].map(|side| losses(&direction.moved(module.clone(), side * step.unwrap_or(0.0))));
    quotients(&above, &below, step.map(|step| 2.0 * step))
}

/// `(ℓ_n(θ + εv) − ℓ_n(θ)) / ε`, where the losses at θ are known already: half the work, and an error that falls with ε
/// only, so about ten times that of [`difference_dots`] in f32.
pub fn forward_difference_dots<M: Module>(
    module: &M,
    direction: &Vector,
    displacement: Displacement,
    known: &[f64],
    losses: impl Fn(&M) -> Vec<f64>,
) -> Vec<f64> {
    let module = module.valid();
    let step = displacement.step(&module, direction);
    let above = losses(&direction.moved(module, step.unwrap_or(0.0)));
    quotients(&above, known, step)
}

/// Differences over a distance; zero where there is none.
fn quotients(above: &[f64], below: &[f64], distance: Option<f64>) -> Vec<f64> {
    let pairs = above.iter().zip(below);
    let quotient = |(above, below): (&f64, &f64)| distance.map_or(0.0, |distance| (above - below) / distance);
    pairs.map(quotient).collect()
}
