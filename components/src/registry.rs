//! Every component there is, in the order of the reference pages.

use crate::{
    Descriptor, analyze, corpus, distill, embed, evaluate, generate, model, policy, score, select, tokenizer,
    tokens, train,
};

/// The registry.
pub const COMPONENTS: &[Descriptor] = &[
    Descriptor::of::<corpus::Text>(),
    Descriptor::of::<corpus::Jsonl>(),
    Descriptor::of::<corpus::Parquet>(),
    Descriptor::of::<corpus::PairFiles>(),
    Descriptor::of::<corpus::Instructions>(),
    Descriptor::of::<corpus::Mix>(),
    Descriptor::of::<corpus::Split>(),
    Descriptor::of::<corpus::TeacherStudent>(),
    Descriptor::of::<tokenizer::Train>(),
    Descriptor::of::<tokenizer::Load>(),
    Descriptor::of::<tokens::Pack>(),
    Descriptor::of::<tokens::Pairs>(),
    Descriptor::of::<tokens::Import>(),
    Descriptor::of::<tokens::Export>(),
    Descriptor::of::<model::Load>(),
    Descriptor::of::<model::Init>(),
    Descriptor::of::<model::Export>(),
    Descriptor::of::<model::Info>(),
    Descriptor::of::<train::Lm>(),
    Descriptor::of::<train::TrainPerceptron>(),
    Descriptor::of::<distill::Sft>(),
    Descriptor::of::<distill::WordKd>(),
    Descriptor::of::<distill::SeqKd>(),
    Descriptor::of::<distill::Gkd>(),
    Descriptor::of::<distill::MiniLlm>(),
    Descriptor::of::<distill::Dpkd>(),
    Descriptor::of::<score::TrainScorer>(),
    Descriptor::of::<score::Logprobs>(),
    Descriptor::of::<score::Perplexity>(),
    Descriptor::of::<score::MiniPlm>(),
    Descriptor::of::<score::RhoLoss>(),
    Descriptor::of::<score::Dsir>(),
    Descriptor::of::<score::Classifier>(),
    Descriptor::of::<score::Influence>(),
    Descriptor::of::<score::Pds>(),
    Descriptor::of::<score::PdsProxy>(),
    Descriptor::of::<score::Random>(),
    Descriptor::of::<select::Top>(),
    Descriptor::of::<distill::TeacherCache>(),
    Descriptor::of::<policy::LearningLaw>(),
    Descriptor::of::<generate::Text>(),
    Descriptor::of::<embed::Text>(),
    Descriptor::of::<evaluate::LmLoss>(),
    Descriptor::of::<evaluate::SelectionQuality>(),
    Descriptor::of::<evaluate::Tasks>(),
    Descriptor::of::<evaluate::Generation>(),
    Descriptor::of::<evaluate::Divergence>(),
    Descriptor::of::<evaluate::ExposureBias>(),
    Descriptor::of::<evaluate::Calibration>(),
    Descriptor::of::<analyze::ScalingLaw>(),
    Descriptor::of::<analyze::Acceleration>(),
    Descriptor::of::<analyze::LearningLaw>(),
];

/// The component called `name`.
pub fn find(name: &str) -> Option<&'static Descriptor> {
    COMPONENTS.iter().find(|component| component.name == name)
}
