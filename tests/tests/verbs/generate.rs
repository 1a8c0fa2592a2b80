//! `lyceum generate`: going on with a text by a model of a run.

use super::finished;
use lyceum_tests::Lab;
use serde_json::Value;

const MODEL: &str = ".lyceum/runs/latest/steps/model[fast]";

fn generate(lab: &Lab, more: &[&str]) -> Value {
    let fixed = [
        "generate",
        "--device",
        "cpu",
        "--model",
        MODEL,
        "--format",
        "json",
        "--prompt",
        "the old river",
    ];
    lab.lyceum(&[&fixed, more].concat()).exits(0).json()
}

#[test]
fn a_text_is_gone_on_with_the_same_each_time() {
    let lab = finished();
    // Without a limit it stops where the context ends.
    assert!(generate(lab, &[])["text"].is_string());
    let greedy = generate(lab, &["--max-tokens", "9"]);
    let keys: Vec<&String> = greedy.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["text", "tokens", "finish", "tokens_per_second"]);
    let tokens = greedy["tokens"].as_array().expect("ids").len();
    assert!(tokens == 9 || greedy["finish"] == "end", "{greedy}");
    assert!(greedy["tokens_per_second"].as_f64().expect("a rate") > 0.0);
    let plain = [
        "generate",
        "--model",
        MODEL,
        "--prompt",
        "the old river",
        "--max-tokens",
        "9",
    ];
    let ended = lab.lyceum(&plain).exits(0);
    assert_eq!(
        ended.stdout,
        format!("{}\n", greedy["text"].as_str().expect("text"))
    );

    let drawn = |seed: &str| {
        let how = [
            "--temperature",
            "1.5",
            "--top-k",
            "200",
            "--top-p",
            "0.99",
            "--samples",
            "3",
            "--seed",
            seed,
        ];
        let texts = generate(lab, &[&how[..], &["--max-tokens", "12"]].concat());
        let texts: Vec<Value> = texts
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["tokens"].clone())
            .collect();
        assert_eq!(texts.len(), 3);
        texts
    };
    assert_eq!(drawn("4"), drawn("4"));
    assert_ne!(drawn("4"), drawn("5"));
    assert_ne!(drawn("4")[0], drawn("4")[1]);
    for precision in ["f64", "bf16"] {
        assert!(generate(lab, &["--precision", precision, "--max-tokens", "3"])["text"].is_string());
    }
    let text = greedy["text"].as_str().expect("text");
    let stop: String = text.chars().skip(4).take(2).collect();
    let stopped = generate(lab, &["--max-tokens", "9", "--stop", &stop]);
    assert_eq!(stopped["text"], text[..text.find(&stop).expect("it is there")]);
    assert_eq!(stopped["finish"], "stop");
}

#[test]
fn what_cannot_be_is_refused() {
    let lab = finished();
    let refused = |more: &[&str], code: i32, says: &[&str]| {
        let ended = lab.lyceum(&[&["generate", "--device", "cpu", "--prompt", "a"], more].concat());
        let ended = ended.exits(code);
        assert_eq!(ended.stdout, "");
        ended.says(says);
    };
    refused(
        &["--model", "nowhere"],
        2,
        &["`nowhere` is no model", "config.json", "hint"],
    );
    refused(&["--model", "data"], 2, &["`data` is no model"]);
    refused(&["--model", MODEL, "--temperature=-1"], 2, &["--temperature"]);
    refused(&["--model", MODEL, "--max-tokens", "0"], 2, &["--max-tokens"]);
    refused(&["--model", MODEL, "--chat"], 3, &["no_chat_template"]);
    refused(
        &["--model", MODEL, "--max-tokens", "5000"],
        3,
        &["prompt_too_long", "hint"],
    );
    lab.write("empty/config.json", "{}");
    refused(&["--model", "empty"], 3, &["config.json"]);
}
