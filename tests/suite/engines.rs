//! Drives either engine through a workload and records what it did.

use sim::engine::reference::{ReferenceReplica, StepLog};
use sim::engine::{Ended, EngineCounts, Submission};
use sim::units::Time;

/// What the tests ask of an engine; the fast one and the reference have it.
pub trait Engine {
    fn boundary(&self) -> Time;
    fn submit(&mut self, now: Time, request: Submission);
    fn cancel(&mut self, now: Time, call: u32);
    fn complete(&mut self, now: Time, out: &mut Vec<Ended>);
    fn schedule(&mut self, now: Time, out: &mut Vec<Ended>);
    fn counts(&self) -> EngineCounts;
    fn used_blocks(&self) -> u32;
    /// What the iteration just scheduled holds; only the reference knows.
    fn step_log(&self) -> StepLog {
        StepLog::default()
    }
}

impl Engine for ReferenceReplica {
    fn boundary(&self) -> Time {
        self.boundary()
    }
    fn submit(&mut self, _now: Time, request: Submission) {
        self.submit(request);
    }
    fn cancel(&mut self, _now: Time, call: u32) {
        self.cancel(call);
    }
    fn complete(&mut self, now: Time, out: &mut Vec<Ended>) {
        self.complete(now, out);
    }
    fn schedule(&mut self, now: Time, out: &mut Vec<Ended>) {
        self.schedule(now, out);
    }
    fn counts(&self) -> EngineCounts {
        self.counts()
    }
    fn used_blocks(&self) -> u32 {
        self.used_blocks()
    }
    fn step_log(&self) -> StepLog {
        self.last_step().clone()
    }
}


/// Runs `requests` (by arrival) and `cancels` (`(instant, call)`, by instant) until the engine is
/// idle and nothing is left. At one instant: finish, cancel, arrive, schedule. `seen` is called
/// after every scheduling that started an iteration.
pub fn drive<E: Engine>(
    engine: &mut E,
    requests: Vec<Submission>,
    cancels: &[(Time, u32)],
    mut seen: impl FnMut(&E, Time),
) -> Vec<Ended> {
    let mut ended = Vec::new();
    let mut requests = requests.into_iter().peekable();
    let mut cancels = cancels.iter().peekable();
    loop {
        let arrival = requests.peek().map_or(Time::NEVER, |r| r.arrived);
        let cancel = cancels.peek().map_or(Time::NEVER, |c| c.0);
        let boundary = engine.boundary();
        let now = boundary.min(arrival).min(cancel);
        if now == Time::NEVER {
            return ended;
        }
        if boundary == now {
            engine.complete(now, &mut ended);
        }
        while let Some((_, call)) = cancels.next_if(|c| c.0 == now) {
            engine.cancel(now, *call);
        }
        while let Some(request) = requests.next_if(|r| r.arrived == now) {
            engine.submit(now, request);
        }
        if boundary == now || engine.boundary() == Time::NEVER {
            engine.schedule(now, &mut ended);
            if engine.boundary() != Time::NEVER {
                seen(engine, now);
            }
        }
    }
}
