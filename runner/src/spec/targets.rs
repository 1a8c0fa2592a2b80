//! What references name.

use super::item::{Item, Origin};
use super::references::{self, Parts, PointingField};
use super::resolve::{Draft, Resolver};
use super::suggest;
use lyceum_components::{Descriptor, Kind, Output};
use serde_json::Value;

/// Why a reference is refused: a code, what is wrong, and what would do.
type Refusal = (&'static str, String, Option<String>);

impl Resolver<'_> {
    /// What a reference names: (draft, output) pairs. Several only where `many` are wanted.
    pub(super) fn targets(
        &mut self,
        field: &PointingField,
        kinds: &[String],
        many: bool,
        origin: &Origin,
        drafts: &[Draft<'_>],
        merged: &Item,
    ) -> Vec<(usize, String)> {
        let found = match references::parts(&field.text) {
            None if !field.text.starts_with('@') => Ok(Vec::new()), // the schema's pattern has said so
            None => Err((
                "not_a_reference",
                format!("`{}` is not a reference", field.text),
                Some("write `\"@step\"`, `\"@step.output\"`, `\"@step[variant]\"`".to_owned()),
            )),
            Some(parts) => chosen(&parts, many, drafts, merged)
                .and_then(|chosen| outputs(field, &parts, kinds, &chosen, drafts)),
        };
        found.unwrap_or_else(|(code, message, hint)| {
            self.found
                .push(self.layers.mistake(origin, code, message).hint(hint));
            Vec::new()
        })
    }
}

/// The drafts whose step and variant a reference names; none where that has mistakes of its own, or is switched off and
/// a list is wanted.
fn chosen(parts: &Parts<'_>, many: bool, drafts: &[Draft<'_>], merged: &Item) -> Result<Vec<usize>, Refusal> {
    let step = parts.step;
    let of_step: Vec<usize> = (0..drafts.len())
        .filter(|&i| drafts[i].written.name == step)
        .collect();
    if of_step.is_empty() {
        let steps = merged.get("steps").map(Item::entries).unwrap_or_default();
        let Some(entry) = steps.iter().find(|entry| entry.key == step) else {
            let names = steps.iter().map(|entry| entry.key.as_str());
            return Err((
                "unknown_step",
                format!("no step `{step}`"),
                suggest::hint(step, names),
            ));
        };
        if many || entry.item.get("when").is_none() {
            return Ok(Vec::new());
        }
        return Err((
            "switched_off",
            format!("step `{step}` is switched off by its `when`"),
            Some("give this step the same `when`, or take another input".to_owned()),
        ));
    }
    let variant = |i: usize| drafts[i].names.join(",");
    let variants: Vec<String> = of_step.iter().map(|&i| variant(i)).collect();
    let chosen: Vec<usize> = of_step
        .into_iter()
        .filter(|&i| parts.variant.is_none_or(|name| variant(i) == name))
        .collect();
    match (chosen.len(), parts.variant) {
        (0, name) => {
            let name = name.unwrap_or_default();
            let hint = if variants.iter().all(String::is_empty) {
                Some(format!("it has no variants: write `@{step}`"))
            } else {
                suggest::hint(name, variants.iter().map(String::as_str))
            };
            Err((
                "unknown_variant",
                format!("step `{step}` has no variant `{name}`"),
                hint,
            ))
        }
        (count @ 2.., _) if !many => {
            let names: Vec<String> = variants.iter().map(|name| format!("`@{step}[{name}]`")).collect();
            Err((
                "ambiguous_variant",
                format!("step `{step}` has {count} variants, and one is wanted here"),
                Some(format!("name one of {}", names.join(", "))),
            ))
        }
        _ => Ok(chosen),
    }
}

/// The outputs that a reference names, of the drafts chosen.
fn outputs(
    field: &PointingField,
    parts: &Parts<'_>,
    kinds: &[String],
    chosen: &[usize],
    drafts: &[Draft<'_>],
) -> Result<Vec<(usize, String)>, Refusal> {
    let wanted = parts.output.unwrap_or_default();
    let mut targets = Vec::new();
    for &target in chosen {
        let draft = &drafts[target];
        if draft.params.is_none() {
            // Its own mistakes are noted; what it mainly leaves is known all the same.
            if wanted.is_empty()
                && let Some(kind) = main_kind(draft.written.component)
            {
                fits(field, kinds, kind, drafts)?;
            }
            continue;
        }
        let Some(output) = draft.outputs.iter().find(|output| output.name == wanted) else {
            let names: Vec<String> = draft
                .outputs
                .iter()
                .map(|output| format!("`{}`", exact(parts.step, &output.name)))
                .collect();
            let message = if wanted.is_empty() {
                format!("step `{}` has several outputs, and one must be named", parts.step)
            } else {
                format!("step `{}` has no output `{wanted}`", parts.step)
            };
            let hint = format!("it leaves {}", names.join(", "));
            return Err(("unknown_output", message, Some(hint)));
        };
        fits(field, kinds, output.kind, drafts)?;
        targets.push((target, output.name.clone()));
    }
    Ok(targets)
}

/// Refuses what is of none of the kinds: `wrong_kind`.
fn fits(field: &PointingField, kinds: &[String], kind: Kind, drafts: &[Draft<'_>]) -> Result<(), Refusal> {
    let one_of = |kind: Kind| kinds.iter().any(|wanted| wanted == kind.name());
    if one_of(kind) {
        return Ok(());
    }
    let message = format!(
        "`{}` is of kind {}; expected {}",
        field.text,
        kind.name(),
        kinds.join(" or ")
    );
    let fitting = drafts.iter().flat_map(|draft| {
        let outputs = draft.outputs.iter().filter(|output| one_of(output.kind));
        outputs.map(|output| exact(&draft.id, &output.name))
    });
    let fitting: Vec<String> = fitting.take(5).map(|text| format!("`{text}`")).collect();
    let hint = (!fitting.is_empty()).then(|| format!("these would do: {}", fitting.join(", ")));
    Err(("wrong_kind", message, hint))
}

/// The kind of a component's output without a name, which no parameter changes: its example has it too. None if the example
/// has parts alone.
fn main_kind(component: &Descriptor) -> Option<Kind> {
    let mut example: Value = toml::from_str(component.example).ok()?;
    example.as_object_mut()?.remove("use");
    let outputs: Vec<Output> = (component.outputs)(&example).ok()?;
    outputs
        .into_iter()
        .find(|output| output.name.is_empty())
        .map(|output| output.kind)
}

/// `@id` or `@id.output`.
pub(super) fn exact(id: &str, output: &str) -> String {
    if output.is_empty() {
        format!("@{id}")
    } else {
        format!("@{id}.{output}")
    }
}
