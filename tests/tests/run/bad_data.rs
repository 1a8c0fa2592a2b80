//! Data that cannot be used ends the run with the place and what to do, and publishes nothing.

use super::{documents, empty_lab, experiment, lab};
use flate2::{Compression, write::GzEncoder};
use lyceum_tests::{Ended, Lab};
use std::io::Write;

/// Runs the experiment on this file.
fn run_on(name: &str, content: &[u8]) -> (Lab, Ended) {
    let lab = empty_lab();
    lab.write(&format!("data/{name}"), content);
    lab.write("small.toml", experiment().replace("pool.jsonl", name));
    let ended = lab.lyceum(&["run", "small.toml"]);
    (lab, ended)
}

/// Checks that the documents are refused with all of this said, and that no step came of them.
#[track_caller]
fn refused(name: &str, content: &[u8], says: &[&str]) {
    let (lab, ended) = run_on(name, content);
    let ended = ended.exits(3);
    ended.says(says);
    ended.says(&["step `pool`", name, "hint: "]);
    assert_eq!(ended.stdout, "");
    for component in ["corpus.jsonl", "tokenizer.train", "tokens.pack", "train.lm"] {
        assert_eq!(lab.artifacts(component), [""; 0], "{component}");
    }
    let runs = lab.lyceum(&["runs", "--format", "json"]).exits(0).json();
    assert_eq!(runs[0]["status"], "failed");
}

/// Good documents with one line put in as line 3.
fn with_line(line: &[u8]) -> Vec<u8> {
    let good = documents(20);
    let mut lines: Vec<&[u8]> = good.lines().map(str::as_bytes).collect();
    lines.insert(2, line);
    lines.join(&b'\n')
}

#[test]
fn text_that_is_not_json() {
    refused(
        "bad.jsonl",
        &with_line(b"{\"text\": oops}"),
        &["error[bad_json]", "line 3"],
    );
}

#[test]
fn bytes_that_are_not_utf8() {
    let content = with_line(b"{\"text\": \"a\xff\"}");
    let place = content.iter().position(|&b| b == 0xff).expect("it is there");
    let place = format!("byte {place}");
    refused("bad.jsonl", &content, &["error[invalid_utf8]", &place]);
}

#[test]
fn a_document_without_text() {
    let content = with_line(b"{\"txt\": \"a\"}");
    refused(
        "bad.jsonl",
        &content,
        &["error[missing_column]", "line 3", "`text`", "`txt`"],
    );
}

#[test]
fn damaged_gzip() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(documents(300).as_bytes()).expect("packs");
    let whole = encoder.finish().expect("packs");
    let says = ["error[corrupt_gzip]", "byte "];
    refused("bad.jsonl.gz", &whole[..whole.len() / 2], &says);
    let mut turned = whole.clone();
    turned[whole.len() / 2] ^= 0x55;
    refused("bad.jsonl.gz", &turned, &["error["]);
    refused("bad.jsonl.gz", b"{\"text\": \"not packed at all\"}\n", &says[..1]);
}

#[test]
fn a_file_without_documents() {
    refused("bad.jsonl", b"", &["error[empty_file]"]);
    refused("bad.jsonl", b"\n\n \n", &["error[empty_file]"]);
}

#[test]
fn bad_lines_are_left_out_and_counted_if_so_wanted() {
    let lab = empty_lab();
    let mut content = with_line(b"{\"text\": oops}");
    content.extend(b"\n{\"text\": \"a\xff\"}\n{\"txt\": \"a\"}\n");
    lab.write("data/pool.jsonl", content);
    lab.write(
        "pool.toml",
        "[experiment]\nname = \"pool\"\n[steps.pool]\nuse = \"corpus.jsonl\"\nfiles = [\"data/pool.jsonl\"]\non_bad_line = \"skip\"\n",
    );
    let ended = lab.lyceum(&["run", "pool.toml"]).exits(0);
    ended.says(&["left out lines that could not be read: 3; documents read: 20"]);
    assert_eq!(lab.artifacts("corpus.jsonl").len(), 1);
}

#[test]
fn a_file_that_is_not_there_is_a_mistake_of_the_experiment() {
    let lab = empty_lab();
    lab.write("small.toml", experiment());
    let ended = lab.lyceum(&["run", "small.toml"]).exits(2);
    ended.says(&["data/pool.jsonl"]);
    assert_eq!(ended.stdout, "");
    assert!(!lab.path(".lyceum").exists());
}

#[test]
fn blocks_longer_than_the_models_positions() {
    let lab = lab();
    let ended = lab
        .lyceum(&[
            "run",
            "small.toml",
            "--set",
            "steps.model.model.max_position_embeddings=16",
        ])
        .exits(3);
    ended.says(&["error[context_too_long]", "step `model`", "32", "16", "hint: "]);
    assert_eq!(lab.artifacts("train.lm"), [""; 0]);
    assert_eq!(lab.checkpoints(), [0; 0]);
}

#[test]
fn going_on_with_tokens_of_another_tokenizer() {
    let lab = lab();
    let more = r#"
[steps.other_bpe]
use = "tokenizer.train"
corpus = "@pool"
vocab_size = 280
[steps.other_tokens]
use = "tokens.pack"
tokenizer = "@other_bpe"
corpus = "@pool"
context = 32
[steps.further]
use = "train.lm"
data = "@other_tokens"
model = "@model"
optim = { lr = 1e-3, batch_size = 8, budget = { steps = 5 } }
checkpoint_every = 1
"#;
    lab.write(
        "small.toml",
        experiment().replace("steps = 60", "steps = 2") + more,
    );
    let ended = lab.lyceum(&["run", "small.toml"]).exits(3);
    ended.says(&["error[tokenizer_mismatch]", "step `further`", "hint: "]);
    assert_eq!(lab.artifacts("train.lm").len(), 1);
    assert_eq!(lab.checkpoints(), [0; 0]);
}

#[test]
fn a_learning_rate_that_breaks_the_weights() {
    let lab = lab();
    let sets =
        ["optim.lr=1e30", "optim.clip_norm=0", "checkpoint_every=1"].map(|set| format!("steps.model.{set}"));
    let mut arguments = vec!["run", "small.toml"];
    arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
    let ended = lab.lyceum(&arguments).exits(3);
    ended.says(&[
        "error[non_finite_loss]",
        "step `model`",
        " of step ",
        "documents ",
        "hint: ",
    ]);
    assert_eq!(lab.artifacts("train.lm"), [""; 0]);
    assert_eq!(lab.checkpoints().len(), 1, "the last checkpoint is kept");
}
