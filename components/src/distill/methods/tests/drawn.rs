//! Losses over texts that are drawn, beside those of plain distributions over the likeliest ones.

use super::{PAIRS, bench, close, cross_entropy, distributions, first, gold, kl, mean_over, train};
use crate::distill::{Dpkd, Gkd, MiniLlm, SeqKd};
use crate::flops::{forward_flops, training_flops};
use crate::model::{ModelDetails, load};
use crate::testing::Bench;
use crate::{Artifact, Precision};
use burn::tensor::Device;
use serde_json::json;

/// What a model answers to every prompt if it always takes the likeliest token.
fn greedy(bench: &Bench, model: &str, most: usize) -> Vec<Vec<u32>> {
    PAIRS
        .iter()
        .map(|(prompt, _)| answer(bench, model, prompt, most))
        .collect()
}

/// A prompt, and at most so many likeliest tokens.
fn answer(bench: &Bench, model: &str, prompt: &[u32], most: usize) -> Vec<u32> {
    let mut ids = prompt.to_vec();
    while ids.len() < prompt.len() + most {
        let mut asked = ids.clone();
        asked.push(0);
        let q = distributions(bench, model, &asked).pop().expect("a position");
        ids.push(likeliest(&q) as u32);
        if ids.ends_with(&[0]) {
            break;
        }
    }
    ids
}

#[test]
fn responses_are_the_teachers_and_rollouts_the_students() {
    let bench = bench();
    let (_, prompts) = gold();
    let sampling = json!({ "max_tokens": 5, "top_k": 1 });
    let more = json!({ "teacher": "@other", "sampling": sampling, "kd_ratio": 0.0 });
    let found = train::<SeqKd>(&bench, "seq_kd", more);
    let written = greedy(&bench, "other", 5);
    let expected = mean_over(&bench, &written, &prompts, &cross_entropy);
    close(first(&found, "loss"), expected, "the teacher's answers");

    let divergence = json!({ "kind": "reverse_kl" });
    let more = json!({ "teacher": "@other", "sampling": sampling, "divergence": divergence });
    let found = train::<Gkd>(&bench, "gkd", more);
    let drawn = greedy(&bench, "model", 5);
    let expected = mean_over(&bench, &drawn, &prompts, &|p, q, _| kl(q, p));
    close(first(&found, "loss"), expected, "the student's answers");

    let more =
        json!({ "teacher": "@other", "sampling": sampling, "divergence": divergence, "on_policy": 0.0 });
    let found = train::<Gkd>(&bench, "off", more);
    let expected = mean_over(&bench, &gold().0, &prompts, &|p, q, _| kl(q, p));
    close(first(&found, "loss"), expected, "the data's answers");
}

/// `−log σ(h)`.
fn logistic(h: f64) -> f64 {
    (-h).exp().ln_1p()
}

fn likeliest(p: &[f64]) -> usize {
    (0..p.len()).fold(0, |best, i| if p[i] > p[best] { i } else { best })
}

#[test]
fn the_teachers_likeliest_token_is_preferred_to_the_students() {
    let bench = bench();
    let (rows, prompts) = gold();
    let margin = |p: &[f64], q: &[f64]| {
        let (t, s) = (likeliest(p), likeliest(q));
        (q[t] / q[s]).ln() - (p[t] / p[s]).ln()
    };
    let expected = mean_over(&bench, &rows, &prompts, &|p, q, _| logistic(0.3 * margin(p, q)));
    let entropy = mean_over(&bench, &rows, &prompts, &cross_entropy);
    let more =
        json!({ "teacher": "@other", "chosen": "gold", "preference": { "mode": "token", "beta": 0.3 } });
    let found = train::<Dpkd>(&bench, "token", more);
    close(first(&found, "preference"), expected, "preference");
    close(first(&found, "loss"), 0.5 * entropy + 0.5 * expected, "loss");
}

#[test]
fn the_teachers_response_is_preferred_to_the_students() {
    let bench = bench();
    let sampling = json!({ "max_tokens": 5, "top_k": 1 });
    let (teacher, student) = (greedy(&bench, "other", 5), greedy(&bench, "model", 5));
    let (_, prompts) = gold();
    let logp = |model: &str, ids: &[u32], prompt: usize| -> f64 {
        let found = distributions(&bench, model, ids);
        (prompt - 1..ids.len() - 1)
            .map(|t| found[t][ids[t + 1] as usize].ln())
            .sum()
    };
    let (mut sum, mut wins, mut pairs) = (0.0, 0.0, 0.0);
    for ((chosen, rejected), &prompt) in teacher.iter().zip(&student).zip(&prompts) {
        if chosen == rejected {
            continue;
        }
        let ratio = |ids: &[u32]| {
            (logp("model", ids, prompt) - logp("other", ids, prompt)) / (ids.len() - prompt) as f64
        };
        let margin = 0.7 * (ratio(chosen) - ratio(rejected));
        sum += logistic(margin);
        wins += f64::from(u8::from(margin > 0.0));
        pairs += 1.0;
    }
    assert!(pairs > 2.0, "two models say different things");
    let optim = json!({ "lr": 1e-3, "batch_size": pairs as usize, "budget": { "steps": 1 } });
    let more = json!({
        "teacher": "@other", "sampling": sampling, "preference": { "beta": 0.7 }, "optim": optim,
        "refresh_every": 0,
    });
    let found = train::<Dpkd>(&bench, "sequence", more);
    // The teacher's log-likelihoods are kept in f32.
    let near = |metric: &str, expected: f64| {
        let found = first(&found, metric);
        assert!(
            (found - expected).abs() < 1e-6,
            "{metric}: {found} beside {expected}"
        );
    };
    near("loss", sum / pairs);
    near("win_rate", wins / pairs);
    near("dropped_equal_pairs", 6.0 - pairs);
}

#[test]
fn a_teacher_continues_packed_text() {
    let bench = bench();
    let sampling = json!({ "max_tokens": 4, "top_k": 1 });
    let more = json!({ "data": "@text", "teacher": "@other", "sampling": sampling, "kd_ratio": 0.0, "prompt_tokens": 1 });
    let found = train::<SeqKd>(&bench, "seq_kd", more);
    // Of every row one token is given; all of it is learnt, and what the teacher wrote follows the given token.
    let begun = PAIRS.map(|(prompt, _)| &prompt[..1]);
    let written: Vec<Vec<u32>> = begun
        .iter()
        .map(|prompt| answer(&bench, "other", prompt, 4))
        .collect();
    let expected = mean_over(&bench, &written, &[1; 6], &cross_entropy);
    close(first(&found, "loss"), expected, "continued");
}

#[test]
fn a_block_that_is_all_prompt_stays_as_it_is_and_costs_no_writing() {
    let bench = bench();
    let sampling = json!({ "max_tokens": 4, "top_k": 1 });
    let more = json!({ "data": "@text", "teacher": "@other", "sampling": sampling, "kd_ratio": 0.0, "prompt_tokens": 3 });
    let found = train::<SeqKd>(&bench, "seq_kd", more);
    let (mut sum, mut count) = (0.0, 0.0);
    let mut add = |row: &[u32], from: usize| {
        let labels = (row.len() - from) as f64;
        sum += labels * mean_over(&bench, &[row.to_vec()], &[from], &cross_entropy);
        count += labels;
    };
    let config = |model: &str| {
        let device = Device::flex();
        load(&bench.publish(model), &device, Precision::F64)
            .expect("loads")
            .config
    };
    let (student, teacher) = (config("model"), config("other"));
    let mut flops = 0.0;
    for (i, whole) in gold().0.into_iter().enumerate() {
        let given = whole.len().min(3);
        let row = match &whole[given..] {
            [] => whole,
            _ => {
                let row = answer(&bench, "other", &whole[..given], 4);
                flops += forward_flops(&teacher, row.len() - 1);
                row
            }
        };
        flops += training_flops(&student, row.len() - 1);
        match i {
            // What follows the end of a document inside a block is not predicted.
            3 => {
                add(&row[..2], 1);
                add(&row, 3);
            }
            _ => add(&row, 1),
        }
    }
    close(first(&found, "loss"), sum / count, "continued");
    let spent = |artifact: &Artifact| artifact.details::<ModelDetails>().expect("details").flops;
    close(spent(&found) - spent(&bench.publish("model")), flops, "FLOPs");
}

#[test]
fn a_student_that_is_its_teacher_has_nothing_to_gain() {
    let bench = bench();
    let more = json!({
        "model": "@other", "teacher": "@other", "rollouts": 6, "inner_epochs": 1,
        "sampling": { "max_tokens": 5 }, "policy_gradient": { "whiten": "none" },
    });
    let found = train::<MiniLlm>(&bench, "same", more);
    for metric in [
        "loss",
        "policy_gradient",
        "reverse_kl",
        "reward_mean",
        "rev_kl_k3",
        "clip_fraction",
    ] {
        // Texts are drawn from logits in f32.
        assert!(
            first(&found, metric).abs() < 1e-5,
            "{metric}: {}",
            first(&found, metric)
        );
    }
    assert!((first(&found, "w_mean") - 1.0).abs() < 1e-6);
}
