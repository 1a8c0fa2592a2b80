//! How an instruction becomes the prompt that a model reads: built-in templates, a file's, or the model's own for chats.

use crate::artifact::InstructionPair;
use crate::inference::{Chat, Message};
use crate::template::Template;
use crate::{Context, Error, FilePath, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Longer files are no templates.
const LONGEST: u64 = 1 << 20;

/// The prompt of Stanford's Alpaca, as MiniLLM and DPKD use it: one text with an input, one without.
const ALPACA: &str = "{% if input %}Below is an instruction that describes a task, paired with an input that provides \
further context. Write a response that appropriately completes the request.\n\n### Instruction:\n{{ prompt }}\n\n\
### Input:\n{{ input }}\n\n### Response:\n{% else %}Below is an instruction that describes a task. Write a response that \
appropriately completes the request.\n\n### Instruction:\n{{ prompt }}\n\n### Response:\n{% endif %}";

/// Nothing but the texts, a line each.
const PLAIN: &str = "{{ prompt }}\n{% if input %}{{ input }}\n{% endif %}";

/// A template that needs no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuiltIn {
    /// The two prompts of Stanford's Alpaca, with an input and without: what MiniLLM and DPKD use.
    Alpaca,
    /// The instruction and, if there is one, the input, a line each.
    Plain,
    /// The chat template of the model whose tokenizer is used: the instruction and, after an empty line, the input are one
    /// message of a user.
    Chat,
}

impl BuiltIn {
    /// The template, over `prompt` and `input`; none where it is a model's.
    pub const fn source(self) -> Option<&'static str> {
        match self {
            Self::Alpaca => Some(ALPACA),
            Self::Plain => Some(PLAIN),
            Self::Chat => None,
        }
    }
}

/// What makes prompts of pairs.
#[derive(Debug, Clone)]
pub struct PairTemplate {
    kind: Kind,
    fingerprint: String,
}

#[derive(Debug, Clone)]
enum Kind {
    Text(Template),
    Chat(Box<Chat>),
}

impl PairTemplate {
    /// The template in `file`, else the one that is built in; `folder`: where the model or the tokenizer lies.
    ///
    /// # Errors
    /// `bad_template`, `invalid_utf8`, `missing_file`; `no_chat_template`.
    pub fn open(
        built_in: BuiltIn,
        file: Option<&FilePath>,
        folder: &Path,
        context: &Context,
    ) -> Result<Self> {
        match (file, built_in.source()) {
            (Some(file), _) => Self::of_file(&crate::corpus::existing_file(file, context)?),
            (None, Some(source)) => Self::of_source(source),
            (None, None) => {
                let chat = Chat::of_folder(folder)?;
                let fingerprint = chat.fingerprint();
                let kind = Kind::Chat(Box::new(chat));
                Ok(Self { kind, fingerprint })
            }
        }
    }

    fn of_file(file: &Path) -> Result<Self> {
        let size = std::fs::metadata(file)
            .map_err(Error::io("cannot read", file))?
            .len();
        if size > LONGEST {
            let message = format!("a template of {size} bytes; at most 1 MiB is read");
            return Err(Error::data("bad_template", message).in_file(file));
        }
        let bytes = std::fs::read(file).map_err(Error::io("cannot read", file))?;
        let source = String::from_utf8(bytes).map_err(|e| {
            Error::data("invalid_utf8", "not UTF-8")
                .in_file(file)
                .at(format!("byte {}", e.utf8_error().valid_up_to()))
        })?;
        Self::of_source(&source).map_err(|error| error.in_file(file))
    }

    /// A template over `prompt`, `input` and `meta`. Its last newline is part of the prompt. `bad_template`.
    pub fn of_source(source: &str) -> Result<Self> {
        Ok(Self {
            kind: Kind::Text(Template::parse_exact(source)?),
            fingerprint: blake3::hash(source.as_bytes()).to_hex().to_string(),
        })
    }

    /// The prompt of a pair. `bad_template`, naming the pair.
    pub fn render(&self, pair: &InstructionPair) -> Result<String> {
        let text = match &self.kind {
            Kind::Text(template) => template.render(&pair.values()),
            Kind::Chat(chat) => {
                let parts = [pair.prompt.as_str(), pair.input.as_str()];
                let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
                chat.render(&[Message::user(parts.join("\n\n"))])
            }
        };
        text.map_err(|error| {
            error
                .at(format!("pair {}", pair.id))
                .hint("a template knows `prompt`, `input` and `meta`")
        })
    }

    /// BLAKE3 of what the prompts follow from, in hex: equal for equal templates, wherever they lie.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether the prompts have their special tokens written out.
    pub fn is_chat(&self) -> bool {
        matches!(self.kind, Kind::Chat(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn pair(prompt: &str, input: &str) -> InstructionPair {
        InstructionPair {
            id: 4,
            prompt: prompt.to_owned(),
            input: input.to_owned(),
            response: "secret".to_owned(),
            responses: vec!["secret".to_owned()],
            meta: Map::from_iter([("task".to_owned(), json!("sum"))]),
        }
    }

    #[test]
    fn alpacas_prompts_have_their_length() {
        let alpaca = PairTemplate::of_source(ALPACA).expect("a template");
        let without = alpaca.render(&pair("{instruction}", "")).expect("renders");
        let with = alpaca.render(&pair("{instruction}", "{input}")).expect("renders");
        assert_eq!((without.len(), with.len()), (153, 225));
        assert!(with.ends_with("### Input:\n{input}\n\n### Response:\n"), "{with}");
    }

    #[test]
    fn a_template_sees_the_question_and_never_the_answer() {
        let plain = PairTemplate::of_source(PLAIN).expect("a template");
        assert_eq!(plain.render(&pair("add", "1 2")).expect("renders"), "add\n1 2\n");
        assert_eq!(plain.render(&pair("hi", "")).expect("renders"), "hi\n");
        let own = PairTemplate::of_source("{{ meta.task }}: {{ prompt }}").expect("a template");
        assert_eq!(own.render(&pair("add", "")).expect("renders"), "sum: add");
        assert_ne!(own.fingerprint(), plain.fingerprint());
        let cheat = PairTemplate::of_source("{{ response }}").expect("a template");
        let error = cheat.render(&pair("add", "")).expect_err("no answers");
        assert_eq!(error.code(), "bad_template");
        assert!(error.to_string().contains("pair 4"), "{error}");
    }
}
