//! Files made to do harm: refused with what is wrong, where, and what to do, under a limit on memory.

#![cfg(unix)]

mod inputs;
mod models;
mod store;

use lyceum_tests::{Ended, Lab};
use std::process::{Command, Stdio};

/// A folder to run in.
fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
}

/// Runs the program with at most four gigabytes of addresses: what a file only claims is never reserved.
fn limited(lab: &Lab, arguments: &[&str]) -> Ended {
    let child = Command::new("sh")
        .args(["-c", "ulimit -v 4194304; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_lyceum-under-test"))
        .args(arguments)
        .current_dir(lab.path(""))
        .env_remove("LYCEUM_DATA")
        .env_remove("LYCEUM_HOME")
        .env("LYCEUM_TEST_SECRET", "hunter2-hunter2")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Ended::of(child.expect("a shell"))
}

/// An experiment of one step.
fn experiment(step: &str) -> String {
    format!("[experiment]\nname = \"hostile\"\n[steps.pool]\n{step}\n")
}

/// Checks that the file is refused: what is said, the file's name, what to do; and that nothing came of it.
#[track_caller]
fn refused(name: &str, content: &[u8], step: &str, says: &[&str]) {
    let lab = lab();
    lab.write(name, content);
    lab.write("e.toml", experiment(step));
    let ended = limited(&lab, &["run", "e.toml"]).exits(3);
    ended.says(says);
    ended.says(&[name, "hint: "]);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}
