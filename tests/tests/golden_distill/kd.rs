//! `minillm_kd.json`: mixes of cross-entropy on labels and on a teacher's distributions.

use crate::fixture::{assert_near, host, ids, logits, vector};
use burn::tensor::DType;
use lyceum_kernels::{Divergence, Products, Teacher, linear_cross_entropy, linear_divergence};
use lyceum_tests::Golden;

#[test]
fn labels_and_a_teacher_are_mixed() {
    let golden = Golden::open("minillm_kd");
    let root = golden.root();
    root.prose(&["about"]);
    let (shape, student) = root.get("student_logits").tensor();
    let teacher = root.get("teacher_logits").tensor().1;
    let labels: Vec<i64> = root.get("labels").read::<Vec<Vec<i64>>>().concat();
    let counted = labels.iter().filter(|label| **label >= 0).count() as f64;
    let weight = |label: &i64| if *label >= 0 { 1.0 / counted } else { 0.0 };
    let weights: Vec<f64> = labels.iter().map(weight).collect();
    let targets: Vec<i64> = labels.iter().map(|label| (*label).max(0)).collect();
    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 3);
    for (dtype, by_value, by_gradient) in [(DType::F64, 1e-12, 1e-12), (DType::F32, 1e-5, 1e-6)] {
        for case in &cases {
            let ratio: f64 = case.get("kd_ratio").read();
            let projection = logits(&student, shape[2], dtype, true);
            let teacher = Teacher::Dense(logits(&teacher, shape[2], dtype, false));
            let labelled = linear_cross_entropy(
                projection.hidden_nd.clone(),
                projection.head_vd.clone(),
                None,
                ids(&targets),
                vector(&weights, dtype).autodiff(),
                Products::Full,
            );
            let divergence = |kind| {
                linear_divergence(
                    projection.clone(),
                    teacher.clone(),
                    kind,
                    1.0,
                    vector(&weights, dtype),
                )
            };
            let soft = divergence(Divergence::SoftCrossEntropy);
            let loss = labelled.loss.clone() * (1.0 - ratio) + soft.loss.clone() * ratio;
            let value = |loss: &burn::tensor::Tensor<1>| host(loss.clone().without_autodiff());
            for (key, found) in [
                ("lm_loss", &labelled.loss),
                ("kd_soft_ce", &soft.loss),
                ("loss", &loss),
            ] {
                assert_near(key, &value(found), &[case.get(key).read()], by_value);
            }
            let forward = value(&divergence(Divergence::ForwardKl).loss)[0];
            let entropy = value(&soft.loss)[0] - forward;
            assert_near(
                "entropy",
                &[entropy],
                &[root.get("teacher_entropy").read()],
                by_value,
            );
            let gradients = loss.backward();
            let by_logits = host(projection.hidden_nd.grad(&gradients).expect("a leaf's gradient"));
            assert_near("grad", &by_logits, &case.get("grad").tensor().1, by_gradient);
        }
    }
    golden.finish();
}
