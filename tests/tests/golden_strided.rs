//! `strided_losses.json`: what texts longer than the context cost by transformers' strided evaluation in float64, token by
//! token, against `score.logprobs` as a step of the program.

use lyceum_components::artifact::{Artifact, Scores, TokenScores};
use lyceum_tests::{Golden, Lab, assert_close, list};
use serde_json::json;

#[test]
fn texts_longer_than_the_context_cost_what_transformers_says() {
    let golden = Golden::open("strided_losses");
    let root = golden.root();
    root.prose(&["made_with"]);
    let texts: Vec<String> = root.get("texts").read();
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    let lines = texts
        .iter()
        .map(|text| json!({ "text": text }).to_string() + "\n");
    lab.write("texts.jsonl", lines.collect::<String>());
    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let model: String = case.get("model").read();
        let stride: usize = case.get("stride").read();
        let from = Golden::folder().join("models").join(&model);
        for name in list(&from) {
            let content = std::fs::read(from.join(&name)).expect("the checkpoint");
            lab.write(&format!("{model}/{name}"), content);
        }
        for (precision, tolerance) in [("f64", 1e-9), ("f32", 2e-4)] {
            let name = format!("{model}-{stride}-{precision}");
            let experiment = format!(
                "[experiment]\nname = \"{name}\"\nprecision = \"{precision}\"\n[steps.texts]\nuse = \
                 \"corpus.jsonl\"\nfiles = [\"texts.jsonl\"]\n[steps.model]\nuse = \"model.load\"\nfolder = \
                 \"{model}\"\n[steps.likely]\nuse = \"score.logprobs\"\ndata = \"@texts\"\nmodel = \
                 \"@model\"\nstride = {stride}\ntokens = true\nbatch_size = 2\n"
            );
            lab.write(&format!("{name}.toml"), experiment);
            lab.lyceum(&["run", &format!("{name}.toml")]).exits(0);
            let folder = lab.path(".lyceum/runs/latest/steps/likely");
            let scores = Artifact::open(&folder, "", "likely").expect("scores");
            let scores = Scores::read(&scores).expect("reads");
            let sums = scores.column(Some("sum_nll")).expect("there");
            let tokens = TokenScores::read(&folder.join(TokenScores::FILE)).expect("reads");
            for (number, document) in case.get("documents").items().iter().enumerate() {
                let what = format!("{name}, text {number}");
                let own = || (0..tokens.index.len()).filter(|&row| tokens.index[row] == number as u64);
                let ids: Vec<u64> = document.get("ids").read();
                assert!(
                    own().map(|row| tokens.id[row]).eq(ids[1..].iter().copied()),
                    "{what}"
                );
                assert!(
                    own().map(|row| tokens.position[row]).eq(1..ids.len() as u64),
                    "{what}"
                );
                let expected: Vec<f64> = document.get("logprobs").read();
                let found: Vec<f64> = own().map(|row| tokens.logprob[row]).collect();
                assert_close(&what, &found, &expected, tolerance);
                assert_close(
                    &what,
                    &sums[number..=number],
                    &[document.get("loss").read()],
                    tolerance,
                );
            }
        }
    }
    golden.finish();
}
