//! Profiles that were not asked for: a mistake in one is found now, and not on the day it is first used.

use super::diagnostics::Diagnostics;
use super::item::Item;
use super::layers::{Layers, Options};
use super::resolve::resolve;
use super::resolved::Resolved;
use lyceum_components::Descriptor;
use std::collections::BTreeSet;
use std::path::Path;

/// Checks merged layers, and what they would be with every other profile. `found` has the mistakes made in reading them.
pub(super) fn with_profiles(
    file: &Path,
    registry: &'static [Descriptor],
    options: &Options,
    layers: &Layers,
    merged: &Item,
    found: Diagnostics,
) -> Result<Resolved, Diagnostics> {
    let whole = found.list.is_empty(); // what could not be read would be missed again under every profile
    let resolved = resolve(file, registry, options, layers, merged, found);
    let mut all = resolved.as_ref().err().cloned().unwrap_or_default();
    let names: BTreeSet<&String> = layers.profiles.iter().map(|(name, _)| name).collect();
    for name in names
        .into_iter()
        .filter(|name| whole && options.profile.as_ref() != Some(name))
    {
        let (layers, merged) = layers.with_profile(name);
        let options = Options {
            profile: Some(name.clone()),
            ..options.clone()
        };
        let none = Diagnostics::default();
        let mistakes = resolve(file, registry, &options, &layers, &merged, none)
            .err()
            .unwrap_or_default();
        for mut mistake in mistakes.list {
            if !all.has(&mistake) {
                mistake.message = format!("profile `{name}`: {}", mistake.message);
                all.push(mistake);
            }
        }
    }
    all.finish()?;
    resolved
}
