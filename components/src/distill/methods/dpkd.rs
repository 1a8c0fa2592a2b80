//! `distill.dpkd`: direct preference knowledge distillation (Li et al. 2024).

use super::common::{Corpus, distiller};
use crate::component::Problem;
use crate::distill::preference::{Preference, PreferenceMode};
use crate::reference::{self, Ref};
use crate::train::{
    Chosen, Drawing, LmParams, PreferenceTerm, Preferences, Responses, SourceParams, TermParams,
    VocabularyPolicy,
};

fn half() -> f64 {
    0.5
}

distiller! {
    /// Prefers a teacher's responses (`mode = "sequence"`, the paper) or its likeliest tokens (`mode = "token"`, the released
    /// code) to the student's own.
    Dpkd = "distill.dpkd", "prefers a teacher's responses to the student's own",
    paper Some("dpkd"),
    example r#"use = "distill.dpkd"
data = "@pairs"
model = "@base"
teacher = "@teacher"
preference = { beta = 0.5 }
sampling = { max_tokens = 32 }
optim = { lr = 1e-4, batch_size = 16, budget = { steps = 100 } }
"#;
    /// Parameters of `distill.dpkd`.
    DpkdParams {
        /// The teacher: a model with the student's tokenizer.
        pub teacher: Ref<reference::Model>,
        /// What to do about vocabularies of different sizes.
        #[serde(default)]
        pub vocab_policy: VocabularyPolicy,
        /// The comparison.
        #[serde(default)]
        pub preference: Preference,
        /// Which responses are preferred; with `mode = "token"`, which are learnt from.
        #[serde(default)]
        pub chosen: Chosen,
        /// With `mode = "sequence"`: steps between two drawings of the student's own responses; 0: once, before the training. One
        /// pass over the data where left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(extend("x-unit" = "steps"), example = 100)]
        pub refresh_every: Option<u64>,
        /// With `mode = "token"`: share of the comparison in the loss; the rest is cross-entropy with the responses.
        #[serde(default = "half")]
        #[schemars(range(min = 0.0, max = 1.0))]
        pub kd_ratio: f64,
        /// With `mode = "sequence"`: factor of the cross-entropy with the preferred responses, beside the comparison.
        #[serde(default)]
        #[schemars(range(min = 0.0))]
        pub response_ce: f64,
        /// How responses are drawn.
        #[serde(default)]
        pub sampling: Drawing,
        /// Text that is learnt beside the responses: `coef` 0.5, and `kd_ratio` 0 (0.5 with `mode = "token"`), where left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub corpus: Option<Corpus>,
    }
    names &[("objective.0.settings", "preference"), ("objective.1.settings", "preference"), ("source", "")], also DpkdParams::problems
}

impl DpkdParams {
    fn composition(&self) -> LmParams {
        let token = self.preference.mode == PreferenceMode::Token;
        let term = |weight| {
            TermParams::Preference(PreferenceTerm {
                weight,
                teacher: self.teacher.clone(),
                vocab_policy: self.vocab_policy,
                settings: self.preference.clone(),
                response_ce: if token { 0.0 } else { self.response_ce },
            })
        };
        let (source, mut objective) = if token {
            let written = SourceParams::Responses(Responses {
                teacher: self.teacher.clone(),
                prompt_tokens: None,
                sampling: self.sampling.clone(),
            });
            let ratio = self.kd_ratio;
            let mixed = super::common::mixed(TermParams::cross_entropy(1.0 - ratio), term(ratio), ratio);
            ((self.chosen == Chosen::Teacher).then_some(written), mixed)
        } else {
            let preferences = SourceParams::Preferences(Preferences {
                teacher: self.teacher.clone(),
                chosen: self.chosen,
                refresh_every: self.refresh_every,
                sampling: self.sampling.clone(),
            });
            (Some(preferences), vec![term(1.0)])
        };
        let ratio = if token { 0.5 } else { 0.0 };
        let corpus = self.corpus.iter();
        objective
            .extend(corpus.flat_map(|corpus| corpus.terms(&self.teacher, self.vocab_policy, [0.5, ratio])));
        self.composed(source, objective)
    }

    /// What speaks of the other mode: `not_for_mode`.
    fn problems(&self) -> Vec<Problem> {
        let token = self.preference.mode == PreferenceMode::Token;
        let others = [
            ("refresh_every", token && self.refresh_every.is_some(), "sequence"),
            ("response_ce", token && self.response_ce > 0.0, "sequence"),
        ];
        let wrong = others.into_iter().filter(|(_, wrong, _)| *wrong);
        wrong
            .map(|(key, _, mode)| Problem {
                field: key.to_owned(),
                code: "not_for_mode",
                message: format!("`{key}` speaks of whole responses; `mode` is \"token\""),
                hint: Some(format!("leave it out, or take `preference.mode = \"{mode}\"`")),
            })
            .collect()
    }
}
