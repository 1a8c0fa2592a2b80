use burn::tensor::{DType, Int, Tensor, TensorData, activation::log_softmax};

use super::*;
use crate::testing::{assert_close, check, host, on_every_level, on_threads, tensor, tolerance, values};

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
            Products::Full,
        );
        (result.loss, host(result.nll_n))
    } else {
        let nll = reference_nll(
            x.clone().without_autodiff(),
            w.clone().without_autodiff(),
            bias.clone().map(Tensor::without_autodiff),
            targets(n, v, &x.clone().without_autodiff()),
            Products::Full,
        );
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
            assert_eq!(nll, host(linear_nll(x, w, bias, targets.clone(), products)));
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
