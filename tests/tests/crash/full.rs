//! A disk that is really full: a small file system in memory.

use super::{RUN, lab, undisturbed};
use lyceum_tests::Ended;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// A mounted file system; unmounted when dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    /// None where this user may not mount.
    fn new(folder: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "tmpfs"])
            .arg(folder)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(folder))
    }

    fn resize(&self, size: &str) {
        let done = Command::new("mount")
            .args(["-o", &format!("remount,{size}")])
            .arg(self.0)
            .status();
        assert!(done.expect("mount runs").success());
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the next mount hides it.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn on_a_disk_that_is_really_full_it_stops_cleanly_and_goes_on_when_there_is_room() {
    let lab = lab();
    let folder = lab.path(".lyceum");
    let Some(disk) = Mounted::new(&folder, "size=4m") else {
        eprintln!("skipped: this user may not mount a file system");
        return;
    };
    let ballast = folder.join("ballast");
    let left = free_bytes(&folder) - 48 * 1024;
    std::fs::write(&ballast, vec![1; left]).expect("room for it");
    let refused = lab.lyceum(&RUN).exits(3);
    refused.says(&["disk_full", "free"]);
    assert!(lab.artifacts("corpus.jsonl").is_empty());

    std::fs::remove_file(&ballast).expect("it can be removed");
    let mut child = lab.start(&RUN);
    while lab.artifacts("tokenizer.train").is_empty() {
        assert!(
            child.try_wait().expect("a state").is_none(),
            "ended before it was full"
        );
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // Something else takes all the room while the run is at work, and keeps taking what the run frees.
    let mut taking = std::fs::File::create(&ballast).expect("a file");
    while child.try_wait().expect("a state").is_none() {
        while taking.write_all(&[1; 1024]).is_ok() {}
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let ended = Ended::of(child).exits(3);
    ended.says(&["disk_full", "make room"]);
    std::fs::remove_file(&ballast).expect("it can be removed");
    disk.resize("size=64m");
    lab.lyceum(&["verify"]).exits(0);
    lab.lyceum(&RUN).exits(0);
    assert_eq!(lab.hashes(), undisturbed().hashes);
}

/// Free bytes, by the system's own tool.
fn free_bytes(folder: &Path) -> usize {
    let output = Command::new("df")
        .args(["--output=avail", "-B1"])
        .arg(folder)
        .output()
        .expect("df runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .nth(1)
        .and_then(|line| line.trim().parse().ok())
        .expect("a number")
}
