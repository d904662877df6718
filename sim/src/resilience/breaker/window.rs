//! What a closed breaker looks back on: the last calls, or the last seconds.
//!
//! Invariants: the totals are those of the entries kept; memory is bounded by the window and by
//! what has happened, whichever is less. A window of `n` seconds is the current whole second and
//! the `n − 1` before it, as in resilience4j's `SlidingTimeWindowMetrics`.

use super::SlidingWindow;
use crate::units::{PS_PER_SEC, Time};
use std::collections::VecDeque;

/// How many calls ended, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) calls: u32,
    pub(super) failed: u32,
    pub(super) slow: u32,
}

impl Totals {
    /// One call.
    pub(super) fn one(failed: bool, slow: bool) -> Totals {
        Totals { calls: 1, failed: u32::from(failed), slow: u32::from(slow) }
    }

    pub(super) fn add(&mut self, other: Totals) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.slow += other.slow;
    }

    fn remove(&mut self, other: Totals) {
        self.calls -= other.calls;
        self.failed -= other.failed;
        self.slow -= other.slow;
    }
}

/// The window of a closed breaker.
#[derive(Clone, Debug)]
pub(super) struct Window {
    reach: SlidingWindow,
    totals: Totals,
    /// Calls one by one, two bits each; empty in a window of seconds.
    calls: VecDeque<u8>,
    /// Whole seconds in which a call ended, rising; empty in a window of calls.
    seconds: VecDeque<(u64, Totals)>,
}

impl Window {
    pub(super) fn new(reach: SlidingWindow) -> Window {
        let (calls, seconds) = (VecDeque::new(), VecDeque::new());
        Window { reach, totals: Totals::default(), calls, seconds }
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.totals = Totals::default();
        self.calls.clear();
        self.seconds.clear();
    }

    /// Adds a call that ended and gives the totals of the window up to it.
    pub(super) fn add(&mut self, now: Time, failed: bool, slow: bool) -> Totals {
        let call = Totals::one(failed, slow);
        match self.reach {
            SlidingWindow::Calls(size) => {
                if self.calls.len() >= size as usize
                    && let Some(oldest) = self.calls.pop_front()
                {
                    self.totals.remove(Totals::one(oldest & 1 != 0, oldest & 2 != 0));
                }
                self.calls.push_back(u8::from(failed) | u8::from(slow) << 1);
            }
            SlidingWindow::Seconds(length) => {
                let second = now.0 / PS_PER_SEC;
                self.forget(second, u64::from(length));
                match self.seconds.back_mut() {
                    Some((last, totals)) if *last == second => totals.add(call),
                    _ => self.seconds.push_back((second, call)),
                }
            }
        }
        self.totals.add(call);
        self.totals
    }

    /// Drops the seconds before the window of this length that ends with second `now`.
    fn forget(&mut self, now: u64, length: u64) {
        while let Some(&(second, totals)) = self.seconds.front()
            && second.saturating_add(length) <= now
        {
            self.totals.remove(totals);
            self.seconds.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn sum(calls: impl Iterator<Item = (bool, bool)>) -> Totals {
        let mut totals = Totals::default();
        calls.for_each(|(failed, slow)| totals.add(Totals::one(failed, slow)));
        totals
    }

    /// The slow twin keeps every call there ever was.
    #[test]
    fn totals_are_those_of_the_calls_in_reach() {
        for reach in [1, 2, 3, 10, 64] {
            let mut dice = Dice::stream(u64::from(reach));
            let mut calls = Window::new(SlidingWindow::Calls(reach));
            let mut seconds = Window::new(SlidingWindow::Seconds(reach));
            let mut all: Vec<(u64, bool, bool)> = Vec::new();
            let mut now = Time::ZERO;
            for _ in 0..2_000 {
                now = Time(now.0 + dice.bits() % (2 * PS_PER_SEC));
                let (failed, slow) = (dice.coin(0.5), dice.coin(0.3));
                all.push((now.0 / PS_PER_SEC, failed, slow));
                let last = all.iter().rev().take(reach as usize);
                assert_eq!(calls.add(now, failed, slow), sum(last.map(|c| (c.1, c.2))));
                let from = (now.0 / PS_PER_SEC + 1).saturating_sub(u64::from(reach));
                let recent = all.iter().filter(|c| c.0 >= from);
                assert_eq!(seconds.add(now, failed, slow), sum(recent.map(|c| (c.1, c.2))));
            }
            assert!(calls.calls.len() <= reach as usize);
            assert!(seconds.seconds.len() <= reach as usize);
        }
    }
}
