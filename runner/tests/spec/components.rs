//! Small components that only exist for these tests: enough of each kind to write every form of the grammar.

use lyceum_components::component::{Problem, main_output};
use lyceum_components::{
    Component, Context, Descriptor, FilePath, Kind, Output, Ref, Refs, Result, Seeding, reference,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! component {
    ($type:ident, $name:literal, $params:ident, $seeding:ident, $example:literal, $outputs:expr) => {
        pub(crate) struct $type;
        impl Component for $type {
            type Params = $params;
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = "For tests";
            const SEEDING: Seeding = Seeding::$seeding;
            const EXAMPLE: &'static str = $example;
            fn outputs(params: &$params) -> Vec<Output> {
                let outputs: fn(&$params) -> Vec<Output> = $outputs;
                outputs(params)
            }
            fn check(params: &$params) -> Vec<Problem> {
                params.problems()
            }
            fn run(_: $params, _: &Context) -> Result<()> {
                Ok(())
            }
        }
    };
}

/// What a schema cannot say; most parameters have nothing of the kind.
trait Problems {
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Jsonl {
    #[schemars(length(min = 1))]
    files: Vec<FilePath>,
    #[serde(default)]
    keep_columns: Vec<String>,
}
impl Problems for Jsonl {}
component!(JsonlCorpus, "corpus.jsonl", Jsonl, Fixed, "", |_| main_output(
    Kind::Corpus
));

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bpe {
    corpus: Ref<reference::Documents>,
    #[schemars(range(min = 256))]
    vocab_size: u64,
}
impl Problems for Bpe {}
component!(
    TrainBpe,
    "tokenizer.train",
    Bpe,
    None,
    "use = \"tokenizer.train\"\ncorpus = \"@pool\"\nvocab_size = 2048\n",
    |_| main_output(Kind::Tokenizer)
);

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Boundary {
    Concat,
    Document,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pack {
    tokenizer: Ref<reference::Tokenizer>,
    corpus: Ref<reference::Documents>,
    #[schemars(range(min = 8))]
    context: u64,
    #[serde(default = "concat")]
    boundary: Boundary,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    split: Option<std::collections::BTreeMap<String, f64>>,
}
fn concat() -> Boundary {
    Boundary::Concat
}
impl Problems for Pack {}
component!(
    PackTokens,
    "tokens.pack",
    Pack,
    Fixed,
    "",
    |params| match &params.split {
        Some(parts) => parts
            .keys()
            .map(|name| Output {
                name: name.clone(),
                kind: Kind::Tokens
            })
            .collect(),
        None => main_output(Kind::Tokens),
    }
);

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Model {
    family: String,
    hidden_size: u64,
    num_hidden_layers: u64,
    num_attention_heads: u64,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Budget {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Optim {
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    lr: f64,
    #[schemars(range(min = 1))]
    batch_size: u64,
    budget: Budget,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Train {
    data: Ref<reference::Blocks>,
    model: Model,
    optim: Optim,
}
impl Problems for Train {
    fn problems(&self) -> Vec<Problem> {
        let budget = &self.optim.budget;
        if budget.steps.is_some() != budget.tokens.is_some() {
            return Vec::new();
        }
        vec![Problem {
            field: "optim.budget".into(),
            code: "not_exactly_one",
            message: "`optim.budget` wants exactly one of `steps` and `tokens`".into(),
            hint: None,
        }]
    }
}
component!(TrainLm, "train.lm", Train, Experiment, "", |_| main_output(
    Kind::Model
));

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Difference {
    data: Ref<reference::Blocks>,
    teacher: Ref<reference::Model>,
    reference: Ref<reference::Model>,
}
impl Problems for Difference {}
component!(MiniPlm, "score.miniplm", Difference, None, "", |_| main_output(
    Kind::Scores
));

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Select {
    scores: Ref<reference::Scores>,
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    keep: f64,
}
impl Problems for Select {}
component!(Top, "select.top", Select, Experiment, "", |_| main_output(
    Kind::Selection
));

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Loss {
    models: Refs<reference::Model>,
    data: Ref<reference::Blocks>,
}
impl Problems for Loss {}
component!(LmLoss, "evaluate.lm_loss", Loss, None, "", |_| main_output(
    Kind::Table
));

pub(crate) static REGISTRY: &[Descriptor] = &[
    Descriptor::of::<JsonlCorpus>(),
    Descriptor::of::<TrainBpe>(),
    Descriptor::of::<PackTokens>(),
    Descriptor::of::<TrainLm>(),
    Descriptor::of::<MiniPlm>(),
    Descriptor::of::<Top>(),
    Descriptor::of::<LmLoss>(),
];
