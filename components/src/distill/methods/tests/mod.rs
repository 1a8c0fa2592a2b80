//! The distillers, on two small models and a few pairs.

mod around;
mod drawn;
mod given;

use crate::artifact::{Boundary, Segment, TokenType, TokensDetails, TokensWriter};
use crate::inference::tests::bench as models;
use crate::model::load;
use crate::testing::Bench;
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
