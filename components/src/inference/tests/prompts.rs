//! What becomes of prompts and chats before anything is written.

use super::*;

#[test]
fn prompts_that_cannot_be_read_are_named() {
    let bench = bench();
    let model = open(&bench, "model");
    let generator = Generator::new(&model, model.device());
    let of = |ids: usize| Prompt {
        row: 7,
        ids: vec![3; ids],
    };
    assert_eq!(write(&generator, &[of(52)], &drawn(), 1).expect("fits")[0].row, 7);
    let error = write(&generator, &[of(3), of(53)], &drawn(), 1).expect_err("too long");
    assert_eq!(error.code(), "prompt_too_long");
    for part in ["prompt 7", "53 tokens", "leaves 52"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(
        write(&generator, &[of(0)], &drawn(), 1)
            .expect_err("empty")
            .code(),
        "empty_prompt"
    );
    assert_eq!(write(&generator, &[], &drawn(), 1).expect("nothing to do"), []);
}

#[test]
fn chat_templates_make_prompts_and_can_do_no_harm() {
    let bench = bench();
    let folder = bench.at("model");
    let model = open(&bench, "model");
    let config = |config: serde_json::Value| {
        fs::write(folder.join("tokenizer_config.json"), config.to_string()).expect("writes");
    };
    let chat = |text: &str| Chat::of(&model)?.render(&[Message::user(text)]);
    assert_eq!(chat("Hi").expect_err("none").code(), "no_chat_template");
    let template = "{{ bos_token }}{% for m in messages %}\n{{ '<' + m['role'] + '>' + m.content.strip() }}{{ eos_token }}\n\
                    {% endfor %}\n{% if add_generation_prompt and not tools %}<assistant>{% endif %}";
    config(json!({ "bos_token": "<s>", "eos_token": { "content": "</s>" }, "chat_template": template }));
    assert_eq!(chat(" Hi ").expect("renders"), "<s><user>Hi</s>\n<assistant>");
    config(json!({ "chat_template": [
        { "name": "tools", "template": "no" },
        { "name": "default", "template": "yes" },
    ] }));
    assert_eq!(chat("Hi").expect("renders"), "yes");
    for (template, why) in [
        (
            "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
            "fuel",
        ),
        ("{% include '/etc/passwd' %}", "template"),
        ("{{ raise_exception('no system, please') }}", "no system, please"),
        ("{% for i in range(9000) %}{{ 'x' * 10000 }}{% endfor %}", ""),
    ] {
        fs::write(folder.join("chat_template.jinja"), template).expect("writes");
        let error = chat("Hi").expect_err("a mistake");
        assert_eq!(error.code(), "bad_template");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn special_tokens_are_tokens_in_chats_and_text_in_texts() {
    let bench = bench();
    let model = open(&bench, "model");
    let end = model.ends()[0];
    let marked = model.encode_marked("Hi<|endoftext|>").expect("encodes");
    assert_eq!(marked.last(), Some(&end));
    let plain = model.encode("Hi<|endoftext|>", true).expect("encodes");
    assert!(!plain.contains(&end) && plain.len() > marked.len(), "{plain:?}");
}
