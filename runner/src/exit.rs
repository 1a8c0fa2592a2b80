//! Every exit status of the command.

use std::process::ExitCode;

/// How the command ended. Scripts may rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, whatever the claims say.
    Done = 0,
    /// A check found something short.
    Short = 1,
    /// The experiment or the arguments are wrong; nothing was written.
    Wrong = 2,
    /// A step failed, or the system refused.
    Failed = 3,
    /// Interrupted; state was kept and running again goes on.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
