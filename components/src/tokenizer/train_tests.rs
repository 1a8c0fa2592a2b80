//! Training tokenizers.

use super::{Encoder, Train, TrainParams};
use crate::artifact::TokenizerDetails;
use crate::corpus::Text;
use crate::testing::Bench;
use crate::{Artifact, Component, Result};
use serde_json::{Value, json};

/// A tokenizer trained on a few lines, with further parameters.
pub(crate) fn trained(bench: &Bench, step: &str, more: &Value) -> Result<Artifact> {
    let text = "The cat sat on the mat. Didn't the dog sit, too?\n  Tabs\tand spaces;  ünïcödé — 漢字 🙂.\n"
        .repeat(20);
    std::fs::write(bench.folder.path().join("a.txt"), text).expect("writes");
    bench.run::<Text>("text", json!({ "files": ["a.txt"], "split_on": "line" }))?;
    let mut params = json!({ "corpus": "@text" });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    bench.run::<Train>(step, params)
}

#[test]
fn equal_corpora_give_equal_bytes_and_every_text_comes_back() {
    let bench = Bench::new();
    let [first, second] =
        ["one", "two"].map(|step| trained(&bench, step, &json!({ "vocab_size": 300 })).expect("trains"));
    assert_eq!(first.header, second.header);
    let encoder = Encoder::open(&first).expect("opens");
    assert_eq!(encoder.details().vocab_size, 300);
    let tokenizer = crate::artifact::read_tokenizer(&first).expect("opens");
    for text in [
        "The cat sat.",
        " leading, and\n\n\ttabs ",
        "never seen: Ωμέγα 🦀",
        "",
    ] {
        let ids = encoder.encode(text).expect("encodes");
        assert_eq!(tokenizer.decode(&ids, false).expect("decodes"), text);
    }
    let cat = encoder.encode(" cat").expect("encodes");
    assert_eq!(cat.len(), 1, "a frequent word is one token");
    assert_eq!(encoder.texts()[cat[0] as usize], " cat");
}

#[test]
fn special_tokens_come_first_and_their_text_is_text_like_any_other() {
    let bench = Bench::new();
    let params = json!({ "vocab_size": 270, "special_tokens": ["<s>"], "eos_token": "</s>" });
    let artifact = trained(&bench, "bpe", &params).expect("trains");
    let details: TokenizerDetails = artifact.details().expect("a header");
    assert_eq!((details.eos_id, details.eos_token.as_str()), (0, "</s>"));
    let encoder = Encoder::open(&artifact).expect("opens");
    assert_eq!(encoder.id("<s>").expect("is there"), 1);
    let ids = encoder.encode("</s><s>").expect("encodes");
    assert!(ids.iter().all(|&id| id > 1), "{ids:?}");
}

#[test]
fn a_small_corpus_gives_a_smaller_vocabulary_and_says_so() {
    let bench = Bench::new();
    let artifact = trained(&bench, "bpe", &json!({ "vocab_size": 5000 })).expect("trains");
    let details: TokenizerDetails = artifact.details().expect("a header");
    assert!(details.vocab_size < 500, "{}", details.vocab_size);
    assert!(bench.notes()[0].contains("not 5000"), "{:?}", bench.notes());
}

#[test]
fn vocabularies_that_cannot_be_are_refused() {
    let codes = |params: Value| -> Vec<_> {
        let params: TrainParams = serde_json::from_value(params).expect("parameters fit");
        Train::check(&params).into_iter().map(|p| p.code).collect()
    };
    let small = json!({ "corpus": "@a", "vocab_size": 257, "special_tokens": ["<s>"] });
    assert_eq!(codes(small), ["vocabulary_too_small"]);
    let twice = json!({ "corpus": "@a", "vocab_size": 1000, "special_tokens": ["<|endoftext|>"] });
    assert_eq!(codes(twice), ["duplicate_token"]);
}
