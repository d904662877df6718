//! `surgeline trace`: what a recorded workload is like, and recordings as Parquet or CSV.
//!
//! Deliberately absent: charts, and Parquet files of others.

mod stats;

use crate::error::Error;
use crate::output::{self, Places};
use calibrate::imports::File;
use calibrate::imports::steps::steps;
use clap::{Args as Arguments, Subcommand, ValueEnum};
use reports::trace_table::{Kind, Table};
use scenarios::trace::{TraceFormat, read_bytes, read_file};
use std::path::{Path, PathBuf};

/// What to do with a recording.
#[derive(Debug, Subcommand)]
pub(crate) enum Trace {
    /// Print requests, rate, burstiness, lengths and prefix sharing of a recorded workload.
    Stats(Stats),
    /// Convert recorded requests or measured iterations to Parquet or CSV, by the ending of the
    /// file to write.
    Convert(Convert),
}

/// Which recording.
#[derive(Debug, Arguments)]
pub(crate) struct Stats {
    /// The recording: CSV or JSONL, also compressed, or Parquet from `surgeline trace convert`.
    file: PathBuf,
    /// How it is laid out. Default: generic-csv or generic-jsonl, by its ending.
    #[arg(long, value_enum)]
    layout: Option<Layout>,
}

/// What to read and where to put it.
#[derive(Debug, Arguments)]
pub(crate) struct Convert {
    /// The recording: CSV or JSONL, or Parquet from this command.
    from: PathBuf,
    /// File to write; its name ends in .parquet or .csv.
    to: PathBuf,
    /// How it is laid out. Default: generic-csv or generic-jsonl, by its ending.
    #[arg(long, value_enum)]
    layout: Option<Layout>,
}

/// Layouts that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// Azure LLM inference traces (CSV).
    #[value(name = "azure-2023")]
    Azure2023,
    /// Mooncake traces (JSONL).
    Mooncake,
    /// BurstGPT (CSV).
    Burstgpt,
    /// RAGPulse (JSONL, with the lengths of its parts beside it).
    Ragpulse,
    /// at,input,output and optionally session,segments (CSV).
    GenericCsv,
    /// The same keys, one JSON object a line.
    GenericJsonl,
    /// Measured iterations of an engine (CSV or JSONL); not for stats.
    Steps,
}

impl Layout {
    /// The layout of requests; none for iterations.
    fn format(self) -> Option<TraceFormat> {
        match self {
            Layout::Azure2023 => Some(TraceFormat::Azure2023),
            Layout::Mooncake => Some(TraceFormat::Mooncake),
            Layout::Burstgpt => Some(TraceFormat::BurstGpt),
            Layout::Ragpulse => Some(TraceFormat::RagPulse),
            Layout::GenericCsv => Some(TraceFormat::GenericCsv),
            Layout::GenericJsonl => Some(TraceFormat::GenericJsonl),
            Layout::Steps => None,
        }
    }
}

pub(super) fn trace(what: &Trace) -> Result<u8, Error> {
    match what {
        Trace::Stats(args) => {
            let (trace, report) = requests(&args.file, args.layout)?;
            output::print(&stats::text(&trace, &report))?;
        }
        Trace::Convert(args) => convert(args)?,
    }
    Ok(0)
}

/// The ending of a name, in small letters.
fn ending(path: &Path) -> String {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase()
}

fn convert(args: &Convert) -> Result<(), Error> {
    let to = ending(&args.to);
    if to != "parquet" && to != "csv" {
        let path = args.to.display();
        return Err(Error::Usage(format!("{path}: the name should end in .parquet or .csv")));
    }
    Places::default().file(Some(&args.to)).inputs([&args.from]).check()?;
    let table = table(&args.from, args.layout)?;
    let bytes = match to.as_str() {
        "parquet" => table.parquet().map_err(|error| Error::Bug(error.to_string()))?,
        _ => table.csv().into_bytes(),
    };
    output::write_bytes(&args.to, &bytes)?;
    let what = match table.kind() {
        Kind::Requests => "requests",
        Kind::Steps | Kind::Intervals => "iterations",
    };
    crate::output::tell!("wrote {} {what} to {}", table.rows(), args.to.display());
    Ok(())
}

/// Whatever a file holds, as a table.
fn table(path: &Path, layout: Option<Layout>) -> Result<Table, Error> {
    if ending(path) == "parquet" {
        return parquet(path, layout);
    }
    if layout == Some(Layout::Steps) {
        let text = String::from_utf8(read(path)?).map_err(|_| wrong(path, "it is no text"))?;
        let name = path.display().to_string();
        let rows = steps(File { name: &name, text: &text })
            .map_err(|errors| Error::Usage(errors.to_string()))?;
        return Ok(Table::of_steps(&rows));
    }
    Ok(Table::of_requests(&requests(path, layout)?.0))
}

fn parquet(path: &Path, layout: Option<Layout>) -> Result<Table, Error> {
    if layout.is_some() {
        return Err(wrong(
            path,
            "a Parquet file says itself how it is laid out; leave out --layout",
        ));
    }
    Table::read_parquet(&read(path)?).map_err(|error| wrong(path, &error.to_string()))
}

/// Recorded requests and what was found in them.
fn requests(
    path: &Path,
    layout: Option<Layout>,
) -> Result<(sim::workload::Trace, scenarios::trace::TraceReport), Error> {
    if ending(path) == "parquet" {
        let table = parquet(path, layout)?;
        if table.kind() != Kind::Requests {
            return Err(wrong(path, "it holds iterations, not requests"));
        }
        let name = path.display().to_string();
        return told(read_bytes(TraceFormat::GenericCsv, &name, table.csv().as_bytes()));
    }
    let layout = match (layout, ending(path).as_str()) {
        (Some(layout), _) => layout,
        (None, "csv") => Layout::GenericCsv,
        (None, "jsonl" | "ndjson") => Layout::GenericJsonl,
        (None, _) => return Err(wrong(path, "its ending says no layout; name it by --layout")),
    };
    match layout.format() {
        Some(format) => told(read_file(format, path)),
        None => Err(wrong(path, "iterations have no statistics of requests")),
    }
}

/// Every problem of a trace on a line of its own.
fn told<T>(result: Result<T, Vec<scenarios::trace::TraceProblem>>) -> Result<T, Error> {
    result.map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Error::Usage(lines.join("\n"))
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| wrong(path, &error.to_string()))
}

fn wrong(path: &Path, what: &str) -> Error {
    Error::Usage(format!("{}: {what}", path.display()))
}
