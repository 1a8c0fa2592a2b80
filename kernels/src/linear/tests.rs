use burn::tensor::DType;

use super::*;
use crate::testing::{assert_close, check, host, on_every_level, tensor, values};

#[test]
fn fused_equals_reference_and_differences() {
    for [n, k, v] in [[1, 1, 1], [5, 7, 3], [130, 33, 97]] {
        for orientation in [Orientation::InputsFirst, Orientation::OutputsFirst] {
            let shape = match orientation {
                Orientation::InputsFirst | Orientation::Panels => [k, v],
                Orientation::OutputsFirst => [v, k],
            };
            let inputs = [
                (values(1, n * k, 1.0), [n, k]),
                (values(2, k * v, 1.0), shape),
                (values(3, v, 1.0), [1, v]),
            ];
            check(&inputs, |[x, w, bias]| {
                linear(x, w, orientation, Some(bias.squeeze_dim(0)), Products::Full)
            });
            check(&[inputs[0].clone(), inputs[1].clone()], |[x, w]| {
                linear(x, w, orientation, None, Products::Full)
            });
        }
    }
}

/// Value and gradients of `Σ direction · linear(x, w, bias)` with bfloat16 products, or of f64.
fn value_and_gradients(dtype: DType, products: Products) -> [Vec<f64>; 4] {
    let [n, k, v] = [150, 130, 100];
    let x = tensor(&values(1, n * k, 1.0), [n, k], dtype, true);
    let w = tensor(&values(2, k * v, 1.0), [k, v], dtype, true);
    let bias = tensor(&values(3, v, 1.0), [v], dtype, true);
    let direction = tensor(&values(4, n * v, 1.0), [n, v], dtype, false).autodiff();
    let value = linear(
        x.clone(),
        w.clone(),
        Orientation::InputsFirst,
        Some(bias.clone()),
        products,
    );
    let gradients = (value.clone() * direction).sum().backward();
    let gradient = |leaf: Tensor<2>| host(leaf.grad(&gradients).expect("a leaf's gradient"));
    [
        host(value.without_autodiff()),
        gradient(x),
        gradient(w),
        host(bias.grad(&gradients).expect("a leaf's gradient")),
    ]
}

/// The error's root mean square, as a part of the expected values'.
fn relative_error(found: &[f64], expected: &[f64]) -> f64 {
    let squares = found.iter().zip(expected).map(|(a, b)| (a - b).powi(2));
    (squares.sum::<f64>() / expected.iter().map(|b| b.powi(2)).sum::<f64>()).sqrt()
}

#[test]
fn bfloat16_products_and_their_gradients_are_as_accurate_as_stated() {
    on_every_level(|| {
        let exact = value_and_gradients(DType::F64, Products::Full);
        let found = value_and_gradients(DType::F32, Products::Bf16);
        for (i, (found, exact)) in found.iter().zip(&exact).enumerate() {
            let error = relative_error(found, exact);
            assert!(error < 2.8e-3, "result {i}: {error}");
            // The gradient of the bias has no product.
            assert_eq!(error > 1e-5, i < 3, "result {i}: {error}");
        }
    });
}

#[test]
fn weights_in_bfloat16_are_read_as_they_are() {
    on_every_level(|| {
        let (x, w) = (values(1, 70 * 65, 1.0), values(2, 65 * 50, 1.0));
        let w = tensor(&w, [65, 50], DType::F32, false).cast(DType::BF16);
        let wide = w.clone().cast(DType::F32);
        let x = tensor(&x, [70, 65], DType::F32, false);
        for products in [Products::Full, Products::Bf16] {
            for tracked in [false, true] {
                let x = if tracked { x.clone().autodiff() } else { x.clone() };
                let [narrow, wide] = [&w, &wide].map(|w| {
                    let w = if tracked { w.clone().autodiff() } else { w.clone() };
                    host(linear(x.clone(), w, Orientation::InputsFirst, None, products))
                });
                assert_eq!(narrow, wide);
            }
        }
        let near = host(linear(
            x.clone(),
            w.clone(),
            Orientation::InputsFirst,
            None,
            Products::Bf16,
        ));
        assert_close(
            "composed",
            &host(reference(x, w, Orientation::InputsFirst, None, Products::Bf16)),
            &near,
            1e-2,
        );
    });
}
