//! Progress: a bar on a terminal, a plain line every few seconds elsewhere.

use crate::units::{duration, number};
use indicatif::{ProgressBar, ProgressStyle};
use lyceum_components::Bar;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between plain lines.
const EVERY: Duration = Duration::from_secs(5);

/// A progress display fit for where stderr goes.
pub(crate) fn bar(step: &str, what: &str, total: u64, unit: &'static str) -> Box<dyn Bar> {
    let name = format!("{step}: {what}");
    if std::io::stderr().is_terminal() {
        Box::new(Drawn::new(name, total, unit))
    } else {
        Box::new(Lines::new(name, total, unit))
    }
}

struct Drawn(ProgressBar);

impl Drawn {
    fn new(name: String, total: u64, unit: &'static str) -> Self {
        let bar = ProgressBar::new(total);
        let template =
            format!("  {{prefix}} {{bar:24}} {{percent:>3}} %  {{per_sec}} {unit}  {{msg}}  {{eta}} left");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.with_key(
                "per_sec",
                |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                    // Writing to the bar's own buffer does not fail.
                    let _ = write!(out, "{}/s", number(state.per_sec()));
                },
            ));
        }
        bar.set_prefix(name);
        Self(bar)
    }
}

impl Bar for Drawn {
    fn advance(&self, units: u64) {
        self.0.inc(units);
    }
    fn message(&self, text: &str) {
        self.0.set_message(text.to_owned());
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

struct Lines {
    name: String,
    total: u64,
    unit: &'static str,
    start: Instant,
    state: Mutex<State>,
}

struct State {
    done: u64,
    /// What was done before this process: the first advance of a resumed training, which took no time.
    skipped: u64,
    message: String,
    printed: Instant,
}

impl Lines {
    fn new(name: String, total: u64, unit: &'static str) -> Self {
        let now = Instant::now();
        let state = State {
            done: 0,
            skipped: 0,
            message: String::new(),
            printed: now,
        };
        Self {
            name,
            total,
            unit,
            start: now,
            state: Mutex::new(state),
        }
    }
}

impl Bar for Lines {
    fn advance(&self, units: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.done == 0 && self.start.elapsed() < Duration::from_millis(50) {
            state.skipped = units;
        }
        state.done += units;
        if state.printed.elapsed() < EVERY {
            return;
        }
        state.printed = Instant::now();
        let rate = (state.done - state.skipped) as f64 / self.start.elapsed().as_secs_f64();
        let left = self.total.saturating_sub(state.done) as f64 / rate.max(1e-9);
        let percent = 100 * state.done / self.total.max(1);
        let Self { name, unit, .. } = self;
        let (rate, left, message) = (number(rate), duration(left), &state.message);
        // Nobody listening is no reason to stop.
        let _ = writeln!(
            std::io::stderr(),
            "  {name} {percent:>3} %  {rate} {unit}/s  {message}  {left} left"
        );
    }

    fn message(&self, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone_into(&mut state.message);
    }
}
