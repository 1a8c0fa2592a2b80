//! Locks that keep two processes from the same step, and that no dead process can hold.
//!
//! A lock is a small file that names its owner and whose time of change the owner keeps moving. It is made by linking a
//! finished file to its name, which is atomic on network file systems too. It is taken over at once if its owner is a
//! process of this machine that no longer lives, and otherwise when its time has not moved for [`STALE`], by the
//! watcher's own clock, so that clocks need not agree.

use lyceum_components::disk;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// How often the owner shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Without a sign of life for this long the owner is taken for dead: twelve missed heartbeats.
const STALE: Duration = Duration::from_mins(1);
/// How often a waiting process looks.
const LOOK: Duration = Duration::from_millis(200);

/// A process, so that another can tell whether it still lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine since its last start, and the space its process numbers belong to; empty where not known.
    pub machine: String,
    /// Process number.
    pub pid: u32,
    /// When the process started, in the kernel's ticks; process numbers are used again.
    pub started: u64,
}

impl Owner {
    /// This process.
    pub fn this() -> Self {
        let pid = std::process::id();
        Self {
            machine: machine(),
            pid,
            started: start_time(pid).unwrap_or_default(),
        }
    }

    /// Whether the process is known to be dead. Of other machines' processes nothing is known.
    pub fn is_dead(&self) -> bool {
        !self.machine.is_empty() && self.machine == machine() && start_time(self.pid) != Some(self.started)
    }
}

/// Machine, start of the machine and process namespace in one word; empty where the system does not tell.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).map(|text| text.trim().to_owned());
    let host = read("/proc/sys/kernel/hostname");
    let boot = read("/proc/sys/kernel/random/boot_id");
    let space = fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned());
    match (host, boot, space) {
        (Ok(host), Ok(boot), Ok(space)) => format!("{host} {boot} {space}"),
        _ => String::new(),
    }
}

/// When a process started, from field 22 of `/proc/<pid>/stat`; the second field may hold spaces and brackets. A zombie
/// counts as gone.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    if matches!(fields.next(), Some("Z" | "X")) {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// A lock that is held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: PathBuf,
    stop: Option<Sender<()>>,
    heart: Option<JoinHandle<()>>,
}

impl Lock {
    /// Takes the lock `file`, waiting as long as another process lives that holds it. `wait` is called with the owner
    /// each time it looked in vain, and ends the waiting with its error.
    pub fn acquire<E: From<io::Error>>(
        file: &Path,
        mut wait: impl FnMut(Option<&Owner>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut seen: Option<(SystemTime, Instant)> = None;
        loop {
            if let Some(lock) = Self::try_acquire(file)? {
                return Ok(lock);
            }
            let Ok(modified) = fs::metadata(file).and_then(|m| m.modified()) else {
                continue; // released between the two looks
            };
            let owner = read_owner(file);
            let since = match seen {
                Some((time, since)) if time == modified => since,
                _ => seen.insert((modified, Instant::now())).1,
            };
            if owner.as_ref().is_some_and(Owner::is_dead) || since.elapsed() > STALE {
                take_away(file, modified);
                continue;
            }
            wait(owner.as_ref())?;
            thread::sleep(LOOK);
        }
    }

    /// Takes the lock if nobody has it, or a process of this machine that is known to be dead. Does not wait.
    pub fn take(file: &Path) -> io::Result<Option<Self>> {
        if let Some(lock) = Self::try_acquire(file)? {
            return Ok(Some(lock));
        }
        let modified = fs::metadata(file).and_then(|metadata| metadata.modified());
        if let (Ok(modified), Some(owner)) = (modified, read_owner(file))
            && owner.is_dead()
        {
            take_away(file, modified);
            return Self::try_acquire(file);
        }
        Ok(None)
    }

    /// Takes the lock if nobody has it.
    fn try_acquire(file: &Path) -> io::Result<Option<Self>> {
        let owner = serde_json::to_vec(&Owner::this()).map_err(io::Error::other)?;
        let draft = sibling(file, "draft");
        let linked = disk::write(&draft, owner).and_then(|()| disk::hard_link(&draft, file));
        // A draft that stays is in nobody's way.
        let _ = fs::remove_file(&draft);
        match linked {
            Ok(()) => (),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(e) => return Err(e),
        }
        let (stop, stopped) = mpsc::channel();
        let beating = Arc::new(File::options().write(true).open(file)?);
        let heart = thread::Builder::new()
            .name("lock heartbeat".into())
            .spawn(move || {
                while stopped.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                    // A missed beat is made good by the next one.
                    let _ = beating.set_modified(SystemTime::now());
                }
            })?;
        Ok(Some(Self {
            file: file.to_path_buf(),
            stop: Some(stop),
            heart: Some(heart),
        }))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(heart) = self.heart.take() {
            let _ = heart.join();
        }
        // Only if nobody took it for dead and has it now.
        if read_owner(&self.file).is_some_and(|owner| owner == Owner::this()) {
            let _ = fs::remove_file(&self.file);
        }
    }
}

/// Whether a living process holds the lock, as far as one look can tell.
pub(crate) fn is_held(file: &Path) -> bool {
    file.exists() && !read_owner(file).is_some_and(|owner| owner.is_dead())
}

/// Removes the lock of a dead owner. It is moved aside first, and put back if it turns out that another process had just
/// taken it over: of two watchers only one moves the old file.
fn take_away(file: &Path, modified: SystemTime) {
    let aside = sibling(file, "stale");
    if disk::rename(file, &aside).is_err() {
        return;
    }
    let same = fs::metadata(&aside)
        .and_then(|m| m.modified())
        .is_ok_and(|time| time == modified);
    if !same {
        let _ = disk::hard_link(&aside, file);
    }
    let _ = fs::remove_file(&aside);
}

fn read_owner(file: &Path) -> Option<Owner> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn sibling(file: &Path, word: &str) -> PathBuf {
    let name = file
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let thread = format!("{:?}", thread::current().id()).replace(|c: char| !c.is_ascii_digit(), "");
    file.with_file_name(format!("{name}.{word}-{}-{thread}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn never(_: Option<&Owner>) -> io::Result<()> {
        Err(io::Error::other("held"))
    }

    #[test]
    fn a_lock_is_held_by_one_and_gone_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".lock-k");
        let lock = Lock::acquire(&file, never).unwrap();
        assert!(is_held(&file));
        assert!(Lock::acquire(&file, never).is_err());
        drop(lock);
        assert!(!is_held(&file));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_of_a_dead_process_is_taken_over_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".lock-k");
        let dead = Owner {
            started: 1,
            ..Owner::this()
        };
        assert!(dead.is_dead() && !Owner::this().is_dead());
        for take in [
            |file: &Path| Lock::acquire(file, never).unwrap(),
            |file: &Path| Lock::take(file).unwrap().unwrap(),
        ] {
            fs::write(&file, serde_json::to_vec(&dead).unwrap()).unwrap();
            let _lock = take(&file);
            assert_eq!(read_owner(&file), Some(Owner::this()));
            assert!(Lock::take(&file).unwrap().is_none());
        }
    }

    #[test]
    fn of_another_machines_process_nothing_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".lock-k");
        let other = Owner {
            machine: "elsewhere".into(),
            pid: 1,
            started: 1,
        };
        assert!(!other.is_dead());
        fs::write(&file, serde_json::to_vec(&other).unwrap()).unwrap();
        assert!(Lock::acquire(&file, never).is_err());
    }

    #[test]
    fn many_threads_hold_a_dead_owners_lock_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".lock-k");
        let dead = Owner {
            started: 1,
            ..Owner::this()
        };
        fs::write(&file, serde_json::to_vec(&dead).unwrap()).unwrap();
        let inside = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let lock = Lock::acquire(&file, |_| Ok::<_, io::Error>(())).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    thread::sleep(Duration::from_millis(5));
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(lock);
                });
            }
        });
    }
}
