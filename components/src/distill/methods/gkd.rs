//! `distill.gkd`: a divergence on the student's own responses (GKD, Agarwal et al. 2024).

use super::common::{DivergenceChoice, distiller, mixed};
use crate::reference::{self, Ref};
use crate::train::{DivergenceKind, Drawing, LmParams, Rollouts, SourceParams, TermParams, VocabularyPolicy};

fn one() -> f64 {
    1.0
}

fn jsd() -> DivergenceChoice {
    DivergenceChoice::of(DivergenceKind::Jsd)
}

distiller! {
    /// Minimises a divergence from the teacher on responses that the student itself writes as it learns.
    Gkd = "distill.gkd", "minimises a divergence from a teacher on the student's own responses",
    paper Some("minillm"),
    example r#"use = "distill.gkd"
data = "@pairs"
model = "@base"
teacher = "@teacher"
sampling = { max_tokens = 32 }
optim = { lr = 5e-4, batch_size = 16, budget = { steps = 200 } }
"#;
    /// Parameters of `distill.gkd`.
    GkdParams {
        /// The teacher: a model with the student's tokenizer.
        pub teacher: Ref<reference::Model>,
        /// What to do about vocabularies of different sizes.
        #[serde(default)]
        pub vocab_policy: VocabularyPolicy,
        /// How far from the teacher is measured.
        #[serde(default = "jsd")]
        pub divergence: DivergenceChoice,
        /// Share λ of the batches that the student writes; the others are the data as it is.
        #[serde(default = "one")]
        #[schemars(range(min = 0.0, max = 1.0))]
        pub on_policy: f64,
        /// How the student's responses are drawn.
        #[serde(default)]
        pub sampling: Drawing,
        /// Share of the divergence in the loss; the rest is cross-entropy with the rows as they are.
        #[serde(default = "one")]
        #[schemars(range(min = 0.0, max = 1.0))]
        pub kd_ratio: f64,
    }
    names &[("objective.0", "divergence"), ("objective.1", "divergence")], also |_: &_| Vec::new()
}

impl GkdParams {
    fn composition(&self) -> LmParams {
        let ratio = self.kd_ratio;
        let term = self
            .divergence
            .term(self.teacher.widened(), self.vocab_policy, ratio);
        let source = SourceParams::Rollouts(Rollouts {
            teacher: None,
            teacher_mix: 0.0,
            on_policy: self.on_policy,
            rollouts: self.optim.batch_size as u64,
            inner_epochs: 1,
            sampling: self.sampling.clone(),
        });
        self.composed(
            Some(source),
            mixed(TermParams::cross_entropy(1.0 - ratio), term, ratio),
        )
    }
}
