//! What happened in each window of time, for charts, warm-up and stability.

use super::Parts;
use crate::units::{Money, Span};
use std::ops::AddAssign;

/// Counts of consecutive windows of equal width, from the start of the run.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Series {
    /// Width of a window; the last one is shorter where they do not fill the horizon.
    pub width: Span,
    /// The windows, without gaps, up to the horizon.
    pub windows: Vec<Window>,
    /// The same by part of the system, unless there are very many windows.
    pub parts: Parts,
}

/// One window of the whole system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Window {
    /// Requests that arrived in it.
    pub arrived: u64,
    /// Requests that finished in it.
    pub finished: u64,
    /// Those of them that ended well.
    pub succeeded: u64,
    /// Attempts offered to backends in it, by tasks of several steps or under a policy.
    pub attempts: u64,
    /// Sum over the finished of their end-to-end latency, picoseconds.
    pub latency_sum: u128,
    /// Requests waiting in a queue of an engine, a remote or a tool at its end.
    pub waiting: u64,
    /// Requests running there at its end.
    pub running: u64,
    /// Calls and users at its end that wait to ask again.
    pub paused: u64,
    /// KV blocks in use at its end, over all replicas.
    pub kv_blocks_used: u64,
    /// KV blocks there are, null blocks left out, over all replicas.
    pub kv_blocks: u64,
    /// Preemptions of the calls that ended in it.
    pub preemptions: u64,
    /// Metered spend booked in it, from the end of the warm-up to the horizon: everything but rent.
    pub metered: Money,
}

impl AddAssign<&Window> for Window {
    fn add_assign(&mut self, other: &Window) {
        self.arrived += other.arrived;
        self.finished += other.finished;
        self.succeeded += other.succeeded;
        self.attempts += other.attempts;
        self.latency_sum += other.latency_sum;
        self.waiting += other.waiting;
        self.paused += other.paused;
        self.running += other.running;
        self.kv_blocks_used += other.kv_blocks_used;
        self.kv_blocks += other.kv_blocks;
        self.preemptions += other.preemptions;
        self.metered += other.metered;
    }
}
