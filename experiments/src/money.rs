//! Spend and margin of a sample of replications.
//!
//! Invariants: totals are integer pico-dollars, each truncated once where it is divided; the
//! total shown is the sum of its causes; a rate is total spend over total measured time.
//!
//! Deliberately absent: rounding to cents, and prices (see `bill`).

use crate::bill::part;
use crate::estimate::Estimate;
use crate::pooled::{Part, ratio};
use crate::record::Record;
use crate::result::{Margin, Revenue, SpendBy, SpendResult, TaskMoney};
use crate::revenue::Earners;
use crate::summary::NOTHING_SUCCEEDED;
use crate::tenants::Rents;
use sim::Scenario;
use sim::backends::RemotePrice;
use sim::tasks::TaskSpec;
use sim::units::Money;

const PS_PER_NS: u64 = 1_000;
const NS_PER_HOUR: i128 = 3_600_000_000_000;
const NS_PER_DAY: i128 = 86_400_000_000_000;
/// A month is 30.4375 days, 487 sixteenths.
const NS_PER_MONTH: i128 = NS_PER_DAY / 16 * 487;

/// Spend of one replication.
pub(crate) fn spent(record: &Record) -> Money {
    record.bill.by.total()
}

fn nanoseconds(records: &[Record]) -> i128 {
    records.iter().map(|r| i128::from(r.outcome.measured.0 / PS_PER_NS)).sum()
}

/// `amount · times / over`, truncated once; the product is taken apart so that it fits for any
/// spend, up to a month and a million replications of a hundred days.
pub(crate) fn scaled(amount: Money, times: i128, over: i128) -> Option<Money> {
    let (whole, rest) = (amount.0.checked_div(over)?, amount.0.checked_rem(over)?);
    Some(Money(whole.checked_mul(times)?.checked_add(rest.checked_mul(times)? / over)?))
}

/// The mean of an amount over replications, truncated.
fn mean(records: &[Record], of: impl Fn(&Record) -> Money) -> Money {
    let sum: i128 = records.iter().map(|r| of(r).0).sum();
    Money(sum.checked_div(records.len() as i128).unwrap_or(0))
}

/// What all replications cost.
pub(crate) fn spend(records: &[Record], scenario: &Scenario) -> SpendResult {
    let mut sum = SpendBy::default();
    records.iter().for_each(|r| sum += r.bill.by);
    let runs = records.len() as i128;
    let by = sum.map(|amount| Money(amount.0.checked_div(runs).unwrap_or(0)));
    let rates = |length: i128| -> Vec<Part> {
        let per = |r: &Record| rate(r, scenario, length).map(|money| (money.0, 1));
        records.iter().map(per).collect::<Option<Vec<Part>>>().unwrap_or_default()
    };
    let total = |rates: &[Part]| {
        let sum: i128 = rates.iter().map(|rate| rate.0).sum();
        Money(sum.checked_div(rates.len() as i128).unwrap_or(0))
    };
    let (days, months) = (rates(NS_PER_DAY), rates(NS_PER_MONTH));
    let estimate = |rates: &[Part]| dollars(ratio(rates, "no time was measured"));
    let per_task: Vec<Part> = records.iter().map(|r| (spent(r).0, completed(r))).collect();
    SpendResult {
        total: by.total(),
        per_day: total(&days),
        per_month: total(&months),
        per_day_usd: estimate(&days),
        per_month_usd: estimate(&months),
        per_successful_task_usd: dollars(ratio(&per_task, NOTHING_SUCCEEDED)),
        by,
        wasted: mean(records, |r| r.bill.items.wasted_attempts + r.bill.items.wasted_uses),
    }
}

pub(crate) fn dollars(pico: Estimate) -> Estimate {
    pico.map(|pico| pico / Money::PICO_PER_DOLLAR as f64)
}

/// Tasks of a replication that ended well in the time the fleet is paid for: those that a backlog
/// leaves for the drain after the horizon were not paid for, and must not make the others cheap.
pub(crate) fn completed(record: &Record) -> i128 {
    record.outcome.tasks.iter().map(|t| i128::from(t.completed)).sum()
}

/// What a replication spends in `length` nanoseconds. What is rented throughout is priced by the
/// hour, not by its truncated bill, so its digits are exact.
fn rate(record: &Record, scenario: &Scenario, length: i128) -> Option<Money> {
    let outcome = &record.outcome;
    let time = i128::from(outcome.measured.0 / PS_PER_NS);
    let mut sum = Money::ZERO;
    for account in &outcome.ledger.gpu {
        let gpus = account.gpu_time.checked_div(u128::from(outcome.measured.0))?;
        if gpus * u128::from(outcome.measured.0) == account.gpu_time {
            let hourly = i128::try_from(gpus).ok()?.checked_mul(account.per_gpu_hour.0)?;
            sum += scaled(Money(hourly), length, NS_PER_HOUR)?;
        } else {
            sum += scaled(account.spend(), length, time)?;
        }
    }
    let mut used = spent(record) - record.bill.by.gpu;
    for (spec, remote) in scenario.remotes.iter().zip(&outcome.remotes) {
        if let RemotePrice::Hourly { units, per_unit_hour, asleep_free: false } = spec.price
            && remote.measured.elapsed == outcome.measured
        {
            let hourly = i128::from(units).checked_mul(per_unit_hour.0)?;
            sum += scaled(Money(hourly), length, NS_PER_HOUR)?;
            used -= spec.price.spend(&remote.measured);
        }
    }
    if used != Money::ZERO {
        sum += scaled(used, length, time)?;
    }
    Some(sum)
}

/// What the harm done in a replication costs.
fn harm(record: &Record, tasks: &[TaskSpec]) -> Money {
    let each = record
        .outcome
        .tasks
        .iter()
        .zip(tasks)
        .map(|(task, spec)| i128::from(task.harmed) * spec.harm_cost.unwrap_or(Money::ZERO).0);
    Money(each.sum())
}

/// What all replications earn; `withheld` says why no month is like the measured time, if so.
pub(crate) fn margin(
    records: &[Record],
    tasks: &[TaskSpec],
    earners: &Earners<'_>,
    withheld: Option<&str>,
) -> Margin {
    let harm_mean = mean(records, |r| harm(r, tasks));
    if let Some(reason) = earners.unknown() {
        let absent = || Estimate::absent(reason);
        return Margin {
            per_task_usd: absent(),
            per_day_usd: absent(),
            per_month_usd: absent(),
            harm: harm_mean,
            ..Margin::default()
        };
    }
    let left = |r: &Record| earners.revenue(r).total().0 - harm(r, tasks).0 - spent(r).0;
    let parts: Vec<Part> = records.iter().map(|r| (left(r), completed(r))).collect();
    let total = Money(parts.iter().map(|part| part.0).sum());
    let over = |length: i128| scaled(total, length, nanoseconds(records));
    let over = |length: i128| over(length).filter(|_| withheld.is_none());
    let rates = |length: i128| -> Vec<Part> {
        let time = |r: &Record| i128::from(r.outcome.measured.0 / PS_PER_NS);
        let rate = |r: &Record| scaled(Money(left(r)), length, time(r)).map(|money| (money.0, 1));
        records.iter().map(rate).collect::<Option<Vec<Part>>>().unwrap_or_default()
    };
    let estimate = |length| match withheld {
        Some(reason) => Estimate::absent(reason),
        None => dollars(ratio(&rates(length), "no time was measured")),
    };
    Margin {
        per_task_usd: dollars(ratio(&parts, NOTHING_SUCCEEDED)),
        per_month: over(NS_PER_MONTH),
        per_day: over(NS_PER_DAY),
        total: Some(mean(records, |r| Money(left(r)))),
        per_day_usd: estimate(NS_PER_DAY),
        per_month_usd: estimate(NS_PER_MONTH),
        harm: harm_mean,
        revenue: Revenue {
            values: mean(records, |r| earners.revenue(r).values),
            plans: mean(records, |r| earners.revenue(r).plans),
        },
    }
}

/// What one kind of task costs and earns.
pub(crate) fn of_task(
    records: &[Record],
    (at, spec): (usize, &TaskSpec),
    earners: &Earners<'_>,
) -> TaskMoney {
    let rented = |r: &Record| {
        let rents = Rents::of(&r.outcome, &r.bill);
        let arrived: u128 = r.outcome.tasks.iter().map(|task| u128::from(task.arrived)).sum();
        let Some(task) = r.outcome.tasks.get(at) else { return Money::ZERO };
        rents.share(task.engine_time, task.provisioned_time)
            + part(rents.unused(), task.arrived.into(), arrived)
    };
    let metered = |r: &Record| r.outcome.tasks.get(at).map_or(Money::ZERO, |task| task.spend);
    let cost = |r: &Record| metered(r).0 + rented(r).0;
    let done = |r: &Record| r.outcome.tasks.get(at).map_or((0, 0), |t| (t.completed, t.harmed));
    let per = |of: &dyn Fn(&Record) -> i128| {
        let parts: Vec<Part> = records.iter().map(|r| (of(r), done(r).0.into())).collect();
        dollars(ratio(&parts, NOTHING_SUCCEEDED))
    };
    let margin = |earned: Vec<Money>| {
        let harm = |r: &Record| spec.harm_cost.unwrap_or_default().0 * i128::from(done(r).1);
        let left = |(r, earned): (&Record, Money)| earned.0 - harm(r) - cost(r);
        let parts = records.iter().zip(earned).map(|(r, earned)| (left((r, earned)), done(r).0));
        let parts: Vec<Part> = parts.map(|(left, completed)| (left, completed.into())).collect();
        dollars(ratio(&parts, NOTHING_SUCCEEDED))
    };
    TaskMoney {
        metered: mean(records, metered),
        wasted: mean(records, |r| r.outcome.tasks.get(at).map_or(Money::ZERO, |task| task.wasted)),
        rented: mean(records, rented),
        cost_per_success_usd: per(&cost),
        margin_per_task_usd: earners.of_task(at, records).map_or_else(Estimate::absent, margin),
    }
}
