use super::*;
use burn::tensor::DType;
use std::sync::Arc;

use crate::testing::{assert_close, check, host, on_every_level, tensor, values};

mod masks;
mod packed;

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
        [1, 130, 130, 1, 1, 33],
        [1, 70, 70, 4, 1, 16],
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

/// Every way to mask, for `h` heads and two query sequences of `t` over three key sequences of `s`.
fn masks([t, s, h]: [usize; 3]) -> Vec<Mask> {
    let slopes: Arc<[f64]> = (0..h).map(|head| 0.5 / (head + 1) as f64).collect();
    let [first, second] = [
        Row {
            row: 2,
            first: 0,
            past: s - t,
        },
        Row {
            row: 0,
            first: 2,
            past: (s - t) / 2,
        },
    ];
    // Two continuations of one sequence; one that is padding alone.
    let shared = Row {
        row: 2,
        first: 1,
        past: (s - t) / 2,
    };
    let blind = Row {
        row: 1,
        first: s,
        past: 0,
    };
    let mut masks = Vec::new();
    for rows in [[first, second], [first, shared], [second, blind]] {
        for window in [None, Some(1), Some(3)] {
            for slopes in [None, Some(slopes.clone())] {
                masks.push(Mask {
                    window,
                    slopes,
                    rows: Some(rows.into()),
                    ..Mask::default()
                });
            }
        }
    }
    masks
}

#[test]
fn masks_equal_reference_and_differences() {
    for [t, s, h, g, d] in [
        [1, 1, 1, 1, 1],
        [1, 9, 4, 2, 21],
        [4, 7, 2, 1, 3],
        [67, 70, 2, 2, 4],
    ] {
        let q = (values(1, 2 * t * h * d, 2.0), [2, t, h, d]);
        let k = (values(2, 3 * s * g * d, 2.0), [3, s, g, d]);
        let v = (values(3, 3 * s * g * d, 1.0), [3, s, g, d]);
        for mask in masks([t, s, h]) {
            check(&[q.clone(), k.clone(), v.clone()], |[q, k, v]| {
                attention(q, k, v, 0.7, &mask)
            });
        }
    }
}

#[test]
fn a_window_and_slopes_follow_their_definition() {
    let v = values(3, 6, 1.0);
    let [q, k, values] =
        [&[1.0; 6], &[0.0; 6], &v[..]].map(|x: &[f64]| tensor(x, [1, 6, 1, 1], DType::F32, false));
    let mask = Mask {
        window: Some(2),
        slopes: Some([2.0_f64.ln()].into()),
        ..Mask::default()
    };
    // Of two keys the nearer one weighs twice as much.
    let mixed: Vec<f64> = (0..6)
        .map(|i: usize| {
            if i == 0 {
                v[0]
            } else {
                (v[i - 1] + 2.0 * v[i]) / 3.0
            }
        })
        .collect();
    assert_close("mixed", &host(attention(q, k, values, 1.0, &mask)), &mixed, 1e-6);
}

#[test]
fn a_decoded_row_keeps_its_bytes_beside_others() {
    on_every_level(|| {
        let [c, s, h, g, d] = [3, 300, 4, 2, 48];
        let q = values(1, c * h * d, 1.0);
        let [k, v] =
            [2, 3].map(|seed| tensor(&values(seed, c * s * g * d, 1.0), [c, s, g, d], DType::F32, false));
        let rows: Vec<Row> = (0..c)
            .map(|row| Row {
                row,
                first: row,
                past: 299 - 70 * row,
            })
            .collect();
        let run = |q: &[f64], rows: &[Row]| {
            let q = tensor(q, [rows.len(), 1, h, d], DType::F32, false);
            let mask = Mask {
                rows: Some(rows.into()),
                ..Mask::default()
            };
            host(attention(q, k.clone(), v.clone(), 0.1, &mask))
        };
        let together = run(&q, &rows);
        for row in 0..c {
            let part = row * h * d..(row + 1) * h * d;
            assert_eq!(run(&q[part.clone()], &rows[row..=row]), together[part]);
        }
    });
}
