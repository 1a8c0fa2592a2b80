//! Every change to a disk that must survive a crash goes through here.
//!
//! There is one way to write a file, and one place where a test can make the n-th write, sync or rename fail or kill the
//! process: see [`set_hook`]. A program that sets no hook pays one atomic load an operation.

use std::fs;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

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

/// A file that is being written. Writes are passed on as they come; wrap it in a [`BufWriter`] where they are small.
#[derive(Debug)]
pub struct File {
    inner: fs::File,
    path: PathBuf,
}

impl File {
    /// Makes or empties a file.
    pub fn create(path: &Path) -> io::Result<Self> {
        ask(Operation::Create, path)?;
        Ok(Self {
            inner: fs::File::create(path)?,
            path: path.to_path_buf(),
        })
    }

    /// The same, with small writes gathered. Flush it: dropping it hides errors.
    pub fn buffered(path: &Path) -> io::Result<BufWriter<Self>> {
        Self::create(path).map(BufWriter::new)
    }

    /// Makes the content durable.
    pub fn sync(&self) -> io::Result<()> {
        ask(Operation::Sync, &self.path)?;
        self.inner.sync_all()
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        ask(Operation::Write, &self.path)?;
        self.inner.write(bytes)
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

/// Lets a library that opens files by itself write one.
pub fn write_by<T, E: From<io::Error>>(path: &Path, write: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    ask(Operation::Create, path)?;
    ask(Operation::Write, path)?;
    write()
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
