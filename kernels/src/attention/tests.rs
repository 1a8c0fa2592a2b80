use super::*;
use burn::tensor::DType;

use crate::testing::{assert_close, check, host, tensor, values};

#[test]
fn fused_equals_reference_and_differences() {
    // b, t, s, h, g, d: one element; odd; grouped; one key head; queries shorter than keys; several blocks.
    for [b, t, s, h, g, d] in [
        [1, 1, 1, 1, 1, 1],
        [2, 5, 5, 3, 3, 7],
        [2, 9, 9, 4, 2, 6],
        [1, 8, 8, 4, 1, 5],
        [2, 3, 11, 4, 2, 4],
        [1, 67, 150, 2, 1, 8],
    ] {
        let q = (values(1, b * t * h * d, 2.0), [b, t, h, d]);
        let k = (values(2, b * s * g * d, 2.0), [b, s, g, d]);
        let v = (values(3, b * s * g * d, 1.0), [b, s, g, d]);
        check(&[q, k, v], |[q, k, v]| {
            attention(q, k, v, (d as f64).sqrt().recip(), &Mask::default())
        });
    }
}

#[test]
fn scores_of_three_hundred_stay_finite() {
    let [t, d] = [6, 2];
    let q = (values(1, t * d, 20.0), [1, t, 1, d]);
    let k = (values(2, t * d, 20.0), [1, t, 1, d]);
    let v = (values(3, t * d, 1.0), [1, t, 1, d]);
    check(&[q, k, v], |[q, k, v]| attention(q, k, v, 0.5, &Mask::default()));
}

#[test]
fn the_future_is_not_read() {
    let [t, d] = [70, 4];
    let (q, v) = (values(1, t * d, 1.0), values(3, t * d, 1.0));
    let run = |k: &[f64]| {
        let [q, k, v] = [&q[..], k, &v].map(|x| tensor(x, [1, t, 1, d], DType::F32, false));
        host(attention(q, k, v, 0.5, &Mask::default()))
    };
    let mut k = values(2, t * d, 1.0);
    let before = run(&k);
    k[(t - 1) * d..].fill(9.0);
    let after = run(&k);
    assert_eq!(before[..(t - 1) * d], after[..(t - 1) * d]);
    assert_ne!(before[(t - 1) * d..], after[(t - 1) * d..]);
}

#[test]
fn equal_keys_average_the_values_seen() {
    let v = values(3, 5, 1.0);
    let [q, k, values] =
        [&[1.0; 5], &[2.0; 5], &v[..]].map(|x: &[f64]| tensor(x, [1, 5, 1, 1], DType::F32, false));
    let means: Vec<f64> = (1..=5).map(|n| v[..n].iter().sum::<f64>() / n as f64).collect();
    assert_close(
        "means",
        &host(attention(q, k, values, 1.0, &Mask::default())),
        &means,
        1e-6,
    );
}
