//! What was used at a remote or a tool, in integers, and what it costs.
//!
//! Counts only grow; a caller that measures from an instant on takes a reading then and another
//! one at the end, and asks for the difference.
//!
//! Invariants: prices are applied to integers and truncated to the pico-dollar at most once for
//! each hourly price, never for a token: prices of parts sum to the price of the whole.
//!
//! Deliberately absent: whose cost it is.

use super::{Meter, RemotePrice, ToolSpec};
use crate::ledger::rent;
use crate::resilience::FAILURES;
use crate::units::{Money, Span};
use std::ops::AddAssign;

/// What a provider's meter shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MeterReading {
    /// Attempts that got a place.
    pub attempts: u64,
    /// Prompt tokens, all of them.
    pub input: u64,
    /// Those of them that were read from the provider's cache.
    pub cached_input: u64,
    /// Those of them that were written to it; disjoint from those read.
    pub cache_write: u64,
    /// Tokens of the answers.
    pub output: u64,
    /// Prompt tokens that are no part of what is asked: a shared prefix, what was said before.
    pub context: u64,
    /// Those of them that were read from the provider's cache.
    pub context_cached: u64,
    /// Those of them that were written to it, because it did not have them.
    pub context_missed: u64,
}

impl MeterReading {
    /// What was used after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &MeterReading) -> MeterReading {
        MeterReading {
            attempts: self.attempts - earlier.attempts,
            input: self.input - earlier.input,
            cached_input: self.cached_input - earlier.cached_input,
            cache_write: self.cache_write - earlier.cache_write,
            output: self.output - earlier.output,
            context: self.context - earlier.context,
            context_cached: self.context_cached - earlier.context_cached,
            context_missed: self.context_missed - earlier.context_missed,
        }
    }
}

impl AddAssign for MeterReading {
    fn add_assign(&mut self, other: MeterReading) {
        self.attempts += other.attempts;
        self.input += other.input;
        self.cached_input += other.cached_input;
        self.cache_write += other.cache_write;
        self.output += other.output;
        self.context += other.context;
        self.context_cached += other.context_cached;
        self.context_missed += other.context_missed;
    }
}

impl Meter {
    /// The price of a reading, exactly.
    #[must_use]
    pub fn price_of(&self, used: &MeterReading) -> Money {
        let plain = used.input - used.cached_input - used.cache_write;
        let parts = [
            (plain, self.input),
            (used.cached_input, self.cached_input),
            (used.cache_write, self.cache_write),
            (used.output, self.output),
            (used.attempts, self.call),
        ];
        Money(parts.iter().map(|&(count, price)| i128::from(count) * price.0).sum())
    }

    /// The part of the price that paid for context: `(what it costs at best, what it cost more
    /// because the cache did not have it)`. At best what a cache holds or would have held costs
    /// what is read from it, and the rest, which no cache takes, what input costs.
    #[must_use]
    pub fn context_price(&self, used: &MeterReading) -> (Money, Money) {
        let known = used.context_cached + used.context_missed;
        let of = |count: u64, price: Money| i128::from(count) * price.0;
        let best = of(known, self.cached_input) + of(used.context - known, self.input);
        let missed = of(used.context_missed, self.cache_write - self.cached_input);
        (Money(best), Money(missed))
    }
}

/// What a remote did from the start of a run to an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RemoteUsage {
    /// Attempts that got a place.
    pub begun: u64,
    /// Attempts that got a place and ended in a server error.
    pub failed: u64,
    /// Attempts that were not let in, by failure.
    pub refused: [u64; FAILURES],
    /// What was taken from the rate limits, in the order of [`super::Limits`]; the first counts the
    /// attempts that they let in.
    pub charged: [u64; 4],
    /// What was billed to attempts that have left.
    pub billed: MeterReading,
    /// Taken places · picoseconds.
    pub place_time: u128,
    /// Time that passed.
    pub elapsed: Span,
    /// Part of it in which the place was awake or waking.
    pub awake: Span,
    /// Times that it woke up.
    pub cold_starts: u64,
}

impl RemoteUsage {
    /// What was done after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &RemoteUsage) -> RemoteUsage {
        let refused = std::array::from_fn(|kind| self.refused[kind] - earlier.refused[kind]);
        RemoteUsage {
            begun: self.begun - earlier.begun,
            failed: self.failed - earlier.failed,
            refused,
            charged: std::array::from_fn(|limit| self.charged[limit] - earlier.charged[limit]),
            billed: self.billed.since(&earlier.billed),
            place_time: self.place_time - earlier.place_time,
            elapsed: self.elapsed - earlier.elapsed,
            awake: self.awake - earlier.awake,
            cold_starts: self.cold_starts - earlier.cold_starts,
        }
    }
}

impl RemotePrice {
    /// What this much use costs.
    #[must_use]
    pub fn spend(&self, usage: &RemoteUsage) -> Money {
        match *self {
            RemotePrice::Metered(ref meter) => meter.price_of(&usage.billed),
            RemotePrice::Hourly { units, per_unit_hour, asleep_free } => {
                let time = if asleep_free { usage.awake } else { usage.elapsed };
                rent(u128::from(units) * u128::from(time.0), per_unit_hour)
            }
            RemotePrice::Free => Money::ZERO,
        }
    }
}

/// What a tool did from the start of a run to an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ToolUsage {
    /// Uses that got a place.
    pub begun: u64,
    /// Uses that got a place and failed.
    pub failed: u64,
    /// Uses that were not let in, because the queue was full.
    pub refused: u64,
    /// Taken places · picoseconds.
    pub place_time: u128,
}

impl ToolUsage {
    /// What was done after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &ToolUsage) -> ToolUsage {
        ToolUsage {
            begun: self.begun - earlier.begun,
            failed: self.failed - earlier.failed,
            refused: self.refused - earlier.refused,
            place_time: self.place_time - earlier.place_time,
        }
    }
}

impl ToolSpec {
    /// What this much use costs: a fee for each that got a place, and the time places were taken.
    #[must_use]
    pub fn spend(&self, usage: &ToolUsage) -> Money {
        Money(i128::from(usage.begun) * self.per_call.0) + rent(usage.place_time, self.per_hour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::PS_PER_SEC;

    const METER: Meter = Meter {
        input: Money(3_000_000),
        cached_input: Money(300_000),
        cache_write: Money(3_750_000),
        output: Money(15_000_000),
        call: Money(7),
    };

    #[test]
    fn each_token_is_priced_as_what_it_was() {
        let used = MeterReading {
            attempts: 2,
            input: 1_000,
            cached_input: 600,
            cache_write: 300,
            output: 50,
            context: 950,
            context_cached: 600,
            context_missed: 300,
        };
        let expected = 100 * 3_000_000 + 600 * 300_000 + 300 * 3_750_000 + 50 * 15_000_000 + 14;
        assert_eq!(METER.price_of(&used), Money(expected));
        let (mut total, mut sum) = (MeterReading::default(), Money::ZERO);
        for _ in 0..1_000 {
            total += used;
            sum += METER.price_of(&used);
        }
        assert_eq!(METER.price_of(&total), sum);
        let best = 900 * 300_000 + 50 * 3_000_000;
        assert_eq!(METER.context_price(&used), (Money(best), Money(300 * 3_450_000)));
        assert_eq!(total.since(&used).since(&total.since(&used)), MeterReading::default());
    }

    #[test]
    fn hours_are_priced_whole_or_awake() {
        let elapsed = Span(36_000 * PS_PER_SEC);
        let usage = RemoteUsage { elapsed, awake: Span(elapsed.0 / 4), ..RemoteUsage::default() };
        let per_unit_hour = Money(5_000_000_000_000);
        let hourly = |asleep_free| {
            RemotePrice::Hourly { units: 3, per_unit_hour, asleep_free }.spend(&usage)
        };
        assert_eq!(hourly(false), Money(3 * 10 * 5_000_000_000_000));
        assert_eq!(hourly(true), Money(3 * 10 * 5_000_000_000_000 / 4));
        assert_eq!(RemotePrice::Free.spend(&usage), Money::ZERO);
    }
}
