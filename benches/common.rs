//! What benches share.

#![allow(dead_code, reason = "no bench needs all of it")]

use std::process::Command;

/// A number that the environment sets.
pub(crate) fn number(name: &str, otherwise: usize) -> usize {
    let told = std::env::var(name).ok();
    told.and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

/// The middle one; NaN of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A line of what the system says of this process's memory (`VmHWM:` is its peak), in bytes; 0 where it is not told.
pub(crate) fn memory(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|text| text.strip_prefix(line));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    1024.0 * kilobytes.unwrap_or_default()
}

/// This program, told to measure its own side.
pub(crate) fn ours(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(arguments).env("RAYON_NUM_THREADS", "2");
    command
}

/// A script of benches/peers, run by `PYTHON`.
pub(crate) fn peer(script: &str) -> Command {
    let mut command = Command::new(std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned()));
    command.arg(format!(
        "{}/../benches/peers/{script}",
        env!("CARGO_MANIFEST_DIR")
    ));
    command
}

/// Tells glibc's allocator to keep its memory, as ours does.
pub(crate) fn keeping_memory(command: &mut Command) -> &mut Command {
    command.envs([
        ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
        ("MALLOC_TRIM_THRESHOLD_", "4294967296"),
        ("MALLOC_TOP_PAD_", "268435456"),
    ])
}

/// What a side prints; none if it cannot run.
pub(crate) fn printed(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).ok()
}
