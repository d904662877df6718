//! Promises to be judged: a metric, a comparison and a target.
//!
//! Invariants: an objective is met or missed only when the whole interval lies on one side of the
//! target; an unstable system misses its latency objectives, because its latency exceeds any
//! target when the run is long enough; a value without an interval decides nothing.
//!
//! Deliberately absent: units in text (`6s`), which the reader of the scenario turns into numbers.

use crate::estimate::{Distribution, Estimate};
use crate::result::RunResult;
use crate::stability::Verdict;
use sim::Scenario;
use sim::ids::{ModelId, PoolId, TaskId};

/// Which way a metric is to lie from its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<=`
    AtMost,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `>`
    Above,
}

/// A quantile that reports carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantile {
    /// The median.
    P50,
    /// 90 % are at or below.
    P90,
    /// 95 % are at or below.
    P95,
    /// 99 % are at or below.
    P99,
}

/// A time of a model call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallTime {
    /// Time to first token.
    Ttft,
    /// Time per output token after the first.
    Tpot,
    /// End to end.
    E2e,
    /// In the engine's queue.
    Queue,
}

/// What an objective is about, and its path in files and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `<task>.p95_latency`, seconds.
    TaskLatency(TaskId, Quantile),
    /// `<task>.success_rate`, a ratio.
    SuccessRate(TaskId),
    /// `<task>.slo_attainment`, a ratio.
    SloAttainment(TaskId),
    /// `<task>.goodput`, tasks per second.
    Goodput(TaskId),
    /// `<task>.cost_per_successful_task`, dollars.
    TaskCost(TaskId),
    /// `<task>.margin_per_task`, dollars.
    TaskMargin(TaskId),
    /// `<model>.ttft_p95` and the like, seconds.
    Call(ModelId, CallTime, Quantile),
    /// `spend.per_day`, dollars.
    SpendPerDay,
    /// `spend.per_month`, dollars.
    SpendPerMonth,
    /// `cost_per_successful_task`, dollars.
    CostPerSuccessfulTask,
    /// `margin_per_task`, dollars.
    MarginPerTask,
    /// `<pool>.utilisation`, a ratio.
    Utilisation(PoolId),
}

/// One promise.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// The metric's path as the user wrote it.
    pub name: String,
    /// What is measured.
    pub metric: Metric,
    /// Which way.
    pub comparison: Comparison,
    /// Against what, in the metric's unit.
    pub target: f64,
    /// The right-hand side as the user wrote it, such as `<= 6s`.
    pub text: String,
}

/// How an objective fared.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectiveResult {
    /// The promise.
    pub objective: Objective,
    /// The metric's estimate.
    pub estimate: Estimate,
    /// `Some(true)`: the whole interval is on the right side; `Some(false)`: it is wholly on the
    /// wrong side, or the system is unstable and this is about latency; `None`: it straddles the
    /// target, or there is no interval.
    pub met: Option<bool>,
}

/// What a process that judged objectives should say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Every objective is met.
    Met,
    /// At least one is missed.
    Missed,
    /// None is missed, at least one is undecided.
    Undecided,
}

/// A metric's path that names nothing in the scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no metric is called {path:?}; there are: {}", known.join(", "))]
pub struct UnknownMetric {
    /// What was asked for.
    pub path: String,
    /// Every path the scenario has.
    pub known: Vec<String>,
}

const QUANTILES: [(Quantile, &str); 4] = [
    (Quantile::P50, "p50"),
    (Quantile::P90, "p90"),
    (Quantile::P95, "p95"),
    (Quantile::P99, "p99"),
];
const CALL_TIMES: [(CallTime, &str); 4] = [
    (CallTime::Ttft, "ttft"),
    (CallTime::Tpot, "tpot"),
    (CallTime::E2e, "e2e"),
    (CallTime::Queue, "queue"),
];

impl Comparison {
    /// Whether `value` lies on the right side of `target`. Numbers that agree to 12 digits count
    /// as equal: one was computed, the other read from decimal text.
    #[must_use]
    pub fn holds(self, value: f64, target: f64) -> bool {
        let equal = (value - target).abs() <= 1e-12 * target.abs();
        match self {
            Comparison::AtMost => equal || value < target,
            Comparison::AtLeast => equal || value > target,
            Comparison::Below => !equal && value < target,
            Comparison::Above => !equal && value > target,
        }
    }

    /// `<=`, `>=`, `<` or `>`.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::AtMost => "<=",
            Comparison::AtLeast => ">=",
            Comparison::Below => "<",
            Comparison::Above => ">",
        }
    }
}

impl Metric {
    /// Every metric of a scenario with its path, tasks first.
    #[must_use]
    pub fn all(scenario: &Scenario) -> Vec<(String, Metric)> {
        let mut all = Vec::new();
        for (at, task) in scenario.tasks.iter().enumerate() {
            let (id, name) = (TaskId(at as u32), &task.name);
            for (quantile, p) in QUANTILES {
                all.push((format!("{name}.{p}_latency"), Metric::TaskLatency(id, quantile)));
            }
            all.push((format!("{name}.success_rate"), Metric::SuccessRate(id)));
            all.push((format!("{name}.slo_attainment"), Metric::SloAttainment(id)));
            all.push((format!("{name}.goodput"), Metric::Goodput(id)));
            all.push((format!("{name}.cost_per_successful_task"), Metric::TaskCost(id)));
            all.push((format!("{name}.margin_per_task"), Metric::TaskMargin(id)));
        }
        for (at, model) in scenario.models.iter().enumerate() {
            for (time, name) in CALL_TIMES {
                for (quantile, p) in QUANTILES {
                    let metric = Metric::Call(ModelId(at as u32), time, quantile);
                    all.push((format!("{}.{name}_{p}", model.name), metric));
                }
            }
        }
        for (at, pool) in scenario.pools.iter().enumerate() {
            all.push((
                format!("{}.utilisation", pool.name),
                Metric::Utilisation(PoolId(at as u32)),
            ));
        }
        all.push(("spend.per_day".into(), Metric::SpendPerDay));
        all.push(("spend.per_month".into(), Metric::SpendPerMonth));
        all.push(("cost_per_successful_task".into(), Metric::CostPerSuccessfulTask));
        all.push(("margin_per_task".into(), Metric::MarginPerTask));
        // The same two as files name them.
        all.push(("spend.per_successful_task".into(), Metric::CostPerSuccessfulTask));
        all.push(("margin.per_task".into(), Metric::MarginPerTask));
        all
    }

    /// The metric of a path such as `support_reply.p95_latency`.
    ///
    /// # Errors
    /// The path names nothing in this scenario.
    pub fn parse(path: &str, scenario: &Scenario) -> Result<Metric, UnknownMetric> {
        let all = Metric::all(scenario);
        all.iter().find(|(name, _)| name == path).map(|(_, metric)| *metric).ok_or_else(|| {
            UnknownMetric {
                path: path.into(),
                known: all.into_iter().map(|(name, _)| name).collect(),
            }
        })
    }

    /// Unit of its values: `s`, `USD`, `1/s`, or empty for a ratio.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Metric::TaskLatency(..) | Metric::Call(..) => "s",
            Metric::Goodput(_) => "1/s",
            Metric::SuccessRate(_) | Metric::SloAttainment(_) | Metric::Utilisation(_) => "",
            _ => "USD",
        }
    }

    /// Whether its value grows with the run when the backlog does.
    #[must_use]
    pub fn depends_on_backlog(self) -> bool {
        match self {
            Metric::TaskLatency(..) | Metric::SloAttainment(_) | Metric::Goodput(_) => true,
            // The pace of decoding is set by the batch, which is full, not by the queue.
            Metric::Call(_, time, _) => time != CallTime::Tpot,
            _ => false,
        }
    }

    /// Its estimate in a result; absent when the result is of another scenario.
    #[must_use]
    pub fn estimate(self, result: &RunResult) -> Estimate {
        let found = match self {
            Metric::TaskLatency(task, quantile) => {
                result.tasks.get(task.index()).map(|t| t.latency.quantile(quantile))
            }
            Metric::SuccessRate(task) => result.tasks.get(task.index()).map(|t| &t.success_rate),
            Metric::SloAttainment(task) => {
                result.tasks.get(task.index()).map(|t| &t.slo_attainment)
            }
            Metric::Goodput(task) => result.tasks.get(task.index()).map(|t| &t.goodput),
            Metric::TaskCost(task) => {
                result.tasks.get(task.index()).map(|t| &t.money.cost_per_success_usd)
            }
            Metric::TaskMargin(task) => {
                result.tasks.get(task.index()).map(|t| &t.money.margin_per_task_usd)
            }
            Metric::Call(model, time, quantile) => result.models.get(model.index()).map(|m| {
                match time {
                    CallTime::Ttft => &m.ttft,
                    CallTime::Tpot => &m.tpot,
                    CallTime::E2e => &m.e2e,
                    CallTime::Queue => &m.queue,
                }
                .quantile(quantile)
            }),
            Metric::SpendPerDay => Some(&result.spend.per_day_usd),
            Metric::SpendPerMonth => Some(&result.spend.per_month_usd),
            Metric::CostPerSuccessfulTask => Some(&result.spend.per_successful_task_usd),
            Metric::MarginPerTask => Some(&result.margin.per_task_usd),
            Metric::Utilisation(pool) => result.pools.get(pool.index()).map(|p| &p.utilisation),
        };
        found.cloned().unwrap_or_else(|| Estimate::absent("not part of this result"))
    }
}

impl Distribution {
    /// One of its quantiles.
    #[must_use]
    pub fn quantile(&self, quantile: Quantile) -> &Estimate {
        match quantile {
            Quantile::P50 => &self.p50,
            Quantile::P90 => &self.p90,
            Quantile::P95 => &self.p95,
            Quantile::P99 => &self.p99,
        }
    }
}

impl Objective {
    /// Judges a result by this promise.
    #[must_use]
    pub fn judge(&self, result: &RunResult) -> ObjectiveResult {
        let estimate = self.metric.estimate(result);
        let unstable = result.stability.verdict.is_some_and(Verdict::voids_latency);
        let met = if unstable && self.metric.depends_on_backlog() {
            Some(false)
        } else {
            // A latency that depends on the horizon can miss its target, but not keep it.
            let doubtful = result.stability.horizon_matters && self.metric.depends_on_backlog();
            self.decide(&estimate).filter(|met| !(doubtful && *met))
        };
        ObjectiveResult { objective: self.clone(), estimate, met }
    }

    fn decide(&self, estimate: &Estimate) -> Option<bool> {
        let low = self.comparison.holds(estimate.low?, self.target);
        let high = self.comparison.holds(estimate.high?, self.target);
        (low == high).then_some(low)
    }
}

impl ObjectiveResult {
    /// Whether it is decided at the calibrated times, and would be decided otherwise, or not at all,
    /// where these are as far off as they may be.
    #[must_use]
    pub fn calibration_decides(&self) -> bool {
        let Objective { comparison, target, .. } = self.objective;
        let Some(range) = &self.estimate.calibration else { return false };
        // An open end lies beyond every target.
        let low = range.low.unwrap_or(f64::NEG_INFINITY);
        let high = range.high.unwrap_or(f64::INFINITY);
        self.met.is_some() && comparison.holds(low, target) != comparison.holds(high, target)
    }
}

impl ExitStatus {
    /// One missed objective decides; an undecided one comes next.
    #[must_use]
    pub fn of(results: &[ObjectiveResult]) -> ExitStatus {
        if results.iter().any(|r| r.met == Some(false)) {
            ExitStatus::Missed
        } else if results.iter().any(|r| r.met.is_none()) {
            ExitStatus::Undecided
        } else {
            ExitStatus::Met
        }
    }

    /// 0 met, 1 missed, 3 undecided.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Met => 0,
            ExitStatus::Missed => 1,
            ExitStatus::Undecided => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency_below(target: f64) -> Objective {
        Objective {
            name: "t.p95_latency".into(),
            metric: Metric::TaskLatency(TaskId(0), Quantile::P95),
            comparison: Comparison::AtMost,
            target,
            text: format!("<= {target}s"),
        }
    }

    #[test]
    fn an_interval_decides_only_as_a_whole() {
        let estimate = Estimate::with_interval(5.0, 4.0, 6.0);
        assert_eq!(latency_below(6.0).decide(&estimate), Some(true));
        assert_eq!(latency_below(3.9).decide(&estimate), Some(false));
        assert_eq!(latency_below(5.5).decide(&estimate), None);
        assert_eq!(latency_below(9.0).decide(&Estimate::without_interval(5.0, "one")), None);
        let at_least = Objective { comparison: Comparison::AtLeast, ..latency_below(4.0) };
        assert_eq!(at_least.decide(&estimate), Some(true));
        let above = Objective { comparison: Comparison::Above, ..latency_below(4.0) };
        assert_eq!(above.decide(&estimate), None);
    }

    #[test]
    fn equality_is_to_twelve_digits() {
        let spend = 0.1 + 0.2;
        assert!(Comparison::AtMost.holds(spend, 0.3) && Comparison::AtLeast.holds(spend, 0.3));
        assert!(!Comparison::Above.holds(spend, 0.3) && !Comparison::Below.holds(spend, 0.3));
        assert!(!Comparison::AtMost.holds(0.300_001, 0.3));
    }

    #[test]
    fn a_missed_objective_outweighs_an_undecided_one() {
        let with = |met| ObjectiveResult {
            objective: latency_below(1.0),
            estimate: Estimate::default(),
            met,
        };
        let cases = [
            (vec![], 0),
            (vec![Some(true)], 0),
            (vec![Some(true), None], 3),
            (vec![None, Some(false), Some(true)], 1),
        ];
        for (met, code) in cases {
            let results: Vec<_> = met.into_iter().map(with).collect();
            assert_eq!(ExitStatus::of(&results).code(), code);
        }
    }
}
