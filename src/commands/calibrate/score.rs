//! `surgeline calibrate score` and `accuracy`: predicted beside measured.

use crate::error::Error;
use crate::output::{self, Places};
use calibrate::fit::serving::{self, Measured, Points};
use calibrate::fitted::{self, Fitted};
use calibrate::imports::File;
use calibrate::imports::engine_run::{EngineRun, engine_run};
use calibrate::score::{self, run::score_run};
use clap::{Args as Arguments, ValueEnum};
use reports::command::quoted;
use reports::score::{
    accuracy_page, run_json, run_text, score_html, score_json, score_text, score_topics,
};
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
    /// Also draw predicted over measured times as SVG and PNG into this new folder.
    #[arg(long, value_name = "DIR", conflicts_with = "requests")]
    plots: Option<PathBuf>,
    /// Also write one HTML page with everything in it to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "requests")]
    html: Option<PathBuf>,
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

/// Whose accuracy to print.
#[derive(Debug, Arguments)]
pub(crate) struct Accuracy {
    /// A calibration file instead of the shipped one.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
}

pub(super) fn score(args: &Score) -> Result<u8, Error> {
    let inputs = args.points.iter().chain(&args.calibration).chain(&args.requests);
    let places = Places::default().files([&args.json, &args.html]);
    let places = places.folder("--plots", args.plots.as_deref());
    places.inputs(inputs.chain(&args.engine_config)).check()?;
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
    if let Some(folder) = &args.plots {
        output::write_plots(folder, &score_topics(&scored))?;
    }
    if let Some(file) = &args.html {
        let page = score_html(&scored, &command(args), env!("CARGO_PKG_VERSION"));
        output::write_file(file, &page)?;
    }
    output::print(&match args.format {
        Format::Text => score_text(&scored, args.rows),
        Format::Json => score_json(&scored),
    })?;
    Ok(0)
}

/// The command that repeats a score.
fn command(args: &Score) -> String {
    let file = |option: &str, path: &Option<PathBuf>| {
        path.as_ref().map(|path| format!(" {option} {}", quoted(&path.to_string_lossy())))
    };
    let mut text = "surgeline calibrate score".to_owned();
    text.extend(file("--points", &args.points));
    text.extend(file("--calibration", &args.calibration));
    text.push_str(if args.held_out { " --held-out" } else { "" });
    text
}

/// Replays a recorded run.
fn score_recorded(args: &Score) -> Result<u8, Error> {
    let run = read_run(&run_files(&args.requests, &args.engine_config)?)?;
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
        run.notes.iter().for_each(|note| crate::output::tell!("note: {note}"));
    }
    Ok(0)
}

/// The files of a run with their texts, those of its requests first.
pub(super) fn run_files(
    requests: &[PathBuf],
    config: &[PathBuf],
) -> Result<Vec<(String, String)>, Error> {
    let all = requests.iter().chain(config);
    all.map(|path| Ok((path.to_string_lossy().into_owned(), read_text(path)?))).collect()
}

pub(super) fn read_run(files: &[(String, String)]) -> Result<EngineRun, Error> {
    let named: Vec<File<'_>> = files.iter().map(|(name, text)| File { name, text }).collect();
    engine_run(&named).map_err(|errors| Error::Usage(errors.to_string()))
}

/// The calibration of a file, or the shipped one.
fn calibration(path: Option<&Path>) -> Result<Fitted, Error> {
    match path {
        Some(path) => read_calibration(path),
        None => fitted::shipped().cloned().map_err(|error| Error::Bug(error.to_string())),
    }
}

pub(super) fn accuracy(args: &Accuracy) -> Result<u8, Error> {
    output::print(&accuracy_page(&calibration(args.calibration.as_deref())?))?;
    Ok(0)
}

pub(super) fn note(quiet: bool, text: &str) {
    if !quiet && std::io::stderr().is_terminal() {
        crate::output::tell!("{text}");
    }
}

pub(super) fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::InvalidData => {
                "it is no text; unpack a compressed file first".to_owned()
            }
            _ => error.to_string(),
        };
        Error::Usage(format!("{}: {why}", path.display()))
    })
}

fn read_calibration(path: &Path) -> Result<Fitted, Error> {
    let usage = |error| Error::Usage(format!("{}: {error}", path.display()));
    Fitted::read(&read_text(path)?).map_err(usage)
}

/// The points of a file, and its SHA-256 in hex.
pub(super) fn read(path: &Path) -> Result<(Points, String), Error> {
    let text = read_text(path)?;
    let sha256 = super::fit::sha256(&text);
    let points = serving::read(&text)
        .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
    if points.measured.is_empty() && points.refused.is_empty() {
        return Err(Error::Usage(format!("{}: there is no row in it", path.display())));
    }
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
            Some(entry) => (entry.values(), fitted.spread_on(entry, one.server.gpu())),
            None => (serving::priors(), fitted::UNKNOWN),
        }
    })
}

fn score_held_out(points: Points) -> score::Score {
    let Points { measured, refused } = points;
    let (held, spreads) = fitted::held_out_with_spreads(&measured);
    score::score(&measured, refused, |number, _| (held[number], spreads[number]))
}
