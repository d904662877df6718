//! What a task waited for: its latency as a sum of causes.
//!
//! A path is carried along the steps of a task. Each instant between the start of the task and
//! the end of a step belongs to one cause; where steps run side by side, it is the path of the one
//! that was waited for. So the causes of a finished task sum to its latency, to the picosecond.
//!
//! Deliberately absent: which quantile is explained (see `experiments`).

use crate::units::{Span, Time};

/// What time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Driver {
    /// Waiting for a place in an engine or at a provider.
    Queueing = 0,
    /// From the first computation of a prompt to the first token.
    Prefill = 1,
    /// From the first token to the last.
    Decode = 2,
    /// Lost to preemption: waiting again and computing again.
    Preemption = 3,
    /// Attempts that failed, pauses between attempts and submissions, waits before hedges.
    Retries = 4,
    /// Tools, retrieval, formatting, checks that are no model calls, look-ups in caches.
    Tools = 5,
    /// Waiting for a person and their work.
    Review = 6,
    /// Waiting for sleeping capacity to wake up.
    ColdStart = 7,
    /// On the host of an engine, before the engine has the request.
    Host = 8,
}

/// Number of causes.
pub const DRIVERS: usize = 9;

/// All causes, in the order of their numbers.
pub const ALL_DRIVERS: [Driver; DRIVERS] = [
    Driver::Queueing,
    Driver::Prefill,
    Driver::Decode,
    Driver::Preemption,
    Driver::Retries,
    Driver::Tools,
    Driver::Review,
    Driver::ColdStart,
    Driver::Host,
];

/// Time by cause, from the start of a task until an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    at: Time,
    parts: [Span; DRIVERS],
}

impl Path {
    /// The path of a task that begins.
    #[must_use]
    pub fn starting(at: Time) -> Path {
        Path { at, parts: [Span::ZERO; DRIVERS] }
    }

    /// Where the path began.
    #[must_use]
    pub fn start(&self) -> Time {
        let spent = self.parts.iter().fold(Span::ZERO, |sum, &part| sum + part);
        Time(self.at.0 - spent.0)
    }

    /// Where the path has got to.
    #[must_use]
    pub fn at(&self) -> Time {
        self.at
    }

    /// Time by cause; sums to the time since the start.
    #[must_use]
    pub fn parts(&self) -> [Span; DRIVERS] {
        self.parts
    }

    /// Spends the time until `until` on a cause; an instant already passed changes nothing.
    pub fn spend(&mut self, driver: Driver, until: Time) {
        if until > self.at {
            self.parts[driver as usize] += until - self.at;
            self.at = until;
        }
    }

    /// Spends the time of an attempt: waiting, then its prompt and its answer, each less what
    /// preemption took of it.
    pub fn run(
        &mut self,
        scheduled: Time,
        first_token: Time,
        ended: Time,
        (before, after): (Span, Span),
    ) {
        self.spend(Driver::Queueing, scheduled);
        self.spend(Driver::Prefill, first_token);
        self.spend(Driver::Decode, ended);
        self.move_part(Driver::Prefill, Driver::Preemption, before);
        self.move_part(Driver::Decode, Driver::Preemption, after);
    }

    /// Waits until a place is there, then for `cold` until it is awake.
    pub fn wake(&mut self, scheduled: Time, cold: Span) {
        self.spend(Driver::Queueing, scheduled);
        self.spend(Driver::ColdStart, scheduled.after(cold));
    }

    /// Moves up to `span` of what was spent on one cause to another.
    pub fn move_part(&mut self, from: Driver, to: Driver, span: Span) {
        let moved = span.min(self.parts[from as usize]);
        self.parts[from as usize] = self.parts[from as usize] - moved;
        self.parts[to as usize] += moved;
    }

    /// Goes on with the path of a part that started where this one is.
    pub fn append(&mut self, part: &Path) {
        for (sum, more) in self.parts.iter_mut().zip(part.parts) {
            *sum += more;
        }
        self.at = part.at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_path_sum_to_its_length() {
        let mut path = Path::starting(Time(100));
        path.spend(Driver::Queueing, Time(130));
        path.spend(Driver::Prefill, Time(120));
        path.spend(Driver::Decode, Time(190));
        path.move_part(Driver::Decode, Driver::Preemption, Span(15));
        let mut child = Path::starting(Time(190));
        child.spend(Driver::Tools, Time(200));
        path.append(&child);
        let sum: u64 = path.parts().iter().map(|part| part.0).sum();
        assert_eq!((sum, path.at()), (100, Time(200)));
        assert_eq!(path.parts()[Driver::Preemption as usize], Span(15));
    }

    #[test]
    fn preemption_takes_from_the_part_that_it_fell_into() {
        for (stalled, left) in [((7, 0), (13, 60)), ((0, 9), (20, 51)), ((25, 70), (0, 0))] {
            let mut path = Path::starting(Time(100));
            let stalled = (Span(stalled.0), Span(stalled.1));
            path.run(Time(110), Time(130), Time(190), stalled);
            let parts = path.parts();
            let told = (parts[Driver::Prefill as usize], parts[Driver::Decode as usize]);
            assert_eq!(
                (parts[Driver::Queueing as usize], told),
                (Span(10), (Span(left.0), Span(left.1)))
            );
            assert_eq!(parts[Driver::Preemption as usize], Span(80 - left.0 - left.1));
        }
    }
}
