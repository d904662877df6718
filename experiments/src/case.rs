//! A scenario ready to be run and judged: what a file says, in the terms of experiments.
//!
//! Deliberately absent: reading files (see `scenarios`), and results.

use crate::calibration::{Uncertain, UncertainPool};
use crate::metric::{CallTime, Metric, Quantile};
use crate::objectives::{Comparison, Objective};
use crate::replicate::{Plan, Sample};
use scenarios::Resolved;
use scenarios::resolved::{self, Limit, Replications, Subject, TaskTime, TimeSpread};
use sim::Scenario;
use sim::ids::{PoolId, TaskId};
use std::collections::BTreeMap;

/// A resolved scenario with its objectives and what is uncertain about its times.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the file comes to.
    pub resolved: Resolved,
    /// What is judged, in the order of the file.
    pub objectives: Vec<Objective>,
    /// Pools whose times rest on one calibration.
    pub uncertain: Vec<Uncertain>,
}

impl Case {
    /// Prepares a scenario.
    ///
    /// # Errors
    /// An objective that no number of the results stands for, in words.
    pub fn new(resolved: Resolved) -> Result<Case, String> {
        let objectives = objectives(&resolved.scenario, &resolved.objectives)?;
        let uncertain = uncertain(&resolved);
        Ok(Case { resolved, objectives, uncertain })
    }

    /// The simulator's inputs.
    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.resolved.scenario
    }

    /// What the file asks to be run.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let resolved::Plan { replications, seed, steady_state } = self.resolved.plan;
        let replications = match replications {
            Replications::Fixed(n) => Sample::Fixed(n),
            Replications::Auto => Sample::Auto,
        };
        Plan { seed, replications, steady_state, ..Plan::default() }
    }
}

/// Pools whose times rest on one calibration, and how far these may be off.
fn uncertain(resolved: &Resolved) -> Vec<Uncertain> {
    let mut groups: BTreeMap<&str, Vec<UncertainPool>> = BTreeMap::new();
    for (at, pool) in resolved.calibration.iter().enumerate() {
        let Some(TimeSpread { group, iteration, first_token, host_is_stated }) = &pool.spread
        else {
            continue;
        };
        groups.entry(group).or_default().push(UncertainPool {
            pool: PoolId(at as u32),
            iteration: *iteration,
            first_token: *first_token,
            host_is_stated: *host_is_stated,
        });
    }
    groups.into_values().map(|pools| Uncertain { pools }).collect()
}

/// The objectives of a scenario in the experiments' terms.
///
/// # Errors
/// An objective about a task's own TTFT or TPOT when other tasks call the same model: those times
/// are kept per model.
pub fn objectives(
    scenario: &Scenario,
    stated: &[resolved::Objective],
) -> Result<Vec<Objective>, String> {
    stated.iter().map(|objective| one(scenario, objective)).collect()
}

fn one(scenario: &Scenario, stated: &resolved::Objective) -> Result<Objective, String> {
    let metric = match stated.subject {
        Subject::Quantile { task, time, per_mille } => {
            let quantile = quantile(per_mille);
            match time {
                TaskTime::Latency => Metric::TaskLatency(task, quantile),
                TaskTime::Ttft => call(scenario, task, CallTime::Ttft, quantile, stated)?,
                TaskTime::Tpot => call(scenario, task, CallTime::Tpot, quantile, stated)?,
            }
        }
        Subject::SuccessRate(task) => Metric::SuccessRate(task),
        Subject::SloAttainment(task) => Metric::SloAttainment(task),
        Subject::Goodput(task) => Metric::Goodput(task),
        Subject::TaskCost(task) => Metric::TaskCost(task),
        Subject::TaskMargin(task) => Metric::TaskMargin(task),
        Subject::Call { model, time, per_mille } => {
            Metric::Call(model, call_time(time), quantile(per_mille))
        }
        Subject::SpendPerDay => Metric::SpendPerDay,
        Subject::SpendPerMonth => Metric::SpendPerMonth,
        Subject::SpendPerSuccessfulTask => Metric::CostPerSuccessfulTask,
        Subject::MarginPerTask => Metric::MarginPerTask,
        Subject::Utilisation(pool) => Metric::Utilisation(pool),
    };
    let target = match stated.limit {
        Limit::Span(span) => span.as_secs_f64(),
        Limit::Share(number) | Limit::Rate(number) => number,
        Limit::Money(money) => money.as_dollars_f64(),
    };
    let comparison = match stated.comparison {
        resolved::Comparison::AtMost => Comparison::AtMost,
        resolved::Comparison::AtLeast => Comparison::AtLeast,
    };
    let (name, text) = (stated.name.clone(), stated.target.clone());
    Ok(Objective { name, metric, comparison, target, text })
}

/// A time that is kept per model stands for the task when nobody else calls that model.
fn call(
    scenario: &Scenario,
    task: TaskId,
    time: CallTime,
    quantile: Quantile,
    stated: &resolved::Objective,
) -> Result<Metric, String> {
    let Some(model) = scenario.tasks[task.index()].request_model() else {
        return Err(format!("{}: {}: the task calls no model", stated.site.place, stated.name));
    };
    if scenario.tasks.iter().filter(|other| other.request_model() == Some(model)).count() > 1 {
        let name = &scenario.models[model.index()].name;
        return Err(format!(
            "{}: {}: several tasks call the model {name}, and this time is kept per model; \
             give the task a model name of its own",
            stated.site.place, stated.name
        ));
    }
    Ok(Metric::Call(model, time, quantile))
}

fn call_time(time: resolved::CallTime) -> CallTime {
    match time {
        resolved::CallTime::Ttft => CallTime::Ttft,
        resolved::CallTime::Tpot => CallTime::Tpot,
        resolved::CallTime::EndToEnd => CallTime::E2e,
        resolved::CallTime::Queue => CallTime::Queue,
    }
}

fn quantile(per_mille: u32) -> Quantile {
    match per_mille {
        500 => Quantile::P50,
        900 => Quantile::P90,
        990 => Quantile::P99,
        _ => Quantile::P95,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::library;

    /// Files can state every number that an experiment judges, and mean that one.
    #[test]
    fn every_metric_can_be_an_objective() {
        let starter = library::find("starter").expect("it is shipped");
        let plain = scenarios::load_library(starter, None, &[]).expect("valid").scenario;
        for (path, metric) in Metric::all(&plain) {
            let limit = match metric.unit() {
                "s" => "1s",
                "1/s" => "1/s",
                "USD" => "$1",
                _ => "0.5",
            };
            let (owner, name) = path.rsplit_once('.').unwrap_or(("", &path));
            let owner = if owner.is_empty() { String::new() } else { format!(".\"{owner}\"") };
            let set = [format!("objectives{owner}.{name}=<= {limit}")];
            let resolved = scenarios::load_library(starter, None, &set)
                .unwrap_or_else(|problems| panic!("{path}: {problems}"));
            let judged = objectives(&resolved.scenario, &resolved.objectives).expect("translated");
            let stated = judged.iter().find(|objective| objective.name == path);
            let stated = stated.unwrap_or_else(|| panic!("{path} is not judged"));
            assert_eq!(stated.metric, metric, "{path}");
        }
    }
}
