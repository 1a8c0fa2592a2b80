//! Parameters of `corpus.instructions`.

use super::language::CLASSES_OF_A_LIST;
use super::lexicon::WORDS;
use super::operation::{Family, PHRASINGS};
use crate::component::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Parameters of `corpus.instructions`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstructionsParams {
    /// Instructions of every part, each an output. No instruction is in two parts, nor twice in one.
    #[schemars(
        extend("minProperties" = 1),
        extend("propertyNames" = serde_json::json!({ "pattern": "^[A-Za-z_][A-Za-z0-9_-]*$" })),
        extend("additionalProperties" = serde_json::json!({ "type": "integer", "minimum": 1, "maximum": 10_000_000 })),
        extend("x-unit" = "pairs")
    )]
    pub counts: BTreeMap<String, u64>,
    /// What is asked for, each equally often; all there is where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), example = ["copy", "reverse", "keep"])]
    pub families: Option<Vec<Family>>,
    /// Share of the instructions that ask for two things, one after the other, among those that can.
    #[serde(default = "compose")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub compose: f64,
    /// Words in a list; of look-ups, pairs.
    #[serde(default)]
    pub length: Lengths,
    /// Words of every class that occur; the language has eight classes.
    #[serde(default = "words")]
    #[schemars(range(min = 2, max = 16), extend("x-unit" = "words"))]
    pub words: usize,
    /// Numbers to be added go from 0 to this.
    #[serde(default = "largest_number")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub largest_number: u64,
    /// Ways in which the same is asked for.
    #[serde(default = "phrasings")]
    #[schemars(range(min = 1, max = 3))]
    pub phrasings: usize,
}

/// Shortest and longest list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lengths {
    /// At least so many.
    #[schemars(range(min = 1, max = 48), extend("x-unit" = "words"))]
    pub min: usize,
    /// At most so many: three classes at most are in one list.
    #[schemars(range(min = 1, max = 48), extend("x-unit" = "words"))]
    pub max: usize,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { min: 3, max: 6 }
    }
}

fn compose() -> f64 {
    0.3
}

fn words() -> usize {
    WORDS
}

fn largest_number() -> u64 {
    99
}

fn phrasings() -> usize {
    PHRASINGS
}

impl InstructionsParams {
    /// What is asked for.
    pub(super) fn families(&self) -> Vec<Family> {
        self.families.clone().unwrap_or_else(|| Family::ALL.to_vec())
    }

    /// Mistakes that a schema cannot express.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |field: &str, message: String, hint: &str| {
            problems.push(Problem {
                field: field.to_owned(),
                code: "bad_value",
                message,
                hint: Some(hint.to_owned()),
            });
        };
        let (Lengths { min, max }, most) = (self.length, CLASSES_OF_A_LIST * self.words);
        if min > max {
            problem(
                "length",
                format!("the shortest list has {min} words, the longest {max}"),
                "raise `max` or lower `min`",
            );
        }
        if max > most {
            let message = format!("a list of {max} words needs more than the {most} of three classes");
            problem("length.max", message, "lower `length.max` or raise `words`");
        }
        let mut families = self.families();
        families.sort();
        if let Some(twice) = families.windows(2).find(|pair| pair[0] == pair[1]) {
            problem(
                "families",
                format!("`{}` is named twice", twice[0].name()),
                "name each once",
            );
        }
        problems
    }
}
