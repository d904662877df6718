//! Iteration times out of what a probe measured.
//!
//! ```text
//! cells + requests ──► recorded ──► simulated under coefficients ──► errors ──► least squares
//! ```
//!
//! Each cell is run on a simulated replica, with the lengths, the lanes and the pauses it had. The
//! coefficients are those under which the simulated times to the first token and between tokens are
//! nearest to the measured ones. An iteration that decodes `B` sequences over `S` KV tokens and
//! computes chunks, `T` tokens in all with `A` (token, context) pairs, takes
//!
//! ```text
//! iteration + sequence·B + kv_token·S                                    without chunks
//! iteration + chunks + sequence·C + prompt_token·(T − C) + kv_token·S + pair·A          with
//! ```
//!
//! where `C` is the largest number of lanes, up to which the time of a token is that of a sequence.
//! Where there are prompt lengths enough, `prompt_token` has one value up to the second shortest and
//! another beyond: short chunks are bound by memory, long ones by arithmetic.
//!
//! Invariants: coefficients are above zero; the same rows give the same coefficients; a coefficient
//! that the cells do not tell apart says so instead of having an interval.
//!
//! Deliberately absent: KV capacity and settings of the engine, which the caller knows or assumes;
//! captured graph sizes.

mod recorded;
mod search;
mod simulated;

use super::record::Record;
use super::results::{CellRow, RequestRow};
use recorded::{Loop, Recorded, recorded};
use sim::engine::{EngineSpec, StepTime, StepTimeError};
use sim::units::Span;

/// Coefficients in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeCoefficients {
    /// Of every iteration.
    pub iteration: f64,
    /// Of every iteration with chunks of prompts, besides.
    pub chunks: f64,
    /// Of each decoding sequence.
    pub sequence: f64,
    /// Of each KV token that a decoding sequence reads.
    pub kv_token: f64,
    /// Of each token beyond [`ProbeCoefficients::most_sequences`] in an iteration with chunks.
    pub prompt_token: f64,
    /// From this many tokens of an iteration on, the time of each more, where it is told apart.
    pub beyond: Option<(u32, f64)>,
    /// Of 1,024 (token, context) pairs of chunks.
    pub pairs: f64,
    /// Of every request before the engine has it: network, HTTP, tokens of the prompt.
    pub request: f64,
    /// Tokens of an iteration up to which one takes what a sequence takes.
    pub most_sequences: u32,
}

/// Beyond every iteration: where the last line ends that times lie on.
const FAR: u32 = 1 << 20;

impl ProbeCoefficients {
    /// Knots `(tokens, time)` of an iteration's own tokens, as scenarios take them: `linear`.
    #[must_use]
    pub fn linear(&self) -> Vec<(u32, Span)> {
        let mut knots = vec![(0, 0.0)];
        let mut add = |tokens: u32, each: f64| {
            let (from, time) = knots[knots.len() - 1];
            knots.push((tokens, time + f64::from(tokens.saturating_sub(from)) * each));
        };
        add(self.most_sequences, self.sequence);
        match self.beyond {
            Some((knee, each)) if knee > self.most_sequences => {
                add(knee, self.prompt_token);
                add(FAR, each);
            }
            _ => add(FAR, self.prompt_token),
        }
        knots.into_iter().map(|(tokens, time)| (tokens, Span::from_secs_f64(time))).collect()
    }

    /// The same as the simulator takes it, without the time of a request.
    ///
    /// # Errors
    /// [`StepTimeError`] when a time is beyond what an iteration may take.
    pub fn step_time(&self) -> Result<StepTime, StepTimeError> {
        let ps = |seconds: f64| Span::from_secs_f64(seconds).0;
        let linear = self.linear().into_iter().map(|(tokens, span)| (tokens, span.0)).collect();
        let (kv, pairs) = (ps(self.kv_token), ps(self.pairs));
        StepTime::new(ps(self.iteration), ps(self.chunks), linear, kv, pairs, Vec::new())
    }
}

/// A coefficient that was fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Its name.
    pub name: &'static str,
    /// Seconds.
    pub value: f64,
    /// Where it lies with 90 % confidence; `None` where the cells do not tell it from others or
    /// from nothing.
    pub interval: Option<(f64, f64)>,
}

/// A cell beside what the coefficients make of it. Times are in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct CellFit {
    /// Its number.
    pub cell: u32,
    /// What it is there for.
    pub purpose: String,
    /// Mean prompt and answer tokens, rounded.
    pub lengths: (u32, u32),
    /// Lanes.
    pub concurrency: u32,
    /// Medians of the measured and the fitted times to the first token.
    pub ttft: (f64, f64),
    /// Medians of the measured and the fitted times between tokens, where answers have two.
    pub tpot: Option<(f64, f64)>,
    /// Fitted over measured less 1, of both, over the requests that agree, at least half.
    pub errors: (f64, Option<f64>),
}

/// What a fit found.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeFit {
    /// The coefficients.
    pub coefficients: ProbeCoefficients,
    /// The same by name, with intervals.
    pub found: Vec<Found>,
    /// The cells it was fitted to.
    pub cells: Vec<CellFit>,
    /// Cells that were not used, each with the reason.
    pub left_out: Vec<(u32, String)>,
    /// Largest over smallest median time between tokens of the anchors, less 1: how much the
    /// endpoint drifted meanwhile.
    pub drift: Option<f64>,
    /// Whether the search came to an end by itself.
    pub converged: bool,
}

/// Why a probe cannot be fitted to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// The cells leave open what is what.
    #[error("{0}; {left_out} cells are left out", left_out = .1.len())]
    TooFew(&'static str, Vec<(u32, String)>),
    /// A prompt no such engine takes.
    #[error("cell {0} has requests that the engine as described never takes")]
    NeverFits(u32),
}

/// The coefficients nearest to a probe's results, for an engine that schedules as `spec` says. Its
/// blocks are not counted: a probe whose requests wait for blocks measures something else.
///
/// # Errors
/// [`FitError`] when the cells leave coefficients open, or have requests that never fit the engine.
pub fn fit_probe(
    cells: &[CellRow],
    requests: &[RequestRow],
    spec: &EngineSpec,
) -> Result<ProbeFit, FitError> {
    let Recorded { loops, left_out } = recorded(cells, requests);
    if let Err(what) = enough(&loops) {
        return Err(FitError::TooFew(what, left_out));
    }
    let (coefficients, found, converged) = search::search(&loops, spec)?;
    let cells = search::compare(&loops, spec, &coefficients);
    let drift = drift(&loops);
    Ok(ProbeFit { coefficients, found, cells, left_out, drift, converged })
}

/// Whether the cells see every effect change.
fn enough(loops: &[Loop]) -> Result<(), &'static str> {
    let levels = |of: &dyn Fn(&Loop) -> u32| {
        let mut all: Vec<u32> = loops.iter().map(of).collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    };
    if loops.iter().all(|one| one.tpot.is_empty()) {
        return Err("no cell has answers of two tokens: probe longer answers");
    }
    if levels(&|one| one.lanes.len() as u32) < 2 {
        return Err("all cells have the same number of lanes: probe more concurrencies");
    }
    // Lengths scatter by a token where words are no tokens.
    if levels(&|one| one.lengths.0 / 8) < 2 {
        return Err("all cells have the same prompt length: probe more");
    }
    Ok(())
}

fn drift(loops: &[Loop]) -> Option<f64> {
    let anchors = loops.iter().filter(|one| one.purpose == "anchor");
    let mut medians: Vec<f64> =
        anchors.filter_map(|one| one.tpot.get(one.tpot.len() / 2).copied()).collect();
    medians.sort_by(f64::total_cmp);
    let (first, last) = (medians.first()?, medians.last()?);
    (medians.len() > 1).then(|| last / first - 1.0)
}

impl Record {
    /// The engine as it names itself, with its version.
    #[must_use]
    pub fn engine_name(&self) -> String {
        let name = self.engine.owned_by.as_deref().or(self.engine.metrics_of.as_deref());
        let parts = [name, self.engine.version.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests;
