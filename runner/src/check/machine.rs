//! Classes of machines: what numbers depend on in their last bits.

use crate::device::cpu_features;
use crate::execute::{RunFolder, RunRecord};
use crate::store::Manifest;
use std::collections::BTreeSet;

/// The class of a device and a processor's extensions, as in `x86_64-avx512` or `cuda-NVIDIA-H100`.
fn class(device: &str, features: &[String]) -> String {
    if device != "cpu" {
        return device.replace(char::is_whitespace, "-");
    }
    let has = |name: &str| features.iter().any(|feature| feature == name);
    // Other processors name nothing but themselves; x86-64 names what it can do beyond the least.
    match features {
        [other] if !["avx2", "fma"].contains(&other.as_str()) && !other.starts_with("avx512") => {
            other.clone()
        }
        _ if has("avx512f") => "x86_64-avx512".into(),
        _ if has("avx2") && has("fma") => "x86_64-avx2".into(),
        _ => "x86_64".into(),
    }
}

/// The class of this machine's processor.
pub(super) fn here() -> String {
    class("cpu", &cpu_features())
}

/// The classes of machines that made the artifacts of a run; more than one where a store is shared.
pub(super) fn of_run(folder: &RunFolder, record: &RunRecord) -> BTreeSet<String> {
    let manifests = record
        .steps
        .iter()
        .filter_map(|step| Manifest::read(&folder.artifact(step)).ok());
    manifests
        .map(|manifest| class(&manifest.made_by.device, &manifest.made_by.cpu_features))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_named_after_the_widest_vectors() {
        let of = |features: &[&str]| {
            class(
                "cpu",
                &features.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(&["avx2", "fma", "avx512f", "avx512bw"]), "x86_64-avx512");
        assert_eq!(of(&["avx2", "fma"]), "x86_64-avx2");
        assert_eq!(of(&["avx2"]), "x86_64");
        assert_eq!(of(&[]), "x86_64");
        assert_eq!(of(&["aarch64"]), "aarch64");
        assert_eq!(class("cuda NVIDIA H100", &[]), "cuda-NVIDIA-H100");
    }
}
