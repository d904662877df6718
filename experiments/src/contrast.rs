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
use crate::result::{CostPart, ModelResult, RunResult, TaskResult};
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
        let mut numbers: Vec<Compared> = Vec::new();
        for (path, metric) in Metric::all(before.0) {
            // Two paths of one number: the first will do.
            let is_new = numbers.iter().all(|known| known.metric != metric);
            let other = in_second.iter().find(|(other, _)| *other == path);
            if let (true, Some((_, other))) = (is_new, other) {
                let change = Change::between(&metric.estimate(first), &other.estimate(second));
                numbers.push(Compared { path, metric, change });
            }
        }
        let latency = matched(&first.tasks, &second.tasks, |task| task.name.as_str());
        let costs = |of: fn(&RunResult) -> Vec<CostPart>| cost_shifts(&of(first), &of(second));
        let spend = first.spend.by.parts().into_iter().zip(second.spend.by.parts());
        Contrast {
            numbers,
            latency: latency.map(|(a, b)| LatencyShift::of((a, before), (b, after))).collect(),
            items: costs(|r| r.cost_drivers.as_ref().map_or_else(Vec::new, |c| c.items.clone())),
            causes: costs(|r| r.cost_drivers.as_ref().map_or_else(Vec::new, |c| c.causes.clone())),
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

/// Costs of both arms by name; one that an arm does not have is none there.
fn cost_shifts(before: &[CostPart], after: &[CostPart]) -> Vec<CostShift> {
    let pairs = matched(before, after, |part| part.key);
    pairs
        .map(|(a, b)| CostShift {
            key: a.key,
            change: Change::between(&a.per_successful_task_usd, &b.per_successful_task_usd),
        })
        .filter(|shift| {
            let is_there = |estimate: &Estimate| estimate.value.is_some_and(|value| value != 0.0);
            is_there(&shift.change.before) || is_there(&shift.change.after)
        })
        .collect()
}
