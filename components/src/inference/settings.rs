//! How texts are gone on with.

use crate::component::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a text is gone on with. The rules and their order are those of transformers: repetition penalty, no repeated
/// n-grams, the shortest length; then, where tokens are drawn, temperature, `top_k`, `top_p`, `min_p`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// The most new tokens.
    #[schemars(range(min = 1, max = 1_048_576), extend("x-unit" = "tokens"))]
    pub max_tokens: usize,
    /// New tokens before the text may end.
    #[schemars(range(max = 1_048_576), extend("x-unit" = "tokens"))]
    pub min_tokens: usize,
    /// Divides the logits. At 0 nothing is drawn: the most likely token is taken.
    #[schemars(range(min = 0.0))]
    pub temperature: f64,
    /// Draws among this many most likely tokens; 0: among all.
    pub top_k: usize,
    /// Draws among the fewest most likely tokens whose probabilities add up to this.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub top_p: f64,
    /// Draws among tokens at least this many times as likely as the most likely one.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_p: f64,
    /// Divides positive logits of tokens that were read or drawn before, and multiplies negative ones.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub repetition_penalty: f64,
    /// No run of this many tokens occurs twice, the prompt included; 0: any may.
    pub no_repeat_ngram: usize,
    /// Texts that end the new text; they are no part of it.
    #[schemars(inner(length(min = 1)))]
    pub stop: Vec<String>,
}

impl Default for Sampling {
    /// Greedy, at most 128 tokens.
    fn default() -> Self {
        Self {
            max_tokens: 128,
            min_tokens: 0,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            no_repeat_ngram: 0,
            stop: Vec::new(),
        }
    }
}

impl Sampling {
    /// Whether the most likely token is taken and nothing is drawn.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Mistakes that a schema cannot express, in the table called `field`.
    pub fn problems(&self, field: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.min_tokens > self.max_tokens {
            let (min, max) = (self.min_tokens, self.max_tokens);
            problems.push(Problem {
                field: format!("{field}.min_tokens"),
                code: "bad_value",
                message: format!("at least {min} tokens are wanted, and at most {max}"),
                hint: Some("raise `max_tokens` or lower `min_tokens`".to_owned()),
            });
        }
        problems
    }
}
