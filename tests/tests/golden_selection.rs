//! `miniplm_selection.json`: truncation, ties, the gather over shards, Gumbel keys and bad input.

use lyceum_components::artifact::Order;
use lyceum_components::score::score_difference;
use lyceum_components::select::{check_finite, gumbel_key, keep_count, mixture_counts, top_k};
use lyceum_components::{Error, Shard};
use lyceum_tests::Golden;
use serde_json::Value;

fn numbers(values: &[Value]) -> Vec<f64> {
    values.iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

/// The two checks and the choice, in the order that `select.top` makes them.
fn select(scores: &[f64], ratio: f64) -> Result<Vec<usize>, Error> {
    let k = keep_count(ratio, scores.len())?;
    check_finite(scores, &(0..scores.len() as u64).collect::<Vec<_>>())?;
    Ok(top_k(scores, k, Order::Highest))
}

fn keys(scores: &[f64], tau: f64, uniforms: &[f64]) -> Vec<f64> {
    assert_eq!(scores.len(), uniforms.len());
    let pairs = scores.iter().zip(uniforms);
    pairs.map(|(score, u)| gumbel_key(*score, tau, *u)).collect()
}

#[test]
fn selection_agrees_with_the_fixture() {
    let golden = Golden::open("miniplm_selection");
    let root = golden.root();
    root.prose(&["rule"]);

    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 3);
    let mut runs = 0;
    for case in &cases {
        let name: String = case.get("name").read();
        let scores: Vec<f64> = case.get("scores").read();
        for run in case.get("runs").items() {
            let (ratio, k): (f64, usize) = (run.get("ratio").read(), run.get("k").read());
            let kept: Vec<usize> = run.get("kept_ascending").read();
            if k == 0 {
                let error = select(&scores, ratio).expect_err("nothing is kept");
                assert_eq!((error.code(), kept.len()), ("empty_selection", 0));
            } else {
                assert_eq!(
                    keep_count(ratio, scores.len()).expect("a count"),
                    k,
                    "{name} {ratio}"
                );
                assert_eq!(select(&scores, ratio).expect("a choice"), kept, "{name} {ratio}");
            }
            runs += 1;
        }
    }
    assert_eq!(runs, 13);

    // The authors deal items out to ranks in turn and pad by wrapping; we cut contiguous ranges. Both must give every
    // item once, in order.
    let gathers = root.get("distributed_gather").items();
    assert_eq!(gathers.len(), 4);
    for gather in gathers {
        let (n, world): (u64, u64) = (gather.get("n").read(), gather.get("world").read());
        let ranks: Vec<Vec<u64>> = gather.get("rank_items").read();
        let gathered: Vec<u64> = gather.get("gathered").read();
        let kept: Vec<u64> = gather.get("kept").read();
        let rounds = ranks[0].len();
        let dealt = (0..rounds).flat_map(|round| ranks.iter().map(move |rank| rank[round]));
        assert_eq!(dealt.collect::<Vec<_>>(), gathered);
        assert_eq!(ranks.len() as u64, world);
        let shards = (0..world).flat_map(|index| Shard { index, count: world }.range(n));
        assert_eq!(shards.collect::<Vec<_>>(), kept);
        assert_eq!(gathered[..n as usize], kept);
    }

    let gumbel = root.get("gumbel_variant");
    let scores: Vec<f64> = gumbel.get("scores").read();
    let uniforms: Vec<f64> = gumbel.get("uniforms").read();
    let keys = keys(&scores, gumbel.get("temperature").read(), &uniforms);
    let expected: Vec<f64> = gumbel.get("keys").read();
    for (ours, theirs) in keys.iter().zip(&expected) {
        assert!((ours - theirs).abs() < 1e-12, "{ours} {theirs}");
    }
    assert_eq!(keys.len(), expected.len());
    let kept: Vec<usize> = gumbel.get("kept_ascending").read();
    assert_eq!(top_k(&keys, gumbel.get("k").read(), Order::Highest), kept);

    let errors = root.get("error_cases").items();
    assert_eq!(errors.len(), 6);
    for case in errors {
        let error = if let Some(scores) = case.find("scores") {
            let scores = numbers(&scores.read::<Vec<Value>>());
            select(&scores, case.get("ratio").read()).map(|_| ())
        } else {
            let (teacher, reference): (Vec<f64>, Vec<f64>) =
                (case.get("teacher").read(), case.get("ref").read());
            score_difference(&reference, &teacher).map(|_| ())
        };
        let error = error.expect_err("a mistake");
        assert_eq!(error.code(), case.get("error").read::<String>());
        if let Some(index) = case.find("index") {
            assert!(
                error
                    .to_string()
                    .contains(&format!("item {}", index.read::<u64>())),
                "{error}"
            );
        }
    }
    golden.finish();
}

#[test]
fn mixtures_agree_with_the_fixture() {
    let golden = Golden::open("miniplm_misc");
    let root = golden.root();
    let cases = root.get("mixture_counts").items();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let number = |name: &str| case.get(name).read::<usize>();
        let (refined, original) = mixture_counts(case.get("refined_fraction").read(), number("total"));
        assert_eq!(
            (refined, original),
            (number("take_refined"), number("take_original"))
        );
        assert!(refined <= number("n_refined") && original <= number("n_original"));
    }
    // Read by the tests of schedules, of scaling laws and of budgets.
    root.prose(&["cosine_schedule", "seqkd_trim", "scaling_law", "flops_match"]);
    golden.finish();
}
