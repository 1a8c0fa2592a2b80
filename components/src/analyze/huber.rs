//! Fits of laws by Huber's function of the differences of logarithms (Hoffmann et al.; MiniPLM and PDS, sheet 5).

use super::law::{Law, Point};
use super::lbfgs::{Minimum, minimise};

/// Which law is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// E + A/N^α + B/D^β.
    Joint,
    /// L∞ + (D₀/D)^β.
    Single,
}

/// The logarithms that a fit works with, measured from their means: then one number hardly changes what the others should
/// be, and the search is short.
struct Centred {
    shape: Shape,
    mean_n: f64,
    mean_d: f64,
    /// ln N, ln D and ln L, the first two from their means.
    points: Vec<[f64; 3]>,
    delta: f64,
}

impl Centred {
    fn of(shape: Shape, points: &[Point], delta: f64) -> Self {
        let count = points.len() as f64;
        let mean = |of: fn(&Point) -> f64| points.iter().map(|point| of(point).ln()).sum::<f64>() / count;
        let (mean_n, mean_d) = (mean(|point| point.parameters), mean(|point| point.amount));
        let logs = |point: &Point| {
            let (n, d) = (point.parameters.ln() - mean_n, point.amount.ln() - mean_d);
            [n, d, point.loss.ln()]
        };
        Self {
            shape,
            mean_n,
            mean_d,
            points: points.iter().map(logs).collect(),
            delta,
        }
    }

    /// The sum over points of Huber's function of ln(predicted) − ln(measured), in units of δ²; and its gradient by
    /// (ln E, ln B, β, ln A, α).
    fn value(&self, x: &[f64], slope: &mut [f64]) -> f64 {
        slope.fill(0.0);
        let mut sum = 0.0;
        for &[n, d, log_loss] in &self.points {
            let mut terms = [x[0], x[1] - x[2] * d, f64::NEG_INFINITY];
            if self.shape == Shape::Joint {
                terms[2] = x[3] - x[4] * n;
            }
            let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let shares = terms.map(|term| (term - most).exp());
            let total: f64 = shares.iter().sum();
            let (value, by_residual) = huber((most + total.ln() - log_loss) / self.delta);
            sum += value;
            let [e, b, a] = shares.map(|share| by_residual / self.delta * share / total);
            slope[0] += e;
            slope[1] += b;
            slope[2] -= b * d;
            if self.shape == Shape::Joint {
                slope[3] += a;
                slope[4] -= a * n;
            }
        }
        sum
    }

    fn minimise(&self, start: &[f64]) -> Minimum {
        minimise(|x, slope| self.value(x, slope), start)
    }

    /// Where to begin: the mean loss dealt out in several ways, with several slopes.
    fn starts(&self) -> Vec<Vec<f64>> {
        let mean = self.points.iter().map(|[.., log_loss]| log_loss).sum::<f64>() / self.points.len() as f64;
        let part = |share: f64| mean + share.ln();
        let slopes = [0.1, 0.3, 0.7];
        let mut all = Vec::new();
        for rest in [0.9, 0.6, 0.2] {
            for beta in slopes {
                if self.shape == Shape::Single {
                    all.push(vec![part(rest), part(1.0 - rest), beta]);
                    continue;
                }
                for of_size in [0.25, 0.75] {
                    for alpha in slopes {
                        let (a, b) = ((1.0 - rest) * of_size, (1.0 - rest) * (1.0 - of_size));
                        all.push(vec![part(rest), part(b), beta, part(a), alpha]);
                    }
                }
            }
        }
        all
    }

    fn law(&self, x: &[f64]) -> Law {
        Law {
            irreducible: x[0].exp(),
            size: (self.shape == Shape::Joint).then(|| (x[3] + x[4] * self.mean_n, x[4])),
            log_b: x[1] + x[2] * self.mean_d,
            beta: x[2],
        }
    }
}

/// Huber's function with its corner at 1, and its slope.
fn huber(r: f64) -> (f64, f64) {
    if r.abs() <= 1.0 {
        (r * r / 2.0, r)
    } else {
        (r.abs() - 0.5, r.signum())
    }
}

/// The law nearest to the points: the lowest sum of Huber's function of the differences of logarithms, its corner at
/// `delta`, over several starts, or from `near` alone. None if it has no finite numbers, or loss does not fall.
pub(super) fn fit(shape: Shape, points: &[Point], delta: f64, near: Option<&Law>) -> Option<Law> {
    let centred = Centred::of(shape, points, delta);
    let starts = match near {
        None => centred.starts(),
        Some(law) => {
            let mut start = vec![
                law.irreducible.ln(),
                law.log_b - law.beta * centred.mean_d,
                law.beta,
            ];
            if let Some((log_a, alpha)) = law.size {
                start.extend([log_a - alpha * centred.mean_n, alpha]);
            }
            vec![start]
        }
    };
    let ends = starts.iter().map(|start| centred.minimise(start));
    let best = ends
        .filter(|end| end.value.is_finite())
        .min_by(|a, b| a.value.total_cmp(&b.value))?;
    let law = centred.law(&best.at);
    let numbers = [law.irreducible, law.log_b, law.beta];
    let falls = law.beta > 0.0
        && law
            .size
            .is_none_or(|(log_a, alpha)| log_a.is_finite() && alpha > 0.0);
    (falls && numbers.iter().all(|number| number.is_finite())).then_some(law)
}

/// The law E + A/N^α + B/D^β nearest to the points, by Huber's function of the differences of logarithms with its corner at
/// `delta`. None where no such law falls.
pub fn fit_joint(points: &[Point], delta: f64) -> Option<Law> {
    fit(Shape::Joint, points, delta, None)
}

/// The law L∞ + (D₀/D)^β nearest to the points, in the same way.
pub fn fit_single(points: &[Point], delta: f64) -> Option<Law> {
    fit(Shape::Single, points, delta, None)
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

    fn points() -> Vec<Point> {
        let sizes = [1e7, 4e7, 2e8, 1e9];
        let amounts = [1e8, 1e9, 5e9, 2e10];
        let pairs = sizes.iter().flat_map(|&n| amounts.iter().map(move |&d| (n, d)));
        pairs
            .map(|(parameters, amount)| Point {
                parameters,
                amount,
                loss: LAW.loss(parameters, amount),
            })
            .collect()
    }

    #[test]
    fn the_gradient_is_that_of_differences() {
        let mut points = points();
        points[3].loss *= 1.02;
        let centred = Centred::of(Shape::Joint, &points, 1e-3);
        let x = [0.4, -0.3, 0.35, 0.1, 0.3];
        let mut slope = [0.0; 5];
        centred.value(&x, &mut slope);
        for i in 0..5 {
            let at = |step: f64| {
                let mut x = x;
                x[i] += step;
                centred.value(&x, &mut [0.0; 5])
            };
            let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!(
                (difference - slope[i]).abs() < 1e-5 * slope[i].abs(),
                "{i}: {difference} {slope:?}"
            );
        }
    }

    #[test]
    fn an_outlier_does_not_bend_the_law() {
        let mut points = points();
        points[5].loss *= 1.5;
        let law = fit(Shape::Joint, &points, 1e-3, None).expect("a law");
        let (ours, true_loss) = (law.loss(7e9, 1e12), LAW.loss(7e9, 1e12));
        assert!((ours / true_loss - 1.0).abs() < 2e-3, "{ours} {true_loss}");
    }

    #[test]
    fn a_loss_that_does_not_fall_has_no_law() {
        let rising: Vec<Point> = (1..9)
            .map(|i| Point {
                parameters: 1.0,
                amount: f64::from(i),
                loss: 1.0 + f64::from(i),
            })
            .collect();
        assert_eq!(fit(Shape::Single, &rising, 1e-3, None), None);
    }
}
