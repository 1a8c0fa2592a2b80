//! A folder to run experiments in, as a user does.

use crate::sha256;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A temporary folder with the root's marker in it, and the program that is called there.
#[derive(Debug)]
pub struct Lab {
    folder: tempfile::TempDir,
    program: &'static str,
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Ended {
    /// Waits for the end of a process.
    pub fn of(child: Child) -> Self {
        child.wait_with_output().expect("the command ends").into()
    }

    /// Itself, if the exit status is this one.
    #[track_caller]
    #[allow(clippy::return_self_not_must_use)] // it asserts; what follows is optional
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Checks that the talk has all of these in it.
    #[track_caller]
    pub fn says(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.stderr.contains(text), "not said: {text}\n{}", self.stderr);
        }
    }

    /// The steps that a run said it took from the store.
    pub fn cached(&self) -> Vec<&str> {
        let headers = self.stderr.lines().filter(|line| line.starts_with('['));
        headers
            .filter(|line| line.ends_with("  cached"))
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect()
    }

    /// Stdout read as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Lab {
    /// A new folder for this program.
    pub fn new(program: &'static str) -> Self {
        let lab = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            program,
        };
        lab.write("lyceum.toml", "");
        lab
    }

    /// A path inside.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file inside.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file in it");
    }

    /// Starts the program.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.start_with(arguments, &[])
    }

    /// Starts the program with more in its environment.
    pub fn start_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
        Command::new(self.program)
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("LYCEUM_DATA")
            .env_remove("LYCEUM_HOME")
            .env_remove("GITHUB_ACTIONS")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts")
    }

    /// Runs the program to its end.
    pub fn lyceum(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.start(arguments))
    }

    /// SHA-256 of every file of every artifact, by path in the store.
    pub fn hashes(&self) -> BTreeMap<String, String> {
        let store = self.path(".lyceum/store");
        let paths = files_under(&store).into_iter().map(|path| {
            let name = path.strip_prefix(&store).expect("a file in the store");
            (name.to_string_lossy().into_owned(), path.clone())
        });
        paths
            .filter(|(name, _)| !name.split('/').any(|part| part.starts_with('.')))
            .map(|(name, path)| (name, sha256(&fs::read(path).expect("a file that can be read"))))
            .collect()
    }

    /// Keys of the artifacts of a component.
    pub fn artifacts(&self, component: &str) -> Vec<String> {
        let mut names = list(&self.path(".lyceum/store").join(component));
        names.retain(|name| !name.starts_with('.'));
        names
    }

    /// The steps of training that checkpoints stand at.
    pub fn checkpoints(&self) -> Vec<u64> {
        let scratch = self.path(".lyceum/scratch");
        let names = list(&scratch)
            .into_iter()
            .flat_map(|key| list(&scratch.join(key)));
        names
            .filter_map(|name| name.rsplit('-').next()?.parse().ok())
            .collect()
    }
}

/// Names in a folder, sorted; none if there is no folder.
pub fn list(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Every file under a folder.
pub fn files_under(folder: &Path) -> Vec<PathBuf> {
    let paths = list(folder).into_iter().map(|name| folder.join(name));
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files_under(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
