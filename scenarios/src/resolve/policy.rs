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
mod smaller;

use super::Resolver;
use super::names::number;
use super::tasks::Task;
use crate::file::PlanFile;
use crate::problem::At;
use sim::Scenario;
use sim::cache::ExactCacheSpec;
use sim::ids::{IntentId, ModelId, TaskId};
use sim::price::{Beyond, LimitReached, PlanSpec, Premium, SpendLimit};
use sim::resilience::GuardSpec;
use sim::routing::RoutingSpec;
use sim::scenario::ModelSpec;
use sim::tasks::{Rung, TaskBudget, TaskSpec, Work};
use sim::units::Span;
use std::collections::{BTreeMap, BTreeSet};

/// What the policy comes to.
#[derive(Default)]
pub(super) struct Policy {
    /// Routing, caches, limits and plans; the rest is empty.
    pub(super) scenario: Scenario,
    /// One for each model.
    guards: Vec<GuardSpec>,
    /// One for each kind of task.
    budgets: Vec<TaskBudget>,
    /// One for each kind of task, as its table or its budget states it.
    pub(super) slos: Vec<Option<At<Span>>>,
    tools: BTreeMap<usize, ExactCacheSpec>,
    /// Models that calls may go to though no step names them.
    pub(super) reached: BTreeSet<ModelId>,
}

impl Policy {
    /// The models with their guards.
    pub(super) fn guard(&self, models: Vec<ModelSpec>) -> Vec<ModelSpec> {
        let guards = self.guards.iter().cloned();
        models
            .into_iter()
            .zip(guards)
            .map(|(model, guards)| ModelSpec { guards, ..model })
            .collect()
    }

    /// Whether calls of this model may be turned away because of their priority.
    pub(super) fn sheds(&self, model: ModelId) -> bool {
        self.guards.get(model.index()).is_some_and(|guards| !guards.admission.shed.is_empty())
    }

    /// Whether a kind of task has neither an SLO nor a latency budget.
    pub(super) fn has_no_latency_limit(&self, task: TaskId) -> bool {
        let at = task.index();
        let budget = self.budgets.get(at).and_then(|budget| budget.max_latency);
        budget.is_none() && self.slos.get(at).is_none_or(Option::is_none)
    }

    /// The tasks with their budgets and SLOs, and their tools with their caches.
    pub(super) fn complete(&self, tasks: impl Iterator<Item = Task>) -> Vec<TaskSpec> {
        let limits = self.budgets.iter().zip(&self.slos);
        let complete = |(task, (budget, slo)): (Task, (&TaskBudget, &Option<At<Span>>))| {
            let latency_slo = slo.as_ref().map(|slo| slo.value);
            let mut spec = TaskSpec { budget: budget.clone(), latency_slo, ..task.spec };
            for step in &mut spec.graph.steps {
                if let Work::Tool(work) = &mut step.work {
                    work.cache = self.tools.get(&work.tool.index()).copied();
                }
            }
            spec
        };
        tasks.zip(limits).map(complete).collect()
    }

    /// What a kind of task may use up; nothing is limited where none is stated.
    pub(super) fn budget(&self, task: TaskId) -> Option<&TaskBudget> {
        self.budgets.get(task.index())
    }

    /// Models that calls may go to in place of the one chosen, whatever their answers are like.
    pub(super) fn substitutes(&self) -> BTreeSet<ModelId> {
        let RoutingSpec { fallbacks, shares, .. } = self.scenario.routing.clone();
        let routing = RoutingSpec { fallbacks, shares, ..RoutingSpec::default() };
        reached(&routing, &self.budgets, &self.scenario.spend_limits)
    }

    /// Where routing sends calls of this intent that no rule is about.
    pub(super) fn usual_model(&self, intent: IntentId) -> Option<ModelId> {
        let routing = &self.scenario.routing;
        routing.by_intent.get(intent.index()).copied().flatten().or(routing.default_model)
    }
}

impl Resolver<'_> {
    /// Resolves the policy.
    pub(super) fn policy(&self) -> Policy {
        let routing = self.routing();
        self.check_that_calls_go_somewhere(&routing);
        let (budgets, slos) = self.budgets(&routing);
        let spend_limits = self.spend_limits(&routing);
        self.check_caches();
        Policy {
            reached: reached(&routing, &budgets, &spend_limits),
            guards: self.guards(),
            budgets,
            slos,
            tools: self.tool_caches(),
            scenario: Scenario {
                routing,
                semantic_cache: self.semantic_cache(),
                exact_cache: self.exact_cache(),
                spend_limits,
                plans: self.plans(),
                ..Scenario::default()
            },
        }
    }

    /// The model of this name.
    fn model_id(&self, name: &At<String>) -> Option<ModelId> {
        self.find(name, "model", &self.model_names).map(|at| ModelId(number(at)))
    }

    /// The model of a name that may be missing, which was then reported.
    fn model_of(&self, name: Option<&At<String>>) -> Option<ModelId> {
        name.and_then(|name| self.model_id(name))
    }

    /// The kind of task of this name.
    fn task_id(&self, name: &At<String>) -> Option<TaskId> {
        self.find(name, "task", &self.task_names).map(|at| TaskId(number(at)))
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
fn reached(
    routing: &RoutingSpec,
    budgets: &[TaskBudget],
    limits: &[SpendLimit],
) -> BTreeSet<ModelId> {
    let rules = routing.rules.iter().chain(&routing.escalations).map(|rule| rule.model);
    let fallbacks = routing.fallbacks.iter().flatten().map(|fallback| fallback.model);
    let shares = routing.shares.iter().map(|share| share.to);
    let rungs = budgets.iter().flat_map(|budget| &budget.on_exceeded);
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
