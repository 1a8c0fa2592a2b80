//! Every change to a disk that must survive a crash goes through here.
//!
//! There is one way to write a file, and one place where a test can make the n-th write, sync or rename fail or kill the
//! process: see [`set_hook`]. A program that sets no hook pays one atomic load an operation.

#![expect(clippy::disallowed_methods, reason = "the one place that may call them")]

use std::fs;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What is done to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A file is made, or emptied.
    Create,
    /// Bytes are written into a file.
    Write,
    /// A file's content or a folder's names are made durable.
    Sync,
    /// A file or folder gets another name.
    Rename,
    /// A file gets a second name.
    Link,
    /// A folder is made.
    MakeFolder,
}

impl Operation {
    /// The word for it in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::MakeFolder => "make_folder",
        }
    }
}

/// Is told of every operation before it is done; its error is given instead of doing it.
pub type Hook = Box<dyn Fn(Operation, &Path) -> io::Result<()> + Send + Sync>;

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Sets the hook of this process, for tests that inject faults. Only the first call counts.
pub fn set_hook(hook: Hook) {
    let _ = HOOK.set(hook);
}

fn ask(operation: Operation, path: &Path) -> io::Result<()> {
    HOOK.get().map_or(Ok(()), |hook| hook(operation, path))
}

/// Whether the system had no room left for what was written.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The error that a [`File`] gave, for callers of libraries that only pass on its text.
#[derive(Debug, Clone, Default)]
pub struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    /// Takes the first error, if there was one.
    pub fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, error: &io::Error) {
        let copy = error.raw_os_error().map_or_else(
            || io::Error::new(error.kind(), error.to_string()),
            io::Error::from_raw_os_error,
        );
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(copy);
    }
}

/// A file that is being written. Writes are passed on as they come; wrap it in a [`BufWriter`] where they are small.
#[derive(Debug)]
pub struct File {
    inner: fs::File,
    path: PathBuf,
    failure: Failure,
}

impl File {
    /// Makes or empties a file.
    pub fn create(path: &Path) -> io::Result<Self> {
        ask(Operation::Create, path)?;
        Ok(Self {
            inner: fs::File::create(path)?,
            path: path.to_path_buf(),
            failure: Failure::default(),
        })
    }

    /// Opens a file to go on at its end.
    pub fn append(path: &Path) -> io::Result<Self> {
        ask(Operation::Write, path)?;
        Ok(Self {
            inner: fs::File::options().append(true).open(path)?,
            path: path.to_path_buf(),
            failure: Failure::default(),
        })
    }

    /// The same as [`create`](Self::create), with small writes gathered. Flush it: dropping it hides errors.
    pub fn buffered(path: &Path) -> io::Result<BufWriter<Self>> {
        Self::create(path).map(BufWriter::new)
    }

    /// Where the error of a write will be, should one fail.
    pub fn failure(&self) -> Failure {
        self.failure.clone()
    }

    /// Makes the content durable.
    pub fn sync(&self) -> io::Result<()> {
        ask(Operation::Sync, &self.path)?;
        self.inner.sync_all()
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        ask(Operation::Write, &self.path)
            .and_then(|()| self.inner.write(bytes))
            .inspect_err(|error| self.failure.note(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// Writes a whole file. Neither durable nor in one step: for files inside a folder that is published later.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    File::create(path)?.write_all(bytes.as_ref())
}

/// Copies a file's content.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    write(to, fs::read(from)?)
}

/// Lets a library that opens files by itself write one. It may put another file in its place, which then gets the
/// permissions that a new file has.
pub fn write_by<T, E: From<io::Error>>(path: &Path, write: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let permissions = File::create(path)?.inner.metadata()?.permissions();
    ask(Operation::Write, path)?;
    let written = write()?;
    fs::set_permissions(path, permissions)?;
    Ok(written)
}

/// Replaces a file in one step: a sibling is written and synced, then renamed over it. Readers see the old content or the
/// new one, never a part.
pub fn write_atomically(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let sibling = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = File::create(&sibling).and_then(|mut out| {
        out.write_all(bytes.as_ref())?;
        out.sync()
    });
    written
        .and_then(|()| rename(&sibling, path))
        .inspect_err(|_| drop(fs::remove_file(&sibling)))
}

/// Gives a file or folder another name.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    ask(Operation::Rename, to)?;
    fs::rename(from, to)
}

/// Gives a file a second name; fails if something has that name.
pub fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    ask(Operation::Link, to)?;
    fs::hard_link(from, to)
}

/// Makes a symbolic link called `link`.
#[cfg(unix)]
pub fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    ask(Operation::Link, link)?;
    std::os::unix::fs::symlink(target, link)
}

/// Makes one folder; fails if something has that name.
pub fn create_dir(path: &Path) -> io::Result<()> {
    ask(Operation::MakeFolder, path)?;
    fs::create_dir(path)
}

/// Makes a folder and those above it.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    ask(Operation::MakeFolder, path)?;
    fs::create_dir_all(path)
}

/// Makes a file's content or the names inside a folder durable.
pub fn sync(path: &Path) -> io::Result<()> {
    ask(Operation::Sync, path)?;
    fs::File::open(path)?.sync_all()
}
