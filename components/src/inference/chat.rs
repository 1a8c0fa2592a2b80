//! A model's chat template: how messages become the text that it was taught to read.

use super::LanguageModel;
use crate::model::folder::{companion, companion_text};
use crate::template::Template;
use crate::{Error, Result};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// What a user says.
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: "user".to_owned(),
            content: content.into(),
        }
    }
}

/// A model's chat template, with the special tokens that it may name.
#[derive(Debug, Clone)]
pub struct Chat {
    template: Template,
    specials: serde_json::Map<String, Value>,
}

impl Chat {
    /// The template of `model`: of `chat_template.jinja`, else of `tokenizer_config.json`; of several the one called
    /// `default`.
    ///
    /// # Errors
    /// `no_chat_template`; `bad_template`, `bad_config`, `invalid_utf8`.
    pub fn of(model: &LanguageModel) -> Result<Self> {
        Self::of_folder(model.folder())
    }

    /// The same of the model in `folder`.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let config = companion(folder, "tokenizer_config.json")?.unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let named = |name: &str| {
            let of_list = |list: &Vec<Value>| list.iter().find(|one| one["name"] == name).cloned();
            config["chat_template"].as_array().and_then(of_list)
        };
        let source = companion_text(folder, "chat_template.jinja")?
            .or_else(|| text(&config["chat_template"]))
            .or_else(|| text(&named("default")?["template"]));
        let source = source.ok_or_else(|| {
            Error::data("no_chat_template", "the model has no chat template")
                .in_file(folder)
                .hint("write the whole prompt in a template of your own instead")
        })?;
        let specials = ["bos_token", "eos_token", "unk_token", "pad_token"].map(|name| {
            let token = &config[name];
            let token = text(token).or_else(|| text(&token["content"]));
            (name.to_owned(), Value::String(token.unwrap_or_default()))
        });
        Ok(Self {
            template: Template::parse(&source).map_err(|error| error.in_file(folder))?,
            specials: specials.into_iter().collect(),
        })
    }

    /// BLAKE3 of what texts follow from besides messages, in hex.
    pub fn fingerprint(&self) -> String {
        let specials = serde_json::to_vec(&self.specials).expect("special tokens are plain text");
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.template.source().as_bytes());
        hasher.update(&[0]);
        hasher.update(&specials);
        hasher.finalize().to_hex().to_string()
    }

    /// The text of `messages`, ready for the assistant's answer. It has its special tokens, so none are to be added when it
    /// is encoded.
    ///
    /// # Errors
    /// `bad_template`: it fails, refuses the messages (`raise_exception`), or takes too long.
    pub fn render(&self, messages: &[Message]) -> Result<String> {
        let mut values = self.specials.clone();
        values.insert("messages".to_owned(), json!(messages));
        values.insert("add_generation_prompt".to_owned(), Value::Bool(true));
        self.template.render(&Value::Object(values))
    }
}
