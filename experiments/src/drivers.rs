//! What latency and cost are made of.
//!
//! **Latency.** The simulator keeps, for bands of latency a sixteenth of a doubling wide, what the
//! succeeded tasks of the band waited for. The p95 is explained by the tasks in the band that holds
//! it and in the band on either side (in further ones, too, until there are at least
//! [`LEAST_TASKS`]): each cause gets the share of the p95 that it has of their time. The mean is
//! explained by all tasks.
//!
//! **Cost.** Two lists, each of which sums to the spend to the pico-dollar: what was bought
//! ([`crate::result::Items`]), and why. For the second, metered context and what its misses in
//! providers' caches cost are taken out first; what else was spent on answers that were used (the
//! rest of their tokens, fees, GPUs and provisioned capacity at work) is divided evenly among the
//! calls of all tasks; a call costs the mean of all calls.
//!
//! Beside the lists stands what cannot be a part of such a sum: misses in caches of answers, whose
//! cost is that of calls that are there for another reason too, and context on our own GPUs, which
//! shares iterations with everything else.
//!
//! Invariants: the causes of a latency sum to it, to the picosecond; those of a cost to the spend.
//!
//! Deliberately absent: GPU time by prompt and answer, and which misses in a cache of answers could
//! have been hits.

use crate::bill::ContextSpend;
use crate::pooled::{Part, Times, ratio};
use crate::record::Record;
use crate::result::{CostDrivers, CostPart, CostsBeside, Items};
use crate::summary::NOTHING_SUCCEEDED;
use crate::work::is_plain;
use sim::Scenario;
use sim::outcome::{DriverBand, Drivers};
use sim::tasks::DRIVERS;
use sim::units::{Money, Span};

/// Tasks that explain a p95 at least.
const LEAST_TASKS: u64 = 20;

/// What the latency of one kind of task is made of, by the causes of `sim::tasks::ALL_DRIVERS`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TaskDrivers {
    /// Parts of the mean; sum to it.
    pub mean: [Span; DRIVERS],
    /// Parts of the p95; sum to it. Absent where the p95 is.
    pub p95: Option<[Span; DRIVERS]>,
    /// Tasks that explain the p95.
    pub p95_tasks: u64,
}

/// The causes of the tasks whose latencies are `times`; `None` when no task has any.
pub(crate) fn latency(
    records: &[Record],
    task: usize,
    times: &Times<'_>,
    p95_secs: Option<f64>,
) -> Option<TaskDrivers> {
    let mut pooled = Drivers::default();
    let outcomes = records.iter().filter_map(|r| r.outcome.tasks.get(task));
    outcomes.for_each(|outcome| pooled.merge(&outcome.drivers));
    let all = together(&pooled.bands)?;
    let mean = times.pooled.sum_picoseconds() / u128::from(times.pooled.count().max(1));
    let mean = Span(u64::try_from(mean).unwrap_or(u64::MAX));
    let p95 = p95_secs.map(Span::from_secs_f64);
    let near = p95.and_then(|p95| around(&pooled.bands, Drivers::band(p95)));
    let parts = |near: &DriverBand| p95.map(|p95| divided(p95, &near.parts));
    Some(TaskDrivers {
        mean: divided(mean, &all.parts),
        p95: near.as_ref().and_then(parts),
        p95_tasks: near.map_or(0, |near| near.tasks),
    })
}

fn together(bands: &[DriverBand]) -> Option<DriverBand> {
    let mut sum = DriverBand::default();
    for band in bands {
        sum.tasks += band.tasks;
        sum.parts.iter_mut().zip(band.parts).for_each(|(sum, part)| *sum += part);
    }
    (sum.tasks > 0).then_some(sum)
}

/// The band and its neighbours.
fn around(bands: &[DriverBand], at: usize) -> Option<DriverBand> {
    (1..=bands.len()).find_map(|reach| {
        let from = at.saturating_sub(reach).min(bands.len());
        let near = together(&bands[from..bands.len().min(at + reach + 1)])?;
        (near.tasks >= LEAST_TASKS || reach == bands.len()).then_some(near)
    })
}

/// A length divided in proportion to `weights`, in whole picoseconds that sum to it: the largest
/// remainders are rounded up.
fn divided(whole: Span, weights: &[u128; DRIVERS]) -> [Span; DRIVERS] {
    let total: u128 = weights.iter().sum();
    if total == 0 {
        return [Span::ZERO; DRIVERS];
    }
    // Weights are sums of picoseconds, so their products with a span need up to 128 bits more
    // than there are: the last bits of the weights do not matter.
    let shift = total.ilog2().saturating_sub(60);
    let weights = weights.map(|weight| weight >> shift);
    let total: u128 = weights.iter().sum();
    let exact = weights.map(|weight| u128::from(whole.0) * weight);
    let mut parts = exact.map(|exact| Span((exact / total) as u64));
    let mut order: [usize; DRIVERS] = std::array::from_fn(|at| at);
    order.sort_by_key(|&at| std::cmp::Reverse(exact[at] % total));
    let given = parts.iter().fold(0, |sum, part| sum + part.0);
    for &at in order.iter().take((whole.0 - given) as usize) {
        parts[at].0 += 1;
    }
    parts
}

/// What the cost per successful task is made of.
pub(crate) fn cost(records: &[Record], scenario: &Scenario) -> CostDrivers {
    let bought = |r: &Record| r.bill.items.parts();
    let why = |r: &Record| causes(&r.bill.items, r.bill.context, &Why::of(r, scenario));
    CostDrivers {
        items: list(records, bought),
        causes: list(records, why),
        beside: beside(records, scenario),
    }
}

/// What overlaps with the lists.
fn beside(records: &[Record], scenario: &Scenario) -> CostsBeside {
    let missed = |r: &Record| {
        let why = Why::of(r, scenario);
        why.share(answers(&r.bill.items), why.misses)
    };
    let parts: Vec<Part> =
        records.iter().map(|r| (missed(r).0, crate::money::completed(r))).collect();
    let taken = || records.iter().flat_map(|r| &r.outcome.pools).map(|pool| pool.taken);
    CostsBeside {
        answer_misses: records.iter().map(|r| Why::of(r, scenario).misses as u64).sum(),
        answer_misses_cost: Money(parts.iter().map(|part| part.0).sum()),
        answer_misses_per_task_usd: crate::money::dollars(ratio(&parts, NOTHING_SUCCEEDED)),
        computed_tokens: taken().map(|taken| taken.input - taken.hits).sum(),
        recomputed_tokens: taken().map(|taken| taken.context - taken.context_hits).sum(),
    }
}

/// What answers that were used cost.
fn answers(items: &Items) -> Money {
    items.tokens.total() + items.gpu_at_work + items.provisioned_at_work
}

fn list(records: &[Record], of: impl Fn(&Record) -> Vec<(&'static str, Money)>) -> Vec<CostPart> {
    let rows: Vec<_> = records.iter().map(|r| (of(r), crate::money::completed(r))).collect();
    let keys = rows.first().map(|(row, _)| row.iter().map(|(key, _)| *key)).into_iter().flatten();
    let part = |(at, key): (usize, &'static str)| {
        let parts: Vec<Part> = rows.iter().map(|(row, tasks)| (row[at].1.0, *tasks)).collect();
        CostPart {
            key,
            amount: Money(parts.iter().map(|part| part.0).sum()),
            per_successful_task_usd: crate::money::dollars(ratio(&parts, NOTHING_SUCCEEDED)),
        }
    };
    keys.enumerate().map(part).filter(|part| part.amount != Money::ZERO).collect()
}

/// Counts of one replication that say why calls were made.
#[derive(Default)]
struct Why {
    /// Tasks that ended well, with an answer.
    succeeded: i128,
    /// Tasks, and submissions of them, with an answer: what nobody answered costs nothing here.
    ended: i128,
    submissions: i128,
    /// Answers of models.
    calls: i128,
    hits: i128,
    /// Calls that no cache of answers could answer.
    misses: i128,
}

impl Why {
    fn of(record: &Record, scenario: &Scenario) -> Why {
        let mut why = Why::default();
        for (at, task) in record.outcome.tasks.iter().enumerate() {
            if is_plain(scenario, at) {
                // One plain call each.
                let succeeded = i128::from(task.succeeded);
                why.succeeded += succeeded;
                why.ended += succeeded;
                why.submissions += succeeded;
                why.calls += succeeded;
            } else {
                why.succeeded += i128::from(task.answered.successes);
                why.ended += i128::from(task.answered.tasks);
                why.submissions += i128::from(task.answered.submissions);
                why.calls += i128::from(task.answered.calls);
                let hits = task.exact_hits + task.semantic_hits;
                why.hits += i128::from(hits);
                if scenario.exact_cache.is_some() || scenario.semantic_cache.is_some() {
                    why.misses += i128::from(task.cacheable - hits);
                }
            }
        }
        why
    }

    /// An even share of so many calls in an amount; nothing where no call was counted.
    fn share(&self, amount: Money, calls: i128) -> Money {
        let each = amount.0.checked_div(self.calls).unwrap_or(0);
        let rest = amount.0.checked_rem(self.calls).unwrap_or(0);
        Money(each * calls + (rest * calls).checked_div(self.calls).unwrap_or(0))
    }
}

/// Why one replication's spend was made; sums to it.
fn causes(items: &Items, context: ContextSpend, why: &Why) -> Vec<(&'static str, Money)> {
    let answers = answers(items) - context.best - context.missed;
    let share = |calls: i128| why.share(answers, calls);
    let unsuccessful = share(why.ended - why.succeeded);
    let again = share(why.submissions - why.ended);
    let further = share(why.calls + why.hits - why.submissions);
    let saved = share(-why.hits);
    vec![
        // What truncation leaves, and all of it where no call was counted.
        ("first_calls", answers - unsuccessful - again - further - saved),
        ("further_calls", further),
        ("saved_by_caches", saved),
        ("asked_again", again),
        ("unsuccessful_tasks", unsuccessful),
        ("context", context.best),
        ("cache_misses", context.missed),
        ("wasted_attempts", items.wasted_attempts + items.gpu_wasted + items.provisioned_wasted),
        ("tools", items.tools),
        ("human_review", items.human_review),
        ("wasted_uses", items.wasted_uses),
        ("observability", items.observability),
        ("idle_capacity", items.gpu_idle + items.provisioned_idle),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_sum_to_the_whole_and_follow_the_weights() {
        let mut weights = [0; DRIVERS];
        (weights[0], weights[1], weights[7]) = (1 << 100, 1 << 99, 3);
        for whole in [0, 1, 2, 1_000_001, u64::MAX] {
            let parts = divided(Span(whole), &weights);
            let sum: u128 = parts.iter().map(|part| u128::from(part.0)).sum();
            assert_eq!(sum, u128::from(whole));
            let two_thirds = (u128::from(whole) * 2 / 3) as u64;
            assert!(parts[0].0.abs_diff(two_thirds) <= 1 + whole / 100_000_000, "{parts:?}");
        }
    }

    #[test]
    fn a_band_with_few_tasks_asks_its_neighbours() {
        let band = |tasks| DriverBand { tasks, parts: [u128::from(tasks); DRIVERS] };
        let bands = [band(9), band(0), band(4), band(0), band(12)];
        assert_eq!(around(&bands, 2).map(|near| near.tasks), Some(25));
        assert_eq!(around(&bands, 40).map(|near| near.tasks), None);
        let full = [band(9), band(30), band(4), band(0), band(12)];
        assert_eq!(around(&full, 2).map(|near| near.tasks), Some(34));
        assert_eq!(around(&[], 2), None);
    }
}
