//! The live table: one row a point. On a terminal those at work are redrawn at the bottom with what they say; elsewhere a line
//! is written as each point ends, and every minute what those at work say.

use super::folder::PointRecord;
use super::names::Names;
use super::prepare::{Prepared, Ready};
use crate::cli::say;
use crate::execute::record::Verdict;
use crate::execute::{RunFolder, Status};
use crate::units::duration;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time between lines about a point at work where no terminal is.
const EVERY: Duration = Duration::from_mins(1);

/// What is shown while a sweep runs.
#[derive(Debug)]
pub struct Show {
    home: PathBuf,
    names: Names,
    width: usize,
    total: usize,
    over: usize,
    failed: usize,
    drawn: Option<Drawn>,
    /// When something was last written about the points at work.
    told: BTreeMap<usize, Instant>,
    /// What went wrong where no error could be given.
    pub(super) failure: Option<io::Error>,
}

#[derive(Debug)]
struct Drawn {
    area: MultiProgress,
    count: ProgressBar,
    rows: BTreeMap<usize, ProgressBar>,
}

impl Show {
    /// The table of a sweep, on stderr.
    pub fn new(prepared: &Prepared) -> Self {
        let names = prepared.names();
        let labels = prepared.points.iter().map(|point| names.label(&point.settings));
        let drawn = io::stderr().is_terminal().then(|| {
            let area = MultiProgress::new();
            let count = area.add(ProgressBar::new(prepared.points.len() as u64));
            count.set_style(style("  {bar:24} {pos} of {len} points  {msg}  {elapsed}"));
            count.enable_steady_tick(Duration::from_millis(500));
            Drawn {
                area,
                count,
                rows: BTreeMap::new(),
            }
        });
        Self {
            home: prepared.store.home().to_path_buf(),
            width: labels
                .map(|label| label.chars().count())
                .max()
                .unwrap_or_default(),
            total: prepared.points.len(),
            over: 0,
            failed: 0,
            names,
            drawn,
            told: BTreeMap::new(),
            failure: None,
        }
    }

    /// A point begins.
    pub(super) fn start(&mut self, at: usize, point: &Ready) {
        let text = self.name(point);
        if let Some(drawn) = &mut self.drawn {
            let bar =
                ProgressBar::new_spinner().with_style(style("{prefix}  running  {elapsed}  {wide_msg}"));
            let bar = drawn.area.insert_before(&drawn.count, bar);
            bar.set_prefix(text);
            bar.enable_steady_tick(Duration::from_millis(500));
            drawn.rows.insert(at, bar);
        }
        self.told.insert(at, Instant::now());
    }

    /// What a point at work said last.
    pub(super) fn says(&mut self, at: usize, point: &Ready, line: &str) {
        if let Some(drawn) = &self.drawn {
            if let Some(bar) = drawn.rows.get(&at) {
                bar.set_message(line.to_owned());
            }
        } else if self.told.get(&at).is_none_or(|told| told.elapsed() >= EVERY) {
            self.told.insert(at, Instant::now());
            say(&format!("{}  {line}", self.name(point)));
        }
    }

    /// A point had ended before, or another process ended it.
    pub(super) fn found(&mut self, point: &Ready, record: &PointRecord) {
        self.row(point, record, "was");
    }

    /// A point ended here.
    pub(super) fn end(&mut self, at: usize, point: &Ready, record: &PointRecord) {
        if let Some(bar) = self.drawn.as_mut().and_then(|drawn| drawn.rows.remove(&at)) {
            bar.finish_and_clear();
        }
        self.row(point, record, "");
    }

    fn row(&mut self, point: &Ready, record: &PointRecord, earlier: &str) {
        self.over += usize::from(record.status != Status::Interrupted);
        self.failed += usize::from(record.status == Status::Failed);
        let status = format!("{earlier} {}", record.status.name());
        let time = duration(record.wall_seconds);
        let told = match &record.error {
            Some(error) => error.clone(),
            None => self.metrics(record),
        };
        let line = format!("{}  {:<11}  {time:>9}  {told}", self.name(point), status.trim());
        match &self.drawn {
            Some(drawn) => {
                // A terminal that went away is no reason to stop.
                let _ = drawn.area.println(line.trim_end());
                drawn.count.set_position(self.over as u64);
                if self.failed > 0 {
                    drawn.count.set_message(format!("{} failed", self.failed));
                }
            }
            None => say(&format!("[{}/{}] {}", self.over, self.total, line.trim_end())),
        }
    }

    fn name(&self, point: &Ready) -> String {
        let label = self.names.label(&point.settings);
        format!(
            "{}  {label:width$}  seed {}",
            point.id,
            point.seed,
            width = self.width
        )
    }

    /// What the claims' metrics came to.
    fn metrics(&self, record: &PointRecord) -> String {
        let run = record.run.as_ref();
        let run = run.and_then(|run| RunFolder::new(&self.home, run).load().ok());
        let verdicts = run.map(|run| run.verdicts).unwrap_or_default();
        let mut seen = Vec::new();
        let mut told = String::new();
        let sides = |verdict: &Verdict| {
            [
                (verdict.better.clone(), verdict.better_value),
                (verdict.than.clone(), verdict.than_value),
            ]
        };
        for verdict in &verdicts {
            for (variant, value) in sides(verdict) {
                let Some(value) = value else { continue };
                let cell = (&verdict.metric, &verdict.group, variant);
                if seen.contains(&cell) {
                    continue;
                }
                // A metric is named once, before its first variant.
                match seen.last() {
                    Some((metric, group, _)) if (*metric, *group) == (cell.0, cell.1) => told += ", ",
                    _ => told += &format!("  {} ", verdict.metric),
                }
                told += &format!("{} {value:.4}", cell.2);
                seen.push(cell);
            }
        }
        told.trim_start().to_owned()
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        if let Some(drawn) = &self.drawn {
            drawn.count.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
