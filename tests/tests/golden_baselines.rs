//! `pds_baselines.json` and `ngram_scores.json`: reducible loss, influence, importance weights and the classifier.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use lyceum_components::score::{
    Examples, Logistic, NGrams, Similarity, log_ratios, masked_sum, normalised, score_difference, similarity,
};
use lyceum_components::tokens::{Batch, collate};
use lyceum_kernels::{Products, linear_cross_entropy, linear_nll};
use lyceum_tests::{Golden, Node, assert_close};
use std::collections::BTreeMap;

/// The fixture's model: the row `theta[previous token]` holds the logits of the next.
struct Bigram {
    vocab: usize,
    theta: Vec<f64>,
}

impl Bigram {
    fn read(node: &Node) -> Self {
        let (shape, theta) = node.tensor();
        Self {
            vocab: shape[0],
            theta,
        }
    }

    fn matrix(&self, values: Vec<f64>, device: &Device) -> Tensor<2> {
        let shape = [self.vocab, self.vocab];
        Tensor::from_data(TensorData::new(values, shape), (device, DType::F64))
    }

    /// As a head, the unit matrix makes logits of hidden states that are logits.
    fn unit(&self, device: &Device) -> Tensor<2> {
        let one = |i| f64::from(u8::from(i % (self.vocab + 1) == 0));
        self.matrix((0..self.vocab * self.vocab).map(one).collect(), device)
    }

    /// Mean loss of every sequence.
    fn losses(&self, batch: &Batch) -> Vec<f64> {
        let device = Device::flex();
        let theta = self.matrix(self.theta.clone(), &device);
        let hidden_nd = theta.select(0, whole(&batch.inputs, &device));
        let labels_n = whole(&batch.labels, &device);
        let nll_n = linear_nll(hidden_nd, self.unit(&device), None, labels_n, Products::Full);
        let nll: Vec<f64> = nll_n.into_data().iter::<f64>().collect();
        let rows = nll.chunks(batch.width).zip(batch.mask.chunks(batch.width));
        let mean = |(nll, mask)| {
            let (sum, tokens) = masked_sum(nll, mask);
            sum / tokens as f64
        };
        rows.map(mean).collect()
    }

    /// The gradient of a sequence's mean loss.
    fn gradient(&self, sequence: &[u32], width: usize, pad: u32) -> Vec<f64> {
        let batch = collate(&[sequence], width, pad).expect("a batch");
        let device = Device::flex();
        let tracked = device.clone().autodiff();
        let theta = self.matrix(self.theta.clone(), &tracked).require_grad();
        let tokens = batch.scored() as f64;
        let weights: Vec<f64> = batch.mask.iter().map(|mask| f64::from(*mask) / tokens).collect();
        let shape = [weights.len()];
        let loss = linear_cross_entropy(
            theta.clone().select(0, whole(&batch.inputs, &device)),
            self.unit(&tracked),
            None,
            whole(&batch.labels, &device),
            Tensor::from_data(TensorData::new(weights, shape), (&device, DType::F64)),
            Products::Full,
        )
        .loss;
        let gradient = theta.grad(&loss.backward()).expect("theta is trained");
        gradient.into_data().iter::<f64>().collect()
    }
}

fn whole(values: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

#[test]
fn baselines_agree_with_the_fixture() {
    let golden = Golden::open("pds_baselines");
    let root = golden.root();
    // The scaling law is read by the test of the component that fits it.
    root.prose(&["rules", "scaling_law"]);
    let model = Bigram::read(&root.get("theta"));
    let reference = Bigram::read(&root.get("theta_ref"));
    assert_eq!(model.vocab, root.get("vocab").read::<usize>());
    let (width, pad): (usize, u32) = (root.get("max_length").read(), root.get("pad_id").read());
    let corpus: Vec<Vec<u32>> = root.get("corpus").read();
    let target: Vec<Vec<u32>> = root.get("dev").read();
    assert_eq!((corpus.len(), target.len()), (16, 5));
    let expected = root.get("expected");
    let wanted = |name: &str| expected.get(name).read::<Vec<f64>>();

    let batch = collate(&corpus, width, pad).expect("a batch");
    let (losses, irreducible) = (model.losses(&batch), reference.losses(&batch));
    assert_close("losses", &losses, &wanted("instance_loss"), 1e-14);
    let rho = score_difference(&losses, &irreducible).expect("equal lengths");
    assert_close("reducible losses", &rho, &wanted("rho_loss"), 1e-13);

    let gradients = |sequences: &[Vec<u32>]| -> Vec<Vec<f64>> {
        let one = |sequence: &Vec<u32>| model.gradient(sequence, width, pad);
        sequences.iter().map(one).collect()
    };
    let of_target = gradients(&target);
    let mean = |at: usize| of_target.iter().map(|g| g[at]).sum::<f64>() / of_target.len() as f64;
    let direction: Vec<f64> = (0..of_target[0].len()).map(mean).collect();
    let of_corpus = gradients(&corpus);
    for (kind, name) in [
        (Similarity::Dot, "if_score_dot"),
        (Similarity::Cosine, "if_score_cosine"),
    ] {
        let scores: Vec<f64> = of_corpus
            .iter()
            .map(|gradient| similarity(kind, &direction, gradient))
            .collect();
        assert_close(name, &scores, &wanted(name), 1e-13);
    }

    // The fixture counts features as they are: so many buckets that each has its own, then only those that occur.
    let ngrams = NGrams {
        longest: 2,
        buckets: 1 << 31,
    };
    let bags = |sequences: &[Vec<u32>]| -> Vec<Vec<u32>> {
        let bag = |sequence: &Vec<u32>| {
            let mut buckets = Vec::new();
            ngrams.of_ids(sequence, &mut buckets);
            buckets
        };
        sequences.iter().map(bag).collect()
    };
    let (raw, wanted_bags) = (bags(&corpus), bags(&target));
    let mut features: BTreeMap<u32, [u64; 2]> = BTreeMap::new();
    for (side, bags) in [&wanted_bags, &raw].into_iter().enumerate() {
        for bucket in bags.iter().flatten() {
            features.entry(*bucket).or_default()[side] += 1;
        }
    }
    assert_eq!(features.len(), expected.get("dsir_feature_count").read::<usize>());
    let counts = |side: usize| features.values().map(|both| both[side]).collect::<Vec<u64>>();
    let ratios = log_ratios(&counts(0), &counts(1), 1.0);
    let ratio: BTreeMap<u32, f64> = features.keys().copied().zip(ratios).collect();
    let weights: Vec<f64> = raw.iter().map(|bag| bag.iter().map(|b| ratio[b]).sum()).collect();
    assert_close("importance", &weights, &wanted("dsir_log_weight"), 1e-14);
    golden.finish();
}

#[test]
fn scores_by_ngrams_agree_with_the_fixture() {
    let golden = Golden::open("ngram_scores");
    let root = golden.root();
    root.prose(&["about"]);
    let cases = root.get("ids").items();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let ngrams = NGrams {
            longest: case.get("longest").read(),
            buckets: case.get("buckets").read(),
        };
        let mut buckets = Vec::new();
        ngrams.of_ids(&case.get("ids").read::<Vec<u32>>(), &mut buckets);
        assert_eq!(buckets, case.get("expected").read::<Vec<u32>>());
    }

    let ngrams = NGrams {
        longest: root.get("longest").read(),
        buckets: root.get("buckets").read(),
    };
    let mut words = Vec::new();
    let mut bags = |name: &str| -> Vec<Vec<u32>> {
        let texts: Vec<String> = root.get(name).read();
        let bag = |text: &String| {
            let mut buckets = Vec::new();
            words.push(ngrams.of_text(text, &mut buckets));
            buckets
        };
        texts.iter().map(bag).collect()
    };
    let (target, raw) = (bags("target"), bags("raw"));
    assert_eq!((target.len(), raw.len()), (12, 36));
    assert_eq!(words[12..], root.get("words").read::<Vec<usize>>());
    assert_eq!(raw, root.get("raw_buckets").read::<Vec<Vec<u32>>>());

    let count = |bags: &[Vec<u32>]| {
        let mut counts = vec![0_u64; ngrams.buckets as usize];
        bags.iter().flatten().for_each(|&b| counts[b as usize] += 1);
        counts
    };
    let ratios = log_ratios(&count(&target), &count(&raw), root.get("smoothing").read());
    let sums: Vec<f64> = raw
        .iter()
        .map(|bag| bag.iter().map(|&b| ratios[b as usize]).sum())
        .collect();
    let means: Vec<f64> = sums
        .iter()
        .zip(&raw)
        .map(|(sum, bag)| sum / bag.len() as f64)
        .collect();
    let expected = |name: &str| root.get(name).read::<Vec<f64>>();
    assert_close("sums", &sums, &expected("log_weight_sum"), 1e-13);
    assert_close("means", &means, &expected("log_weight_mean"), 1e-13);

    let mut examples = Examples::default();
    for (bags, wanted) in [(&target, true), (&raw, false)] {
        for bag in bags {
            examples.push(&normalised(bag.clone()), wanted);
        }
    }
    let l2 = root.get("l2").read();
    let fitted = Logistic::fit(&examples, ngrams.buckets as usize, l2, 200, || Ok::<(), ()>(()));
    let fitted = fitted.expect("nothing stops it");
    assert!(fitted.converged, "{} passes", fitted.passes);
    let odds: Vec<f64> = raw
        .iter()
        .map(|bag| fitted.log_odds(&normalised(bag.clone())))
        .collect();
    assert_close("log-odds", &odds, &expected("log_odds"), 1e-6);
    assert_close("weights", &fitted.weights, &expected("weights"), 1e-6);
    assert!((fitted.bias - root.get("bias").read::<f64>()).abs() < 1e-6);
    golden.finish();
}
