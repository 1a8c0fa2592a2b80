//! From files to blocks and back.

use super::{Blocks, Pack};
use crate::artifact::{Item, Order, Selection, SelectionDetails, TokensDetails};
use crate::corpus::Jsonl;
use crate::testing::Bench;
use crate::tokenizer::{Encoder, Train};
use crate::{Artifact, Kind};
use serde_json::{Value, json};
use std::fmt::Write;

/// A bench with the corpus `pool` of forty documents in two domains, and the tokenizer `bpe`.
fn bench() -> Bench {
    let bench = Bench::new();
    let mut lines = String::new();
    for i in 0..40 {
        let domain = if i % 3 == 0 { "verse" } else { "prose" };
        let text = "The cat sat. The dog ran! ".repeat(1 + i % 5);
        let document = json!({ "id": format!("d{i}"), "text": format!("{i}: {text}"), "domain": domain });
        writeln!(lines, "{document}").expect("a string takes all");
    }
    std::fs::write(bench.folder.path().join("pool.jsonl"), lines).expect("writes");
    let pool = json!({ "files": ["pool.jsonl"], "keep_columns": ["domain"] });
    bench.run::<Jsonl>("pool", pool).expect("reads");
    let bpe = json!({ "corpus": "@pool", "vocab_size": 300 });
    bench.run::<Train>("bpe", bpe).expect("trains");
    bench
}

fn pack(bench: &Bench, step: &str, more: &Value) -> Artifact {
    bench.run::<Pack>(step, params(more)).expect("packs")
}

fn params(more: &Value) -> Value {
    let mut params = json!({ "tokenizer": "@bpe", "corpus": "@pool", "context": 16 });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    params
}

fn open(bench: &Bench, artifact: &Artifact) -> Blocks {
    Blocks::open(artifact, &bench.context("reading")).expect("opens")
}

fn select(bench: &Bench, step: &str, of: &Artifact, item: Item, chosen: &[(u64, f32)]) -> Artifact {
    let selection = Selection {
        details: SelectionDetails {
            item,
            kept: chosen.len() as u64,
            of: 0,
            threshold: Some(0.0),
            negative: 0.0,
            scores: of.as_source(),
            column: "score".to_owned(),
            order: Order::Highest,
        },
        index: chosen.iter().map(|(index, _)| *index).collect(),
        weight: chosen.iter().map(|(_, weight)| *weight).collect(),
    };
    selection.write(&bench.at(step), of.as_source()).expect("writes");
    bench.publish(step)
}

#[test]
fn blocks_of_documents_decode_to_the_documents() {
    let bench = bench();
    let artifact = pack(&bench, "tokens", &json!({ "boundary": "document" }));
    let blocks = open(&bench, &artifact);
    let details = blocks.details();
    assert_eq!((details.documents, details.context), (40, 16));
    assert_eq!(details.tokens + details.dropped_tokens, bench.cost().0);
    let encoder = Encoder::open(&bench.publish("bpe")).expect("opens");
    assert_eq!(details.tokenizer, encoder.fingerprint());

    let mut texts = vec![Vec::new(); 40];
    let mut tokens = 0;
    for position in 0..blocks.len() {
        let block = blocks.get(position);
        assert!((2..=17).contains(&block.ids.len()));
        assert_eq!((block.index, block.weight), (position, 1.0));
        let segments = blocks.segments(block.index);
        assert_eq!(segments.len(), 1, "a block of one document");
        assert_eq!(segments[0].tokens as usize, block.ids.len());
        tokens += block.ids.len() as u64;
        texts[segments[0].document as usize].extend(block.ids);
    }
    assert_eq!(tokens, details.tokens);
    let expected =
        encoder.encode("7: The cat sat. The dog ran! The cat sat. The dog ran! The cat sat. The dog ran! ");
    let mut expected = expected.expect("encodes");
    expected.push(details.eos_id);
    assert_eq!(texts[7], expected);
}

#[test]
fn every_boundary_writes_equal_bytes_twice_and_accounts_for_every_token() {
    let bench = bench();
    for boundary in ["concat", "sentence", "document"] {
        let options = json!({ "boundary": boundary, "group_by": "domain" });
        let before = bench.cost().0;
        let [first, second] =
            ["one", "two"].map(|step| pack(&bench, &format!("{boundary}-{step}"), &options));
        assert_eq!(first.header, second.header);
        let details: TokensDetails = first.details().expect("a header");
        assert_eq!(
            2 * (details.tokens + details.dropped_tokens),
            bench.cost().0 - before
        );
        let blocks = open(&bench, &first);
        for position in 0..blocks.len() {
            let verse = |document: u64| document.is_multiple_of(3);
            let segments = blocks.segments(position);
            let same = segments
                .iter()
                .all(|s| verse(s.document) == verse(segments[0].document));
            assert!(same, "no block mixes domains");
            if boundary == "concat" {
                assert_eq!(blocks.get(position).ids.len(), 17);
            }
        }
    }
}

#[test]
fn a_split_deals_every_document_to_one_output() {
    let bench = bench();
    let split = json!({ "split": { "train": 0.8, "valid": 0.2 }, "boundary": "document" });
    bench
        .run_with::<Pack>(&bench.context("tokens"), params(&split))
        .expect("packs");
    let mut seen = std::collections::BTreeSet::new();
    for (name, count) in [("train", 32), ("valid", 8)] {
        let blocks = open(&bench, &bench.publish(&format!("tokens/{name}")));
        let documents: std::collections::BTreeSet<u64> = (0..blocks.len())
            .flat_map(|block| blocks.segments(block))
            .map(|segment| segment.document)
            .collect();
        assert_eq!(documents.len(), count);
        assert_eq!(blocks.details().documents, count as u64);
        for document in documents {
            assert!(seen.insert(document), "document {document} is in both");
        }
    }
}

#[test]
fn a_block_begins_with_bos_if_one_is_named() {
    let bench = bench();
    let artifact = pack(
        &bench,
        "tokens",
        &json!({ "bos_token": "<|endoftext|>", "boundary": "concat" }),
    );
    let blocks = open(&bench, &artifact);
    assert_eq!(blocks.details().bos_id, Some(0));
    for position in 0..blocks.len() {
        let ids = blocks.get(position).ids;
        assert_eq!((ids.len(), ids[0]), (17, 0));
        let own: u32 = blocks.segments(position).iter().map(|s| s.tokens).sum();
        assert_eq!(own, 16, "bos belongs to no document");
    }
}

#[test]
fn selections_of_blocks_compose() {
    let bench = bench();
    let tokens = pack(&bench, "tokens", &json!({}));
    let inner = select(
        &bench,
        "inner",
        &tokens,
        Item::Block,
        &[(1, 0.5), (3, 2.0), (4, 1.0)],
    );
    let outer = select(&bench, "outer", &inner, Item::Block, &[(4, 0.25), (3, 1.0)]);
    let blocks = open(&bench, &outer);
    let all = open(&bench, &tokens);
    let seen: Vec<_> = (0..blocks.len())
        .map(|at| blocks.get(at))
        .map(|b| (b.index, b.weight))
        .collect();
    assert_eq!(seen, [(4, 0.25), (3, 2.0)]);
    assert_eq!(blocks.get(0).ids, all.get(4).ids);
    assert_eq!(blocks.source().location, "tokens");
}

#[test]
fn document_weights_are_averaged_by_tokens() {
    let bench = bench();
    let tokens = pack(&bench, "tokens", &json!({ "boundary": "concat" }));
    let chosen = select(&bench, "chosen", &tokens, Item::Document, &[(0, 1.0), (1, 0.5)]);
    let (blocks, all) = (open(&bench, &chosen), open(&bench, &tokens));
    let mut expected = Vec::new();
    for index in 0..all.len() {
        let weight = |s: &crate::artifact::Segment| match s.document {
            0 => f64::from(s.tokens),
            1 => 0.5 * f64::from(s.tokens),
            _ => 0.0,
        };
        let mean = all.segments(index).iter().map(weight).sum::<f64>() / 17.0;
        if mean > 0.0 {
            expected.push((index, mean as f32));
        }
    }
    let seen: Vec<_> = (0..blocks.len())
        .map(|at| blocks.get(at))
        .map(|b| (b.index, b.weight))
        .collect();
    assert_eq!(seen, expected);
    assert!(expected.iter().any(|(_, weight)| *weight > 0.0 && *weight < 1.0));
}

#[test]
fn what_cannot_be_packed_or_opened_is_named() {
    let bench = bench();
    let fail = |more: Value| bench.run::<Pack>("bad", params(&more)).expect_err("a mistake");
    assert_eq!(
        fail(json!({ "context": 100_000, "boundary": "concat" })).code(),
        "no_blocks"
    );
    assert_eq!(fail(json!({ "bos_token": "<bos>" })).code(), "unknown_token");
    let error = fail(json!({ "group_by": "colour" }));
    assert_eq!(error.code(), "missing_column");
    let pool = bench.publish("pool");
    select(&bench, "some", &pool, Item::Document, &[(0, 0.5)]);
    assert_eq!(fail(json!({ "corpus": "@some" })).code(), "weighted_selection");
    select(&bench, "far", &pool, Item::Document, &[(40, 1.0)]);
    assert_eq!(fail(json!({ "corpus": "@far" })).code(), "index_out_of_range");

    let context = bench.context("reading");
    let wrong = Blocks::open(&bench.publish("some"), &context).expect_err("documents");
    assert_eq!(wrong.code(), "wrong_kind");
    let tokens = pack(&bench, "tokens", &json!({}));
    let far = select(&bench, "far_blocks", &tokens, Item::Block, &[(9999, 1.0)]);
    assert_eq!(
        Blocks::open(&far, &context).expect_err("outside").code(),
        "index_out_of_range"
    );
    let mut other = tokens.clone();
    other.header.fingerprint = "another".to_owned();
    let stale = select(&bench, "stale", &other, Item::Block, &[(0, 1.0)]);
    assert_eq!(
        Blocks::open(&stale, &context).expect_err("stale").code(),
        "fingerprint_mismatch"
    );
    std::fs::write(tokens.path.join("tokens.bin"), [0; 3]).expect("writes");
    assert_eq!(
        Blocks::open(&tokens, &context).expect_err("cut").code(),
        "bad_artifact"
    );
}

#[test]
fn a_selection_of_documents_is_packed_in_its_order() {
    let bench = bench();
    let pool = bench.publish("pool");
    let some = select(&bench, "some", &pool, Item::Document, &[(2, 1.0), (9, 1.0)]);
    assert_eq!(some.header.kind, Kind::Selection);
    let tokens = pack(
        &bench,
        "tokens",
        &json!({ "corpus": "@some", "boundary": "document" }),
    );
    let blocks = open(&bench, &tokens);
    let mut documents: Vec<_> = (0..blocks.len())
        .map(|b| blocks.segments(b)[0].document)
        .collect();
    documents.dedup();
    assert_eq!(documents, [2, 9]);
    assert_eq!(blocks.details().corpus, Some(pool.as_source()));
}
