//! `miniplm_scores.json`: collating, losses from logits, and the scores, in f64 and f32.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use lyceum_components::artifact::Order;
use lyceum_components::score::{masked_sum, score_difference};
use lyceum_components::select::top_k;
use lyceum_components::tokens::{Batch, collate};
use lyceum_kernels::{Products, linear_nll};
use lyceum_tests::{Golden, Node};

/// Losses from logits by the kernel that scoring uses: with the unit matrix as the head, hidden states are logits.
fn token_nll(logits: &Node, batch: &Batch, vocab: usize, dtype: DType) -> Vec<f64> {
    let device = Device::flex();
    let logits: Vec<Vec<Vec<f64>>> = logits.read();
    let flat: Vec<f64> = logits.into_iter().flatten().flatten().collect();
    let unit: Vec<f64> = (0..vocab * vocab)
        .map(|i| f64::from(u8::from(i % (vocab + 1) == 0)))
        .collect();
    let rows = batch.rows * batch.width;
    let float =
        |values, shape: [usize; 2]| Tensor::<2>::from_data(TensorData::new(values, shape), (&device, dtype));
    let targets = TensorData::new(batch.labels.clone(), [rows]);
    let targets = Tensor::<1, Int>::from_data(targets, &device);
    let nll = linear_nll(
        float(flat, [rows, vocab]),
        float(unit, [vocab, vocab]),
        None,
        targets,
        Products::Full,
    );
    nll.into_data().iter::<f64>().collect()
}

struct Items {
    sum: Vec<f64>,
    mean: Vec<f64>,
    tokens: Vec<u64>,
}

fn items(nll: &[f64], batch: &Batch) -> Items {
    let rows = nll.chunks(batch.width).zip(batch.mask.chunks(batch.width));
    let (sum, tokens): (Vec<f64>, Vec<u64>) = rows.map(|(nll, mask)| masked_sum(nll, mask)).unzip();
    let mean = sum.iter().zip(&tokens).map(|(sum, n)| sum / *n as f64).collect();
    Items { sum, mean, tokens }
}

fn assert_close(ours: &[f64], expected: &Node, tolerance: f64) {
    let theirs: Vec<f64> = expected.read();
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{a} {b}");
    }
}

/// The best k, for every k, are the first k of the expected order.
fn assert_order(scores: &[f64], expected: &Node) {
    let order: Vec<usize> = expected.read();
    assert_eq!(order.len(), scores.len());
    for k in 1..=order.len() {
        let mut best = order[..k].to_vec();
        best.sort_unstable();
        assert_eq!(top_k(scores, k, Order::Highest), best);
    }
}

#[test]
fn scores_agree_with_the_fixture() {
    let golden = Golden::open("miniplm_scores");
    let root = golden.root();
    root.prose(&["about"]);
    let vocab: usize = root.get("vocab").read();
    let width: usize = root.get("max_length").read();
    let pad: u32 = root.get("pad_id").read();
    assert_eq!(
        pad,
        root.get("eos_id").read::<u32>(),
        "the end of a document pads"
    );
    let sequences: Vec<Vec<u32>> = root.get("sequences").read();
    assert_eq!(sequences.len(), 6);

    let batch = collate(&sequences, width, pad).expect("a batch");
    assert_eq!((batch.rows, batch.width), (6, width));
    let collated = root.get("collate");
    let flat = |name: &str| collated.get(name).read::<Vec<Vec<i64>>>().concat();
    assert_eq!(batch.inputs, flat("input_ids"));
    assert_eq!(batch.labels, flat("label"));
    let mask: Vec<i64> = batch.mask.iter().map(|mask| *mask as i64).collect();
    assert_eq!(mask, flat("loss_mask"));
    // Attention covers what was read; we are causal, so it needs no mask of its own, and nothing beyond it is scored.
    let read = |(row, sequence): (usize, &Vec<u32>)| {
        let length = sequence.len().min(width + 1) - 1;
        (0..width).map(move |t| (row, t < length)).collect::<Vec<_>>()
    };
    let covered: Vec<i64> = sequences
        .iter()
        .enumerate()
        .flat_map(read)
        .map(|(_, seen)| i64::from(seen))
        .collect();
    assert_eq!(covered, flat("attention_mask"));
    assert!(mask.iter().zip(&covered).all(|(mask, seen)| mask <= seen));

    let expected = root.get("expected");
    for (dtype, name) in [(DType::F64, "f64"), (DType::F32, "f32")] {
        let tolerance: f64 = root.get("tolerance_abs").get(name).read();
        let score = |logits: &str| items(&token_nll(&root.get(logits), &batch, vocab, dtype), &batch);
        let (teacher, reference) = (score("teacher_logits"), score("ref_logits"));
        assert_eq!(teacher.tokens, expected.get("token_count").read::<Vec<u64>>());
        assert_close(&teacher.mean, &expected.get("teacher_mean_nll"), tolerance);
        assert_close(&teacher.sum, &expected.get("teacher_sum_nll"), tolerance);
        assert_close(&reference.mean, &expected.get("ref_mean_nll"), tolerance);
        assert_close(&reference.sum, &expected.get("ref_sum_nll"), tolerance);
        let mean = score_difference(&reference.mean, &teacher.mean).expect("equal lengths");
        let sum = score_difference(&reference.sum, &teacher.sum).expect("equal lengths");
        assert_close(&mean, &expected.get("score_mean"), tolerance);
        assert_close(&sum, &expected.get("score_sum"), tolerance);
        assert_order(&mean, &expected.get("order_desc_score_mean"));
        assert_order(&sum, &expected.get("order_desc_score_sum"));
    }

    let errors = root.get("error_cases").items();
    assert_eq!(errors.len(), 2);
    for case in errors {
        case.prose(&["why"]);
        let sequence: Vec<u32> = case.get("sequence").read();
        let error = collate(&[sequence], width, pad).expect_err("a mistake");
        assert_eq!(error.code(), case.get("error").read::<String>());
    }
    golden.finish();
}
