//! `dpkd_token.json`: preferences among likeliest tokens, and the losses they are mixed with.

use crate::fixture::{assert_near, host, ids, logits, vector};
use burn::tensor::{DType, Tensor};
use lyceum_components::distill::preference::{
    Form, Preference, PreferenceMode, Reference, Rule, token_preference, trimmed_length,
};
use lyceum_kernels::{Divergence, Products, Projection, Teacher, linear_cross_entropy, linear_divergence};
use lyceum_tests::{Golden, Node, assert_close};

/// Labels as targets, and the weights of their mean.
fn labelled(labels: &Node) -> (Vec<i64>, Vec<f64>) {
    let labels: Vec<i64> = labels.read::<Vec<Vec<i64>>>().concat();
    let counted = labels.iter().filter(|label| **label >= 0).count() as f64;
    let weight = |label: &i64| if *label >= 0 { 1.0 / counted } else { 0.0 };
    let weights = labels.iter().map(weight).collect();
    (labels.into_iter().map(|label| label.max(0)).collect(), weights)
}

fn rule(case: &Node) -> Rule {
    let form: String = case.get("form").read();
    let beta: f64 = case.get("beta").read();
    let lambda: Option<f64> = case.get("dpop_lambda").read();
    let settings = Preference {
        mode: PreferenceMode::Token,
        form: match form.as_str() {
            "sigmoid" | "sigmoid_over_length" => Form::Dpkd,
            "ipo" => Form::Ipo,
            "dpop" => Form::Dpop,
            other => panic!("no form {other}"),
        },
        beta,
        tau: beta,
        legacy_trim: form == "sigmoid_over_length",
        label_smoothing: case.get("label_smoothing").read(),
        reference: if case.get("reference_free").read() {
            Reference::None
        } else {
            Reference::Teacher
        },
        dpop_lambda: lambda.unwrap_or(0.0),
        ..Preference::default()
    };
    assert!(settings.problems("preference").is_empty());
    settings.rule()
}

#[test]
fn four_logits_decide() {
    let golden = Golden::open("dpkd_token");
    let root = golden.root();
    root.prose(&["about"]);
    let (shape, student) = root.get("student_logits").tensor();
    let teacher = root.get("teacher_logits").tensor().1;
    let (targets, weights) = labelled(&root.get("labels"));
    let ([width, v], products) = ([shape[1], shape[2]], Products::Full);
    let tokens = |key: &str| root.get(key).read::<Vec<Vec<i64>>>().concat();
    let (y_t, y_s) = (tokens("y_t"), tokens("y_s"));
    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 9);
    for case in &cases {
        let rule = rule(case);
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-6)] {
            let what = |key: &str| format!("{key} of {rule:?} in {dtype:?}");
            let expected = |key: &str| case.get(key).tensor().1;
            let student = logits(&student, v, dtype, true);
            let teacher = logits(&teacher, v, dtype, false);
            let weight_n = vector(&weights, dtype);
            let found =
                token_preference(&student, &teacher, &rule, weight_n, width, products).expect("lengths");
            let ids = |ids: Tensor<1, burn::tensor::Int>| ids.into_data().iter::<i64>().collect::<Vec<_>>();
            assert_eq!(
                (ids(found.chosen_n.clone()), ids(found.rejected_n.clone())),
                (y_t.clone(), y_s.clone())
            );
            let margin = host(found.margin_n.clone());
            assert_near(&what("h"), &margin, &expected("h"), tolerance);
            let length: Option<Vec<f64>> = case.get("length").read();
            let mut per_token = host(found.loss_n.clone());
            if let Some(length) = &length {
                per_token
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, loss)| *loss /= length[i / width]);
                let trimmed: Vec<f64> = y_s
                    .chunks(width)
                    .map(|ids| trimmed_length(ids) as f64 / 256.0)
                    .collect();
                assert_eq!(&trimmed, length);
            }
            assert_near(&what("per_token"), &per_token, &expected("per_token"), tolerance);
            let [chosen, rejected] = found.rewards(&student, &teacher, rule.beta, products).map(host);
            assert_near(
                &what("chosen_reward"),
                &chosen,
                &expected("chosen_reward"),
                tolerance,
            );
            assert_near(
                &what("rejected_reward"),
                &rejected,
                &expected("rejected_reward"),
                tolerance,
            );
            let gradients = found.loss.clone().backward();
            let loss = host(found.loss.without_autodiff());
            assert_near(&what("loss"), &loss, &[case.get("loss").read()], tolerance);
            let by_logits = host(student.hidden_nd.grad(&gradients).expect("a leaf's gradient"));
            assert_near(
                &what("grad"),
                &by_logits,
                &expected("grad_student_logits"),
                tolerance,
            );
            // Where both find one token likeliest, nothing pulls, unless there is a floor.
            for (i, by_logits) in by_logits
                .chunks(v)
                .enumerate()
                .filter(|(i, _)| y_t[*i] == y_s[*i])
            {
                assert_eq!(margin[i], 0.0);
                let floored = rule.form == Form::Dpop;
                assert!(floored || by_logits.iter().all(|g| *g == 0.0), "{by_logits:?}");
            }
        }
    }
    mixes(&root, &cases[0], (&targets, &weights), v);
    for example in root.get("trimmed_length_examples").items() {
        let row: Vec<i64> = example.get("row").read();
        assert_eq!(trimmed_length(&row), example.get("length").read::<usize>());
    }
    golden.finish();
}

fn cross_entropy(projection: &Projection, targets: &[i64], weights: &[f64]) -> f64 {
    let Projection {
        hidden_nd, head_vd, ..
    } = projection.clone();
    let weights = vector(weights, DType::F64);
    host(linear_cross_entropy(hidden_nd, head_vd, None, ids(targets), weights, Products::Full).loss)[0]
}

/// The losses that the released code mixes.
fn mixes(root: &Node, case: &Node, (targets, weights): (&[i64], &[f64]), v: usize) {
    let of = |key: &str| logits(&root.get(key).tensor().1, v, DType::F64, false);
    let (student, teacher) = (of("student_logits"), of("teacher_logits"));
    let found = token_preference(
        &student,
        &teacher,
        &rule(case),
        vector(weights, DType::F64),
        5,
        Products::Full,
    );
    let preference = host(found.expect("lengths").loss)[0];
    let ce = cross_entropy(&student, targets, weights);
    let (corpus, corpus_weights) = labelled(&root.get("pt_labels"));
    let student = of("pt_student_logits");
    let corpus_ce = cross_entropy(&student, &corpus, &corpus_weights);
    let teacher = Teacher::Dense(of("pt_teacher_logits"));
    let corpus_weights = vector(&corpus_weights, DType::F64);
    let soft = linear_divergence(
        student,
        teacher,
        Divergence::SoftCrossEntropy,
        1.0,
        corpus_weights,
    );
    let soft = host(soft.loss)[0];
    let mixes = root.get("mixes").items();
    assert_eq!(mixes.len(), 3);
    for mix in mixes {
        let (ratio, coefficient): (f64, f64) = (mix.get("kd_ratio").read(), mix.get("lm_coef").read());
        let pt = (1.0 - ratio) * corpus_ce + ratio * soft;
        let total = (1.0 - ratio) * ce + ratio * preference + coefficient * pt;
        for (key, found) in [
            ("lm_loss", ce),
            ("preference_loss", preference),
            ("pt_lm_loss", corpus_ce),
            ("pt_soft_ce", soft),
            ("pt_loss", pt),
            ("total", total),
        ] {
            assert_close(key, &[found], &[mix.get(key).read()], 1e-12);
        }
    }
}

#[test]
fn a_row_of_one_token_cannot_be_trimmed() {
    let logits = |tracked| logits(&[1.0, 0.0, 2.0, 0.5, 3.0, 0.0, 1.0, 0.0], 2, DType::F64, tracked);
    let settings = Preference {
        mode: PreferenceMode::Token,
        legacy_trim: true,
        ..Preference::default()
    };
    let weights = vector(&[0.25; 4], DType::F64);
    let rule = settings.rule();
    let error = token_preference(&logits(true), &logits(false), &rule, weights, 2, Products::Full);
    let error = error.expect_err("two places, one token");
    assert_eq!(error.code(), "degenerate_length");
    assert!(error.to_string().contains("row 0 of the batch"), "{error}");
}
