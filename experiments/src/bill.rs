//! The bill of one replication: what was used in the measured time, priced once.
//!
//! Invariants: the causes of [`SpendBy`] sum to the spend; so do the items of [`Items`], which
//! take the same bill apart another way; every amount is an integer number of pico-dollars.
//!
//! Deliberately absent: what is earned (see `money`) and whose cost it is (see `tenants`).

use crate::result::{Items, SpendBy, TokenSpend};
use sim::backends::{Meter, MeterReading, RemotePrice, RemoteSpec, ToolCost};
use sim::ledger::rent;
use sim::outcome::{RemoteOutcome, Taken};
use sim::units::Money;
use sim::{Outcome, Scenario};

/// The part of the tokens in [`Items`] that paid for context: prompt tokens in front of what is
/// asked, which are a prefix that prompts share or what was said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct ContextSpend {
    /// What it costs at best: the cache's price for what a cache holds or would have held.
    pub(crate) best: Money,
    /// What it cost more because the provider's cache did not have it.
    pub(crate) missed: Money,
}

/// What one replication costs.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Bill {
    /// By cause.
    pub(crate) by: SpendBy,
    /// By item.
    pub(crate) items: Items,
    /// The part of the items' tokens that paid for context.
    pub(crate) context: ContextSpend,
    /// One for each remote.
    pub(crate) remotes: Vec<TokenSpend>,
}

impl Bill {
    pub(crate) fn of(outcome: &Outcome, scenario: &Scenario) -> Bill {
        let mut bill = Bill::default();
        bill.rent_gpus(outcome, scenario);
        for (spec, remote) in scenario.remotes.iter().zip(&outcome.remotes) {
            let tokens = bill.pay_remote(spec, remote);
            bill.remotes.push(tokens);
        }
        for (spec, tool) in scenario.tools.iter().zip(&outcome.tools) {
            let cause = match spec.cost {
                ToolCost::Retrieval => &mut bill.by.retrieval,
                ToolCost::Tool => &mut bill.by.tools,
                ToolCost::SafetyCheck => &mut bill.by.safety_checks,
                ToolCost::Formatting => &mut bill.by.formatting,
                ToolCost::HumanReview => &mut bill.by.human_review,
            };
            *cause += tool.spend;
            let used = match spec.cost {
                ToolCost::HumanReview => &mut bill.items.human_review,
                _ => &mut bill.items.tools,
            };
            *used += tool.spend - tool.wasted;
            bill.items.wasted_uses += tool.wasted;
        }
        for (spec, task) in scenario.tasks.iter().zip(&outcome.tasks) {
            let observed = Money(spec.observability.0 * i128::from(task.observed));
            bill.by.observability += observed;
            bill.items.observability += observed;
        }
        bill
    }

    /// A replica that runs an iteration uses all its GPUs.
    fn rent_gpus(&mut self, outcome: &Outcome, scenario: &Scenario) {
        self.by.gpu = outcome.ledger.gpu_spend();
        let pools = scenario.pools.iter().zip(&outcome.pools).zip(&outcome.ledger.gpu);
        for ((spec, pool), account) in pools {
            let busy = pool.measured.busy * u128::from(spec.gpus_per_replica);
            let at_work = rent(busy.min(account.gpu_time), account.per_gpu_hour);
            let wasted = for_nobody(at_work, &pool.taken);
            self.items.gpu_at_work += at_work - wasted;
            self.items.gpu_wasted += wasted;
        }
        self.items.gpu_idle = self.by.gpu - self.items.gpu_at_work - self.items.gpu_wasted;
    }

    fn pay_remote(&mut self, spec: &RemoteSpec, remote: &RemoteOutcome) -> TokenSpend {
        match &spec.price {
            RemotePrice::Metered(meter) => {
                let paid = token_spend(meter, &remote.billed);
                let for_somebody = remote.billed.since(&remote.wasted);
                let used = token_spend(meter, &for_somebody);
                let (best, missed) = meter.context_price(&for_somebody);
                self.context.best += best;
                self.context.missed += missed;
                self.by.tokens += paid.total();
                self.items.tokens += used;
                self.items.wasted_attempts += paid.total() - used.total();
                paid
            }
            RemotePrice::Hourly { .. } => {
                let usage = &remote.measured;
                let paid = spec.price.spend(usage);
                let places = spec.station.servers.map(u128::from).unwrap_or_default();
                let there = places * u128::from(usage.elapsed.0);
                // With any number of places nothing tells how full it was: all of it is at work.
                let idle = match there.checked_sub(usage.place_time) {
                    Some(free) if there > 0 => part(paid, free, there),
                    _ => Money::ZERO,
                };
                self.by.provisioned += paid;
                self.items.provisioned_idle += idle;
                let wasted = for_nobody(paid - idle, &remote.taken);
                self.items.provisioned_wasted += wasted;
                self.items.provisioned_at_work += paid - idle - wasted;
                TokenSpend::default()
            }
            RemotePrice::Free => TokenSpend::default(),
        }
    }
}

/// The part of what is rented and at work that went to attempts whose answers nobody used.
fn for_nobody(at_work: Money, taken: &Taken) -> Money {
    part(at_work, taken.wasted, taken.used + taken.wasted)
}

/// The price of a reading by kind of token.
fn token_spend(meter: &Meter, used: &MeterReading) -> TokenSpend {
    let of = |count: u64, price: Money| Money(i128::from(count) * price.0);
    let uncached = of(used.input - used.cached_input - used.cache_write, meter.input);
    let written = of(used.cache_write, meter.cache_write);
    // Where writing to the cache costs nothing of its own, what is written is ordinary input.
    let plain = meter.cache_write == meter.input;
    TokenSpend {
        input: if plain { uncached + written } else { uncached },
        cached_input: of(used.cached_input, meter.cached_input),
        cache_write: if plain { Money::ZERO } else { written },
        output: of(used.output, meter.output),
        calls: of(used.attempts, meter.call),
    }
}

/// `amount · part / whole`, truncated; nothing of nothing.
pub(crate) fn part(amount: Money, part: u128, whole: u128) -> Money {
    if whole == 0 {
        return Money::ZERO;
    }
    // A part per 2⁶⁰ is finer than a pico-dollar of any bill below a million dollars, and the
    // product fits.
    let shift = whole.ilog2().saturating_sub(59);
    let (part, whole) = ((part >> shift) as i128, (whole >> shift) as i128);
    let (times, rest) = (amount.0 / whole, amount.0 % whole);
    Money(times * part + rest * part / whole)
}
