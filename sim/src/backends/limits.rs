//! Rate limits: token buckets that start full and refill continuously.
//!
//! A level is counted in units · picoseconds of a minute, so that `per_minute` flows in each
//! picosecond and nothing is ever rounded: what is let in does not depend on how often anybody
//! asked.
//!
//! Invariants: a level lies between 0 and the burst; an attempt takes from every bucket or from
//! none; no floating-point number.
//!
//! Deliberately absent: giving back what was charged for an answer and not written, and windows
//! that start anew each minute.

use super::{Bucket, Limits};
use crate::units::{PS_PER_SEC, Span, Time};

/// Picoseconds in a minute: levels are units times this.
const MINUTE: u128 = 60 * PS_PER_SEC as u128;

/// What an attempt takes from each bucket, in the order of [`Limits`].
pub(super) type Charge = [u64; 4];

/// Why an attempt was not let in: time until every bucket holds enough, `None` when it asks for
/// more than a bucket can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limited {
    pub(super) retry_after: Option<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    bucket: Bucket,
    /// Units · picoseconds of a minute, at `at`.
    held: u128,
    at: Time,
}

impl Level {
    fn new(bucket: Bucket) -> Level {
        Level { bucket, held: full(bucket), at: Time::ZERO }
    }

    fn refill(&mut self, now: Time) {
        let inflow = u128::from(now.since(self.at).0) * u128::from(self.bucket.per_minute);
        self.held = self.held.saturating_add(inflow).min(full(self.bucket));
        self.at = now;
    }

    /// Time until `units` are there; `None`: never.
    fn wait(&self, units: u64) -> Option<Span> {
        let missing = (u128::from(units) * MINUTE).saturating_sub(self.held);
        if missing == 0 {
            return Some(Span::ZERO);
        }
        if units > self.bucket.burst || self.bucket.per_minute == 0 {
            return None;
        }
        let picoseconds = missing.div_ceil(u128::from(self.bucket.per_minute));
        Some(Span(u64::try_from(picoseconds).unwrap_or(u64::MAX)))
    }
}

fn full(bucket: Bucket) -> u128 {
    u128::from(bucket.burst) * MINUTE
}

/// The buckets of a remote.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    levels: [Option<Level>; 4],
    limited: bool,
}

impl Buckets {
    pub(super) fn new(limits: &Limits) -> Buckets {
        let buckets = [limits.requests, limits.tokens, limits.input_tokens, limits.output_tokens];
        Buckets {
            levels: buckets.map(|bucket| bucket.map(Level::new)),
            limited: buckets.iter().any(Option::is_some),
        }
    }

    /// Whether the charge for uncached prompt tokens matters.
    pub(super) fn count_uncached_input(&self) -> bool {
        self.levels[2].is_some()
    }

    /// Takes the charge, or nothing at all.
    pub(super) fn take(&mut self, now: Time, charge: Charge) -> Result<(), Limited> {
        if !self.limited {
            return Ok(());
        }
        let mut wait = Some(Span::ZERO);
        for (level, units) in self.levels.iter_mut().zip(charge) {
            if let Some(level) = level {
                level.refill(now);
                // No wait at all is longer than any: it stays `None`.
                wait = wait.and_then(|longest| Some(longest.max(level.wait(units)?)));
            }
        }
        if wait != Some(Span::ZERO) {
            return Err(Limited { retry_after: wait });
        }
        for (level, units) in self.levels.iter_mut().zip(charge) {
            if let Some(level) = level {
                level.held -= u128::from(units) * MINUTE;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn requests(per_minute: u64, burst: u64) -> Buckets {
        let requests = Some(Bucket { per_minute, burst });
        Buckets::new(&Limits { requests, ..Limits::default() })
    }

    fn admitted(buckets: &mut Buckets, gap: Span, attempts: u64) -> u64 {
        let instants = (0..attempts).map(|n| Time(n * gap.0));
        instants.filter(|&at| buckets.take(at, [1, 0, 0, 0]).is_ok()).count() as u64
    }

    /// The reference counts in fractions of a unit over `a` attempts per second.
    fn reference(rate: u64, burst: u64, arrivals: u64, attempts: u64) -> u64 {
        let (full, mut level, mut admitted) = (burst * arrivals, burst * arrivals, 0);
        for number in 0..attempts {
            level = if number == 0 { level } else { full.min(level + rate) };
            if level >= arrivals {
                (level, admitted) = (level - arrivals, admitted + 1);
            }
        }
        admitted
    }

    /// Known answers of a bucket with a burst of 20 and ten units per second, asked 1000 times 25
    /// times per second, and the same in exact fractions at other points.
    #[test]
    fn paced_attempts_are_let_in_exactly_as_in_fractions() {
        assert_eq!(admitted(&mut requests(600, 20), Span::from_millis(40), 1_000), 419);
        for (rate, burst, arrivals) in
            [(10, 20, 25), (1, 1, 2), (3, 7, 8), (5, 1, 4), (7, 3, 1_000), (9, 100, 10), (1, 1, 1)]
        {
            let gap = Span(PS_PER_SEC / arrivals);
            let ours = admitted(&mut requests(60 * rate, burst), gap, 2_000);
            let theirs = reference(rate, burst, arrivals, 2_000);
            assert_eq!(ours, theirs, "rate {rate}, burst {burst}, {arrivals} per second");
        }
    }

    #[test]
    fn after_the_wait_it_is_let_in_and_not_a_picosecond_before() {
        let limits = Limits {
            requests: Some(Bucket { per_minute: 7, burst: 3 }),
            tokens: Some(Bucket { per_minute: 100_003, burst: 90_001 }),
            input_tokens: Some(Bucket { per_minute: 31, burst: 1_000 }),
            output_tokens: None,
        };
        let (mut buckets, mut dice, mut now) = (Buckets::new(&limits), Dice::stream(3), Time(0));
        let mut waits = 0;
        for _ in 0..2_000 {
            let charge = [1, dice.bits() % 90_002, dice.bits() % 40, u64::MAX];
            if let Err(Limited { retry_after }) = buckets.take(now, charge) {
                let wait = retry_after.expect("no charge is above a burst");
                assert!(buckets.take(Time(now.0 + wait.0 - 1), charge).is_err());
                now = now + wait;
                assert_eq!(buckets.take(now, charge), Ok(()));
                waits += 1;
            }
            now = now + Span(dice.bits() % (5 * PS_PER_SEC));
        }
        assert!(waits > 500, "{waits} waits are a test");
    }

    #[test]
    fn who_fails_at_one_bucket_takes_nothing_from_another() {
        let limits = Limits {
            requests: Some(Bucket { per_minute: 1, burst: 2 }),
            output_tokens: Some(Bucket { per_minute: 1, burst: 10 }),
            ..Limits::default()
        };
        let mut buckets = Buckets::new(&limits);
        let never = Err(Limited { retry_after: None });
        for _ in 0..5 {
            assert_eq!(buckets.take(Time(0), [1, 0, 0, 11]), never, "more than the burst");
        }
        assert_eq!(buckets.take(Time(0), [1, 0, 0, 4]), Ok(()));
        assert_eq!(buckets.take(Time(0), [1, 0, 0, 6]), Ok(()));
        let minute = Some(Span(MINUTE as u64));
        assert_eq!(buckets.take(Time(0), [1, 0, 0, 0]), Err(Limited { retry_after: minute }));
    }

    #[test]
    fn extreme_buckets_and_times_do_not_overflow() {
        let mut buckets = requests(u64::MAX, u64::MAX);
        assert_eq!(buckets.take(Time(0), [u64::MAX, 0, 0, 0]), Ok(()));
        assert_eq!(buckets.take(Time(u64::MAX), [u64::MAX, 0, 0, 0]), Ok(()));
        let mut slow = requests(1, u64::MAX);
        assert_eq!(slow.take(Time(0), [u64::MAX, 0, 0, 0]), Ok(()));
        let forever = Err(Limited { retry_after: Some(Span::MAX) });
        assert_eq!(slow.take(Time(0), [u64::MAX, 0, 0, 0]), forever);
    }
}
