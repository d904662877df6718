//! How much a probe may take: time, requests, money.
//!
//! Invariants: an attempt is paid for before it is sent, with the tokens it was planned to have, so
//! no number of lanes can overdraw the limits together; what an answer really had replaces the plan
//! when it is known. An attempt that failed keeps its planned price: it may have been billed.
//!
//! Deliberately absent: prices of anybody. They are stated or there are none.

use serde::{Deserialize, Serialize};
use sim::units::Money;
use std::time::Duration;

/// What tokens cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices {
    /// A million prompt tokens.
    pub input: Money,
    /// A million answer tokens.
    pub output: Money,
}

impl Prices {
    /// Price of so many tokens, rounded up to a pico-dollar.
    #[must_use]
    pub fn cost(self, input: u64, output: u64) -> Money {
        const MILLION: i128 = 1_000_000;
        let (input, output) = (i128::from(input), i128::from(output));
        let exact = self.input.0.saturating_mul(input);
        let exact = exact.saturating_add(self.output.0.saturating_mul(output));
        Money(exact / MILLION + i128::from(exact % MILLION != 0))
    }
}

/// What a probe may take at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wall-clock time of one session.
    pub budget: Duration,
    /// Attempts, retries included, over all sessions.
    pub requests: u64,
    /// What tokens cost, if they do.
    pub prices: Option<Prices>,
    /// Money over all sessions; needs prices.
    pub spend: Option<Money>,
}

impl Limits {
    /// Price of so many tokens; nothing without prices.
    #[must_use]
    pub fn cost(&self, input: u64, output: u64) -> Money {
        self.prices.map_or(Money::ZERO, |prices| prices.cost(input, output))
    }
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// The time of this session.
    Time,
    /// Attempts.
    Requests,
    /// Money.
    Spend,
}

impl Limit {
    /// As a sentence says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Limit::Time => "time",
            Limit::Requests => "requests",
            Limit::Spend => "spend",
        }
    }
}

/// What was taken so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Taken {
    /// Attempts.
    pub requests: u64,
    /// Price of their tokens.
    pub spend: Money,
}

impl Taken {
    /// Pays for an attempt of so many tokens, or says which limit is in the way.
    pub(super) fn pay(&mut self, limits: &Limits, input: u32, output: u32) -> Result<Money, Limit> {
        let cost = limits.cost(u64::from(input), u64::from(output));
        if self.requests >= limits.requests {
            return Err(Limit::Requests);
        }
        if limits.spend.is_some_and(|most| self.spend + cost > most) {
            return Err(Limit::Spend);
        }
        self.requests += 1;
        self.spend += cost;
        Ok(cost)
    }

    /// Replaces what was paid for an attempt by what it came to.
    pub(super) fn settle(&mut self, paid: Money, came_to: Money) {
        self.spend = self.spend - paid + came_to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests: u64, spend: i128) -> Limits {
        Limits {
            budget: Duration::from_secs(1),
            requests,
            prices: Some(Prices { input: Money(1_000_000), output: Money(3_000_000) }),
            spend: Some(Money(spend)),
        }
    }

    #[test]
    fn costs_are_exact_and_rounded_up() {
        let prices = Prices { input: Money(1), output: Money(2_000_000) };
        assert_eq!(prices.cost(0, 3), Money(6));
        assert_eq!(prices.cost(1, 3), Money(7));
        assert_eq!(limits(1, 0).cost(10, 2), Money(16));
        assert_eq!(Limits { prices: None, ..limits(1, 0) }.cost(10, 2), Money::ZERO);
    }

    #[test]
    fn an_attempt_is_paid_before_it_is_sent() {
        let mut taken = Taken::default();
        assert_eq!(taken.pay(&limits(2, 100), 10, 20), Ok(Money(70)));
        assert_eq!(taken.pay(&limits(2, 100), 10, 20), Err(Limit::Spend));
        taken.settle(Money(70), Money(30));
        assert_eq!(taken.pay(&limits(2, 100), 10, 20), Ok(Money(70)));
        assert_eq!(taken, Taken { requests: 2, spend: Money(100) });
        assert_eq!(taken.pay(&limits(2, 1_000), 1, 1), Err(Limit::Requests));
    }
}
