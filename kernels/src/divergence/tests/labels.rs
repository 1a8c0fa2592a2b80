//! Labels that count beside a divergence.

use super::*;

/// Labels in the same pass are what a cross-entropy of their own makes of them.
#[test]
fn labels_beside_a_divergence_add_up() {
    let base = Case {
        n: 37,
        d: 9,
        v: 1031,
        ..SMALL
    };
    for (k, of) in [None, Some(7), Some(1031)]
        .into_iter()
        .flat_map(|k| [(k, false), (k, true)])
    {
        let case = Case { k, ..base };
        let divergence = Divergence::ReverseKl;
        let targets: Vec<i64> = (0..37).map(|i| i * 101 % 1031).collect();
        let label_weights: Vec<f64> = (0..37).map(|i| f64::from(i % 4) * 0.3).collect();
        // What a loss makes of likelihoods: here one that grows with them.
        let weights = label_weights.clone();
        let derivative = move |row: usize, logp: f64| 0.1 * logp - weights[row];
        let results = |dtype: DType, joined: bool| {
            let student = case.student(&case.inputs(), dtype, true);
            let teacher = case.teacher(dtype);
            let weights_n = tensor(&case.weights(), [37], dtype, false);
            let labels = Labels {
                targets_n: Tensor::from_data(TensorData::new(targets.clone(), [37]), &Device::flex()),
                counts: if of {
                    Counts::Of(OfLikelihood::new(derivative.clone()))
                } else {
                    Counts::Known(tensor(&label_weights, [37], dtype, false))
                },
            };
            let found = if joined {
                linear_divergence_and_labels(student.clone(), teacher, divergence, weights_n, labels)
            } else {
                let found = linear_divergence(student.clone(), teacher, divergence, 1.0, weights_n);
                let Projection {
                    hidden_nd,
                    head_vd,
                    bias_v,
                } = student.clone();
                let targets_n = labels.targets_n;
                let nll_n = linear_nll(
                    hidden_nd.clone(),
                    head_vd.clone(),
                    bias_v.clone(),
                    targets_n.clone(),
                    Products::Full,
                );
                let nll = host(nll_n).into_iter().enumerate();
                let counts: Vec<f64> = nll.map(|(row, nll)| -derivative(row, -nll)).collect();
                let weights_n = tensor(if of { &counts } else { &label_weights }, [37], dtype, false);
                let entropy =
                    linear_cross_entropy(hidden_nd, head_vd, bias_v, targets_n, weights_n, Products::Full);
                LabelledDivergence {
                    loss: if of {
                        found.loss + entropy.loss.clone() - entropy.loss.detach()
                    } else {
                        found.loss + entropy.loss
                    },
                    value_n: found.value_n,
                    nll_n: entropy.nll_n,
                }
            };
            let gradients = found.loss.clone().backward();
            let bias_v = student.bias_v.expect("the case has a bias");
            [
                host(found.loss.without_autodiff()),
                host(found.value_n),
                host(found.nll_n),
                host(student.hidden_nd.grad(&gradients).expect("a leaf's gradient")),
                host(student.head_vd.grad(&gradients).expect("a leaf's gradient")),
                host(bias_v.grad(&gradients).expect("a leaf's gradient")),
            ]
        };
        let expected = results(DType::F64, false);
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
            for (i, (found, expected)) in results(dtype, true).iter().zip(&expected).enumerate() {
                let what = format!("{k:?}, of likelihoods: {of}, result {i} in {dtype:?}");
                assert_close(&what, found, expected, tolerance);
            }
        }
    }
}
