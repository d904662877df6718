//! Whether a place sleeps, wakes up or is awake, and for how long it was.
//!
//! Whoever comes first wakes the place; whoever comes during the waking waits for the same end.
//! Time counts as awake from the beginning of the waking, as a rented machine is billed.
//!
//! Invariants: a place with work does not fall asleep; time awake and asleep sum to the time
//! there was.
//!
//! Deliberately absent: waking in advance, and several places that wake one by one.

use super::ColdStart;
use crate::dice::{Dice, Purpose, mix};
use crate::units::{Span, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// From this instant on.
    Asleep(Time),
    /// Awake, or waking until `ready`; without work since `idle`.
    Awake { ready: Time, idle: Option<Time> },
}

/// A place that may sleep.
#[derive(Clone, Debug)]
pub(super) struct Sleeper {
    spec: Option<ColdStart>,
    key: u64,
    state: State,
    /// Wakings so far.
    starts: u64,
    /// Time asleep before the present state.
    slept: Span,
}

impl Sleeper {
    /// `key` is that of the run and the place: each waking draws below it.
    pub(super) fn new(spec: Option<&ColdStart>, key: u64) -> Sleeper {
        let awake = State::Awake { ready: Time::ZERO, idle: None };
        Sleeper {
            spec: spec.cloned(),
            key,
            state: if spec.is_some() { State::Asleep(Time::ZERO) } else { awake },
            starts: 0,
            slept: Span::ZERO,
        }
    }

    /// Somebody begins: how long they wait until the place is awake.
    pub(super) fn begin(&mut self, now: Time) -> Span {
        let Some(spec) = &self.spec else { return Span::ZERO };
        if let Some(since) = asleep_since(self.state, spec.idle_after, now) {
            self.slept += now.since(since);
            let mut dice = Dice::of(mix(self.key, self.starts), Purpose::ColdStart);
            let ready = now.after(spec.start.sample(&mut dice));
            self.starts += 1;
            self.state = State::Awake { ready, idle: None };
        }
        match &mut self.state {
            State::Awake { ready, idle } => {
                *idle = None;
                ready.since(now)
            }
            State::Asleep(_) => Span::ZERO,
        }
    }

    /// The last one left.
    pub(super) fn rest(&mut self, now: Time) {
        if let State::Awake { ready, idle } = &mut self.state {
            // Who woke the place may leave before it is awake: it is idle once it is.
            *idle = Some(now.max(*ready));
        }
    }

    /// Wakings so far.
    pub(super) fn starts(&self) -> u64 {
        self.starts
    }

    /// Time asleep from the start of the run to `at`, which is not in the past.
    pub(super) fn asleep(&self, at: Time) -> Span {
        let idle_after = self.spec.as_ref().and_then(|spec| spec.idle_after);
        let since = asleep_since(self.state, idle_after, at);
        self.slept + since.map_or(Span::ZERO, |since| at.since(since))
    }
}

/// Since when a place in this state sleeps at the instant `at`, if it does.
fn asleep_since(state: State, idle_after: Option<Span>, at: Time) -> Option<Time> {
    match state {
        State::Asleep(since) => Some(since),
        State::Awake { idle: None, .. } => None,
        State::Awake { idle: Some(idle), .. } => {
            idle_after.map(|span| idle.after(span)).filter(|&since| since <= at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::DurationDist;

    fn sleeper(start: u64, idle_after: Option<u64>) -> Sleeper {
        let start = DurationDist::Fixed(Span(start));
        Sleeper::new(Some(&ColdStart { start, idle_after: idle_after.map(Span) }), 1)
    }

    #[test]
    fn the_first_wakes_it_and_the_others_wait_for_the_same_end() {
        let mut place = sleeper(100, Some(50));
        assert_eq!(place.begin(Time(1_000)), Span(100));
        assert_eq!(place.begin(Time(1_030)), Span(70));
        assert_eq!(place.begin(Time(1_100)), Span(0));
        assert_eq!(place.starts(), 1);
        assert_eq!(place.asleep(Time(1_200)), Span(1_000));
    }

    #[test]
    fn it_sleeps_after_idling_and_not_before() {
        let mut place = sleeper(100, Some(50));
        place.begin(Time(0));
        place.rest(Time(200));
        assert_eq!(place.begin(Time(249)), Span(0), "one picosecond before it would sleep");
        place.rest(Time(300));
        assert_eq!(place.asleep(Time(349)), Span(0));
        assert_eq!(place.asleep(Time(351)), Span(1));
        assert_eq!(place.begin(Time(350)), Span(100), "and at once when it sleeps");
        assert_eq!((place.starts(), place.asleep(Time(9_999))), (2, Span(0)));
        place.rest(Time(500));
        assert_eq!(place.asleep(Time(1_000)), Span(450));
    }

    #[test]
    fn whoever_leaves_during_the_waking_does_not_stop_it() {
        let mut place = sleeper(100, Some(50));
        place.begin(Time(0));
        place.rest(Time(10));
        assert_eq!(place.begin(Time(149)), Span(0), "idle from its waking on");
        place.rest(Time(149));
        assert_eq!(place.asleep(Time(199)), Span(0));
        assert_eq!(place.begin(Time(199)), Span(100));
    }

    #[test]
    fn without_an_idle_time_it_starts_cold_once_and_without_a_spec_never() {
        let mut once = sleeper(100, None);
        assert_eq!(once.begin(Time(5)), Span(100));
        once.rest(Time(200));
        assert_eq!(once.begin(Time(u64::MAX)), Span(0));
        assert_eq!((once.starts(), once.asleep(Time(u64::MAX))), (1, Span(5)));
        let mut warm = Sleeper::new(None, 1);
        assert_eq!(
            (warm.begin(Time(5)), warm.starts(), warm.asleep(Time(9))),
            (Span(0), 0, Span(0))
        );
    }

    #[test]
    fn each_waking_draws_anew() {
        let start = DurationDist::Exponential { mean: Span::from_secs(1) };
        let spec = ColdStart { start, idle_after: Some(Span::ZERO) };
        let (mut place, mut total) = (Sleeper::new(Some(&spec), 77), 0.0);
        let n = 20_000;
        for number in 0..n {
            let now = Time::ZERO.after(Span::from_secs(100 * number));
            total += place.begin(now).as_secs_f64();
            place.rest(now.after(Span::from_secs(60)));
        }
        assert_eq!(place.starts(), n);
        let mean = total / n as f64;
        assert!((mean - 1.0).abs() <= 5.0 / (n as f64).sqrt(), "mean {mean}");
    }
}
