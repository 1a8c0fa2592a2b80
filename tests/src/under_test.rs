//! The `lyceum` command, which a test can make fail or die at any change of the disk.
//!
//! - `LYCEUM_FAULT=eio:N`: the N-th operation fails with an input/output error.
//! - `LYCEUM_FAULT=enospc:N`: the N-th and every later one fails as on a full disk.
//! - `LYCEUM_FAULT=kill:N`: the process is killed (SIGKILL) instead of doing the N-th.
//! - `LYCEUM_FAULT_LOG=FILE`: every operation is noted in FILE before it is done: number, word, path.
//!
//! Operations are counted from 1. The shipped command has none of this.

use lyceum_components::disk;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

// As in the shipped command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Error,
    Full,
    Kill,
}

/// Input/output error.
const EIO: i32 = 5;
/// No space left on device.
const ENOSPC: i32 = 28;

fn main() -> ExitCode {
    let log = std::env::var_os("LYCEUM_FAULT_LOG").map(|file| {
        let file = std::fs::File::options().append(true).create(true).open(file);
        Mutex::new(file.expect("a log that can be written"))
    });
    let fault = std::env::var("LYCEUM_FAULT").ok().map(|text| read(&text));
    if log.is_some() || fault.is_some() {
        let count = AtomicU64::new(0);
        disk::set_hook(Box::new(move |operation, path| {
            let n = count.fetch_add(1, Ordering::SeqCst) + 1;
            if let Some(log) = &log {
                let mut log = log.lock().expect("nobody panics with the log");
                writeln!(log, "{n} {} {}", operation.name(), path.display())?;
            }
            fault.map_or(Ok(()), |(fault, at)| inject(fault, at, n))
        }));
    }
    lyceum::cli::main().into()
}

fn read(text: &str) -> (Fault, u64) {
    let (word, at) = text.split_once(':').expect("LYCEUM_FAULT=KIND:N");
    let fault = match word {
        "eio" => Fault::Error,
        "enospc" => Fault::Full,
        "kill" => Fault::Kill,
        other => panic!("no fault is called {other}"),
    };
    (fault, at.parse().expect("the number of an operation"))
}

fn inject(fault: Fault, at: u64, n: u64) -> io::Result<()> {
    match fault {
        Fault::Error if n == at => Err(io::Error::from_raw_os_error(EIO)),
        Fault::Full if n >= at => Err(io::Error::from_raw_os_error(ENOSPC)),
        Fault::Kill if n == at => die(),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn die() -> ! {
    use nix::sys::signal::{Signal, raise};
    raise(Signal::SIGKILL).expect("a process may kill itself");
    unreachable!("the process is dead")
}

#[cfg(not(unix))]
fn die() -> ! {
    std::process::abort()
}
