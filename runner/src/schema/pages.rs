//! Reference pages: one a component, in Markdown.

use super::fields::{FieldDoc, fields};
use lyceum_components::{Descriptor, Seeding};
use serde_json::Value;
use std::fmt::Write;

/// The page of a component.
pub fn page(component: &Descriptor) -> String {
    let mut page = format!("# {}\n\n{}\n", component.name, component.summary);
    let mut line = |text: std::fmt::Arguments| {
        page.write_fmt(text).expect("writing to a string never fails");
    };
    if let Some(paper) = component.paper {
        line(format_args!("\nMethod: `{paper}`.\n"));
    }
    let seeding = match component.seeding {
        Seeding::None => "It draws no random numbers.",
        Seeding::Fixed => "It draws random numbers from seed 0 unless the step sets `seed`.",
        Seeding::Experiment => {
            "It draws random numbers from the experiment's seed unless the step sets `seed`."
        }
    };
    line(format_args!("\nVersion {}. {seeding}\n", component.version));
    line(format_args!(
        "\n## Example\n\n```toml\n{}\n```\n",
        component.example.trim()
    ));
    line(format_args!(
        "\n## Parameters\n\n| key | type | unit | default | range | meaning |\n|---|---|---|---|---|---|\n"
    ));
    for field in fields(component) {
        line(format_args!(
            "| `{}` | {} | {} | {} | {} | {} |\n",
            cell(&field.path),
            cell(&field.kind),
            cell(field.unit.as_deref().unwrap_or_default()),
            cell(&default(&field)),
            cell(field.range.as_deref().unwrap_or_default()),
            cell(&meaning(&field)),
        ));
    }
    page
}

/// What stands where the key is left out.
fn default(field: &FieldDoc) -> String {
    match &field.default {
        _ if field.required => "required".to_owned(),
        Some(value) => format!("`{}`", toml_value(value)),
        None => "none".to_owned(),
    }
}

fn meaning(field: &FieldDoc) -> String {
    match &field.example {
        Some(value) => format!("{} Example: `{}`.", field.doc, toml_value(value)),
        None => field.doc.clone(),
    }
}

/// A value as it is written in an experiment, on one line.
pub(super) fn toml_value(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let pairs = entries
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| format!("{key} = {}", toml_value(value)))
                .collect::<Vec<_>>();
            if pairs.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", pairs.join(", "))
            }
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// Text that cannot end a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
