//! What a user may say about preferences.

use crate::component::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PreferenceMode {
    /// Whole answers, as in the paper.
    #[default]
    Sequence,
    /// The likeliest tokens of teacher and student at every place of a given text, as in the released code.
    Token,
}

/// The loss, of the margin `h` between what is preferred and what is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `−log σ(h)` with `h = β·log(q(y_t)/p(y_t)) − β·log(q(y_s)/p(y_s))`.
    #[default]
    Dpkd,
    /// `(h − 1/(2τ))²` with the same `h` without β (Azar et al. 2023).
    Ipo,
    /// `−log σ(β·log q(y_t) − β·log q(y_s)) − log q(y_t)` (Xu et al. 2024); whole sequences only.
    Cpo,
    /// `−log σ(β·log q(y_t) − β·log q(y_s) − margin)` (Meng et al. 2024); whole sequences only.
    Simpo,
    /// `−log σ(h) + λ·max(0, log p(y_t) − log q(y_t))` (Pal et al. 2024); tokens only.
    Dpop,
}

/// What log-probabilities are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The teacher's.
    #[default]
    Teacher,
    /// Nothing.
    None,
}

/// A preference, as a user writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preference {
    /// Whether whole answers are compared, or tokens.
    #[serde(default)]
    pub mode: PreferenceMode,
    /// The loss.
    #[serde(default)]
    pub form: Form,
    /// How strongly log-probabilities count; with `length_norm` they are averages, so that larger values are worth trying.
    #[serde(default = "tenth")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub beta: f64,
    /// Sequences only: whether log-probabilities are divided by the number of their tokens. True for `dpkd` and `simpo` where
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = false)]
    pub length_norm: Option<bool>,
    /// Tokens only: whether the loss of a row is divided, as a flag of the released code does it, by a 256th of its length
    /// without the run of equal likeliest tokens at its end.
    #[serde(default)]
    pub legacy_trim: bool,
    /// Of `simpo`: taken off the margin.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub margin: f64,
    /// Of `ipo`: half the inverse of the margin that is aimed at.
    #[serde(default = "tenth")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub tau: f64,
    /// Share of comparisons that are taken to be the wrong way round.
    #[serde(default)]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 0.5))]
    pub label_smoothing: f64,
    /// What log-probabilities are compared with; `cpo` and `simpo` compare with nothing.
    #[serde(default)]
    pub reference: Reference,
    /// Of `dpop`: `λ`.
    #[serde(default = "fifty")]
    #[schemars(range(min = 0.0))]
    pub dpop_lambda: f64,
}

fn tenth() -> f64 {
    0.1
}
fn fifty() -> f64 {
    50.0
}

impl Default for Preference {
    fn default() -> Self {
        Self {
            mode: PreferenceMode::default(),
            form: Form::default(),
            beta: tenth(),
            length_norm: None,
            legacy_trim: false,
            margin: 0.0,
            tau: tenth(),
            label_smoothing: 0.0,
            reference: Reference::default(),
            dpop_lambda: fifty(),
        }
    }
}

/// The loss with every choice made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// The loss.
    pub form: Form,
    /// How strongly log-probabilities count.
    pub beta: f64,
    /// Whether they are divided by the number of tokens.
    pub length_norm: bool,
    /// Whether token losses are divided by trimmed lengths.
    pub legacy_trim: bool,
    /// Taken off SimPO's margin.
    pub margin: f64,
    /// IPO's.
    pub tau: f64,
    /// Share of comparisons that are taken to be the wrong way round.
    pub label_smoothing: f64,
    /// Whether the teacher's log-probabilities are taken off.
    pub with_teacher: bool,
    /// DPOP's.
    pub dpop_lambda: f64,
}

impl Preference {
    /// Every choice made.
    pub fn rule(&self) -> Rule {
        let own = matches!(self.form, Form::Cpo | Form::Simpo);
        let normed = matches!(self.form, Form::Dpkd | Form::Simpo) && self.mode == PreferenceMode::Sequence;
        Rule {
            form: self.form,
            beta: self.beta,
            length_norm: self.length_norm.unwrap_or(normed),
            legacy_trim: self.legacy_trim,
            margin: if self.form == Form::Simpo {
                self.margin
            } else {
                0.0
            },
            tau: self.tau,
            label_smoothing: self.label_smoothing,
            with_teacher: self.reference == Reference::Teacher && !own,
            dpop_lambda: self.dpop_lambda,
        }
    }

    /// What the schema cannot say; `field` is the table's own path. `form_not_defined`, `not_for_mode`.
    pub fn problems(&self, field: &str) -> Vec<Problem> {
        let problem = |key: &str, code, message: String, hint: &str| Problem {
            field: format!("{field}.{key}"),
            code,
            message,
            hint: Some(hint.to_owned()),
        };
        let mut problems = Vec::new();
        let defined = match self.mode {
            PreferenceMode::Sequence => self.form != Form::Dpop,
            PreferenceMode::Token => !matches!(self.form, Form::Cpo | Form::Simpo),
        };
        if !defined {
            let (mode, forms) = match self.mode {
                PreferenceMode::Sequence => ("sequence", "`dpkd`, `ipo`, `cpo` or `simpo`"),
                PreferenceMode::Token => ("token", "`dpkd`, `ipo` or `dpop`"),
            };
            let form = format!("{:?}", self.form).to_lowercase();
            let message = format!("`form = \"{form}\"` is not defined with `mode = \"{mode}\"`");
            problems.push(problem(
                "form",
                "form_not_defined",
                message,
                &format!("take {forms}"),
            ));
        }
        let token = self.mode == PreferenceMode::Token;
        if token && self.length_norm == Some(true) {
            let message = "`length_norm` speaks of whole sequences; `mode` is \"token\"".to_owned();
            let hint = "leave it out, or take `mode = \"sequence\"`";
            problems.push(problem("length_norm", "not_for_mode", message, hint));
        }
        if self.legacy_trim && !token {
            let message = "`legacy_trim` speaks of tokens; `mode` is \"sequence\"".to_owned();
            let hint = "leave it out; `length_norm` divides by the number of tokens";
            problems.push(problem("legacy_trim", "not_for_mode", message, hint));
        }
        problems
    }

    /// What is worth telling a user whose settings are allowed.
    pub fn notes(&self) -> Vec<&'static str> {
        let rule = self.rule();
        let bare = rule.form == Form::Dpkd && rule.length_norm && !rule.with_teacher;
        let note = "`form = \"dpkd\"` with `length_norm` and no reference is SimPO without a margin";
        bare.then_some(note).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Preference {
        serde_json::from_str(text).expect("a valid table")
    }

    fn codes(text: &str) -> Vec<(String, &'static str)> {
        let problems = parsed(text).problems("preference");
        problems.into_iter().map(|p| (p.field, p.code)).collect()
    }

    #[test]
    fn forms_are_defined_where_they_make_sense() {
        assert_eq!(parsed("{}"), Preference::default());
        for (mode, undefined) in [("sequence", &["dpop"][..]), ("token", &["cpo", "simpo"][..])] {
            for form in ["dpkd", "ipo", "cpo", "simpo", "dpop"] {
                let found = codes(&format!(r#"{{ "mode": "{mode}", "form": "{form}" }}"#));
                let expected = vec![("preference.form".to_owned(), "form_not_defined")];
                let undefined = undefined.contains(&form);
                assert_eq!(found, if undefined { expected } else { vec![] }, "{mode} {form}");
            }
        }
    }

    #[test]
    fn what_speaks_of_the_other_mode_is_refused() {
        let found = codes(r#"{ "mode": "token", "length_norm": true }"#);
        let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["preference.length_norm"]);
        assert!(found.iter().all(|(_, code)| *code == "not_for_mode"));
        assert_eq!(codes(r#"{ "legacy_trim": true }"#)[0].0, "preference.legacy_trim");
        assert!(codes(r#"{ "mode": "token", "length_norm": false, "legacy_trim": true }"#).is_empty());
    }

    #[test]
    fn lengths_are_normed_where_the_form_was_made_for_it() {
        let rule = |text: &str| parsed(text).rule();
        assert!(rule("{}").length_norm && rule(r#"{ "form": "simpo" }"#).length_norm);
        assert!(!rule(r#"{ "form": "ipo" }"#).length_norm && !rule(r#"{ "mode": "token" }"#).length_norm);
        assert!(!rule(r#"{ "form": "cpo" }"#).with_teacher);
        assert!(parsed("{}").notes().is_empty());
        assert_eq!(parsed(r#"{ "reference": "none" }"#).notes().len(), 1);
    }
}
