//! Retries as a share of calls: Finagle's `RetryBudget`.
//!
//! Each call deposits `ratio` of a retry, each retry withdraws one, and a reserve of
//! `min_per_second · ttl` retries is always there on top. Deposits and withdrawals expire together:
//! time is cut into [`SLICES`] slices of `ttl / SLICES`, and the balance is the sum over the
//! current slice and the nine before it, so an entry lives between 0.9 and 1 `ttl`. Finagle's
//! `WindowedAdder` and tower's `TpsBudget` use ten slices too. Amounts are integers in
//! [`ONE_RETRY`]ths of a retry.
//!
//! Invariants: the running sum is that of the slices; of the retries granted in the ten live
//! slices there are never more than `ratio` times their calls plus the reserve.
//!
//! Differences from Finagle, none of which a user of it should notice: slices begin at multiples
//! of their length instead of at the event that found the last one over; a deposit is `ratio`
//! rounded to a millionth, where Finagle rounds the price of a retry to a thousandth of a deposit.

use super::RetryBudgetSpec;
use crate::units::{PS_PER_SEC, Span, Time};

/// Slices of a `ttl`.
pub const SLICES: u64 = 10;
/// Units of account in one retry.
pub const ONE_RETRY: i128 = 1_000_000;

/// The account that the calls to one model share.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    deposit: i128,
    reserve: i128,
    slice: u64,
    slices: [i128; SLICES as usize],
    /// Number of the slice that is written to, counted from the start of the run.
    newest: u64,
    sum: i128,
    granted: u64,
    refused: u64,
}

impl RetryBudget {
    /// An empty account with its reserve.
    #[must_use]
    pub fn new(spec: &RetryBudgetSpec) -> RetryBudget {
        let ttl = i128::from(spec.ttl.0);
        RetryBudget {
            // The cast saturates: an absurd ratio is a budget that never refuses.
            deposit: i128::from((spec.ratio * ONE_RETRY as f64 + 0.5) as u64),
            reserve: i128::from(spec.min_per_second) * ttl * ONE_RETRY / i128::from(PS_PER_SEC),
            slice: (spec.ttl.0 / SLICES).max(1),
            slices: [0; SLICES as usize],
            newest: 0,
            sum: 0,
            granted: 0,
            refused: 0,
        }
    }

    /// A call was made (not a further attempt of one).
    pub fn deposit(&mut self, now: Time) {
        self.add(now, self.deposit);
    }

    /// Asks for one further attempt; if it is granted, it is paid.
    pub fn withdraw(&mut self, now: Time) -> bool {
        self.move_to(now);
        let granted = self.sum + self.reserve >= ONE_RETRY;
        if granted {
            self.add(now, -ONE_RETRY);
            self.granted += 1;
        } else {
            self.refused += 1;
        }
        granted
    }

    /// Attempts granted so far.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.granted
    }

    /// Attempts refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Length of the life of an entry at most.
    #[must_use]
    pub fn life(&self) -> Span {
        Span(self.slice.saturating_mul(SLICES))
    }

    fn add(&mut self, now: Time, amount: i128) {
        self.move_to(now);
        self.slices[(self.newest % SLICES) as usize] += amount;
        self.sum += amount;
    }

    /// Empties the slices that have expired; O(1) amortised, and at most [`SLICES`] steps.
    fn move_to(&mut self, now: Time) {
        let current = now.0 / self.slice;
        let passed = current.saturating_sub(self.newest).min(SLICES);
        for number in 1..=passed {
            let expired = &mut self.slices[((self.newest + number) % SLICES) as usize];
            self.sum -= *expired;
            *expired = 0;
        }
        self.newest = self.newest.max(current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(ratio: f64, min_per_second: u32, ttl: Span) -> RetryBudget {
        RetryBudget::new(&RetryBudgetSpec { ratio, min_per_second, ttl })
    }

    fn at(millis: u64) -> Time {
        Time::ZERO.after(Span::from_millis(millis))
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let mut budget = budget(0.0, 0, Span::from_secs(1));
        for millis in 0..1_000 {
            budget.deposit(at(millis));
            assert!(!budget.withdraw(at(millis)));
        }
        assert_eq!((budget.granted(), budget.refused()), (0, 1_000));
    }

    #[test]
    fn four_calls_pay_for_a_retry_at_a_quarter() {
        let mut budget = budget(0.25, 0, Span::from_secs(60));
        for millis in 0..400 {
            budget.deposit(at(millis));
            assert_eq!(budget.withdraw(at(millis)), millis % 4 == 3, "{millis}");
        }
    }

    #[test]
    fn a_ratio_above_one_allows_several_retries_a_call() {
        let mut budget = budget(2.5, 0, Span::from_secs(60));
        budget.deposit(at(0));
        assert!(budget.withdraw(at(0)) && budget.withdraw(at(0)) && !budget.withdraw(at(0)));
        budget.deposit(at(1));
        assert_eq!((0..9).filter(|_| budget.withdraw(at(1))).count(), 3);
    }

    /// The cases of tower's own test `tps_slots`, shifted to slices on a grid.
    #[test]
    fn a_deposit_lives_nine_to_ten_slices() {
        let mut budget = budget(0.5, 0, Span::from_secs(1));
        budget.deposit(at(50));
        budget.deposit(at(50));
        assert!(budget.clone().withdraw(at(999)));
        assert!(!budget.withdraw(at(1_000)));

        budget.deposit(at(4_000));
        budget.deposit(at(4_301));
        budget.deposit(at(5_102));
        assert!(budget.withdraw(at(5_102)), "the second and the third together");
        assert!(!budget.withdraw(at(5_102)));
    }

    #[test]
    fn the_reserve_is_there_at_once_and_comes_back_as_withdrawals_expire() {
        let mut budget = budget(0.0, 5, Span::from_secs(2));
        let granted = |budget: &mut RetryBudget, millis| {
            (0..100).filter(|_| budget.withdraw(at(millis))).count()
        };
        assert_eq!(granted(&mut budget, 0), 10);
        assert_eq!(granted(&mut budget, 1_999), 0);
        assert_eq!(granted(&mut budget, 2_000), 10);
    }

    /// Unlimited demand gets the reserve once per `ttl`: `min_per_second` retries per second.
    #[test]
    fn demand_without_end_gets_its_minimum_rate() {
        let mut budget = budget(0.0, 10, Span::from_secs(10));
        for millis in 0..600_000 {
            budget.withdraw(at(millis));
        }
        assert_eq!(budget.granted(), 6_000);
    }

    #[test]
    fn hostile_parameters_do_not_overflow() {
        let mut budget = budget(f64::MAX, u32::MAX, Span::MAX);
        for _ in 0..1_000 {
            budget.deposit(Time::NEVER);
            assert!(budget.withdraw(Time::NEVER));
        }
        let mut tiny = self::budget(f64::NAN, 1, Span(1));
        tiny.deposit(at(1));
        assert!(!tiny.withdraw(at(1)));
        assert!(tiny.life() >= Span(1));
    }
}
