//! `lyceum eval`.

use super::advice::show_error;
use super::{Format, print, say};
use crate::Exit;
use crate::device::choose;
use lyceum_components::inference::LanguageModel;
use lyceum_components::tasks::{Measured, Settings, Task, measure};
use lyceum_components::{Error, Precision, Result};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Where tasks are looked up by name, in the current folder or the nearest above it.
const TASKS: &str = "experiments/tasks";

/// Asks a model tasks, and shows what its answers are worth.
///
/// Data that do not come with the tasks are looked for in the folder that LYCEUM_DATA names.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A folder in Hugging Face's layout.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Task files, or names of files in `experiments/tasks`, with commas between them.
    #[arg(long, value_name = "NAME|FILE", value_delimiter = ',', required = true)]
    tasks: Vec<String>,
    /// Only so many records of each task, from the first.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<usize>,
    /// Examples before every question, instead of what the task file says.
    #[arg(long, value_name = "K")]
    shots: Option<usize>,
    /// What examples and sampled texts are drawn from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// `f32`, `bf16` or `f64`.
    #[arg(long, default_value = "f32", value_name = "TYPE", value_parser = precision)]
    precision: Precision,
    /// Where tensors live, as in experiments.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: String,
    /// Sequences that go through the model together.
    #[arg(long, default_value = "16", value_name = "N", value_parser = at_least_one)]
    batch_size: usize,
    /// How the figures are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn precision(text: &str) -> Result<Precision, String> {
    serde_json::from_value(text.into()).map_err(|_| "take `f32`, `bf16` or `f64`".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse::<usize>()
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(|| "a whole number above 0 is wanted".to_owned())
}

/// A task's figures.
struct Row {
    task: String,
    version: u32,
    figure: Measured,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let device = match choose(&arguments.device) {
        Ok(chosen) => chosen.device,
        Err(error) => {
            say(&format!("error: {error}\n  hint: {}", error.hint));
            return Exit::Wrong;
        }
    };
    let settings = Settings {
        limit: arguments.limit,
        shots: arguments.shots,
        seed: arguments.seed,
        batch_size: arguments.batch_size,
    };
    let data = std::env::var_os("LYCEUM_DATA").map(PathBuf::from);
    let mut tasks = Vec::new();
    for name in &arguments.tasks {
        let opened = find(name).and_then(|file| {
            let task = Task::open(&file, data.as_deref())?;
            let items = settings.items(&task)?;
            Ok((task, items))
        });
        match opened {
            Ok(task) => tasks.push(task),
            Err(error) => {
                show_error("", &error);
                return Exit::Wrong;
            }
        }
    }
    let asked =
        LanguageModel::open_folder(&arguments.model, &device, arguments.precision).and_then(|model| {
            let mut rows = Vec::new();
            for (task, items) in &tasks {
                say(&format!("{}: {} questions", task.file.name, items.len()));
                let figures = measure(task, items, &model, &settings, &device, &mut |_| Ok(()))?;
                rows.extend(figures.into_iter().map(|figure| Row {
                    task: task.file.name.clone(),
                    version: task.file.version,
                    figure,
                }));
            }
            Ok(rows)
        });
    match asked {
        Ok(rows) => print(&match arguments.format {
            Format::Text => text(&rows),
            Format::Json => format!("{:#}\n", json(&rows)),
        }),
        Err(error) => {
            show_error("", &error);
            Exit::Failed
        }
    }
}

/// The file of a task: the file itself, or one of the tasks that come with the repository. `missing_file`.
fn find(name: &str) -> Result<PathBuf> {
    let file = Path::new(name);
    let is_file = file.extension().is_some_and(|end| end == "toml") || file.components().count() > 1;
    if is_file {
        return Ok(file.to_path_buf());
    }
    let here = std::env::current_dir().map_err(Error::io("cannot find", "."))?;
    let folder = here
        .ancestors()
        .map(|above| above.join(TASKS))
        .find(|folder| folder.is_dir());
    let Some(folder) = folder else {
        let message = format!(
            "there is no folder `{TASKS}` in `{}` or above it, where `{name}` would be",
            here.display()
        );
        return Err(Error::data("missing_file", message).hint("name a task file: `path/to/task.toml`"));
    };
    let file = folder.join(format!("{name}.toml"));
    if file.is_file() {
        return Ok(file);
    }
    let entries = std::fs::read_dir(&folder).map_err(Error::io("cannot read", &folder))?;
    let known = entries.flatten().filter_map(|entry| {
        let file = entry.file_name().into_string().ok()?;
        file.strip_suffix(".toml").map(|name| format!("`{name}`"))
    });
    let mut known: Vec<String> = known.collect();
    known.sort();
    let message = format!("there is no task `{name}`");
    Err(Error::data("missing_file", message)
        .in_file(&folder)
        .hint(format!("there are {}", known.join(", "))))
}

fn text(rows: &[Row]) -> String {
    let width = rows
        .iter()
        .map(|row| row.task.chars().count())
        .max()
        .unwrap_or_default();
    let width = width.max("task".len());
    let mut out = format!("{:width$}  version  metric       value     ± error   n\n", "task");
    for Row {
        task,
        version,
        figure,
    } in rows
    {
        let error = figure
            .standard_error()
            .map_or("-".to_owned(), |error| format!("{error:.4}"));
        let (metric, value, n) = (&figure.metric, figure.value, figure.parts.len());
        writeln!(
            out,
            "{task:width$}  {version:<7}  {metric:<11}  {value:<8.4}  {error:<8}  {n}"
        )
        .expect("writing to a string never fails");
    }
    out
}

fn json(rows: &[Row]) -> Value {
    let row = |Row {
                   task,
                   version,
                   figure,
               }: &Row| {
        json!({
            "task": task, "version": version, "metric": figure.metric, "value": figure.value,
            "standard_error": figure.standard_error(), "n": figure.parts.len(),
        })
    };
    rows.iter().map(row).collect()
}
