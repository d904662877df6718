//! Spend and margin of a sample of replications.
//!
//! Invariants: totals are integer pico-dollars, each truncated once where it is divided; the
//! total shown is the sum of its causes; a rate is total spend over total measured time.
//!
//! Deliberately absent: rounding to cents.

use crate::estimate::Estimate;
use crate::pooled::{Part, ratio};
use crate::record::Record;
use crate::result::{Margin, SpendBy, SpendResult};
use crate::summary::NOTHING_SUCCEEDED;
use sim::tasks::TaskSpec;
use sim::units::Money;

const PS_PER_NS: u64 = 1_000;
const NS_PER_DAY: i128 = 86_400_000_000_000;
/// A month is 30.4375 days, 487 sixteenths.
const NS_PER_MONTH: i128 = NS_PER_DAY / 16 * 487;

/// Spend of one replication by cause. Only GPUs are billed so far.
fn spent_by(record: &Record) -> SpendBy {
    SpendBy { gpu: record.outcome.ledger.gpu_spend(), ..SpendBy::default() }
}

/// Spend of one replication.
pub(crate) fn spent(record: &Record) -> Money {
    let by = spent_by(record);
    by.gpu + by.tokens + by.tools + by.human_review
}

fn nanoseconds(records: &[Record]) -> i128 {
    records.iter().map(|r| i128::from(r.outcome.measured.0 / PS_PER_NS)).sum()
}

/// `amount · times / over`, truncated once; the product is taken apart so that it fits for any
/// spend, up to a month and a million replications of a hundred days.
fn scaled(amount: Money, times: i128, over: i128) -> Option<Money> {
    let (whole, rest) = (amount.0.checked_div(over)?, amount.0.checked_rem(over)?);
    Some(Money(whole.checked_mul(times)?.checked_add(rest.checked_mul(times)? / over)?))
}

/// What all replications cost.
pub(crate) fn spend(records: &[Record]) -> SpendResult {
    let runs = records.len() as i128;
    let mean = |of: fn(SpendBy) -> Money| {
        Money(
            records.iter().map(|r| of(spent_by(r)).0).sum::<i128>().checked_div(runs).unwrap_or(0),
        )
    };
    let by = SpendBy {
        gpu: mean(|by| by.gpu),
        tokens: mean(|by| by.tokens),
        tools: mean(|by| by.tools),
        human_review: mean(|by| by.human_review),
    };
    let rates = |length: i128| -> Vec<Part> {
        let per = |r: &Record| rate(r, length).map(|money| (money.0, 1));
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
        total: by.gpu + by.tokens + by.tools + by.human_review,
        per_day: total(&days),
        per_month: total(&months),
        per_day_usd: estimate(&days),
        per_month_usd: estimate(&months),
        per_successful_task_usd: dollars(ratio(&per_task, NOTHING_SUCCEEDED)),
        by,
    }
}

fn dollars(pico: Estimate) -> Estimate {
    pico.map(|pico| pico / Money::PICO_PER_DOLLAR as f64)
}

/// Tasks of a replication that ended well in the time the fleet is paid for: those that a backlog
/// leaves for the drain after the horizon were not paid for, and must not make the others cheap.
fn completed(record: &Record) -> i128 {
    record.outcome.tasks.iter().map(|t| i128::from(t.completed)).sum()
}

/// What a replication spends in `length` nanoseconds. A fleet that is constant is priced by its
/// GPUs, not by its truncated bill, so its digits are exact.
fn rate(record: &Record, length: i128) -> Option<Money> {
    const NS_PER_HOUR: i128 = 3_600_000_000_000;
    let outcome = &record.outcome;
    let mut sum = Money::ZERO;
    for account in &outcome.ledger.gpu {
        let gpus = account.gpu_time.checked_div(u128::from(outcome.measured.0))?;
        if gpus * u128::from(outcome.measured.0) == account.gpu_time {
            let hourly = i128::try_from(gpus).ok()?.checked_mul(account.per_gpu_hour.0)?;
            sum += scaled(Money(hourly), length, NS_PER_HOUR)?;
        } else {
            let time = i128::from(outcome.measured.0 / PS_PER_NS);
            sum += scaled(account.spend(), length, time)?;
        }
    }
    Some(sum)
}

/// What all replications earn.
pub(crate) fn margin(records: &[Record], tasks: &[TaskSpec]) -> Margin {
    if let Some(task) = tasks.iter().find(|task| task.value.is_none()) {
        let reason = format!("the task {} has no value", task.name);
        return Margin { per_task_usd: Estimate::absent(reason), per_month: None };
    }
    let earned = |r: &Record| -> i128 {
        let values = tasks.iter().filter_map(|task| task.value);
        r.outcome.tasks.iter().zip(values).map(|(t, value)| i128::from(t.completed) * value.0).sum()
    };
    let parts: Vec<Part> = records.iter().map(|r| (earned(r) - spent(r).0, completed(r))).collect();
    let total = Money(parts.iter().map(|part| part.0).sum());
    Margin {
        per_task_usd: dollars(ratio(&parts, NOTHING_SUCCEEDED)),
        per_month: scaled(total, NS_PER_MONTH, nanoseconds(records)),
    }
}
