//! Experiment files as a whole: what is accepted, what is refused and where, and that nothing makes the reader fall over.

#![allow(clippy::disallowed_methods, reason = "tests lay out files as users do")]

mod accepted;
mod anything;
mod components;
mod refused;

use components::REGISTRY;
use lyceum::spec::{Diagnostic, Options, Resolved, load};
use std::fs;
use tempfile::TempDir;

const DESIGN: &str = include_str!("../../../tests/specs/design.toml");

/// An experiment `a.toml` in a folder of its own, which is its root.
struct Bench(TempDir);

impl Bench {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let bench = Self(tempfile::tempdir().expect("a temporary folder"));
        bench.write("lyceum.toml", "");
        bench.write("a.toml", text);
        bench
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), text).expect("a file in it");
    }

    /// The mistakes, each as its code and line.
    fn load(&self, options: &Options) -> Result<Resolved, Vec<(String, usize)>> {
        let place = |mistake: &Diagnostic| (mistake.code.to_owned(), mistake.place().1);
        load(&self.0.path().join("a.toml"), REGISTRY, options)
            .map_err(|mistakes| mistakes.list.iter().map(place).collect())
    }
}

/// Options under which files need not exist.
fn assume() -> Options {
    Options {
        assume: true,
        ..Options::default()
    }
}

fn set(settings: &[&str]) -> Options {
    let sets = settings.iter().map(|&text| text.to_owned()).collect();
    Options { sets, ..assume() }
}

fn mistakes(text: &str) -> Vec<(String, usize)> {
    Bench::new(text).load(&assume()).err().unwrap_or_default()
}

fn resolved(text: &str) -> Resolved {
    Bench::new(text)
        .load(&assume())
        .expect("an experiment without mistakes")
}

/// Puts `to` in the place of `from` in the design's example, and expects one mistake, where `at` stands.
fn refused(from: &str, to: &str, at: &str, code: &str) {
    assert_eq!(DESIGN.matches(from).count(), 1, "`{from}` is not one piece");
    let text = DESIGN.replace(from, to);
    let line = text
        .lines()
        .position(|line| line.contains(at))
        .expect("a piece of the text")
        + 1;
    assert_eq!(mistakes(&text), [(code.to_owned(), line)], "{from} -> {to}");
}
