//! Recorded workloads: reads published traces and plain tables into [`sim::workload::Trace`].
//!
//! Invariants: a file is either read whole or refused; a refusal names the file, line and column
//! of every problem (the first twenty, then how many more) and what would be right. Nothing in a
//! file can cause a panic, and what a file may cost is bounded by [`Limits`]. Times are exact
//! integers from text to picoseconds. The first row, in time order, is instant zero.
//!
//! Deliberately absent: deciding which paths a scenario may open (the caller has done so), spreading
//! quantised timestamps (the replay does, with the width that [`TraceReport`] suggests), and
//! Parquet.

mod azure;
mod build;
mod burstgpt;
mod cells;
mod generic;
mod mooncake;
mod open;
mod problem;
pub mod ragpulse;
mod report;
pub mod servegen;

#[cfg(test)]
mod tests;

pub use open::Limits;
pub use problem::{TraceFault, TraceProblem};
pub use report::{LengthSummary, Skipped, TraceReport};

use build::Builder;
use open::Lines;
use problem::Problems;
use sim::workload::Trace;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What reading a trace gives: the workload and what was found in it, or every problem.
pub type ReadResult = Result<(Trace, TraceReport), Vec<TraceProblem>>;

/// The layouts that can be read. Each has a file of this module that documents its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TraceFormat {
    /// Azure LLM inference traces: wall clock, prompt and output tokens (CSV).
    Azure2023,
    /// Mooncake traces: milliseconds, tokens and ids of 512-token prefix blocks (JSONL).
    Mooncake,
    /// BurstGPT: seconds, tokens and failures (CSV).
    BurstGpt,
    /// RAGPulse: seconds, tokens, sessions and the parts of each prompt (JSONL and part lengths).
    RagPulse,
    /// `at,input,output[,session][,segments]` (CSV).
    GenericCsv,
    /// The same keys, one JSON object a line.
    GenericJsonl,
}

impl TraceFormat {
    /// Every format, in the order of documentation.
    pub const ALL: [TraceFormat; 6] = [
        TraceFormat::Azure2023,
        TraceFormat::Mooncake,
        TraceFormat::BurstGpt,
        TraceFormat::RagPulse,
        TraceFormat::GenericCsv,
        TraceFormat::GenericJsonl,
    ];

    /// The name used in scenario files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TraceFormat::Azure2023 => "azure-2023",
            TraceFormat::Mooncake => "mooncake",
            TraceFormat::BurstGpt => "burstgpt",
            TraceFormat::RagPulse => "ragpulse",
            TraceFormat::GenericCsv => "generic-csv",
            TraceFormat::GenericJsonl => "generic-jsonl",
        }
    }

    /// The format of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<TraceFormat> {
        TraceFormat::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// Reads a trace from a file, plain or compressed with gzip or Zstandard (told by its first bytes).
///
/// For [`TraceFormat::RagPulse`] the lengths of the prompts' parts are read from the files beside
/// it (see [`ragpulse`]).
///
/// # Errors
/// Every problem of the file, in its order; see [`TraceFault`].
pub fn read_file(format: TraceFormat, path: &Path) -> ReadResult {
    read_file_within(format, path, &Limits::default())
}

/// [`read_file`] with other limits.
///
/// # Errors
/// As [`read_file`].
pub fn read_file_within(format: TraceFormat, path: &Path, limits: &Limits) -> ReadResult {
    if format == TraceFormat::RagPulse {
        return ragpulse::read_file(path, limits);
    }
    let name = path.display().to_string();
    let file = open_file(path, &name)?;
    let length = file.metadata().ok().map(|data| data.len());
    read_from(format, &name, Box::new(file), length, limits)
}

/// Reads a trace from memory; `name` is what problems call it. The entry for fuzzing.
///
/// # Errors
/// As [`read_file`]. [`TraceFormat::RagPulse`] needs its part lengths too and is refused here:
/// use [`ragpulse::read_bytes`].
pub fn read_bytes(format: TraceFormat, name: &str, bytes: &[u8]) -> ReadResult {
    read_bytes_within(format, name, bytes, &Limits::default())
}

/// [`read_bytes`] with other limits.
///
/// # Errors
/// As [`read_bytes`].
pub fn read_bytes_within(
    format: TraceFormat,
    name: &str,
    bytes: &[u8],
    limits: &Limits,
) -> ReadResult {
    read_from(format, name, Box::new(bytes), u64::try_from(bytes.len()).ok(), limits)
}

/// Opens a file, or says why not at its first line.
fn open_file(path: &Path, name: &str) -> Result<File, Vec<TraceProblem>> {
    let refuse = |why: String| vec![TraceProblem::at_start(name, TraceFault::Unreadable { why })];
    // Asked before opening: to open a pipe waits for its writer, and a folder or a device would
    // fail later with a message that helps nobody.
    let data = std::fs::metadata(path).map_err(|e| refuse(e.to_string()))?;
    if !data.is_file() {
        return Err(refuse("it is not a regular file".into()));
    }
    File::open(path).map_err(|e| refuse(e.to_string()))
}

/// Reads any format but RAGPulse from a stream of `length` bytes.
fn read_from<'a>(
    format: TraceFormat,
    name: &str,
    source: Box<dyn Read + 'a>,
    length: Option<u64>,
    limits: &Limits,
) -> ReadResult {
    let mut problems = Problems::new(name);
    let mut builder = Builder::new(format, limits);
    if let Some(mut lines) = Lines::open(source, length, limits, &mut problems) {
        match format {
            TraceFormat::Azure2023 => azure::read(&mut lines, &mut builder, &mut problems),
            TraceFormat::Mooncake => mooncake::read(&mut lines, &mut builder, &mut problems),
            TraceFormat::BurstGpt => burstgpt::read(&mut lines, &mut builder, &mut problems),
            TraceFormat::GenericCsv => generic::read_csv(&mut lines, &mut builder, &mut problems),
            TraceFormat::GenericJsonl => {
                generic::read_jsonl(&mut lines, &mut builder, &mut problems);
            }
            TraceFormat::RagPulse => problems.fatal(1, TraceFault::PartsNeeded),
        }
    }
    builder.finish(problems)
}
