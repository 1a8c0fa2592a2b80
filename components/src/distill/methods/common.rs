//! What the distillers share.

use crate::component::Problem;
use crate::distill::Tail;
use crate::reference::{self, Ref};
use crate::train::{
    CrossEntropyTerm, DivergenceKind, DivergenceTerm, Reduction, TermParams, VocabularyPolicy,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which divergence from the teacher is minimised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DivergenceChoice {
    /// Which.
    pub kind: DivergenceKind,
    /// Of `jsd`: weight of `KL(p‖m)`, strictly between 0 and 1; 0.5 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// Of the skewed ones: share of the other distribution, from 0 to below 1; 0.1 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew: Option<f64>,
    /// Divides the logits of both.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub temperature: f64,
    /// Multiplies by the temperature squared, so that gradients keep their size.
    #[serde(default)]
    pub tau_squared: bool,
    /// How tokens are averaged.
    #[serde(default)]
    pub reduction: Reduction,
    /// Of a cached teacher: what becomes of the probability that its tokens leave.
    #[serde(default)]
    pub tail: Tail,
}

fn one() -> f64 {
    1.0
}

impl DivergenceChoice {
    /// One kind, with every default.
    pub(super) fn of(kind: DivergenceKind) -> Self {
        Self {
            kind,
            beta: None,
            skew: None,
            temperature: 1.0,
            tau_squared: false,
            reduction: Reduction::default(),
            tail: Tail::default(),
        }
    }

    /// The term, from a teacher.
    pub(super) fn term(
        &self,
        teacher: Ref<reference::Teaching>,
        policy: VocabularyPolicy,
        weight: f64,
    ) -> TermParams {
        let term = DivergenceTerm {
            weight,
            beta: self.beta,
            skew: self.skew,
            temperature: self.temperature,
            tau_squared: self.tau_squared,
            reduction: self.reduction,
            tail: self.tail,
            vocab_policy: policy,
            ..DivergenceTerm::new(teacher)
        };
        TermParams::divergence(self.kind, term)
    }
}

/// Text of another kind that is learnt beside the responses, so that the student does not forget it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Corpus {
    /// The text, packed: as many rows a step as the data gives.
    pub data: Ref<reference::Blocks>,
    /// Factor of its loss; the method's own where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0), example = 1.0)]
    pub coef: Option<f64>,
    /// Share of the teacher's soft labels in it, the rest being the text itself; the method's own where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0), example = 0.5)]
    pub kd_ratio: Option<f64>,
}

impl Corpus {
    /// Its terms; `coef` and `ratio` are the method's defaults.
    pub(super) fn terms(
        &self,
        teacher: &Ref<reference::Model>,
        policy: VocabularyPolicy,
        [coef, ratio]: [f64; 2],
    ) -> Vec<TermParams> {
        let (coef, ratio) = (self.coef.unwrap_or(coef), self.kd_ratio.unwrap_or(ratio));
        let entropy = TermParams::CrossEntropy(CrossEntropyTerm {
            weight: coef * (1.0 - ratio),
            reduction: Reduction::default(),
            data: Some(self.data.clone()),
        });
        let soft = TermParams::SoftCe(DivergenceTerm {
            weight: coef * ratio,
            vocab_policy: policy,
            data: Some(self.data.clone()),
            ..DivergenceTerm::new(teacher.widened())
        });
        mixed(entropy, soft, ratio)
    }
}

/// `(1 − ratio)` of one term and `ratio` of another: neither where its share is nothing.
pub(super) fn mixed(one: TermParams, other: TermParams, ratio: f64) -> Vec<TermParams> {
    let one = (ratio < 1.0).then_some(one);
    one.into_iter().chain((ratio > 0.0).then_some(other)).collect()
}

/// The trainer's complaints in the names of a distiller: `names` are pairs of the trainer's field and the distiller's.
pub(super) fn renamed(problems: Vec<Problem>, names: &[(&str, &str)]) -> Vec<Problem> {
    let rename = |mut problem: Problem| {
        let found = names.iter().find_map(|(from, to)| {
            let rest = problem.field.strip_prefix(from)?;
            (rest.is_empty() || rest.starts_with('.')).then(|| format!("{to}{rest}"))
        });
        if let Some(field) = found {
            problem.field = field;
        }
        problem
    };
    problems.into_iter().map(rename).collect()
}

/// Declares a distiller: its parameters, which are the common ones and its own, and the component. Unknown keys are refused,
/// so the common keys cannot be a struct of their own that is flattened into each.
macro_rules! distiller {
    (
        $(#[$about:meta])* $component:ident = $name:literal, $summary:literal, paper $paper:expr, example $example:literal;
        $(#[$doc:meta])* $params:ident { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)* }
        names $names:expr, also $more:expr
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy)]
        pub enum $component {}

        $(#[$doc])*
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $params {
            /// Instruction pairs, encoded by `tokens.pairs`, or packed text.
            pub data: crate::Ref<crate::reference::Blocks>,
            /// The student: a model to go on from (`"@step"`), usually one that was fine-tuned before, or a new one.
            pub model: crate::train::ModelChoice,
            $($(#[$field_doc])* pub $field: $type,)*
            /// The optimizer, its schedule and its budget.
            pub optim: crate::train::OptimParams,
            /// Weighs the examples of every step by what they do for a target.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub reweight: Option<crate::reweight::Reweight>,
            /// Measures the loss on other data along the way.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub eval: Option<crate::train::Evaluation>,
            /// Stops when the evaluated loss no longer falls.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub early_stopping: Option<crate::train::EarlyStopping>,
            /// Steps between checkpoints, from which a killed training goes on. Changing it makes nothing new.
            #[serde(default = "crate::train::checkpoint_every")]
            #[schemars(range(min = 1), extend("x-unit" = "steps", "x-runtime" = true))]
            pub checkpoint_every: u64,
            /// What is worked out again for the gradients instead of being kept. Changing it makes nothing new.
            #[serde(default)]
            #[schemars(extend("x-runtime" = true))]
            pub recompute: crate::train::Recompute,
        }

        impl $params {
            /// The training that learns `objective` from `source`.
            fn composed(
                &self,
                source: Option<crate::train::SourceParams>,
                objective: Vec<crate::train::TermParams>,
            ) -> crate::train::LmParams {
                crate::train::LmParams {
                    data: self.data.clone(),
                    model: self.model.clone(),
                    optim: self.optim.clone(),
                    source,
                    objective,
                    policy: None,
                    reweight: self.reweight.clone(),
                    eval: self.eval.clone(),
                    early_stopping: self.early_stopping.clone(),
                    checkpoint_every: self.checkpoint_every,
                    recompute: self.recompute,
                }
            }
        }

        impl crate::Component for $component {
            type Params = $params;
            const NAME: &'static str = $name;
            // 2: `budget.match` counts what the model it goes on from has had.
            const VERSION: u32 = 2;
            const SUMMARY: &'static str = $summary;
            const PAPER: Option<&'static str> = $paper;
            const SEEDING: crate::Seeding = crate::Seeding::Experiment;
            const NUMERIC: bool = true;
            const EXAMPLE: &'static str = $example;

            fn outputs(_: &$params) -> Vec<crate::Output> {
                crate::component::main_output(crate::Kind::Model)
            }

            fn check(params: &$params) -> Vec<crate::component::Problem> {
                let found = super::common::renamed(params.composition().problems(), $names);
                found.into_iter().chain(($more)(params)).collect()
            }

            fn check_inputs(
                params: &$params,
                kind: &crate::component::KindOf,
            ) -> Vec<crate::component::Problem> {
                super::common::renamed(params.composition().input_problems(kind), $names)
            }

            fn estimate(params: &$params, sizes: &crate::Sizes) -> crate::Estimate {
                crate::train::estimate(&params.composition(), sizes)
            }

            fn run(params: $params, context: &crate::Context) -> crate::Result<()> {
                crate::train::run(&params.composition(), context)
            }
        }
    };
}

pub(super) use distiller;
