//! Every component there is, in the order of the reference pages.

use crate::Descriptor;

/// The registry.
pub const COMPONENTS: &[Descriptor] = &[];

/// The component called `name`.
pub fn find(name: &str) -> Option<&'static Descriptor> {
    COMPONENTS.iter().find(|component| component.name == name)
}
