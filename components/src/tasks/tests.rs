//! Tasks from their files to their figures, on scores made up.

use super::*;
use crate::Error;
use crate::inference::PairScore;
use serde_json::{Value, json};
use std::path::PathBuf;

struct Folder(tempfile::TempDir);

impl Folder {
    /// A folder with `data.jsonl` and `task.toml`, whose head is given already.
    fn new(records: &[Value], body: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("a temporary folder"));
        let lines = records
            .iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        let head = "name = \"t\"\nversion = 1\nsource = { file = \"data.jsonl\" }\n";
        std::fs::write(folder.at("data.jsonl"), lines).expect("writes");
        std::fs::write(folder.at("task.toml"), format!("{head}{body}")).expect("writes");
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn task(&self) -> crate::Result<Task> {
        Task::open(&self.at("task.toml"), None)
    }

    fn items(&self, limit: Option<usize>, shots: usize, seed: u64) -> crate::Result<Vec<Item>> {
        let settings = Settings {
            limit,
            shots: Some(shots),
            seed,
            batch_size: 1,
        };
        settings.items(&self.task()?)
    }
}

const CHOICE: &str = r#"
text = "Q: {{ q }}\nA:"
[multiple_choice]
choices = "c"
gold = "{{ g }}"
"#;

fn questions(n: usize) -> Vec<Value> {
    (0..n)
        .map(|i| json!({ "q": format!("q{i}"), "c": ["no", "yes"], "g": i % 2 }))
        .collect()
}

fn prompts(items: &[Item]) -> Vec<String> {
    let prompt = |item: &Item| match &item.ask {
        Ask::Choose { contexts, .. } => contexts[0].clone(),
        Ask::Continue { context, .. } => context.clone(),
        Ask::Write { prompt, .. } => prompt.clone(),
    };
    items.iter().map(prompt).collect()
}

fn score(logprob: f64, greedy: bool) -> PairScore {
    PairScore {
        token_logprobs: vec![logprob / 2.0; 2],
        greedy,
    }
}

#[test]
fn choices_stand_behind_the_question_with_the_delimiter() {
    let items = Folder::new(&questions(3), CHOICE)
        .items(Some(2), 0, 0)
        .expect("items");
    assert_eq!(items.len(), 2);
    let expected = Ask::Choose {
        contexts: vec!["Q: q1\nA:".to_owned(); 2],
        continuations: vec![" no".to_owned(), " yes".to_owned()],
        bytes: vec![2, 3],
        gold: 1,
    };
    assert_eq!(items[1].ask, expected);
}

#[test]
fn examples_are_fixed_by_seed_and_item_and_never_the_item() {
    let folder = Folder::new(&questions(6), CHOICE);
    let all = prompts(&folder.items(None, 3, 1).expect("items"));
    assert_eq!(all, prompts(&folder.items(None, 3, 1).expect("items")));
    assert_ne!(all, prompts(&folder.items(None, 3, 2).expect("items")));
    assert_eq!(all[..2], prompts(&folder.items(Some(2), 3, 1).expect("items")));
    for (number, prompt) in all.iter().enumerate() {
        assert_eq!(prompt.matches("Q: ").count(), 4, "{prompt}");
        assert_eq!(prompt.matches(&format!("q{number}\n")).count(), 1, "{prompt}");
        assert!(prompt.ends_with(&format!("Q: q{number}\nA:")), "{prompt}");
        assert!(
            prompt.contains("A: yes\n\n") || prompt.contains("A: no\n\n"),
            "{prompt}"
        );
    }
    let error = folder.items(None, 6, 1).expect_err("five others only");
    assert_eq!(error.code(), "too_few_examples");
}

#[test]
fn acc_takes_the_likeliest_choice_and_acc_norm_the_likeliest_a_byte() {
    let records = [
        json!({ "q": "q", "c": ["ab", "abcdefgh"], "g": 1 }),
        json!({ "q": "r", "c": ["x", "y"], "g": 0 }),
    ];
    let folder = Folder::new(&records, CHOICE);
    let task = folder.task().expect("a task");
    let items = folder.items(None, 0, 0).expect("items");
    // The first: −4 beats −8, but −8 / 8 bytes beats −4 / 2. The second: equal ones, the first is taken.
    let scores = [-4.0, -8.0, -1.0, -1.0].map(|logprob| score(logprob, false));
    let figures = results(&task, &items, Answered::Scored(&scores));
    let figures: Vec<_> = figures
        .iter()
        .map(|one| (one.metric.as_str(), one.value))
        .collect();
    assert_eq!(figures, [("acc", 0.5), ("acc_norm", 1.0)]);
}

#[test]
fn one_ending_after_several_beginnings_has_no_norm() {
    let body = "[multiple_choice]\ncontexts = \"o\"\ntarget = \"{{ e }}\"\ngold = \"{{ g }}\"\n";
    let folder = Folder::new(&[json!({ "o": ["he", "she"], "e": "left.", "g": "she" })], body);
    let items = folder.items(None, 0, 0).expect("items");
    let Ask::Choose {
        contexts,
        continuations,
        gold,
        ..
    } = &items[0].ask
    else {
        panic!("{items:?}")
    };
    assert_eq!(
        (contexts[1].as_str(), continuations[1].as_str(), *gold),
        ("she", " left.", 1)
    );
    let scores = [score(-3.0, false), score(-2.0, false)];
    let figures = results(&folder.task().expect("a task"), &items, Answered::Scored(&scores));
    assert_eq!((figures.len(), figures[0].value), (1, 1.0));
}

#[test]
fn a_last_word_is_right_if_it_is_the_likeliest_and_has_a_perplexity() {
    let body = "text = \"{{ a }}\"\n[last_word]\ntarget = \"{{ b }}\"\n";
    let folder = Folder::new(
        &[json!({ "a": "x", "b": "y" }), json!({ "a": "z", "b": "w" })],
        body,
    );
    let items = folder.items(None, 0, 0).expect("items");
    let scores = [score(-1.0, true), score(-3.0, false)];
    let figures = results(&folder.task().expect("a task"), &items, Answered::Scored(&scores));
    assert_eq!((figures[0].metric.as_str(), figures[0].value), ("acc", 0.5));
    assert!((figures[1].value - 2_f64.exp()).abs() < 1e-12);
    let mean = figures[1].parts.iter().sum::<f64>() / 2.0;
    assert!((mean - figures[1].value).abs() < 1e-12);
}

#[test]
fn what_is_written_is_cut_and_compared_with_the_best_reference() {
    let body = "text = \"{{ q }}\"\n[generation]\nreferences = \"r\"\nmetrics = [\"exact_match\", \"rouge_l\"]\n\
                answer = { after = \"####\" }\n";
    let folder = Folder::new(&[json!({ "q": "2 + 2", "r": ["five", "2 + 2 #### four"] })], body);
    let task = folder.task().expect("a task");
    let items = folder.items(None, 0, 0).expect("items");
    for (text, expected) in [
        ("so #### Four.", [1.0, 1.0]),
        ("four", [1.0, 1.0]),
        ("#### four or six", [0.0, 0.5]),
    ] {
        let figures = results(&task, &items, Answered::Written(&[text.to_owned()]));
        let values: Vec<f64> = figures.iter().map(|one| one.value).collect();
        assert_eq!(values, expected, "{text}");
    }
}

#[test]
fn bad_tasks_are_named() {
    for (body, what) in [
        ("", "exactly one of"),
        (
            "[last_word]\ntarget = \"x\"\n[classification]\nlabels = [\"a\", \"b\"]\ngold = \"0\"\n",
            "found 2",
        ),
        ("[multiple_choice]\ngold = \"0\"\n", "either `choices`"),
        (
            "[multiple_choice]\noptions = [\"a\"]\ngold = \"0\"\n",
            "two or more",
        ),
        ("[classification]\nlabels = [\"a\"]\ngold = \"0\"\n", "two labels"),
        (
            "[generation]\nmetrics = [\"exact_match\"]\n",
            "`target` or `references`",
        ),
        ("[generation]\ntarget = \"x\"\nmetrics = []\n", "empty"),
    ] {
        let error = Folder::new(&questions(1), body).task().expect_err("a mistake");
        assert_eq!(error.code(), "bad_task", "{error}");
        let text = error.to_string();
        assert!(text.contains(what) && text.contains("task.toml"), "{text}");
    }
    let error = Folder::new(&questions(1), "text = \"{{ q\"\n[last_word]\ntarget = \"x\"\n").task();
    let text = error.expect_err("a mistake").to_string();
    assert!(text.contains("`text`") && text.contains("task.toml"), "{text}");
}

#[test]
fn bad_records_are_named_with_their_line() {
    for (record, what) in [
        (json!({ "c": ["a", "b"], "g": 0 }), "undefined"),
        (json!({ "q": "x", "g": 0 }), "`c` is missing"),
        (json!({ "q": "x", "c": [], "g": 0 }), "`c` is an empty list"),
        (json!({ "q": "x", "c": "ab", "g": 0 }), "`c` is no list"),
        (json!({ "q": "x", "c": ["a", 1], "g": 0 }), "no text"),
        (
            json!({ "q": "x", "c": ["a", "b"], "g": 2 }),
            "none of the 2 choices",
        ),
        (
            json!({ "q": "x", "c": ["a", "b"], "g": -1 }),
            "none of the 2 choices",
        ),
    ] {
        let mut records = questions(2);
        records.push(record);
        let error = Folder::new(&records, CHOICE)
            .items(None, 0, 0)
            .expect_err("a mistake");
        assert_eq!(error.code(), "bad_record", "{error}");
        let text = error.to_string();
        assert!(
            text.contains(what) && text.contains("data.jsonl, record in line 3"),
            "{text}"
        );
    }
}

#[test]
fn bad_data_are_named() {
    let code = |folder: &Folder| folder.task().expect_err("a mistake").code();
    let folder = Folder::new(&[], CHOICE);
    assert_eq!(code(&folder), "no_records");
    std::fs::write(folder.at("data.jsonl"), "{}\n[1]\n").expect("writes");
    let error = folder.task().expect_err("no object");
    assert!(error.to_string().contains("line 2"), "{error}");
    std::fs::remove_file(folder.at("data.jsonl")).expect("removes");
    let error = folder.task().expect_err("no data");
    let Error::Data(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.code, "missing_file");
    assert!(error.hint.is_some_and(|hint| hint.contains("LYCEUM_DATA")));
}

#[test]
fn data_lie_beside_the_task_or_under_the_data_folder() {
    let folder = Folder::new(&questions(2), CHOICE);
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let moved = elsewhere.path().join("data.jsonl");
    std::fs::rename(folder.at("data.jsonl"), &moved).expect("moves");
    let task = Task::open(&folder.at("task.toml"), Some(elsewhere.path())).expect("a task");
    assert_eq!(task.records(), 2);
    let files = Task::data_files(&folder.at("task.toml"), Some(elsewhere.path())).expect("files");
    assert_eq!(files, [moved]);
}
