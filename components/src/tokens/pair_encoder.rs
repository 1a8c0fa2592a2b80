//! A pair as the token ids of its prompt and of its answer.

use crate::artifact::InstructionPair;
use crate::pair_template::PairTemplate;
use crate::tokenizer::Encoder;
use crate::{Error, Result};

/// Encodes pairs: the prompt alone, and prompt and answer together, of which the prompt's ids must be the beginning
/// (MiniLLM sheet, section 4). What follows them is the answer.
#[derive(Debug)]
pub(crate) struct PairEncoder<'a> {
    encoder: &'a Encoder,
    template: &'a PairTemplate,
    special: bool,
}

impl<'a> PairEncoder<'a> {
    /// `special`: with what the tokenizer puts around a text; templates for chats write that out themselves.
    pub(crate) fn new(encoder: &'a Encoder, template: &'a PairTemplate, special: bool) -> Self {
        Self {
            encoder,
            template,
            special: special && !template.is_chat(),
        }
    }

    /// The prompt's ids. `bad_template`, `cannot_encode`, `empty_prompt`, naming the pair.
    pub(crate) fn prompt(&self, pair: &InstructionPair) -> Result<Vec<u32>> {
        let ids = self.encode(&self.template.render(pair)?, pair)?;
        if ids.is_empty() {
            let error = Error::data("empty_prompt", "the prompt has no tokens");
            return Err(error
                .at(format!("pair {}", pair.id))
                .hint("write some text around the instruction in the template"));
        }
        Ok(ids)
    }

    /// The ids of prompt and answer, without an end. `prompt_not_prefix`: they do not begin with the prompt's.
    pub(crate) fn pair(&self, pair: &InstructionPair) -> Result<(Vec<u32>, Vec<u32>)> {
        let prompt = self.prompt(pair)?;
        let text = [self.template.render(pair)?.as_str(), &pair.response].concat();
        let mut both = self.encode(&text, pair)?;
        let common = prompt.iter().zip(&both).take_while(|(a, b)| a == b).count();
        if common < prompt.len() {
            let message = format!(
                "token {common} of the prompt is another one once the answer follows it: the tokenizer joins them"
            );
            return Err(Error::data("prompt_not_prefix", message)
                .at(format!("pair {}", pair.id))
                .hint(
                    "end the template with a newline, set `add_special_tokens = false` if the tokenizer ends texts, or \
                     leave such pairs out by `on_joined = \"drop\"`",
                ));
        }
        let response = both.split_off(prompt.len());
        Ok((prompt, response))
    }

    fn encode(&self, text: &str, pair: &InstructionPair) -> Result<Vec<u32>> {
        let ids = if self.template.is_chat() {
            self.encoder.encode_marked(text)
        } else {
            self.encoder.encode_as(text, self.special)
        };
        ids.map_err(|error| error.at(format!("pair {}", pair.id)))
    }
}
