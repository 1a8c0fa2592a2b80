//! Caches of a small teacher over a few blocks: what is in them, in whatever pieces they were made, and what is refused.

use super::work::predicted;
use super::{CachedTeacher, Tail, TeacherCache, cache_problems};
use crate::artifact::{self, CacheType, Segment, TokensDetails, TokensWriter};
use crate::component::{Component, Size, Sizes};
use crate::model::{self, Decoder, ModelDetails, ModelSpec, Stopped, load};
use crate::random::Stream;
use crate::testing::{Bench, BlockOf};
use crate::tokens::{Block, Blocks, collate};
use crate::{Artifact, Error, Kind, Shard};
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use lyceum_kernels::{Divergence, Projection, Teacher, linear_divergence};
use serde_json::{Value, json};
use std::path::Path;

/// Blocks over the documents 0 to 4, each ended by 0.
const BLOCKS: [BlockOf<'static>; 5] = [
    (&[3, 4, 5, 6, 7, 8, 0], &[(0, 7)]),
    (&[3, 4, 0], &[(1, 3)]),
    (&[2, 0, 5, 6, 0, 1, 9], &[(3, 2), (4, 3), (2, 2)]),
    (&[4, 4, 11, 0], &[(2, 4)]),
    (&[9, 8, 7, 6, 5, 4, 3], &[(4, 7)]),
];

/// A bench with `tokens` and a `teacher` that reads them.
fn bench() -> Bench {
    let bench = Bench::new();
    let corpus = bench.corpus("corpus", "kind", &["a", "b", "c", "d", "e"]);
    let tokens = bench.tokens("tokens", &corpus, &BLOCKS);
    teacher(&bench, &tokens);
    bench
}

fn teacher(bench: &Bench, tokens: &Artifact) {
    let spec = json!({
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        "initializer_range": 0.8,
    });
    let spec: ModelSpec = serde_json::from_value(spec).expect("a model");
    let (config, context) = (spec.config(20), bench.context("teacher"));
    let decoder = Decoder::init(
        &config,
        context.precision,
        &Stream::new(7, "teacher"),
        &context.device,
    );
    let details = ModelDetails {
        parameters: config.parameters() as u64,
        vocab_size: config.vocab_size,
        context: config.max_position_embeddings,
        tokenizer: "a tokenizer".to_owned(),
        tokens_trained: 0,
        flops: 0.0,
        steps: 0,
        data: Some(tokens.as_source()),
        stopped: Some(Stopped::Budget),
        charged: std::collections::BTreeMap::new(),
    };
    let folder = bench.at("teacher");
    model::save(&folder, &decoder, &config, &details, &bench.at("tokens")).expect("writes");
    bench.publish("teacher");
}

fn params(more: Value) -> Value {
    let mut params = json!({ "data": "@tokens", "teacher": "@teacher", "k": 5, "batch_size": 1 });
    let more = more.as_object().expect("a table").clone();
    params.as_object_mut().expect("a table").extend(more);
    params
}

fn blocks(bench: &Bench) -> Blocks {
    Blocks::open(&bench.publish("tokens"), &bench.context("reader")).expect("opens")
}

/// Log-probabilities of the teacher after every input of a block, row-major `[positions, 20]`.
fn asked(bench: &Bench, block: &Block, temperature: f64) -> Vec<f64> {
    let context = bench.context("reader");
    let loaded = load(&bench.publish("teacher"), &context.device, context.precision).expect("loads");
    let batch = collate(&[block], 16, 0).expect("collates");
    let inputs = TensorData::new(batch.inputs, [1, batch.width]);
    let hidden_btd = loaded
        .decoder
        .hidden(Tensor::<2, Int>::from_data(inputs, &context.device));
    let d = hidden_btd.dims()[2];
    let logits = loaded.decoder.logits(hidden_btd.reshape([batch.width, d]));
    let log_p = log_softmax(logits.cast(DType::F64) / temperature, 1);
    log_p.into_data().iter::<f64>().collect()
}

#[test]
fn every_predicted_place_has_the_teachers_likeliest_tokens() {
    for (log_probs, off) in [("f16", 0.004), ("f32", 1e-5)] {
        let bench = bench();
        let with = params(json!({ "temperature": 2.0, "log_probs": log_probs, "batch_size": 2 }));
        let cache = bench.run::<TeacherCache>("cache", with).expect("runs");
        assert_eq!(cache.header.kind, Kind::TeacherCache);
        let (cache, blocks) = (
            artifact::TeacherCache::open(&cache).expect("opens"),
            blocks(&bench),
        );
        let mut rows = 0;
        for at in 0..blocks.len() {
            let block = blocks.get(at);
            let log_p = asked(&bench, &block, 2.0);
            for position in predicted(&block, 0) {
                let expected = &log_p[position * 20..(position + 1) * 20];
                let found = cache.row(block.index, position as u64).expect("cached");
                let mut order: Vec<u32> = (0..20).collect();
                order.sort_by(|a, b| expected[*b as usize].total_cmp(&expected[*a as usize]));
                assert_eq!(found.ids, order[..5]);
                let tail: f64 = order[5..].iter().map(|id| expected[*id as usize].exp()).sum();
                assert!((f64::from(found.log_tail).exp() - tail).abs() < 1e-5);
                for (id, log_p) in found.ids.iter().zip(&found.log_p) {
                    assert!((f64::from(*log_p) - expected[*id as usize]).abs() < off);
                }
                rows += 1;
            }
        }
        assert_eq!(cache.details().rows, rows);
        assert_eq!(
            cache.details().record_bytes(),
            if log_probs == "f16" { 24 } else { 34 }
        );
        assert_eq!(bench.cost().0, 23);
    }
}

#[test]
fn with_all_tokens_kept_the_divergence_is_that_of_the_teacher() {
    let bench = bench();
    let cache = bench
        .run::<TeacherCache>("cache", params(json!({ "k": 64, "log_probs": "f32" })))
        .expect("runs");
    let blocks = blocks(&bench);
    let (block, device) = (blocks.get(4), Device::flex());
    let values: Vec<f64> = (0..120).map(|i| f64::from(i * 37 % 23) / 7.0).collect();
    let student = Projection {
        hidden_nd: Tensor::from_data(TensorData::new(values, [6, 20]), (&device, DType::F64)),
        head_vd: identity(),
        bias_v: None,
    };
    let weights = || Tensor::<1>::ones([6], (&device, DType::F64));
    let value = |teacher: Teacher, divergence| {
        let found = linear_divergence(student.clone(), teacher, divergence, 1.0, weights());
        found.value_n.into_data().iter::<f64>().collect::<Vec<_>>()
    };
    let places: Vec<Option<(u64, u64)>> = (0..6).map(|t| (t > 0).then_some((4, t))).collect();
    for divergence in [Divergence::ForwardKl, Divergence::ReverseKl] {
        let cached = CachedTeacher::open(&cache, &blocks, 1.0, Tail::Bucket).expect("fits");
        let cached = value(
            cached.teacher(&places, &device, DType::F64).expect("reads"),
            divergence,
        );
        let dense = Teacher::Dense(Projection {
            hidden_nd: Tensor::from_data(
                TensorData::new(asked(&bench, &block, 1.0), [6, 20]),
                (&device, DType::F64),
            ),
            head_vd: identity(),
            bias_v: None,
        });
        for (t, (cached, dense)) in cached.iter().zip(value(dense, divergence)).enumerate() {
            // The first place was not asked for: nothing but a number is promised.
            assert!(
                cached.is_finite() && (t == 0 || (cached - dense).abs() < 1e-5),
                "{cached} {dense}"
            );
        }
    }
}

fn identity() -> Tensor<2> {
    let values: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i % 21 == 0))).collect();
    Tensor::from_data(TensorData::new(values, [20, 20]), (&Device::flex(), DType::F64))
}

/// Runs the component in pieces and puts them together.
fn in_shards(bench: &Bench, count: u64) -> std::path::PathBuf {
    let parts: Vec<_> = (0..count)
        .map(|index| {
            let mut context = bench.context(&format!("part-{count}-{index}"));
            context.shard = Shard { index, count };
            bench
                .run_with::<TeacherCache>(&context, params(json!({})))
                .expect("runs");
            context.output
        })
        .collect();
    let context = bench.context(&format!("merged-{count}"));
    let params = serde_json::from_value(params(json!({}))).expect("fits");
    TeacherCache::merge(params, &parts, &context).expect("merges");
    context.output
}

fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    let read = |name| std::fs::read(folder.join(name)).expect("reads");
    ["entries.bin", "index.arrow", "artifact.json"].map(read).to_vec()
}

/// A bench whose blocks make several chunks of the work.
fn long_bench() -> Bench {
    let bench = Bench::new();
    let corpus = bench.corpus("corpus", "kind", &["a", "b", "c", "d", "e"]);
    let many: Vec<BlockOf> = BLOCKS.iter().copied().cycle().take(21).collect();
    let tokens = bench.tokens("tokens", &corpus, &many);
    teacher(&bench, &tokens);
    bench
}

#[test]
fn shards_put_together_are_the_whole_byte_for_byte() {
    let bench = long_bench();
    let whole = bench
        .run::<TeacherCache>("whole", params(json!({})))
        .expect("runs");
    for count in [1, 2, 3, 5] {
        assert!(
            bytes(&in_shards(&bench, count)) == bytes(&whole.path),
            "{count} shards"
        );
    }
}

#[test]
fn a_stopped_run_goes_on_and_ends_with_the_same_bytes() {
    let bench = long_bench();
    let whole = bench
        .run::<TeacherCache>("whole", params(json!({})))
        .expect("runs");
    let context = bench.context("stopped");
    context.cancel.cancel();
    let stopped = bench
        .run_with::<TeacherCache>(&context, params(json!({})))
        .expect_err("stops");
    assert!(matches!(stopped, Error::Interrupted));
    // What an earlier run left is taken as it is: a wrong chunk shows up in the result.
    let context = bench.context("again");
    let chunk = std::fs::read(bench.at("scratch/whole").join("entries-00000001")).expect("a chunk");
    std::fs::write(context.scratch.join("entries-00000001"), vec![7; chunk.len()]).expect("writes");
    bench
        .run_with::<TeacherCache>(&context, params(json!({})))
        .expect("goes on");
    assert!(bytes(&context.output)[0] != bytes(&whole.path)[0]);
    std::fs::write(context.scratch.join("entries-00000001"), chunk).expect("writes");
    bench
        .run_with::<TeacherCache>(&context, params(json!({})))
        .expect("goes on");
    assert!(bytes(&context.output) == bytes(&whole.path));
}

#[test]
fn of_instruction_pairs_only_responses_are_cached() {
    let bench = bench();
    let details: TokensDetails = bench.publish("tokens").details().expect("a header");
    let mut writer = TokensWriter::create_pairs(&bench.at("pairs"), 20).expect("creates");
    let segment = |tokens| [Segment { document: 0, tokens }];
    writer
        .push_pair(&[3, 4, 5, 6, 0], 3, &segment(5))
        .expect("writes");
    writer.push_pair(&[7, 0, 0], 1, &segment(3)).expect("writes");
    let details = TokensDetails {
        blocks: 2,
        tokens: 8,
        template: Some("a template".to_owned()),
        ..details
    };
    writer.finish(b"{}", &details).expect("writes");
    let pairs = bench.publish("pairs");
    let cache = bench
        .run::<TeacherCache>("cache", params(json!({ "data": "@pairs" })))
        .expect("runs");
    let blocks = Blocks::open(&pairs, &bench.context("reader")).expect("opens");
    let opened = CachedTeacher::open(&cache, &blocks, 1.0, Tail::Bucket).expect("fits");
    assert_eq!(opened.cache().details().rows, 4);
    for (block, position, there) in [
        (0, 1, false),
        (0, 2, true),
        (0, 3, true),
        (1, 0, true),
        (1, 1, true),
    ] {
        assert_eq!(
            opened.cache().row(block, position).is_ok(),
            there,
            "{block} {position}"
        );
    }

    let plain = Blocks::open(&bench.publish("tokens"), &bench.context("reader")).expect("opens");
    let error = CachedTeacher::open(&cache, &plain, 1.0, Tail::Bucket).expect_err("another template");
    assert_eq!(error.code(), "cache_fingerprint");
    assert!(error.to_string().contains("template"), "{error}");
}

#[test]
fn a_cache_that_does_not_fit_is_refused() {
    let bench = bench();
    let cache = bench
        .run::<TeacherCache>("cache", params(json!({})))
        .expect("runs");
    let refused = |cache: &Artifact, blocks: &Blocks, temperature, what: &str| {
        let error = CachedTeacher::open(cache, blocks, temperature, Tail::Bucket).expect_err(what);
        assert!(error.to_string().contains(what), "{error}");
        error.code()
    };
    let these = blocks(&bench);
    assert_eq!(
        refused(&cache, &these, 2.0, "temperature 1, not 2"),
        "cache_fingerprint"
    );
    let mut other = cache.clone();
    other.header.details["tokenizer"] = "another".into();
    assert_eq!(refused(&other, &these, 1.0, "tokenizer"), "tokenizer_mismatch");
    let corpus = bench.publish("corpus");
    bench.tokens("others", &corpus, &BLOCKS[1..]);
    let others = Blocks::open(&bench.publish("others"), &bench.context("reader")).expect("opens");
    assert_eq!(refused(&cache, &others, 1.0, "other tokens"), "cache_fingerprint");
}

#[test]
fn what_a_cache_cannot_do_is_told_beforehand() {
    let codes = |tail, divergence, fixed| -> Vec<&str> {
        let problems = cache_problems("objective.0", tail, divergence, fixed);
        problems.iter().map(|problem| problem.code).collect()
    };
    let jsd = ("jsd", Divergence::JensenShannon { beta: 0.5 });
    let forward = ("forward_kl", Divergence::ForwardKl);
    assert_eq!(codes(Tail::Renormalise, jsd, true), ["sparse_divergence"]);
    assert!(codes(Tail::Bucket, jsd, true).is_empty());
    assert!(codes(Tail::Renormalise, forward, true).is_empty());
    assert_eq!(codes(Tail::Bucket, forward, false), ["cache_needs_fixed_text"]);
}

#[test]
fn the_plan_tells_the_size_that_the_cache_has() {
    let bench = bench();
    let cache = bench
        .run::<TeacherCache>("cache", params(json!({})))
        .expect("runs");
    let size = |tokens, vocab_size, flops_per_token| Size {
        tokens,
        vocab_size,
        flops_per_token,
        ..Size::default()
    };
    let rows = artifact::TeacherCache::open(&cache)
        .expect("opens")
        .details()
        .rows as f64;
    let sizes = [
        ("@tokens".to_owned(), size(rows, 0.0, 0.0)),
        ("@teacher".to_owned(), size(0.0, 20.0, 3.0)),
    ];
    let with: super::CacheParams = serde_json::from_value(params(json!({}))).expect("fits");
    assert_eq!(with.log_probs, CacheType::F16);
    let estimate = TeacherCache::estimate(
        &with,
        &Sizes {
            sizes: sizes.into(),
            ..Sizes::default()
        },
    );
    let bytes = std::fs::metadata(cache.path.join("entries.bin"))
        .expect("there")
        .len();
    assert_eq!(estimate.outputs[""].bytes, bytes as f64);
    assert_eq!(estimate.flops, 3.0 * rows);
}
