//! `dpkd_enum.json`: what the preference is after, counted out over a small space, and descents towards it.

use crate::fixture::{assert_near, host, ids, vector};
use crate::space::Space;
use burn::tensor::{DType, Tensor};
use lyceum_components::distill::preference::{
    Preference, Rule, SequencePreference, Side, sequence_preference,
};
use lyceum_tests::Golden;

/// A rule with this β.
fn rule(beta: f64, length_norm: bool) -> Rule {
    let settings = Preference {
        beta,
        length_norm: Some(length_norm),
        ..Preference::default()
    };
    settings.rule()
}

/// Log-likelihoods of whole sequences.
fn logs(space: &Space, table: &[f64]) -> Vec<f64> {
    let logs = space.log_likelihoods(table);
    space.probabilities(&logs).iter().map(|p| p.ln()).collect()
}

/// What the rule makes of every sequence against every other, `y_t` as the teacher writes and `y_s` as `rejected` does.
fn expected(
    space: &Space,
    log_q: &Tensor<1>,
    teacher: &[f64],
    rejected: &[f64],
    rule: &Rule,
) -> SequencePreference {
    let count = space.sequences.len();
    let pairs = 0..count * count;
    let log_p = logs(space, teacher);
    let lengths: Vec<f64> = space.sequences.iter().map(|y| y.len() as f64).collect();
    let side = |of: &dyn Fn(usize) -> usize| {
        let index: Vec<usize> = pairs.clone().map(of).collect();
        let places = ids(&index.iter().map(|i| *i as i64).collect::<Vec<_>>());
        let places = if log_q.device().is_autodiff() {
            places.autodiff()
        } else {
            places
        };
        let constant = |values: &[f64]| {
            let values: Vec<f64> = index.iter().map(|i| values[*i]).collect();
            vector(&values, DType::F64)
        };
        Side {
            logq_m: log_q.clone().select(0, places),
            logp_m: constant(&log_p),
            tokens_m: constant(&lengths),
        }
    };
    let weights: Vec<f64> = pairs
        .clone()
        .map(|pair| log_p[pair / count].exp() * rejected[pair % count])
        .collect();
    sequence_preference(
        &side(&|pair| pair / count),
        &side(&|pair| pair % count),
        rule,
        vector(&weights, DType::F64),
    )
}

#[test]
fn expectations_and_the_optimum_are_as_told() {
    let golden = Golden::open("dpkd_enum");
    let root = golden.root();
    root.prose(&["about"]);
    let space = Space::read(&root);
    let beta: f64 = root.get("beta").read();
    let [student, teacher] = ["student_logits", "teacher_logits"].map(|key| root.get(key).tensor().1);
    let [log_q, log_p] = [&student, &teacher].map(|table| logs(&space, table));
    let exp = |logs: &[f64]| logs.iter().map(|log| log.exp()).collect::<Vec<f64>>();
    let near = |key: &str, found: &[f64]| assert_near(key, found, &root.get(key).tensor().1, 1e-12);
    near("student_seq_prob", &exp(&log_q));
    near("teacher_seq_prob", &exp(&log_p));

    // The first stage's optimum q* = p·exp(r/β)/Z: its implicit reward is the reward, and its value is β·log Z.
    let reward = root.get("reward").tensor().1;
    let log_z: f64 = log_p
        .iter()
        .zip(&reward)
        .map(|(p, r)| (p + r / beta).exp())
        .sum::<f64>()
        .ln();
    assert_near("log Z", &[log_z], &[root.get("log_partition").read()], 1e-12);
    let optimum: Vec<f64> = log_p
        .iter()
        .zip(&reward)
        .map(|(p, r)| p + r / beta - log_z)
        .collect();
    near("optimal_policy", &exp(&optimum));
    let side = |logq: &[f64]| Side {
        logq_m: vector(logq, DType::F64),
        logp_m: vector(&log_p, DType::F64),
        tokens_m: vector(&vec![1.0; logq.len()], DType::F64),
    };
    let weights = || vector(&vec![1.0; log_p.len()], DType::F64);
    let found = sequence_preference(&side(&optimum), &side(&log_q), &rule(beta, false), weights());
    let implicit: Vec<f64> = host(found.chosen_reward_m)
        .iter()
        .map(|r| r + beta * log_z)
        .collect();
    near("reward", &implicit);
    let value = |log_q: &[f64]| -> f64 {
        let sequences = log_q.iter().zip(&log_p).zip(&reward);
        sequences.map(|((q, p), r)| q.exp() * (r - beta * (q - p))).sum()
    };
    let [best, at_teacher, at_student] = [&optimum, &log_p, &log_q].map(|logs| value(logs));
    assert_near(
        "best",
        &[best, best],
        &[root.get("optimal_value").read(), beta * log_z],
        1e-12,
    );
    assert_near(
        "teacher",
        &[at_teacher],
        &[root.get("value_at_teacher").read()],
        1e-12,
    );
    assert_near(
        "student",
        &[at_student],
        &[root.get("value_at_student").read()],
        1e-12,
    );
    assert!(best > at_teacher && best > at_student);

    let expectations = root.get("expected").entries();
    assert_eq!(expectations.len(), 4);
    for (name, expectation) in expectations {
        let rule = rule(beta, name.ends_with("length_norm"));
        let table = if name.starts_with("student_equals_teacher") {
            &teacher
        } else {
            &student
        };
        let rejected = exp(&logs(&space, table));
        let (loss, gradient) = space.of_sequences(table, |log_q| {
            expected(&space, &log_q, &teacher, &rejected, &rule).loss
        });
        assert_near(&name, &[loss], &[expectation.get("loss").read()], 1e-12);
        assert_near(&name, &gradient, &expectation.get("grad").tensor().1, 1e-12);
        let log_q = vector(&logs(&space, table), DType::F64);
        let margins = host(expected(&space, &log_q, &teacher, &rejected, &rule).margin_m);
        let ahead = margins.iter().enumerate().filter(|(_, margin)| **margin > 0.0);
        let count = rejected.len();
        let wins: f64 = ahead
            .map(|(pair, _)| log_p[pair / count].exp() * rejected[pair % count])
            .sum();
        assert_near(
            &name,
            &[wins],
            &[expectation.get("prob_yt_preferred").read()],
            1e-12,
        );
    }
    golden.finish();
}

#[test]
fn refreshed_answers_lead_to_the_teacher_and_frozen_ones_away_again() {
    let golden = Golden::open("dpkd_enum");
    let root = golden.root();
    let space = Space::read(&root);
    let [student, teacher] = ["student_logits", "teacher_logits"].map(|key| root.get(key).tensor().1);
    let rule = rule(0.5, false);
    let probabilities = |table: &[f64]| space.probabilities(&space.log_likelihoods(table));
    // Steps, loss and KL[q‖p] there.
    let refreshed = [(0, 1.3556, 1.0277), (100, 0.7038, 0.0199), (300, 0.6959, 0.0050)];
    let frozen = [(100, 0.4534, 0.265), (300, 0.3899, 0.557), (1000, 0.3767, 0.776)];
    for (told, refresh) in [(refreshed, true), (frozen, false)] {
        let mut table = student.clone();
        for at in 0..=told[2].0 {
            let rejected = probabilities(if refresh { &table } else { &student });
            let (loss, gradient) = space.of_sequences(&table, |log_q| {
                expected(&space, &log_q, &teacher, &rejected, &rule).loss
            });
            if let Some((_, expected_loss, expected_kl)) = told.into_iter().find(|(told, ..)| *told == at) {
                let (kl, _) = space.reverse_kl(&table, &teacher);
                assert!((loss - expected_loss).abs() < 5.1e-5, "{loss} after {at} steps");
                assert!((kl - expected_kl).abs() < 5.1e-4, "{kl} after {at} steps");
            }
            table.iter_mut().zip(&gradient).for_each(|(z, g)| *z -= g);
        }
    }
}
