//! The numbers that objectives and gates are about, and their paths in files and reports.
//!
//! Invariant: a path names one number, and every number of [`Metric::all`] has an estimate in the
//! result of its scenario.
//!
//! Deliberately absent: judging (see `objectives` and `gate`).

use crate::estimate::{Distribution, Estimate};
use crate::result::RunResult;
use crate::tenants::{TenantGroup, TenantsId};
use sim::Scenario;
use sim::ids::{ModelId, PoolId, TaskId};

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
    /// `margin.per_day`, dollars.
    MarginPerDay,
    /// `margin.per_month`, dollars.
    MarginPerMonth,
    /// `<tenants>.margin_per_tenant`, dollars per tenant and month.
    MarginPerTenant(TenantsId),
    /// `<tenants>.losing_tenants`, the ratio of those who cost more than they pay.
    LosingTenants(TenantsId),
    /// `<tenants>.margin_per_heaviest_tenant`, dollars per tenant and month of the most expensive
    /// hundredth.
    MarginPerHeaviestTenant(TenantsId),
    /// `<pool>.utilisation`, a ratio.
    Utilisation(PoolId),
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
        all.push(("margin.per_day".into(), Metric::MarginPerDay));
        all.push(("margin.per_month".into(), Metric::MarginPerMonth));
        for (name, id) in TenantsId::all(scenario) {
            all.push((format!("{name}.margin_per_tenant"), Metric::MarginPerTenant(id)));
            all.push((format!("{name}.losing_tenants"), Metric::LosingTenants(id)));
            let heaviest = Metric::MarginPerHeaviestTenant(id);
            all.push((format!("{name}.margin_per_heaviest_tenant"), heaviest));
        }
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

    /// The task it is about, if it is about one.
    #[must_use]
    pub fn task(self) -> Option<TaskId> {
        match self {
            Metric::TaskLatency(task, _)
            | Metric::SuccessRate(task)
            | Metric::SloAttainment(task)
            | Metric::Goodput(task)
            | Metric::TaskCost(task)
            | Metric::TaskMargin(task) => Some(task),
            _ => None,
        }
    }

    /// Unit of its values: `s`, `USD`, `1/s`, or empty for a ratio.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Metric::TaskLatency(..) | Metric::Call(..) => "s",
            Metric::Goodput(_) => "1/s",
            Metric::SuccessRate(_)
            | Metric::SloAttainment(_)
            | Metric::Utilisation(_)
            | Metric::LosingTenants(_) => "",
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
            Metric::MarginPerDay => Some(&result.margin.per_day_usd),
            Metric::MarginPerMonth => Some(&result.margin.per_month_usd),
            Metric::MarginPerTenant(id) => {
                tenants(result, id).map(|group| &group.margin_per_tenant_month_usd)
            }
            Metric::LosingTenants(id) => tenants(result, id).map(|group| &group.losing),
            Metric::MarginPerHeaviestTenant(id) => tenants(result, id)
                .and_then(|group| group.heaviest.first())
                .map(|heaviest| &heaviest.margin_per_tenant_month_usd),
            Metric::Utilisation(pool) => result.pools.get(pool.index()).map(|p| &p.utilisation),
        };
        found.cloned().unwrap_or_else(|| Estimate::absent("not part of this result"))
    }
}

fn tenants(result: &RunResult, TenantsId(at): TenantsId) -> Option<&TenantGroup> {
    result.tenants.get(at as usize)
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
