//! The folder of tables: a folder for each table and format, in it a file for each replication.
//!
//! ```text
//! tasks.parquet/0000.parquet    ledger.csv/0003.csv    calls.jsonl/0012.jsonl
//! ```
//!
//! Invariants: the folder appears when all of its files are whole, and holds the replications that the
//! report counts and no others; its bytes do not depend on threads; what cannot be written ends the
//! writing and not the run.
//!
//! Deliberately absent: what is in a file (see `reports::tables`).

#[cfg(test)]
mod tests;

use crate::disk::{Disk, On};
use crate::error::Error;
use crate::limits::Watch;
use crate::output;
use clap::ValueEnum;
use experiments::{Halt, Phase, Progress};
use reports::tables::{Context, Format, Recording, Sample, Sink, Table, TablesError};
use sim::record::Discard;
use sim::{Outcome, Scenario};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which tables are wanted.
#[derive(Debug, clap::Args)]
pub(crate) struct Tabling {
    /// Also write tables of tasks, calls, windows and ledger lines into this new folder, for tools
    /// like DuckDB, pandas and polars.
    #[arg(long, value_name = "DIR")]
    pub(crate) tables: Option<PathBuf>,
    /// Formats of these tables, separated by commas.
    #[arg(
        long,
        value_name = "FORMATS",
        value_enum,
        value_delimiter = ',',
        default_value = "parquet",
        requires = "tables"
    )]
    table_format: Vec<TableFormat>,
    /// Share of the tasks that have rows there, with all of their calls, "1%". Windows and ledger
    /// lines are always complete.
    #[arg(
        long,
        value_name = "PERCENT",
        value_parser = Sample::parse,
        default_value = "100%",
        requires = "tables"
    )]
    sample: Sample,
}

/// A format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// Parquet, compressed by zstd.
    Parquet,
    /// Comma-separated values.
    Csv,
    /// A JSON object on each line.
    Jsonl,
}

impl From<TableFormat> for Format {
    fn from(format: TableFormat) -> Format {
        match format {
            TableFormat::Parquet => Format::Parquet,
            TableFormat::Csv => Format::Csv,
            TableFormat::Jsonl => Format::JsonLines,
        }
    }
}

/// Tables under way.
pub(super) struct Tables<'a, D: Disk> {
    disk: &'a D,
    folder: PathBuf,
    /// Where they are until they are complete.
    beside: PathBuf,
    formats: BTreeSet<Format>,
    sample: Sample,
    /// Whether the replications under way are those that count.
    measures: AtomicBool,
    failed: Mutex<Option<Error>>,
}

/// A folder for each table and format.
fn subfolder(table: Table, format: Format) -> String {
    format!("{}.{}", table.name(), format.extension())
}

impl<'a, D: Disk> Tables<'a, D> {
    /// Prepares the tables that are wanted.
    pub(super) fn begin(disk: &'a D, wanted: &Tabling) -> Result<Option<Self>, Error> {
        let Some(folder) = &wanted.tables else { return Ok(None) };
        output::check_folder("--tables", folder)?;
        let tables = Tables {
            disk,
            folder: folder.clone(),
            beside: output::beside(folder),
            formats: wanted.table_format.iter().map(|&format| format.into()).collect(),
            sample: wanted.sample,
            measures: AtomicBool::new(false),
            failed: Mutex::default(),
        };
        for (table, format) in tables.each() {
            let path = tables.beside.join(subfolder(table, format));
            disk.make_folder(&path).map_err(|source| tables.unwritable(source))?;
        }
        Ok(Some(tables))
    }

    fn each(&self) -> impl Iterator<Item = (Table, Format)> {
        let of = |table| self.formats.iter().map(move |&format| (table, format));
        Table::ALL.into_iter().flat_map(of)
    }

    fn path(&self, (table, format): (Table, Format), replication: u32) -> PathBuf {
        let name = format!("{replication:04}.{}", format.extension());
        self.beside.join(subfolder(table, format)).join(name)
    }

    fn unwritable(&self, source: io::Error) -> Error {
        Error::Write { path: self.folder.clone(), source }
    }

    fn fail(&self, error: TablesError) {
        let error = match error {
            TablesError::Io(source) => self.unwritable(source),
            TablesError::Parquet(error) => self.unwritable(io::Error::other(error.to_string())),
            amount @ TablesError::Amount { .. } => {
                Error::Usage(format!("{}: {amount}", self.folder.display()))
            }
        };
        if let Ok(mut failed) = self.failed.lock() {
            failed.get_or_insert(error);
        }
    }

    fn has_failed(&self) -> bool {
        self.failed.lock().is_ok_and(|failed| failed.is_some())
    }

    /// Runs one replication, and records it if it is to count.
    pub(super) fn run(
        &self,
        watch: &Watch,
        scenario: &Scenario,
        (seed, replication): (u64, u32),
    ) -> Result<Outcome, Halt> {
        let context = Context { scenario, seed, replication, sample: self.sample };
        let of_run = (seed, replication);
        if self.measures.load(Ordering::SeqCst) && !self.has_failed() {
            let open = |table| self.open(table, replication);
            match Recording::new(context, &open) {
                Ok(recording) => {
                    let (outcome, recording) = watch.replicate(scenario, of_run, recording)?;
                    let ended = recording.finish(&outcome);
                    if let Err(error) = ended.and_then(|()| Ok(self.sync(replication)?)) {
                        self.fail(error);
                    }
                    return Ok(outcome);
                }
                Err(error) => self.fail(error),
            }
        }
        watch.replicate(scenario, of_run, Discard).map(|(outcome, _)| outcome)
    }

    fn open(&self, table: Table, replication: u32) -> io::Result<Vec<(Format, Sink<'_>)>> {
        let one = |&format: &Format| {
            let file = self.disk.create(&self.path((table, format), replication))?;
            let sink: Sink<'_> = Box::new(BufWriter::new(On { disk: self.disk, file }));
            Ok((format, sink))
        };
        self.formats.iter().map(one).collect()
    }

    fn sync(&self, replication: u32) -> io::Result<()> {
        self.each().try_for_each(|each| self.disk.sync(&File::open(self.path(each, replication))?))
    }

    /// Puts the folder into its place, with so many replications in it.
    pub(super) fn finish(&self, replications: u32) -> Result<(), Error> {
        if let Some(error) = self.failed.lock().ok().and_then(|mut failed| failed.take()) {
            return Err(error);
        }
        let place = || {
            for (table, format) in self.each() {
                let folder = self.beside.join(subfolder(table, format));
                keep(&folder, replications)?;
                self.disk.sync_folder(&folder)?;
            }
            self.disk.sync_folder(&self.beside)?;
            self.disk.rename(&self.beside, &self.folder)?;
            self.disk.sync_folder(self.folder.parent().unwrap_or(Path::new("")))
        };
        place().map_err(|source| self.unwritable(source))
    }
}

/// Removes the files of replications that were begun and do not count.
fn keep(folder: &Path, replications: u32) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok());
        if number.is_none_or(|number| number >= replications) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

impl<D: Disk> Drop for Tables<'_, D> {
    /// What did not come into its place is of no use.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.beside);
    }
}

/// Progress of a run, which tells tables what counts.
pub(super) struct Phases<'a, D: Disk> {
    pub(super) bar: &'a dyn Progress,
    pub(super) tables: Option<&'a Tables<'a, D>>,
}

impl<D: Disk> Progress for Phases<'_, D> {
    fn batch(&self, phase: Phase, replications: u32, most: u32) {
        if let Some(tables) = self.tables {
            tables.measures.store(phase == Phase::Measure, Ordering::SeqCst);
        }
        self.bar.batch(phase, replications, most);
    }

    fn finished(&self, phase: Phase) {
        self.bar.finished(phase);
    }
}
