use burn::tensor::DType;

use super::*;
use crate::testing::{assert_close, host, on_every_level, on_threads, tensor, values};

/// A product of `n` of the rows, from row `from` on.
fn product(
    [n, k, v]: [usize; 3],
    from: usize,
    orientation: Orientation,
    dtype: DType,
    biased: bool,
) -> (Vec<f64>, Vec<f64>) {
    let x = values(1, (from + n) * k, 1.0)[from * k..].to_vec();
    let x = tensor(&x, [n, k], DType::F32, false);
    let shape = match orientation {
        Orientation::OutputsFirst => [v, k],
        Orientation::InputsFirst | Orientation::Panels => [k, v],
    };
    let mut w = tensor(&values(2, k * v, 1.0), shape, dtype, false);
    if orientation == Orientation::Panels {
        w = crate::in_panels(w).expect("on the CPU");
    }
    let bias = biased.then(|| tensor(&values(3, v, 1.0), [v], DType::F32, false));
    let exact = linear::reference(
        x.clone().cast(DType::F64),
        w.clone(),
        orientation,
        bias.clone().map(|bias| bias.cast(DType::F64)),
        Products::Full,
    );
    (host(row_linear(x, w, orientation, bias)), host(exact))
}

#[test]
fn fused_equals_reference_and_rows_keep_their_bytes() {
    on_every_level(|| {
        // One element; odd; tiles and panels with rests; several groups of rows.
        for sizes in [
            [1, 1, 1],
            [3, 7, 5],
            [4, 64, 64],
            [9, 150, 131],
            [16, 257, 192],
            [6, 1200, 320],
        ] {
            for orientation in [
                Orientation::InputsFirst,
                Orientation::OutputsFirst,
                Orientation::Panels,
            ] {
                for dtype in [DType::F32, DType::BF16] {
                    for biased in [false, true] {
                        let [n, k, v] = sizes;
                        let (found, expected) = product(sizes, 0, orientation, dtype, biased);
                        assert_close(
                            &format!("{sizes:?} {orientation:?} {dtype:?}"),
                            &found,
                            &expected,
                            5e-6,
                        );
                        for row in 0..n {
                            let (alone, _) = product([1, k, v], row, orientation, dtype, biased);
                            assert_eq!(alone, found[row * v..(row + 1) * v], "row {row} alone");
                        }
                        for threads in [1, 3] {
                            let again =
                                on_threads(threads, || product(sizes, 0, orientation, dtype, biased).0);
                            assert!(again == found, "bytes differ on {threads} threads");
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn panels_hold_the_matrix_and_give_the_same_bytes() {
    for [n, k, v] in [[1, 1, 1], [2, 70, 49], [5, 130, 96], [9, 64, 111]] {
        let w = values(2, k * v, 1.0);
        for dtype in [DType::F32, DType::BF16] {
            let w = tensor(&w, [k, v], dtype, false);
            let panels = crate::in_panels(w.clone()).expect("on the CPU");
            assert_eq!(host(crate::panels::in_rows(panels.clone())), host(w.clone()));
            let x = tensor(&values(1, n * k, 1.0), [n, k], DType::F32, false);
            let bias = tensor(&values(3, v, 1.0), [v], DType::F32, false);
            let [rows, panels] =
                [(w, Orientation::InputsFirst), (panels, Orientation::Panels)].map(|(w, orientation)| {
                    let few = row_linear(x.clone(), w.clone(), orientation, Some(bias.clone()));
                    let many = linear::linear(x.clone(), w, orientation, Some(bias.clone()), Products::Full);
                    (host(few), host(many))
                });
            assert_eq!(rows.0, panels.0, "few rows");
            assert_close("many rows", &panels.1, &rows.1, 5e-6);
        }
    }
}

#[test]
fn f64_takes_the_reference() {
    let x = tensor(&[1.0, 2.0], [1, 2], DType::F64, false);
    let w = tensor(&[0.1, 0.2], [2, 1], DType::F64, false);
    assert_eq!(host(row_linear(x, w, Orientation::InputsFirst, None)), [0.5]);
}
