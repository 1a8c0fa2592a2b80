use super::*;
use crate::artifact::{Artifact, PairsDetails};
use crate::corpus::Pairs;
use crate::table::{frame, write_parquet};
use crate::testing::Bench;
use polars::prelude::{Column, NamedFrom, Series};
use serde_json::{Value, json};

const FOUR: &str = concat!(
    "{\"instruction\": \"add the two numbers\", \"input\": \"1 2\", \"output\": \"3\", \"task\": \"sum\"}\n\n",
    "{\"instruction\": \"say hello\", \"output\": [\"hello\", \"hi there\"], \"task\": null}\n",
    "{\"instruction\": \"say hello\", \"input\": \"\", \"output\": \"hello you\"}\n",
    "{\"instruction\": \"say hello\", \"input\": null, \"output\": \"hello\"}\n",
);

fn read(bench: &Bench, contents: &str, more: &Value) -> Result<Artifact> {
    std::fs::write(bench.folder.path().join("a.jsonl"), contents).expect("writes");
    let mut params = json!({ "files": ["a.jsonl"] });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    bench.run::<PairFiles>("pairs", params)
}

fn all(artifact: &Artifact) -> Vec<InstructionPair> {
    let pairs = Pairs::open(artifact).expect("opens");
    pairs.read().collect::<Result<_>>().expect("reads")
}

fn ids(artifact: &Artifact) -> Vec<u64> {
    all(artifact).iter().map(|pair| pair.id).collect()
}

#[test]
fn records_become_pairs() {
    let bench = Bench::new();
    let pairs = read(&bench, FOUR, &json!({ "keep_columns": ["task"] })).expect("reads");
    let found = all(&pairs);
    assert_eq!(ids(&pairs), [0, 1, 2, 3]);
    assert_eq!(
        (found[0].input.as_str(), found[0].response.as_str()),
        ("1 2", "3")
    );
    assert_eq!(found[0].meta["task"], "sum");
    assert_eq!(found[1].responses, ["hello", "hi there"]);
    assert_eq!(found[1].meta["task"], Value::Null);
    assert!(found[2].meta.is_empty());
    let details: PairsDetails = pairs.details().expect("a header");
    assert_eq!((details.pairs, details.documents), (4, 4));
    assert_eq!(details.text_bytes, (19 + 3 + 1 + 9 + 5 + 9 + 9 + 9 + 5) as u64);
    assert_eq!(details.dropped, BTreeMap::new());
}

#[test]
fn what_is_filtered_is_counted_and_keeps_its_number() {
    let bench = Bench::new();
    for (more, kept, why) in [
        (json!({ "prompt_words": { "min": 3 } }), vec![0], "short_prompts"),
        (
            json!({ "prompt_words": { "max": 2 } }),
            vec![1, 2, 3],
            "long_prompts",
        ),
        (
            json!({ "response_words": { "min": 2 } }),
            vec![2],
            "short_responses",
        ),
        (
            json!({ "response_words": { "max": 1 } }),
            vec![0, 1, 3],
            "long_responses",
        ),
        (json!({ "dedup": "pair" }), vec![0, 1, 2], "duplicates"),
        (json!({ "dedup": "prompt" }), vec![0, 1], "duplicates"),
    ] {
        let pairs = read(&bench, FOUR, &more).expect("reads");
        assert_eq!(ids(&pairs), kept, "{more}");
        let details: PairsDetails = pairs.details().expect("a header");
        assert_eq!(
            details.dropped,
            BTreeMap::from([(why.to_owned(), 4 - kept.len() as u64)])
        );
        let note = bench.notes().pop().expect("a note");
        assert!(note.contains(&why.replace('_', " ")), "{note}");
    }
    let none = read(&bench, FOUR, &json!({ "prompt_words": { "min": 9 } })).expect_err("nothing");
    assert_eq!(none.code(), "empty_pairs");
    let split = json!({ "prompt_words": { "min": 9 }, "split": { "train": 1.0 } });
    assert_eq!(
        read(&bench, FOUR, &split).expect_err("nothing").code(),
        "empty_pairs"
    );
    let limited = read(&bench, FOUR, &json!({ "dedup": "pair", "limit": 2 })).expect("reads");
    assert_eq!(ids(&limited), [0, 1]);
}

#[test]
fn a_split_deals_every_kept_pair_once_and_in_order() {
    let bench = Bench::new();
    let line = |i: u64| {
        format!(
            "{{\"instruction\": \"say {}\", \"output\": \"{i}\"}}\n",
            i.div_euclid(2)
        )
    };
    let contents: String = (0..200).map(line).collect();
    std::fs::write(bench.folder.path().join("a.jsonl"), contents).expect("writes");
    let params = json!({ "files": ["a.jsonl"], "dedup": "prompt", "split": { "train": 0.7, "valid": 0.2, "test": 0.1 } });
    let run = |step: &str| {
        bench
            .run_with::<PairFiles>(&bench.context(step), params.clone())
            .expect("splits");
        ["train", "valid", "test"].map(|part| ids(&bench.publish(&format!("{step}/{part}"))))
    };
    let [train, valid, test] = run("one");
    assert_eq!((train.len(), valid.len(), test.len()), (70, 20, 10));
    assert!(train.is_sorted() && valid.is_sorted());
    let mut together = [train.clone(), valid.clone(), test.clone()].concat();
    together.sort_unstable();
    assert_eq!(together, (0..100).map(|i| 2 * i).collect::<Vec<_>>());
    assert_ne!(
        valid,
        (0..20).map(|i| 2 * i).collect::<Vec<_>>(),
        "drawn, not cut"
    );
    assert_eq!(run("two"), [train, valid, test], "the same again");
}

#[test]
fn bad_records_are_named_or_counted() {
    let bench = Bench::new();
    let contents = format!("{FOUR}{{\"instruction\": \"a\"}}\n");
    let error = read(&bench, &contents, &json!({})).expect_err("no answer");
    assert_eq!(error.code(), "missing_column");
    let shown = error.to_string();
    assert!(shown.contains("a.jsonl") && shown.contains("line 6"), "{shown}");
    let Error::Data(data) = &error else {
        panic!("a mistake in data")
    };
    let hint = data.hint.as_deref().expect("a hint");
    assert!(
        hint.contains("response_column") && hint.contains("on_bad_line"),
        "{hint}"
    );
    let pairs = read(&bench, &contents, &json!({ "on_bad_line": "skip" })).expect("reads");
    let details: PairsDetails = pairs.details().expect("a header");
    assert_eq!((details.pairs, details.dropped["bad_records"]), (4, 1));
    let broken = read(&bench, "{\"instruction\": \n", &json!({})).expect_err("half a line");
    assert_eq!(broken.code(), "bad_json");
    assert_eq!(
        read(&bench, "\n\n", &json!({})).expect_err("nothing").code(),
        "empty_file"
    );
}

#[test]
fn tables_give_the_pairs_that_lines_do() {
    let bench = Bench::new();
    let lists = [
        Series::new("".into(), ["three", "3"]),
        Series::new("".into(), ["hi"]),
    ];
    let columns = vec![
        Column::new("question".into(), ["what is 1 + 2", "say hi"]),
        Column::new("input".into(), [Some("x"), None]),
        Column::new("answers".into(), lists),
        Column::new("level".into(), [1_i32, -2]),
    ];
    write_parquet(&bench.folder.path().join("a.parquet"), &mut frame(columns)).expect("writes");
    let params = json!({ "files": ["a.parquet"], "prompt_column": "question", "response_column": "answers",
        "keep_columns": ["level"] });
    let found = all(&bench.run::<PairFiles>("pairs", params.clone()).expect("reads"));
    assert_eq!(found[0].responses, ["three", "3"]);
    assert_eq!((found[1].input.as_str(), found[1].response.as_str()), ("", "hi"));
    assert_eq!(found[1].meta["level"], -2);
    let mut wrong = params;
    wrong["response_column"] = json!("answer");
    let error = bench
        .run::<PairFiles>("pairs", wrong)
        .expect_err("no such column");
    assert_eq!(error.code(), "missing_column");
    assert!(error.to_string().contains("`answers`"), "{error}");
}

#[test]
fn damage_in_a_table_is_an_error_and_never_a_crash() {
    let bench = Bench::new();
    let columns = vec![
        Column::new("instruction".into(), ["one", "two", "three"]),
        Column::new("output".into(), ["1", "2", "3"]),
    ];
    let file = bench.folder.path().join("a.parquet");
    write_parquet(&file, &mut frame(columns)).expect("writes");
    let sound = std::fs::read(&file).expect("reads");
    let run = || bench.run::<PairFiles>("pairs", json!({ "files": ["a.parquet"] }));
    assert_eq!(all(&run().expect("sound")).len(), 3);
    let mut refused = 0;
    for at in (0..sound.len()).step_by(3) {
        let mut bad = sound.clone();
        bad[at] ^= 0xff;
        std::fs::write(&file, &bad).expect("writes");
        refused += i32::from(run().is_err());
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn impossible_lengths_are_found_before_anything_runs() {
    let params: PairFilesParams = serde_json::from_value(json!({ "files": ["a"],
        "prompt_words": { "min": 5, "max": 4 }, "split": { "a": 0.9, "b": 0.2 } }))
    .expect("parameters");
    let found: Vec<_> = PairFiles::check(&params)
        .into_iter()
        .map(|problem| (problem.field, problem.code))
        .collect();
    let expected = [("split", "fractions_exceed_one"), ("prompt_words", "bad_value")];
    assert_eq!(found, expected.map(|(field, code)| (field.to_owned(), code)));
}
