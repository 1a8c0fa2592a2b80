//! Minimising a smooth function of a few numbers: L-BFGS with a line search by bisection.

use std::collections::VecDeque;

/// Pairs of steps and changes of the gradient that are remembered.
const MEMORY: usize = 12;
const STEPS: usize = 2000;
/// A step must lower the function by this share of what the slope promises …
const DECREASE: f64 = 1e-4;
/// … and leave at most this share of the slope.
const CURVATURE: f64 = 0.9;
/// Trials of a step's length.
const TRIALS: usize = 60;

/// Where the search ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Minimum {
    pub(super) at: Vec<f64>,
    pub(super) value: f64,
}

/// A place, and what the function is there.
#[derive(Debug, Clone)]
struct Place {
    x: Vec<f64>,
    value: f64,
    slope: Vec<f64>,
}

/// Goes down from `start` until nothing is gained any more. `function` gives its value and writes its gradient.
pub(super) fn minimise(mut function: impl FnMut(&[f64], &mut [f64]) -> f64, start: &[f64]) -> Minimum {
    let mut look = |x: Vec<f64>| {
        let mut slope = vec![0.0; x.len()];
        let value = function(&x, &mut slope);
        Place { x, value, slope }
    };
    let mut here = look(start.to_vec());
    let mut pairs: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
    for _ in 0..STEPS {
        let mut direction = descent(&here.slope, &pairs);
        if dot(&direction, &here.slope) >= 0.0 {
            // What is remembered no longer fits.
            pairs.clear();
            direction = descent(&here.slope, &pairs);
        }
        let Some(next) = search(&here, &direction, &mut look) else {
            if pairs.is_empty() {
                break;
            }
            pairs.clear();
            continue;
        };
        let step = difference(&next.x, &here.x);
        let change = difference(&next.slope, &here.slope);
        if dot(&step, &change) > 0.0 {
            pairs.push_back((step, change));
            if pairs.len() > MEMORY {
                pairs.pop_front();
            }
        }
        here = next;
        if dot(&here.slope, &here.slope) == 0.0 {
            break;
        }
    }
    Minimum {
        at: here.x,
        value: here.value,
    }
}

/// The direction against the slope, bent by what is remembered of it (the two loops of Nocedal).
fn descent(slope: &[f64], pairs: &VecDeque<(Vec<f64>, Vec<f64>)>) -> Vec<f64> {
    let mut direction: Vec<f64> = slope.iter().map(|g| -g).collect();
    let mut shares = Vec::new();
    for (step, change) in pairs.iter().rev() {
        let share = dot(step, &direction) / dot(step, change);
        add(&mut direction, -share, change);
        shares.push(share);
    }
    let scale = match pairs.back() {
        Some((step, change)) => dot(step, change) / dot(change, change),
        None => 1.0 / dot(slope, slope).sqrt().max(1.0),
    };
    for d in &mut direction {
        *d *= scale;
    }
    for ((step, change), share) in pairs.iter().zip(shares.into_iter().rev()) {
        let back = dot(change, &direction) / dot(step, change);
        add(&mut direction, share - back, step);
    }
    direction
}

/// A step along `direction` that lowers the function and flattens its slope enough; none if there is none to be found.
fn search(here: &Place, direction: &[f64], look: &mut impl FnMut(Vec<f64>) -> Place) -> Option<Place> {
    let slope = dot(&here.slope, direction);
    let (mut low, mut high, mut length) = (0.0, f64::INFINITY, 1.0);
    let mut lower = None;
    for _ in 0..TRIALS {
        let mut x = here.x.clone();
        add(&mut x, length, direction);
        if x == here.x {
            break;
        }
        let there = look(x);
        let most = here.value + DECREASE * length * slope;
        if there.value.is_nan() || there.value > most {
            high = length;
        } else if dot(&there.slope, direction) < CURVATURE * slope {
            low = length;
            lower = Some(there);
        } else {
            return Some(there).filter(|there| there.value < here.value);
        }
        length = if high.is_finite() {
            f64::midpoint(low, high)
        } else {
            2.0 * low
        };
    }
    lower.filter(|there: &Place| there.value < here.value)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], times: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += times * what);
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bent_valley_is_followed_to_its_end() {
        // Rosenbrock's function, with its minimum at (1, 1).
        let minimum = minimise(
            |x, slope| {
                let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
                slope[0] = -2.0 * a - 400.0 * x[0] * b;
                slope[1] = 200.0 * b;
                a * a + 100.0 * b * b
            },
            &[-1.2, 1.0],
        );
        assert!(minimum.value < 1e-24, "{minimum:?}");
        assert!(minimum.at.iter().all(|x| (x - 1.0).abs() < 1e-10), "{minimum:?}");
    }

    #[test]
    fn an_ill_conditioned_bowl_is_gone_down() {
        let scales = [1.0, 1e3, 1e6];
        let minimum = minimise(
            |x, slope| {
                for i in 0..3 {
                    slope[i] = scales[i] * (x[i] - 1.0);
                }
                (0..3).map(|i| scales[i] * (x[i] - 1.0).powi(2) / 2.0).sum()
            },
            &[5.0, -3.0, 2.0],
        );
        assert!(minimum.at.iter().all(|x| (x - 1.0).abs() < 1e-7), "{minimum:?}");
    }

    #[test]
    fn a_place_that_is_no_number_is_stepped_back_from() {
        let minimum = minimise(
            |x, slope| {
                slope[0] = 1.0 - 1.0 / x[0];
                x[0] - x[0].ln()
            },
            &[20.0],
        );
        assert!((minimum.at[0] - 1.0).abs() < 1e-7, "{minimum:?}");
    }
}
