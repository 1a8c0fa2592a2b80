//! `pds_select.json`: labels, noisy selection, how a scorer is judged, projections.

use crate::assert_close;
use lyceum_components::artifact::Order;
use lyceum_components::metrics::spearman;
use lyceum_components::random::Stream;
use lyceum_components::score::{accuracy_and_f1, highest, z_scores};
use lyceum_components::select::{gumbel_key, keep_count, top_k};
use lyceum_components::trajectory::project_simplex;
use lyceum_tests::{Golden, Node};
use serde_json::Value;

fn labels_agree(node: &Node) {
    let raw: Vec<f64> = node.get("raw").read();
    let (labels, moments) = z_scores(&raw, node.get("clip").read()).expect("scores with a spread");
    assert_close("labels", &labels, &node.get("out").read::<Vec<f64>>(), 1e-12);
    let expected: [f64; 2] = [node.get("mean").read(), node.get("std_population").read()];
    assert_close("moments", &[moments.mean, moments.deviation], &expected, 1e-15);
    assert!(labels.contains(&3.0), "one is cut");
    let errors = node.get("error").entries();
    assert_eq!(errors.len(), 2);
    for (case, code) in errors {
        let scores: &[f64] = match case.as_str() {
            "constant_scores" => &[0.1; 7],
            _ => &[0.3],
        };
        let error = z_scores(scores, 3.0).expect_err("no spread");
        assert_eq!(error.code(), code.read::<String>(), "{case}");
    }
}

fn gumbel_keys(scores: &[f64], tau: f64, uniforms: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let pairs = scores.iter().zip(uniforms);
    pairs
        .map(|(score, uniform)| gumbel_key(*score, tau, uniform))
        .collect()
}

fn noisy_selection_agrees(node: &Node) {
    let predictions: Vec<f64> = node.get("pred").read();
    let uniforms: Vec<f64> = node.get("uniforms").read();
    let noise = gumbel_keys(&[0.0; 60], 1.0, uniforms.clone());
    assert_close("noise", &noise, &node.get("noise").read::<Vec<f64>>(), 1e-12);
    let runs = node.get("runs").items();
    assert_eq!(runs.len(), 9);
    for run in runs {
        let keys = gumbel_keys(&predictions, run.get("tau").read(), uniforms.clone());
        let k = keep_count(run.get("ratio").read(), predictions.len()).expect("a count");
        assert_eq!(k, run.get("k").read::<usize>());
        let kept = top_k(&keys, k, Order::Highest);
        assert_eq!(kept, run.get("kept_ascending").read::<Vec<usize>>());
        let without = top_k(&predictions, k, Order::Highest);
        let both = kept.iter().filter(|i| without.contains(i)).count();
        assert_eq!(both, run.get("overlap_with_topk_no_noise").read::<usize>());
    }
}

/// 20,000 draws of one and of two items, each probability within three standard errors.
fn noise_draws_in_proportion(node: &Node) {
    const DRAWS: u32 = 20_000;
    let scores: Vec<f64> = node.get("scores").read();
    let tau: f64 = node.get("tau").read();
    let (mut first, mut both) = ([0_u32; 5], [0_u32; 5]);
    let stream = Stream::new(1, "gumbel");
    for draw in 0..DRAWS {
        let mut stream = stream.at(u64::from(draw));
        let keys = gumbel_keys(&scores, tau, (0..5).map(|_| stream.uniform()));
        for i in top_k(&keys, 1, Order::Highest) {
            first[i] += 1;
        }
        for i in top_k(&keys, 2, Order::Highest) {
            both[i] += 1;
        }
    }
    for (name, counts) in [("p_first", first), ("p_in_top2", both)] {
        let expected: Vec<f64> = node.get(name).read();
        for (count, p) in counts.into_iter().zip(expected) {
            let error = (p * (1.0 - p) / f64::from(DRAWS)).sqrt();
            let share = f64::from(count) / f64::from(DRAWS);
            assert!((share - p).abs() <= 3.0 * error, "{name}: {share}, expected {p}");
        }
    }
}

fn judging_agrees(node: &Node) {
    let gold: Vec<f64> = node.get("gold").read();
    let predictions: Vec<f64> = node.get("pred").read();
    let share: f64 = node.get("threshold").read();
    let flags = |name: &str| -> Vec<bool> {
        let flags: Vec<u8> = node.get(name).read();
        flags.into_iter().map(|flag| flag == 1).collect()
    };
    let (expected, found) = (highest(&gold, share), highest(&predictions, share));
    assert_eq!(expected, flags("labels_gold"));
    assert_eq!(found, flags("labels_pred"));
    let (accuracy, f1) = accuracy_and_f1(&expected, &found);
    let theirs = [node.get("accuracy").read(), node.get("f1").read()];
    assert_close("accuracy and F1", &[accuracy, f1], &theirs, 1e-15);
    let rank = spearman(&gold, &predictions);
    assert_close("Spearman", &[rank], &[node.get("spearman").read()], 1e-14);
}

#[test]
fn labels_selection_and_judging_agree() {
    let golden = Golden::open("pds_select");
    let root = golden.root();
    labels_agree(&root.get("normalise"));
    noisy_selection_agrees(&root.get("gumbel"));
    noise_draws_in_proportion(&root.get("gumbel_distribution"));
    judging_agrees(&root.get("validation"));
    let projections = root.get("simplex_projection").items();
    assert_eq!(projections.len(), 6);
    for case in projections {
        let mut row: Vec<f64> = case.get("in").read();
        project_simplex(&mut row);
        assert_close("projection", &row, &case.get("out").read::<Vec<f64>>(), 1e-14);
    }
    // Drawing the proxy set is a rule in words; the component's own test refuses more than there are.
    root.get("proxy_sampling").read::<Value>();
    golden.finish();
}
