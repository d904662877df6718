//! The bill of one replication: what was used in the measured time, priced once.
//!
//! Invariants: the causes of [`SpendBy`] sum to the spend; so do the items of [`Items`], which
//! take the same bill apart another way; every amount is an integer number of pico-dollars.
//!
//! Deliberately absent: what is earned (see `money`) and whose cost it is (see `tenants`).

use crate::result::{Items, SpendBy};
use sim::backends::{Meter, MeterReading, RemotePrice, RemoteSpec, ToolCost};
use sim::fleet::PoolSpec;
use sim::ledger::{GpuAccount, rent};
use sim::outcome::{PoolOutcome, RemoteOutcome, Taken};
use sim::units::Money;
use sim::{Outcome, Scenario};
use std::ops::AddAssign;

/// What a meter's tokens and calls cost, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TokenSpend {
    /// Prompt tokens that the provider's cache did not have.
    pub input: Money,
    /// Prompt tokens read from it.
    pub cached_input: Money,
    /// Prompt tokens written to it.
    pub cache_write: Money,
    /// Answer tokens.
    pub output: Money,
    /// Fees per call.
    pub calls: Money,
}

impl TokenSpend {
    /// Every kind with its stable name.
    #[must_use]
    pub fn parts(self) -> [(&'static str, Money); 5] {
        [
            ("input_tokens", self.input),
            ("cached_input_tokens", self.cached_input),
            ("cache_write_tokens", self.cache_write),
            ("output_tokens", self.output),
            ("call_fees", self.calls),
        ]
    }

    /// All kinds together.
    #[must_use]
    pub fn total(self) -> Money {
        Money(self.parts().iter().map(|(_, amount)| amount.0).sum())
    }
}

impl AddAssign for TokenSpend {
    fn add_assign(&mut self, other: TokenSpend) {
        self.input += other.input;
        self.cached_input += other.cached_input;
        self.cache_write += other.cache_write;
        self.output += other.output;
        self.calls += other.calls;
    }
}

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

    fn rent_gpus(&mut self, outcome: &Outcome, scenario: &Scenario) {
        self.by.gpu = outcome.ledger.gpu_spend();
        let pools = scenario.pools.iter().zip(&outcome.pools).zip(&outcome.ledger.gpu);
        for ((spec, pool), account) in pools {
            let rent = Rent::of_gpus(spec, pool, *account);
            self.items.gpu_at_work += rent.at_work;
            self.items.gpu_wasted += rent.wasted;
            self.items.gpu_idle += rent.idle;
        }
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
                let rent = Rent::of_places(spec, remote);
                self.by.provisioned += rent.total();
                self.items.provisioned_idle += rent.idle;
                self.items.provisioned_wasted += rent.wasted;
                self.items.provisioned_at_work += rent.at_work;
                TokenSpend::default()
            }
            RemotePrice::Free => TokenSpend::default(),
        }
    }
}

/// What is paid for something rented by the time, by what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rent {
    /// For answers that were used.
    pub(crate) at_work: Money,
    /// For attempts whose answers nobody used.
    pub(crate) wasted: Money,
    /// The rest.
    pub(crate) idle: Money,
}

impl Rent {
    /// A replica that runs an iteration uses all its GPUs.
    pub(crate) fn of_gpus(spec: &PoolSpec, pool: &PoolOutcome, account: GpuAccount) -> Rent {
        let busy = pool.measured.busy * u128::from(spec.gpus_per_replica);
        let at_work = rent(busy.min(account.gpu_time), account.per_gpu_hour);
        let wasted = for_nobody(at_work, &pool.taken);
        Rent { at_work: at_work - wasted, wasted, idle: account.spend() - at_work }
    }

    /// Of capacity at a remote.
    pub(crate) fn of_places(spec: &RemoteSpec, remote: &RemoteOutcome) -> Rent {
        let usage = &remote.measured;
        let paid = spec.price.spend(usage);
        let places = spec.station.servers.map(u128::from).unwrap_or_default();
        let there = places * u128::from(usage.elapsed.0);
        // With any number of places nothing tells how full it was: all of it is at work.
        let idle = match there.checked_sub(usage.place_time) {
            Some(free) if there > 0 => part(paid, free, there),
            _ => Money::ZERO,
        };
        let wasted = for_nobody(paid - idle, &remote.taken);
        Rent { at_work: paid - idle - wasted, wasted, idle }
    }

    fn total(self) -> Money {
        self.at_work + self.wasted + self.idle
    }
}

/// The part of what is rented and at work that went to attempts whose answers nobody used.
fn for_nobody(at_work: Money, taken: &Taken) -> Money {
    part(at_work, taken.wasted, taken.used + taken.wasted)
}

/// The price of a reading by kind of token.
pub(crate) fn token_spend(meter: &Meter, used: &MeterReading) -> TokenSpend {
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

/// What a reading counts, in the order of [`TokenSpend::parts`].
pub(crate) fn token_counts(meter: &Meter, used: &MeterReading) -> [u64; 5] {
    let uncached = used.input - used.cached_input - used.cache_write;
    let plain = meter.cache_write == meter.input;
    let (input, written) =
        if plain { (uncached + used.cache_write, 0) } else { (uncached, used.cache_write) };
    [input, used.cached_input, written, used.output, used.attempts]
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
