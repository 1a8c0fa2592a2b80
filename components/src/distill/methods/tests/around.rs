//! Trainings that were stopped, data of a term's own, and what is refused.

use super::{bench, close, fails, first, params, train};
use crate::distill::{Dpkd, Gkd, MiniLlm, MiniLlmParams, SeqKd, WordKd, WordKdParams};
use crate::model::ModelDetails;
use crate::testing::{Bench, Watcher};
use crate::train::{Lm, LmParams};
use crate::{Artifact, Component, Error, Kind, Size, Sizes};
use serde_json::{Value, json};

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

#[test]
fn caches_that_cannot_teach_are_refused_before_they_are_there() {
    let found = |kind: Kind, params: Value| -> Vec<(String, &'static str)> {
        let params: WordKdParams = serde_json::from_value(super::params(params)).expect("parameters fit");
        let problems = WordKd::check_inputs(&params, &|named| (named == "@teacher").then_some(kind));
        let problems = problems.into_iter();
        problems.map(|problem| (problem.field, problem.code)).collect()
    };
    let spread =
        |kind: &str| json!({ "teacher": "@teacher", "divergence": { "kind": kind, "tail": "renormalise" } });
    let sparse = vec![("divergence.tail".to_owned(), "sparse_divergence")];
    assert_eq!(found(Kind::TeacherCache, spread("reverse_kl")), sparse);
    assert!(found(Kind::Model, spread("reverse_kl")).is_empty());
    assert!(found(Kind::TeacherCache, spread("forward_kl")).is_empty());

    let drawn = json!({
        "source": { "kind": "rollouts", "rollouts": 6, "inner_epochs": 1 },
        "objective": [{ "kind": "cross_entropy" }, { "kind": "forward_kl", "teacher": "@teacher" }],
    });
    let params: LmParams = serde_json::from_value(super::params(drawn)).expect("parameters fit");
    let problems = Lm::check_inputs(&params, &|_| Some(Kind::TeacherCache));
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].field.as_str(), problems[0].code),
        ("objective.1.teacher", "cache_needs_fixed_text")
    );
}

#[test]
fn a_set_that_is_learnt_from_again_is_read_by_the_teacher_as_every_batch_would_be() {
    let bench = bench();
    let more = |epochs: u64, steps: u64| {
        json!({
            "teacher": "@other", "rollouts": 6, "inner_epochs": epochs, "sampling": { "max_tokens": 5 },
            "optim": { "lr": 1e-12, "batch_size": 2, "budget": { "steps": steps } },
            "policy_gradient": { "enabled": false },
        })
    };
    // One pass over a set asks about each batch by itself; of several, the first finds the same loss and gradient.
    let (once, again) = (
        train::<MiniLlm>(&bench, "once", more(1, 3)),
        train::<MiniLlm>(&bench, "again", more(2, 6)),
    );
    for metric in ["loss", "grad_norm", "reverse_kl"] {
        close(first(&again, metric), first(&once, metric), metric);
    }
    // A pass over the set costs the layers half as much then, and drawing too.
    let flops = |artifact: &Artifact| artifact.details::<ModelDetails>().expect("details").flops;
    let (one, two) = (flops(&once), flops(&again));
    assert!(1.2 * one < two && two < 1.9 * one, "{one} {two}");
}

#[test]
fn a_plan_counts_a_teacher_that_reads_a_set_once() {
    let pairs = Size {
        items: 100.0,
        tokens: 1100.0,
        ..Size::default()
    };
    let model = |flops_per_token, layers_flops_per_token| Size {
        flops_per_token,
        layers_flops_per_token,
        ..Size::default()
    };
    let sizes = [
        ("@pairs", pairs),
        ("@model", model(5.0, 3.0)),
        ("@other", model(20.0, 16.0)),
    ];
    let sizes = Sizes {
        sizes: sizes.map(|(name, size)| (name.to_owned(), size)).into(),
        ..Sizes::default()
    };
    for epochs in [1_u64, 4] {
        let more = json!({ "teacher": "@other", "inner_epochs": epochs, "rollouts": 6 });
        let params: MiniLlmParams = serde_json::from_value(super::params(more)).expect("parameters fit");
        // A step's sixty tokens: the student's passes, the teacher's head, and a share of its layers and of drawing by both.
        let (of_set, own) = (16.0 + 5.0 + 20.0, 3.0 * 5.0 + 4.0);
        let expected = 60.0 * (own + of_set / epochs as f64);
        assert_eq!(
            MiniLlm::estimate(&params, &sizes).flops,
            expected,
            "{epochs} passes"
        );
    }
}
