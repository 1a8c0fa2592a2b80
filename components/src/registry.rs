//! Every component there is, in the order of the reference pages.

use crate::{Descriptor, corpus, tokenizer, tokens, train};

/// The registry.
pub const COMPONENTS: &[Descriptor] = &[
    Descriptor::of::<corpus::Jsonl>(),
    Descriptor::of::<tokenizer::Train>(),
    Descriptor::of::<tokenizer::Load>(),
    Descriptor::of::<tokens::Pack>(),
    Descriptor::of::<train::Lm>(),
];

/// The component called `name`.
pub fn find(name: &str) -> Option<&'static Descriptor> {
    COMPONENTS.iter().find(|component| component.name == name)
}
