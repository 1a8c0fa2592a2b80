//! The experiments in the README and the guide are valid, and what the pages point at exists.

use lyceum_tests::Lab;
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
    fs::create_dir_all(lab.path().join("models/mine")).expect("a folder");
    fs::write(lab.path().join("models/mine/config.json"), "{}").expect("a model in name");
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
    assert_eq!(checked, 11, "examples in the README and the guide");
}

#[test]
fn the_experiment_about_selecting_data_runs() {
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    for name in ["pool.jsonl.gz", "clean.jsonl.gz"] {
        let path = format!("experiments/data/{name}");
        lab.write(
            &path,
            fs::read(root().join(&path)).expect("the quickstart's data"),
        );
    }
    let page = fs::read_to_string(root().join("docs/scores.md")).expect("a page");
    let block = page
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    lab.write("which-score.toml", block.expect("an experiment"));
    lab.lyceum(&["run", "which-score.toml"]).exits(0);
}

#[test]
fn every_link_inside_the_project_leads_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") || target.starts_with('#') {
                continue;
            }
            let (file, anchor) = target
                .split_once('#')
                .map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            let path = page.parent().expect("a folder").join(file);
            assert!(path.exists(), "{} points at {target}", page.display());
            if let Some(anchor) = anchor {
                let text = fs::read_to_string(&path).expect("a page");
                let found = text
                    .lines()
                    .any(|line| line.starts_with('#') && slug(line) == anchor);
                assert!(found, "{} points at {target}", page.display());
            }
        }
    }
}

/// What a heading is called in links.
fn slug(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn the_shipped_experiments_are_valid() {
    // Those at the papers' scale want data that nobody has; their plans are tests of their own.
    let folders = ["ci", "micro", "nightly"].map(|folder| root().join("experiments").join(folder));
    let mut files = vec![root().join("experiments/quickstart.toml")];
    files.extend(folders.iter().flat_map(|folder| {
        let entries = fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path())
    }));
    files.retain(|file| {
        let name = file.to_string_lossy();
        name.ends_with(".toml") && !name.ends_with(".baseline.toml")
    });
    assert!(files.len() > 10, "{files:?}");
    let out = Command::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
        .arg("validate")
        .args(&files)
        .output();
    let out = out.expect("the command runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// What a line of a block of shell commands calls, without comments.
fn commands(page: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs").join(page)).expect("a page");
    let blocks = text
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(|block| block.lines().filter_map(|line| line.strip_prefix("lyceum ")));
    lines
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

#[test]
fn the_commands_in_the_guide_do_what_they_say() {
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    let line = |i| format!("{{\"text\": \"The {i}th of many quiet boats on the old green river.\"}}\n");
    lab.write("pool.jsonl", (0..80).map(line).collect::<String>());
    lab.write(
        "small.toml",
        r#"
[experiment]
name = "small"
[steps.pool]
use = "corpus.jsonl"
files = ["pool.jsonl"]
[steps.bpe]
use = "tokenizer.train"
corpus = "@pool"
vocab_size = 300
[steps.tokens]
use = "tokens.pack"
tokenizer = "@bpe"
corpus = "@pool"
context = 32
split = { train = 0.8, valid = 0.2 }
[steps.student]
use = "train.lm"
data = "@tokens.train"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
optim = { lr = 1e-3, batch_size = 4, budget = { steps = 4 } }
[steps.quality]
use = "evaluate.lm_loss"
models = "@student"
data = "@tokens.valid"
"#,
    );
    lab.lyceum(&["run", "small.toml"]).exits(0);
    let mut run = 0;
    for page in ["install.md", "looking-after-runs.md", "troubleshooting.md"] {
        for command in commands(page) {
            let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            assert_eq!(lab.lyceum(&arguments).exits(0).stderr, "", "{page}: {command:?}");
            run += 1;
        }
    }
    assert!(run >= 18, "{run} commands");
    for file in [
        "out/student/config.json",
        "out/quality/table.csv",
        "out/run/steps/quality/table.json",
        "page/report.html",
    ] {
        assert!(lab.path(file).is_file(), "{file}");
    }
}

#[test]
fn the_codes_in_the_guide_are_codes_of_errors() {
    fn sources(folder: &Path, all: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                sources(&entry.path(), all);
            } else {
                *all += &fs::read_to_string(entry.path()).unwrap_or_default();
            }
        }
    }
    let mut all = String::new();
    for folder in ["runner/src", "components/src"] {
        sources(&root().join(folder), &mut all);
    }
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).expect("a page");
    let first = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split('|').next());
    let codes: Vec<&str> = first
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(codes.len() > 10, "{codes:?}");
    for code in codes {
        assert!(all.contains(&format!("\"{code}\"")), "{code}");
    }
}
