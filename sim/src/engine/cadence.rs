//! How often an iteration may carry prefill (`prefill_schedule_interval`).
//!
//! With an interval of N, once an iteration carried prefill the next N − 1 carry none while anybody
//! decodes. An engine that could not admit everybody when prefill was last allowed does not hold
//! back at all, so that the backlog does not grow for the interval's sake.
//!
//! Invariant: with an interval of 1 nothing is ever held back.
//!
//! Deliberately absent: who is held back (see `scheduler` and `slow_path`).

/// Where an engine is between two prefills.
#[derive(Clone, Debug)]
pub(super) struct Cadence {
    interval: u64,
    /// Iterations with tokens since the last one that carried prefill.
    since: u64,
    /// Somebody was left waiting when prefill was last allowed.
    capacity_bound: bool,
    /// Whether the iteration under way holds prefill back.
    pub(super) holds: bool,
    /// Whether it carries prefill.
    pub(super) prefills: bool,
    /// Whether it carries any tokens.
    pub(super) executes: bool,
}

impl Cadence {
    /// Nothing is held back before the first prefill.
    pub(super) fn new(interval: u32) -> Cadence {
        Cadence {
            interval: interval.into(),
            since: interval.into(),
            capacity_bound: false,
            holds: false,
            prefills: false,
            executes: false,
        }
    }

    /// Whether anything can ever be held back.
    pub(super) fn applies(&self) -> bool {
        self.interval > 1
    }

    /// An iteration is about to be scheduled; `decodes`: somebody runs whose prompt is computed.
    pub(super) fn begin(&mut self, decodes: bool) {
        self.holds = decodes && !self.capacity_bound && self.since + 1 < self.interval;
        self.prefills = false;
    }

    /// An iteration had its chance to admit, and so many are left waiting.
    pub(super) fn admitted(&mut self, waiting: usize) {
        if !self.holds {
            self.capacity_bound = waiting > 0;
        }
    }

    /// Iterations, the one just scheduled included, that may pass before the decision to hold back
    /// comes out differently.
    pub(super) fn left(&self) -> u64 {
        if self.holds { self.interval - 1 - self.since } else { u64::MAX }
    }

    /// `iterations` like the one just scheduled have passed.
    pub(super) fn pass(&mut self, iterations: u64) {
        if self.prefills {
            self.since = 0;
        } else if self.executes {
            self.since += iterations;
        }
    }
}
