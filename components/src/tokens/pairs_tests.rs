use super::*;
use crate::Artifact;
use crate::artifact::PairsWriter;
use crate::testing::Bench;
use crate::tokenizer::Train;
use crate::tokens::{Blocks, collate};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Pairs of a prompt, an input and an answer.
const ALL: [[&str; 3]; 4] = [
    ["say hello", "", "hello"],
    ["add the numbers", "1 2", "3"],
    ["say nothing", "", ""],
    [
        "repeat the words",
        "one two three four five six seven",
        "one two three four five six seven",
    ],
];

/// A bench with the pairs `pairs`, and the tokenizer `bpe` that was trained on them.
fn bench() -> Bench {
    let bench = Bench::new();
    let mut writer = PairsWriter::create(&bench.at("pairs"));
    for (id, [prompt, input, response]) in (5..).zip(ALL) {
        let pair = InstructionPair {
            id,
            prompt: prompt.to_owned(),
            input: input.to_owned(),
            response: response.to_owned(),
            responses: vec![response.to_owned()],
            meta: serde_json::Map::new(),
        };
        writer.push(pair).expect("pushes");
    }
    writer.finish(4, BTreeMap::new()).expect("writes");
    bench.publish("pairs");
    let bpe = json!({ "corpus": "@pairs", "vocab_size": 290, "special_tokens": ["<user>", "<answer>"] });
    bench.run::<Train>("bpe", bpe).expect("trains");
    bench
}

fn run(bench: &Bench, more: &Value) -> Result<Artifact> {
    let mut params = json!({ "tokenizer": "@bpe", "pairs": "@pairs", "template": "plain", "context": 48 });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    bench.run::<Pairs>("tokens", params)
}

fn open(bench: &Bench, tokens: &Artifact) -> Blocks {
    Blocks::open(tokens, &bench.context("reading")).expect("opens")
}

fn texts(bench: &Bench, tokens: &Artifact) -> Vec<(String, String)> {
    let tokenizer = crate::artifact::read_tokenizer(tokens).expect("opens");
    let blocks = open(bench, tokens);
    let read = |i| {
        let block = blocks.get(i);
        let (prompt, response) = block.ids.split_at(block.prompt.expect("a pair") as usize);
        let text = |ids| tokenizer.decode(ids, false).expect("decodes");
        (text(prompt), text(response))
    };
    (0..blocks.len()).map(read).collect()
}

#[test]
fn a_block_is_a_prompt_and_its_answer_and_end() {
    let bench = bench();
    let tokens = run(&bench, &json!({})).expect("tokenizes");
    let texts = texts(&bench, &tokens);
    let expected = [
        ("say hello\n", "hello<|endoftext|>"),
        ("add the numbers\n1 2\n", "3<|endoftext|>"),
        ("say nothing\n", "<|endoftext|>"),
        (
            "repeat the words\none two three four five six seven\n",
            "one two three four five six seven<|endoftext|>",
        ),
    ];
    assert_eq!(texts, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let blocks = open(&bench, &tokens);
    let details = blocks.details();
    assert_eq!((details.blocks, details.documents), (4, 4));
    assert_eq!(details.pairs, Some(PairCounts::default()));
    assert_eq!(details.corpus, Some(bench.publish("pairs").as_source()));
    let segments: Vec<_> = (0..4).map(|i| blocks.segments(i)[0].document).collect();
    assert_eq!(segments, [0, 1, 2, 3]);
    // What is predicted is the answer with its end, and nothing else.
    let rows: Vec<_> = (0..4).map(|i| blocks.get(i)).collect();
    let batch = collate(&rows, 48, details.eos_id).expect("collates");
    let predicted: usize = rows
        .iter()
        .map(|row| row.ids.len() - row.prompt.expect("a pair") as usize)
        .sum();
    assert_eq!(batch.scored(), predicted as u64);
}

#[test]
fn long_prompts_are_left_out_and_long_answers_cut() {
    let bench = bench();
    let tokens = run(&bench, &json!({ "max_prompt": 12 })).expect("tokenizes");
    let all = texts(&bench, &tokens);
    let blocks = open(&bench, &tokens);
    let counts = blocks.details().pairs.expect("counted");
    assert_eq!(counts.long_prompts, 4 - blocks.len());
    assert!(counts.long_prompts > 0 && !all.is_empty());
    assert!(
        bench.notes().pop().expect("a note").contains("long prompts"),
        "{:?}",
        bench.notes()
    );

    let whole = open(&bench, &run(&bench, &json!({})).expect("tokenizes")).get(3);
    let prompt = whole.prompt.expect("a pair") as usize;
    let cut = run(&bench, &json!({ "max_prompt": prompt, "context": prompt + 1 })).expect("tokenizes");
    let blocks = open(&bench, &cut);
    assert_eq!(blocks.get(blocks.len() - 1).ids, whole.ids[..prompt + 2]);
    assert!(blocks.details().pairs.expect("counted").cut_responses >= 1);
    let left = whole.ids.len() as u64 - prompt as u64 - 2;
    assert!(blocks.details().dropped_tokens >= left);

    let none = run(&bench, &json!({ "max_prompt": 1 })).expect_err("nothing is left");
    assert_eq!(none.code(), "no_blocks");
}

#[test]
fn a_tokenizer_that_joins_prompt_and_answer_is_found_out() {
    let bench = bench();
    let file = bench.folder.path().join("joined.jinja");
    // The words of the corpus are whole tokens: `hello` is one, `hel` and `lo` are others.
    std::fs::write(&file, "{{ prompt }} hel").expect("writes");
    let mut writer = PairsWriter::create(&bench.at("joined"));
    for (id, response) in [(0, "lo"), (1, " x")] {
        let pair = InstructionPair {
            id,
            prompt: "say".to_owned(),
            input: String::new(),
            response: response.to_owned(),
            responses: vec![response.to_owned()],
            meta: serde_json::Map::new(),
        };
        writer.push(pair).expect("pushes");
    }
    writer.finish(2, BTreeMap::new()).expect("writes");
    bench.publish("joined");
    let params = json!({ "pairs": "@joined", "template_file": "joined.jinja" });
    let error = run(&bench, &params).expect_err("joined");
    assert_eq!(error.code(), "prompt_not_prefix");
    assert!(error.to_string().contains("pair 0"), "{error}");
    let mut params = params;
    params["on_joined"] = json!("drop");
    let tokens = run(&bench, &params).expect("tokenizes");
    let blocks = open(&bench, &tokens);
    assert_eq!(
        (blocks.len(), blocks.details().pairs.expect("counted").joined),
        (1, 1)
    );
}

#[test]
fn templates_are_told_apart_and_mistakes_in_them_named() {
    let bench = bench();
    let print = |more: Value| {
        let tokens = run(&bench, &more).expect("tokenizes");
        open(&bench, &tokens).details().template.clone()
    };
    let plain = print(json!({}));
    let alpaca = print(json!({ "template": "alpaca", "context": 400 }));
    assert_ne!(plain, alpaca);
    std::fs::write(
        bench.folder.path().join("mine.jinja"),
        "{{ prompt }}\n{% if input %}{{ input }}\n{% endif %}",
    )
    .expect("writes");
    assert_eq!(print(json!({ "template_file": "mine.jinja" })), plain);
    for (text, code) in [("{{ nothing }}", "bad_template"), ("{% if %}", "bad_template")] {
        std::fs::write(bench.folder.path().join("mine.jinja"), text).expect("writes");
        let error = run(&bench, &json!({ "template_file": "mine.jinja" })).expect_err("a mistake");
        assert_eq!(error.code(), code);
    }
    let error = run(&bench, &json!({ "template_file": "no.jinja" })).expect_err("no file");
    assert_eq!(error.code(), "missing_file");
    let error = run(&bench, &json!({ "template": "chat" })).expect_err("no template for chats");
    assert_eq!(error.code(), "no_chat_template");
}

#[test]
fn a_chats_marks_are_single_tokens() {
    let bench = bench();
    let folder = bench.at("bpe");
    std::fs::write(
        folder.join("chat_template.jinja"),
        "{% for m in messages %}<user>{{ m.content }}{% endfor %}<answer>",
    )
    .expect("writes");
    let tokens = run(&bench, &json!({ "template": "chat" })).expect("tokenizes");
    let encoder = Encoder::open(&bench.publish("bpe")).expect("opens");
    let mark = |token: &str| encoder.id(token).expect("a token");
    let block = open(&bench, &tokens).get(1);
    let prompt = &block.ids[..block.prompt.expect("a pair") as usize];
    assert_eq!(prompt.first(), Some(&mark("<user>")));
    assert_eq!(prompt.last(), Some(&mark("<answer>")));
    let text = encoder.encode("add the numbers\n\n1 2").expect("encodes");
    assert_eq!(prompt[1..prompt.len() - 1], text);
}

#[test]
fn parts_are_dealt_and_a_prompt_leaves_room() {
    let bench = bench();
    let context = bench.context("parts");
    let params = json!({ "tokenizer": "@bpe", "pairs": "@pairs", "template": "plain", "context": 48,
        "split": { "train": 0.75, "valid": 0.25 } });
    bench.run_with::<Pairs>(&context, params).expect("tokenizes");
    let counts = ["train", "valid"].map(|part| open(&bench, &bench.publish(&format!("parts/{part}"))).len());
    assert_eq!(counts, [3, 1]);
    let params: PairsParams = serde_json::from_value(
        json!({ "tokenizer": "@b", "pairs": "@p", "context": 8, "max_prompt": 9, "split": { "a": 1.0, "b": 1.0 } }),
    )
    .expect("parameters");
    let codes: Vec<_> = Pairs::check(&params).iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["fractions_exceed_one", "no_room_for_response"]);
}
