use super::*;

/// A rotation of `pairs` pairs by angles of `positions`.
fn rotation(positions: usize, pairs: usize, pairing: Pairing, dtype: DType) -> Rotation {
    let angles = values(7, positions * pairs, 3.0);
    let [cos_pr, sin_pr] = [f64::cos, f64::sin].map(|function| {
        let values: Vec<f64> = angles.iter().map(|angle| function(*angle)).collect();
        tensor(&values, [positions, pairs], dtype, false)
    });
    Rotation {
        cos_pr,
        sin_pr,
        pairing,
    }
}

#[test]
fn packed_heads_equal_reference_and_differences() {
    // b, t, h, g, d: one element; odd; grouped, several blocks.
    for [b, t, h, g, d] in [
        [1, 1, 1, 1, 2],
        [2, 5, 3, 3, 7],
        [2, 9, 8, 2, 18],
        [1, 67, 4, 1, 6],
    ] {
        let qkv = (values(1, b * t * (h + 2 * g) * d, 1.5), [b, t, h + 2 * g, d]);
        let whole = d / 2;
        for (positions, pairs, pairing) in [
            (t, 0, Pairing::Halves),
            (t, whole, Pairing::Halves),
            (t, whole.div_ceil(2), Pairing::Halves),
            (b * t, whole, Pairing::Interleaved),
            (b * t, whole.div_ceil(2), Pairing::Interleaved),
        ] {
            check(std::array::from_ref(&qkv), |[qkv]| {
                let rotation = (pairs > 0).then(|| rotation(positions, pairs, pairing, qkv.dtype()));
                self_attention(qkv, g, rotation, 0.6, &Mask::default())
            });
        }
    }
}

#[test]
fn packed_heads_take_every_mask() {
    let [b, t, h, g, d] = [2, 11, 4, 2, 6];
    let qkv = (values(1, b * t * (h + 2 * g) * d, 1.5), [b, t, h + 2 * g, d]);
    let table = (values(4, h * 8, 1.0), [1, 1, h, 8]);
    let ids: Vec<u32> = (0..b * t).map(|i| u32::from(i % t > 3 + i / t)).collect();
    let mut bias = values(5, b * t, 2.0);
    bias[3] = f64::NEG_INFINITY;
    // Left padding, as prompts of several lengths have it.
    let rows: Vec<Row> = [0, 4]
        .iter()
        .zip(0..)
        .map(|(&first, row)| Row { row, first, past: 0 })
        .collect();
    for full in [false, true] {
        check(&[qkv.clone(), table.clone()], |[qkv, table]| {
            let rotation = rotation(b * t, d / 2, Pairing::Halves, qkv.dtype());
            let mask = Mask {
                full,
                window: Some(6),
                segments: Some(Segments::new(&ids, t)),
                key_bias: Some(bias.clone().into()),
                slopes: Some(vec![0.1; h].into()),
                relative: Some(Relative {
                    table_hn: table.reshape([h, 8]),
                    max_distance: 7,
                }),
                rows: Some(rows.clone().into()),
            };
            self_attention(qkv, g, Some(rotation), 0.6, &mask)
        });
    }
}

/// What is packed has the bytes of what is cut out, values and gradients.
#[test]
fn packed_heads_have_the_bytes_of_those_apart() {
    let [b, t, h, g, d] = [2, 150, 4, 2, 16];
    let data = values(1, b * t * (h + 2 * g) * d, 1.5);
    let run = |operation: &dyn Fn(Tensor<4>, Rotation) -> Tensor<4>| {
        let qkv = tensor(&data, [b, t, h + 2 * g, d], DType::F32, true);
        let rotation = rotation(t, d / 2, Pairing::Halves, DType::F32);
        let value = operation(qkv.clone(), rotation);
        let weights = tensor(&values(2, b * t * h * d, 1.0), [b, t, h, d], DType::F32, false).autodiff();
        let gradients = (value.clone() * weights).sum().backward();
        [
            host(value.without_autodiff()),
            host(qkv.grad(&gradients).expect("a gradient")),
        ]
    };
    let mask = Mask::default();
    let packed = run(&|qkv, rotation| self_attention(qkv, g, Some(rotation), 0.3, &mask));
    let apart = run(&|qkv, rotation| {
        let part = |first, count| qkv.clone().narrow(2, first, count);
        let turned = |x| rotation.clone().apply(x);
        attention(turned(part(0, h)), turned(part(h, g)), part(h + g, g), 0.3, &mask)
    });
    assert!(packed == apart);
}
