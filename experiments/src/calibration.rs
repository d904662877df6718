//! What of a result is uncertain because engines were calibrated, not measured here.
//!
//! A calibration says how far its times err, as half-widths of 90 % intervals: logarithms of the factor
//! by which iterations, and the host's work on requests, take longer or shorter than predicted. Times
//! of one group of pools err alike; groups err on their own. So the scenario is run again with each
//! group as slow as its calibration allows, and as fast, under the same random numbers; what a
//! number moves by is its interval for that group, and those of several groups add up like
//! independent errors, by squares. Two runs at the ends of a 95 % interval say more of it than
//! many at random places in between: times move results in one direction, as good as always.
//!
//! First tokens were measured to err by more than iterations do, in ways that these runs do not
//! have. So the interval of a model's TTFT is at least as wide as that.
//!
//! Invariants: the interval holds the estimate; an end at which the system is overloaded, so that the
//! number has no value, is open; nothing is random beyond the replications' own streams.
//!
//! Deliberately absent: the interval of simulation (see `summary`), which is another one and is not
//! added to this; errors of lengths, arrivals, prices and KV capacity.

use crate::CONFIDENCE;
use crate::estimate::{Distribution, Estimate, Range};
use crate::replicate::{
    Phase, Plan, Progress, ReplicateError, Replications, Runner, Sample, StopReason, replicate,
};
use crate::result::RunResult;
use crate::stability::Verdict;
use crate::summary;
use crate::warnings::Warning;
use sim::Scenario;
use sim::fleet::HostTime;
use sim::ids::PoolId;
use sim::metrics::Series;
use sim::stats::special::normal_quantile;
use sim::units::Span;

/// Confidence that the half-widths of a calibration are for.
const OF_CALIBRATION: f64 = 0.9;
/// Replications of each run at an end: they are compared with the same ones at the calibrated times,
/// under the same random numbers, so few suffice.
const REPLICATIONS: usize = 3;

/// Pools whose times rest on one calibration.
#[derive(Clone, Debug, PartialEq)]
pub struct Uncertain {
    /// The pools.
    pub pools: Vec<UncertainPool>,
}

/// How far the times of a pool may be off: half-widths of 90 % intervals, logarithms of factors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UncertainPool {
    /// The pool.
    pub pool: PoolId,
    /// Of iterations.
    pub iteration: f64,
    /// Of first tokens, and of the host's time for a request if that was not stated.
    pub first_token: f64,
    /// Whether the host's time for a request was stated, so that it does not err.
    pub host_is_stated: bool,
}

/// Which way a number gets worse, and where it cannot go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Worse when it rises, never negative.
    Burden,
    /// Worse when it falls, never negative.
    Rate,
    /// Worse when it falls, from 0 to 1.
    Share,
    /// Worse when it falls.
    Gain,
}

/// The values of a result's numbers, in the order of [`numbers`].
type Values = Vec<Option<f64>>;

/// Gives the numbers of `result` their intervals of calibration, where `found` are the replications
/// that it is of. Where that is stopped from outside, the result says so and has none.
///
/// # Errors
/// The threads could not be started.
pub(crate) fn widen(
    result: &mut RunResult,
    (scenario, found): (&Scenario, &Replications),
    uncertain: &[Uncertain],
    plan: &Plan,
    runner: &Runner<'_>,
    progress: &dyn Progress,
) -> Result<(), ReplicateError> {
    let halted = matches!(result.stopped, StopReason::Halted(_));
    if uncertain.is_empty() || halted {
        return Ok(());
    }
    let count = found.records.len().min(REPLICATIONS);
    let sample = Sample::Fixed(count as u32);
    let plan = Plan { replications: sample, steady_state: false, ..*plan };
    if is_void(result) {
        return doubt_overload(result, (scenario, found), uncertain, &plan, runner, progress);
    }
    let few = Replications { records: found.records[..count].to_vec(), ..without_series(found) };
    let base = Arm::of(scenario, &few).values;
    let mut groups = Vec::new();
    let mut overloaded = false;
    for group in uncertain {
        let mut ends = [Values::new(), Values::new()];
        for (end, sign) in ends.iter_mut().zip([-1.0, 1.0]) {
            let Some(moved) = at_end(scenario, found.removed, group, sign) else { continue };
            let Some(arm) = run_end(result, (&moved, found), &plan, runner, progress)? else {
                return Ok(());
            };
            overloaded |= arm.is_void;
            *end = arm.values;
        }
        groups.push(ends);
    }
    for (at, (number, kind)) in numbers(result).into_iter().enumerate() {
        let value_of = |values: &Values| values.get(at).copied().flatten();
        let moves = groups.iter().map(|[fast, slow]| (value_of(fast), value_of(slow)));
        number.calibration = match (number.value, value_of(&base)) {
            (Some(value), Some(base)) => Some(range(value, base, moves, kind)),
            _ => None,
        };
    }
    widen_first_tokens(result, scenario, uncertain);
    if overloaded {
        result.warnings.push(Warning::OverloadedWithinCalibration);
    }
    Ok(())
}

/// Warns where an overloaded system would carry its load with all times as short as they may be. Its
/// numbers have no interval: they depend on the horizon.
fn doubt_overload(
    result: &mut RunResult,
    (scenario, found): (&Scenario, &Replications),
    uncertain: &[Uncertain],
    plan: &Plan,
    runner: &Runner<'_>,
    progress: &dyn Progress,
) -> Result<(), ReplicateError> {
    let all = Uncertain { pools: uncertain.iter().flat_map(|group| group.pools.clone()).collect() };
    let Some(moved) = at_end(scenario, found.removed, &all, -1.0) else { return Ok(()) };
    let arm = run_end(result, (&moved, found), plan, runner, progress)?;
    if arm.is_some_and(|arm| !arm.is_void) {
        result.warnings.push(Warning::CarriedWithinCalibration);
    }
    Ok(())
}

/// Runs a scenario whose times are at an end. Where that is stopped from outside, the result says so
/// and there is nothing.
fn run_end(
    result: &mut RunResult,
    (moved, found): (&Scenario, &Replications),
    plan: &Plan,
    runner: &Runner<'_>,
    progress: &dyn Progress,
) -> Result<Option<Arm>, ReplicateError> {
    match replicate(moved, plan, runner, &AtEnds(progress)) {
        Ok(Replications { stopped: StopReason::Halted(halt), .. })
        | Err(ReplicateError::NothingFinished(halt)) => {
            result.stopped = StopReason::Halted(halt);
            result.warnings.push(Warning::CalibrationInterrupted);
            Ok(None)
        }
        Ok(arm) => Ok(Some(Arm::of(moved, &Replications { warm_up: found.warm_up, ..arm }))),
        Err(error) => Err(error),
    }
}

/// First tokens of each model as uncertain as those of its pools were measured to be, at least.
fn widen_first_tokens(result: &mut RunResult, scenario: &Scenario, uncertain: &[Uncertain]) {
    for (model, spec) in result.models.iter_mut().zip(&scenario.models) {
        let served_by = |one: &&UncertainPool| spec.pools().any(|pool| pool == one.pool);
        let pools = uncertain.iter().flat_map(|group| &group.pools).filter(served_by);
        let widest = pools.max_by(|a, b| a.first_token.total_cmp(&b.first_token));
        let Some(widest) = widest else { continue };
        let stated = match widest.host_is_stated {
            true => scenario.pools[widest.pool.index()].host.request.as_secs_f64(),
            false => 0.0,
        };
        let factor = libm::exp(at_confidence(widest.first_token));
        let ttft = &mut model.ttft;
        for number in [&mut ttft.mean, &mut ttft.p50, &mut ttft.p90, &mut ttft.p95, &mut ttft.p99] {
            let (Some(value), Some(range)) = (number.value, &mut number.calibration) else {
                continue;
            };
            let uncertain = (value - stated).max(0.0);
            let (low, high) = (value - uncertain + uncertain / factor, stated + uncertain * factor);
            range.low = range.low.map(|end| end.min(low));
            range.high = range.high.map(|end| end.max(high));
        }
    }
}

fn is_void(result: &RunResult) -> bool {
    result.stability.verdict.is_some_and(Verdict::voids_latency)
}

/// What is known of all replications together, but for their series.
fn without_series(found: &Replications) -> Replications {
    let Replications { stopped, warm_up, removed, .. } = found;
    Replications {
        records: Vec::new(),
        series: Series::default(),
        stopped: stopped.clone(),
        warm_up: *warm_up,
        removed: *removed,
    }
}

/// The scenario with a group's times at an end of their interval, the slow one where `sign` is 1;
/// `None` where an engine cannot be simulated so.
fn at_end(scenario: &Scenario, warm_up: Span, group: &Uncertain, sign: f64) -> Option<Scenario> {
    let mut moved = Scenario { warm_up, ..scenario.clone() };
    for one in &group.pools {
        let factor = |half_width: f64| libm::exp(sign * at_confidence(half_width));
        let pool = moved.pools.get_mut(one.pool.index())?;
        pool.step_time = pool.step_time.times(factor(one.iteration)).ok()?;
        if !one.host_is_stated {
            let host = factor(one.first_token);
            pool.host = HostTime {
                request: Span::from_secs_f64(pool.host.request.as_secs_f64() * host),
                prompt_token: Span::from_secs_f64(pool.host.prompt_token.as_secs_f64() * host),
            };
        }
    }
    Some(moved)
}

/// A half-width for the confidence of our intervals.
fn at_confidence(half_width: f64) -> f64 {
    let quantile = |confidence: f64| normal_quantile(f64::midpoint(1.0, confidence));
    half_width * quantile(CONFIDENCE) / quantile(OF_CALIBRATION)
}

/// All numbers that may have an interval of calibration, always in the same order.
fn numbers(result: &mut RunResult) -> Vec<(&mut Estimate, Kind)> {
    fn times(of: &mut Distribution) -> [(&mut Estimate, Kind); 5] {
        [&mut of.mean, &mut of.p50, &mut of.p90, &mut of.p95, &mut of.p99]
            .map(|estimate| (estimate, Kind::Burden))
    }
    let mut all = Vec::new();
    for task in &mut result.tasks {
        all.extend(times(&mut task.latency));
        all.extend([
            (&mut task.success_rate, Kind::Share),
            (&mut task.slo_attainment, Kind::Share),
            (&mut task.goodput, Kind::Rate),
            (&mut task.money.cost_per_success_usd, Kind::Burden),
            (&mut task.money.margin_per_task_usd, Kind::Gain),
        ]);
    }
    for model in &mut result.models {
        for of in [&mut model.ttft, &mut model.tpot, &mut model.e2e, &mut model.queue] {
            all.extend(times(of));
        }
    }
    all.extend(result.pools.iter_mut().map(|pool| (&mut pool.utilisation, Kind::Burden)));
    let spend = &mut result.spend;
    all.extend([
        (&mut spend.per_day_usd, Kind::Burden),
        (&mut spend.per_month_usd, Kind::Burden),
        (&mut spend.per_successful_task_usd, Kind::Burden),
        (&mut result.margin.per_task_usd, Kind::Gain),
        (&mut result.margin.per_day_usd, Kind::Gain),
        (&mut result.margin.per_month_usd, Kind::Gain),
    ]);
    all
}

/// What the runs at one end say.
struct Arm {
    values: Values,
    /// Whether the system is overloaded, or stuck.
    is_void: bool,
}

impl Arm {
    fn of(scenario: &Scenario, replications: &Replications) -> Arm {
        // The seed is no part of any of them.
        let mut result = summary::summarise_all(scenario, 0, replications);
        let values = numbers(&mut result).into_iter().map(|(number, _)| number.value).collect();
        Arm { values, is_void: is_void(&result) }
    }
}

/// The interval of a number with this `value`, which is `base` in the replications that were run at
/// the ends, and there, for each group, `(fast, slow)`.
fn range(
    value: f64,
    base: f64,
    moves: impl Iterator<Item = (Option<f64>, Option<f64>)>,
    kind: Kind,
) -> Range {
    let rises = kind == Kind::Burden;
    let (mut below, mut above) = (0.0, 0.0);
    let (mut open_below, mut open_above) = (false, false);
    for (fast, slow) in moves {
        let both = [fast, slow].map(|end| end.map_or(0.0, |end| end - base));
        let (down, up) = (both[0].min(both[1]).min(0.0), both[0].max(both[1]).max(0.0));
        (below, above) = (libm::hypot(below, down), libm::hypot(above, up));
        // Without a value the system is overloaded: no bound on the side that is worse.
        open_above |= if rises { slow.is_none() } else { fast.is_none() };
        open_below |= if rises { fast.is_none() } else { slow.is_none() };
    }
    let (least, most) = match kind {
        Kind::Burden | Kind::Rate => (0.0, f64::INFINITY),
        Kind::Share => (0.0, 1.0),
        Kind::Gain => (f64::NEG_INFINITY, f64::INFINITY),
    };
    Range {
        low: (!open_below).then_some((value - below).max(least)),
        high: (!open_above).then_some((value + above).min(most)),
    }
}

/// Tells whoever watches that these are no replications of the result.
struct AtEnds<'a>(&'a dyn Progress);

impl Progress for AtEnds<'_> {
    fn batch(&self, _: Phase, replications: u32, most: u32) {
        self.0.batch(Phase::Calibration, replications, most);
    }

    fn finished(&self, _: Phase) {
        self.0.finished(Phase::Calibration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_groups_add_up_by_squares_on_each_side() {
        let moves = [(Some(7.0), Some(13.0)), (Some(6.0), Some(14.0)), (Some(11.0), Some(12.0))];
        let found = range(20.0, 10.0, moves.into_iter(), Kind::Burden);
        let (low, high) = (found.low.expect("closed"), found.high.expect("closed"));
        assert!((low - 15.0).abs() < 1e-12, "{low}");
        assert!((high - (20.0 + libm::sqrt(9.0 + 16.0 + 4.0))).abs() < 1e-12, "{high}");
    }

    #[test]
    fn an_overloaded_end_is_open_where_it_is_worse() {
        let slow_fails = || std::iter::once((Some(9.0), None));
        let burden = range(10.0, 10.0, slow_fails(), Kind::Burden);
        assert_eq!((burden.low, burden.high), (Some(9.0), None));
        let gain = range(10.0, 10.0, slow_fails(), Kind::Gain);
        assert_eq!((gain.low, gain.high), (None, Some(10.0)));
    }

    #[test]
    fn what_cannot_be_is_left_out() {
        let far = || std::iter::once((Some(-90.0), Some(50.0)));
        let share = range(0.9, 0.9, far(), Kind::Share);
        assert_eq!((share.low, share.high), (Some(0.0), Some(1.0)));
        assert_eq!(range(1.0, 1.0, far(), Kind::Rate).low, Some(0.0));
        assert!(range(1.0, 1.0, far(), Kind::Gain).low.is_some_and(|low| low < -80.0));
    }

    #[test]
    fn half_widths_grow_to_the_confidence_of_results() {
        assert!((at_confidence(1.0) - 1.959_964 / 1.644_854).abs() < 1e-5);
    }
}
