use burn::tensor::{DType, Int, Tensor, TensorData};

use crate::attention::{Mask, Row, Segments, attention};
use crate::testing::{assert_close, host, on_gpu, tensor, values};

/// Values and gradient, of the composed operation in f64 or of the GPU's own in another type.
fn evaluate(
    [b, t, h, g, d]: [usize; 5],
    scale: f64,
    mask: &Mask,
    ranges: &[i64],
    dtype: DType,
) -> [Vec<f64>; 2] {
    let all = h + 2 * g;
    let rounded: Vec<f64> = values(1, b * t * all * d, 2.0)
        .into_iter()
        .map(|value| f64::from(burn::tensor::bf16::from_f64(value)))
        .collect();
    let wide = if dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let leaf = tensor(&rounded, [b, t, all, d], wide, true);
    let qkv = leaf.clone().cast(dtype);
    let value = if dtype == DType::F64 {
        let part = |first, count| qkv.clone().narrow(2, first, count);
        attention(part(0, h), part(h, g), part(h + g, g), scale, mask)
    } else {
        let data = TensorData::new(ranges.to_vec(), [b, t, 2]);
        let ranges = Tensor::<3, Int>::from_data(data, &qkv.device());
        super::super::self_attention(qkv, ranges, scale, g)
    }
    .cast(wide);
    let direction = tensor(&values(2, b * t * h * d, 1.0), [b, t, h, d], wide, false).autodiff();
    let gradients = (value.clone() * direction).sum().backward();
    let gradient = leaf.grad(&gradients).expect("the input gets a gradient");
    [host(value.without_autodiff()), host(gradient)]
}

fn check(shape: [usize; 5], mask: &Mask, seen: impl Fn(usize, usize) -> [usize; 2]) {
    if !on_gpu() {
        eprintln!("skipped: no GPU is named in LYCEUM_TEST_DEVICE");
        return;
    }
    let [b, t, ..] = shape;
    let ranges: Vec<i64> = (0..b)
        .flat_map(|sequence| (0..t).map(move |query| (sequence, query)))
        .flat_map(|(sequence, query)| seen(sequence, query).map(|end| end as i64))
        .collect();
    let scale = (shape[4] as f64).powf(-0.5);
    let exact = evaluate(shape, scale, mask, &ranges, DType::F64);
    let mut types = vec![(DType::F32, 1e-5)];
    if cfg!(feature = "cuda") {
        // Probabilities are rounded to eight bits before they are multiplied, and so is what comes out.
        types.push((DType::BF16, 2e-2));
    }
    for (dtype, tolerance) in types {
        let found = evaluate(shape, scale, mask, &ranges, dtype);
        for (what, (found, exact)) in ["values", "gradient"].iter().zip(found.iter().zip(&exact)) {
            assert_close(
                &format!("{what} in {dtype:?} of {shape:?}"),
                found,
                exact,
                tolerance,
            );
        }
        let again = evaluate(shape, scale, mask, &ranges, dtype);
        assert!(again == found, "bytes differ from one run to the next");
    }
}

#[test]
fn causal_attention_is_the_composed_one_at_any_length() {
    for (t, d) in [(1, 16), (63, 32), (64, 64), (65, 64), (200, 64)] {
        check([2, t, 2, 2, d], &Mask::default(), |_, query| [0, query + 1]);
    }
}

#[test]
fn heads_share_keys() {
    check([2, 150, 6, 2, 32], &Mask::default(), |_, query| [0, query + 1]);
}

#[test]
fn queries_see_what_the_mask_shows() {
    let t = 140;
    let full = Mask {
        full: true,
        ..Mask::default()
    };
    check([2, t, 2, 1, 16], &full, |_, _| [0, t]);
    let windowed = Mask {
        window: Some(30),
        ..Mask::default()
    };
    check([1, t, 2, 1, 16], &windowed, |_, query| {
        [(query + 1).saturating_sub(30), query + 1]
    });
    let packed = Mask {
        segments: Some(Segments::new(
            &(0..t).map(|place| u32::from(place >= 70)).collect::<Vec<_>>(),
            t,
        )),
        ..Mask::default()
    };
    check([1, t, 2, 1, 16], &packed, |_, query| {
        [if query >= 70 { 70 } else { 0 }, query + 1]
    });
    let rows = [
        Row {
            row: 0,
            first: 0,
            past: 0,
        },
        Row {
            row: 1,
            first: 90,
            past: 0,
        },
    ];
    let padded = Mask {
        rows: Some(rows.into()),
        ..Mask::default()
    };
    // Queries before a sequence's first key see none.
    check([2, t, 2, 2, 16], &padded, |sequence, query| {
        [[0, 90][sequence].min(query + 1), query + 1]
    });
}
