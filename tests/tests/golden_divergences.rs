//! Divergences between teacher and student against torch's, in f64 and in f32.

use burn::tensor::{DType, Device, Int, Tensor, TensorCreationOptions, TensorData};
use lyceum_kernels::{Divergence, Projection, Teacher, linear_divergence};
use lyceum_tests::{Golden, Node, assert_close};

/// The kinds of the fixtures, by their names there.
fn divergence(case: &Node) -> Divergence {
    let kind: String = case.get("kind").read();
    let parameter: Option<f64> = case.get("param").read();
    match (kind.as_str(), parameter) {
        ("soft_ce", None) => Divergence::SoftCrossEntropy,
        ("forward_kl", None) => Divergence::ForwardKl,
        ("reverse_kl", None) => Divergence::ReverseKl,
        ("jsd", Some(beta)) => Divergence::JensenShannon { beta },
        ("skew_forward_kl", Some(skew)) => Divergence::SkewForwardKl { skew },
        ("skew_reverse_kl", Some(skew)) => Divergence::SkewReverseKl { skew },
        ("tv", None) => Divergence::TotalVariation,
        other => panic!("no divergence {other:?}"),
    }
}

fn tensor<const D: usize>(values: &[f64], shape: [usize; D], dtype: DType, tracked: bool) -> Tensor<D> {
    let device = if tracked {
        Device::flex().autodiff()
    } else {
        Device::flex()
    };
    let options = TensorCreationOptions::new(device).with_dtype(dtype);
    let tensor = Tensor::from_data(TensorData::new(values.to_vec(), shape), options);
    if tracked { tensor.require_grad() } else { tensor }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Logits of `[n, v]` as a projection: the hidden states are the logits, the head the identity.
fn logits(values: &[f64], v: usize, dtype: DType, tracked: bool) -> Projection {
    let identity: Vec<f64> = (0..v * v).map(|i| f64::from(i / v == i % v)).collect();
    Projection {
        hidden_nd: tensor(values, [values.len() / v, v], dtype, tracked),
        head_vd: tensor(&identity, [v, v], dtype, tracked),
        bias_v: None,
    }
}

/// One row's logits as a projection: the head is the logits, the hidden state one.
fn row(values: &[f64], dtype: DType, tracked: bool) -> Projection {
    Projection {
        hidden_nd: tensor(&[1.0], [1, 1], dtype, tracked),
        head_vd: tensor(values, [values.len(), 1], dtype, tracked),
        bias_v: None,
    }
}

/// Every case of a fixture whose logits are written out; the tolerance is that of f32.
fn check(name: &str, tolerance: f64) {
    let golden = Golden::open(name);
    let root = golden.root();
    root.prose(&["about"]);
    let (shape, student) = root.get("student_logits").tensor();
    let (_, teacher) = root.get("teacher_logits").tensor();
    let (_, mask) = root.get("mask").tensor();
    let total: f64 = mask.iter().sum();
    let weights: Vec<f64> = mask.iter().map(|mask| mask / total).collect();
    for case in root.get("cases").items() {
        let (divergence, temperature): (_, f64) = (divergence(&case), case.get("temperature").read());
        let what = format!("{name} {divergence:?} at {temperature}");
        let (loss, values): (f64, _) = (case.get("loss").read(), case.get("per_token").tensor().1);
        let by_logits = case.get("grad_student_logits").tensor().1;
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, tolerance)] {
            let student = logits(&student, shape[2], dtype, true);
            let teacher = Teacher::Dense(logits(&teacher, shape[2], dtype, false));
            let weights = tensor(&weights, [weights.len()], dtype, false);
            let found = linear_divergence(student.clone(), teacher, divergence, temperature, weights);
            let gradients = found.loss.clone().backward();
            let by_hidden = student
                .hidden_nd
                .grad(&gradients)
                .expect("hidden states have a gradient");
            assert_near(&what, &host(found.loss.without_autodiff()), &[loss], tolerance);
            assert_near(&what, &host(found.value_n), &values, tolerance);
            assert_near(&what, &host(by_hidden), &by_logits, tolerance);
        }
    }
    golden.finish();
}

/// As [`assert_close`], with one as the least magnitude: some divergences are zero.
#[track_caller]
fn assert_near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let with_one = |values: &[f64]| values.iter().copied().chain([1.0]).collect::<Vec<f64>>();
    assert_close(what, &with_one(found), &with_one(expected), tolerance);
}

#[test]
fn of_every_kind_at_two_temperatures() {
    check("divergences_token", 1e-6);
}

#[test]
fn of_far_and_of_equal_logits() {
    check("divergences_extreme", 1e-6);
}

#[test]
fn jensen_shannon_goes_over_into_the_two_kls() {
    let golden = Golden::open("divergences_limits");
    let root = golden.root();
    root.prose(&["about"]);
    let [student, teacher] = ["student_logits", "teacher_logits"].map(|name| root.get(name).tensor());
    let values = |divergence| {
        let student = logits(&student.1, student.0[1], DType::F64, false);
        let teacher = Teacher::Dense(logits(&teacher.1, teacher.0[1], DType::F64, false));
        let weights = Tensor::ones([3], (&Device::flex(), DType::F64));
        host(linear_divergence(student, teacher, divergence, 1.0, weights).value_n)
    };
    let [forward, reverse] = ["forward_kl", "reverse_kl"].map(|name| root.get(name).tensor().1);
    assert_close("forward", &values(Divergence::ForwardKl), &forward, 1e-12);
    assert_close("reverse", &values(Divergence::ReverseKl), &reverse, 1e-12);
    for limit in root.get("limits").items() {
        let beta: f64 = limit.get("beta").read();
        let found = values(Divergence::JensenShannon { beta });
        assert_near("jsd", &found, &limit.get("jsd").tensor().1, 1e-12);
        for (name, over) in [("jsd_over_beta", beta), ("jsd_over_one_minus_beta", 1.0 - beta)] {
            let found: Vec<f64> = found.iter().map(|value| value / over).collect();
            assert_close(name, &found, &limit.get(name).tensor().1, 1e-11);
        }
    }
    golden.finish();
}

/// Logits over a vocabulary of 50,257, by the fixture's formula.
fn by_formula(factor: u64, offset: u64, scale: f64) -> Vec<f64> {
    (0..50_257_u64)
        .map(|i| (((i * factor + offset) % 65_521) as f64 / 65_521.0 - 0.5) * scale)
        .collect()
}

#[test]
fn over_a_large_vocabulary_and_from_likeliest_tokens() {
    let golden = Golden::open("divergences_bigvocab");
    let root = golden.root();
    root.prose(&["about"]);
    let (student, teacher) = (by_formula(2_654_435, 17, 12.0), by_formula(40_503, 911, 16.0));
    let log_sum = |logits: &[f64]| logits.iter().map(|x| x.exp()).sum::<f64>().ln();
    let expected: f64 = root.get("student_logsumexp").read();
    assert_close("student", &[log_sum(&student)], &[expected], 1e-12);
    let expected: f64 = root.get("teacher_logsumexp").read();
    assert_close("teacher", &[log_sum(&teacher)], &[expected], 1e-12);
    for (dtype, tolerance) in [(DType::F64, 1e-11), (DType::F32, 2e-5)] {
        let weights = || Tensor::ones([1], (&Device::flex(), dtype));
        for case in root.get("full").items() {
            let divergence = divergence(&case);
            let student = row(&student, dtype, true);
            let teacher = Teacher::Dense(row(&teacher, dtype, false));
            let found = linear_divergence(student.clone(), teacher, divergence, 1.0, weights());
            let gradients = found.loss.clone().backward();
            let by_logits = host(student.head_vd.grad(&gradients).expect("the head has a gradient"));
            let sizes = [
                host(found.value_n)[0],
                by_logits.iter().map(|g| g.abs()).sum(),
                by_logits.iter().map(|g| g * g).sum::<f64>().sqrt(),
            ];
            let expected = ["value", "grad_l1", "grad_l2"].map(|name| case.get(name).read::<f64>());
            for (found, expected) in sizes.iter().zip(expected) {
                assert_close(&format!("{divergence:?}"), &[*found], &[expected], tolerance);
            }
            for (id, expected) in case.get("grad_at").entries() {
                let found = by_logits[id.parse::<usize>().expect("an id")];
                let difference = (found - expected.read::<f64>()).abs();
                assert!(
                    difference < tolerance * sizes[2],
                    "{divergence:?} at {id}: off by {difference:e}"
                );
            }
        }
        for case in root.get("teacher_topk").items() {
            top_k(&case, &student, &teacher, dtype, tolerance);
        }
    }
    golden.finish();
}

/// The forward KL of a teacher's likeliest tokens: with a tail, and with none and probabilities that sum to one.
fn top_k(case: &Node, student: &[f64], teacher: &[f64], dtype: DType, tolerance: f64) {
    let k: usize = case.get("k").read();
    let log_sum = |logits: &[f64]| logits.iter().map(|x| x.exp()).sum::<f64>().ln();
    let mut order: Vec<usize> = (0..teacher.len()).collect();
    order.sort_by(|a, b| teacher[*b].total_cmp(&teacher[*a]));
    let ids: Vec<i64> = order[..k].iter().map(|id| *id as i64).collect();
    assert_eq!(ids[..8], case.get("first_ids").read::<Vec<i64>>());
    let [log_p, log_q] = [teacher, student].map(|x| {
        order[..k]
            .iter()
            .map(|id| x[*id] - log_sum(x))
            .collect::<Vec<f64>>()
    });
    let mass: f64 = log_p.iter().map(|log_p| log_p.exp()).sum();
    let expected: f64 = case.get("teacher_mass").read();
    assert_close("mass", &[mass], &[expected], 1e-12);
    let expected: f64 = case.get("student_mass").read();
    assert_close(
        "mass",
        &[log_q.iter().map(|log_q| log_q.exp()).sum()],
        &[expected],
        1e-12,
    );
    let value = |log_p: &[f64], tail: f64| {
        let teacher = Teacher::TopK {
            ids_nk: Tensor::<2, Int>::from_data(TensorData::new(ids.clone(), [1, k]), &Device::flex()),
            log_p_nk: tensor(log_p, [1, k], dtype, false),
            log_tail_n: tensor(&[tail.ln()], [1], dtype, false),
        };
        let weights = Tensor::ones([1], (&Device::flex(), dtype));
        let student = row(student, dtype, false);
        host(linear_divergence(student, teacher, Divergence::ForwardKl, 1.0, weights).value_n)
    };
    let expected: f64 = case.get("fkl_tail_bucket").read();
    assert_close("tail", &value(&log_p, 1.0 - mass), &[expected], tolerance);
    let sum_to_one: Vec<f64> = log_p.iter().map(|log_p| log_p - mass.ln()).collect();
    let expected: f64 = case.get("fkl_renormalised_full_student").read();
    assert_close("no tail", &value(&sum_to_one, 0.0), &[expected], tolerance);
    let truncated: f64 = log_p
        .iter()
        .zip(&log_q)
        .map(|(log_p, log_q)| log_p.exp() * (log_p - log_q))
        .sum();
    let expected: f64 = case.get("fkl_truncated_sum").read();
    assert_close("truncated", &[truncated], &[expected], 1e-11);
}
