//! Weights of blocks from policies and from contributions.

use super::*;
use crate::Component;
use crate::policy::LearningLaw;
use crate::random::Stream;

/// Publishes a target for [`bench`]'s blocks, and a test set.
fn targets(bench: &Bench) {
    let corpus = bench.publish("pool");
    let mut stream = Stream::new(8, "targets");
    for location in ["target", "held"] {
        let blocks: Vec<Vec<u32>> = (0..6)
            .map(|_| (0..7).map(|_| 1 + stream.below(19) as u32).collect())
            .collect();
        let of_document = [(0, 7)];
        let blocks: Vec<_> = blocks.iter().map(|ids| (&ids[..], &of_document[..])).collect();
        bench.tokens(location, &corpus, &blocks);
    }
}

fn reweight(more: Value) -> Value {
    let mut reweight = json!({ "target": "@target", "refresh_every": 2, "target_batch": 4 });
    let more = more.as_object().expect("an object").clone();
    reweight.as_object_mut().expect("an object").extend(more);
    json!({ "reweight": reweight })
}

/// Trains in f64.
fn wide(bench: &Bench, step: &str, more: Value) -> Artifact {
    let mut context = bench.context(step);
    context.precision = Precision::F64;
    bench.run_with::<Lm>(&context, params(more)).expect("trains");
    bench.publish(step)
}

#[test]
fn equal_weights_are_those_of_no_weighing() {
    let bench = bench();
    targets(&bench);
    let plain = wide(&bench, "plain", json!({}));
    let warm = wide(&bench, "warm", reweight(json!({ "warmup_steps": 100 })));
    assert_eq!(warm.header.fingerprint, plain.header.fingerprint);
    // All weight on equal shares: the shared pass gives the very training, up to rounding.
    let mixed = wide(&bench, "mixed", reweight(json!({ "mix_uniform": 1.0 })));
    // Weights of tokens are f32.
    assert!(distance(&mixed, &plain) < 1e-6, "{}", distance(&mixed, &plain));
    let weighed = wide(&bench, "weighed", reweight(json!({})));
    assert!(distance(&weighed, &plain) > 1e-4);
    let notes = points(&weighed);
    let used = values(&notes, "train", "examples_used");
    assert!(used.len() == 5 && used.iter().all(|used| *used > 0.0 && *used <= 1.0));
    assert!(details(&weighed).flops > details(&plain).flops);
}

#[test]
fn one_pass_and_passes_of_their_own_and_differences_agree() {
    let bench = bench();
    targets(&bench);
    for rule in ["rectified", "project", "softmax", "top_fraction", "filter"] {
        let shared = wide(
            &bench,
            &format!("shared-{rule}"),
            reweight(json!({ "rule": rule })),
        );
        // A factor of the term keeps the pass from being shared, and AdamW does not mind it but for ε.
        let mut apart = reweight(json!({ "rule": rule }));
        apart["objective"] =
            json!([{ "kind": "cross_entropy", "reduction": "token_mean", "weight": 1.0 + 1e-9 }]);
        let apart = wide(&bench, &format!("apart-{rule}"), apart);
        assert!(
            distance(&shared, &apart) < 1e-6,
            "{rule}: {}",
            distance(&shared, &apart)
        );
        let near = reweight(json!({ "rule": rule, "contribution": "difference", "difference_step": 1e-4 }));
        let near = wide(&bench, &format!("near-{rule}"), near);
        assert!(
            distance(&shared, &near) < 1e-3,
            "{rule}: {}",
            distance(&shared, &near)
        );
    }
    // Of two blocks only their order counts; of five, how far apart they are.
    let of_five = |step: &str, more: Value| {
        let mut more = reweight(more);
        more["optim"] = json!({ "batch_size": 5 });
        wide(&bench, step, more)
    };
    let (plain, adam) = (
        of_five("five", json!({})),
        of_five("adam", json!({ "precondition": "adam" })),
    );
    assert!(distance(&plain, &adam) > 1e-5);
}

#[test]
fn a_matched_norm_is_that_of_equal_weights() {
    let bench = bench();
    targets(&bench);
    let norm = |artifact: &Artifact| values(&points(artifact), "train", "grad_norm")[0];
    let plain = norm(&wide(&bench, "plain", json!({})));
    let weighed = norm(&wide(&bench, "weighed", reweight(json!({}))));
    let matched = norm(&wide(&bench, "matched", reweight(json!({ "match_norm": true }))));
    assert!((matched - plain).abs() < 1e-6 * plain, "{matched} {plain}");
    assert!((weighed - plain).abs() > 1e-3 * plain, "{weighed} {plain}");
}

#[test]
fn a_reweighted_training_goes_on_to_the_same_bytes() {
    let bench = bench();
    targets(&bench);
    let more = || {
        let mut more = reweight(json!({ "refresh_every": 3 }));
        more["optim"] = json!({ "budget": { "steps": 12 } });
        more["checkpoint_every"] = json!(2);
        more
    };
    let undisturbed = train(&bench, "undisturbed", more());
    let (outcome, _) = watched(&bench, "broken", 7, more());
    assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
    // Between two gradients of the target nothing can be gone on from.
    let scratch = bench.context("broken").scratch;
    assert!(scratch.join("checkpoint-6").exists());
    let (outcome, _) = watched(&bench, "broken", 0, more());
    outcome.expect("trains");
    let resumed = bench.publish("broken");
    assert_eq!(resumed.header.fingerprint, undisturbed.header.fingerprint);
}

#[test]
fn a_policy_is_followed() {
    let bench = bench();
    targets(&bench);
    let law = json!({
        "data": "@tokens", "target": "@target", "test": "@held", "model": model(json!({})),
        "steps": 4, "inner_lr": 0.01, "epochs": 2, "lr": 0.5, "lr_scale": "row",
    });
    let context = Context {
        precision: Precision::F64,
        ..bench.context("law")
    };
    bench.run_with::<LearningLaw>(&context, law).expect("finds");
    bench.publish("law");
    let more = |steps: u64| {
        json!({
            "policy": "@law",
            "optim": { "batch_size": 5, "budget": { "steps": steps } },
        })
    };
    let followed = train(&bench, "followed", more(4));
    let mut equal = more(4);
    equal.as_object_mut().expect("a table").remove("policy");
    assert_ne!(
        train(&bench, "equal", equal).header.fingerprint,
        followed.header.fingerprint
    );
    assert_eq!(fails(&bench, "bad", more(5)).code(), "policy_shape");
    let mut other = more(4);
    other["data"] = json!("@target");
    assert_eq!(fails(&bench, "bad", other).code(), "policy_hash");
}

#[test]
fn mistakes_of_weighing_have_their_codes() {
    let bench = bench();
    targets(&bench);
    let corpus = bench.publish("pool");
    bench.tokens("nothing", &corpus, &[]);
    let code = |more: Value| fails(&bench, "bad", reweight(more)).code();
    assert_eq!(code(json!({ "target": "@nothing" })), "empty_target");
    assert_eq!(code(json!({ "target": "@pool" })), "wrong_kind");
    let mut narrow = bench.context("narrow");
    narrow.precision = Precision::Bf16;
    let more = params(reweight(json!({ "contribution": "difference" })));
    let error = bench.run_with::<Lm>(&narrow, more).expect_err("too coarse");
    assert_eq!(error.code(), "unsupported_precision");
    let problems = |more: Value| -> Vec<(String, &'static str)> {
        let params = serde_json::from_value(params(more)).expect("fits");
        let problems = Lm::check(&params);
        problems
            .into_iter()
            .map(|problem| (problem.field, problem.code))
            .collect()
    };
    let mut both = reweight(json!({ "match_norm": true, "contribution": "difference" }));
    both["policy"] = json!("@law");
    assert_eq!(
        problems(both),
        [
            ("reweight".to_owned(), "not_exactly_one"),
            ("reweight.match_norm".to_owned(), "bad_value")
        ]
    );
}
