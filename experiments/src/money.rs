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
use sim::scenario::TaskSpec;
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
    let all = Money(records.iter().map(|r| spent(r).0).sum());
    let time = nanoseconds(records);
    // Each replication's rate is exact to the pico-dollar, so a constant one keeps its digits.
    let rate = |length: i128| {
        let per = |r: &Record| {
            let time = i128::from(r.outcome.measured.0 / PS_PER_NS);
            scaled(spent(r), length, time).map(|money| (money.0, 1))
        };
        let rates: Option<Vec<Part>> = records.iter().map(per).collect();
        dollars(ratio(&rates.unwrap_or_default(), "no time was measured"))
    };
    let per_task: Vec<Part> = records.iter().map(|r| (spent(r).0, succeeded(r))).collect();
    SpendResult {
        total: by.gpu + by.tokens + by.tools + by.human_review,
        per_day: scaled(all, NS_PER_DAY, time).unwrap_or(Money::ZERO),
        per_month: scaled(all, NS_PER_MONTH, time).unwrap_or(Money::ZERO),
        per_day_usd: rate(NS_PER_DAY),
        per_month_usd: rate(NS_PER_MONTH),
        per_successful_task_usd: dollars(ratio(&per_task, NOTHING_SUCCEEDED)),
        by,
    }
}

fn dollars(pico: Estimate) -> Estimate {
    pico.map(|pico| pico / Money::PICO_PER_DOLLAR as f64)
}

fn succeeded(record: &Record) -> i128 {
    record.outcome.tasks.iter().map(|t| i128::from(t.succeeded)).sum()
}

/// What all replications earn.
pub(crate) fn margin(records: &[Record], tasks: &[TaskSpec]) -> Margin {
    if let Some(task) = tasks.iter().find(|task| task.value.is_none()) {
        let reason = format!("the task {} has no value", task.name);
        return Margin { per_task_usd: Estimate::absent(reason), per_month: None };
    }
    let earned = |r: &Record| -> i128 {
        let values = tasks.iter().filter_map(|task| task.value);
        r.outcome.tasks.iter().zip(values).map(|(t, value)| i128::from(t.succeeded) * value.0).sum()
    };
    let parts: Vec<Part> = records.iter().map(|r| (earned(r) - spent(r).0, succeeded(r))).collect();
    let total = Money(parts.iter().map(|part| part.0).sum());
    Margin {
        per_task_usd: dollars(ratio(&parts, NOTHING_SUCCEEDED)),
        per_month: scaled(total, NS_PER_MONTH, nanoseconds(records)),
    }
}
