//! Experiments as processes of their own: what one of them does, fails or is killed by does not reach the others.

use lyceum_components::{Cancel, disk};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often running children are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How often it is told what they say.
const LISTEN: Duration = Duration::from_secs(1);

/// Bytes of what a child said that are read.
const MOST: u64 = 16_000;

/// One call of this program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// Arguments, as in `["run", "point.toml", "--format", "json"]`.
    pub arguments: Vec<String>,
    /// Folder for what it writes: `stdout` and `stderr`, of the last call.
    pub folder: PathBuf,
    /// Environment variables that it is given besides this process's own.
    pub environment: Vec<(String, OsString)>,
    /// Environment variables of this process that it is not given, such as those whose settings its file has already.
    pub without: Vec<String>,
}

/// How a job ended.
#[derive(Debug)]
pub struct JobEnded {
    /// Exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout, as JSON; null if it was none.
    pub output: Value,
    /// The end of what it said on stderr.
    pub talk: String,
    /// Seconds it took.
    pub wall_seconds: f64,
}

/// Runs jobs, at most `at_once` at a time, until `next` gives no more and the last one has ended. `says` hears every second the
/// last line that each of them wrote to stderr; `ended` is called as they end. Cancelled, no more are started and those that
/// run are asked to stop, and waited for.
///
/// # Errors
/// A job that could not be started.
pub fn run_jobs<T>(
    at_once: usize,
    cancel: &Cancel,
    mut next: impl FnMut() -> io::Result<Option<(T, Job)>>,
    mut says: impl FnMut(&T, &str),
    mut ended: impl FnMut(T, JobEnded),
) -> io::Result<()> {
    let threads = (crate::device::threads() / at_once.max(1)).max(1);
    let mut running: Vec<(T, Running)> = Vec::new();
    let mut told = false;
    let mut more = true;
    let mut failure = None;
    let mut listened = Instant::now();
    loop {
        while more && failure.is_none() && !cancel.is_cancelled() && running.len() < at_once {
            match next().and_then(|job| {
                job.map(|(name, job)| Ok((name, Running::start(job, threads)?)))
                    .transpose()
            }) {
                Ok(Some(started)) => running.push(started),
                Ok(None) => more = false,
                Err(error) => failure = Some(error),
            }
        }
        if running.is_empty() {
            return failure.map_or(Ok(()), Err);
        }
        if cancel.is_cancelled() && !std::mem::replace(&mut told, true) {
            for (_, job) in &mut running {
                job.stop();
            }
        }
        let mut i = 0;
        while i < running.len() {
            match running[i].1.poll() {
                Ok(None) => i += 1,
                Ok(Some(outcome)) => ended(running.remove(i).0, outcome),
                Err(error) => {
                    running.remove(i);
                    failure = Some(error);
                }
            }
        }
        if listened.elapsed() >= LISTEN {
            listened = Instant::now();
            for (name, job) in &running {
                let end = read_end(&job.folder.join("stderr"));
                if let Some(line) = last_line(&end) {
                    says(name, line);
                }
            }
        }
        std::thread::sleep(LOOK);
    }
}

struct Running {
    child: Child,
    folder: PathBuf,
    start: Instant,
}

impl Running {
    fn start(job: Job, threads: usize) -> io::Result<Self> {
        disk::create_dir_all(&job.folder)?;
        let sink = |name: &str| {
            // A new file, not the old one emptied: the child of a process that was killed may still write to that.
            let file = job.folder.join(name);
            let _ = std::fs::remove_file(&file);
            #[expect(
                clippy::disallowed_methods,
                reason = "a child's output is no part of the store"
            )]
            std::fs::File::create(file)
        };
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(&job.arguments)
            .stdin(Stdio::null())
            .stdout(sink("stdout")?)
            .stderr(sink("stderr")?)
            .envs(job.environment);
        for name in &job.without {
            command.env_remove(name);
        }
        // Ctrl-C at a terminal is for this process, which asks its children to stop just once.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        if std::env::var_os("RAYON_NUM_THREADS").is_none() {
            command.env("RAYON_NUM_THREADS", threads.to_string());
        }
        Ok(Self {
            child: command.spawn()?,
            folder: job.folder,
            start: Instant::now(),
        })
    }

    /// Asks the process to keep its state and end, or ends it where the system has no way to ask. That it ended already
    /// is no mistake.
    fn stop(&mut self) {
        #[cfg(unix)]
        {
            use nix::sys::signal::{Signal, kill};
            let _ = kill(
                nix::unistd::Pid::from_raw(self.child.id() as i32),
                Signal::SIGTERM,
            );
        }
        #[cfg(not(unix))]
        let _ = self.child.kill();
    }

    fn poll(&mut self) -> io::Result<Option<JobEnded>> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(None);
        };
        let text = |name: &str| read_end(&self.folder.join(name));
        Ok(Some(JobEnded {
            code: status.code(),
            output: std::fs::read(self.folder.join("stdout"))
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default(),
            talk: text("stderr"),
            wall_seconds: self.start.elapsed().as_secs_f64(),
        }))
    }
}

/// The last lines of a text file, at most [`MOST`] bytes; what cannot be read is empty.
fn read_end(file: &Path) -> String {
    let read = || {
        let mut file = std::fs::File::open(file)?;
        let from = file.metadata()?.len().saturating_sub(MOST);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The last line that says something, of those that are whole.
fn last_line(text: &str) -> Option<&str> {
    let (whole, _) = text.rsplit_once('\n')?;
    whole.lines().rev().map(str::trim).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "no part of the store")]
    fn what_a_child_said_last_is_a_whole_line() {
        assert_eq!(
            last_line("[1/2] data\n  data: 5 %\n\n  data: 1"),
            Some("data: 5 %")
        );
        assert_eq!(last_line("[1/2"), None);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("stderr");
        std::fs::write(&file, format!("{}\nlast\n", "€".repeat(MOST as usize))).expect("writes");
        let end = read_end(&file);
        // What is left of the first character becomes marks of three bytes each.
        assert!(end.len() <= MOST as usize + 6, "{}", end.len());
        assert_eq!(last_line(&end), Some("last"));
        assert_eq!(read_end(&folder.path().join("none")), "");
    }

    /// What the next test runs as a process of its own.
    #[test]
    #[ignore = "a child of another test"]
    #[allow(clippy::print_stderr, reason = "a child talks")]
    fn a_child_that_talks() {
        eprintln!("on the way");
        std::thread::sleep(2 * LISTEN);
    }

    #[test]
    fn what_children_say_is_heard_while_they_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = "execute::child::tests::a_child_that_talks";
        let mut jobs = vec![Job {
            arguments: ["--exact", name, "--ignored", "--nocapture"]
                .map(str::to_owned)
                .into(),
            folder: folder.path().into(),
            ..Job::default()
        }];
        let (mut heard, mut codes) = (Vec::new(), Vec::new());
        run_jobs(
            1,
            &Cancel::default(),
            || Ok(jobs.pop().map(|job| ("child", job))),
            |child, line| heard.push(format!("{child}: {line}")),
            |_, ended| codes.push(ended.code),
        )
        .expect("it starts");
        assert_eq!(codes, [Some(0)]);
        assert!(heard.iter().any(|said| said == "child: on the way"), "{heard:?}");
    }
}
