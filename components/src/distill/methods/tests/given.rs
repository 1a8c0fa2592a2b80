//! Losses over texts that are given, beside those of plain distributions.

use super::{Of, bench, close, cross_entropy, first, gold, in_f64, kl, mean_over, params, train};
use crate::distill::{Sft, TeacherCache, WordKd};
use serde_json::{Value, json};

#[test]
fn only_responses_are_learnt() {
    let bench = bench();
    let (rows, prompts) = gold();
    let expected = mean_over(&bench, &rows, &prompts, &cross_entropy);
    close(
        first(&train::<Sft>(&bench, "sft", json!({})), "loss"),
        expected,
        "sft",
    );
    // Steps of fewer rows, put together, are the same step.
    let optim = json!({ "lr": 1e-2, "batch_size": 2, "accumulate": 3, "budget": { "steps": 1 } });
    let parts = train::<Sft>(&bench, "parts", json!({ "optim": optim }));
    close(first(&parts, "loss"), expected, "in parts");
}

#[test]
fn what_is_worked_out_again_changes_no_bytes() {
    let bench = bench();
    let bytes = |recompute: &str| {
        let more = params(json!({ "teacher": "@other", "recompute": recompute }));
        let context = bench.context(recompute);
        bench.run_with::<WordKd>(&context, more).expect("trains");
        std::fs::read(bench.at(recompute).join("model.safetensors")).expect("reads")
    };
    assert!(bytes("block") == bytes("none"));
}

#[test]
fn every_divergence_is_that_of_the_plain_distributions() {
    let bench = bench();
    let (rows, prompts) = gold();
    let mixture = |p: &[f64], q: &[f64], share: f64| -> Vec<f64> {
        p.iter()
            .zip(q)
            .map(|(p, q)| share * p + (1.0 - share) * q)
            .collect()
    };
    let cases: Vec<(Value, Box<Of<'_>>)> = vec![
        (
            json!({ "kind": "soft_ce" }),
            Box::new(|p, q, _| -p.iter().zip(q).map(|(p, q)| p * q.ln()).sum::<f64>()),
        ),
        (json!({ "kind": "forward_kl" }), Box::new(|p, q, _| kl(p, q))),
        (json!({ "kind": "reverse_kl" }), Box::new(|p, q, _| kl(q, p))),
        (
            json!({ "kind": "jsd", "beta": 0.3 }),
            Box::new(|p, q, _| {
                let m = mixture(p, q, 0.3);
                0.3 * kl(p, &m) + 0.7 * kl(q, &m)
            }),
        ),
        (
            json!({ "kind": "skew_forward_kl" }),
            Box::new(|p, q, _| kl(p, &mixture(p, q, 0.1))),
        ),
        (
            json!({ "kind": "skew_reverse_kl", "skew": 0.2 }),
            Box::new(|p, q, _| kl(q, &mixture(p, q, 0.8))),
        ),
        (
            json!({ "kind": "tv" }),
            Box::new(|p, q, _| 0.5 * p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum::<f64>()),
        ),
    ];
    let entropy = mean_over(&bench, &rows, &prompts, &cross_entropy);
    for (i, (divergence, of)) in cases.iter().enumerate() {
        let name = divergence["kind"].as_str().expect("a name");
        let more = json!({ "teacher": "@other", "divergence": divergence, "kd_ratio": 0.25 });
        let found = train::<WordKd>(&bench, &format!("kd{i}"), more);
        let expected = mean_over(&bench, &rows, &prompts, of);
        close(first(&found, name), expected, name);
        close(first(&found, "cross_entropy"), entropy, name);
        close(first(&found, "loss"), 0.75 * entropy + 0.25 * expected, name);
    }
}

#[test]
fn rows_count_alike_where_that_is_asked_for() {
    let bench = bench();
    let (rows, prompts) = gold();
    let of_row = |i: usize| mean_over(&bench, &rows[i..=i], &prompts[i..=i], &|p, q, _| kl(p, q));
    let expected = (0..rows.len()).map(of_row).sum::<f64>() / rows.len() as f64;
    let divergence = json!({ "kind": "forward_kl", "reduction": "sequence_mean" });
    let more = json!({ "teacher": "@other", "divergence": divergence, "kd_ratio": 1.0 });
    close(
        first(&train::<WordKd>(&bench, "kd", more), "loss"),
        expected,
        "sequence mean",
    );
}

#[test]
fn a_cache_of_all_tokens_teaches_as_its_teacher_does() {
    let bench = bench();
    let cache = json!({ "data": "@pairs", "teacher": "@other", "k": 300, "log_probs": "f32" });
    bench
        .run_with::<TeacherCache>(&in_f64(&bench, "cache"), cache)
        .expect("caches");
    bench.publish("cache");
    let divergence = json!({ "kind": "reverse_kl" });
    let found = |teacher: &str| {
        let more = json!({ "teacher": teacher, "divergence": divergence });
        train::<WordKd>(&bench, &format!("kd{}", &teacher[1..]), more)
    };
    let (online, cached) = (found("@other"), found("@cache"));
    let difference = first(&online, "reverse_kl") - first(&cached, "reverse_kl");
    assert!(difference.abs() < 1e-5, "{difference}");
}
