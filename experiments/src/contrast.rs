//! Two results of the same replications side by side: what moved, by how much, and by which cause.
//!
//! Numbers are matched by their names, so that two files may name their tasks, models and pools in
//! different orders, and what only one of them has is left out.
//!
//! Invariants: every change is paired (see `paired`); the causes of a task's latency sum to it in
//! both arms, so their differences sum to the difference; those of the cost to that of the cost.
//!
//! Deliberately absent: a verdict (see `gate`), and single tasks (see `examples`).

use crate::estimate::Estimate;
use crate::metric::Metric;
use crate::paired::Change;
use crate::result::{CostDrivers, CostPart, ModelResult, RunResult, TaskResult};
use sim::Scenario;
use sim::tasks::{ALL_DRIVERS, DRIVERS, Driver};
use sim::units::{Money, Span};

/// Two arms side by side.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Contrast {
    /// Every number that both have, tasks first.
    pub numbers: Vec<Compared>,
    /// What moved the latency of each task that both have, most moved first within each.
    pub latency: Vec<LatencyShift>,
    /// What was bought per successful task; empty where only GPUs cost anything and all tasks are
    /// one plain call.
    pub items: Vec<CostShift>,
    /// Why it was bought per successful task, likewise.
    pub causes: Vec<CostShift>,
    /// Spend by cause, mean per replication: `(name, before, after)`.
    pub spend: Vec<(&'static str, Money, Money)>,
}

/// One number of both arms.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Its path, such as `support_reply.p95_latency`.
    pub path: String,
    /// In the first arm's scenario.
    pub metric: Metric,
    /// How it changed.
    pub change: Change,
}

/// What moved the latency of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyShift {
    /// Name of the task.
    pub task: String,
    /// Its mean latency.
    pub mean: Change,
    /// Its p95.
    pub p95: Change,
    /// Seconds of the mean by cause, `(cause, before, after)`; they sum to the mean.
    pub mean_parts: Vec<(Driver, f64, f64)>,
    /// Seconds of the p95 by cause; empty where one of the arms has none.
    pub p95_parts: Vec<(Driver, f64, f64)>,
}

/// What moved the cost of a successful task.
#[derive(Clone, Debug, PartialEq)]
pub struct CostShift {
    /// Stable name for scripts, such as `output_tokens`.
    pub key: &'static str,
    /// Dollars per successful task.
    pub change: Change,
}

impl Contrast {
    /// Compares two results of the same replications; each with all its tasks.
    #[must_use]
    pub fn of(before: (&Scenario, &RunResult), after: (&Scenario, &RunResult)) -> Contrast {
        let (first, second) = (before.1, after.1);
        let in_second = Metric::all(after.0);
        let is_equal = first == second;
        let mut numbers: Vec<Compared> = Vec::new();
        for (path, metric) in Metric::all(before.0) {
            // Two paths of one number: the first will do.
            let is_new = numbers.iter().all(|known| known.metric != metric);
            let other = in_second.iter().find(|(other, _)| *other == path);
            if let (true, Some((_, other))) = (is_new, other) {
                let change = Change::between(&metric.estimate(first), &other.estimate(second));
                let change = if is_equal { change } else { change.with_unseen() };
                numbers.push(Compared { path, metric, change });
            }
        }
        let latency = matched(&first.tasks, &second.tasks, |task| task.name.as_str());
        let costs =
            |of: fn(&CostDrivers) -> &[CostPart]| match (&first.cost_drivers, &second.cost_drivers)
            {
                (Some(a), Some(b)) => cost_shifts(
                    (of(a), &first.spend.per_successful_task_usd),
                    (of(b), &second.spend.per_successful_task_usd),
                ),
                _ => Vec::new(),
            };
        let spend = first.spend.by.parts().into_iter().zip(second.spend.by.parts());
        Contrast {
            numbers,
            latency: latency.map(|(a, b)| LatencyShift::of((a, before), (b, after))).collect(),
            items: costs(|drivers| &drivers.items),
            causes: costs(|drivers| &drivers.causes),
            spend: spend.map(|((name, before), (_, after))| (name, before, after)).collect(),
        }
    }

    /// The change of a number by its path.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<&Compared> {
        self.numbers.iter().find(|number| number.path == path)
    }
}

/// Things of both arms with the same name, in the order of the first.
fn matched<'a, T>(
    before: &'a [T],
    after: &'a [T],
    name: fn(&T) -> &str,
) -> impl Iterator<Item = (&'a T, &'a T)> {
    before.iter().filter_map(move |first| {
        after.iter().find(|second| name(second) == name(first)).map(|second| (first, second))
    })
}

type Side<'a> = (&'a TaskResult, (&'a Scenario, &'a RunResult));

impl LatencyShift {
    fn of(before: Side<'_>, after: Side<'_>) -> LatencyShift {
        let (first, second) = (before.0, after.0);
        let parts = |of: fn(&Side<'_>) -> Option<[f64; DRIVERS]>| {
            let (Some(a), Some(b)) = (of(&before), of(&after)) else { return Vec::new() };
            let rows = ALL_DRIVERS.into_iter().zip(a.into_iter().zip(b));
            let rows = rows.map(|(driver, (a, b))| (driver, a, b));
            let mut rows: Vec<_> = rows.filter(|&(_, a, b)| a != 0.0 || b != 0.0).collect();
            rows.sort_by(|x, y| (y.2 - y.1).abs().total_cmp(&(x.2 - x.1).abs()));
            rows
        };
        LatencyShift {
            task: first.name.clone(),
            mean: Change::between(&first.latency.mean, &second.latency.mean),
            p95: Change::between(&first.latency.p95, &second.latency.p95),
            mean_parts: parts(mean_parts),
            p95_parts: parts(p95_parts),
        }
    }
}

fn seconds(parts: &[Span; DRIVERS]) -> [f64; DRIVERS] {
    parts.map(Span::as_secs_f64)
}

/// Seconds by cause of the mean. A plain call has no list of its own: its model's times say it.
fn mean_parts((task, arm): &Side<'_>) -> Option<[f64; DRIVERS]> {
    if let Some(drivers) = &task.drivers {
        return Some(seconds(&drivers.mean));
    }
    let model = only_model(task, *arm)?;
    let whole = task.latency.mean.value?;
    let of = |estimate: &Estimate| estimate.value;
    let (queue, prefill, decode) =
        (of(&model.queue.mean)?, of(&model.prefill.mean)?, of(&model.decode.mean)?);
    let mut parts = [0.0; DRIVERS];
    parts[Driver::Queueing as usize] = queue;
    parts[Driver::Prefill as usize] = prefill;
    parts[Driver::Decode as usize] = decode;
    // What is left is the host, before the engine has the request.
    parts[Driver::Host as usize] = (whole - queue - prefill - decode).max(0.0);
    Some(parts)
}

fn p95_parts((task, _): &Side<'_>) -> Option<[f64; DRIVERS]> {
    task.drivers.as_ref().and_then(|drivers| drivers.p95.as_ref()).map(seconds)
}

/// The model of a plain task that no other task calls.
fn only_model<'a>(
    task: &TaskResult,
    (scenario, result): (&Scenario, &'a RunResult),
) -> Option<&'a ModelResult> {
    let model = |spec: &sim::tasks::TaskSpec| spec.request_model();
    let own = scenario.tasks.iter().find(|spec| spec.name == task.name).and_then(model)?;
    let users = scenario.tasks.iter().filter(|spec| model(spec) == Some(own)).count();
    result.models.get(own.index()).filter(|_| users == 1)
}

/// Costs of either arm by name, in the order of the first; one that an arm does not have is none
/// there, so that they sum in both to the cost given with them.
fn cost_shifts(
    (before, first): (&[CostPart], &Estimate),
    (after, second): (&[CostPart], &Estimate),
) -> Vec<CostShift> {
    let mut keys: Vec<&'static str> = before.iter().map(|part| part.key).collect();
    let mut at = 0;
    for part in after {
        // One of the second alone stands behind what it follows there.
        match keys.iter().position(|key| *key == part.key) {
            Some(known) => at = known + 1,
            None => {
                keys.insert(at, part.key);
                at += 1;
            }
        }
    }
    let cost = |parts: &[CostPart], key: &str, total: &Estimate| {
        let found = parts.iter().find(|part| part.key == key);
        let nothing = || nothing_of(total);
        found.map_or_else(nothing, |part| part.per_successful_task_usd.clone())
    };
    let shift = |key| {
        let (a, b) = (cost(before, key, first), cost(after, key, second));
        CostShift { key, change: Change::between(&a, &b) }
    };
    let is_there = |estimate: &Estimate| estimate.value.is_some_and(|value| value != 0.0);
    keys.into_iter()
        .map(shift)
        .filter(|shift| is_there(&shift.change.before) || is_there(&shift.change.after))
        .collect()
}

/// A part of a cost that was never paid: zero in every replication, where there is a cost at all.
fn nothing_of(cost: &Estimate) -> Estimate {
    let zero = |value: Option<f64>| value.map(|_| 0.0);
    Estimate {
        value: zero(cost.value),
        low: zero(cost.low),
        high: zero(cost.high),
        without: vec![0.0; cost.without.len()],
        calibration: None,
        ..cost.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64) -> Estimate {
        Estimate::from_replications(value, vec![value; 3]).expect("three replications")
    }

    /// An arm that pays these dollars for a success, and their sum.
    fn arm(parts: &[(&'static str, f64)]) -> (Vec<CostPart>, Estimate) {
        let total = parts.iter().map(|part| part.1).sum();
        let part = |&(key, dollars): &(&'static str, f64)| CostPart {
            key,
            amount: Money(1),
            per_successful_task_usd: estimate(dollars),
        };
        (parts.iter().map(part).collect(), estimate(total))
    }

    /// A short timeout throws away what a long one waits for: a row that only one arm has.
    #[test]
    fn costs_of_either_arm_sum_to_the_cost_of_both() {
        let first = arm(&[("gpu_at_work", 0.5), ("gpu_idle", 0.25), ("tools", 0.125)]);
        let second = arm(&[("gpu_at_work", 0.25), ("gpu_wasted", 1.0), ("gpu_idle", 0.25)]);
        let shifts = cost_shifts((&first.0, &first.1), (&second.0, &second.1));
        let keys: Vec<_> = shifts.iter().map(|shift| shift.key).collect();
        assert_eq!(keys, ["gpu_at_work", "gpu_wasted", "gpu_idle", "tools"]);
        let sum = |of: fn(&Change) -> &Estimate| -> Option<f64> {
            shifts.iter().map(|shift| of(&shift.change).value).sum()
        };
        assert_eq!(sum(|change| &change.before), first.1.value);
        assert_eq!(sum(|change| &change.after), second.1.value);
        assert_eq!(sum(|change| &change.difference), Some(0.625));
        assert_eq!(shifts[1].change.difference.low, Some(1.0));
    }
}
