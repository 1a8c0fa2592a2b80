//! What CUDA needs, and what of it this machine has.

use std::path::{Path, PathBuf};

/// What CUDA needs, and what of it was found here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuda {
    /// Whether this program was built with the feature `cuda`.
    pub built: bool,
    /// The driver's library.
    pub driver: Option<PathBuf>,
    /// What the driver answered when it was asked for its GPUs and refused; it is asked in programs built with `cuda` only.
    pub refusal: Option<String>,
    /// The run-time compiler.
    pub nvrtc: Option<PathBuf>,
    /// Whether the loader opens the compiler; tried in programs built with `cuda` only.
    pub nvrtc_opens: bool,
    /// The folder of CUDA's headers.
    pub headers: Option<PathBuf>,
    /// Names of the GPUs, in order.
    pub gpus: Vec<String>,
}

/// Something that CUDA needs and this machine lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What programs may rely on; `docs/errors.md` lists them.
    pub code: &'static str,
    /// What it is.
    pub what: String,
    /// How to get it.
    pub how: &'static str,
}

impl Cuda {
    /// Looks, and asks the driver where this program was built for it.
    pub fn probe() -> Self {
        let (answer, nvrtc_opens) = ask();
        let (gpus, refusal) = match answer {
            Some(Ok(gpus)) => (gpus, None),
            Some(Err(refusal)) => (gpus_by_files(), Some(refusal)),
            None => (gpus_by_files(), None),
        };
        Self {
            built: cfg!(feature = "cuda"),
            driver: library("libcuda.so"),
            refusal,
            nvrtc: library("libnvrtc.so"),
            nvrtc_opens,
            headers: headers(),
            gpus,
        }
    }

    /// What is missing, first what the rest is of no use without.
    pub fn missing(&self) -> Vec<Lack> {
        let lack = |code, what: &str, how| Lack {
            code,
            what: what.to_owned(),
            how,
        };
        let mut missing = Vec::new();
        if !self.built {
            missing.push(lack(
                "cuda_not_built",
                "support in this program",
                "build it with `cargo build --release --features cuda`",
            ));
        }
        match (&self.driver, &self.refusal) {
            (None, _) => missing.push(lack(
                "no_cuda_driver",
                "the driver (`libcuda.so`)",
                "install NVIDIA's driver",
            )),
            (Some(_), Some(refusal)) => missing.push(lack(
                "no_cuda_driver",
                &format!("a driver that works ({refusal})"),
                "see whether `nvidia-smi` works, and which `libcuda.so` the loader takes",
            )),
            _ => (),
        }
        if self.gpus.is_empty() {
            missing.push(lack("no_gpu", "an NVIDIA GPU", "run on a machine that has one"));
        }
        match &self.nvrtc {
            None => missing.push(lack(
                "no_nvrtc",
                "the run-time compiler (`libnvrtc.so`)",
                "install `cuda-nvrtc` or the pip package `nvidia-cuda-nvrtc`, and put its folder into `LD_LIBRARY_PATH`",
            )),
            Some(file) if !self.nvrtc_opens => missing.push(lack(
                "no_nvrtc",
                &format!("a run-time compiler that the loader opens (`{}`)", file.display()),
                "put its folder into `LD_LIBRARY_PATH`",
            )),
            Some(_) => (),
        }
        if self.headers.is_none() {
            missing.push(lack(
                "no_cuda_headers",
                "CUDA's headers (`cuda_fp16.h`)",
                "install `cuda-cudart-dev` or the pip package `nvidia-cuda-runtime`, and set `CUDA_PATH`",
            ));
        }
        missing
    }
}

/// The driver's GPUs, and whether the compiler opens.
#[cfg(feature = "cuda")]
fn ask() -> (Option<Result<Vec<String>, String>>, bool) {
    use lyceum_components::cuda;
    (Some(cuda::gpus()), cuda::has_compiler())
}

/// Nothing is asked of libraries that this program could not use.
#[cfg(not(feature = "cuda"))]
fn ask() -> (Option<Result<Vec<String>, String>>, bool) {
    (None, true)
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

/// The folder whose headers cubecl gives to the compiler: it takes the first of these that is there and looks no further.
fn headers() -> Option<PathBuf> {
    let there = |folder: &str| Path::new(folder).exists().then(|| PathBuf::from(folder));
    std::env::var_os("CUDA_PATH")
        .map(PathBuf::from)
        .or_else(|| there("/usr/local/cuda"))
        .or_else(|| there("/opt/cuda"))
        .or_else(|| there("/usr/bin/nvcc").map(|_| PathBuf::from("/usr")))
        .map(|folder| folder.join("include"))
        .filter(|folder| folder.join("cuda_fp16.h").is_file())
}

/// The GPUs' names without the driver's library: from its files, else from its own tool, which containers have more often.
fn gpus_by_files() -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Cuda {
        Cuda {
            built: false,
            driver: None,
            refusal: None,
            nvrtc: None,
            nvrtc_opens: true,
            headers: None,
            gpus: Vec::new(),
        }
    }

    fn codes(cuda: &Cuda) -> Vec<&'static str> {
        cuda.missing().iter().map(|lack| lack.code).collect()
    }

    #[test]
    fn what_is_missing_is_named_with_how_to_get_it() {
        let all = [
            "cuda_not_built",
            "no_cuda_driver",
            "no_gpu",
            "no_nvrtc",
            "no_cuda_headers",
        ];
        assert_eq!(codes(&nothing()), all);
        assert!(nothing().missing().iter().all(|lack| lack.how.len() > 10));
        let guide = std::fs::read_to_string("../docs/errors.md").unwrap();
        assert!(all.iter().all(|code| guide.contains(&format!("`{code}`"))));
    }

    #[test]
    fn libraries_that_do_not_work_are_missed_too() {
        let cuda = Cuda {
            built: true,
            driver: Some("libcuda.so.1".into()),
            refusal: Some("CUDA_ERROR_NO_DEVICE".into()),
            nvrtc: Some("libnvrtc.so.13".into()),
            nvrtc_opens: false,
            headers: Some("include".into()),
            gpus: vec!["Imaginary GPU".into()],
        };
        assert_eq!(codes(&cuda), ["no_cuda_driver", "no_nvrtc"]);
        assert!(cuda.missing()[0].what.contains("CUDA_ERROR_NO_DEVICE"));
    }
}
