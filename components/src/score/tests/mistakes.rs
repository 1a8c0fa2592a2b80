//! What is refused or passed over, and what is told beforehand.

use super::*;

#[test]
fn mistakes_have_their_codes() {
    let bench = bench();
    let score = |data: &str, model: &str| {
        let params = json!({ "data": data, "model": model });
        bench.run::<Logprobs>("bad", params).expect_err("a mistake")
    };
    model(&bench, "small", &config(19, 16), |_| ());
    assert_eq!(score("@tokens", "@small").code(), "vocab_mismatch");
    model(&bench, "short", &config(20, 5), |_| ());
    assert_eq!(score("@tokens", "@short").code(), "context_too_long");
    model(&bench, "foreign", &config(20, 16), |details| {
        details.tokenizer = "another".to_owned();
    });
    assert_eq!(score("@tokens", "@foreign").code(), "tokenizer_mismatch");

    let corpus = bench.publish("pool");
    bench.tokens("ends", &corpus, &[BLOCKS[0], (&[0, 0, 5], &[(1, 3)])]);
    let error = score("@ends", "@teacher");
    assert_eq!(error.code(), "empty_loss_mask");
    assert!(error.to_string().contains("block 1"), "{error}");
    bench.tokens("single", &corpus, &[BLOCKS[0], (&[7], &[(1, 1)])]);
    let error = score("@single", "@teacher");
    assert_eq!(error.code(), "too_short");
    assert!(error.to_string().contains("block 1"), "{error}");
    bench.tokens("nothing", &corpus, &[]);
    assert_eq!(score("@nothing", "@teacher").code(), "empty_input");

    let diverged = ModelConfig {
        initializer_range: 1e38,
        ..config(20, 16)
    };
    model(&bench, "diverged", &diverged, |_| ());
    let error = score("@tokens", "@diverged");
    assert_eq!(error.code(), "non_finite_score");
    assert!(error.to_string().contains("block"), "{error}");
    assert!(!bench.at("bad").join("artifact.json").exists());
}

#[test]
fn documents_of_unscorable_blocks_are_passed_over() {
    let bench = bench();
    let corpus = bench.publish("pool");
    bench.tokens(
        "tokens",
        &corpus,
        &[BLOCKS[0], (&[0, 0, 5], &[(1, 3)]), BLOCKS[3]],
    );
    let scores = logprobs(&bench, "documents", json!({ "item": "document" }));
    assert_eq!(scores.index, [0, 2]);
}

#[test]
fn estimates_follow_the_sizes() {
    let mut sizes = crate::Sizes::default();
    let tokens = crate::Size {
        items: 100.0,
        tokens: 1e4 + 100.0,
        ..crate::Size::default()
    };
    let model = crate::Size {
        parameters: 50.0,
        flops_per_token: 7.0,
        ..crate::Size::default()
    };
    sizes.sizes.insert("@tokens".to_owned(), tokens);
    sizes.sizes.insert("@teacher".to_owned(), model);
    let params =
        serde_json::from_value(json!({ "data": "@tokens", "model": "@teacher" })).expect("parameters");
    let estimate = Logprobs::estimate(&params, &sizes);
    assert_eq!((estimate.flops, estimate.outputs[""].items), (7e4, 100.0));
}
