//! What stands behind an artifact: the steps it was made by, and what each of them cost.

use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How an artifact was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// By which component.
    pub component: String,
    /// From what.
    pub inputs: Vec<Input>,
    /// FLOPs that making it took, without those of its inputs.
    pub flops: f64,
}

/// An artifact that another was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Dotted path of the parameter that named it, without places in lists: `objective.teacher`.
    pub field: String,
    /// Where it lies (see [`crate::Artifact::location`]).
    pub location: String,
}

impl Made {
    /// From what a step asked for: its parameters, in which `{ "artifact": location }` stands for every reference.
    pub fn new(component: &str, params: &Value, flops: f64) -> Self {
        let mut inputs = Vec::new();
        gather(params, "", &mut inputs);
        Self {
            component: component.to_owned(),
            inputs,
            flops,
        }
    }
}

fn gather(value: &Value, field: &str, inputs: &mut Vec<Input>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(location)) = object.get("artifact") {
                inputs.push(Input {
                    field: field.to_owned(),
                    location: location.clone(),
                });
                return;
            }
            for (key, value) in object {
                let dot = if field.is_empty() { "" } else { "." };
                gather(value, &format!("{field}{dot}{key}"), inputs);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| gather(value, field, inputs)),
        _ => {}
    }
}

/// What a training may be charged for besides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// Scoring: the forward passes of `score.*` over what was chosen from, and the solver of `score.pds_proxy`.
    Scoring,
    /// Texts that a model wrote.
    Generation,
    /// Training a teacher: a model that a field `teacher` names, or that wrote texts.
    Teacher,
    /// Training the other models that scores ask: reference, proxy, learner.
    Reference,
    /// Training a scorer.
    Scorer,
}

impl Charge {
    /// As users write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scoring => "scoring",
            Self::Generation => "generation",
            Self::Teacher => "teacher",
            Self::Reference => "reference",
            Self::Scorer => "scorer",
        }
    }
}

/// What was spent behind some artifacts, by the piece of work: what it was for, and FLOPs.
pub type Spent = BTreeMap<String, (BTreeSet<Charge>, f64)>;

/// What was spent behind `inputs`, each piece of work once. `made` tells how the artifact at a location was made.
///
/// # Errors
/// Those of `made`.
pub fn spent(inputs: &[Input], mut made: impl FnMut(&str) -> Result<Made>) -> Result<Spent> {
    let mut known: BTreeMap<String, Made> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut spent = Spent::new();
    let model = |input: &Input| (input.location.clone(), role(&input.field));
    let mut open: Vec<(String, Option<Charge>)> = inputs.iter().filter(|i| counts(i)).map(model).collect();
    while let Some((location, role)) = open.pop() {
        let work = work(&location);
        if !seen.insert((work.to_owned(), role)) {
            continue;
        }
        if !known.contains_key(work) {
            known.insert(work.to_owned(), made(&location)?);
        }
        let made = &known[work];
        if let Some(charge) = purpose(&made.component, role) {
            let (charges, flops) = spent.entry(work.to_owned()).or_default();
            charges.insert(charge);
            *flops = made.flops;
        }
        open.extend(made.inputs.iter().filter(|input| counts(input)).map(|input| {
            let through = role_in(&made.component, input, role);
            (input.location.clone(), through)
        }));
    }
    Ok(spent)
}

/// FLOPs by charge of what was spent behind `ours`, less those behind `theirs`; work that stands behind both cancels.
pub fn beyond(ours: &Spent, theirs: &Spent, charges: &[Charge]) -> BTreeMap<Charge, f64> {
    let mut sums: BTreeMap<Charge, f64> = BTreeMap::new();
    for (sign, some, others) in [(1.0, ours, theirs), (-1.0, theirs, ours)] {
        let own = some.iter().filter(|(work, _)| !others.contains_key(*work));
        for (purposes, flops) in own.map(|(_, spent)| spent) {
            let charge = purposes.iter().find(|purpose| charges.contains(purpose));
            if let Some(&charge) = charge.filter(|_| *flops > 0.0) {
                *sums.entry(charge).or_default() += sign * flops;
            }
        }
    }
    sums
}

/// The step of a location: without the name of the output.
fn work(location: &str) -> &str {
    let end = location.match_indices('/').nth(1).map(|(at, _)| at);
    &location[..end.unwrap_or(location.len())]
}

/// Whether an input goes into the result: what a budget is matched with and what is measured on does not.
fn counts(input: &Input) -> bool {
    !input.field.ends_with("budget.match") && !input.field.starts_with("eval.")
}

fn role(field: &str) -> Option<Charge> {
    (field.rsplit('.').next() == Some("teacher")).then_some(Charge::Teacher)
}

/// What a model is that `input` of a step names, the step itself being there for `own`.
fn role_in(component: &str, input: &Input, own: Option<Charge>) -> Option<Charge> {
    let kind = component.split('.').next().unwrap_or_default();
    match (role(&input.field), kind) {
        (Some(teacher), _) => Some(teacher),
        (None, "generate") => Some(Charge::Teacher),
        (None, "score") => Some(Charge::Reference),
        (None, "train") if component == "train.scorer" => Some(Charge::Reference),
        // A training that goes on was begun for the same.
        (None, "train" | "distill") if input.field == "model" => own,
        (None, "model") => own,
        _ => None,
    }
}

/// What a step's own cost is a charge for, if for anything.
fn purpose(component: &str, role: Option<Charge>) -> Option<Charge> {
    match component.split('.').next().unwrap_or_default() {
        "score" => Some(Charge::Scoring),
        "generate" => Some(Charge::Generation),
        "train" if component == "train.scorer" => Some(Charge::Scorer),
        "train" | "distill" => role,
        _ => None,
    }
}

/// The mistake of an artifact of which it is not known how it was made.
pub(crate) fn unknown(location: &str) -> Error {
    let message = format!("it is not known what making `{location}` cost");
    Error::data("unknown_cost", message).hint("leave `charge` out, or make the artifact in this store")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A student's data by difference sampling, and by a scorer that learnt a solver's scores.
    fn made(location: &str) -> Result<Made> {
        let at = |location: &str| json!({ "artifact": location });
        let (params, flops) = match work(location) {
            "tokens.pack/t" | "corpus.text/c" => (json!({}), 0.0),
            "train.lm/base" => (json!({ "data": at("tokens.pack/t/train") }), 1.0),
            "train.lm/teacher" => {
                let base = at("train.lm/base");
                (json!({ "model": base, "data": at("tokens.pack/t/train") }), 10.0)
            }
            "train.lm/reference" => {
                let optim = json!({ "budget": { "match": at("train.lm/other") } });
                (json!({ "data": at("tokens.pack/t"), "optim": optim }), 100.0)
            }
            "score.miniplm/s" => (
                json!({ "teacher": at("train.lm/teacher"), "reference": at("train.lm/reference") }),
                1e3,
            ),
            "select.top/s" => (json!({ "scores": at("score.miniplm/s") }), 0.0),
            "score.pds_proxy/p" => (json!({ "models": [at("train.lm/reference")] }), 1e4),
            "train.scorer/r" => (json!({ "scores": at("score.pds_proxy/p") }), 1e5),
            "score.pds/q" => (json!({ "scorer": at("train.scorer/r") }), 1e6),
            "select.top/q" => (json!({ "scores": at("score.pds/q") }), 0.0),
            "generate.text/g" => (json!({ "model": at("train.lm/teacher") }), 1e7),
            "distill.word_kd/d" => (json!({ "model": at("train.lm/base") }), 1e8),
            other => return Err(unknown(other)),
        };
        let component = location.split('/').next().expect("a component");
        Ok(Made::new(component, &params, flops))
    }

    fn behind(field: &str, location: &str) -> Spent {
        let input = Input {
            field: field.to_owned(),
            location: location.to_owned(),
        };
        spent(&[input], made).expect("all is known")
    }

    const ALL: [Charge; 5] = [
        Charge::Scoring,
        Charge::Generation,
        Charge::Teacher,
        Charge::Reference,
        Charge::Scorer,
    ];

    fn sums(ours: &Spent, theirs: &Spent, charges: &[Charge]) -> Vec<(&'static str, f64)> {
        let sums = beyond(ours, theirs, charges);
        sums.into_iter()
            .map(|(charge, flops)| (charge.name(), flops))
            .collect()
    }

    #[test]
    fn what_selections_cost_is_told_apart() {
        let chosen = behind("data", "select.top/s");
        let nothing = Spent::new();
        let expected = [("scoring", 1e3), ("teacher", 11.0), ("reference", 100.0)];
        assert_eq!(sums(&chosen, &nothing, &ALL), expected);
        assert_eq!(sums(&chosen, &nothing, &[Charge::Scoring]), [("scoring", 1e3)]);
        let learnt = behind("data", "select.top/q");
        let expected = [("scoring", 1e6 + 1e4), ("reference", 100.0), ("scorer", 1e5)];
        assert_eq!(sums(&learnt, &nothing, &ALL), expected);
        let written = behind("data", "generate.text/g");
        assert_eq!(
            sums(&written, &nothing, &ALL),
            [("generation", 1e7), ("teacher", 11.0)]
        );
        let taught = behind("objective.teacher", "train.lm/teacher");
        assert_eq!(sums(&taught, &nothing, &ALL), [("teacher", 11.0)]);
        let taught = behind("objective.teacher", "distill.word_kd/d");
        assert_eq!(sums(&taught, &nothing, &ALL), [("teacher", 1e8 + 1.0)]);
        // What a student goes on from is no selection's cost.
        assert_eq!(sums(&behind("model", "train.lm/base"), &nothing, &ALL), []);
        assert_eq!(sums(&behind("eval.data", "select.top/s"), &nothing, &ALL), []);
    }

    #[test]
    fn what_both_sides_spent_cancels() {
        let (chosen, learnt) = (behind("data", "select.top/s"), behind("data", "select.top/q"));
        assert_eq!(sums(&chosen, &chosen, &ALL), []);
        let expected = [("scoring", 1e3 - 1.01e6), ("teacher", 11.0), ("scorer", -1e5)];
        assert_eq!(sums(&chosen, &learnt, &ALL), expected);
    }

    #[test]
    fn what_is_not_known_is_no_charge_of_nothing() {
        let input = Input {
            field: "data".to_owned(),
            location: "select.top/lost".to_owned(),
        };
        assert_eq!(spent(&[input], made).expect_err("unknown").code(), "unknown_cost");
    }
}
