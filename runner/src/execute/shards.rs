//! Running a step shard by shard: each one's output stays in the scratch folder until all are done and put together, so
//! that an interrupted step goes on with the shards it lacks.

use super::services::{Noted, StepServices};
use crate::plan::Planned;
use crate::store::{Store, sync_tree};
use lyceum_components::context::make_folder;
use lyceum_components::{Context, Error, Result, Shard, disk};
use std::path::Path;
use std::sync::Arc;

/// What a finished shard cost, inside its folder.
const NOTED: &str = "noted.json";
/// Its output.
const OUTPUT: &str = "output";

/// Runs every shard of a step in order, then puts their outputs together in `context.output`.
pub(super) fn run(planned: &Planned, store: &Store, context: &Context) -> Result<()> {
    let step = &planned.step;
    // Another number of shards cuts the work elsewhere.
    let folder = context.scratch.join(format!("shards-{}", step.shards));
    let mut parts = Vec::new();
    for index in 0..step.shards {
        context.check_cancelled()?;
        let done = folder.join(format!("shard-{index}"));
        let header = format!("  {}: shard {} of {}", step.id, index + 1, step.shards);
        let noted = match kept(&done) {
            Some(noted) => {
                crate::cli::say(&format!("{header} was kept"));
                noted
            }
            None => {
                crate::cli::say(&header);
                let count = step.shards;
                one(planned, store, context, Shard { index, count }, &done)?
            }
        };
        context.services.cost(noted.cost.tokens, noted.cost.flops);
        for (name, value) in &noted.measures {
            context.services.measure(name, *value);
        }
        parts.push(done.join(OUTPUT));
    }
    (step.component.merge)(&step.params, &parts, context)
}

/// What a shard that is done noted; none if it is not done.
fn kept(done: &Path) -> Option<Noted> {
    let text = std::fs::read(done.join(NOTED)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Runs one shard in a folder that becomes `done` in one step.
fn one(planned: &Planned, store: &Store, context: &Context, shard: Shard, done: &Path) -> Result<Noted> {
    let begun = done.with_extension("begun");
    // What a killed process left, or a kept shard that cannot be read.
    for stale in [&begun, done] {
        let _ = std::fs::remove_dir_all(stale);
    }
    let services = Arc::new(StepServices::new(store, planned, None));
    let part = Context {
        shard,
        output: begun.join(OUTPUT),
        scratch: done.with_extension("scratch"),
        services: services.clone(),
        ..context.clone()
    };
    make_folder(&part.output)?;
    make_folder(&part.scratch)?;
    (planned.step.component.run)(&planned.step.params, &part)?;
    let noted = services.noted();
    keep(&begun, done, &noted).map_err(Error::io("cannot keep the shard in", done))?;
    let _: std::io::Result<()> = std::fs::remove_dir_all(&part.scratch);
    Ok(noted)
}

fn keep(begun: &Path, done: &Path, noted: &Noted) -> std::io::Result<()> {
    disk::write(&begun.join(NOTED), serde_json::to_vec(noted)?)?;
    sync_tree(begun)?;
    disk::rename(begun, done)
}
