//! What ends a command early, and the exit code it deserves.

use experiments::Halt;
use std::path::PathBuf;

/// Why a command could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Problems of a scenario file, one per line.
    #[error("{0}")]
    Input(#[from] scenarios::Problems),
    /// Anything else the user can put right.
    #[error("surgeline: {0}")]
    Usage(String),
    /// A file could not be written.
    #[error("surgeline: {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Stopped before anything was finished.
    #[error("surgeline: {0} before the first replication was finished")]
    Halted(Halt),
    /// Two runs of the same replication differ, or an audit failed: our bug.
    #[error("surgeline: this is a bug of surgeline, please report it: {0}")]
    Bug(String),
}

impl Error {
    /// The process's exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Error::Input(_) | Error::Usage(_) | Error::Write { .. } => 2,
            Error::Halted(halt) => halt_code(halt),
            Error::Bug(_) => 101,
        }
    }
}

/// The exit code of a command that was stopped.
pub(crate) fn halt_code(halt: &Halt) -> u8 {
    match halt {
        Halt::Interrupted => 130,
        Halt::Limit(_) => 4,
    }
}
