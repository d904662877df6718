//! Coefficients from a recorded run of an engine: fitted to its first half, judged by its second.
//!
//! The whole run is replayed every time, so that the second half meets the queues of the first.
//! Residuals are of each request's TTFT and of the time from its first token to its last. What the
//! run does not tell keeps the value of the calibration that the fit starts from, which is its prior.
//! The host's time of a request is one from the clock of the run to the engine: of a server's clock, what
//! is left of it there, with the iteration that asynchronous scheduling lets a new request wait, which
//! the simulator does not know.
//!
//! Invariants: no time of a request of the second half enters the fit, only its arrival and lengths.
//!
//! Deliberately absent: fits to several runs at once.

use super::fit;
use super::serving::{Found, Values};
use crate::coefficients::{PARAMETERS, Parameter, TABLE};
use crate::fitted::{Entry, Fitted, SCHEMA, UNKNOWN, entry_of_values, rounded};
use crate::imports::engine_run::EngineRun;
use crate::score::Spread;
use crate::score::run::{Answered, Replayable, RunScore};
use sim::stats::quantile_sorted;
use sim::units::Span;

/// Share of requests that a prediction interval is to hold.
const HELD: f64 = 0.9;

/// A fit to a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunFit {
    /// As a calibration file with one entry.
    pub fitted: Fitted,
    /// The second half, predicted by what was fitted to the first.
    pub after: RunScore,
    /// The second half, predicted by the calibration that the fit started from.
    pub before: RunScore,
}

/// What a calibration file says about where a run is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where it is from.
    pub source: String,
    /// When it was fitted, ISO 8601.
    pub as_of: String,
    /// SHA-256 of the file of requests, in hex.
    pub data_sha256: String,
}

/// Fits to the first half of a run on `gpu` (a catalogue name), starting from a calibration.
///
/// # Errors
/// Why it cannot be replayed or fitted to.
pub fn fit_run(
    run: &EngineRun,
    gpu: &str,
    start: &Fitted,
    origin: Origin,
) -> Result<RunFit, String> {
    let replayable = Replayable::of(run, gpu)?;
    let basis = replayable.basis();
    let start = replayable.entry(start)?;
    let prior = start.values();
    let half = run.requests.len() / 2;
    let timed = replayable.both(&prior, start.server_clock)?[..half].iter().flatten().count();
    if timed < PARAMETERS {
        return Err(format!(
            "the first half of the run has {timed} requests with times: at least {PARAMETERS} are needed"
        ));
    }
    let found = find(&replayable, &prior, half);
    let both = replayable.both(&found.values, true)?;
    let entry = Entry {
        engine: "vllm".to_owned(),
        basis,
        model: Some(replayable.names().0.to_owned()),
        engine_versions: vec![run.config.vllm.clone().unwrap_or_else(|| "unknown".to_owned())],
        gpus: vec![replayable.names().1.to_owned()],
        configurations: 1,
        points: timed,
        server_clock: replayable.by_server,
        spread: spread(&both[half..]),
        coefficients: entry_of_values(basis, &found),
    };
    let after = replayable.score(&entry, half)?;
    let before = replayable.score(start, half)?;
    let Origin { source, as_of, data_sha256 } = origin;
    let fitted = Fitted {
        schema: SCHEMA.to_owned(),
        source,
        as_of,
        data_sha256,
        refused: after.untimed,
        entry: vec![entry],
        summary: Vec::new(),
        fold: Vec::new(),
    };
    Ok(RunFit { fitted, after, before })
}

/// The values at which the first `half` requests are predicted nearest.
fn find(replayable: &Replayable<'_>, prior: &Values, half: usize) -> Found {
    let open = replayable.basis().open();
    let parameters: Vec<Parameter> =
        open.iter().map(|&at| Parameter { prior: prior[at], ..TABLE[at] }).collect();
    let whole = |values: &[f64]| {
        let mut whole = *prior;
        open.iter().zip(values).for_each(|(&at, &value)| whole[at] = value);
        whole
    };
    let residuals = |values: &[f64], waits: f64| match replayable.both(&whole(values), true) {
        Ok(both) => both[..half]
            .iter()
            .flat_map(|one| {
                let [ttft, decode] = errors(one);
                [ttft * waits, decode]
            })
            .collect(),
        Err(_) => vec![0.0; 2 * half],
    };
    // Waits leap where a replica fills up; the way there is found by the decodes, which do not.
    let mut from: Vec<f64> = open.iter().map(|&at| prior[at]).collect();
    from = fit(&parameters, &from, 2, |values| residuals(values, 0.0)).values;
    let found = fit(&parameters, &from, 2, |values| residuals(values, 1.0));
    let values = whole(&found.values);
    let mut intervals = [None; PARAMETERS];
    open.iter().zip(&found.intervals).for_each(|(&at, &interval)| intervals[at] = Some(interval));
    Found { values, intervals }
}

/// Logarithms of predicted over measured, of TTFT and of the time from the first token to the last;
/// 0 of a request without times.
fn errors(one: &Option<Answered>) -> [f64; 2] {
    let Some(Answered { ttft, e2e, predicted }) = *one else { return [0.0; 2] };
    let error = |ours: Span, theirs: Span| match ours.0.min(theirs.0) {
        0 => 0.0,
        _ => libm::log(ours.as_secs_f64() / theirs.as_secs_f64()),
    };
    let decode = Span(e2e.0.saturating_sub(ttft.0));
    [error(predicted.ttft, ttft), error(predicted.e2e - predicted.ttft, decode)]
}

/// Half-widths that hold nine of ten requests that were not fitted to.
fn spread(both: &[Option<Answered>]) -> Spread {
    let width = |kind: usize| {
        let mut all: Vec<f64> = both.iter().map(|one| errors(one)[kind].abs()).collect();
        all.sort_by(f64::total_cmp);
        quantile_sorted(&all, HELD)
    };
    Spread {
        tpot: width(1).map_or(UNKNOWN.tpot, rounded),
        ttft: width(0).map_or(UNKNOWN.ttft, rounded),
    }
}
