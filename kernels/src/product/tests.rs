use super::*;
use crate::testing::{on_every_level, on_threads, values};
use crate::weights::Weight;

fn floats(seed: u64, count: usize) -> Vec<f32> {
    values(seed, count, 1.0)
        .into_iter()
        .map(|value| value as f32)
        .collect()
}

/// A matrix of `rows × columns`, held transposed or not.
fn view(data: &[f32], rows: usize, columns: usize, transposed: bool) -> View<'_> {
    if transposed {
        View::new(data, columns, rows, rows).transposed()
    } else {
        View::new(data, rows, columns, columns)
    }
}

fn at(view: View, i: usize, j: usize) -> f32 {
    view.data[i * view.row_stride + j * view.column_stride]
}

/// The product in f64 of what `round` leaves of the elements.
fn exact(left: View, right: View, bias: &[f32], round: impl Fn(f32) -> f32) -> Vec<f64> {
    let value = |i, j| {
        let start = bias.get(j).map_or(0.0, |bias| f64::from(*bias));
        (0..left.columns).fold(start, |sum, k| {
            sum + f64::from(round(at(left, i, k))) * f64::from(round(at(right, k, j)))
        })
    };
    (0..left.rows)
        .flat_map(|i| (0..right.columns).map(move |j| (i, j)))
        .map(|(i, j)| value(i, j))
        .collect()
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f64], what: &str) {
    let scale = expected.iter().fold(1.0, |max: f64, value| max.max(value.abs()));
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(
            error < 2e-6 * scale,
            "{what}, element {i}: {found}, expected {expected}"
        );
    }
}

/// Odd; blocks of `k`, panels and tiles one more or less than whole; several tasks across.
const SIZES: [[usize; 3]; 8] = [
    [1, 1, 1],
    [7, 3, 5],
    [16, 32, 48],
    [3, 0, 2],
    [65, 1, 49],
    [33, 257, 100],
    [130, 385, 95],
    [70, 70, 1000],
];

#[test]
fn products_are_those_of_rounded_operands_in_every_layout() {
    on_every_level(|| {
        for products in [Products::Full, Products::Bf16] {
            let round = match products {
                Products::Full => |value| value,
                Products::Bf16 => rounded,
            };
            for [m, k, n] in SIZES {
                let (left, right, bias) = (floats(1, m * k), floats(2, k * n), floats(3, n));
                for layout in 0..4 {
                    let what = format!("{products:?} {m}×{k}×{n}, layout {layout}");
                    let left = view(&left, m, k, layout & 1 == 1);
                    let factor = view(&right, k, n, layout & 2 == 2);
                    let ready = Right::new(Factor::F32(factor), products);
                    let sum = exact(left, factor, &[], round);
                    let mut target = ready.multiply(left, &[]);
                    assert_near(&target, &sum, &what);
                    ready.multiply_add(&mut target, left);
                    assert_near(&target, &sum.iter().map(|x| 2.0 * x).collect::<Vec<_>>(), &what);
                    ready.multiply_into(&mut target, left, &bias);
                    assert_near(&target, &exact(left, factor, &bias, round), &what);
                }
            }
        }
    });
}

#[test]
fn a_factor_in_bfloat16_equals_the_same_in_f32() {
    on_every_level(|| {
        let narrow: Vec<bf16> = floats(1, 50 * 90).into_iter().map(bf16::from_f32).collect();
        let wide: Vec<f32> = narrow.iter().map(|value| value.wide()).collect();
        let left = floats(2, 20 * 90);
        for products in [Products::Full, Products::Bf16] {
            for transposed in [false, true] {
                let wide = Factor::F32(View::new(&wide, 90, 50, 50));
                let narrow = Factor::Bf16(View::new(&narrow, 90, 50, 50));
                let (factors, left) = if transposed {
                    (
                        [wide.transposed(), narrow.transposed()],
                        View::new(&left, 36, 50, 50),
                    )
                } else {
                    ([wide, narrow], View::new(&left, 20, 90, 90))
                };
                let [wide, narrow] = factors.map(|factor| Right::new(factor, products).multiply(left, &[]));
                assert_eq!(wide, narrow);
            }
        }
    });
}

#[test]
fn bytes_do_not_depend_on_threads() {
    on_every_level(|| {
        for products in [Products::Full, Products::Bf16] {
            for [m, k, n] in [[300, 500, 260], [40, 64, 3000], [2000, 800, 17], [9, 300, 200]] {
                let (left, right) = (floats(1, m * k), floats(2, k * n));
                for layout in 0..4 {
                    let run = |threads| {
                        on_threads(threads, || {
                            let factor = Factor::F32(view(&right, k, n, layout & 2 == 2));
                            Right::new(factor, products).multiply(view(&left, m, k, layout & 1 == 1), &[])
                        })
                    };
                    let single = run(1);
                    assert!(
                        (2..=4).all(|threads| run(threads) == single),
                        "{products:?} {m}×{k}×{n}, layout {layout}"
                    );
                }
            }
        }
    });
}

#[test]
fn infinities_and_nan_come_through() {
    on_every_level(|| {
        for products in [Products::Full, Products::Bf16] {
            let left = [f32::INFINITY, 1.0, f32::NAN, 1.0, 300.0, -300.0];
            let right = [1.0; 4];
            let right = Right::new(Factor::F32(View::new(&right, 2, 2, 2)), products);
            let found = right.multiply(View::new(&left, 3, 2, 2), &[]);
            assert_eq!(found[..2], [f32::INFINITY; 2]);
            assert!(found[2].is_nan() && found[3].is_nan());
            assert_eq!(found[4..], [0.0; 2]);
        }
    });
}

#[test]
fn panels_of_a_factor_in_bfloat16_make_the_whole() {
    // Three panels of 350 columns and a rest, and four of as few as there may be.
    for [m, k, n] in [[5, 3000, 1051], [70, 5000, 800]] {
        let narrow: Vec<bf16> = floats(1, k * n).into_iter().map(bf16::from_f32).collect();
        let wide: Vec<f32> = narrow.iter().map(|value| value.wide()).collect();
        let (left, bias) = (floats(2, m * k), floats(3, n));
        let left = View::new(&left, m, k, k);
        for transposed in [false, true] {
            let (narrow, wide) = if transposed {
                (View::new(&narrow, n, k, k).transposed(), view(&wide, k, n, true))
            } else {
                (View::new(&narrow, k, n, n), view(&wide, k, n, false))
            };
            let whole = Right::new(Factor::F32(wide), Products::Full).multiply(left, &bias);
            let whole: Vec<f64> = whole.into_iter().map(f64::from).collect();
            let run = |threads| {
                on_threads(threads, || {
                    Right::new(Factor::Bf16(narrow), Products::Full).multiply(left, &bias)
                })
            };
            let single = run(1);
            assert_near(&single, &whole, "panels");
            assert!(run(3) == single, "bytes differ on three threads");
        }
    }
}

#[test]
fn rounding_is_to_the_nearest_and_to_even() {
    // Every upper half beside the lower ones where rounding turns.
    for upper in 0..=u16::MAX {
        for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
            let value = f32::from_bits((u32::from(upper) << 16) | lower);
            let expected = bf16::from_f32(value).wide();
            assert_eq!(
                rounded(value).to_bits(),
                expected.to_bits(),
                "{:x}",
                value.to_bits()
            );
        }
    }
}
