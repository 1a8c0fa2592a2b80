//! How long a model takes to load, and how much memory at its peak: `load_model FOLDER [f32|bf16|f64]`.

#![allow(clippy::print_stdout, reason = "a bench talks")]

use lyceum_components::inference::LanguageModel;
use lyceum_components::{Device, Precision};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(folder) = arguments.first() else {
        eprintln!("usage: load_model FOLDER [f32|bf16|f64]");
        return ExitCode::from(2);
    };
    let precision = match arguments.get(1).map(String::as_str) {
        Some("bf16") => Precision::Bf16,
        Some("f64") => Precision::F64,
        _ => Precision::F32,
    };
    let started = Instant::now();
    let model = match LanguageModel::open_folder(Path::new(folder), &Device::flex(), precision) {
        Ok(model) => model,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or("unknown");
    println!(
        "{} parameters in {seconds:.2} s, peak memory {}",
        model.loaded.details.parameters,
        peak.trim()
    );
    ExitCode::SUCCESS
}
