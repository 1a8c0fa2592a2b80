use burn::tensor::{DType, Int, Tensor, TensorData, activation::log_softmax};

use super::*;
use crate::testing::{
    assert_close, check, host, on_every_level, on_gpu, on_threads, tensor, tolerance, values,
};

/// Targets where `like` lies, in its graph or outside.
fn targets<const D: usize>(n: usize, v: usize, like: &Tensor<D>) -> Tensor<1, Int> {
    let values: Vec<i64> = (0..n).map(|i| ((i * 7919 + 3) % v) as i64).collect();
    Tensor::from_data(TensorData::new(values, [n]), &like.device())
}

/// Weights with zeros among them.
fn weights(n: usize) -> Vec<f64> {
    (0..n)
        .map(|i| {
            if i % 3 == 1 {
                0.0
            } else {
                0.25 * (i % 5 + 1) as f64
            }
        })
        .collect()
}

/// The loss as one would write it with all logits in memory: no custom gradient.
fn plain(
    x_nd: Tensor<2>,
    w_vd: Tensor<2>,
    bias_v: Option<Tensor<1>>,
    targets_n: Tensor<1, Int>,
    weights_n: Tensor<1>,
) -> Tensor<1> {
    let mut logits_nv = x_nd.matmul(w_vd.transpose());
    if let Some(bias_v) = bias_v {
        logits_nv = logits_nv + bias_v.unsqueeze();
    }
    let log_p_nv = log_softmax(logits_nv, 1);
    (log_p_nv
        .gather(1, targets_n.unsqueeze_dim(1))
        .squeeze_dim::<1>(1)
        .neg()
        * weights_n)
        .sum()
}

/// Loss, likelihoods and gradients of hidden states, head and bias where there is one.
fn results([n, d, v]: [usize; 3], scale: f64, dtype: DType, fused: bool, biased: bool) -> Vec<Vec<f64>> {
    results_by([n, d, v], scale, dtype, fused, biased, Products::Full)
}

/// The same with these products.
fn results_by(
    [n, d, v]: [usize; 3],
    scale: f64,
    dtype: DType,
    fused: bool,
    biased: bool,
    products: Products,
) -> Vec<Vec<f64>> {
    let x = tensor(&values(1, n * d, scale), [n, d], dtype, true);
    let w = tensor(&values(2, v * d, 1.0), [v, d], dtype, true);
    let bias = biased.then(|| tensor(&values(4, v, 2.0), [v], dtype, true));
    let weights = tensor(&weights(n), [n], dtype, true).detach();
    let (loss, nll) = if fused {
        let result = linear_cross_entropy(
            x.clone(),
            w.clone(),
            bias.clone(),
            targets(n, v, &x),
            weights,
            products,
        );
        (result.loss, host(result.nll_n))
    } else {
        let projection = Projection {
            hidden_nd: x.clone().without_autodiff(),
            head_vd: w.clone().without_autodiff(),
            bias_v: bias.clone().map(Tensor::without_autodiff),
        };
        let of_x = targets(n, v, &projection.hidden_nd);
        let nll = reference_nll(&projection, of_x, Products::Full);
        (
            plain(x.clone(), w.clone(), bias.clone(), targets(n, v, &x), weights),
            host(nll),
        )
    };
    let doubled = loss.clone() * 2.0; // The gradient that comes from above must be heeded.
    let gradients = doubled.backward();
    let [x, w] = [x, w].map(|leaf| host(leaf.grad(&gradients).expect("a leaf's gradient")));
    let bias = bias.map(|leaf| host(leaf.grad(&gradients).expect("a leaf's gradient")));
    [host(loss.without_autodiff()), nll, x, w]
        .into_iter()
        .chain(bias)
        .collect()
}

/// One row; odd; several tiles; several chunks of rows.
const SIZES: [[usize; 3]; 4] = [[1, 1, 2], [7, 5, 11], [70, 33, 300], [40, 3, 70_000]];

#[test]
fn value_and_gradients_equal_the_plain_loss() {
    for (sizes, biased) in SIZES
        .into_iter()
        .flat_map(|sizes| [(sizes, false), (sizes, true)])
    {
        let expected = results(sizes, 2.0, DType::F64, false, biased);
        for (dtype, allowed) in [(DType::F64, 1e-11), (DType::F32, tolerance(5e-6))] {
            on_every_level(|| {
                let found = results(sizes, 2.0, dtype, true, biased);
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    assert_close(&format!("{sizes:?} {dtype:?}"), found, expected, allowed);
                }
            });
        }
    }
}

#[cfg(feature = "cube")]
#[test]
fn products_in_bfloat16_on_a_gpu_stay_near() {
    if !on_gpu() || cfg!(feature = "wgpu") {
        eprintln!("skipped: no GPU with bfloat16 is named in LYCEUM_TEST_DEVICE");
        return;
    }
    for sizes in [[1, 64, 7], [70, 64, 300], [300, 128, 1000]] {
        let expected = results(sizes, 0.3, DType::F64, false, false);
        let found = results_by(sizes, 0.3, DType::F32, true, false, Products::Bf16);
        for (found, expected) in found.iter().zip(&expected) {
            assert_close(&format!("{sizes:?}"), found, expected, 2e-2);
        }
    }
}

#[test]
fn gradients_equal_differences() {
    let [n, d, v] = [7, 5, 11];
    let inputs = [(values(1, n * d, 1.0), [n, d]), (values(2, v * d, 1.0), [v, d])];
    check(&inputs, |[x, w]| {
        let weights = tensor(&weights(n), [n], x.dtype(), false);
        let targets = targets(n, v, &x.clone().without_autodiff());
        linear_cross_entropy(x, w, None, targets, weights, Products::Full).loss
    });
}

#[test]
fn logits_of_three_hundred_stay_finite() {
    on_every_level(|| {
        let [n, d, v] = [9, 2, 12];
        let expected = results([n, d, v], 300.0, DType::F64, false, false);
        assert!(expected[1].iter().any(|nll| *nll > 200.0));
        for (found, expected) in results([n, d, v], 300.0, DType::F32, true, false)
            .iter()
            .zip(&expected)
        {
            assert_close("large logits", found, expected, 2e-5);
        }
    });
}

#[test]
fn nan_is_not_hidden() {
    on_every_level(|| {
        let x = tensor(&[f64::NAN, 1.0], [2, 1], DType::F32, false);
        let w = tensor(&[1.0, 2.0], [2, 1], DType::F32, false);
        let targets = targets(2, 2, &x);
        let nll = host(linear_nll(x, w, None, targets, Products::Full));
        assert!(nll[0].is_nan() && nll[1].is_finite());
    });
}

#[test]
fn bytes_do_not_depend_on_threads() {
    on_every_level(|| {
        let single = on_threads(1, || results(SIZES[3], 1.0, DType::F32, true, true));
        for threads in [2, 3] {
            assert!(on_threads(threads, || results(SIZES[3], 1.0, DType::F32, true, true)) == single);
        }
    });
}

#[test]
fn the_heads_gradient_does_not_depend_on_who_wants_another() {
    let [n, d, v] = SIZES[2];
    for dtype in [DType::F32, DType::F64] {
        let by_head = |hidden_wants: bool| {
            let x = tensor(&values(1, n * d, 2.0), [n, d], dtype, false).autodiff();
            let x = x.set_require_grad(hidden_wants);
            let w = tensor(&values(2, v * d, 1.0), [v, d], dtype, true);
            let weights = tensor(&weights(n), [n], dtype, false);
            let found = linear_cross_entropy(
                x.clone(),
                w.clone(),
                None,
                targets(n, v, &x),
                weights,
                Products::Full,
            );
            host(w.grad(&found.loss.backward()).expect("a leaf's gradient"))
        };
        assert_eq!(by_head(false), by_head(true));
    }
}

/// Likelihoods, the gradient by hidden states, and the rows' derivatives along a direction of head and bias.
fn along([n, d, v]: [usize; 3], dtype: DType, biased: bool) -> [Vec<f64>; 3] {
    let part =
        |seed, shape: [usize; 2]| tensor(&values(seed, shape[0] * shape[1], 1.0), shape, dtype, seed == 1);
    let bias = |seed| biased.then(|| tensor(&values(seed, v, 2.0), [v], dtype, false));
    let x = part(1, [n, d]);
    let projection = Projection {
        hidden_nd: x.clone(),
        head_vd: part(2, [v, d]),
        bias_v: bias(3),
    };
    let weights = tensor(&weights(n), [n], dtype, false);
    let targets = targets(n, v, &weights);
    let found = linear_cross_entropy_along(projection, part(4, [v, d]), bias(5), targets, weights);
    let gradients = (found.loss * 2.0).backward();
    [
        host(found.nll_n),
        host(x.grad(&gradients).expect("a leaf's gradient")),
        host(found.along_n),
    ]
}

#[test]
fn derivatives_along_a_direction_are_those_of_each_rows_gradient() {
    let [n, d, v] = SIZES[1];
    for biased in [false, true] {
        let [nll, by_hidden, along] = along([n, d, v], DType::F64, biased);
        let leaf = |seed, shape: [usize; 2]| {
            tensor(&values(seed, shape[0] * shape[1], 1.0), shape, DType::F64, true)
        };
        let weights = weights(n);
        let mut found = Vec::new();
        for row in 0..n {
            let (x, w) = (leaf(1, [n, d]), leaf(2, [v, d]));
            let bias = biased.then(|| tensor(&values(3, v, 2.0), [v], DType::F64, true));
            let only: Vec<f64> = (0..n)
                .map(|other| if other == row { weights[row] } else { 0.0 })
                .collect();
            let only = tensor(&only, [n], DType::F64, true).detach();
            let loss = plain(x.clone(), w.clone(), bias.clone(), targets(n, v, &x), only);
            if weights[row] > 0.0 {
                let value = host(loss.clone().without_autodiff())[0] / weights[row];
                assert_close("likelihood", &[nll[row]], &[value], 1e-12);
            }
            let gradients = loss.backward();
            let dot = |gradient: Vec<f64>, direction: Vec<f64>| -> f64 {
                gradient.iter().zip(&direction).map(|(a, b)| a * b).sum()
            };
            let gradient = host(x.grad(&gradients).expect("a leaf's gradient"));
            let of_row = row * d..(row + 1) * d;
            let doubled: Vec<f64> = gradient[of_row.clone()].iter().map(|by| 2.0 * by).collect();
            assert_close("by hidden", &by_hidden[of_row], &doubled, 1e-12);
            let mut sum = dot(
                host(w.grad(&gradients).expect("a leaf's gradient")),
                values(4, v * d, 1.0),
            );
            if let Some(bias) = bias {
                let gradient = host(bias.grad(&gradients).expect("a leaf's gradient"));
                sum += dot(gradient, values(5, v, 2.0));
            }
            found.push(sum);
        }
        assert_close("along", &along, &found, 1e-12);
    }
}

#[test]
fn derivatives_along_a_direction_are_as_good_fused_and_do_not_depend_on_threads() {
    for (sizes, biased) in SIZES
        .into_iter()
        .flat_map(|sizes| [(sizes, false), (sizes, true)])
    {
        let exact = along(sizes, DType::F64, biased);
        let single = on_threads(1, || along(sizes, DType::F32, biased));
        for (found, expected) in single.iter().zip(&exact) {
            assert_close(&format!("{sizes:?}"), found, expected, tolerance(5e-6));
        }
        for threads in [2, 3] {
            assert!(on_threads(threads, || along(sizes, DType::F32, biased)) == single);
        }
    }
}

#[test]
fn scores_equal_the_likelihoods_of_training() {
    let [n, d, v] = SIZES[2];
    let x = tensor(&values(1, n * d, 2.0), [n, d], DType::F32, false);
    let w = tensor(&values(2, v * d, 1.0), [v, d], DType::F32, false);
    let targets = targets(n, v, &x);
    assert_eq!(
        host(linear_nll(x, w, None, targets, Products::Full)),
        results(SIZES[2], 2.0, DType::F32, true, false)[1]
    );
}

#[test]
fn the_likeliest_token_has_the_least() {
    let [n, d, v] = SIZES[2];
    for dtype in [DType::F32, DType::F64] {
        let x = tensor(&values(1, n * d, 2.0), [n, d], dtype, false);
        let w = tensor(&values(2, v * d, 1.0), [v, d], dtype, false);
        let bias = tensor(&values(4, v, 2.0), [v], dtype, false);
        let logits = host(x.clone().matmul(w.clone().transpose()) + bias.clone().unsqueeze());
        // Every second row is asked for the token that it finds likeliest.
        let likeliest = |row: &[f64]| (0..v).fold(0, |best, id| if row[id] > row[best] { id } else { best });
        let chosen: Vec<i64> = logits
            .chunks(v)
            .enumerate()
            .map(|(i, row)| (likeliest(row) + i % 2) as i64 % v as i64)
            .collect();
        let targets = Tensor::from_data(TensorData::new(chosen.clone(), [n]), &x.device());
        on_every_level(|| {
            let products = Products::Full;
            let (x, w, bias) = (x.clone(), w.clone(), Some(bias.clone()));
            let found = linear_likelihoods(x.clone(), w.clone(), bias.clone(), targets.clone(), products);
            let (nll, least) = (host(found.nll_n), host(found.least_n));
            let alone = host(linear_nll(x, w, bias, targets.clone(), products));
            if on_gpu() {
                // Another body.
                assert_close("alone", &alone, &nll, 1e-6);
            } else {
                assert_eq!(alone, nll);
            }
            for (i, row) in logits.chunks(v).enumerate() {
                let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let log_sum = row.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
                assert!((least[i] - log_sum).abs() < 1e-5, "row {i}: {}", least[i]);
                let expected = max + log_sum - row[chosen[i] as usize];
                assert!((nll[i] - expected).abs() < 1e-4, "row {i}: {}", nll[i]);
                assert_eq!(nll[i] == least[i], i % 2 == 0, "row {i}");
            }
        });
    }
}

#[test]
fn equal_logits_are_all_the_likeliest() {
    for dtype in [DType::F32, DType::F64] {
        let x = tensor(&[1.0], [1, 1], dtype, false);
        let w = tensor(&[2.0, -1.0, 2.0], [3, 1], dtype, false);
        let judged = [0, 1, 2].map(|target: i64| {
            let target = Tensor::from_data(TensorData::new(vec![target], [1]), &x.device());
            let found = linear_likelihoods(x.clone(), w.clone(), None, target, Products::Full);
            host(found.nll_n) == host(found.least_n)
        });
        assert_eq!(judged, [true, false, true]);
    }
}
