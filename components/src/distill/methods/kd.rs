//! `distill.sft`, `distill.word_kd` and `distill.seq_kd`: the baselines of every distiller (MiniLLM, sheet 2.4).

use super::common::{DivergenceChoice, distiller, mixed};
use crate::reference::{self, Ref};
use crate::train::{
    DivergenceKind, Drawing, LmParams, Responses, SourceParams, TermParams, VocabularyPolicy,
};

distiller! {
    /// Fine-tunes on responses as they are.
    Sft = "distill.sft", "fine-tunes a model on responses as they are", paper None,
    example r#"use = "distill.sft"
data = "@pairs"
model = "@base"
optim = { lr = 5e-4, batch_size = 16, budget = { steps = 200 } }
"#;
    /// Parameters of `distill.sft`.
    SftParams {}
    names &[], also |_: &_| Vec::new()
}

impl SftParams {
    fn composition(&self) -> LmParams {
        self.composed(None, vec![TermParams::cross_entropy(1.0)])
    }
}

fn half() -> f64 {
    0.5
}

fn soft_ce() -> DivergenceChoice {
    DivergenceChoice::of(DivergenceKind::SoftCe)
}

distiller! {
    /// Learns the teacher's distribution of every next token of given text: `(1−k)·CE + k·divergence`.
    WordKd = "distill.word_kd", "learns a teacher's distribution of every next token of given text",
    paper Some("minillm"),
    example r#"use = "distill.word_kd"
data = "@pairs"
model = "@base"
teacher = "@teacher"
optim = { lr = 5e-4, batch_size = 16, budget = { steps = 200 } }
"#;
    /// Parameters of `distill.word_kd`.
    WordKdParams {
        /// The teacher: a model with the student's tokenizer, or what one said of the data (`distill.teacher_cache`).
        pub teacher: Ref<reference::Teaching>,
        /// What to do about vocabularies of different sizes.
        #[serde(default)]
        pub vocab_policy: VocabularyPolicy,
        /// How far from the teacher is measured.
        #[serde(default = "soft_ce")]
        pub divergence: DivergenceChoice,
        /// Share `k` of the teacher in the loss; the rest is cross-entropy with the text.
        #[serde(default = "half")]
        #[schemars(range(min = 0.0, max = 1.0))]
        pub kd_ratio: f64,
    }
    names &[
        ("objective.0.teacher", "teacher"), ("objective.1.teacher", "teacher"),
        ("objective.0", "divergence"), ("objective.1", "divergence"),
    ], also |_: &_| Vec::new()
}

impl WordKdParams {
    fn composition(&self) -> LmParams {
        self.composed(None, self.mix())
    }

    fn mix(&self) -> Vec<TermParams> {
        let ratio = self.kd_ratio;
        let soft = self
            .divergence
            .term(self.teacher.widened(), self.vocab_policy, ratio);
        mixed(TermParams::cross_entropy(1.0 - ratio), soft, ratio)
    }
}

distiller! {
    /// Learns responses that the teacher writes to the data's prompts; with a `kd_ratio`, its distribution of every token too.
    SeqKd = "distill.seq_kd", "learns responses that a teacher writes",
    paper Some("minillm"),
    example r#"use = "distill.seq_kd"
data = "@pairs"
model = "@base"
teacher = "@teacher"
sampling = { max_tokens = 32 }
optim = { lr = 5e-4, batch_size = 16, budget = { steps = 200 } }
"#;
    /// Parameters of `distill.seq_kd`.
    SeqKdParams {
        /// The teacher: a model with the student's tokenizer.
        pub teacher: Ref<reference::Model>,
        /// What to do about vocabularies of different sizes.
        #[serde(default)]
        pub vocab_policy: VocabularyPolicy,
        /// How the teacher's responses are drawn, one to every prompt.
        #[serde(default)]
        pub sampling: Drawing,
        /// Of packed text, how many tokens of a block the teacher is given; it writes the rest, and all of it is learnt. A
        /// block that is no longer stays as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1), extend("x-unit" = "tokens"))]
        pub prompt_tokens: Option<usize>,
        /// How far from the teacher is measured.
        #[serde(default = "soft_ce")]
        pub divergence: DivergenceChoice,
        /// Share of the teacher's distributions in the loss: 0.5 in MiniLLM's released code, 0 for its responses alone.
        #[serde(default = "half")]
        #[schemars(range(min = 0.0, max = 1.0))]
        pub kd_ratio: f64,
    }
    names &[("objective.0", "divergence"), ("objective.1", "divergence"), ("source", "")], also |_: &_| Vec::new()
}

impl SeqKdParams {
    fn composition(&self) -> LmParams {
        let ratio = self.kd_ratio;
        let soft = self
            .divergence
            .term(self.teacher.widened(), self.vocab_policy, ratio);
        let source = SourceParams::Responses(Responses {
            teacher: self.teacher.clone(),
            prompt_tokens: self.prompt_tokens,
            sampling: self.sampling.clone(),
        });
        self.composed(
            Some(source),
            mixed(TermParams::cross_entropy(1.0 - ratio), soft, ratio),
        )
    }
}
