//! What a user may say about a training.

use super::optim_params::{Budget, OptimParams};
use super::recompute::Recompute;
use super::sources::SourceParams;
use super::terms::TermParams;
use crate::component::{KindOf, Problem};
use crate::gradients::holds_own_gradients;
use crate::model::ModelSpec;
use crate::reference;
use crate::reweight::{Contribution, Reweight};
use crate::{Kind, Ref};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;

/// Parameters of `train.lm`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LmParams {
    /// Packed tokens, or a selection of them; a selection's weights multiply the loss.
    pub data: Ref<reference::Blocks>,
    /// A new model (`{ family = "llama", hidden_size = … }`), or a model to go on from (`"@step"`).
    pub model: ModelChoice,
    /// The optimizer, its schedule and its budget.
    pub optim: OptimParams,
    /// What is learnt from instead of the data as it is; the data's prompts are then what is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceParams>,
    /// The terms of the loss, which are added up.
    #[serde(default = "default_objective")]
    #[schemars(length(min = 1))]
    pub objective: Vec<TermParams>,
    /// Weights of the blocks at every step, found for these blocks (`policy.learning_law`); those of a step's blocks are made to
    /// add up to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Ref<reference::Policy>>,
    /// Weighs the blocks of every step by what they do for a target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reweight: Option<Reweight>,
    /// Measures the loss on other data along the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<Evaluation>,
    /// Stops when the evaluated loss no longer falls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Steps between checkpoints, from which a killed training goes on. Changing it makes nothing new.
    #[serde(default = "checkpoint_every")]
    #[schemars(range(min = 1), extend("x-unit" = "steps", "x-runtime" = true))]
    pub checkpoint_every: u64,
    /// What is worked out again for the gradients instead of being kept: with `block` all that is inside a layer, for less
    /// memory and more time (`lyceum plan` tells both). It changes no bytes and makes nothing new.
    #[serde(default)]
    #[schemars(extend("x-runtime" = true))]
    pub recompute: Recompute,
}

fn default_objective() -> Vec<TermParams> {
    vec![TermParams::cross_entropy(1.0)]
}
/// Steps between checkpoints where nobody says.
pub(crate) fn checkpoint_every() -> u64 {
    100
}

/// A new model or one to go on from.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelChoice {
    /// Made at random.
    Fresh(ModelSpec),
    /// Taken from a step.
    Continue(Ref<reference::Model>),
}

impl Serialize for ModelChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fresh(spec) => spec.serialize(serializer),
            Self::Continue(reference) => reference.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ModelChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableOrReference;
        impl<'de> Visitor<'de> for TableOrReference {
            type Value = ModelChoice;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a table that describes a model, or a reference to one")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ref::deserialize(serde::de::value::StrDeserializer::new(text)).map(ModelChoice::Continue)
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
                ModelSpec::deserialize(MapAccessDeserializer::new(map)).map(ModelChoice::Fresh)
            }
        }
        deserializer.deserialize_any(TableOrReference)
    }
}

impl JsonSchema for ModelChoice {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "model_or_reference".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        // The keywords for tables bind tables only and `pattern` binds strings only, so one schema serves both.
        let mut schema = ModelSpec::json_schema(generator);
        let reference = Ref::<reference::Model>::json_schema(generator);
        for key in ["pattern", "x-artifact"] {
            if let Some(value) = reference.get(key) {
                schema.insert(key.to_owned(), value.clone());
            }
        }
        schema.insert("type".to_owned(), serde_json::json!(["object", "string"]));
        schema
    }
}

/// Measures the loss along the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// What the loss is measured on; the training never sees it.
    pub data: Ref<reference::Blocks>,
    /// Steps between measurements; the last step is always measured.
    #[schemars(range(min = 1), extend("x-unit" = "steps"), example = 100)]
    pub every: u64,
}

/// Stops when the evaluated loss no longer falls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Measurements without improvement that are waited for.
    #[schemars(range(min = 1), example = 3)]
    pub patience: u64,
    /// What counts as an improvement, in nats.
    #[serde(default)]
    #[schemars(range(min = 0.0), extend("x-unit" = "nats"))]
    pub min_delta: f64,
}

impl LmParams {
    /// What is wrong with caches among the teachers.
    pub(crate) fn input_problems(&self, kind: &KindOf) -> Vec<Problem> {
        let fixed_text = self.source.is_none();
        let terms = self.objective.iter().enumerate();
        let divergences = terms.filter_map(|(i, term)| Some((i, term.as_divergence()?)));
        let cached =
            divergences.filter(|(_, (_, term))| kind(term.teacher.as_str()) == Some(Kind::TeacherCache));
        cached
            .flat_map(|(i, (kind, term))| term.cache_problems(kind, &format!("objective.{i}"), fixed_text))
            .collect()
    }

    /// What the schema cannot say.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = match &self.model {
            ModelChoice::Fresh(spec) => spec.check("model"),
            ModelChoice::Continue(_) => Vec::new(),
        };
        let Budget {
            steps,
            tokens,
            flops,
            match_model,
            charge,
        } = &self.optim.budget;
        let given = [
            steps.is_some(),
            tokens.is_some(),
            flops.is_some(),
            match_model.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            problems.push(Problem {
                field: "optim.budget".into(),
                code: "not_exactly_one",
                message: "`budget` wants exactly one of `steps`, `tokens`, `flops`, `match`".into(),
                hint: Some(
                    "tables of different layers merge: is another kind of budget set elsewhere?".into(),
                ),
            });
        }
        if !charge.is_empty() && match_model.is_none() {
            problems.push(Problem {
                field: "optim.budget.charge".into(),
                code: "conflicting_fields",
                message: "`charge` has no effect without `match`".into(),
                hint: Some("match = \"@student\"".into()),
            });
        }
        if self.early_stopping.is_some() && self.eval.is_none() {
            problems.push(Problem {
                field: "early_stopping".into(),
                code: "missing_key",
                message: "`early_stopping` needs `eval`".into(),
                hint: Some("add `eval = { data = \"@valid\", every = 100 }`".into()),
            });
        }
        problems.extend(self.weighting_problems());
        if let Some(source) = &self.source {
            problems.extend(source.problems("source", self.optim.batch_size));
        }
        if self.objective.iter().all(|term| term.data().is_some()) {
            problems.push(Problem {
                field: "objective".into(),
                code: "no_objective",
                message: "every term has data of its own: nothing is learnt from `data`".into(),
                hint: Some("make one of them the `data` of the training".into()),
            });
        }
        let rewarded =
            matches!(&self.source, Some(SourceParams::Rollouts(rollouts)) if rollouts.teacher.is_some());
        let policies = self.objective.iter().enumerate();
        let policies = policies.filter(|(_, term)| matches!(term, TermParams::PolicyGradient(_)));
        problems.extend(policies.filter(|_| !rewarded).map(|(i, _)| Problem {
            field: format!("objective.{i}"),
            code: "missing_key",
            message:
                "`policy_gradient` learns from responses that the model draws and a teacher rewards".into(),
            hint: Some("set `source = { kind = \"rollouts\", teacher = \"@teacher\" }`".into()),
        }));
        let fields = self.objective.iter().enumerate();
        problems.extend(fields.flat_map(|(i, term)| term.problems(&format!("objective.{i}"))));
        problems
    }

    /// Whether a step is one pass, and its loss the mean negative log-likelihood of its tokens.
    pub(super) fn is_plain(&self) -> bool {
        self.optim.accumulate == 1 && self.objective == default_objective()
    }

    /// Whether weighing and training are one pass.
    fn shares_pass(&self, reweight: &Reweight) -> bool {
        self.is_plain() && reweight.contribution == Contribution::PerExampleDot
    }

    /// Whether weighing forms the blocks' own gradients by so many parameters.
    fn holds_own_gradients(&self, reweight: &Reweight, parameters: f64) -> bool {
        self.shares_pass(reweight) && holds_own_gradients(self.optim.batch_size, parameters as usize)
    }

    /// Numbers that weighing holds: the target's gradient, and maybe that of every block.
    pub(super) fn weighing_holds(&self, parameters: f64) -> f64 {
        self.reweight.as_ref().map_or(0.0, |reweight| {
            let own = self.holds_own_gradients(reweight, parameters);
            parameters * (1.0 + if own { self.optim.batch_size as f64 } else { 0.0 })
        })
    }

    /// What weighing takes, as a share of what the step itself takes.
    pub(super) fn weighing_share(&self, parameters: f64) -> f64 {
        let Some(reweight) = &self.reweight else {
            return 0.0;
        };
        let of_step = match reweight.contribution {
            Contribution::PerExampleDot if self.holds_own_gradients(reweight, parameters) => 0.0,
            Contribution::PerExampleDot if self.is_plain() => 1.0 / 3.0,
            Contribution::PerExampleDot => 1.0,
            Contribution::Difference => 2.0 / 3.0,
        };
        let rows = self.optim.batch_size * self.optim.accumulate;
        let target = reweight.target_examples(usize::MAX, rows) as f64 / rows as f64;
        of_step + target / reweight.refresh_every as f64
    }

    fn weighting_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let Some(reweight) = &self.reweight else {
            return problems;
        };
        if self.policy.is_some() {
            problems.push(Problem {
                field: "reweight".into(),
                code: "not_exactly_one",
                message: "`policy` and `reweight` both give the blocks' weights".into(),
                hint: Some("leave one of them out".into()),
            });
        }
        if reweight.match_norm && !self.shares_pass(reweight) {
            problems.push(Problem {
                field: "reweight.match_norm".into(),
                code: "bad_value",
                message: "`match_norm` wants plain cross-entropy in one pass a step, and contributions by `per_example_dot`"
                    .into(),
                hint: Some("leave out `match_norm`, or `objective`, `optim.accumulate` and `contribution`".into()),
            });
        }
        problems
    }
}
