//! Continuations and vectors against what transformers makes of the tiny checkpoints in float64, whatever is batched, padded
//! or shared.

use burn::tensor::{Device, Int, Tensor, TensorData};
use lyceum_components::Precision;
use lyceum_components::inference::{LanguageModel, Pair, PairScore, Pooling, embed, score_pairs};
use lyceum_tests::Golden;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// Every way to put tokens into positions.
const MODELS: [&str; 6] = ["gpt2", "llama2", "mistral", "bloom", "gpt_neox", "opt"];

struct Fixture {
    folder: PathBuf,
    ids: Vec<Vec<u32>>,
    file: Vec<u8>,
}

impl Fixture {
    fn open(name: &str) -> Self {
        let folder = Golden::folder().join("models").join(name);
        let text = fs::read(folder.join("expected.json")).expect("expectations");
        let expected: Value = serde_json::from_slice(&text).expect("JSON");
        Self {
            ids: serde_json::from_value(expected["ids"].clone()).expect("ids"),
            file: fs::read(folder.join("expected.safetensors")).expect("expectations"),
            folder,
        }
    }

    fn model(&self) -> LanguageModel {
        LanguageModel::open_folder(&self.folder, &Device::flex(), Precision::F32).expect("opens")
    }

    /// The rows of an expected matrix of doubles.
    fn rows(&self, name: &str) -> Vec<Vec<f64>> {
        let (length, rest) = self.file.split_at(8);
        let length = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
        let header: Value = serde_json::from_slice(&rest[..length]).expect("JSON");
        let tensor = &header[name];
        assert_eq!(tensor["dtype"], "F64", "{name}");
        let at = |i: usize| tensor["data_offsets"][i].as_u64().expect("an offset") as usize;
        let bytes = &rest[length..][at(0)..at(1)];
        let width = tensor["shape"][1].as_u64().expect("a width") as usize;
        let numbers: Vec<f64> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| f64::from_le_bytes(b))
            .collect();
        numbers.chunks(width).map(<[f64]>::to_vec).collect()
    }
}

fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = logits.iter().map(|x| (x - most).exp()).sum();
    logits.iter().map(|x| x - most - sum.ln()).collect()
}

fn score(model: &LanguageModel, pairs: &[Pair], batch_size: usize) -> Vec<PairScore> {
    let mut told = 0;
    let scores = score_pairs(model, pairs, batch_size, &Device::flex(), &mut |pairs| {
        told += pairs;
        Ok(())
    });
    assert_eq!(told, pairs.len() as u64);
    scores.expect("scores")
}

fn assert_near(ours: &[PairScore], theirs: &[PairScore], most: f64) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.token_logprobs.len(), theirs.token_logprobs.len());
        for (a, b) in ours.token_logprobs.iter().zip(&theirs.token_logprobs) {
            assert!((a - b).abs() <= most, "{a} {b}");
        }
        assert_eq!(ours.greedy, theirs.greedy);
    }
}

#[test]
fn continuations_cost_what_transformers_says() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let logits = fixture.rows("logits");
        let (mut pairs, mut expected) = (Vec::new(), Vec::new());
        let mut start = 0;
        for ids in &fixture.ids {
            for cut in 1..ids.len() {
                let (prefix, continuation) = ids.split_at(cut);
                let judge = |(place, &id): (usize, &u32)| {
                    let log_p = log_softmax(&logits[start + cut + place - 1]);
                    let best = log_p.iter().copied().fold(f64::MIN, f64::max);
                    (log_p[id as usize], log_p[id as usize] == best)
                };
                let judged: Vec<(f64, bool)> = continuation.iter().enumerate().map(judge).collect();
                pairs.push(Pair {
                    prefix: prefix.to_vec(),
                    continuation: continuation.to_vec(),
                });
                expected.push(PairScore {
                    token_logprobs: judged.iter().map(|(logprob, _)| *logprob).collect(),
                    greedy: judged.iter().all(|(_, greedy)| *greedy),
                });
            }
            start += ids.len();
        }
        assert_near(&score(&fixture.model(), &pairs, 4), &expected, 1e-4);
    }
}

/// Four continuations of each of some prefixes, the prefixes and continuations of several lengths.
fn choices(context: usize) -> Vec<Pair> {
    let id = |i: usize| (i * 7919 % 290) as u32;
    let text = |from: usize, length: usize| (from..from + length).map(id).collect::<Vec<u32>>();
    let prefixes = [3, 17, 1, 30, context - 2, context + 9, 8];
    let choice = |(number, &length): (usize, &usize)| {
        (1..=4).map(move |choice| Pair {
            prefix: text(100 * number, length),
            continuation: text(40 * number + choice, choice * choice % 7 + 1),
        })
    };
    prefixes.iter().enumerate().flat_map(choice).collect()
}

#[test]
fn a_shared_prefix_and_the_batch_change_nothing() {
    for name in MODELS {
        let model = Fixture::open(name).model();
        let pairs = choices(model.context());
        // One at a time nothing is shared.
        let alone: Vec<PairScore> = pairs
            .iter()
            .flat_map(|pair| score(&model, std::slice::from_ref(pair), 1))
            .collect();
        for batch_size in [1, 3, 16] {
            assert_near(&score(&model, &pairs, batch_size), &alone, 1e-5);
        }
    }
}

#[test]
fn what_is_too_long_is_cut_from_the_left_or_refused() {
    let model = Fixture::open("gpt2").model();
    let context = model.context();
    let ids: Vec<u32> = (0..context as u32 + 20).map(|i| i * 31 % 290).collect();
    let pair = |from: usize, cut: usize| Pair {
        prefix: ids[from..cut].to_vec(),
        continuation: ids[cut..].to_vec(),
    };
    let cut = ids.len() - 5;
    let whole = score(&model, &[pair(0, cut)], 1);
    assert_near(&whole, &score(&model, &[pair(19, cut)], 1), 0.0);
    assert!(whole[0].token_logprobs != score(&model, &[pair(21, cut)], 1)[0].token_logprobs);
    let error = score_pairs(&model, &[pair(0, 10)], 1, &Device::flex(), &mut |_| Ok(()));
    assert_eq!(error.expect_err("too long").code(), "continuation_too_long");
    let none = Pair {
        prefix: ids[..4].to_vec(),
        continuation: Vec::new(),
    };
    assert!(score(&model, &[none], 1)[0].token_logprobs.is_empty());
}

#[test]
fn padding_on_the_left_changes_no_hidden_state() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let decoder = &fixture.model().loaded.decoder;
        let width = fixture.ids.iter().map(Vec::len).max().expect("texts") + 2;
        let first: Vec<usize> = fixture.ids.iter().map(|ids| width - ids.len()).collect();
        let padded = |left: bool| {
            let mut all = vec![0_i64; fixture.ids.len() * width];
            for (row, ids) in fixture.ids.iter().enumerate() {
                let from = row * width + if left { first[row] } else { 0 };
                for (place, &id) in ids.iter().enumerate() {
                    all[from + place] = i64::from(id);
                }
            }
            Tensor::<2, Int>::from_data(TensorData::new(all, [fixture.ids.len(), width]), &Device::flex())
        };
        let left_btd = decoder.hidden_padded(padded(true), &first);
        let right_btd = decoder.hidden(padded(false));
        for (row, ids) in fixture.ids.iter().enumerate() {
            let of = |hidden_btd: &Tensor<3>, from: usize| {
                let hidden_nd = hidden_btd.clone().narrow(0, row, 1).narrow(1, from, ids.len());
                let [_, t, d] = hidden_nd.dims();
                let logits = decoder.logits(hidden_nd.reshape([t, d])).into_data();
                let logits = logits.try_into_vec::<f32>().expect("floats");
                logits.into_iter().map(f64::from).collect::<Vec<_>>()
            };
            let (left, right) = (of(&left_btd, first[row]), of(&right_btd, 0));
            let rows = left.len() / ids.len();
            for (left, right) in left.chunks(rows).zip(right.chunks(rows)) {
                for (a, b) in log_softmax(left).iter().zip(log_softmax(right)) {
                    assert!((a - b).abs() <= 1e-5, "{name}: {a} {b}");
                }
            }
        }
    }
}

#[test]
fn vectors_are_those_of_transformers() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let model = fixture.model();
        for (pooling, expected) in [(Pooling::Mean, "mean"), (Pooling::Last, "last")] {
            let expected = fixture.rows(expected);
            let texts: Vec<&[u32]> = fixture.ids.iter().map(Vec::as_slice).collect();
            let ours = embed(&model.loaded.decoder, &texts, pooling, &Device::flex());
            assert_eq!(ours.len(), expected.len());
            for (ours, theirs) in ours.iter().zip(&expected) {
                for (a, b) in ours.iter().zip(theirs) {
                    assert!((f64::from(*a) - b).abs() < 1e-4, "{name} {pooling:?}: {a} {b}");
                }
            }
        }
    }
}
