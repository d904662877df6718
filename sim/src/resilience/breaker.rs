//! A circuit breaker: resilience4j's state machine.
//!
//! Closed, it lets every call through and looks at their results in a sliding window; open, it
//! refuses them for a while; half-open, it lets a few through, and their results decide. It has no
//! clock of its own: it goes from open to half-open with the first call that asks after the wait,
//! as resilience4j's does by default.
//!
//! Every call let through holds a [`Permit`] and gives it back exactly once: with its result
//! ([`Breaker::record`]), or without one when it was cancelled ([`Breaker::release`]). A result
//! that comes back after the breaker has changed its state is ignored, as in sony/gobreaker.
//! resilience4j ignores it while open, but counts it half-open and closed again, where it would be
//! taken for the result of a probe.
//!
//! Invariants: nothing is let through from an opening until the wait has passed; half-open, no more
//! calls are let through than permitted, those given back without a result aside; a window starts
//! empty in each state; the generation rises with each change of state.
//!
//! Deliberately absent: the forced and disabled states, a limit on the time half-open, and a wait
//! that grows with the number of openings.

mod window;

use super::{BreakerSpec, Failure, SlidingWindow};
use crate::units::{Span, Time};
use window::{Totals, Window};

/// The right to make one call, and to say what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    generation: u32,
}

/// What the breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets them through.
    Closed,
    /// Refuses them, until one asks after the wait.
    Open,
    /// Lets a few through.
    HalfOpen,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open {
        since: Time,
    },
    HalfOpen {
        /// Calls that may still be let through.
        left: u32,
        /// Results of those that were.
        totals: Totals,
    },
}

/// The breaker before one backend.
#[derive(Clone, Debug)]
pub struct Breaker {
    spec: BreakerSpec,
    state: State,
    generation: u32,
    window: Window,
    /// Failures in a row while closed.
    run: u32,
    opens: u64,
    rejected: u64,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(spec: &BreakerSpec) -> Breaker {
        Breaker {
            spec: *spec,
            state: State::Closed,
            generation: 0,
            window: Window::new(spec.sliding_window),
            run: 0,
            opens: 0,
            rejected: 0,
        }
    }

    /// Asks to make a call; a refusal is counted.
    pub fn permit(&mut self, now: Time) -> Option<Permit> {
        if let State::Open { since } = self.state
            && now >= self.end_of_wait(since)
        {
            let left = self.spec.permitted_calls_in_half_open_state;
            self.enter(State::HalfOpen { left, totals: Totals::default() });
        }
        match &mut self.state {
            State::Closed => {}
            State::HalfOpen { left, .. } if *left > 0 => *left -= 1,
            State::Open { .. } | State::HalfOpen { .. } => {
                self.rejected += 1;
                return None;
            }
        }
        Some(Permit { generation: self.generation })
    }

    /// What came of a call that took `took`.
    pub fn record(&mut self, now: Time, result: Result<(), Failure>, took: Span, permit: Permit) {
        let failed = match result {
            Ok(()) => false,
            Err(failure) if self.spec.failures.has(failure) => true,
            Err(_) => return self.release(permit),
        };
        if permit.generation != self.generation {
            return;
        }
        let slow = took >= self.spec.slow_call_duration_threshold;
        match self.state {
            State::Closed => self.record_closed(now, failed, slow),
            State::HalfOpen { left, totals } => {
                self.record_half_open(now, left, totals, failed, slow);
            }
            // No permit has the generation of an open breaker.
            State::Open { .. } => {}
        }
    }

    /// A call ended without a result that counts: cancelled, or failed for a reason that says
    /// nothing about the backend. Half-open, another may take its place.
    pub fn release(&mut self, permit: Permit) {
        if let State::HalfOpen { left, .. } = &mut self.state
            && permit.generation == self.generation
        {
            *left += 1;
        }
    }

    /// Whether a call that asked now would be refused. False once the wait has passed: somebody
    /// must be sent to find out.
    #[must_use]
    pub fn is_open(&self, now: Time) -> bool {
        match self.state {
            State::Closed => false,
            State::Open { since } => now < self.end_of_wait(since),
            State::HalfOpen { left, .. } => left == 0,
        }
    }

    /// The state as the last call left it.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// How often it opened.
    #[must_use]
    pub fn opens(&self) -> u64 {
        self.opens
    }

    /// Calls it refused, open or half-open.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Time up to now in which it refused every call because it was open.
    #[must_use]
    pub fn time_open(&self, now: Time) -> Span {
        // Nothing but its wait ends an opening, so all earlier ones lasted exactly that long.
        let wait = self.spec.wait_duration_in_open_state;
        let (over, current) = match self.state {
            State::Open { since } => (self.opens - 1, now.since(since).min(wait)),
            State::Closed | State::HalfOpen { .. } => (self.opens, Span::ZERO),
        };
        Span(wait.0 * over) + current
    }

    fn record_closed(&mut self, now: Time, failed: bool, slow: bool) {
        let totals = self.window.add(now, failed, slow);
        self.run = if failed { self.run.saturating_add(1) } else { 0 };
        let in_a_row = failed && self.spec.consecutive_failures.is_some_and(|n| self.run >= n);
        let minimum = match self.spec.sliding_window {
            // A window of n calls never holds more.
            SlidingWindow::Calls(size) => self.spec.minimum_number_of_calls.min(size),
            SlidingWindow::Seconds(_) => self.spec.minimum_number_of_calls,
        };
        if in_a_row || (totals.calls >= minimum && self.exceeded(totals)) {
            self.open(now);
        }
    }

    fn record_half_open(&mut self, now: Time, left: u32, before: Totals, failed: bool, slow: bool) {
        let mut totals = before;
        totals.add(Totals::one(failed, slow));
        self.state = State::HalfOpen { left, totals };
        let permitted = self.spec.permitted_calls_in_half_open_state;
        let decided = totals.calls >= self.spec.minimum_number_of_calls.min(permitted);
        let at_once = failed && self.spec.consecutive_failures.is_some();
        if at_once || (decided && self.exceeded(totals)) {
            self.open(now);
        } else if decided {
            self.enter(State::Closed);
        }
    }

    /// Whether a rate has reached its threshold.
    fn exceeded(&self, totals: Totals) -> bool {
        let reaches = |count: u32, per_cent: f64| {
            100.0 * f64::from(count) >= per_cent * f64::from(totals.calls)
        };
        reaches(totals.failed, self.spec.failure_rate_threshold)
            || reaches(totals.slow, self.spec.slow_call_rate_threshold)
    }

    fn open(&mut self, now: Time) {
        self.opens += 1;
        self.enter(State::Open { since: now });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        // Wraps after four billion changes; no call lives that long.
        self.generation = self.generation.wrapping_add(1);
        self.window.clear();
        self.run = 0;
    }

    fn end_of_wait(&self, since: Time) -> Time {
        since.after(self.spec.wait_duration_in_open_state)
    }
}

#[cfg(test)]
mod tests;
