//! `lyceum doctor`.

use super::load::home_here;
use super::{Format, print};
use crate::Exit;
use crate::device::{Cuda, choose, cpu_name, threads};
use crate::units::{bytes, number};
use lyceum_components::machine::matrix_rate;
use serde_json::{Value, json};
use std::path::Path;
use sysinfo::{Disks, System};

/// Side of the matrices whose product is timed on a processor.
const SIZE: usize = 1024;

/// Shows what this machine offers: devices, memory, disk, speed; and what is missing and how to get it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How the findings are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let findings = examine();
    match arguments.format {
        Format::Json => print(&format!("{findings:#}\n")),
        Format::Text => print(&text(&findings)),
    }
}

fn examine() -> Value {
    let system = System::new().ok().map(|mut system| {
        system.refresh_memory();
        (system.total_memory(), system.available_memory())
    });
    let home = home_here();
    let cuda = Cuda::probe();
    let missing = cuda.missing();
    let chosen = choose("auto").map(|chosen| (matrix_rate(&chosen.device, SIZE), chosen.name));
    let (rate, device) = chosen.unwrap_or((0.0, "none".to_owned()));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "device": device,
        "matrix_flops_per_second": rate,
        "processor": cpu_name(),
        "threads": threads(),
        "memory_bytes": system.map(|memory| memory.0),
        "memory_available_bytes": system.map(|memory| memory.1),
        "home": home,
        "home_exists": home.exists(),
        "disk_free_bytes": free_space(&home),
        "cuda": {
            "ready": missing.is_empty(),
            "gpus": cuda.gpus,
            "missing": missing.iter().map(|(what, how)| json!({ "what": what, "how": how })).collect::<Vec<_>>(),
        },
    })
}

/// Free bytes on the disk that would hold the store.
fn free_space(home: &Path) -> Option<u64> {
    let there = home
        .ancestors()
        .find(|folder| folder.exists())?
        .canonicalize()
        .ok()?;
    let disks = Disks::new_with_refreshed_list().ok()?;
    let holding = disks.iter().filter(|disk| there.starts_with(disk.mount_point()));
    holding
        .max_by_key(|disk| disk.mount_point().as_os_str().len())
        .map(sysinfo::Disk::available_space)
}

fn text(found: &Value) -> String {
    let number_of = |key: &str| found[key].as_f64().unwrap_or_default();
    let text_of = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    let mut out = format!("lyceum {}\n", text_of("version"));
    let mut line = |name: &str, value: String| out += &format!("{name:<12}{value}\n");
    line("processor", text_of("processor"));
    let memory = [number_of("memory_bytes"), number_of("memory_available_bytes")].map(bytes);
    line("memory", format!("{}, {} available", memory[0], memory[1]));
    line(
        "store",
        format!(
            "{}, {} free",
            text_of("home"),
            bytes(number_of("disk_free_bytes"))
        ),
    );
    let rate = number(number_of("matrix_flops_per_second"));
    line(
        "device",
        format!(
            "{}: {rate}FLOP/s in f32 matrix products ({SIZE} × {SIZE})",
            text_of("device")
        ),
    );
    let cuda = &found["cuda"];
    if cuda["ready"] == true {
        let names: Vec<&str> = cuda["gpus"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        line("cuda", names.join(", "));
    } else {
        line(
            "cuda",
            "not usable; experiments run on the processor. Missing:".to_owned(),
        );
        for missing in cuda["missing"].as_array().into_iter().flatten() {
            let part = |key: &str| missing[key].as_str().unwrap_or_default().to_owned();
            line("", format!("- {}: {}", part("what"), part("how")));
        }
    }
    out
}
