//! `lyceum components`.

use super::{Format, print};
use crate::Exit;
use lyceum_components::COMPONENTS;

/// Lists the components.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How the listing is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    match arguments.format {
        Format::Text => {
            let lines = COMPONENTS
                .iter()
                .map(|c| format!("{:<24} {}\n", c.name, c.summary));
            print(&lines.collect::<String>())
        }
        Format::Json => {
            let names: Vec<_> = COMPONENTS.iter().map(|c| c.name).collect();
            print(&format!("{}\n", serde_json::json!(names)))
        }
    }
}
