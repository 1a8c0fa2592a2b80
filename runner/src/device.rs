//! Choosing where tensors live, and saying what this machine is.

mod cuda;

pub use cuda::{Cuda, Lack};
use lyceum_components::Device;

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
#[error("device `{wanted}` cannot be used: {reason} [{code}]")]
pub struct DeviceError {
    /// What programs may rely on; `docs/errors.md` lists them.
    pub code: &'static str,
    /// What was asked for.
    pub wanted: String,
    /// What is missing.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

/// The device for `auto`, `cpu`, `cuda` or `cuda:N`. `auto` is the first GPU if everything that it needs is there.
pub fn choose(wanted: &str) -> Result<Chosen, DeviceError> {
    if wanted == "cpu" {
        return Ok(cpu());
    }
    let error = |code, reason: String, hint: &str| DeviceError {
        code,
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
            "no_such_device",
            "no such device".into(),
            "use `auto`, `cpu`, `cuda` or `cuda:N`",
        ));
    };
    let cuda = Cuda::probe();
    match cuda.missing().first() {
        Some(_) if wanted == "auto" => return Ok(cpu()),
        Some(Lack { code, what, how }) => return Err(error(code, format!("{what} is missing"), how)),
        None => (),
    }
    let Some(gpu) = cuda.gpus.get(index) else {
        let count = cuda.gpus.len();
        return Err(error(
            "no_such_device",
            format!("there are {count} GPUs, numbered from 0"),
            "see `lyceum doctor`",
        ));
    };
    gpu_device(index, gpu).ok_or_else(|| {
        error(
            "cuda_not_built",
            "not built in".into(),
            "build with `--features cuda`",
        )
    })
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
}
