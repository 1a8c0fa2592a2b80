//! `lyceum components`.

use super::{Format, print, say};
use crate::Exit;
use crate::schema::{FieldDoc, fields, page};
use lyceum_components::{COMPONENTS, Descriptor, find};
use serde_json::{Value, json};

/// Lists the components, or shows one: parameters with types, units, defaults and ranges, and an example that runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A component, as in `train.lm`.
    name: Option<String>,
    /// How the listing is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    match (&arguments.name, arguments.format) {
        (None, Format::Text) => {
            let lines = COMPONENTS
                .iter()
                .map(|component| format!("{:<24} {}\n", component.name, component.summary));
            print(&lines.collect::<String>())
        }
        (None, Format::Json) => {
            let all: Vec<_> = COMPONENTS.iter().map(summary).collect();
            print(&format!("{:#}\n", Value::from(all)))
        }
        (Some(name), format) => match (find(name), format) {
            (Some(component), Format::Text) => print(&page(component)),
            (Some(component), Format::Json) => print(&format!("{:#}\n", whole(component))),
            (None, _) => unknown(name),
        },
    }
}

fn unknown(name: &str) -> Exit {
    say(&format!("there is no component `{name}`"));
    let nearest = COMPONENTS
        .iter()
        .map(|component| component.name)
        .min_by_key(|known| strsim::damerau_levenshtein(name, known))
        .filter(|known| strsim::damerau_levenshtein(name, known) <= known.len() / 3);
    match nearest {
        Some(known) => say(&format!("hint: did you mean `{known}`?")),
        None => say("hint: `lyceum components` lists them"),
    }
    Exit::Wrong
}

fn summary(component: &Descriptor) -> Value {
    json!({ "name": component.name, "version": component.version, "summary": component.summary })
}

fn whole(component: &Descriptor) -> Value {
    let parameters: Vec<FieldDoc> = fields(component);
    let mut whole = summary(component);
    whole["paper"] = json!(component.paper);
    whole["parameters"] = json!(parameters);
    whole["example"] = json!(component.example);
    whole
}
