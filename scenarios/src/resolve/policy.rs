//! The policy: routing, guards, budgets, caches, spend limits and plans, with their names looked
//! up and their defaults filled in.
//!
//! Invariants: what never acts (one attempt, a cache that is not enabled) is left out, so that it
//! changes nothing; every default has its line of provenance.
//!
//! Deliberately absent: load balancing, which belongs to the pools (see `fleet`).

mod budgets;
mod caching;
mod guards;
mod routing;

use super::Resolver;
use crate::file::PlanFile;
use crate::problem::At;
use sim::Scenario;
use sim::ids::{ModelId, TaskId};
use sim::price::{Beyond, LimitReached, PlanSpec, Premium, SpendLimit};
use sim::resilience::GuardSpec;
use sim::routing::RoutingSpec;
use sim::scenario::ModelSpec;
use sim::tasks::{Rung, TaskSpec};
use std::collections::BTreeSet;

/// What the policy comes to.
pub(super) struct Policy {
    /// Routing, caches, limits and plans; the rest is empty.
    pub(super) scenario: Scenario,
    /// One for each model.
    guards: Vec<GuardSpec>,
    /// Models that calls may go to though no step names them.
    pub(super) reached: BTreeSet<ModelId>,
}

impl Policy {
    /// The models with their guards.
    pub(super) fn guard(&mut self, models: Vec<ModelSpec>) -> Vec<ModelSpec> {
        let guards = std::mem::take(&mut self.guards);
        models
            .into_iter()
            .zip(guards)
            .map(|(model, guards)| ModelSpec { guards, ..model })
            .collect()
    }
}

impl Resolver<'_> {
    /// Resolves the policy; budgets, SLOs and the caches of tools become part of the tasks.
    pub(super) fn policy(&self, tasks: &mut [TaskSpec]) -> Policy {
        let mut routing = self.routing();
        let budgets = self.budgets(routing.default_model);
        // A task that could not be resolved is missing, and nothing is kept then.
        for (at, (task, budget)) in tasks.iter_mut().zip(budgets).enumerate() {
            task.budget = budget;
            task.latency_slo = self.latency_slo(at).map(|slo| slo.value);
        }
        self.cache_tools(tasks);
        self.send_somewhere(&mut routing, tasks);
        let spend_limits = self.spend_limits();
        let reached = reached(&routing, tasks, &spend_limits);
        let scenario = Scenario {
            routing,
            semantic_cache: self.semantic_cache(),
            exact_cache: self.exact_cache(),
            spend_limits,
            plans: self.plans(),
            ..Scenario::default()
        };
        Policy { scenario, guards: self.guards(), reached }
    }

    /// The model of this name.
    fn model_id(&self, name: &At<String>) -> Option<ModelId> {
        let at = self.find(name, "model", &self.model_names)?;
        u32::try_from(at).ok().map(ModelId)
    }

    /// The model of a name that may be missing, which was then reported.
    fn model_of(&self, name: Option<&At<String>>) -> Option<ModelId> {
        name.and_then(|name| self.model_id(name))
    }

    /// The kind of task of this name.
    fn task_id(&self, name: &At<String>) -> Option<TaskId> {
        let at = self.find(name, "task", &self.task_names)?;
        u32::try_from(at).ok().map(TaskId)
    }

    /// What tenants pay, in the order of the file.
    pub(super) fn plans(&self) -> Vec<PlanSpec> {
        let plan = |(name, file): &(At<String>, PlanFile)| {
            let premium = file.premium.as_ref().and_then(|premium| {
                let models = premium.models.iter().filter_map(|model| self.model_id(model));
                let models = models.collect();
                Some(Premium { models, per_task: premium.per_task.as_ref()?.value })
            });
            let beyond = file.beyond.as_ref().and_then(|beyond| beyond.value);
            Some(PlanSpec {
                name: name.value.clone(),
                per_month: file.per_month.as_ref()?.value,
                included: file.included.as_ref().map(|included| included.value),
                beyond: beyond.map_or(Beyond::Refused, Beyond::Charged),
                per_success: file.per_success.as_ref()?.value,
                premium,
            })
        };
        self.file.plans.iter().filter_map(plan).collect()
    }
}

/// Models that calls may go to because routing, a budget or a spend limit says so.
fn reached(routing: &RoutingSpec, tasks: &[TaskSpec], limits: &[SpendLimit]) -> BTreeSet<ModelId> {
    let rules = routing.rules.iter().chain(&routing.escalations).map(|rule| rule.model);
    let fallbacks = routing.fallbacks.iter().flatten().map(|fallback| fallback.model);
    let shares = routing.shares.iter().map(|share| share.to);
    let rungs = tasks.iter().flat_map(|task| &task.budget.on_exceeded);
    let smaller = rungs.filter_map(|rung| match rung {
        Rung::SmallerModel { model } => Some(*model),
        _ => None,
    });
    let cheaper = limits.iter().filter_map(|limit| match limit.then {
        LimitReached::SmallerModel(model) => Some(model),
        LimitReached::Refuse => None,
    });
    let named =
        routing.default_model.into_iter().chain(routing.by_intent.iter().copied().flatten());
    named.chain(rules).chain(fallbacks).chain(shares).chain(smaller).chain(cheaper).collect()
}
