//! `miniplm_token_files.json`: shards in Megatron's layout, written byte for byte and read again; and shards that are none.

#![cfg(unix)]

use lyceum_components::artifact::TokenType;
use lyceum_tests::{Ended, Golden, Lab, list};
use std::fs;

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// A tokenizer of so many words, the second of which ends documents.
fn tokenizer(words: u32) -> String {
    let vocab: Vec<String> = (0..words).map(|id| format!("\"w{id}\":{id}")).collect();
    format!(
        r#"{{"version":"1.0","model":{{"type":"WordLevel","vocab":{{{}}},"unk_token":"w0"}}}}"#,
        vocab.join(",")
    )
}

/// From shards to the same shards.
fn experiment(per_shard: usize) -> String {
    format!(
        r#"
[experiment]
name = "shards"
[steps.words]
use = "tokenizer.load"
file = "tokenizer.json"
eos_token = "w1"
[steps.tokens]
use = "tokens.import"
folders = ["shards"]
tokenizer = "@words"
[steps.shards]
use = "tokens.export"
data = "@tokens"
items_per_shard = {per_shard}
"#
    )
}

fn lab(words: u32, per_shard: usize) -> Lab {
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    lab.write("tokenizer.json", tokenizer(words));
    lab.write("e.toml", experiment(per_shard));
    lab
}

#[test]
fn shards_are_read_and_written_as_the_fixture_has_them() {
    let golden = Golden::open("miniplm_token_files");
    let root = golden.root();
    root.prose(&["layout", "dtype_rule", "dtype_code", "error_cases"]);
    let documents: Vec<Vec<u32>> = root.get("docs").read();
    let cases: Vec<(u32, String)> = root.get("vocab_dtype_cases").read();
    assert_eq!((documents.len(), cases.len()), (5, 4));
    for (vocabulary, dtype) in cases {
        let expected = if dtype == "uint16" {
            TokenType::U16
        } else {
            TokenType::U32
        };
        assert_eq!(TokenType::of(vocabulary), expected, "{vocabulary}");
    }
    let sets = root.get("datasets").items();
    assert_eq!(sets.len(), 2);
    for set in sets {
        let words = match set.get("dtype").read::<String>().as_str() {
            "uint16" => 65_499,
            _ => 65_500,
        };
        let lab = lab(words, set.get("docs_per_shard").read());
        let mut expected = Vec::new();
        for shard in set.get("shards").items() {
            let name: String = shard.get("name").read();
            for end in ["bin", "idx"] {
                let content = bytes(&shard.get(&format!("{end}_hex")).read::<String>());
                lab.write(&format!("shards/{name}.{end}"), &content);
                expected.push((format!("{name}.{end}"), content));
            }
        }
        assert_eq!(expected.len(), 6);
        lab.lyceum(&["run", "e.toml"]).exits(0);
        lab.lyceum(&["export", "shards", "--to", "out"]).exits(0);
        let found: Vec<_> = list(&lab.path("out"))
            .into_iter()
            .map(|name| {
                let content = fs::read(lab.path("out").join(&name)).expect("a shard");
                (name, content)
            })
            .collect();
        assert_eq!(found, expected);
        // The blocks are the documents, in order.
        let key = &lab.artifacts("tokens.import")[0];
        let folder = lab.path(&format!(".lyceum/store/tokens.import/{key}"));
        let ids = fs::read(folder.join("tokens.bin")).expect("ids");
        let width = if words == 65_499 { 2 } else { 4 };
        let id = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |id, byte| (id << 8) | u32::from(*byte))
        };
        let ids: Vec<u32> = ids.chunks(width).map(id).collect();
        assert_eq!(ids, documents.concat());
    }
    golden.finish();
}

/// Runs on the fixture's shards after a change to their folder.
fn changed(words: u32, change: impl FnOnce(&Lab)) -> Ended {
    let golden = Golden::open("miniplm_token_files");
    let set = golden.root().get("datasets").items()[0].clone();
    let lab = lab(words, 2);
    for shard in set.get("shards").items() {
        let name: String = shard.get("name").read();
        for end in ["bin", "idx"] {
            let content = bytes(&shard.get(&format!("{end}_hex")).read::<String>());
            lab.write(&format!("shards/{name}.{end}"), content);
        }
    }
    change(&lab);
    lab.lyceum(&["run", "e.toml"])
}

/// Writes bytes into a file of the shards.
fn patched(lab: &Lab, name: &str, at: usize, with: &[u8]) {
    let file = lab.path("shards").join(name);
    let mut content = fs::read(&file).expect("a shard");
    content[at..at + with.len()].copy_from_slice(with);
    fs::write(file, content).expect("writes");
}

#[test]
fn shards_that_are_none_are_refused_with_the_place() {
    let golden = Golden::open("miniplm_token_files");
    let cases: Vec<String> = golden.root().get("error_cases").read();
    assert_eq!(cases.len(), 7);
    for case in &cases {
        let words = if case == "token >= vocab" { 1000 } else { 65_499 };
        let ended = changed(words, |lab| match case.as_str() {
            "bad magic" => patched(lab, "data_1.idx", 2, b"X"),
            "version != 1" => patched(lab, "data_1.idx", 9, &[2]),
            "unknown dtype code" => patched(lab, "data_1.idx", 17, &[6]),
            "bin shorter than pointers say" => {
                let file = lab.path("shards/data_1.bin");
                let content = fs::read(&file).expect("a shard");
                fs::write(file, &content[..content.len() - 1]).expect("writes");
            }
            "missing .idx for an existing .bin" => {
                fs::remove_file(lab.path("shards/data_1.idx")).expect("it was there");
            }
            "gap in shard numbers" => {
                for end in ["bin", "idx"] {
                    fs::remove_file(lab.path(&format!("shards/data_1.{end}"))).expect("it was there");
                }
            }
            "token >= vocab" => {}
            other => panic!("unknown case {other}"),
        });
        let ended = ended.exits(3);
        let code = if case == "token >= vocab" {
            "error[vocab_mismatch]"
        } else {
            "error[bad_shard]"
        };
        ended.says(&[code, "hint: "]);
        assert!(!ended.stderr.contains("panicked"), "{case}: {}", ended.stderr);
    }
}

#[test]
fn an_index_that_claims_a_hundred_gigabytes_is_refused() {
    for (at, claim) in [
        (18, u64::MAX / 8),
        (18, 1 << 40),
        (26, u64::MAX / 4),
        (26, 1 << 33),
    ] {
        let ended = changed(65_499, |lab| patched(lab, "data_0.idx", at, &claim.to_le_bytes()));
        ended
            .exits(3)
            .says(&["error[bad_shard]", "data_0.idx", "byte 18", "hint: "]);
    }
    // The first item has 2^31 − 1 tokens; or lies before the file; or beyond it.
    let long = changed(65_499, |lab| {
        patched(lab, "data_0.idx", 34, &i32::MAX.to_le_bytes());
    });
    long.exits(3).says(&["error[bad_shard]", "byte 34"]);
    for place in [-2_i64, i64::MAX, 1 << 40] {
        let ended = changed(65_499, |lab| patched(lab, "data_0.idx", 42, &place.to_le_bytes()));
        ended.exits(3).says(&["error[bad_shard]", "byte 34"]);
    }
}

#[test]
fn imported_tokens_are_scored_and_chosen_from_but_have_no_labels() {
    let chosen = |quotas: &str| {
        changed(65_499, |lab| {
            lab.write("pool.jsonl", "{\"text\": \"w2 w3\", \"kind\": \"a\"}\n");
            let steps = format!(
                r#"
[steps.pool]
use = "corpus.jsonl"
files = ["pool.jsonl"]
keep_columns = ["kind"]
[steps.chance]
use = "score.random"
data = "@tokens"
item = "document"
[steps.chosen]
use = "select.top"
scores = "@chance"
keep = 0.5
{quotas}
"#
            );
            lab.write("e.toml", experiment(2) + &steps);
        })
    };
    chosen("").exits(0);
    let ended = chosen("quotas = { corpus = \"@pool\", column = \"kind\" }").exits(3);
    ended.says(&["error[no_corpus]", "hint: "]);
}

#[test]
fn items_longer_than_asked_for_and_without_their_first_token_are_refused() {
    let with = |options: &str| {
        changed(65_499, |lab| {
            let import = "use = \"tokens.import\"\n";
            lab.write(
                "e.toml",
                experiment(2).replace(import, &format!("{import}{options}\n")),
            );
        })
    };
    with("context = 3").exits(0);
    with("context = 2")
        .exits(3)
        .says(&["error[too_long]", "data_1.bin", "hint: "]);
    with("bos_token = \"w5\"")
        .exits(3)
        .says(&["error[missing_bos]", "item 1", "hint: "]);
    with("range = [0, 2]").exits(0);
    with("range = [1, 4]")
        .exits(3)
        .says(&["error[bad_shard]", "number 3 is missing"]);
    with("range = [2, 2]").exits(2).says(&["empty_range"]);
}
