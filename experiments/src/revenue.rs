//! Who pays for tasks.
//!
//! A task that states its value earns it. One that states none is paid for by the plans of the
//! tenants who send it, if all of its traffic comes from tenants on plans. A plan whose tasks all
//! state a value is not counted: their value already says what they earn. One that pays for tasks
//! with and without a value leaves open what it pays for, so there is no margin then.
//!
//! Invariant: what a plan brings in counts once in the revenue of a run.
//!
//! Deliberately absent: how much a plan brings in (see `tenants`).

use crate::record::Record;
use crate::result::Revenue;
use crate::tenants::{Account, Group, groups, too_short};
use sim::units::{Money, Span};
use sim::{Outcome, Scenario};

/// What earns money in a scenario.
pub(crate) struct Earners<'a> {
    scenario: &'a Scenario,
    groups: Vec<Group>,
    /// One for each kind of task.
    of: Vec<Result<Earner, String>>,
}

/// Where money comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earned {
    /// From tasks of this kind that state their value.
    Value(usize),
    /// From the plan of this group of tenants.
    Plan(usize),
}

/// What pays for the tasks of one kind.
enum Earner {
    /// Their value.
    Value(Money),
    /// The plans of these groups of tenants.
    Plans(Vec<usize>),
    /// They are only parts of others, which earn.
    Nothing,
}

impl<'a> Earners<'a> {
    /// `started` says which kinds of task are more than parts of others; `measured` is the time
    /// for which plans are paid.
    pub(crate) fn of(scenario: &'a Scenario, started: &[bool], measured: Span) -> Earners<'a> {
        let groups = groups(scenario);
        let earner = |(task, &started): (usize, &bool)| match scenario.tasks[task].value {
            Some(value) => Ok(Earner::Value(value)),
            None if started => payers(scenario, &groups, task, measured).map(Earner::Plans),
            None => Ok(Earner::Nothing),
        };
        let of = started.iter().enumerate().map(earner).collect();
        Earners { scenario, groups, of }
    }

    /// Why nobody knows what all tasks bring in, if nobody does.
    pub(crate) fn unknown(&self) -> Option<&str> {
        self.of.iter().find_map(|earner| earner.as_ref().err().map(String::as_str))
    }

    /// What all tasks of a replication bring in, as far as it is known.
    pub(crate) fn revenue(&self, record: &Record) -> Revenue {
        let mut revenue = Revenue::default();
        for (from, amount) in self.earned(&record.outcome, &record.accounts) {
            match from {
                Earned::Value(_) => revenue.values += amount,
                Earned::Plan(_) => revenue.plans += amount,
            }
        }
        revenue
    }

    /// The same one by one.
    pub(crate) fn earned(&self, outcome: &Outcome, accounts: &[Account]) -> Vec<(Earned, Money)> {
        let mut earned = Vec::new();
        let mut pays = vec![false; self.groups.len()];
        for (task, earner) in self.of.iter().enumerate() {
            match earner {
                Ok(Earner::Value(value)) => {
                    earned.push((Earned::Value(task), valued(outcome, task, *value)));
                }
                Ok(Earner::Plans(groups)) => groups.iter().for_each(|&group| pays[group] = true),
                Ok(Earner::Nothing) | Err(_) => {}
            }
        }
        let paying = accounts.iter().enumerate().zip(pays).filter(|(_, pays)| *pays);
        earned.extend(paying.map(|((at, account), _)| (Earned::Plan(at), account.revenue())));
        earned
    }

    /// What the tasks of one kind bring in, for each replication, or why that is not known.
    pub(crate) fn of_task(&self, task: usize, records: &[Record]) -> Result<Vec<Money>, String> {
        let worthless = || format!("the task {} has no value", self.scenario.tasks[task].name);
        let groups = match self.of.get(task) {
            Some(Ok(Earner::Value(value))) => {
                return Ok(records
                    .iter()
                    .map(|record| valued(&record.outcome, task, *value))
                    .collect());
            }
            Some(Ok(Earner::Plans(groups))) => groups,
            Some(Ok(Earner::Nothing)) | None => return Err(worthless()),
            Some(Err(reason)) => return Err(reason.clone()),
        };
        if let Some(&group) = groups.iter().find(|&&group| self.groups[group].tasks.len() > 1) {
            let tasks = self.groups[group].tasks.iter();
            let names: Vec<&str> = tasks.map(|&task| &*self.scenario.tasks[task].name).collect();
            let plan = plan_name(self.scenario, &self.groups[group]);
            return Err(format!("the plan {plan} pays for {} together", names.join(" and ")));
        }
        let paid = |record: &Record| {
            let accounts = groups.iter().filter_map(|&group| record.accounts.get(group));
            accounts.fold(Money::ZERO, |sum, account| sum + account.revenue())
        };
        Ok(records.iter().map(paid).collect())
    }
}

fn valued(outcome: &Outcome, task: usize, value: Money) -> Money {
    let completed = outcome.tasks.get(task).map_or(0, |task| task.completed);
    Money(value.0 * i128::from(completed))
}

fn plan_name<'a>(scenario: &'a Scenario, group: &Group) -> &'a str {
    let plan = group.tenants.plan.and_then(|plan| scenario.plans.get(plan.index()));
    plan.map_or("", |plan| &plan.name)
}

/// The groups of tenants whose plans pay for a task without a value, or why none do.
fn payers(
    scenario: &Scenario,
    groups: &[Group],
    task: usize,
    measured: Span,
) -> Result<Vec<usize>, String> {
    let name = &scenario.tasks[task].name;
    let mut paying = Vec::new();
    for source in scenario.sources.iter().filter(|source| source.task.index() == task) {
        let group = groups.iter().position(|group| Some(group.tenants) == source.people.tenants);
        let plan = |at: usize| scenario.plans.get(groups[at].tenants.plan?.index());
        let Some((group, plan)) = group.and_then(|at| Some((at, plan(at)?))) else {
            let nobody = format!("the task {name} has no value");
            return Err(match scenario.plans.is_empty() {
                true => nobody,
                false => format!("{nobody}, and nobody pays a plan for {}", source.name),
            });
        };
        if let Some(reason) = too_short(plan, measured) {
            return Err(reason);
        }
        let has_value = |task: &&usize| scenario.tasks[**task].value.is_some();
        if let Some(&other) = groups[group].tasks.iter().find(has_value) {
            return Err(format!(
                "the plan {} pays for {name}, which has no value, and for {}, which has one",
                plan.name, scenario.tasks[other].name
            ));
        }
        if !paying.contains(&group) {
            paying.push(group);
        }
    }
    // A task that no traffic starts.
    if paying.is_empty() { Err(format!("the task {name} has no value")) } else { Ok(paying) }
}
