//! Measuring a serving endpoint from outside, by a designed experiment.
//!
//! ```text
//! Levels + Limits ──► Design (cells) ──► session: each cell a closed loop of lanes ──► files
//! ```
//!
//! A cell sends prompts of one length at one concurrency, follows the streamed answers and writes
//! down when each piece came. What is written is what was seen; [`fit`] turns it into coefficients.
//! `docs/calibration/probe.md` says what the numbers mean and what can fool them.
//!
//! Invariants: time, requests and money stay within their limits; every attempt is a row, failed
//! ones with the reason; nothing that is finished is lost by an interruption; the API key is in no
//! file and in no message.
//!
//! Deliberately absent: reading the environment, printing, and engines without streaming.

mod answer;
mod client;
mod design;
mod endpoint;
pub mod fit;
mod lanes;
mod limits;
mod metrics;
mod prompts;
mod record;
mod results;
mod session;
mod sse;

pub use client::{Api, Dialect, Patience};
pub use design::{Cell, Design, Levels, LevelsError, Purpose, design};
pub use endpoint::{Address, AddressError, Key, KeyError};
pub use limits::{Limit, Limits, Prices, Taken};
pub use metrics::{MetricsRow, When};
pub use record::{EngineFacts, Record, ResumeError, SCHEMA, SessionRecord};
pub use results::{CellRow, CellStatus, FileError, GapRow, RequestRow, read_rows};

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The endpoint's address, such as `http://host:8000/v1`.
    pub address: Address,
    /// Which interface is asked.
    pub api: Api,
    /// The model's name at the endpoint.
    pub model: String,
    /// Sent as a bearer token, if there is one.
    pub key: Option<Key>,
    /// The engine's page of metrics, saved before and after each cell.
    pub metrics: Option<Address>,
    /// The grid.
    pub levels: Levels,
    /// How much it may take.
    pub limits: Limits,
    /// How long to wait.
    pub patience: Patience,
    /// How often a request is tried again.
    pub retries: u32,
    /// Of the prompts.
    pub seed: u64,
}

/// Where a session stands: said before each cell.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Cells behind it, those of earlier sessions included.
    pub done: usize,
    /// Cells in all.
    pub cells: usize,
    /// The one that begins now.
    pub cell: &'a Cell,
    /// What was taken so far.
    pub taken: Taken,
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It came to the last cell.
    Done,
    /// It was asked to stop.
    Interrupted,
    /// A limit was reached.
    Limit(Limit),
    /// The endpoint gave no answers; the last thing it said.
    Endpoint(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Done => f.write_str("came to the last cell"),
            Ended::Interrupted => f.write_str("interrupted"),
            Ended::Limit(limit) => write!(f, "the limit on {} was reached", limit.name()),
            Ended::Endpoint(why) => write!(f, "the endpoint gives no answers: {why}"),
        }
    }
}

/// What came of a session.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its cells.
    pub rows: Vec<CellRow>,
    /// Cells that were complete before it.
    pub complete_before: usize,
    /// Cells of the design.
    pub cells: usize,
    /// Combinations of the grid that are no cell, each with the reason.
    pub dropped: Vec<String>,
    /// What all sessions took.
    pub taken: Taken,
    /// Why it ended.
    pub ended: Ended,
}

impl Summary {
    /// Cells that are complete now.
    #[must_use]
    pub fn complete(&self) -> usize {
        let complete = self.rows.iter().filter(|row| row.status == CellStatus::Complete);
        self.complete_before + complete.count()
    }
}

/// Why a probe could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder holds no probe that can go on.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// The folder holds a probe, and going on with it was not asked for.
    #[error("{} holds a probe already; go on with it by --resume, or name a new folder", .0.display())]
    Exists(PathBuf),
    /// There is no probe to go on with.
    #[error("{} holds no probe to go on with", .0.display())]
    NothingThere(PathBuf),
    /// The limits leave no cell, for these reasons.
    #[error("the limits leave nothing to measure: {}", .0.join("; "))]
    NoCells(Vec<String>),
}

/// Runs a session of a probe into `folder`: a new probe, or with `resume` the rest of the one
/// there. `stop` ends it early; `progress` is told before each cell.
///
/// # Errors
/// [`ProbeError`] when the folder is not as it should be, cannot be written, or the limits leave no
/// cell. An endpoint that does not answer is no error but a [`Summary`] that says so.
pub fn run(
    probe: &Probe,
    folder: &Path,
    resume: bool,
    stop: &AtomicBool,
    progress: &(dyn Fn(&Progress<'_>) + Sync),
) -> Result<Summary, ProbeError> {
    session::run(probe, folder, resume, stop, progress)
}

/// Reads what a probe wrote: its record, its cells and its attempts.
///
/// # Errors
/// [`ResumeError`] when the folder holds no probe or a table cannot be read.
pub fn read_probe(folder: &Path) -> Result<(Record, Vec<CellRow>, Vec<RequestRow>), ResumeError> {
    let record = Record::read(folder)?;
    let (cells, requests) = (folder.join("cells.csv"), folder.join("requests.csv"));
    Ok((record, read_rows(&cells)?, read_rows(&requests)?))
}
