//! The experiments in the README and the guide are valid, and what the pages point at exists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pages() -> Vec<PathBuf> {
    let guide = fs::read_dir(root().join("docs"))
        .expect("docs/")
        .map(|entry| entry.expect("an entry").path());
    let mut pages: Vec<PathBuf> = guide
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    pages.extend(["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    pages.sort();
    pages
}

#[test]
fn every_experiment_in_the_guide_is_valid() {
    let lab = tempfile::tempdir().expect("a folder");
    fs::write(lab.path().join("lyceum.toml"), "").expect("a marker");
    let data = lab.path().join("experiments/data");
    fs::create_dir_all(&data).expect("a folder");
    for name in ["pool.jsonl.gz", "clean.jsonl.gz"] {
        fs::copy(root().join("experiments/data").join(name), data.join(name)).expect("the quickstart's data");
    }
    let mut checked = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for block in text
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
        {
            if !block.contains("[experiment]") {
                continue;
            }
            checked += 1;
            let file = lab.path().join(format!("example-{checked}.toml"));
            fs::write(&file, block).expect("written");
            let out = Command::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
                .arg("validate")
                .arg(&file)
                .output();
            let out = out.expect("the command runs");
            let talk = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "{}: {talk}", page.display());
        }
    }
    assert_eq!(checked, 3, "examples in the README and the guide");
}

#[test]
fn every_link_inside_the_project_leads_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") || target.starts_with('#') {
                continue;
            }
            let path = page.parent().expect("a folder").join(target);
            assert!(path.exists(), "{} points at {target}", page.display());
        }
    }
}

#[test]
fn the_shipped_experiments_are_valid() {
    let file = root().join("experiments/quickstart.toml");
    let out = Command::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
        .arg("validate")
        .arg(file)
        .output();
    let out = out.expect("the command runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}
