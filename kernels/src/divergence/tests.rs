mod labels;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::*;
use crate::cross_entropy::{linear_cross_entropy, linear_nll};
use crate::product::Products;
use crate::testing::{assert_close, host, on_every_level, on_threads, tensor, values};

const KINDS: [Divergence; 9] = [
    Divergence::SoftCrossEntropy,
    Divergence::ForwardKl,
    Divergence::ReverseKl,
    Divergence::JensenShannon { beta: 0.3 },
    Divergence::SkewForwardKl { skew: 0.2 },
    Divergence::SkewForwardKl { skew: 0.0 },
    Divergence::SkewReverseKl { skew: 0.2 },
    Divergence::SkewReverseKl { skew: 0.0 },
    Divergence::TotalVariation,
];

/// Rows, width, vocabulary; the teacher's likeliest where it is known by them.
#[derive(Debug, Clone, Copy)]
struct Case {
    n: usize,
    d: usize,
    v: usize,
    k: Option<usize>,
    scale: f64,
    biased: bool,
}

const SMALL: Case = Case {
    n: 5,
    d: 3,
    v: 19,
    k: None,
    scale: 2.0,
    biased: true,
};

/// Values of the student's hidden states, head and bias.
type Inputs = [Vec<f64>; 3];

impl Case {
    fn inputs(self) -> Inputs {
        let Self {
            n,
            d,
            v,
            scale,
            biased,
            ..
        } = self;
        [
            values(1, n * d, scale),
            values(2, v * d, 1.0),
            values(3, if biased { v } else { 0 }, 2.0),
        ]
    }

    /// Weights with zeros among them.
    fn weights(self) -> Vec<f64> {
        (0..self.n)
            .map(|i| {
                if i % 3 == 1 {
                    0.0
                } else {
                    0.25 * (i % 5 + 1) as f64
                }
            })
            .collect()
    }

    /// A teacher of another width than the student's, whole or by its likeliest tokens.
    fn teacher(self, dtype: DType) -> Teacher {
        let Self {
            n, d, v, k, scale, ..
        } = self;
        let e = d + 2;
        let projection = Projection {
            hidden_nd: tensor(&values(4, n * e, scale), [n, e], dtype, false),
            head_vd: tensor(&values(5, v * e, 1.0), [v, e], dtype, false),
            bias_v: Some(tensor(&values(6, v, 2.0), [v], dtype, false)),
        };
        let Some(k) = k else {
            return Teacher::Dense(projection);
        };
        let logits = host(projection.logits(0, n, Products::Full));
        let (mut ids, mut log_p, mut tails) = (Vec::<i64>::new(), Vec::new(), Vec::new());
        for row in logits.chunks(v) {
            let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = max + row.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
            let mut order: Vec<usize> = (0..v).collect();
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            ids.extend(order[..k].iter().map(|id| *id as i64));
            log_p.extend(order[..k].iter().map(|id| row[*id] - log_sum));
            let tail = order[k..].iter().map(|id| (row[*id] - log_sum).exp());
            tails.push(tail.sum::<f64>().ln());
        }
        Teacher::TopK {
            ids_nk: Tensor::<2, Int>::from_data(TensorData::new(ids, [n, k]), &Device::flex()),
            log_p_nk: tensor(&log_p, [n, k], dtype, false),
            log_tail_n: tensor(&tails, [n], dtype, false),
        }
    }

    fn student(self, inputs: &Inputs, dtype: DType, tracked: bool) -> Projection {
        let Self { n, d, v, biased, .. } = self;
        Projection {
            hidden_nd: tensor(&inputs[0], [n, d], dtype, tracked),
            head_vd: tensor(&inputs[1], [v, d], dtype, tracked),
            bias_v: biased.then(|| tensor(&inputs[2], [v], dtype, tracked)),
        }
    }

    /// Loss, values and gradients of hidden states, head and bias.
    fn results(self, divergence: Divergence, dtype: DType) -> Vec<Vec<f64>> {
        let student = self.student(&self.inputs(), dtype, true);
        let weights = tensor(&self.weights(), [self.n], dtype, false);
        let found = linear_divergence(student.clone(), self.teacher(dtype), divergence, 1.5, weights);
        // The gradient that comes from above must be heeded.
        let gradients = (found.loss.clone() * 2.0).backward();
        let leaf = |gradient: Option<Tensor<2>>| host(gradient.expect("a leaf's gradient"));
        let mut results = vec![
            host(found.loss.without_autodiff()),
            host(found.value_n),
            leaf(student.hidden_nd.grad(&gradients)),
            leaf(student.head_vd.grad(&gradients)),
        ];
        results.extend(
            student
                .bias_v
                .map(|bias_v| host(bias_v.grad(&gradients).expect("a leaf's gradient"))),
        );
        results
    }

    /// The loss alone, outside the graph.
    fn loss(self, inputs: &Inputs, divergence: Divergence) -> f64 {
        let weights = tensor(&self.weights(), [self.n], DType::F64, false);
        let student = self.student(inputs, DType::F64, false);
        host(linear_divergence(student, self.teacher(DType::F64), divergence, 1.5, weights).loss)[0]
    }
}

#[test]
fn gradients_equal_differences() {
    for case in [
        SMALL,
        Case { k: Some(6), ..SMALL },
        Case {
            k: Some(19),
            biased: false,
            ..SMALL
        },
    ] {
        for divergence in KINDS {
            let exact = case.results(divergence, DType::F64);
            for input in 0..if case.biased { 3 } else { 2 } {
                let (mut found, mut expected) = (Vec::new(), Vec::new());
                let inputs = case.inputs();
                for element in 0..inputs[input].len() {
                    let step = 1e-5;
                    let mut moved = inputs.clone();
                    moved[input][element] += step;
                    let above = case.loss(&moved, divergence);
                    moved[input][element] -= 2.0 * step;
                    expected.push((above - case.loss(&moved, divergence)) / step);
                    found.push(exact[2 + input][element]);
                }
                assert_close(
                    &format!("{divergence:?} {case:?} input {input}"),
                    &found,
                    &expected,
                    1e-7,
                );
            }
        }
    }
}

#[test]
fn fused_equals_composed_on_odd_shapes() {
    let small = Case {
        n: 1,
        d: 1,
        v: 7,
        k: None,
        scale: 1.0,
        biased: false,
    };
    let many = Case {
        n: 37,
        d: 9,
        v: 1031,
        k: None,
        scale: 2.0,
        biased: true,
    };
    let chunked = Case {
        n: 70,
        d: 4,
        v: 20_011,
        k: None,
        scale: 1.0,
        biased: true,
    };
    for case in [small, many, chunked] {
        for k in [None, Some(1), Some(7)] {
            let case = Case { k, ..case };
            for divergence in KINDS {
                let exact = case.results(divergence, DType::F64);
                on_every_level(|| {
                    let fused = case.results(divergence, DType::F32);
                    for (i, (found, expected)) in fused.iter().zip(&exact).enumerate() {
                        assert_close(
                            &format!("{divergence:?} {case:?} result {i}"),
                            found,
                            expected,
                            1e-5,
                        );
                    }
                });
            }
        }
    }
}

#[test]
fn logits_of_three_hundred_stay_finite() {
    on_every_level(|| {
        for k in [None, Some(4)] {
            let case = Case {
                scale: 300.0,
                k,
                ..SMALL
            };
            for divergence in KINDS {
                let (fused, exact) = (
                    case.results(divergence, DType::F32),
                    case.results(divergence, DType::F64),
                );
                for (i, (found, expected)) in fused.iter().zip(&exact).enumerate() {
                    assert_close(
                        &format!("{divergence:?} {case:?} result {i}"),
                        found,
                        expected,
                        2e-4,
                    );
                }
            }
        }
    });
}

/// A token that neither allows contributes nothing.
#[test]
fn tokens_without_probability_contribute_nothing() {
    for dtype in [DType::F32, DType::F64] {
        let row = [1.0, 2.0, f64::NEG_INFINITY, 0.5];
        for divergence in KINDS {
            let value = |logits: &[f64]| {
                let v = logits.len();
                let projection = Projection {
                    hidden_nd: tensor(&[1.0], [1, 1], dtype, true),
                    head_vd: tensor(logits, [v, 1], dtype, true),
                    bias_v: None,
                };
                let mut teacher = projection.clone();
                teacher.head_vd = teacher.head_vd * 0.5;
                let weights = tensor(&[1.0], [1], dtype, false);
                let found = linear_divergence(
                    projection.clone(),
                    Teacher::Dense(teacher),
                    divergence,
                    1.0,
                    weights,
                );
                let gradients = found.loss.clone().backward();
                let by_head = projection.head_vd.grad(&gradients).expect("a leaf's gradient");
                (host(found.value_n), host(by_head))
            };
            let (with, without) = (value(&row), value(&[1.0, 2.0, 0.5]));
            assert_close("value", &with.0, &without.0, 1e-6);
            assert_close(
                "gradient",
                &with.1,
                &[without.1[0], without.1[1], 0.0, without.1[2]],
                1e-6,
            );
        }
    }
}

#[test]
fn bytes_do_not_depend_on_threads() {
    on_every_level(|| {
        for k in [None, Some(5)] {
            let case = Case {
                n: 37,
                d: 9,
                v: 1031,
                k,
                ..SMALL
            };
            let divergence = Divergence::JensenShannon { beta: 0.5 };
            let single = on_threads(1, || case.results(divergence, DType::F32));
            for threads in [2, 3] {
                assert!(on_threads(threads, || case.results(divergence, DType::F32)) == single);
            }
        }
    });
}

#[test]
fn no_rows_give_no_loss() {
    let case = Case { n: 0, ..SMALL };
    for dtype in [DType::F32, DType::F64] {
        let results = case.results(Divergence::ForwardKl, dtype);
        assert_eq!(results[0], [0.0]);
        assert!(results[1].is_empty() && results[3].iter().all(|value| *value == 0.0));
    }
}

/// A distribution's divergence from itself is zero; the soft cross-entropy is its entropy.
#[test]
fn a_student_like_its_teacher_has_nothing_to_learn() {
    let student = SMALL.student(&SMALL.inputs(), DType::F32, false);
    for divergence in &KINDS[1..] {
        let weights = tensor(&SMALL.weights(), [SMALL.n], DType::F32, false);
        let found = linear_divergence(
            student.clone(),
            Teacher::Dense(student.clone()),
            *divergence,
            1.0,
            weights,
        );
        assert_close("values", &host(found.value_n), &[0.0; 5], 1e-6);
    }
}

#[test]
fn values_outside_the_graph_are_those_inside() {
    let case = Case { k: Some(3), ..SMALL };
    let student = case.student(&case.inputs(), DType::F32, false);
    let weights = tensor(&case.weights(), [case.n], DType::F32, false);
    let found = linear_divergence(
        student,
        case.teacher(DType::F32),
        Divergence::ReverseKl,
        1.5,
        weights,
    );
    assert_eq!(
        host(found.value_n),
        case.results(Divergence::ReverseKl, DType::F32)[1]
    );
}
