//! Choosing where tensors live, and saying what this machine is.

use lyceum_components::Device;
use std::path::{Path, PathBuf};

/// A device that steps can run on.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// For tensors.
    pub device: Device,
    /// As in `cpu` or `cuda:0`.
    pub name: String,
    /// What numbers depend on in their last bits, as in `cpu` or `cuda NVIDIA H100`.
    pub class: String,
}

/// Why a device cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device `{wanted}` cannot be used: {reason}")]
pub struct DeviceError {
    /// What was asked for.
    pub wanted: String,
    /// What is missing.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

/// What CUDA needs, and what of it was found here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuda {
    /// Whether this program was built with the feature `cuda`.
    pub built: bool,
    /// The driver's library.
    pub driver: Option<PathBuf>,
    /// The run-time compiler.
    pub nvrtc: Option<PathBuf>,
    /// The folder of CUDA's headers.
    pub headers: Option<PathBuf>,
    /// Names of the GPUs, in order.
    pub gpus: Vec<String>,
}

impl Cuda {
    /// Looks, without touching the driver: cubecl panics deep inside where the driver is missing.
    pub fn probe() -> Self {
        Self {
            built: cfg!(feature = "cuda"),
            driver: library("libcuda.so"),
            nvrtc: library("libnvrtc.so"),
            headers: headers(),
            gpus: gpus(),
        }
    }

    /// What is missing, each with how to get it.
    pub fn missing(&self) -> Vec<(&'static str, &'static str)> {
        let all = [
            (
                self.built,
                "support in this program",
                "build it with `cargo build --release --features cuda`",
            ),
            (
                !self.gpus.is_empty(),
                "an NVIDIA GPU",
                "run on a machine that has one",
            ),
            (
                self.driver.is_some(),
                "the driver (`libcuda.so`)",
                "install NVIDIA's driver",
            ),
            (
                self.nvrtc.is_some(),
                "the run-time compiler (`libnvrtc.so`)",
                "install `cuda-nvrtc` or the pip package `nvidia-cuda-nvrtc`, and put its folder into `LD_LIBRARY_PATH`",
            ),
            (
                self.headers.is_some(),
                "CUDA's headers (`cuda_fp16.h`)",
                "install `cuda-cudart-dev` or the pip package `nvidia-cuda-runtime`, and set `CUDA_PATH`",
            ),
        ];
        all.into_iter()
            .filter(|(there, ..)| !there)
            .map(|(_, what, how)| (what, how))
            .collect()
    }
}

/// The device for `auto`, `cpu`, `cuda` or `cuda:N`. `auto` is the first GPU if everything that it needs is there.
pub fn choose(wanted: &str) -> Result<Chosen, DeviceError> {
    if wanted == "cpu" {
        return Ok(cpu());
    }
    let error = |reason: String, hint: &str| DeviceError {
        wanted: wanted.to_owned(),
        reason,
        hint: hint.to_owned(),
    };
    let index = match wanted.split_once(':') {
        None if wanted == "auto" || wanted == "cuda" => Some(0),
        Some(("cuda", index)) => index.parse::<usize>().ok(),
        _ => None,
    };
    let Some(index) = index else {
        return Err(error(
            "no such device".into(),
            "use `auto`, `cpu`, `cuda` or `cuda:N`",
        ));
    };
    let cuda = Cuda::probe();
    match cuda.missing().first() {
        Some(_) if wanted == "auto" => return Ok(cpu()),
        Some((what, how)) => return Err(error(format!("{what} is missing"), how)),
        None => (),
    }
    let Some(gpu) = cuda.gpus.get(index) else {
        let count = cuda.gpus.len();
        return Err(error(
            format!("there are {count} GPUs, numbered from 0"),
            "see `lyceum doctor`",
        ));
    };
    gpu_device(index, gpu).ok_or_else(|| error("not built in".into(), "build with `--features cuda`"))
}

fn cpu() -> Chosen {
    Chosen {
        device: Device::flex(),
        name: "cpu".into(),
        class: "cpu".into(),
    }
}

#[cfg(feature = "cuda")]
fn gpu_device(index: usize, gpu: &str) -> Option<Chosen> {
    Some(Chosen {
        device: Device::cuda(index),
        name: format!("cuda:{index}"),
        class: format!("cuda {gpu}"),
    })
}

#[cfg(not(feature = "cuda"))]
fn gpu_device(_: usize, _: &str) -> Option<Chosen> {
    None
}

/// A shared library by the beginning of its file name, in the folders the loader looks in.
fn library(name: &str) -> Option<PathBuf> {
    let listed = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let usual = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/lib64",
        "/usr/local/nvidia/lib64",
        "/usr/local/cuda/lib64",
        "/usr/local/cuda/compat",
        "/usr/lib/wsl/lib",
    ];
    let mut found: Vec<PathBuf> = listed
        .split(':')
        .filter(|folder| !folder.is_empty())
        .chain(usual)
        .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(name))
        .map(|entry| entry.path())
        .collect();
    found.sort_by_key(|path| path.as_os_str().len());
    found.into_iter().next()
}

fn headers() -> Option<PathBuf> {
    let set = std::env::var_os("CUDA_PATH").map(PathBuf::from);
    set.into_iter()
        .chain(["/usr/local/cuda", "/opt/cuda"].map(PathBuf::from))
        .map(|folder| folder.join("include"))
        .find(|folder| folder.join("cuda_fp16.h").is_file())
}

/// The GPUs' names: from the driver's files, else from its own tool, which containers have more often.
fn gpus() -> Vec<String> {
    let listed = std::fs::read_dir("/proc/driver/nvidia/gpus")
        .into_iter()
        .flatten()
        .flatten();
    let mut folders: Vec<PathBuf> = listed.map(|entry| entry.path()).collect();
    folders.sort();
    let names: Vec<String> = folders
        .iter()
        .filter_map(|folder| model(&folder.join("information")))
        .collect();
    if !names.is_empty() {
        return names;
    }
    std::process::Command::new("nvidia-smi")
        .args(["--query-gpu=name", "--format=csv,noheader"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| {
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default()
}

fn model(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("Model:"))
        .map(|name| name.trim().to_owned())
}

/// The processor's extensions that decide which vector code runs, and so the order of sums.
pub fn cpu_features() -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bw", std::is_x86_feature_detected!("avx512bw")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let found = [(std::env::consts::ARCH, true)];
    found
        .into_iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The processor in one line.
pub fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    format!("{model}, {} threads, {}", threads(), cpu_features().join(" "))
}

/// Threads this process may use.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_wrong_names_are_refused() {
        assert_eq!(choose("cpu").unwrap().name, "cpu");
        assert!(choose("auto").is_ok());
        for wrong in ["gpu", "cuda:x", "cuda:-1", "cpu:0", ""] {
            assert!(choose(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_how_to_get_it() {
        let none = Cuda {
            built: false,
            driver: None,
            nvrtc: None,
            headers: None,
            gpus: Vec::new(),
        };
        assert_eq!(none.missing().len(), 5);
        assert!(!none.missing()[0].1.is_empty());
    }
}
