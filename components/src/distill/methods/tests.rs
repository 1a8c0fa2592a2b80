//! The distillers, on two small models and a few pairs.

use crate::artifact::{Boundary, Segment, TokenType, TokensDetails, TokensWriter};
use crate::distill::{Dpkd, Gkd, MiniLlm, SeqKd, Sft, TeacherCache, WordKd};
use crate::inference::tests::bench as models;
use crate::model::load;
use crate::testing::{Bench, Watcher};
use crate::tokenizer::Encoder;
use crate::train::read_curve;
use crate::{Artifact, Component, Context, Error, Precision};
use burn::tensor::{Int, Tensor, TensorData};
use serde_json::{Value, json};

/// Prompts and responses; ids of the tokenizer of 300 tokens that `models` trains, which ends texts with 0.
const PAIRS: [(&[u32], &[u32]); 6] = [
    (&[40, 41, 42], &[70, 71, 0]),
    (&[43], &[72, 73, 74, 75, 0]),
    (&[44, 45], &[0]),
    (&[46, 0, 47, 48], &[76, 0]),
    (&[49, 50], &[77, 78, 79, 0]),
    (&[51, 52, 53], &[80, 0]),
];

/// The models `model` (the student) and `other` (the teacher), and the pairs, as `pairs`; `text` is packed text.
fn bench() -> Bench {
    let bench = models();
    publish(&bench, "pairs", true);
    publish(&bench, "text", false);
    bench
}

fn publish(bench: &Bench, step: &str, pairs: bool) {
    let tokenizer = bench.publish("bpe");
    let encoder = Encoder::open(&tokenizer).expect("a tokenizer");
    let found = encoder.details();
    let folder = bench.at(step);
    let mut writer = if pairs {
        TokensWriter::create_pairs(&folder, found.vocab_size)
    } else {
        TokensWriter::create(&folder, found.vocab_size)
    }
    .expect("creates");
    for (document, (prompt, response)) in PAIRS.iter().enumerate() {
        let ids: Vec<u32> = prompt.iter().chain(*response).copied().collect();
        let segment = Segment {
            document: document as u64,
            tokens: ids.len() as u32,
        };
        writer
            .push_pair(&ids, prompt.len() as u32, &[segment])
            .expect("writes");
    }
    let details = TokensDetails {
        context: 32,
        vocab_size: found.vocab_size,
        eos_id: found.eos_id,
        bos_id: None,
        boundary: Boundary::Document,
        blocks: writer.blocks(),
        tokens: writer.tokens(),
        documents: writer.blocks(),
        dropped_tokens: 0,
        dtype: TokenType::of(found.vocab_size),
        tokenizer: encoder.fingerprint().to_owned(),
        corpus: None,
        template: pairs.then(|| "a template".to_owned()),
        pairs: None,
    };
    writer.finish(encoder.json(), &details).expect("writes");
    bench.publish(step);
}

/// Steps of two rows over the pairs, with `more` keys.
fn params(more: Value) -> Value {
    let mut params = json!({
        "data": "@pairs", "model": "@model",
        "optim": { "lr": 1e-2, "batch_size": 6, "budget": { "steps": 1 }, "warmup_steps": 0, "schedule": "constant" },
    });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    params
}

fn in_f64(bench: &Bench, step: &str) -> Context {
    Context {
        precision: Precision::F64,
        ..bench.context(step)
    }
}

fn train<C: Component>(bench: &Bench, step: &str, more: Value) -> Artifact {
    bench
        .run_with::<C>(&in_f64(bench, step), params(more))
        .expect("trains");
    bench.publish(step)
}

fn fails<C: Component>(bench: &Bench, more: Value) -> Error {
    let error = bench.run_with::<C>(&bench.context("bad"), params(more));
    error.expect_err("does not train")
}

/// What the curve says of the first step.
fn first(artifact: &Artifact, metric: &str) -> f64 {
    let points = read_curve(&artifact.path.join("metrics.parquet")).expect("a curve");
    let found = points
        .iter()
        .find(|point| point.step == 1 && point.metric == metric);
    found.unwrap_or_else(|| panic!("no {metric} in {points:?}")).value
}

/// `softmax` of every next token of a row, in f64, by plain operations: `[positions][vocabulary]`.
fn distributions(bench: &Bench, model: &str, ids: &[u32]) -> Vec<Vec<f64>> {
    let context = in_f64(bench, "asked");
    let loaded = load(&bench.publish(model), &context.device, Precision::F64).expect("loads");
    let inputs: Vec<i64> = ids[..ids.len() - 1].iter().map(|id| i64::from(*id)).collect();
    let count = inputs.len();
    let inputs_bt = Tensor::<2, Int>::from_data(TensorData::new(inputs, [1, count]), &context.device);
    let hidden_btd = loaded.decoder.hidden(inputs_bt);
    let d = hidden_btd.dims()[2];
    let logits_nv = loaded.decoder.logits(hidden_btd.reshape([count, d]));
    let v = logits_nv.dims()[1];
    let logits: Vec<f64> = logits_nv
        .into_data()
        .convert::<f64>()
        .try_into_vec()
        .expect("f64");
    let row = |row: &[f64]| {
        let most = row.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = row.iter().map(|z| (z - most).exp()).sum();
        row.iter().map(|z| (z - most).exp() / sum).collect()
    };
    logits.chunks(v).map(row).collect()
}

/// What a token comes to, of the teacher's distribution, the student's, and its label.
type Of<'a> = dyn Fn(&[f64], &[f64], usize) -> f64 + 'a;

/// The mean over response tokens of `of(teacher's p, student's q, label)`.
fn mean_over(bench: &Bench, rows: &[Vec<u32>], prompts: &[usize], of: &Of) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for (ids, &prompt) in rows.iter().zip(prompts) {
        let (p, q) = (
            distributions(bench, "other", ids),
            distributions(bench, "model", ids),
        );
        for t in prompt - 1..ids.len() - 1 {
            sum += of(&p[t], &q[t], ids[t + 1] as usize);
            count += 1.0;
        }
    }
    sum / count
}

fn gold() -> (Vec<Vec<u32>>, Vec<usize>) {
    let whole = |(prompt, response): &(&[u32], &[u32])| [*prompt, *response].concat();
    (
        PAIRS.iter().map(whole).collect(),
        PAIRS.iter().map(|(prompt, _)| prompt.len()).collect(),
    )
}

fn cross_entropy(_: &[f64], q: &[f64], label: usize) -> f64 {
    -q[label].ln()
}

fn kl(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum()
}

fn close(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() < 1e-9,
        "{what}: {found} beside {expected}"
    );
}

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

#[test]
fn an_interrupted_distillation_goes_on_to_the_same_bytes() {
    let bench = bench();
    let optim = json!({ "lr": 1e-3, "batch_size": 2, "budget": { "steps": 11 } });
    let sampling = json!({ "max_tokens": 4 });
    let policy = json!({
        "teacher": "@other", "rollouts": 6, "inner_epochs": 2, "sampling": sampling, "optim": optim,
        "corpus": { "data": "@text" }, "checkpoint_every": 2,
    });
    let own = json!({ "teacher": "@other", "sampling": sampling, "optim": optim, "checkpoint_every": 3 });
    goes_on::<MiniLlm>(&bench, "minillm", policy);
    goes_on::<Gkd>(&bench, "gkd", own.clone());
    goes_on::<SeqKd>(&bench, "seq_kd", own.clone());
    goes_on::<Dpkd>(&bench, "dpkd", own);
}

fn goes_on<C: Component>(bench: &Bench, step: &str, more: Value) {
    let whole = bench
        .run::<C>(&format!("{step}-whole"), params(more.clone()))
        .expect("trains");
    // Stopped in the middle of a collection, which the next attempt must not draw anew.
    for reports in [5, 9] {
        let broken = format!("{step}-{reports}");
        let watcher = Watcher::new(bench, "train", reports);
        let outcome = bench.run_with::<C>(&watcher.context(&broken), params(more.clone()));
        assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
        let resumed = bench.run::<C>(&broken, params(more.clone())).expect("trains");
        assert_eq!(resumed.header.fingerprint, whole.header.fingerprint, "{broken}");
        let curve =
            |artifact: &Artifact| std::fs::read(artifact.path.join("metrics.parquet")).expect("reads");
        assert_eq!(curve(&resumed), curve(&whole), "{broken}");
    }
}

#[test]
fn terms_over_the_same_data_of_their_own_share_its_batches() {
    let bench = bench();
    let term = |data: &str, weight: f64| json!({ "kind": "cross_entropy", "data": data, "weight": weight });
    let main = json!({ "kind": "cross_entropy" });
    let of = |step: &str, objective: Value| {
        first(
            &train::<crate::train::Lm>(&bench, step, json!({ "objective": objective })),
            "loss",
        )
    };
    let apart = json!([term("@text", 1.0), term("@pairs", 1.0), main, term("@text", 1.0)]);
    let together = json!([main, term("@text", 2.0), term("@pairs", 1.0)]);
    close(
        of("apart", apart),
        of("together", together),
        "the same terms in another order",
    );
}

#[test]
fn what_does_not_fit_is_told_before_training() {
    let bench = bench();
    let kd = |more: Value| fails::<WordKd>(&bench, more).code();
    assert_eq!(kd(json!({ "teacher": "@other", "data": "@other" })), "wrong_kind");
    let gkd = json!({ "teacher": "@other", "data": "@text" });
    assert_eq!(fails::<Gkd>(&bench, gkd).code(), "no_prompts");
    let more = json!({ "teacher": "@other", "data": "@text" });
    assert_eq!(fails::<SeqKd>(&bench, more).code(), "no_prompts");
    let more = json!({ "teacher": "@other", "prompt_tokens": 3 });
    assert_eq!(fails::<SeqKd>(&bench, more).code(), "unused_key");
    let long = json!({ "teacher": "@other", "sampling": { "max_tokens": 63 } });
    assert_eq!(fails::<Gkd>(&bench, long).code(), "prompt_too_long");
}

#[test]
fn what_a_schema_cannot_say_is_said() {
    fn codes<C: Component>(more: Value) -> Vec<(String, &'static str)> {
        let params: C::Params = serde_json::from_value(params(more)).expect("parameters fit");
        let problems = C::check(&params).into_iter();
        problems.map(|problem| (problem.field, problem.code)).collect()
    }
    let one = |field: &str, code| vec![(field.to_owned(), code)];
    let divergence = |divergence: Value| json!({ "teacher": "@other", "divergence": divergence });
    let found = codes::<WordKd>(divergence(json!({ "kind": "jsd", "beta": 1.0 })));
    assert_eq!(found, one("divergence.beta", "out_of_range"));
    let found = codes::<WordKd>(divergence(json!({ "kind": "reverse_kl", "beta": 0.5 })));
    assert_eq!(found, one("divergence.beta", "unused_key"));
    let found = codes::<WordKd>(divergence(json!({ "kind": "skew_reverse_kl", "skew": 1.0 })));
    assert_eq!(found, one("divergence.skew", "out_of_range"));
    let found = codes::<MiniLlm>(json!({ "teacher": "@other", "rollouts": 7 }));
    assert_eq!(found, one("rollouts", "out_of_range"));
    let nothing = json!({ "enabled": false, "single_step": false });
    let found = codes::<MiniLlm>(json!({ "teacher": "@other", "rollouts": 6, "policy_gradient": nothing }));
    assert_eq!(found, one("policy_gradient", "no_objective"));
    let objective = json!([{ "kind": "policy_gradient", "teacher": "@other" }]);
    let found = codes::<crate::train::Lm>(json!({ "objective": objective }));
    assert_eq!(found, one("objective.0", "missing_key"));
    let objective = json!([{ "kind": "cross_entropy", "data": "@text" }]);
    let found = codes::<crate::train::Lm>(json!({ "objective": objective }));
    assert_eq!(found, one("objective", "no_objective"));
}
