//! The search for coefficients, and how far they can be trusted.
//!
//! The least squares of [`crate::fit`] hold each coefficient near where it starts. Here nothing but
//! the data is to hold it, so the search is repeated from where it ended until the errors stand
//! still: a coefficient moves as far as the data asks for (a proximal point method: R. T. Rockafellar,
//! SIAM J. Control Optim. 14(5), 1976), and one that the data says nothing about stays.
//!
//! Invariants: a residual is the logarithm of simulated over measured, of the half of a cell's
//! requests or more for which it lies close together. What is busy between an engine and its client makes
//! some tokens late, and which requests share an iteration may be decided otherwise than simulated
//! for some: both are scattered, the others agree.
//!
//! Deliberately absent: correlation of errors between cells.

use super::recorded::Loop;
use super::simulated::{Times, simulate};
use super::{CellFit, FitError, Found, ProbeCoefficients};
use crate::coefficients::Parameter;
use crate::fit::fit;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use sim::engine::EngineSpec;
use sim::units::Span;
use std::sync::Arc;

/// How far a coefficient may move in one round, either way.
const REACH: f64 = 30.0;
/// Rounds at most, and the mean change of the errors below which there is no further one.
const ROUNDS: usize = 40;
const STILL: f64 = 2e-5;
/// Errors count this many times more than in other fits: a cell's error is robust by itself, and the
/// stronger it is against the hold on the coefficients, the fewer rounds are needed.
const STRENGTH: f64 = 5.0;
/// Errors are not taken to be smaller than this: the clock of a client is not that good.
const LEAST_ERROR: f64 = 1e-3;
/// How much more the better measured of the two times may count.
const MOST_WEIGHT: f64 = 10.0;
/// By what share coefficients are moved to see what depends on them.
const NUDGE: f64 = 0.02;
/// Standard error, in logarithms, from which on a coefficient is not told apart.
const UNKNOWN: f64 = 0.5;
/// The 95 % quantile of the normal distribution.
const Z95: f64 = 1.645;

/// Names of the coefficients, in the order in which the search has them.
const NAMES: [&str; 8] = [
    "iteration",
    "chunks",
    "sequence",
    "kv_token",
    "prompt_token",
    "pairs",
    "request",
    "prompt_token_beyond",
];

/// What is not searched for.
#[derive(Clone, Copy)]
struct Shape {
    most_sequences: u32,
    knee: Option<u32>,
}

impl Shape {
    fn of(loops: &[Loop]) -> Shape {
        let most_sequences = loops.iter().map(|one| one.lanes.len() as u32).max().unwrap_or(1);
        let cold = loops.iter().filter(|one| one.prefix == 0);
        let mut inputs: Vec<u32> = cold.map(|one| one.lengths.0).collect();
        inputs.sort_unstable();
        // Lengths that differ by a few tokens are one level.
        inputs.dedup_by(|next, last| *next < *last + *last / 8 + 8);
        let knee = (inputs.len() >= 4).then(|| inputs[1]).filter(|&knee| knee > most_sequences);
        Shape { most_sequences, knee }
    }

    fn coefficients(self, values: &[f64]) -> ProbeCoefficients {
        ProbeCoefficients {
            iteration: values[0],
            chunks: values[1],
            sequence: values[2],
            kv_token: values[3],
            prompt_token: values[4],
            pairs: values[5],
            request: values[6],
            beyond: self.knee.zip(values.get(7).copied()),
            most_sequences: self.most_sequences,
        }
    }
}

/// Searches; the coefficients, each by name, and whether the search came to an end.
pub(super) fn search(
    loops: &[Loop],
    spec: &EngineSpec,
) -> Result<(ProbeCoefficients, Vec<Found>, bool), FitError> {
    let shape = Shape::of(loops);
    let mut values = start(loops, shape);
    let errors = |values: &[f64]| errors(loops, spec, &shape.coefficients(values));
    if let Some(at) =
        simulated(loops, spec, &shape.coefficients(&values)).iter().position(Option::is_none)
    {
        return Err(FitError::NeverFits(loops[at].cell));
    }
    let (mut weights, mut before, mut still) = ([1.0; 2], errors(&values), false);
    for _ in 0..ROUNDS {
        let parameters: Vec<Parameter> = NAMES
            .iter()
            .zip(&values)
            .map(|(name, &at)| Parameter { name, low: at / REACH, prior: at, high: at * REACH })
            .collect();
        let found = fit(&parameters, &values, 2, |values| {
            weighted(&errors(values), weights.map(|weight| weight * STRENGTH))
        });
        values = found.values;
        let now = errors(&values);
        let moved: f64 = now.iter().zip(&before).map(|(a, b)| (a - b).abs()).sum();
        still = moved / (now.len() as f64) < STILL;
        let next = weigh(&now);
        let same = next.iter().zip(weights).all(|(a, b)| (a / b - 1.0).abs() < 0.1);
        (before, weights) = (now, next);
        if still && same {
            break;
        }
    }
    let spreads = spreads(&values, &before, weights, errors);
    let found = NAMES.iter().zip(values.iter().zip(spreads)).map(|(name, (&value, spread))| {
        let by = libm::exp(Z95 * spread);
        let interval = (spread < UNKNOWN).then_some((value / by, value * by));
        Found { name, value, interval }
    });
    Ok((shape.coefficients(&values), found.collect(), still))
}

/// What a first look at the cells suggests.
fn start(loops: &[Loop], shape: Shape) -> Vec<f64> {
    let middle = |times: &[f64]| times.get(times.len() / 2).copied();
    let lanes = |one: &Loop| one.lanes.len() as f64;
    let input = |one: &Loop| f64::from(one.lengths.0);
    let cold: Vec<&Loop> = loops.iter().filter(|one| one.prefix == 0).collect();
    let least = |of: &dyn Fn(&Loop) -> f64| cold.iter().map(|one| of(one)).fold(f64::MAX, f64::min);
    let most = |of: &dyn Fn(&Loop) -> f64| cold.iter().map(|one| of(one)).fold(0.0, f64::max);
    // The steepest rise between two cells that are `apart` and differ in nothing else.
    let rise = |same: &dyn Fn(&Loop) -> f64,
                of: &dyn Fn(&Loop) -> f64,
                time: &dyn Fn(&Loop) -> Option<f64>,
                at: f64| {
        let row: Vec<(f64, f64)> = cold
            .iter()
            .filter(|one| same(one) <= at * 1.1 && same(one) >= at * 0.9)
            .filter_map(|one| Some((of(one), time(one)?)))
            .collect();
        let low = row.iter().copied().min_by(|a, b| a.0.total_cmp(&b.0))?;
        let high = row.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0))?;
        (high.0 > low.0).then(|| (high.1 - low.1) / (high.0 - low.0))
    };
    let tpot = |one: &Loop| middle(&one.tpot);
    let ttft = |one: &Loop| middle(&one.ttft);
    let iteration = loops.iter().filter_map(tpot).fold(f64::MAX, f64::min);
    let sequence = rise(&input, &lanes, &tpot, least(&input)).unwrap_or(0.0).max(iteration * 1e-4);
    let many = most(&lanes);
    let kv = rise(&lanes, &input, &tpot, many).unwrap_or(0.0) / many;
    let token = rise(&lanes, &input, &ttft, least(&lanes)).unwrap_or(0.0).max(iteration * 1e-5);
    let first = least(&|one| ttft(one).unwrap_or(f64::MAX));
    // Attention is taken for a tenth of the longest prompt.
    let pairs = 0.1 * token * 2.0 * 1_024.0 / most(&input);
    let request = (first - iteration - token * least(&input)) / 2.0;
    let mut values = vec![
        iteration,
        iteration * 0.1,
        sequence,
        kv.max(iteration * 1e-8),
        token,
        pairs,
        request.max(iteration * 0.01),
    ];
    values.extend(shape.knee.map(|_| token));
    values
}

fn simulated(
    loops: &[Loop],
    spec: &EngineSpec,
    coefficients: &ProbeCoefficients,
) -> Vec<Option<Times>> {
    let Ok(step_time) = coefficients.step_time() else { return vec![None; loops.len()] };
    let (step_time, host) = (Arc::new(step_time), Span::from_secs_f64(coefficients.request));
    loops.par_iter().map(|one| simulate(spec, &step_time, host, one)).collect()
}

/// Of each cell the errors of the times to the first token and between tokens.
fn errors(loops: &[Loop], spec: &EngineSpec, coefficients: &ProbeCoefficients) -> Vec<f64> {
    let times = simulated(loops, spec, coefficients);
    let of = |(one, times): (&Loop, Option<Times>)| match times {
        Some(times) => [error(&times.ttft, &one.ttft), error(&times.tpot, &one.tpot)],
        // No search goes on from there.
        None => [10.0; 2],
    };
    loops.iter().zip(times).flat_map(of).collect()
}

/// The mean of those logarithms of simulated over measured that lie within the shortest half of all
/// or beside it by no more than its length (one step of reweighting from the shortest half: P. J.
/// Rousseeuw, A. M. Leroy, "Robust Regression and Outlier Detection", 1987, ch. 4); both times are in
/// rising order.
fn error(simulated: &[f64], measured: &[f64]) -> f64 {
    let mut logs: Vec<f64> =
        simulated.iter().zip(measured).map(|(s, m)| libm::log(s.max(1e-12) / m)).collect();
    logs.sort_by(f64::total_cmp);
    let length = |half: &[f64]| half[half.len() - 1] - half[0];
    let halves = logs.windows(logs.len().div_ceil(2).max(1));
    let Some(half) = halves.min_by(|a, b| length(a).total_cmp(&length(b))) else { return 0.0 };
    let (from, to) = (half[0] - length(half), half[half.len() - 1] + length(half));
    let near = logs.iter().filter(|&&log| (from..=to).contains(&log));
    near.clone().sum::<f64>() / near.count() as f64
}

fn weighted(errors: &[f64], weights: [f64; 2]) -> Vec<f64> {
    errors.iter().zip(weights.iter().cycle()).map(|(error, weight)| error * weight).collect()
}

/// How much each of the two times counts, the worse measured one less.
fn weigh(errors: &[f64]) -> [f64; 2] {
    let size = |kind: usize| {
        let all: Vec<f64> = errors.iter().skip(kind).step_by(2).map(|error| error.abs()).collect();
        (all.iter().sum::<f64>() / all.len().max(1) as f64).max(LEAST_ERROR)
    };
    let sizes = [size(0), size(1)];
    let least = sizes[0].min(sizes[1]);
    sizes.map(|size| (least / size).max(1.0 / MOST_WEIGHT))
}

/// Standard errors of the logarithms of the coefficients, from the curvature of the squares.
fn spreads(
    values: &[f64],
    errors_here: &[f64],
    weights: [f64; 2],
    errors: impl Fn(&[f64]) -> Vec<f64>,
) -> Vec<f64> {
    let columns: Vec<DVector<f64>> = (0..values.len())
        .map(|at| {
            let moved = |by: f64| {
                let mut moved = values.to_vec();
                moved[at] *= by;
                DVector::from_vec(weighted(&errors(&moved), weights))
            };
            (moved(1.0 + NUDGE) - moved(1.0 / (1.0 + NUDGE))) / (2.0 * libm::log(1.0 + NUDGE))
        })
        .collect();
    let jacobian = DMatrix::from_columns(&columns);
    let here = weighted(errors_here, weights);
    let free = here.len().saturating_sub(values.len()).max(1) as f64;
    let variance = here.iter().map(|error| error * error).sum::<f64>() / free;
    let variance = variance.max(LEAST_ERROR * LEAST_ERROR);
    let curvature = jacobian.transpose() * &jacobian;
    // Keeps a direction that nothing depends on from being no number; its error is huge anyway.
    let curvature = curvature + DMatrix::identity(values.len(), values.len()) * 1e-9;
    match curvature.try_inverse() {
        Some(inverse) => inverse.diagonal().iter().map(|one| libm::sqrt(one * variance)).collect(),
        None => vec![f64::INFINITY; values.len()],
    }
}

/// Each cell beside what the coefficients make of it.
pub(super) fn compare(
    loops: &[Loop],
    spec: &EngineSpec,
    coefficients: &ProbeCoefficients,
) -> Vec<CellFit> {
    let middle = |times: &[f64]| times.get(times.len() / 2).copied();
    let times = simulated(loops, spec, coefficients);
    let cell = |(one, times): (&Loop, Option<Times>)| {
        let times = times?;
        let share = |log: f64| libm::exp(log) - 1.0;
        let has_gaps = !one.tpot.is_empty();
        Some(CellFit {
            cell: one.cell,
            purpose: one.purpose.clone(),
            lengths: one.lengths,
            concurrency: one.lanes.len() as u32,
            ttft: (middle(&one.ttft)?, middle(&times.ttft)?),
            tpot: middle(&one.tpot).zip(middle(&times.tpot)),
            errors: (
                share(error(&times.ttft, &one.ttft)),
                has_gaps.then(|| share(error(&times.tpot, &one.tpot))),
            ),
        })
    };
    loops.iter().zip(times).filter_map(cell).collect()
}
