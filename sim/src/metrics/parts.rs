//! What happened in each window by part of the system: by pool, remote, tool, model, kind of task
//! and spend limit.
//!
//! Every list has one entry per part in the order of the scenario, and each part as many windows as
//! [`super::Series::windows`]. A field is either a state at the end of a window or a count of what
//! happened in it; summed over replications both are sums. Divide a state by the number of
//! replications; a ratio of two sums needs no dividing.
//!
//! As everywhere at one instant, what ends in an engine at the very end of a window is in it, and what
//! else happens then is in the next one ([`crate::event`]).
//!
//! A series of very many windows or parts ([`MOST_CELLS`]) is kept of the whole system alone: all
//! lists but that of the limits are empty then, and no limit has windows.
//!
//! Deliberately absent: time-outs and calls shed by admission, of which there are totals by model;
//! places taken over time, whose number at the end of a window is here; refusals by a tenant's plan.

use super::BandCounts;
use crate::units::Time;
use std::ops::AddAssign;

/// Windows times parts up to which the series is kept by part: 240 windows of 273 parts, or 10,000
/// windows of six. A cell takes about a hundred bytes, and a few more for each band of latency that
/// is filled, so a replication holds some ten megabytes at most.
pub const MOST_CELLS: u64 = 1 << 16;

/// The series by part of the system.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Parts {
    /// One per `Scenario::pools`.
    pub pools: Vec<Vec<PoolWindow>>,
    /// One per `Scenario::remotes`.
    pub remotes: Vec<Vec<RemoteWindow>>,
    /// One per `Scenario::tools`.
    pub tools: Vec<Vec<ToolWindow>>,
    /// One per `Scenario::models`.
    pub models: Vec<Vec<ModelWindow>>,
    /// One per `Scenario::tasks`; nothing happens to those that are merely parts of others.
    pub tasks: Vec<Vec<TaskWindow>>,
    /// One per `Scenario::spend_limits`.
    pub limits: Vec<LimitSeries>,
}

impl Parts {
    /// Adds another replication's, window by window; empty ones take what it has.
    pub fn merge(&mut self, other: &Parts) {
        add(&mut self.pools, &other.pools);
        add(&mut self.remotes, &other.remotes);
        add(&mut self.tools, &other.tools);
        add(&mut self.models, &other.models);
        add(&mut self.tasks, &other.tasks);
        self.limits.resize(self.limits.len().max(other.limits.len()), LimitSeries::default());
        self.limits.iter_mut().zip(&other.limits).for_each(|(sum, more)| sum.merge(more));
    }
}

/// Adds windows of several parts.
fn add<W>(sum: &mut Vec<Vec<W>>, more: &[Vec<W>])
where
    W: Clone + Default + for<'a> AddAssign<&'a W>,
{
    sum.resize(sum.len().max(more.len()), Vec::new());
    for (sum, more) in sum.iter_mut().zip(more) {
        sum.resize(sum.len().max(more.len()), W::default());
        sum.iter_mut().zip(more).for_each(|(sum, window)| *sum += window);
    }
}

/// One window of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PoolWindow {
    /// Requests waiting in its engines' queues at its end.
    pub waiting: u64,
    /// Requests running there at its end.
    pub running: u64,
    /// Replicas without a place for one more sequence (`max_num_seqs`) at its end.
    pub full_replicas: u64,
    /// KV blocks in use at its end.
    pub kv_blocks_used: u64,
    /// KV blocks there are, null blocks left out.
    pub kv_blocks: u64,
    /// Preemptions in it.
    pub preemptions: u64,
    /// Requests refused in it because a queue was full.
    pub overloaded: u64,
    /// Time in it during which iterations ran, picoseconds, summed over replicas: utilisation is
    /// this over replicas times width.
    pub busy: u128,
    /// The circuit breakers before it.
    pub breakers: BreakerWindow,
}

impl PoolWindow {
    /// This reading of the whole run so far as a window that began at an earlier one.
    #[must_use]
    pub fn since(&self, earlier: &PoolWindow) -> PoolWindow {
        PoolWindow {
            preemptions: self.preemptions - earlier.preemptions,
            overloaded: self.overloaded - earlier.overloaded,
            busy: self.busy - earlier.busy,
            breakers: self.breakers.since(&earlier.breakers),
            ..*self
        }
    }
}

impl AddAssign<&PoolWindow> for PoolWindow {
    fn add_assign(&mut self, other: &PoolWindow) {
        self.waiting += other.waiting;
        self.running += other.running;
        self.full_replicas += other.full_replicas;
        self.kv_blocks_used += other.kv_blocks_used;
        self.kv_blocks += other.kv_blocks;
        self.preemptions += other.preemptions;
        self.overloaded += other.overloaded;
        self.busy += other.busy;
        self.breakers += &other.breakers;
    }
}

/// One window of the circuit breakers before one backend, all models together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BreakerWindow {
    /// Breakers open or half-open at its end. One whose wait is over stays open until a call asks.
    pub not_closed: u64,
    /// Openings in it.
    pub opens: u64,
    /// Attempts refused in it.
    pub refused: u64,
}

impl BreakerWindow {
    fn since(&self, earlier: &BreakerWindow) -> BreakerWindow {
        BreakerWindow {
            not_closed: self.not_closed,
            opens: self.opens - earlier.opens,
            refused: self.refused - earlier.refused,
        }
    }
}

impl AddAssign<&BreakerWindow> for BreakerWindow {
    fn add_assign(&mut self, other: &BreakerWindow) {
        self.not_closed += other.not_closed;
        self.opens += other.opens;
        self.refused += other.refused;
    }
}

/// One window of one remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RemoteWindow {
    /// Attempts waiting for a place at its end.
    pub waiting: u64,
    /// Attempts that have a place at its end.
    pub running: u64,
    /// Attempts that got a place in it.
    pub begun: u64,
    /// Attempts that had a place and ended in a server error in it.
    pub failed: u64,
    /// Attempts that its rate limits refused in it.
    pub rate_limited: u64,
    /// Attempts refused in it because the queue was full.
    pub overloaded: u64,
    /// Attempts refused in it because prompt and answer do not fit.
    pub too_long: u64,
    /// Attempts refused in it because their user's device cannot run it.
    pub not_eligible: u64,
    /// Prompt tokens billed to attempts that left in it.
    pub input_tokens: u64,
    /// Those of them that the provider's prompt cache had.
    pub cached_input_tokens: u64,
    /// The circuit breakers before it.
    pub breakers: BreakerWindow,
}

impl RemoteWindow {
    /// This reading of the whole run so far as a window that began at an earlier one.
    #[must_use]
    pub fn since(&self, earlier: &RemoteWindow) -> RemoteWindow {
        RemoteWindow {
            waiting: self.waiting,
            running: self.running,
            begun: self.begun - earlier.begun,
            failed: self.failed - earlier.failed,
            rate_limited: self.rate_limited - earlier.rate_limited,
            overloaded: self.overloaded - earlier.overloaded,
            too_long: self.too_long - earlier.too_long,
            not_eligible: self.not_eligible - earlier.not_eligible,
            input_tokens: self.input_tokens - earlier.input_tokens,
            cached_input_tokens: self.cached_input_tokens - earlier.cached_input_tokens,
            breakers: self.breakers.since(&earlier.breakers),
        }
    }
}

impl AddAssign<&RemoteWindow> for RemoteWindow {
    fn add_assign(&mut self, other: &RemoteWindow) {
        self.waiting += other.waiting;
        self.running += other.running;
        self.begun += other.begun;
        self.failed += other.failed;
        self.rate_limited += other.rate_limited;
        self.overloaded += other.overloaded;
        self.too_long += other.too_long;
        self.not_eligible += other.not_eligible;
        self.input_tokens += other.input_tokens;
        self.cached_input_tokens += other.cached_input_tokens;
        self.breakers += &other.breakers;
    }
}

/// One window of one tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ToolWindow {
    /// Uses waiting for a place at its end.
    pub waiting: u64,
    /// Uses that have a place at its end.
    pub running: u64,
    /// Uses refused in it because the queue was full.
    pub overloaded: u64,
    /// Uses answered in it from its cache, which take no place.
    pub cache_hits: u64,
}

impl ToolWindow {
    /// This reading of the whole run so far as a window that began at an earlier one.
    #[must_use]
    pub fn since(&self, earlier: &ToolWindow) -> ToolWindow {
        ToolWindow {
            overloaded: self.overloaded - earlier.overloaded,
            cache_hits: self.cache_hits - earlier.cache_hits,
            ..*self
        }
    }
}

impl AddAssign<&ToolWindow> for ToolWindow {
    fn add_assign(&mut self, other: &ToolWindow) {
        self.waiting += other.waiting;
        self.running += other.running;
        self.overloaded += other.overloaded;
        self.cache_hits += other.cache_hits;
    }
}

/// One window of the calls to one model; those of tasks that arrived in the warm-up count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ModelWindow {
    /// Calls that it answered in it, those of escalations, shadows and the background among them.
    pub answered: u64,
    /// Further attempts after failures, by the instant at which the failure was known.
    pub retries: u64,
    /// Second attempts beside slow ones, sent in it.
    pub hedges: u64,
    /// Calls that went on to a fallback from here in it.
    pub fallbacks: u64,
}

impl AddAssign<&ModelWindow> for ModelWindow {
    fn add_assign(&mut self, other: &ModelWindow) {
        self.answered += other.answered;
        self.retries += other.retries;
        self.hedges += other.hedges;
        self.fallbacks += other.fallbacks;
    }
}

/// One window of one kind of task, by the instants at which tasks ended and their policies acted;
/// those that arrived in the warm-up count.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TaskWindow {
    /// Tasks that succeeded, failed, were refused or were abandoned in it.
    pub ended: u64,
    /// Those of them that were refused: nothing of them was let in anywhere.
    pub rejected: u64,
    /// From arrival to end, of those that succeeded; `latency.count()` is their number.
    pub latency: BandCounts,
    /// What policies did for its tasks in it.
    pub acts: TaskActs,
}

impl AddAssign<&TaskWindow> for TaskWindow {
    fn add_assign(&mut self, other: &TaskWindow) {
        self.ended += other.ended;
        self.rejected += other.rejected;
        self.latency.merge(&other.latency);
        self.acts += &other.acts;
    }
}

/// What policies did for the tasks of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TaskActs {
    /// Calls made again because of the confidence of an answer.
    pub escalations: u64,
    /// Calls answered from the exact cache.
    pub exact_hits: u64,
    /// Calls answered from the semantic cache, the ladder's rung of cached answers left out.
    pub semantic_hits: u64,
    /// Uses of the ladder's rungs: shorter context, smaller model, cached answer, partial result,
    /// refine.
    pub rungs: [u64; 5],
}

impl AddAssign<&TaskActs> for TaskActs {
    fn add_assign(&mut self, other: &TaskActs) {
        self.escalations += other.escalations;
        self.exact_hits += other.exact_hits;
        self.semantic_hits += other.semantic_hits;
        self.rungs.iter_mut().zip(other.rungs).for_each(|(sum, more)| *sum += more);
    }
}

/// A spend limit over time.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LimitSeries {
    /// When nothing was left of it for the first time (for any tenant, where each has its own), one
    /// per replication; `None`: never. Bookings in the drain count.
    pub used_up: Vec<Option<Time>>,
    /// Submissions of tasks that it refused or sent to its smaller model, by window. Each limit
    /// that is used up counts a submission, up to the first one that refuses it.
    pub acted: Vec<u64>,
}

impl LimitSeries {
    fn merge(&mut self, other: &LimitSeries) {
        self.used_up.extend_from_slice(&other.used_up);
        self.acted.resize(self.acted.len().max(other.acted.len()), 0);
        self.acted.iter_mut().zip(&other.acted).for_each(|(sum, more)| *sum += more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replications_of_different_lengths_add_up_window_by_window() {
        let pool = |waiting| PoolWindow { waiting, busy: 5, ..PoolWindow::default() };
        let limit = |used_up, acted| LimitSeries { used_up: vec![used_up], acted };
        let of =
            |pools, limit| Parts { pools: vec![pools], limits: vec![limit], ..Parts::default() };
        let short = of(vec![pool(1)], limit(None, vec![3]));
        let long = of(vec![pool(2), pool(4)], limit(Some(Time(7)), vec![1, 1]));
        let mut sum = Parts::default();
        sum.merge(&short);
        sum.merge(&long);
        assert_eq!(sum.pools, [vec![PoolWindow { busy: 10, ..pool(3) }, pool(4)]]);
        assert_eq!(sum.limits[0].used_up, [None, Some(Time(7))]);
        assert_eq!(sum.limits[0].acted, [4, 1]);
        let mut other_way = long;
        other_way.merge(&short);
        assert_eq!(other_way.pools, sum.pools);
    }
}
