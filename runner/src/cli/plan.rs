//! `lyceum plan`.

use super::advice::show_error;
use super::load::{load, open_store, prepare};
use super::{print, spec_options};
use crate::spec::Options;
use crate::sweep::Overview;
use crate::{Exit, device, plan};
use lyceum_components::flops::Convention;
use std::path::PathBuf;

/// Shows what would run, what is cached, which field made a step new, and what it would cost.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The experiment file.
    file: PathBuf,
    #[command(flatten)]
    spec: spec_options::SpecOptions,
    /// Takes missing files for what the experiment expects of them.
    #[arg(long)]
    assume: bool,
    /// Plans every point of the sweep; steps that points share count once.
    #[arg(long)]
    sweep: bool,
    /// How the FLOPs of what is new are counted.
    #[arg(long, value_enum, default_value_t, conflicts_with = "sweep")]
    flops: Flops,
    /// How the plan is written.
    #[arg(long, value_enum, default_value_t)]
    format: PlanFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Flops {
    /// Every matrix product, causal attention at half.
    #[default]
    #[value(name = "products")]
    Products,
    /// As papers count: six a parameter and token of training, two of a forward pass.
    #[value(name = "6N")]
    SixN,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum PlanFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For Graphviz.
    Dot,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let mut options = arguments.spec.options();
    options.assume = arguments.assume;
    if arguments.sweep {
        return whole_sweep(arguments, &options);
    }
    let resolved = match load(&arguments.file, &options) {
        Ok(resolved) => resolved,
        Err(exit) => return exit,
    };
    let (class, name) = match device::choose(&resolved.runtime.device) {
        Ok(chosen) => (chosen.class, chosen.name),
        // A plan may be made on a machine that cannot run it.
        Err(_) => ("cpu".to_owned(), String::new()),
    };
    let store = open_store(&resolved);
    let convention = match arguments.flops {
        Flops::Products => Convention::Products,
        Flops::SixN => Convention::Parameters,
    };
    let mut planner = plan::Planner::new(&store).counting(convention);
    let planned = match planner.plan(&resolved, arguments.assume) {
        Ok(planned) => planned,
        Err(error) => {
            show_error("", &error.into());
            return Exit::Failed;
        }
    };
    let rates = plan::Rates::of(planner.recent(), &name, &device::cpu_name());
    let printed = print(&match arguments.format {
        PlanFormat::Text => plan::to_text(&planned, &class, &rates),
        PlanFormat::Json => format!("{:#}\n", plan::to_json(&planned, &class, &rates)),
        PlanFormat::Dot => plan::to_dot(&planned),
    });
    match plan::check_space(&planned, store.home()) {
        Ok(()) => printed,
        // Planned for another machine, perhaps: the plan itself tells the disk it takes.
        Err(_) if arguments.assume => printed,
        Err(error) => {
            show_error("", &error);
            Exit::Failed
        }
    }
}

fn whole_sweep(arguments: &Arguments, options: &Options) -> Exit {
    if arguments.format == PlanFormat::Dot {
        super::say("error: a sweep has no graph of its own; leave `--sweep` or `--format dot` out");
        return Exit::Wrong;
    }
    let prepared = match prepare(&arguments.file, options) {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    match prepared.plans(arguments.assume) {
        Ok(plans) => {
            let overview = Overview::new(&prepared, &plans);
            print(&match arguments.format {
                PlanFormat::Json => format!("{:#}\n", overview.to_json()),
                _ => overview.to_text(),
            })
        }
        Err(error) => {
            show_error("", &error.into());
            Exit::Failed
        }
    }
}
