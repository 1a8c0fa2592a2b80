//! `evaluate.tasks`: what language models make of tasks.

use crate::artifact::{Place, Table};
use crate::component::{Component, Estimate, Output, Size, Sizes, main_output};
use crate::inference::LanguageModel;
use crate::reference::{self, Refs, TaskPath};
use crate::score::batch_size;
use crate::tasks::{Measured, Settings, Task, measure};
use crate::{Context, Kind, Result, Seeding, disk};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Per model and task: the task's metrics, the task being the group. Instances are records of the task.
#[derive(Debug, Clone, Copy)]
pub struct Tasks;

/// What `evaluate.tasks` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The models; every variant of a step where one is named.
    pub models: Refs<reference::Model>,
    /// The task files. What they say and the data they name enter the key.
    #[schemars(length(min = 1), example = ["tasks/copa.toml"])]
    pub tasks: Vec<TaskPath>,
    /// Ask only so many records of each task, from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "records"))]
    pub limit: Option<usize>,
    /// Examples before every question; as each task file says if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1024), extend("x-unit" = "examples"))]
    pub shots: Option<usize>,
    /// Sequences that go through a model together.
    #[serde(default = "batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "sequences", "x-runtime" = true))]
    pub batch_size: usize,
}

impl Component for Tasks {
    type Params = Params;
    const NAME: &'static str = "evaluate.tasks";
    const SUMMARY: &'static str = "accuracy and other measures of models on tasks";
    const SEEDING: Seeding = Seeding::Fixed;
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "evaluate.tasks"
models = "@student"
tasks = ["tasks/copa.toml"]
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Table)
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let parameters = params.models.iter().map(|model| sizes.of(model).parameters);
        let table = Size {
            items: (params.models.iter().count() * params.tasks.len()) as f64,
            ..Size::default()
        };
        Estimate {
            outputs: BTreeMap::from([(String::new(), table)]),
            memory: parameters.fold(0.0, f64::max) * 4.0,
            ..Estimate::default()
        }
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let settings = Settings {
            limit: params.limit,
            shots: params.shots,
            seed: context.seed,
            batch_size: params.batch_size,
        };
        // Every file is read before the first model is: a mistake in the last task should not cost an hour.
        let data = context.services.data();
        let mut tasks = Vec::new();
        for path in &params.tasks {
            let task = Task::open(&context.task(path)?, data.as_deref())?;
            let items = settings.items(&task)?;
            tasks.push((task, items));
        }
        let mut table = Table::default();
        for (number, artifact) in context.open_all(&params.models)?.iter().enumerate() {
            let mut model = None;
            for (place, (task, items)) in tasks.iter().enumerate() {
                let name = task.file.name.as_str();
                let kept = context.scratch.join(format!("model{number}-task{place}.json"));
                let figures = match read(&kept) {
                    Some(figures) => figures,
                    None => {
                        let model = match &mut model {
                            Some(model) => model,
                            none => none.insert(LanguageModel::open(
                                artifact,
                                &context.device,
                                context.precision,
                            )?),
                        };
                        let what = format!("{} on {name}", artifact.label);
                        let bar = context.services.bar(&what, 0, "answers");
                        let mut done = |answers| {
                            bar.advance(answers);
                            context.check_cancelled()
                        };
                        let figures = measure(task, items, model, &settings, &context.device, &mut done)?;
                        disk::write_atomically(
                            &kept,
                            serde_json::to_vec(&figures).expect("figures are plain"),
                        )
                        .map_err(crate::Error::io("cannot write", &kept))?;
                        figures
                    }
                };
                for figure in figures {
                    let place = Place::of(&artifact.label, &figure.metric).within(Some(name));
                    table.estimate(place, figure.value, &figure.instances, &figure.parts);
                }
            }
        }
        table.write(&context.output("")?, ())
    }
}

/// The figures that an earlier attempt has finished.
fn read(file: &Path) -> Option<Vec<Measured>> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}
