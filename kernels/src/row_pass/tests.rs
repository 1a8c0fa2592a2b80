use super::*;
use crate::testing::{on_every_level, values};

/// Inputs, labels, weights and two vectors, exact in f32.
fn problem(n: usize, d: usize, zeros: usize) -> [Vec<f64>; 5] {
    let labels = (0..n).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
    let mut weights = values(2, n, 1.0);
    for (i, weight) in weights.iter_mut().enumerate() {
        // All, some, or every other one counts.
        *weight = if zeros > 0 && i % 5 < zeros {
            0.0
        } else {
            weight.abs()
        };
    }
    [
        values(1, n * d, 2.0),
        labels,
        weights,
        values(3, d, 0.5),
        values(4, d, 1.0),
    ]
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[track_caller]
fn assert_near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{what}: {found}, expected {expected}"
        );
    }
}

#[test]
fn passes_are_those_of_plain_loops_at_every_shape() {
    on_every_level(|| {
        for (n, d, zeros) in [
            (1, 1, 0),
            (3, 3, 1),
            (16, 4, 0),
            (17, 7, 2),
            (40, 31, 4),
            (33, 32, 0),
            (64, 33, 1),
            (70, 128, 3),
            (50, 203, 0),
        ] {
            let [inputs, labels, weights, theta, v] = problem(n, d, zeros);
            let (mut loss, mut gradient, mut products, mut curvature) =
                (0.0, vec![0.5; d], vec![0.0; n], vec![0.5; d]);
            for (row, x) in inputs.chunks(d).enumerate() {
                let (s, u, w, y) = (dot(x, &theta), dot(x, &v), weights[row], labels[row]);
                let p = 1.0 / (1.0 + (-s).exp());
                loss += w * (s.max(0.0) + (-s.abs()).exp().ln_1p() - y * s);
                products[row] = (p - y) * u;
                for (i, x) in x.iter().enumerate() {
                    gradient[i] += w * (p - y) * x;
                    curvature[i] += w * p * (1.0 - p) * u * x;
                }
            }
            let rows = LabelledRows {
                inputs: &inputs[..],
                labels: &labels,
                weights: RowWeights::Each(&weights[..]),
            };
            let (mut by_theta, mut by_v, mut along) = (vec![0.5; d], vec![0.5; d], vec![0.0; n]);
            let found = f64::logistic_loss(rows, &theta, &mut by_theta);
            f64::logistic_products(rows, &theta, &v, &mut along, &mut by_v);
            let what = format!("{n} {d} {zeros}");
            assert_near(&what, &[found], &[loss], 1e-12);
            assert_near(&what, &by_theta, &gradient, 1e-12);
            assert_near(&what, &along, &products, 1e-12);
            assert_near(&what, &by_v, &curvature, 1e-12);

            let (x, w, theta, v) = (narrow(&inputs), narrow(&weights), narrow(&theta), narrow(&v));
            let rows = LabelledRows {
                inputs: &x[..],
                labels: &labels,
                weights: RowWeights::Each(&w[..]),
            };
            let (mut by_theta, mut by_v) = (vec![0.5_f32; d], vec![0.5_f32; d]);
            let found = f32::logistic_loss(rows, &theta, &mut by_theta);
            f32::logistic_products(rows, &theta, &v, &mut along, &mut by_v);
            let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
            assert_near(&what, &[found], &[loss], 1e-4);
            assert_near(&what, &wide(&by_theta), &gradient, 1e-4);
            assert_near(&what, &along, &products, 1e-4);
            assert_near(&what, &wide(&by_v), &curvature, 1e-4);
        }
    });
}

#[test]
fn rows_without_weight_change_no_bit() {
    on_every_level(|| {
        let (n, d) = (37, 130);
        let [mut inputs, labels, weights, theta, v] = problem(n, d, 2);
        let of = |inputs: &[f64], labels: &[f64], weights: &[f64]| {
            let rows = LabelledRows {
                inputs,
                labels,
                weights: RowWeights::Each(weights),
            };
            let (mut gradient, mut curvature, mut products) =
                (vec![0.0; d], vec![0.0; d], vec![0.0; labels.len()]);
            f64::logistic_loss(rows, &theta, &mut gradient);
            f64::logistic_products(rows, &theta, &v, &mut products, &mut curvature);
            (gradient, curvature)
        };
        let with = of(&inputs, &labels, &weights);
        let used = |n: &usize| weights[*n] != 0.0;
        let kept: Vec<usize> = (0..n).filter(used).collect();
        let pick = |values: &[f64]| kept.iter().map(|&n| values[n]).collect::<Vec<f64>>();
        let rows: Vec<f64> = kept
            .iter()
            .flat_map(|&n| inputs[n * d..(n + 1) * d].to_vec())
            .collect();
        assert_eq!(of(&rows, &pick(&labels), &pick(&weights)), with);
        // And are not even looked at on the way forth.
        for n in (0..n).filter(|n| !used(n)) {
            inputs[n * d] = f64::NAN;
        }
        let mut gradient = vec![0.0; d];
        let rows = LabelledRows {
            inputs: &inputs[..],
            labels: &labels,
            weights: RowWeights::Each(&weights[..]),
        };
        assert!(f64::logistic_loss(rows, &theta, &mut gradient).is_finite());
        assert_eq!(gradient, with.0);
    });
}

#[test]
fn equal_weights_are_one_number_and_what_is_not_finite_is_told() {
    on_every_level(|| {
        let (n, d) = (20, 9);
        let [mut inputs, labels, _, theta, _] = problem(n, d, 0);
        let of = |inputs: &[f64], weights: RowWeights<f64>| {
            let mut gradient = vec![0.0; d];
            let loss = f64::logistic_loss(
                LabelledRows {
                    inputs,
                    labels: &labels,
                    weights,
                },
                &theta,
                &mut gradient,
            );
            (loss, gradient)
        };
        let (loss, gradient) = of(&inputs, RowWeights::Each(&[0.25; 20]));
        assert_eq!(of(&inputs, RowWeights::Equal(0.25)), (loss, gradient));
        inputs[3 * d] = f64::NAN;
        assert!(of(&inputs, RowWeights::Equal(0.25)).0.is_nan());
    });
}
