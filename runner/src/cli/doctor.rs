//! `lyceum doctor`.

use super::load::home_here;
use super::profile::profile;
use super::{Format, print};
use crate::Exit;
use crate::device::{Cuda, Lack, choose, cpu_name, threads};
use crate::units::{bytes, number};
use lyceum_components::disk;
use lyceum_components::machine::matrix_rate;
use lyceum_components::train::training_rate;
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
    /// Also shows where the time of a training step goes, by operation (a decoder of width 256 with 6 layers and 8192
    /// tokens, 8 blocks of 256, f32).
    #[arg(long)]
    profile: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let mut findings = examine();
    if arguments.profile {
        findings["profile"] = match choose("auto") {
            Ok(chosen) => profile(&chosen.device),
            Err(_) => Value::Null,
        };
    }
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
    let (device, rate, training) = match choose("auto") {
        Ok(chosen) => {
            let rates = (matrix_rate(&chosen.device, SIZE), training_rate(&chosen.device));
            (chosen.name, rates.0, rates.1)
        }
        Err(_) => ("none".to_owned(), 0.0, 0.0),
    };
    let unwritable = unwritable(&home);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "device": device,
        "matrix_flops_per_second": rate,
        "training_tokens_per_second": training,
        "processor": cpu_name(),
        "threads": threads(),
        "instructions": lyceum_components::instructions(),
        "kernels": kernels(),
        "memory_bytes": system.map(|memory| memory.0),
        "memory_available_bytes": system.map(|memory| memory.1),
        "home": home,
        "home_exists": home.exists(),
        "home_writable": unwritable.is_none(),
        "home_problem": unwritable,
        "disk_free_bytes": free_space(&home),
        "cuda": {
            "ready": missing.is_empty(),
            "gpus": cuda.gpus,
            "driver": cuda.driver,
            "nvrtc": cuda.nvrtc,
            "headers": cuda.headers,
            "missing": missing.iter().map(|Lack { code, what, how }| json!({ "code": code, "what": what, "how": how })).collect::<Vec<_>>(),
        },
    })
}

/// The body that every operation takes here.
fn kernels() -> Vec<Value> {
    let row = |body: lyceum_components::Body| json!({ "operations": body.operations, "processor": body.processor, "gpu": body.gpu });
    lyceum_components::bodies().into_iter().map(row).collect()
}

/// Why nothing can be written where the store is or would be made; none if something can. Leaves nothing behind.
fn unwritable(home: &Path) -> Option<String> {
    let there = home.ancestors().find(|folder| folder.exists())?;
    let probe = there.join(format!(".lyceum-doctor-{}", std::process::id()));
    let written = disk::write(&probe, "probe");
    // Where it could not be made it is not there.
    let _ = std::fs::remove_file(&probe);
    written
        .err()
        .map(|error| format!("nothing can be written in `{}`: {error}", there.display()))
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
    line(
        "kernels",
        "in f32 on the processor; other types take bodies composed of burn's operations".to_owned(),
    );
    for body in found["kernels"].as_array().into_iter().flatten() {
        let part = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        line("", format!("- {}: {}", part("operations"), part("processor")));
    }
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
    if found["home_writable"] == false {
        let how = "make it writable, free some space, or name another folder in `LYCEUM_HOME`";
        line("", format!("- {}; {how}", text_of("home_problem")));
    } else if found["home_exists"] == false {
        line("", "- it is not there yet; the first run makes it".to_owned());
    }
    let rate = number(number_of("matrix_flops_per_second"));
    line(
        "device",
        format!(
            "{}: {rate}FLOP/s in f32 matrix products ({SIZE} × {SIZE})",
            text_of("device")
        ),
    );
    line(
        "training",
        format!(
            "{}tokens/s (a decoder of width 128 with 2 layers, in f32)",
            number(number_of("training_tokens_per_second"))
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
        for body in found["kernels"].as_array().into_iter().flatten() {
            let part = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
            line("", format!("- {}: {}", part("operations"), part("gpu")));
        }
    } else {
        line(
            "cuda",
            "not usable; experiments run on the processor. Missing:".to_owned(),
        );
        for missing in cuda["missing"].as_array().into_iter().flatten() {
            let part = |key: &str| missing[key].as_str().unwrap_or_default().to_owned();
            line("", format!("- {}: {}", part("what"), part("how")));
        }
        for (name, key) in [
            ("driver", "driver"),
            ("compiler", "nvrtc"),
            ("headers", "headers"),
        ] {
            if let Some(file) = cuda[key].as_str() {
                line("", format!("- found: the {name}, `{file}`"));
            }
        }
    }
    out + &super::profile::text(&found["profile"])
}
