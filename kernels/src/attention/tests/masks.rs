use std::sync::Arc;

use super::*;

/// A learned table `[h, n]` from a leaf of the rank that the others have.
fn relative(table: Tensor<4>, max_distance: usize) -> Relative {
    let [_, _, h, n] = table.dims();
    Relative {
        table_hn: table.reshape([h, n]),
        max_distance,
    }
}

/// Ids of segments of `s` positions, for `c` sequences: of length one, of several, and one that is long.
fn ids(c: usize, s: usize) -> Vec<u32> {
    let id = |row: usize, position: usize| match position {
        0 => 0,
        1..4 => 1,
        _ if row == 0 => 2,
        _ => 3 + (position / 5) as u32,
    };
    (0..c)
        .flat_map(|row| (0..s).map(move |position| id(row, position)))
        .collect()
}

/// Biases of keys, of which some are hidden.
fn key_bias(c: usize, s: usize) -> Arc<[f64]> {
    let mut bias = values(9, c * s, 3.0);
    bias.iter_mut()
        .skip(2)
        .step_by(5)
        .for_each(|bias| *bias = f64::NEG_INFINITY);
    bias.into()
}

/// Ways to mask that go together, over `c` sequences of `s` keys with `h` heads.
fn masks([c, s, h]: [usize; 3]) -> Vec<Mask> {
    let segments = Some(Segments::new(&ids(c, s), s));
    let slopes = Some((1..=h).map(|head| 0.5 / head as f64).collect());
    let key_bias = Some(key_bias(c, s));
    let full = |full: bool| Mask {
        full,
        ..Mask::default()
    };
    let mut masks = Vec::new();
    for base in [full(false), full(true)] {
        masks.push(base.clone());
        masks.push(Mask {
            window: Some(3),
            slopes: slopes.clone(),
            ..base.clone()
        });
        masks.push(Mask {
            segments: segments.clone(),
            ..base.clone()
        });
        masks.push(Mask {
            key_bias: key_bias.clone(),
            ..base.clone()
        });
        masks.push(Mask {
            window: Some(4),
            segments: segments.clone(),
            key_bias: key_bias.clone(),
            slopes: slopes.clone(),
            ..base
        });
    }
    masks
}

#[test]
fn every_mask_equals_reference_and_differences() {
    // Queries, keys, heads, key heads, width.
    for [t, s, h, g, d] in [
        [1, 1, 1, 1, 1],
        [5, 5, 4, 1, 3],
        [4, 9, 2, 2, 5],
        [70, 75, 2, 1, 4],
    ] {
        let q = (values(1, 2 * t * h * d, 2.0), [2, t, h, d]);
        let k = (values(2, 2 * s * g * d, 2.0), [2, s, g, d]);
        let v = (values(3, 2 * s * g * d, 1.0), [2, s, g, d]);
        for mask in masks([2, s, h]) {
            check(&[q.clone(), k.clone(), v.clone()], |[q, k, v]| {
                attention(q, k, v, 0.7, &mask)
            });
        }
    }
}

#[test]
fn every_mask_holds_beside_a_cache() {
    // One query takes the body for decoding.
    for [t, s] in [[1, 11], [3, 11]] {
        let [c, h, g, d] = [3, 4, 1, 5];
        let rows = [(2, 0, 7), (0, 2, 4), (2, 1, 5), (1, s, 0)];
        let rows = rows.map(|(row, first, past)| Row { row, first, past });
        let q = (values(1, 4 * t * h * d, 2.0), [4, t, h, d]);
        let k = (values(2, c * s * g * d, 2.0), [c, s, g, d]);
        let v = (values(3, c * s * g * d, 1.0), [c, s, g, d]);
        let table = (values(4, h * 8, 1.0), [1, 1, h, 8]);
        for mask in masks([c, s, h]) {
            let inputs = [q.clone(), k.clone(), v.clone(), table.clone()];
            check(&inputs, |[q, k, v, table]| {
                let mask = Mask {
                    relative: Some(relative(table, 6)),
                    rows: Some(rows.into()),
                    ..mask.clone()
                };
                attention(q, k, v, 0.7, &mask)
            });
        }
    }
}

#[test]
fn learned_biases_equal_reference_and_differences() {
    for [t, s, h, g, d, n] in [[1, 1, 1, 1, 1, 4], [9, 9, 4, 1, 3, 8], [66, 70, 2, 2, 4, 12]] {
        let q = (values(1, 2 * t * h * d, 2.0), [2, t, h, d]);
        let k = (values(2, 2 * s * g * d, 2.0), [2, s, g, d]);
        let v = (values(3, 2 * s * g * d, 1.0), [2, s, g, d]);
        let table = (values(4, h * n, 2.0), [1, 1, h, n]);
        for mask in masks([2, s, h]) {
            let inputs = [q.clone(), k.clone(), v.clone(), table.clone()];
            check(&inputs, |[q, k, v, table]| {
                let mask = Mask {
                    relative: Some(relative(table, 20)),
                    ..mask.clone()
                };
                attention(q, k, v, 1.0, &mask)
            });
        }
    }
}

#[test]
fn buckets_follow_their_definition() {
    // 32 buckets up to distance 128. Of both sides 16 each: 8 single distances, then bucket 8 + j from 8·16^(j/8) on, that is
    // where distance² ≥ 64·2^j. Of one side: 16 single ones, then 16 + j where distance^16 ≥ 2^(64 + 3j).
    let wide = |away: u128, full: bool| {
        (0..16_u32)
            .rev()
            .find(|j| {
                if full {
                    *j < 8 && away.pow(2) >= 64 << j
                } else {
                    away.pow(16) >= 1 << (64 + 3 * j)
                }
            })
            .expect("a bucket")
    };
    for full in [false, true] {
        let buckets = Buckets {
            count: 32,
            max_distance: 128,
            full,
        };
        let single = if full { 8 } else { 16 };
        for away in 0..300_i64 {
            let index = match away {
                _ if away < single => away as usize,
                _ => single as usize + wide(away.min(128) as u128, full) as usize,
            };
            assert_eq!(buckets.index(-away), index, "{away} before");
            let after = if full && away > 0 { 16 + index } else { 0 };
            assert_eq!(
                buckets.index(away),
                if away == 0 { 0 } else { after },
                "{away} after"
            );
        }
    }
}

#[test]
fn segments_equal_calls_of_their_own() {
    let [h, g, d] = [4, 2, 7];
    // One that ends inside a block, one of one token, one longer than a block.
    let lengths = [50, 1, 80, 3];
    let s: usize = lengths.iter().sum();
    let ids: Vec<u32> = lengths
        .iter()
        .zip([5, 2, 9, 2])
        .flat_map(|(n, id)| vec![id; *n])
        .collect();
    let inputs = [(1, h), (2, g), (3, g)].map(|(seed, heads)| values(seed, s * heads * d, 1.0));
    let part = |start: usize, count: usize, dtype| {
        let mut heads = [h, g, g].into_iter();
        inputs.each_ref().map(|x| {
            let heads = heads.next().expect("three");
            let part = &x[start * heads * d..(start + count) * heads * d];
            tensor(part, [1, count, heads, d], dtype, false)
        })
    };
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-14)] {
        for full in [false, true] {
            let mask = Mask {
                full,
                ..Mask::default()
            };
            let packed = Mask {
                segments: Some(Segments::new(&ids, s)),
                ..mask.clone()
            };
            let [q, k, v] = part(0, s, dtype);
            let found = host(attention(q, k, v, 0.4, &packed));
            let mut start = 0;
            for count in lengths {
                let [q, k, v] = part(start, count, dtype);
                let alone = host(attention(q, k, v, 0.4, &mask));
                assert_close(
                    "segment",
                    &found[start * h * d..][..alone.len()],
                    &alone,
                    tolerance,
                );
                start += count;
            }
        }
    }
}

#[test]
fn the_logarithm_of_a_count_stands_for_as_many_keys() {
    let [s, d] = [6, 4];
    let (k, v) = (values(2, s * d, 1.0), values(3, s * d, 1.0));
    // The second key three times.
    let times = |x: &[f64]| [&x[..2 * d], &x[d..2 * d], &x[d..2 * d], &x[2 * d..]].concat();
    let mut bias = vec![0.0; s];
    bias[1] = 3.0_f64.ln();
    for dtype in [DType::F32, DType::F64] {
        let q = tensor(&values(1, d, 1.0), [1, 1, 1, d], dtype, false);
        let run = |k: &[f64], v: &[f64], bias: Option<Arc<[f64]>>| {
            let [k, v] = [k, v].map(|x| tensor(x, [1, x.len() / d, 1, d], dtype, false));
            let mask = Mask {
                key_bias: bias,
                ..Mask::default()
            };
            host(attention(q.clone(), k, v, 0.5, &mask))
        };
        let expected = run(&times(&k), &times(&v), None);
        let found = run(&k, &v, Some(bias.clone().into()));
        assert_close("values", &found, &expected, 1e-6);
    }
}

#[test]
fn hidden_keys_are_as_if_they_were_not_there() {
    let [t, d] = [70, 3];
    // Keys of which every other one is hidden; then all.
    let half: Arc<[f64]> = (0..t)
        .map(|key| if key % 2 == 0 { 0.0 } else { f64::NEG_INFINITY })
        .collect();
    let all: Arc<[f64]> = vec![f64::NEG_INFINITY; t].into();
    for dtype in [DType::F32, DType::F64] {
        for full in [false, true] {
            let run = |seed: u64, bias: &Arc<[f64]>| {
                let mask = Mask {
                    full,
                    key_bias: Some(bias.clone()),
                    ..Mask::default()
                };
                let [q, mut k, mut v] = [1, 2, 3].map(|seed| values(seed, t * d, 20.0));
                for x in [&mut k, &mut v] {
                    let other = values(seed, t * d, 9.0);
                    for i in (0..t * d).filter(|i| bias[i / d] == f64::NEG_INFINITY) {
                        x[i] = other[i];
                    }
                }
                let leaves = [q, k, v].map(|x| tensor(&x, [1, t, 1, d], dtype, true));
                let [q, k, v] = leaves.clone();
                let value = attention(q, k, v, 1.0, &mask);
                let gradients = value.clone().sum().backward();
                let [by_q, by_k, by_v] = leaves.map(|leaf| host(leaf.grad(&gradients).expect("a gradient")));
                [host(value.without_autodiff()), by_q, by_k, by_v]
            };
            let results = run(4, &half);
            assert_eq!(results, run(5, &half));
            for gradient in &results[2..] {
                assert!(gradient.chunks(d).skip(1).step_by(2).flatten().all(|x| *x == 0.0));
            }
            assert!(results[0].iter().all(|x| x.is_finite() && *x != 0.0));
            for result in run(4, &all) {
                assert!(result.iter().all(|x| *x == 0.0), "all are hidden");
            }
        }
    }
}

#[test]
fn no_sequences_give_no_values() {
    let [q, k, v] = [4, 2, 2].map(|heads| tensor(&[], [0, 3, heads, 5], DType::F32, true));
    let value = attention(q.clone(), k, v, 1.0, &Mask::default());
    assert_eq!(value.dims(), [0, 3, 4, 5]);
    let gradients = value.sum().backward();
    assert_eq!(
        q.grad(&gradients).map(|gradient| gradient.dims()),
        Some([0, 3, 4, 5])
    );
}
