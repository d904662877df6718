//! A scenario ready to be run and judged: what a file says, in the terms of experiments.
//!
//! Deliberately absent: reading files (see `scenarios`), and results.

use crate::calibration::{Uncertain, UncertainPool};
use crate::gate::{Gate, Level, Rule, Tolerance};
use crate::metric::{CallTime, Metric, Quantile};
use crate::objectives::{Comparison, Objective};
use crate::replicate::{Plan, Sample};
use crate::tenants::TenantsId;
use scenarios::Resolved;
use scenarios::problem::Site;
use scenarios::resolved::{self, Limit, Replications, Subject, TaskTime, TimeSpread};
use sim::Scenario;
use sim::ids::{PoolId, SourceId, TaskId};
use std::collections::BTreeMap;

/// A resolved scenario with its objectives and what is uncertain about its times.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the file comes to.
    pub resolved: Resolved,
    /// What is judged, in the order of the file.
    pub objectives: Vec<Objective>,
    /// What a check judges, in the order of the file, with the objectives at the end.
    pub gates: Vec<Gate>,
    /// Pools whose times rest on one calibration.
    pub uncertain: Vec<Uncertain>,
}

impl Case {
    /// Prepares a scenario.
    ///
    /// # Errors
    /// An objective or a gate that no number of the results stands for, in words.
    pub fn new(resolved: Resolved) -> Result<Case, String> {
        let objectives = objectives(&resolved.scenario, &resolved.objectives)?;
        let gates = gates(&resolved.scenario, &resolved.gates)?;
        let uncertain = uncertain(&resolved);
        Ok(Case { resolved, objectives, gates, uncertain })
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
    let one = |stated: &resolved::Objective| {
        Ok(Objective {
            name: stated.name.clone(),
            metric: metric(
                scenario,
                stated.subject,
                &Said { name: &stated.name, site: &stated.site },
            )?,
            comparison: comparison(stated.comparison),
            target: value(stated.limit),
            text: stated.target.clone(),
        })
    };
    stated.iter().map(one).collect()
}

/// The gates of a scenario in the experiments' terms; one that states a change and a limit becomes
/// two.
///
/// # Errors
/// As those of [`objectives`].
pub fn gates(scenario: &Scenario, stated: &[resolved::Gate]) -> Result<Vec<Gate>, String> {
    let mut all = Vec::new();
    for stated in stated {
        let said = Said { name: &stated.name, site: &stated.site };
        let metric = metric(scenario, stated.subject, &said)?;
        let change = stated.change.map(|change| {
            Rule::Change(Tolerance {
                comparison: comparison(change.comparison),
                relative: change.relative,
                absolute: change
                    .absolute
                    .map(|by| if by.down { -value(by.by) } else { value(by.by) }),
            })
        });
        let limit = stated.limit.map(|(side, limit)| Rule::Limit(comparison(side), value(limit)));
        let gate = |rule: Rule| Gate {
            name: stated.name.clone(),
            text: stated.text.clone(),
            metric,
            rule,
            level: level(stated.level),
        };
        all.extend([change, limit].into_iter().flatten().map(gate));
    }
    Ok(all)
}

/// What is said of a number, and where.
struct Said<'a> {
    name: &'a str,
    site: &'a Site,
}

fn metric(scenario: &Scenario, subject: Subject, said: &Said<'_>) -> Result<Metric, String> {
    Ok(match subject {
        Subject::Quantile { task, time, per_mille } => {
            let quantile = quantile(per_mille);
            match time {
                TaskTime::Latency => Metric::TaskLatency(task, quantile),
                TaskTime::Ttft => call(scenario, task, CallTime::Ttft, quantile, said)?,
                TaskTime::Tpot => call(scenario, task, CallTime::Tpot, quantile, said)?,
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
        Subject::MarginPerDay => Metric::MarginPerDay,
        Subject::MarginPerMonth => Metric::MarginPerMonth,
        Subject::MarginPerTenant(source) => {
            Metric::MarginPerTenant(tenants(scenario, source, said)?)
        }
        Subject::LosingTenants(source) => Metric::LosingTenants(tenants(scenario, source, said)?),
        Subject::MarginPerHeaviestTenant(source) => {
            Metric::MarginPerHeaviestTenant(tenants(scenario, source, said)?)
        }
        Subject::Utilisation(pool) => Metric::Utilisation(pool),
    })
}

/// The tenants whom a source brings.
fn tenants(scenario: &Scenario, source: SourceId, said: &Said<'_>) -> Result<TenantsId, String> {
    let none = || format!("{}: {}: this traffic has no tenants", said.site.place, said.name);
    TenantsId::of(scenario, source).ok_or_else(none)
}

/// A limit in its number's unit: seconds, dollars, per second, or a share.
fn value(limit: Limit) -> f64 {
    match limit {
        Limit::Span(span) => span.as_secs_f64(),
        Limit::Share(number) | Limit::Rate(number) => number,
        Limit::Money(money) => money.as_dollars_f64(),
    }
}

fn comparison(of: resolved::Comparison) -> Comparison {
    match of {
        resolved::Comparison::AtMost => Comparison::AtMost,
        resolved::Comparison::AtLeast => Comparison::AtLeast,
    }
}

/// What failing a gate means.
#[must_use]
pub fn level(of: resolved::Level) -> Level {
    match of {
        resolved::Level::Fail => Level::Fail,
        resolved::Level::Warn => Level::Warn,
    }
}

/// A time that is kept per model stands for the task when nobody else calls that model.
fn call(
    scenario: &Scenario,
    task: TaskId,
    time: CallTime,
    quantile: Quantile,
    said: &Said<'_>,
) -> Result<Metric, String> {
    let (name, place) = (said.name, &said.site.place);
    let Some(model) = scenario.tasks[task.index()].request_model() else {
        return Err(format!("{place}: {name}: the task calls no model"));
    };
    if scenario.tasks.iter().filter(|other| other.request_model() == Some(model)).count() > 1 {
        let model = &scenario.models[model.index()].name;
        return Err(format!(
            "{place}: {name}: several tasks call the model {model}, and this time is kept per \
             model; give the task a model name of its own"
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
