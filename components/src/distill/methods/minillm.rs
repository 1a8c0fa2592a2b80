//! `distill.minillm`: reverse KL over whole responses by policy gradient (MiniLLM, Gu et al. 2024).

use super::common::{Corpus, distiller};
use crate::distill::policy_gradient::{Mode, PolicyGradient};
use crate::reference::{self, Ref};
use crate::train::{
    Drawing, LmParams, PolicyGradientTerm, Rollouts, SourceParams, TermParams, VocabularyPolicy,
};

fn teacher_mix() -> f64 {
    0.2
}
fn rollouts() -> u64 {
    256
}
fn inner_epochs() -> u64 {
    4
}

distiller! {
    /// Minimises the reverse KL of whole responses, drawn from a mixture of student and teacher, by policy gradient.
    MiniLlm = "distill.minillm", "minimises the reverse KL of whole responses by policy gradient",
    paper Some("minillm"),
    example r#"use = "distill.minillm"
data = "@pairs"
model = "@base"
teacher = "@teacher"
rollouts = 64
sampling = { max_tokens = 32 }
optim = { lr = 5e-5, batch_size = 16, budget = { steps = 100 } }
"#;
    /// Parameters of `distill.minillm`. Defaults are the released code's.
    MiniLlmParams {
        /// The teacher: a model with the student's tokenizer.
        pub teacher: Ref<reference::Model>,
        /// What to do about vocabularies of different sizes.
        #[serde(default)]
        pub vocab_policy: VocabularyPolicy,
        /// The policy gradient and the exact gradient of the next step.
        #[serde(default)]
        pub policy_gradient: PolicyGradient,
        /// The teacher's share α of the distribution that responses are drawn from, at least 0 and below 1.
        #[serde(default = "teacher_mix")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        pub teacher_mix: f64,
        /// Responses that are drawn together, from the student as it then is: a multiple of the batch size.
        #[serde(default = "rollouts")]
        #[schemars(range(min = 1, max = 1_000_000))]
        pub rollouts: u64,
        /// Passes over them before others are drawn.
        #[serde(default = "inner_epochs")]
        #[schemars(range(min = 1, max = 1000))]
        pub inner_epochs: u64,
        /// How responses are drawn.
        #[serde(default)]
        pub sampling: Drawing,
        /// Text that is learnt beside the responses: `coef` 1, and `kd_ratio` 0.5 (0 with `mode = "paper"`), where left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub corpus: Option<Corpus>,
    }
    names &[("objective.0.settings", "policy_gradient"), ("source.rollouts", "rollouts"), ("source", "")], also |_: &_| Vec::new()
}

impl MiniLlmParams {
    fn composition(&self) -> LmParams {
        let source = SourceParams::Rollouts(Rollouts {
            teacher: Some(self.teacher.clone()),
            teacher_mix: self.teacher_mix,
            on_policy: 1.0,
            rollouts: self.rollouts,
            inner_epochs: self.inner_epochs,
            sampling: self.sampling.clone(),
        });
        let mut objective = vec![TermParams::PolicyGradient(PolicyGradientTerm {
            weight: 1.0,
            teacher: self.teacher.clone(),
            vocab_policy: self.vocab_policy,
            settings: self.policy_gradient.clone(),
        })];
        let ratio = match self.policy_gradient.mode {
            Mode::Reference => 0.5,
            Mode::Paper => 0.0,
        };
        let corpus = self.corpus.iter();
        objective
            .extend(corpus.flat_map(|corpus| corpus.terms(&self.teacher, self.vocab_policy, [1.0, ratio])));
        self.composed(Some(source), objective)
    }
}
