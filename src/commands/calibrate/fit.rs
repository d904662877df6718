//! `surgeline calibrate fit`: coefficients from measurements, with their errors on what they have not
//! seen.

use super::score::{note, read, read_run, read_text, run_files};
use crate::error::Error;
use crate::output::{self, Places};
use calibrate::fit::run::{Origin, fit_run};
use calibrate::fit::steps::rows::{SCHEMA, Served, StepFile, fit_rows};
use calibrate::fitted;
use calibrate::imports::File;
use calibrate::imports::steps::steps;
use clap::Args as Arguments;
use reports::score::{run_text, score_topics};
use sha2::{Digest, Sha256};
use sim::units::Tokens;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// As many iterations as a fit has coefficients.
const LEAST_STEPS: usize = 10;

/// What to fit, and where to put it.
#[derive(Debug, Arguments)]
pub(crate) struct Fit {
    /// Measured serving points, as for `score`.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["steps", "requests"])]
    points: Option<PathBuf>,
    /// Measured iterations instead: CSV, or JSON objects one a line.
    #[arg(long, value_name = "FILE", conflicts_with = "points")]
    steps: Option<PathBuf>,
    /// Tokens of a KV block, where the file of iterations counts blocks.
    #[arg(long, value_name = "TOKENS", requires = "steps", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    block_size: u32,
    /// Recorded requests of an engine run instead: the first half is fitted to, the second half
    /// predicted (repeatable).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["points", "steps"], requires = "gpu")]
    requests: Vec<PathBuf>,
    /// What describes that run: settings and logs of the engine (repeatable).
    #[arg(long, value_name = "FILE", requires = "requests")]
    engine_config: Vec<PathBuf>,
    /// The GPU of that run, which its files do not name.
    #[arg(long, value_name = "NAME", requires = "requests")]
    gpu: Option<String>,
    /// Where the measurements are from, for the file.
    #[arg(long, value_name = "TEXT")]
    source: String,
    /// The date of the fit, as 2026-11-26.
    #[arg(long, value_name = "DATE", value_parser = date)]
    as_of: String,
    /// Also draw the residuals of points, each configuration held out, as SVG and PNG into this new
    /// folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["steps", "requests"])]
    plots: Option<PathBuf>,
    /// Calibration file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
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

pub(super) fn fit(args: &Fit) -> Result<u8, Error> {
    let inputs = args.points.iter().chain(&args.steps).chain(&args.requests);
    let places = Places::default().file(Some(&args.out)).folder("--plots", args.plots.as_deref());
    places.inputs(inputs.chain(&args.engine_config)).check()?;
    let text = match (&args.points, &args.steps) {
        (Some(points), _) => fit_points(args, points)?,
        (None, Some(steps)) => fit_steps(args, steps)?,
        (None, None) => fit_requests(args)?,
    };
    output::write_file(&args.out, &text)?;
    crate::output::tell!("wrote {}", args.out.display());
    Ok(0)
}

fn fit_points(args: &Fit, path: &Path) -> Result<String, Error> {
    let (points, sha256) = read(path)?;
    if points.measured.iter().all(|one| !one.is_credible()) {
        return Err(Error::Usage(format!(
            "{}: no row can be fitted to; `surgeline calibrate score` says why",
            path.display()
        )));
    }
    note(
        false,
        "fitting all configurations, and each once more without itself; this takes minutes",
    );
    let (fitted, held_out) =
        fitted::calibrate(points, args.source.clone(), args.as_of.clone(), sha256);
    if let Some(folder) = &args.plots {
        output::write_plots(folder, &score_topics(&held_out))?;
    }
    fitted.write().map_err(|error| Error::Bug(error.to_string()))
}

/// Fits iterations, and prints how well each series is predicted by others.
fn fit_steps(args: &Fit, path: &Path) -> Result<String, Error> {
    let text = read_text(path)?;
    let rows = steps(File { name: &path.to_string_lossy(), text: &text })
        .map_err(|errors| Error::Usage(errors.to_string()))?;
    if rows.len() < LEAST_STEPS {
        return Err(Error::Usage(format!(
            "{}: {} iterations say nothing; at least {LEAST_STEPS} are needed",
            path.display(),
            rows.len()
        )));
    }
    let served = fit_rows(&rows, Tokens(args.block_size));
    output::print(&step_text(&served))?;
    let file = StepFile {
        schema: SCHEMA.to_owned(),
        source: args.source.clone(),
        as_of: args.as_of.clone(),
        data_sha256: sha256(&text),
        block_tokens: args.block_size,
        served,
    };
    file.write().map_err(|error| Error::Bug(error.to_string()))
}

/// Fits to the first half of a recorded run, and prints the second half beside its predictions.
fn fit_requests(args: &Fit) -> Result<String, Error> {
    let files = run_files(&args.requests, &args.engine_config)?;
    let run = read_run(&files)?;
    let start = fitted::shipped().map_err(|error| Error::Bug(error.to_string()))?;
    let texts: Vec<&str> =
        files.iter().take(args.requests.len()).map(|(_, text)| text.as_str()).collect();
    let origin = Origin {
        source: args.source.clone(),
        as_of: args.as_of.clone(),
        data_sha256: sha256(&texts.concat()),
    };
    let gpu = args.gpu.as_deref().unwrap_or_default();
    let found = fit_run(&run, gpu, start, origin).map_err(Error::Usage)?;
    output::print(&format!(
        "The second half of the run, by the shipped calibration:\n{}\nby what was fitted to the first half:\n{}",
        run_text(&found.before),
        run_text(&found.after)
    ))?;
    found.fitted.write().map_err(|error| Error::Bug(error.to_string()))
}

pub(super) fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn step_text(served: &[Served]) -> String {
    let mut text = String::new();
    for one in served {
        let c = &one.coefficients;
        let name = if one.served.is_empty() { "all rows" } else { &one.served };
        let _ = writeln!(
            text,
            "{name}: {} rows. An iteration {:.2} ms, a decoding sequence {:.1} us, 1,000 KV tokens \
             {:.1} us; with a chunk of a prompt at least {:.2} ms",
            one.rows,
            c.decode * 1e3,
            c.sequence * 1e6,
            c.kv_token * 1e9,
            c.rises[0].max(c.decode) * 1e3
        );
        for fold in &one.fold {
            let _ = writeln!(
                text,
                "  held out: median error {:.1} % ({:+.1} %), 90th percentile {:.1} %, of one number \
                 for all {:.1} %; {} rows by {}: {}",
                fold.median * 1e2,
                fold.bias * 1e2,
                fold.p90 * 1e2,
                fold.constant * 1e2,
                fold.rows,
                fold.fitted,
                fold.held_out
            );
        }
    }
    text
}
