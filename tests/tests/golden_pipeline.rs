//! `miniplm_pipeline.json`: the whole method with n-gram models as scorers, and our selection on top.

use lyceum_components::artifact::Order;
use lyceum_components::score::score_difference;
use lyceum_components::select::{keep_count, top_k};
use lyceum_tests::{Golden, Node};
use std::collections::{BTreeMap, HashMap};

/// An n-gram model over tokens 1..=vocab with 0.1 added to every count; the first token is not scored.
struct NGram {
    order: usize,
    vocab: usize,
    counts: HashMap<Vec<u32>, Vec<f64>>,
}

impl NGram {
    fn fit(node: &Node, vocab: usize) -> Self {
        let order: usize = node.get("order").read();
        let mut counts = HashMap::new();
        for text in node.get("train").read::<Vec<Vec<u32>>>() {
            for at in 1..text.len() {
                let seen = counts
                    .entry(text[at.saturating_sub(order)..at].to_vec())
                    .or_insert_with(|| vec![0.0; vocab + 1]);
                seen[text[at] as usize] += 1.0;
            }
        }
        Self { order, vocab, counts }
    }

    fn mean_nll(&self, text: &[u32]) -> f64 {
        let unseen = vec![0.0; self.vocab + 1];
        let nll = |at: usize| {
            let before = &text[at.saturating_sub(self.order)..at];
            let seen = self.counts.get(before).unwrap_or(&unseen);
            let total = seen.iter().sum::<f64>() + 0.1 * self.vocab as f64;
            -((seen[text[at] as usize] + 0.1) / total).ln()
        };
        (1..text.len()).map(nll).sum::<f64>() / (text.len() - 1) as f64
    }
}

fn assert_close(ours: &[f64], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
}

#[test]
fn difference_sampling_finds_what_is_hard_and_learnable() {
    let golden = Golden::open("miniplm_pipeline");
    let root = golden.root();
    root.prose(&["model"]);
    let vocab = root.get("vocab").read();
    let teacher = NGram::fit(&root.get("teacher"), vocab);
    let reference = NGram::fit(&root.get("reference"), vocab);
    let pool: Vec<Vec<u32>> = root.get("pool").read();
    let kinds: Vec<String> = root.get("pool_kind").read();
    assert_eq!((pool.len(), kinds.len()), (60, 60));

    let score = |model: &NGram| pool.iter().map(|text| model.mean_nll(text)).collect::<Vec<_>>();
    let (teacher_nll, reference_nll) = (score(&teacher), score(&reference));
    let scores = score_difference(&reference_nll, &teacher_nll).expect("equal lengths");
    let expected = root.get("expected");
    assert_close(&teacher_nll, &expected.get("teacher_nll").read::<Vec<f64>>());
    assert_close(&reference_nll, &expected.get("ref_nll").read::<Vec<f64>>());
    assert_close(&scores, &expected.get("score").read::<Vec<f64>>());

    let k = keep_count(expected.get("ratio").read(), scores.len()).expect("a count");
    assert_eq!(k, expected.get("k").read::<usize>());
    let kept = top_k(&scores, k, Order::Highest);
    assert_eq!(kept, expected.get("kept_ascending").read::<Vec<usize>>());

    let means: BTreeMap<String, f64> = expected.get("mean_score_by_kind").read();
    let shares: BTreeMap<String, f64> = expected.get("kept_share_by_kind").read();
    assert_eq!((means.len(), shares.len()), (3, 3));
    for (kind, mean) in &means {
        let of_kind: Vec<usize> = (0..60).filter(|&i| kinds[i] == *kind).collect();
        let ours = of_kind.iter().map(|&i| scores[i]).sum::<f64>() / of_kind.len() as f64;
        let kept_of_kind = of_kind.iter().filter(|i| kept.contains(i)).count();
        assert_close(&[ours], &[*mean]);
        assert_close(&[kept_of_kind as f64 / k as f64], &[shares[kind]]);
    }
    golden.finish();
}
