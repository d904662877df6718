//! `surgeline calibrate score`, `fit` and `accuracy`: predicted beside measured, and what predicts.

use crate::error::Error;
use crate::output;
use calibrate::fit::serving::{self, Measured, Points};
use calibrate::fitted::{self, Fitted};
use calibrate::imports::File;
use calibrate::imports::engine_run::engine_run;
use calibrate::score::{self, run::score_run};
use clap::{Args as Arguments, ValueEnum};
use reports::score::{accuracy_page, run_json, run_text, score_json, score_text};
use sha2::{Digest, Sha256};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// What to score, and with what.
#[derive(Debug, Arguments)]
pub(crate) struct Score {
    /// Measured serving points: a CSV file with the columns system, backend, model, mode, isl, osl,
    /// concurrency, tp, ttft_ms and tpot_ms.
    #[arg(long, value_name = "FILE", required_unless_present = "requests")]
    points: Option<PathBuf>,
    /// Recorded requests of an engine run, to be replayed (repeatable).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["points", "held_out"], requires = "gpu")]
    requests: Vec<PathBuf>,
    /// What describes that run: settings and logs of the engine (repeatable).
    #[arg(long, value_name = "FILE", requires = "requests")]
    engine_config: Vec<PathBuf>,
    /// The GPU of that run, which its files do not name.
    #[arg(long, value_name = "NAME", requires = "requests")]
    gpu: Option<String>,
    /// Predict with this calibration file instead of the shipped one.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Predict each configuration by coefficients fitted to the others of the file. Takes minutes.
    #[arg(long, conflicts_with = "calibration")]
    held_out: bool,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Also write the JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// In text, print every row, not only errors by configuration.
    #[arg(long)]
    rows: bool,
    /// No notes on stderr.
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people, in a terminal.
    Text,
    /// For programs: schema surgeline.score/1.
    Json,
}

/// What to fit, and where to put it.
#[derive(Debug, Arguments)]
pub(crate) struct Fit {
    /// Measured serving points, as for `score`.
    #[arg(long, value_name = "FILE")]
    points: PathBuf,
    /// Where the points are from, for the file.
    #[arg(long, value_name = "TEXT")]
    source: String,
    /// The date of the fit, as 2026-11-26.
    #[arg(long, value_name = "DATE", value_parser = date)]
    as_of: String,
    /// Calibration file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Whose accuracy to print.
#[derive(Debug, Arguments)]
pub(crate) struct Accuracy {
    /// A calibration file instead of the shipped one.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
}

fn date(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |part: &str, digits: usize, range: std::ops::RangeInclusive<u32>| {
        part.len() == digits && part.parse().is_ok_and(|value: u32| range.contains(&value))
    };
    match parts.as_slice() {
        [y, m, d] if number(y, 4, 1..=9999) && number(m, 2, 1..=12) && number(d, 2, 1..=31) => {
            Ok(text.to_owned())
        }
        _ => Err("a date such as 2026-11-26 was expected".to_owned()),
    }
}

pub(super) fn score(args: &Score) -> Result<u8, Error> {
    if let Some(file) = &args.json {
        output::check_file(file)?;
    }
    let Some(points) = &args.points else { return score_recorded(args) };
    let (points, _) = read(points)?;
    let scored = if args.held_out {
        note(args.quiet, "fitting every configuration without itself; this takes minutes");
        score_held_out(points)
    } else {
        score_with(points, &calibration(args.calibration.as_deref())?)
    };
    if let Some(file) = &args.json {
        output::write_file(file, &score_json(&scored))?;
    }
    output::print(&match args.format {
        Format::Text => score_text(&scored, args.rows),
        Format::Json => score_json(&scored),
    })?;
    Ok(0)
}

/// Replays a recorded run.
fn score_recorded(args: &Score) -> Result<u8, Error> {
    let mut files = Vec::new();
    for path in args.requests.iter().chain(&args.engine_config) {
        files.push((path.to_string_lossy().into_owned(), read_text(path)?));
    }
    let named: Vec<File<'_>> = files.iter().map(|(name, text)| File { name, text }).collect();
    let run = engine_run(&named).map_err(|errors| Error::Usage(errors.to_string()))?;
    let fitted = calibration(args.calibration.as_deref())?;
    let gpu = args.gpu.as_deref().unwrap_or_default();
    let scored = score_run(&run, gpu, &fitted).map_err(Error::Usage)?;
    if let Some(file) = &args.json {
        output::write_file(file, &run_json(&scored))?;
    }
    output::print(&match args.format {
        Format::Text => run_text(&scored),
        Format::Json => run_json(&scored),
    })?;
    if !args.quiet {
        run.notes.iter().for_each(|note| eprintln!("note: {note}"));
    }
    Ok(0)
}

/// The calibration of a file, or the shipped one.
fn calibration(path: Option<&Path>) -> Result<Fitted, Error> {
    match path {
        Some(path) => read_calibration(path),
        None => fitted::shipped().cloned().map_err(|error| Error::Bug(error.to_string())),
    }
}

pub(super) fn fit(args: &Fit) -> Result<u8, Error> {
    output::check_file(&args.out)?;
    let (points, sha256) = read(&args.points)?;
    if points.measured.iter().all(|one| !one.is_credible()) {
        return Err(Error::Usage(format!(
            "{}: no row can be fitted to; `surgeline calibrate score` says why",
            args.points.display()
        )));
    }
    note(
        false,
        "fitting all configurations, and each once more without itself; this takes minutes",
    );
    let fitted = fitted::calibrate(points, args.source.clone(), args.as_of.clone(), sha256);
    let text = fitted.write().map_err(|error| Error::Bug(error.to_string()))?;
    output::write_file(&args.out, &text)?;
    eprintln!("wrote {}", args.out.display());
    Ok(0)
}

pub(super) fn accuracy(args: &Accuracy) -> Result<u8, Error> {
    output::print(&accuracy_page(&calibration(args.calibration.as_deref())?))?;
    Ok(0)
}

fn note(quiet: bool, text: &str) {
    if !quiet && std::io::stderr().is_terminal() {
        eprintln!("{text}");
    }
}

fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
}

fn read_calibration(path: &Path) -> Result<Fitted, Error> {
    let usage = |error| Error::Usage(format!("{}: {error}", path.display()));
    Fitted::read(&read_text(path)?).map_err(usage)
}

/// The points of a file, and its SHA-256 in hex.
fn read(path: &Path) -> Result<(Points, String), Error> {
    let text = read_text(path)?;
    let sha256 = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let points = serving::read(&text)
        .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
    Ok((points, sha256))
}

/// Scores with a calibration; a row of an engine it says nothing about is refused.
fn score_with(points: Points, fitted: &Fitted) -> score::Score {
    let Points { measured, mut refused } = points;
    let mut known: Vec<Measured> = Vec::new();
    for one in measured {
        let (engine, basis) = (&one.configuration.backend, one.server.basis());
        if fitted.find(engine, basis, one.server.model()).is_some() {
            known.push(one);
            continue;
        }
        let reason = format!("the calibration has no engine `{engine}` for models of this kind");
        let rows = one.points.into_iter();
        refused
            .extend(rows.map(|p| calibrate::serving::Refused { id: p.id, reason: reason.clone() }));
    }
    score::score(&known, refused, |_, one| {
        let (engine, basis) = (&one.configuration.backend, one.server.basis());
        match fitted.find(engine, basis, one.server.model()) {
            Some(entry) => (entry.values(), entry.spread_on(one.server.gpu())),
            None => (serving::priors(), fitted::UNKNOWN),
        }
    })
}

fn score_held_out(points: Points) -> score::Score {
    let Points { measured, refused } = points;
    let (held, spreads) = fitted::held_out_with_spreads(&measured);
    score::score(&measured, refused, |number, _| (held[number], spreads[number]))
}
