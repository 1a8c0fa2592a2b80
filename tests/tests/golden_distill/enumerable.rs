//! `minillm_enum.json`: expectations of estimators of the gradient, counted out; which of them are biased, and by how much.

use crate::fixture::{assert_near, host, logits, vector};
use crate::space::{Estimator, Importance, Space, V, WIDTH, distance};
use burn::tensor::DType;
use lyceum_components::distill::policy_gradient::Start;
use lyceum_kernels::{Divergence, Teacher, linear_divergence};
use lyceum_tests::Golden;

/// The fixture's estimators by name; whether the sequences are the mixture's.
pub(crate) const ESTIMATORS: [(&str, bool, Estimator); 10] = [
    (
        "pg_R_minus_1",
        false,
        with(CURRENT, 1.0, false, Importance::One, false),
    ),
    ("pg_R", false, with(CURRENT, 0.0, false, Importance::One, false)),
    (
        "single_only",
        false,
        with(None, 0.0, false, Importance::One, true),
    ),
    (
        "decomposed",
        false,
        with(FOLLOWING, 0.0, false, Importance::One, true),
    ),
    (
        "pg_R_plus_single",
        false,
        with(CURRENT, 0.0, false, Importance::One, true),
    ),
    (
        "lennorm_remaining",
        false,
        with(FOLLOWING, 0.0, true, Importance::One, true),
    ),
    (
        "mixed_full_product",
        true,
        with(FOLLOWING, 0.0, false, Importance::Whole, true),
    ),
    (
        "mixed_prefix_product",
        true,
        with(FOLLOWING, 0.0, false, Importance::Prefix, true),
    ),
    (
        "mixed_per_token",
        true,
        with(FOLLOWING, 0.0, false, Importance::Token, true),
    ),
    (
        "mixed_single_prefix_product",
        true,
        with(None, 0.0, false, Importance::Prefix, true),
    ),
];
const CURRENT: Option<Start> = Some(Start::Current);
const FOLLOWING: Option<Start> = Some(Start::Following);

const fn with(
    start: Option<Start>,
    baseline: f64,
    length_norm: bool,
    importance: Importance,
    single: bool,
) -> Estimator {
    Estimator {
        start,
        baseline,
        length_norm,
        importance,
        single,
    }
}

/// The estimator of that name.
pub(crate) fn estimator(name: &str) -> Estimator {
    let (.., estimator) = ESTIMATORS
        .into_iter()
        .find(|(known, ..)| *known == name)
        .expect(name);
    estimator
}

#[test]
fn expectations_are_exact_or_biased_as_told() {
    let golden = Golden::open("minillm_enum");
    let root = golden.root();
    root.prose(&["about", "reverse_kl_chain_rule"]);
    let space = Space::read(&root);
    let [student, teacher] = ["student_logits", "teacher_logits"].map(|key| root.get(key).tensor().1);
    let alpha: f64 = root.get("alpha").read();
    let near = |key: &str, found: &[f64]| assert_near(key, found, &root.get(key).tensor().1, 1e-12);

    let (log_q, log_p) = (space.log_likelihoods(&student), space.log_likelihoods(&teacher));
    let mix = |(log_q, log_p): (&f64, &f64)| (alpha * log_p.exp() + (1.0 - alpha) * log_q.exp()).ln();
    let log_mix: Vec<f64> = log_q.iter().zip(&log_p).map(mix).collect();
    let [of_student, of_teacher, of_mixture] =
        [&log_q, &log_p, &log_mix].map(|logs| space.probabilities(logs));
    near("student_seq_prob", &of_student);
    near("teacher_seq_prob", &of_teacher);
    near("mixed_seq_prob", &of_mixture);
    let forward: f64 = of_teacher
        .iter()
        .zip(&of_student)
        .map(|(p, q)| p * (p / q).ln())
        .sum();
    assert_near("forward", &[forward], &[root.get("forward_kl").read()], 1e-12);

    let (reverse, exact) = space.reverse_kl(&student, &teacher);
    let expected: f64 = root.get("reverse_kl").read();
    assert_near("reverse", &[reverse], &[expected], 1e-12);
    near("exact_gradient", &exact);

    // The chain rule: what each prefix adds, by how often it is reached.
    let reach = |prefix: &Vec<i64>| -> f64 {
        let through = space.sequences.iter().zip(&of_student);
        through
            .filter(|(y, _)| y.starts_with(prefix))
            .map(|(_, q)| q)
            .sum()
    };
    let reach: Vec<f64> = space.prefixes.iter().map(reach).collect();
    near("node_reach_student", &reach);
    let weights = vector(&reach, DType::F64);
    let of_teacher = Teacher::Dense(logits(&teacher, V, DType::F64, false));
    let of_student_logits = logits(&student, V, DType::F64, false);
    let nodes = linear_divergence(of_student_logits, of_teacher, Divergence::ReverseKl, 1.0, weights);
    near("node_reverse_kl", &host(nodes.value_n));
    assert_near("chain rule", &host(nodes.loss), &[expected], 1e-12);

    let expectations = root.get("expected_estimates");
    assert_eq!(expectations.entries().len(), ESTIMATORS.len());
    for (name, mixed, estimator) in ESTIMATORS {
        let weights = if mixed { &of_mixture } else { &of_student };
        let found = space.estimate([&student, &teacher], alpha, estimator, weights);
        assert_near(name, &found, &expectations.get(name).tensor().1, 1e-12);
        let told: f64 = root.get("max_abs_diff_to_exact").get(name).read();
        let bias = distance(&found, &exact);
        if told < 1e-10 {
            assert!(bias < 1e-12, "{name} is off by {bias}");
        } else {
            assert!(
                (bias - told).abs() < 1e-12 && bias > 0.05,
                "{name} is off by {bias}"
            );
        }
    }
    assert_eq!(space.mask.len(), space.sequences.len() * WIDTH);
    golden.finish();
}
