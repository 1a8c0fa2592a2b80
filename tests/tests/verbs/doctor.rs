//! `lyceum doctor`: each thing that is missing is named, and only while it is missing.

use super::empty_lab;
use lyceum_tests::{Ended, Lab};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const SMI: &str = "#!/bin/sh\necho 'Imaginary GPU'\n";

/// What a doctor says with nothing of CUDA in reach but what lies in `fake/`.
fn examine(lab: &Lab) -> serde_json::Value {
    let out = Command::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
        .args(["doctor", "--format", "json"])
        .current_dir(lab.path("."))
        .env("PATH", format!("{}:/bin", lab.path("fake/bin").display()))
        .env("LD_LIBRARY_PATH", lab.path("fake/lib"))
        .env("CUDA_PATH", lab.path("fake/cuda"))
        .env_remove("LYCEUM_HOME")
        .output();
    Ended::from(out.expect("the command runs")).exits(0).json()
}

fn missing(found: &serde_json::Value) -> Vec<String> {
    let list = found["cuda"]["missing"].as_array().expect("a list").iter();
    list.map(|one| {
        assert!(
            one["how"].as_str().is_some_and(|how| how.len() > 10),
            "what to do: {one}"
        );
        one["what"].as_str().expect("a name").to_owned()
    })
    .collect()
}

#[test]
fn each_part_of_cuda_is_missed_when_it_is_taken_away() {
    let lab = empty_lab();
    let parts = [
        ("an NVIDIA GPU", "fake/bin/nvidia-smi"),
        ("the driver (`libcuda.so`)", "fake/lib/libcuda.so.1"),
        ("the run-time compiler (`libnvrtc.so`)", "fake/lib/libnvrtc.so.12"),
        ("CUDA's headers (`cuda_fp16.h`)", "fake/cuda/include/cuda_fp16.h"),
    ];
    // What this machine really has cannot be taken away here.
    let really: Vec<String> = missing(&examine(&lab));
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(what, _)| really.contains(&(*what).to_owned()))
        .collect();
    if parts.len() < 4 {
        eprintln!("partly skipped: this machine has some of CUDA");
    }
    let put = |file: &str| {
        lab.write(file, SMI);
        fs::set_permissions(lab.path(file), fs::Permissions::from_mode(0o755)).expect("it may be run");
    };
    for (_, file) in &parts {
        put(file);
    }
    let found = examine(&lab);
    assert!(
        parts
            .iter()
            .all(|(what, _)| !missing(&found).contains(&(*what).to_owned())),
        "{found}"
    );
    if parts.len() == 4 {
        assert_eq!(found["cuda"]["gpus"], serde_json::json!(["Imaginary GPU"]));
    }
    for (what, file) in &parts {
        fs::remove_file(lab.path(file)).expect("it goes");
        let now = missing(&examine(&lab));
        let lost: Vec<_> = now.iter().filter(|one| !missing(&found).contains(one)).collect();
        assert_eq!(lost, [what], "{now:?}");
        put(file);
    }
}

#[test]
fn a_tool_of_the_driver_that_fails_is_no_gpu() {
    let lab = empty_lab();
    lab.write(
        "fake/bin/nvidia-smi",
        "#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n",
    );
    let tool = lab.path("fake/bin/nvidia-smi");
    fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).expect("it may be run");
    let names = examine(&lab)["cuda"]["gpus"].to_string();
    assert!(!names.contains("failed"), "{names}");
}

#[test]
fn speed_is_measured_and_a_store_that_is_not_there_is_no_problem() {
    let lab = empty_lab();
    let found = lab.lyceum(&["doctor", "--format", "json"]).exits(0).json();
    assert!(
        found["training_tokens_per_second"].as_f64() > Some(100.0),
        "{found}"
    );
    assert!(found["matrix_flops_per_second"].as_f64() > Some(1e8), "{found}");
    assert_eq!(
        (&found["home_exists"], &found["home_writable"]),
        (&false.into(), &true.into())
    );
    assert!(found["disk_free_bytes"].as_u64() > Some(0), "{found}");
    let text = lab.lyceum(&["doctor"]).exits(0).stdout;
    for part in ["tokens/s", "FLOP/s", "the first run makes it", "memory"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!lab.path(".lyceum").exists());
}

#[test]
fn a_store_that_cannot_be_written_is_named_with_what_to_do() {
    let lab = empty_lab();
    // Not even root can write below /proc.
    for home in ["/proc/lyceum", "/proc/self"] {
        let out = Command::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
            .arg("doctor")
            .current_dir(lab.path("."))
            .env("LYCEUM_HOME", home)
            .output();
        let text = Ended::from(out.expect("the command runs")).exits(0).stdout;
        assert!(
            text.contains("nothing can be written in `/proc") && text.contains("`LYCEUM_HOME`"),
            "{text}"
        );
    }
}
