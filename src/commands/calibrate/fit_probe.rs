//! `surgeline calibrate fit-probe`: iteration times out of what a probe measured.
//!
//! Deliberately absent: KV capacity, which a probe does not see, and captured graph sizes.

use crate::error::Error;
use crate::output::{self, Places};
use calibrate::EngineOverrides;
use calibrate::probe::fit::{CellFit, Found, ProbeFit, fit_probe};
use calibrate::probe::{Record, read_probe};
use clap::Args as Arguments;
use sim::engine::EngineSpec;
use sim::units::{Blocks, Span, Tokens};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Fit the time of an iteration to a probe, and print it as the table `step_time` of a pool, with
/// intervals and the errors that are left in its comments.
#[derive(Debug, Arguments)]
pub(crate) struct FitProbe {
    /// Folder that `surgeline calibrate probe` wrote.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The pool of the scenario that the table is for.
    #[arg(long, value_name = "NAME", default_value = "probed", value_parser = bare_key)]
    pool: String,
    /// Engine preset whose scheduler the endpoint has.
    #[arg(long, value_name = "NAME", default_value = "vllm")]
    engine: String,
    /// GPU by which that preset chooses how much an iteration may hold.
    #[arg(long, value_name = "NAME", default_value = "h100-sxm")]
    gpu: String,
    /// Tokens of an iteration at most, if the endpoint was started with another value.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_num_batched_tokens: Option<u32>,
    /// Sequences that run at once at most, likewise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_num_seqs: Option<u32>,
    /// Write the table to this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also print measured beside fitted times of every cell, as comments.
    #[arg(long)]
    cells: bool,
}

/// A name that TOML takes without quotes.
fn bare_key(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !text.is_empty() && text.chars().all(fine) {
        true => Ok(text.to_owned()),
        false => Err("a name of letters, digits, - and _ was expected".to_owned()),
    }
}

pub(super) fn fit_probe_command(args: &FitProbe) -> Result<u8, Error> {
    if let Some(file) = &args.out {
        Places::default().file(Some(file)).inputs([&args.folder]).check()?;
    }
    let usage = |error: String| Error::Usage(format!("{}: {error}", args.folder.display()));
    let (record, cells, requests) =
        read_probe(&args.folder).map_err(|error| Error::Usage(error.to_string()))?;
    let spec = spec(args).map_err(Error::Usage)?;
    let fit = fit_probe(&cells, &requests, &spec).map_err(|error| usage(error.to_string()))?;
    let text = table(&fit, &record, args, &spec);
    match &args.out {
        Some(file) => write_out(file, &text)?,
        None => output::print(&text)?,
    }
    if !fit.converged {
        crate::output::tell!(
            "surgeline: the search did not come to an end; the last values are printed"
        );
    }
    Ok(0)
}

fn write_out(file: &Path, text: &str) -> Result<(), Error> {
    output::write_file(file, text)?;
    crate::output::tell!("wrote {}", file.display());
    Ok(())
}

/// The engine's scheduler; blocks and longest sequence are up to the fit.
fn spec(args: &FitProbe) -> Result<EngineSpec, String> {
    let overrides = EngineOverrides {
        max_num_batched_tokens: args.max_num_batched_tokens.map(Tokens),
        max_num_seqs: args.max_num_seqs,
        ..EngineOverrides::default()
    };
    let preset = calibrate::engine_preset(&args.engine).map_err(|error| error.to_string())?;
    let gpu = calibrate::gpu(&args.gpu).map_err(|error| error.to_string())?;
    let engine = preset.resolve(gpu, &overrides).map_err(|error| error.to_string())?;
    Ok(engine.spec(Blocks(2), Tokens(2)))
}

/// The table with its provenance. Writing into a string cannot fail.
fn table(fit: &ProbeFit, record: &Record, args: &FitProbe, spec: &EngineSpec) -> String {
    let mut text = String::new();
    let engine = match record.engine_name() {
        name if name.is_empty() => "an engine that does not name itself".to_owned(),
        name => name,
    };
    let _ = writeln!(
        text,
        "# Fitted by surgeline {} to a probe of {}, {}.",
        env!("CARGO_PKG_VERSION"),
        one_line(&record.url),
        date(record.sessions.first().map_or(0.0, |session| session.began_unix_s)),
    );
    let _ = writeln!(text, "# Model {}, {}.", one_line(&record.model), one_line(&engine));
    let _ = writeln!(
        text,
        "# Scheduled as {} with {} tokens and {} sequences an iteration at most: assumed, not \
         measured.",
        args.engine, spec.max_num_batched_tokens.0, spec.max_num_seqs
    );
    text += &quality(fit);
    if args.cells {
        text += &cells(&fit.cells);
    }
    if let Some(request) = fit.found.iter().find(|found| found.name == "request") {
        let value = format!("\"{}\"", exact(Span::from_secs_f64(request.value)));
        let _ = writeln!(
            text,
            "# A request takes {} before the engine has it ({}); goes into [pools.{}]:\n\
             # request_overhead = {value}",
            shown(request.value),
            range(request),
            args.pool
        );
    }
    let _ = writeln!(text, "[pools.{}.step_time]", args.pool);
    text += &keys(fit);
    text
}

/// What the coefficients leave unexplained, and what they were not fitted to.
fn quality(fit: &ProbeFit) -> String {
    let mut text = String::new();
    let of = |name: &str, errors: Vec<f64>| {
        let count = errors.len().max(1) as f64;
        let mean = errors.iter().map(|error| error.abs()).sum::<f64>() / count;
        let worst = errors.iter().fold(0.0, |worst: f64, error| worst.max(error.abs()));
        format!("{name} within {:.1} % on average, {:.1} % at worst", mean * 1e2, worst * 1e2)
    };
    let ttft = of("TTFT", fit.cells.iter().map(|cell| cell.errors.0).collect());
    let tpot = of("TPOT", fit.cells.iter().filter_map(|cell| cell.errors.1).collect());
    let _ = writeln!(text, "# {} cells: {tpot}; {ttft}.", fit.cells.len());
    if let Some(drift) = fit.drift {
        let _ = writeln!(text, "# TPOT of the anchors differs by {:.1} %.", drift * 1e2);
    }
    for (cell, why) in fit.left_out.iter().filter(|(_, why)| why != "a warm-up") {
        let _ = writeln!(text, "# Cell {cell} is left out: {why}.");
    }
    text
}

fn cells(cells: &[CellFit]) -> String {
    let mut text = String::from(
        "# cell  purpose     prompt  answer  lanes   TTFT ms  fitted   TPOT ms  fitted\n",
    );
    for cell in cells {
        let (measured, fitted) = cell.ttft;
        let tpot = cell.tpot.map_or(("-".to_owned(), "-".to_owned()), |(measured, fitted)| {
            (format!("{:.2}", measured * 1e3), format!("{:.2}", fitted * 1e3))
        });
        let _ = writeln!(
            text,
            "# {:>4}  {:<11} {:>6} {:>7} {:>6} {:>9.2} {:>7.2} {:>9} {:>7}",
            cell.cell,
            cell.purpose,
            cell.lengths.0,
            cell.lengths.1,
            cell.concurrency,
            measured * 1e3,
            fitted * 1e3,
            tpot.0,
            tpot.1
        );
    }
    text
}

fn keys(fit: &ProbeFit) -> String {
    let mut text = String::new();
    let found = |name: &str| fit.found.iter().find(|found| found.name == name);
    for (key, name, what) in [
        ("fixed", "iteration", "every iteration"),
        ("ungraphed", "chunks", "besides, one with chunks of prompts"),
        ("per_kv_token", "kv_token", "a KV token that a decoding sequence reads"),
        ("per_1024_pairs", "pairs", "1,024 pairs of a prompt token and its context"),
    ] {
        let Some(found) = found(name) else { continue };
        let value = format!("\"{}\"", exact(Span::from_secs_f64(found.value)));
        let _ = writeln!(text, "{key:<14} = {value:<16} # {}: {what}", range(found));
    }
    let knots = fit.coefficients.linear();
    let knots: Vec<String> =
        knots.iter().map(|(tokens, span)| format!("[{tokens}, \"{}\"]", exact(*span))).collect();
    let slope = |name: &str, what: &str| {
        found(name).map_or(String::new(), |found| {
            format!("# {what} takes {} ({})\n", shown(found.value), range(found))
        })
    };
    let most = fit.coefficients.most_sequences;
    text +=
        &slope("sequence", &format!("Each of the first {most} tokens, a decoding sequence's one,"));
    text += &slope("prompt_token", "Each token beyond");
    if let Some((knee, _)) = fit.coefficients.beyond {
        text += &slope("prompt_token_beyond", &format!("From {knee} tokens on each"));
    }
    let _ = writeln!(text, "{:<14} = [{}]", "linear", knots.join(", "));
    text
}

/// Where a coefficient lies.
fn range(found: &Found) -> String {
    match found.interval {
        Some((low, high)) => format!("{} to {}", shown(low), shown(high)),
        None => "not told apart by these cells".to_owned(),
    }
}

/// A time for people, with four digits.
fn shown(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s if s >= 1e-6 => (s * 1e6, "us"),
        s if s >= 1e-9 => (s * 1e9, "ns"),
        s => (s * 1e12, "ps"),
    };
    let digits = match value {
        v if v >= 1_000.0 => 0,
        v if v >= 100.0 => 1,
        v if v >= 10.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$} {unit}")
}

/// A time as scenarios read it, to the picosecond.
fn exact(span: Span) -> String {
    let units = [("s", 1_000_000_000_000), ("ms", 1_000_000_000), ("us", 1_000_000), ("ns", 1_000)];
    for (unit, size) in units {
        if span.0 >= size {
            let (whole, rest) = (span.0 / size, span.0 % size);
            let digits = size.ilog10() as usize;
            let text = format!("{whole}.{rest:0digits$}");
            return format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'));
        }
    }
    format!("{}ps", span.0)
}

/// What others wrote, inside a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The day of an instant, in UTC (civil from days: H. Hinnant, "chrono-compatible low-level date
/// algorithms").
fn date(unix_s: f64) -> String {
    let days = (unix_s / 86_400.0) as i64 + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let part = (5 * of_year + 2) / 153;
    let day = of_year - (153 * part + 2) / 5 + 1;
    let month = if part < 10 { part + 3 } else { part - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::quantity;

    #[test]
    fn written_times_are_read_back_to_the_picosecond() {
        for ps in [0, 7, 999, 1_000, 35_123, 22_000_000, 7_000_260_370, 1_234_567_890_123] {
            let text = exact(Span(ps));
            assert_eq!(quantity::span(&text), Ok(Span(ps)), "{text}");
        }
        assert_eq!(exact(Span(7_000_000_000)), "7ms");
        assert_eq!((shown(7.0002e-3), shown(3.5e-8)), ("7.000 ms".into(), "35.00 ns".into()));
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (unix, day) in [
            (0.0, "1970-01-01"),
            (951_782_400.0, "2000-02-29"),
            (1_772_323_199.0, "2026-02-28"),
            (1_795_690_800.5, "2026-11-26"),
        ] {
            assert_eq!(date(unix), day);
        }
    }
}
