//! `minillm_step.json`: from a rollout to the loss of one pass, and its gradients.

use crate::fixture::{assert_near, host, ids, logits, vector};
use burn::tensor::DType;
use lyceum_components::distill::policy_gradient::{
    Clipping, OfToken, Rollout, RolloutMetrics, Start, Surrogate, Whiten, discounted_returns, tokens_left,
    whitened,
};
use lyceum_components::distill::{Beside, of_likelihoods, of_likelihoods_beside};
use lyceum_kernels::{Divergence, OfLikelihood, Products, Teacher, linear_divergence, linear_nll};
use lyceum_tests::{Golden, Node};
use std::sync::Arc;

/// The logit of a token that cannot be drawn: its probability is 0, and 0 times it is 0.
const NEVER: f64 = -1e30;

/// Logits, row-major `[rows · width, v]`, with those outside the support taken away.
fn supported(logits: &[f64], support: &[f64]) -> Vec<f64> {
    let places = logits.iter().zip(support);
    places
        .map(|(logit, inside)| if *inside > 0.0 { *logit } else { NEVER })
        .collect()
}

fn log_likelihoods(values: &[f64], v: usize, targets: &[i64]) -> Vec<f64> {
    let projection = logits(values, v, DType::F64, false);
    let nll_n = linear_nll(
        projection.hidden_nd,
        projection.head_vd,
        None,
        ids(targets),
        Products::Full,
    );
    host(nll_n.neg())
}

#[test]
fn a_rollout_becomes_a_loss() {
    let golden = Golden::open("minillm_step");
    let root = golden.root();
    root.prose(&["about"]);
    let (shape, mask) = root.get("mask").tensor();
    let lengths: Vec<f64> = mask.chunks(shape[1]).map(|row| row.iter().sum()).collect();
    assert_eq!(lengths, root.get("lengths").tensor().1);
    let mask: Vec<f32> = mask.iter().map(|mask| *mask as f32).collect();
    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 5);
    for case in cases {
        check(&root, &case, &mask, shape[1]);
    }
    golden.finish();
}

fn check(root: &Node, case: &Node, mask: &[f32], width: usize) {
    let name: String = case.get("name").read();
    let (shape, old) = root.get("student_logits_old").tensor();
    let new = root.get("student_logits_new").tensor().1;
    let teacher = root.get("teacher_logits").tensor().1;
    let (v, top4) = (shape[2], root.get("top4_support").tensor().1);
    let support = match case.get("support").read::<String>().as_str() {
        "full" => vec![1.0; old.len()],
        "top4_of_old" => top4,
        other => panic!("no support {other}"),
    };
    let now = match case.get("student_logits_used").read::<String>().as_str() {
        "old" => &old,
        "new" => &new,
        other => panic!("no logits {other}"),
    };
    let close = |key: &str, found: &[f64]| {
        assert_near(&format!("{name} {key}"), found, &case.get(key).tensor().1, 1e-12);
    };
    let targets: Vec<i64> = case.get("response_ids").read::<Vec<Vec<i64>>>().concat();
    let counts = |values: &[f64]| -> Vec<f64> {
        let places = values.iter().zip(mask);
        places.map(|(value, mask)| value * f64::from(*mask)).collect()
    };

    let old_logp = log_likelihoods(&supported(&old, &support), v, &targets);
    let teacher_drawn = log_likelihoods(&supported(&teacher, &support), v, &targets);
    let teacher_logp = log_likelihoods(&teacher, v, &targets);
    close("old_logprob", &counts(&old_logp));
    close("teacher_logprob", &counts(&teacher_logp));
    let alpha: Option<f64> = case.get("alpha").read();
    let rollout = Rollout {
        width,
        mask,
        student: &old_logp,
        teacher: &teacher_logp,
        teacher_drawn: alpha.map(|_| teacher_drawn.as_slice()),
    };
    rollout.check().expect("every log-likelihood is a number");
    let number = |key: &str| case.get(key).read::<f64>();
    let importance = rollout.importance(alpha.unwrap_or_default());
    let rewards = rollout.rewards(number("reward_scaling"), number("reward_clip"));
    close("w", &importance);
    close("reward", &rewards);
    close("rev_kl_k3", &rollout.k3());
    let returns = discounted_returns(&rewards, width, number("gamma"), Start::Current);
    let left = tokens_left(mask, width, Start::Current);
    close("discounted_return", &returns);
    close("tokens_left", &left);
    let raw: Vec<f64> = returns.iter().zip(&left).map(|(sum, left)| sum / left).collect();
    close("advantage_raw", &raw);
    let advantages = whitened(raw.clone(), mask, Whiten::Reference);
    close("advantage_whitened", &advantages);
    close("advantage_whitened_masked", &whitened(raw, mask, Whiten::Masked));
    let metrics = RolloutMetrics::of(&rollout, &rewards, &importance).expect("there are tokens");
    let k3 = case.get("rev_kl_k3").tensor().1;
    let by_response = k3.chunks(width).zip(mask.chunks(width));
    let by_response =
        by_response.map(|(k3, mask)| k3.iter().sum::<f64>() / f64::from(mask.iter().sum::<f32>()));
    assert_near(
        "k3",
        &[metrics.rev_kl_k3],
        &[by_response.sum::<f64>() / 3.0],
        1e-12,
    );

    let total: f64 = mask.iter().map(|mask| f64::from(*mask)).sum();
    let weights: Vec<f64> = mask.iter().map(|mask| f64::from(*mask) / total).collect();
    for (dtype, by_value, by_gradient) in [(DType::F64, 1e-12, 1e-12), (DType::F32, 1e-5, 1e-6)] {
        let what = |key: &str| format!("{name} {key} in {dtype:?}");
        let near = |key: &str, found: &[f64], tolerance: f64| {
            assert_near(&what(key), found, &case.get(key).tensor().1, tolerance);
        };
        let projection = || logits(&supported(now, &support), v, dtype, true);
        let surrogate = Arc::new(Surrogate {
            old_logp: old_logp.clone(),
            importance: importance.clone(),
            advantage: advantages.clone(),
            weight: weights.clone(),
            clip: number("cliprange"),
            clipping: Clipping::Advantage,
        });
        let student = projection();
        let found = of_likelihoods(student.clone(), ids(&targets), Products::Full, |logp_n| {
            surrogate.loss(logp_n)
        });
        let logp = host(found.logp_n).into_iter().enumerate();
        let tokens: Vec<OfToken> = logp.map(|(n, logp)| surrogate.of_token(n, logp)).collect();
        let ratios: Vec<f64> = tokens.iter().map(|token| token.ratio).collect();
        near("ratio", &ratios, by_value);
        let live: Vec<f64> = tokens
            .iter()
            .map(|token| f64::from(u8::from(token.live)))
            .collect();
        near("clip_live", &live, 0.0);
        let clipped = 1.0 - live.iter().sum::<f64>() / total;
        assert_near(
            &what("clip_fraction"),
            &[found.other.clip_fraction],
            &[clipped],
            1e-6,
        );
        let gradients = found.loss.clone().backward();
        let pg_loss = host(found.loss.without_autodiff())[0];
        assert_near(&what("pg_loss"), &[pg_loss], &[number("pg_loss")], by_value);
        let by_logits = host(
            student
                .hidden_nd
                .grad(&gradients)
                .expect("hidden states have a gradient"),
        );
        near("grad_pg", &by_logits, by_gradient);

        let student = projection();
        let teacher = Teacher::Dense(logits(&supported(&teacher, &support), v, dtype, false));
        let found = linear_divergence(
            student.clone(),
            teacher.clone(),
            Divergence::ReverseKl,
            1.0,
            vector(&weights, dtype),
        );
        let gradients = found.loss.clone().backward();
        near("reg_per_token", &counts(&host(found.value_n)), by_value);
        let reg_loss = host(found.loss.without_autodiff())[0];
        assert_near(&what("reg_loss"), &[reg_loss], &[number("reg_loss")], by_value);
        let by_logits = host(
            student
                .hidden_nd
                .grad(&gradients)
                .expect("hidden states have a gradient"),
        );
        near("grad_reg", &by_logits, by_gradient);
        assert_near(
            &what("rl_loss"),
            &[pg_loss + reg_loss],
            &[number("rl_loss")],
            by_value,
        );

        // Both at once.
        let student = projection();
        let beside = Beside {
            teacher,
            divergence: Divergence::ReverseKl,
            weights_n: vector(&weights, dtype),
        };
        let of = surrogate.clone();
        let derivative = OfLikelihood::new(move |n, logp| of.of_token(n, logp).by_logp);
        let (found, value_n) =
            of_likelihoods_beside(student.clone(), ids(&targets), beside, derivative, |logp| {
                (surrogate.total(logp).loss, ())
            });
        near("reg_per_token", &counts(&host(value_n)), by_value);
        let gradients = found.loss.clone().backward();
        let rl_loss = host(found.loss.without_autodiff());
        assert_near(&what("rl_loss"), &rl_loss, &[number("rl_loss")], by_value);
        let by_logits = host(
            student
                .hidden_nd
                .grad(&gradients)
                .expect("hidden states have a gradient"),
        );
        let [by_pg, by_reg] = ["grad_pg", "grad_reg"].map(|key| case.get(key).tensor().1);
        let both: Vec<f64> = by_pg.iter().zip(&by_reg).map(|(pg, reg)| pg + reg).collect();
        assert_near(&what("both gradients"), &by_logits, &both, by_gradient);
    }
}
