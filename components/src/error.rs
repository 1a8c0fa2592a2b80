//! What can go wrong while a component runs.

use crate::disk;
use std::path::{Path, PathBuf};

/// The result of anything a component does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a component stopped. Messages are lower-case fragments without a full stop; what to do about it is the hint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data, or what a step was asked to do with it, is wrong. The user can mend it.
    #[error("{0}")]
    Data(Box<DataError>),
    /// The operating system refused.
    #[error("{action} `{}`: {source}", path.display())]
    Io {
        /// What was tried, as in "cannot read".
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The user asked to stop; state was kept and the same command goes on from it.
    #[error("interrupted")]
    Interrupted,
}

/// A mistake in data: what, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", place(self))]
pub struct DataError {
    /// Stable snake_case name of the mistake, as in `empty_loss_mask`.
    pub code: &'static str,
    /// What was found and what was expected.
    pub message: String,
    /// The file it stands in.
    pub file: Option<PathBuf>,
    /// Where in the file, as in "line 12" or "byte 4096".
    pub position: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

fn place(error: &DataError) -> String {
    match (&error.file, &error.position) {
        (Some(file), Some(position)) => format!(" ({}, {position})", file.display()),
        (Some(file), None) => format!(" ({})", file.display()),
        (None, Some(position)) => format!(" ({position})"),
        (None, None) => String::new(),
    }
}

impl Error {
    /// A mistake in data named `code`.
    pub fn data(code: &'static str, message: impl Into<String>) -> Self {
        Self::Data(Box::new(DataError {
            code,
            message: message.into(),
            file: None,
            position: None,
            hint: None,
        }))
    }

    /// Names the file the mistake stands in. Other kinds of error pass unchanged.
    #[must_use]
    pub fn in_file(mut self, file: impl AsRef<Path>) -> Self {
        if let Self::Data(data) = &mut self {
            data.file = Some(file.as_ref().to_path_buf());
        }
        self
    }

    /// Names the place in the file. Other kinds of error pass unchanged.
    #[must_use]
    pub fn at(mut self, position: impl Into<String>) -> Self {
        if let Self::Data(data) = &mut self {
            data.position = Some(position.into());
        }
        self
    }

    /// Says what to do. Other kinds of error pass unchanged.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Data(data) = &mut self {
            data.hint = Some(hint.into());
        }
        self
    }

    /// An operating-system error while `action` on `path`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// `unknown_format`: a newer program wrote `file`, in layout `format`; this one knows those up to `known`.
    pub fn newer(file: impl AsRef<Path>, format: u32, known: u32) -> Self {
        Self::data(
            "unknown_format",
            format!("a newer lyceum wrote this, in layout {format}; this one reads up to {known}"),
        )
        .in_file(file)
        .hint("use the newer lyceum, or set LYCEUM_HOME to another folder to start afresh beside it")
    }

    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Data(data) => data.code,
            Self::Io { source, .. } if disk::is_full(source) => "disk_full",
            Self::Io { .. } => "io",
            Self::Interrupted => "interrupted",
        }
    }
}
