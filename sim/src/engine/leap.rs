//! How many iterations may pass as one.
//!
//! While only steady decodes run and nobody can be admitted, the composition does not change and
//! the time of `n` iterations is a closed form ([`DecodePace`]). A leap ends at the least of: the
//! next end of a sequence; the first iteration whose blocks do not fit; the last iteration before the
//! time of reading a KV token changes; the last iteration in which prefill is held back from a head
//! that waits for it; and, when something arrives or is cancelled
//! meanwhile, the first iteration boundary at or after that instant.
//!
//! Observers do not cut a leap: [`Replica::used_blocks_at`] evaluates it at an instant.

use super::sequence::chunk_pairs;
use super::spec::Scheduling;
use super::step_time::{DecodePace, Work};
use super::{EngineCounts, Replica};
use crate::units::{Span, Time};

/// The pace of nothing, and of a single iteration but for its time.
const STILL: DecodePace = DecodePace { first: 0, slope: 0, ahead: u64::MAX };

/// The iterations under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) started: Time,
    /// Iterations planned; 0 when idle.
    iterations: u64,
    pace: DecodePace,
    /// The batch sits them out: they carry prefill alone.
    stands: bool,
    /// Blocks the batch took for the first iteration.
    pub(super) first_blocks: u32,
    pub(super) boundary: Time,
}

/// What was decided about an iteration, beside the tokens of explicit sequences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Blocks the batch took.
    pub(super) first_blocks: u32,
    /// Nobody who waits can be admitted before a running sequence ends.
    pub(super) head_can_wait: bool,
    /// The batch sits it out: it carries prefill alone.
    pub(super) stands: bool,
}

impl Flight {
    pub(super) fn idle() -> Flight {
        Flight {
            started: Time::ZERO,
            iterations: 0,
            pace: STILL,
            stands: false,
            first_blocks: 0,
            boundary: Time::NEVER,
        }
    }
}

impl Replica {
    /// Plans the iterations that start at `now` with what was scheduled.
    pub(super) fn take_off(&mut self, now: Time, plan: Plan) {
        let Plan { first_blocks, head_can_wait, stands } = plan;
        let pace;
        let mut iterations = 1;
        if self.explicit.is_empty() {
            pace = self.step_time.decode_pace(self.batch.count(), self.batch.kv_tokens());
            if head_can_wait {
                iterations = pace.steady(self.batch.count(), self.longest_leap(first_blocks));
                if self.queue.len() > 0 {
                    iterations = iterations.min(self.cadence.left());
                }
            }
        } else {
            pace = DecodePace { first: self.step_time.iteration(self.work(stands)).0, ..STILL };
        }
        let boundary = now.after(pace.span(iterations));
        self.flight = Flight { started: now, iterations, pace, stands, first_blocks, boundary };
    }

    /// Work of an iteration with explicit sequences.
    fn work(&self, stands: bool) -> Work {
        let mut work = Work::default();
        if !stands {
            work.decodes = self.batch.count();
            work.kv_tokens = self.batch.kv_tokens();
        }
        for &(slot, n) in &self.scheduled {
            let seq = &self.seqs[slot as usize];
            if n == 1 && seq.computed >= seq.len() {
                work.decodes += 1;
                work.kv_tokens += u64::from(seq.computed);
            } else {
                work.prefill_tokens += n;
                work.prefill_pairs += chunk_pairs(seq.computed - n, n);
            }
        }
        work
    }

    fn longest_leap(&mut self, first_blocks: u32) -> u64 {
        loop {
            let Some(end) = self.batch.first_end() else { return 1 };
            if !self.batch.is_current(0)
                && !self.seqs[end.slot() as usize].decodes_until(end.at(), end.admission())
            {
                self.batch.pop_end();
                continue;
            }
            let most = end.at() - self.batch.clock();
            // The first iteration's blocks are taken already.
            return self.batch.iterations_within(self.kv.free() + first_blocks, most);
        }
    }

    /// Something happened at `now`: the leap ends at the first boundary at or after it.
    pub(super) fn cut(&mut self, now: Time) {
        let flight = &mut self.flight;
        if flight.iterations > 1 {
            let wanted = now.since(flight.started);
            flight.iterations = flight.pace.iterations_to_reach(wanted, flight.iterations);
            flight.boundary = flight.started.after(flight.pace.span(flight.iterations));
        }
    }

    /// Applies the iterations under way to the batch and the counts.
    pub(super) fn land(&mut self) {
        let Flight { iterations, first_blocks, pace, stands, .. } = self.flight;
        if iterations > 1 {
            let blocks = self.batch.blocks_for(iterations) - u64::from(first_blocks);
            self.kv.take(blocks as u32);
            self.peak_blocks = self.peak_blocks.max(self.kv.used());
            if let Scheduling::Sglang(sglang) = &self.spec.scheduling {
                // The first was counted when it was decided.
                self.intake.pass(sglang, iterations - 1);
            }
        }
        if !stands {
            self.batch.advance(iterations);
            self.counts.scheduled_tokens += iterations * u64::from(self.batch.count());
        }
        self.cadence.pass(iterations);
        self.counts.iterations += iterations;
        self.counts.busy += u128::from(pace.span(iterations).0);
        self.flight = Flight::idle();
    }

    /// Blocks in use at `now`, while iterations are under way.
    #[must_use]
    pub fn used_blocks_at(&self, now: Time) -> u32 {
        self.kv.used() + self.blocks_begun(self.begun(now))
    }

    /// Counts up to `now`, while iterations are under way: those that have begun count, and of
    /// the one under way the time up to `now`.
    #[must_use]
    pub fn counts_at(&self, now: Time) -> EngineCounts {
        let Flight { iterations, started, boundary, stands, .. } = self.flight;
        let mut counts = self.counts();
        if iterations > 0 {
            let begun = self.begun(now);
            counts.iterations += begun;
            if !stands {
                counts.scheduled_tokens += begun * u64::from(self.batch.count());
            }
            counts.busy += u128::from(now.min(boundary).since(started).0);
            counts.evictions = self.kv.evictions_after(self.blocks_begun(begun));
        }
        counts
    }

    /// Iterations of the leap begun by `now`: those whose start is at or before it.
    fn begun(&self, now: Time) -> u64 {
        let Flight { iterations, started, pace, boundary, .. } = self.flight;
        if iterations <= 1 || now >= boundary {
            iterations
        } else {
            pace.iterations_to_reach(now.since(started) + Span(1), iterations)
        }
    }

    /// Blocks that the first `begun` iterations of the leap take, those already taken left out.
    fn blocks_begun(&self, begun: u64) -> u32 {
        if begun <= 1 {
            return 0;
        }
        self.batch.blocks_for(begun) as u32 - self.flight.first_blocks
    }
}
