//! The series against what was counted without it: kinds of task against the whole system in each
//! window, and sums over windows against the totals of the measured time.
//!
//! Where the measured time begins or ends within a window, the total lies between the sum of the
//! windows inside and that of all that overlap; otherwise it is that sum. What policies did has totals
//! of the tasks that arrived after the warm-up: without one they are the sums of all windows and of
//! what came after the last, with one they are at most those from its end on.

use crate::metrics::{ModelWindow, Parts, PoolWindow, RemoteWindow, Series, TaskActs, ToolWindow};
use crate::outcome::{ModelOutcome, Outcome, PoolOutcome, RemoteOutcome, TaskOutcome};
use crate::scenario::Scenario;
use std::ops::Range;

/// The windows of the measured time.
struct Measured {
    /// Those that lie in it.
    inside: Range<usize>,
    /// Those that overlap with it.
    overlapping: Range<usize>,
    /// Whole ones that end in it.
    ending: Range<usize>,
    /// Whether all of the run before it counts, too.
    from_the_start: bool,
}

impl Measured {
    fn of(scenario: &Scenario, series: &Series) -> Measured {
        let width = series.width.0.max(1);
        let (from, to) = (scenario.warm_up.0, scenario.horizon.0);
        let at = |window: u64| window.min(series.windows.len() as u64) as usize;
        Measured {
            inside: at(from.div_ceil(width))..at(to.div_ceil(width)),
            overlapping: at(from / width)..at(to.div_ceil(width)),
            ending: at(from / width)..at(to / width),
            from_the_start: from == 0,
        }
    }

    /// Whether a total fits its windows, by a count of theirs.
    fn fits<W>(&self, windows: &[W], total: u128, of: impl Fn(&W) -> u128) -> bool {
        let sum = |range: &Range<usize>| {
            windows.get(range.clone()).unwrap_or_default().iter().map(&of).sum::<u128>()
        };
        sum(&self.inside) <= total && total <= sum(&self.overlapping)
    }

    /// Whether totals of the tasks that count fit what windows and the rest after them have.
    fn counts<W, const N: usize>(
        &self,
        (windows, rest): (&[W], &[W]),
        totals: [u64; N],
        of: impl Fn(&W) -> [u64; N],
    ) -> bool {
        let since = windows.get(self.overlapping.start..).unwrap_or_default();
        let mut sums = [0; N];
        for counts in since.iter().chain(rest).map(of) {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        if self.from_the_start {
            totals == sums
        } else {
            totals.iter().zip(sums).all(|(&total, sum)| total <= sum)
        }
    }
}

/// Everything that does not add up, in words; `rest` is what happened after the last window.
pub(super) fn findings(scenario: &Scenario, outcome: &Outcome, rest: &Parts) -> Vec<String> {
    let series = &outcome.series;
    let parts = &series.parts;
    if parts.tasks.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let expected = scenario.horizon.0.div_ceil(series.width.0.max(1));
    if series.windows.len() as u64 != expected {
        found.push(format!("{} windows, where there are {expected}", series.windows.len()));
    }
    for (number, window) in series.windows.iter().enumerate() {
        let tasks = || parts.tasks.iter().filter_map(|windows| windows.get(number));
        let ended: u64 = tasks().map(|task| task.ended - task.rejected).sum();
        let succeeded: u64 = tasks().map(|task| task.latency.count()).sum();
        if (ended, succeeded) != (window.finished, window.succeeded) {
            found.push(format!(
                "window {number}: {ended} tasks of all kinds ended, {succeeded} well, but {window:?}"
            ));
        }
    }
    let measured = Measured::of(scenario, series);
    for ((spec, windows), task) in scenario.tasks.iter().zip(&parts.tasks).zip(&outcome.tasks) {
        let inside = windows.get(measured.inside.clone()).unwrap_or_default();
        if inside.iter().map(|w| w.latency.count()).sum::<u64>() > task.completed {
            found.push(format!("{}: more successes in windows than in all", spec.name));
        }
    }
    for ((spec, windows), pool) in scenario.pools.iter().zip(&parts.pools).zip(&outcome.pools) {
        let most = u128::from(spec.replicas) * u128::from(series.width.0);
        if !pool_adds_up(&measured, windows, pool) || windows.iter().any(|w| w.busy > most) {
            found.push(format!("{}: windows do not add up to {pool:?}", spec.name));
        }
    }
    let remotes = scenario.remotes.iter().zip(&parts.remotes).zip(&outcome.remotes);
    for ((spec, windows), remote) in remotes {
        if !remote_adds_up(&measured, windows, remote) {
            found.push(format!("{}: windows do not add up to {remote:?}", spec.name));
        }
    }
    found.extend(acts(scenario, outcome, rest, &measured));
    found
}

/// What policies did, by model, kind of task and tool.
fn acts(scenario: &Scenario, outcome: &Outcome, rest: &Parts, measured: &Measured) -> Vec<String> {
    let parts = &outcome.series.parts;
    let mut found = Vec::new();
    for (at, (spec, model)) in scenario.models.iter().zip(&outcome.models).enumerate() {
        let &ModelOutcome { calls, retries, hedges, fallbacks, .. } = model;
        let totals = [calls, retries, hedges, fallbacks];
        let of = |w: &ModelWindow| [w.answered, w.retries, w.hedges, w.fallbacks];
        if !measured.counts(of_part(at, &parts.models, &rest.models), totals, of) {
            found.push(format!("{}: windows of calls do not add up to {totals:?}", spec.name));
        }
    }
    for (at, (spec, task)) in scenario.tasks.iter().zip(&outcome.tasks).enumerate() {
        let &TaskOutcome { escalations, exact_hits, semantic_hits, rungs, .. } = task;
        let of = |acts: TaskActs| {
            let [a, b, c, d, e] = acts.rungs;
            [acts.escalations, acts.exact_hits, acts.semantic_hits, a, b, c, d, e]
        };
        let totals = of(TaskActs { escalations, exact_hits, semantic_hits, rungs });
        if !measured.counts(of_part(at, &parts.tasks, &rest.tasks), totals, |w| of(w.acts)) {
            found.push(format!("{}: windows of acts do not add up to {totals:?}", spec.name));
        }
    }
    for (at, (spec, tool)) in scenario.tools.iter().zip(&outcome.tools).enumerate() {
        let of = |w: &ToolWindow| [w.cache_hits];
        if !measured.counts(of_part(at, &parts.tools, &rest.tools), [tool.cache_hits], of) {
            found.push(format!("{}: windows do not add up to {tool:?}", spec.name));
        }
    }
    found
}

/// The windows of one part, and the rest.
fn of_part<'a, W>(at: usize, windows: &'a [Vec<W>], rest: &'a [Vec<W>]) -> (&'a [W], &'a [W]) {
    let of = |all: &'a [Vec<W>]| all.get(at).map(Vec::as_slice).unwrap_or_default();
    (of(windows), of(rest))
}

fn pool_adds_up(measured: &Measured, windows: &[PoolWindow], pool: &PoolOutcome) -> bool {
    let ending = || windows.get(measured.ending.clone()).unwrap_or_default().iter();
    let samples = ending().fold((0, 0), |sum, w| (sum.0 + w.kv_blocks_used, sum.1 + w.running));
    let opens: u64 = windows.iter().map(|w| w.breakers.opens).sum();
    let counts = &pool.measured;
    samples == (pool.kv_used_samples, pool.running_samples)
        && measured.fits(windows, counts.busy, |w| w.busy)
        && measured.fits(windows, counts.preemptions.into(), |w| w.preemptions.into())
        && opens <= pool.breaker_opens
}

fn remote_adds_up(measured: &Measured, windows: &[RemoteWindow], remote: &RemoteOutcome) -> bool {
    let opens: u64 = windows.iter().map(|w| w.breakers.opens).sum();
    let usage = &remote.measured;
    let refused = |w: &RemoteWindow| w.rate_limited + w.overloaded + w.too_long + w.not_eligible;
    measured.fits(windows, usage.begun.into(), |w| w.begun.into())
        && measured.fits(windows, usage.failed.into(), |w| w.failed.into())
        && measured.fits(windows, usage.refused.iter().sum::<u64>().into(), |w| refused(w).into())
        && measured.fits(windows, usage.billed.input.into(), |w| w.input_tokens.into())
        && measured
            .fits(windows, usage.billed.cached_input.into(), |w| w.cached_input_tokens.into())
        && opens <= remote.breaker_opens
}
