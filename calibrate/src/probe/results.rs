//! The files of a probe, written as it goes.
//!
//! | file | one row, or what it holds |
//! |---|---|
//! | `probe.toml` | what was asked, of whom, when (see [`super::record`]) |
//! | `requests.csv` | an attempt |
//! | `gaps.csv` | a chunk that bears tokens, from an attempt's second one on |
//! | `cells.csv` | a cell of a session |
//! | `metrics.csv` | what such a page says |
//! | `metrics/*.txt` | a page of the engine's metrics, before and after a cell |
//!
//! Invariants: a row is flushed before the next request of its lane is sent; an attempt's gaps are
//! written before its row, so a row in `requests.csv` has all its gaps; what an interrupted write
//! left behind is cut off when the folder is opened again.
//!
//! Deliberately absent: what rows mean to a fit.

use super::client::Attempt;
use super::design::Cell;
use super::metrics::MetricsRow;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// An attempt, as `requests.csv` has it. Times are seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestRow {
    /// Which session sent it, from 1.
    pub session: u32,
    /// Its cell's number in the design.
    pub cell: u32,
    /// Its lane, from 1; 0 is the request that fills the prefix cache.
    pub lane: u32,
    /// Its place in the lane, from 1.
    pub sequence: u32,
    /// From 1; more than 1 is a retry.
    pub attempt: u32,
    /// When it was sent, since the session began.
    pub sent_s: f64,
    /// From sending to the first chunk that bears tokens.
    pub ttft_s: Option<f64>,
    /// From sending to the last token.
    pub last_token_s: Option<f64>,
    /// From sending to the end, whichever that was.
    pub end_s: f64,
    /// HTTP status, if an answer began.
    pub status: Option<u16>,
    /// Share of the prompt that was sent before, in percent.
    pub cached_percent: u32,
    /// Words of the prompt.
    pub words: u32,
    /// Prompt tokens as the server counted them; empty if it did not.
    pub input_tokens: Option<u32>,
    /// Of those, found in the prefix cache, if the server says.
    pub cached_tokens: Option<u32>,
    /// Answer tokens.
    pub output_tokens: Option<u32>,
    /// Who counted them: `usage` or `chunks`; empty if there are none.
    pub output_source: String,
    /// Chunks that bear tokens.
    pub chunks: u32,
    /// Why the answer ended, as the server says.
    pub finish: String,
    /// Why the attempt gave no whole answer; empty if it did.
    pub error: String,
}

/// A gap, as `gaps.csv` has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GapRow {
    /// As in [`RequestRow`], like the next four.
    pub session: u32,
    /// Its cell.
    pub cell: u32,
    /// Its lane.
    pub lane: u32,
    /// Its place in the lane.
    pub sequence: u32,
    /// Its attempt.
    pub attempt: u32,
    /// Number of the chunk that ends the gap; the first chunk is 1, so gaps start at 2.
    pub chunk: u32,
    /// Seconds since the chunk before.
    pub gap_s: f64,
    /// Characters of the chunk's text.
    pub characters: u32,
    /// Tokens of the answer up to and with this chunk, where the server says.
    pub tokens: Option<u32>,
}

/// How a cell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CellStatus {
    /// Every lane went through its prompts, and at least one was answered.
    Complete,
    /// It was cut short.
    Partial,
    /// Nothing was answered.
    Failed,
    /// It was not begun: the time left was too short.
    Skipped,
}

/// A cell, as `cells.csv` has it: a serving point and how far to trust it. Means are over its
/// requests that were answered, each by its last attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellRow {
    /// Session that ran it.
    pub session: u32,
    /// Number in the design.
    pub cell: u32,
    /// What it is there for.
    pub purpose: String,
    /// How it ended.
    pub status: CellStatus,
    /// Mean prompt tokens as counted, rounded; as wanted where nobody counted.
    pub isl: u32,
    /// Mean answer tokens as counted, rounded.
    pub osl: u32,
    /// Lanes.
    pub concurrency: u32,
    /// Share of the prompt that was sent before, in percent.
    pub cached_percent: u32,
    /// Prompt tokens wanted.
    pub isl_wanted: u32,
    /// Answer tokens wanted.
    pub osl_wanted: u32,
    /// Requests planned.
    pub planned: u64,
    /// Requests answered.
    pub answered: u64,
    /// Attempts that failed.
    pub errors: u64,
    /// Mean time to first token in milliseconds.
    pub ttft_ms: Option<f64>,
    /// Mean over requests of the mean time between tokens, in milliseconds.
    pub tpot_ms: Option<f64>,
    /// Mean prompt tokens found in the prefix cache, where the server says.
    pub cached_tokens: Option<f64>,
    /// Requests in the batch, the most that the engine's metrics showed during the cell.
    pub running: Option<f64>,
    /// Requests that waited, likewise.
    pub waiting: Option<f64>,
    /// Share of the KV cache in use, likewise.
    pub kv_usage: Option<f64>,
    /// Requests that lost their blocks during the cell, by the engine's metrics.
    pub preemptions: Option<u64>,
    /// Prompt tokens looked up in the prefix cache, likewise, the request that fills it included.
    pub prefix_queries: Option<u64>,
    /// Prompt tokens found there, likewise.
    pub prefix_hits: Option<u64>,
    /// Tokens per chunk: above 1, gaps are those of several tokens.
    pub tokens_per_chunk: Option<f64>,
    /// Seconds since the session began.
    pub begin_s: f64,
    /// Seconds it took.
    pub wall_s: f64,
    /// What else there is to know.
    pub note: String,
}

/// Which attempt a row is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) session: u32,
    pub(super) lane: u32,
    pub(super) sequence: u32,
    pub(super) attempt: u32,
}

/// The row of an attempt.
pub(super) fn request_row(
    place: Place,
    cell: &Cell,
    (sent_s, words): (f64, u32),
    attempt: &Attempt,
) -> RequestRow {
    let (output, counted) = attempt.output();
    let first = attempt.arrivals.first();
    RequestRow {
        session: place.session,
        cell: cell.number,
        lane: place.lane,
        sequence: place.sequence,
        attempt: place.attempt,
        sent_s,
        ttft_s: first.map(|arrival| arrival.at.as_secs_f64()),
        last_token_s: attempt.last_token().map(|at| at.as_secs_f64()),
        end_s: attempt.ended.as_secs_f64(),
        status: attempt.status,
        cached_percent: cell.cached_percent,
        words,
        input_tokens: attempt.usage.map(|usage| usage.prompt_tokens),
        cached_tokens: attempt.usage.and_then(|usage| usage.cached_tokens()),
        output_tokens: first.map(|_| output),
        output_source: match first {
            Some(_) if counted => "usage".to_owned(),
            Some(_) => "chunks".to_owned(),
            None => String::new(),
        },
        chunks: u32::try_from(attempt.arrivals.len()).unwrap_or(u32::MAX),
        finish: attempt.finish.as_ref().map(|(_, why)| why.clone()).unwrap_or_default(),
        error: attempt.failure.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// The gaps of an attempt.
pub(super) fn gap_rows(place: Place, cell: &Cell, attempt: &Attempt) -> Vec<GapRow> {
    let pairs = attempt.arrivals.windows(2).zip(2..);
    let row = |(pair, chunk): (&[super::client::Arrival], u32)| GapRow {
        session: place.session,
        cell: cell.number,
        lane: place.lane,
        sequence: place.sequence,
        attempt: place.attempt,
        chunk,
        gap_s: (pair[1].at - pair[0].at).as_secs_f64(),
        characters: pair[1].characters,
        tokens: pair[1].tokens,
    };
    pairs.map(row).collect()
}

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// The open files of a probe.
pub(super) struct Files {
    folder: PathBuf,
    requests: Table,
    gaps: Table,
    cells: Table,
    metrics: Table,
}

impl Files {
    /// Opens the tables of a folder, and makes what is not there.
    pub(super) fn open(folder: &Path) -> Result<Files, FileError> {
        let metrics = folder.join("metrics");
        fs::create_dir_all(&metrics).map_err(|source| FileError { path: metrics, source })?;
        Ok(Files {
            requests: Table::open(folder.join("requests.csv"))?,
            gaps: Table::open(folder.join("gaps.csv"))?,
            cells: Table::open(folder.join("cells.csv"))?,
            metrics: Table::open(folder.join("metrics.csv"))?,
            folder: folder.to_path_buf(),
        })
    }

    /// Writes an attempt and its gaps.
    pub(super) fn request(&mut self, row: &RequestRow, gaps: &[GapRow]) -> Result<(), FileError> {
        self.gaps.append(gaps)?;
        self.requests.append(std::slice::from_ref(row))
    }

    /// Writes a cell.
    pub(super) fn cell(&mut self, row: &CellRow) -> Result<(), FileError> {
        self.cells.append(std::slice::from_ref(row))
    }

    /// Writes what a page of metrics says.
    pub(super) fn metrics_row(&mut self, row: &MetricsRow) -> Result<(), FileError> {
        self.metrics.append(std::slice::from_ref(row))
    }

    /// Writes a page of metrics.
    pub(super) fn metrics(&self, name: &str, text: &str) -> Result<(), FileError> {
        write_whole(&self.folder.join("metrics").join(name), text)
    }
}

/// A CSV file that grows.
struct Table {
    path: PathBuf,
    file: File,
    has_header: bool,
}

impl Table {
    /// Opens a table, cutting off a line that was not written to its end.
    fn open(path: PathBuf) -> Result<Table, FileError> {
        let open = || {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
            Ok((file, whole > 0))
        };
        match open() {
            Ok((file, has_header)) => Ok(Table { path, file, has_header }),
            Err(source) => Err(FileError { path, source }),
        }
    }

    /// Appends rows in one write.
    fn append<R: Serialize>(&mut self, rows: &[R]) -> Result<(), FileError> {
        let mut writer =
            csv::WriterBuilder::new().has_headers(!self.has_header).from_writer(Vec::new());
        let write = |source| FileError { path: self.path.clone(), source };
        for row in rows {
            writer.serialize(row).map_err(|error| write(io::Error::other(error)))?;
        }
        let bytes =
            writer.into_inner().map_err(|error| write(io::Error::other(error.to_string())))?;
        self.file.write_all(&bytes).and_then(|()| self.file.flush()).map_err(write)?;
        self.has_header |= !rows.is_empty();
        Ok(())
    }
}

/// Reads a table; none if the file is not there.
///
/// # Errors
/// [`FileError`] when it cannot be read or a whole line is no such row.
pub fn read_rows<R: DeserializeOwned>(path: &Path) -> Result<Vec<R>, FileError> {
    let failed = |source| FileError { path: path.to_path_buf(), source };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    // A line without its end was not written to its end.
    let whole = text.rfind('\n').map_or("", |at| &text[..=at]);
    let mut reader = csv::Reader::from_reader(whole.as_bytes());
    let rows: Result<Vec<R>, csv::Error> = reader.deserialize().collect();
    rows.map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// Writes a file beside its place and renames it there, so that nobody ever sees half of it.
pub(super) fn write_whole(path: &Path, text: &str) -> Result<(), FileError> {
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| {
        // Half a file is of no use; the error itself is what counts.
        let _ = fs::remove_file(&beside);
        FileError { path: path.to_path_buf(), source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(chunk: u32) -> GapRow {
        GapRow {
            session: 1,
            cell: 2,
            lane: 3,
            sequence: 4,
            attempt: 1,
            chunk,
            gap_s: 0.012_345_678,
            characters: 5,
            tokens: (chunk > 2).then_some(chunk),
        }
    }

    #[test]
    fn a_table_grows_over_sessions_and_loses_only_a_torn_line() {
        let name = format!("surgeline-probe-table-{}.csv", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        assert_eq!(read_rows::<GapRow>(&path).expect("none yet"), []);
        let mut table = Table::open(path.clone()).expect("it opens");
        table.append(&[gap(2), gap(3)]).expect("written");
        drop(table);
        let mut file = OpenOptions::new().append(true).open(&path).expect("there");
        file.write_all(b"1,2,3,4,1,4,0.0").expect("torn");
        assert_eq!(read_rows::<GapRow>(&path).expect("rows"), [gap(2), gap(3)]);
        let mut table = Table::open(path.clone()).expect("it opens again");
        table.append::<GapRow>(&[]).expect("nothing");
        table.append(&[gap(5)]).expect("written");
        assert_eq!(read_rows::<GapRow>(&path).expect("rows"), [gap(2), gap(3), gap(5)]);
        fs::write(&path, "session,cell\nx,y\n").expect("written");
        assert!(read_rows::<GapRow>(&path).is_err(), "a foreign table is no table of gaps");
        fs::remove_file(&path).expect("removed");
    }
}
