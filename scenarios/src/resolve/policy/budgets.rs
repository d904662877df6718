//! Budgets of tasks, their ladders, and limits on spend.
//!
//! Invariants: a task has one SLO, whether the task or its budget states it.
//!
//! Deliberately absent: what a used-up budget does to a run (see `sim`).

use crate::file::{BudgetFile, RungFile, RungKind, ScopeFile, SpendLimitFile, ThenFile};
use crate::problem::{At, Problem, ProblemKind};
use crate::resolve::Resolver;
use crate::resolve::names::number;
use crate::resolved::Origin;
use sim::ids::{ModelId, TaskId};
use sim::price::{LimitReached, SpendLimit, SpendScope};
use sim::routing::RoutingSpec;
use sim::tasks::{Rung, TaskBudget};
use sim::units::Span;

/// Defaults of rungs that are written as a plain name. They are assumptions, not measurements.
const KEEP: (&str, f64) = ("0.5", 0.5);
const QUALITY_OF_SHORTER: (&str, f64) = ("0.95", 0.95);
const SIMILARITY: (&str, f64) = ("0.8", 0.8);
const QUALITY_OF_PARTIAL: (&str, f64) = ("0.5", 0.5);

impl Resolver<'_> {
    /// The budget and the SLO of each kind of task; its own table or its budget states the SLO.
    pub(super) fn budgets(
        &self,
        routing: &RoutingSpec,
    ) -> (Vec<TaskBudget>, Vec<Option<At<Span>>>) {
        let tasks = &self.file.tasks;
        let mut budgets = vec![TaskBudget::default(); tasks.len()];
        let mut slos: Vec<_> = tasks.iter().map(|(_, task)| task.latency_slo.clone()).collect();
        for (name, file) in &self.file.policy.budgets {
            let budget = self.budget(file, routing.default_model);
            let Some(task) = self.task_id(name) else { continue };
            for (rung, file) in budget.on_exceeded.iter().zip(&file.on_exceeded) {
                if let Rung::SmallerModel { model } = *rung {
                    self.warn_if_dearer(model, std::iter::once(task), routing, &file.site);
                }
            }
            if let Some(slot) = budgets.get_mut(task.index()) {
                *slot = budget;
            }
            let (Some(slot), Some(here)) = (slos.get_mut(task.index()), &file.latency_slo) else {
                continue;
            };
            if let Some(own) = slot.as_ref().filter(|own| own.value != here.value) {
                let message = format!("the task states another SLO, at {}", own.site.place);
                let problem = Problem::new(ProblemKind::Conflict, &here.site, message);
                self.push(problem.help("state it once"));
            }
            slot.get_or_insert_with(|| here.clone());
        }
        (budgets, slos)
    }

    fn budget(&self, file: &BudgetFile, default_model: Option<ModelId>) -> TaskBudget {
        let number = |at: &Option<At<u32>>| at.as_ref().map(|at| at.value);
        let span = |at: &Option<At<Span>>| at.as_ref().map(|at| at.value);
        let rung = |rung: &RungFile| self.rung(rung, default_model);
        TaskBudget {
            max_model_calls: number(&file.max_model_calls),
            max_input_tokens: number(&file.max_input_tokens),
            max_output_tokens: number(&file.max_output_tokens),
            max_tool_time: span(&file.max_tool_time),
            max_latency: span(&file.max_latency),
            on_exceeded: file.on_exceeded.iter().filter_map(rung).collect(),
        }
    }

    fn rung(&self, file: &RungFile, default_model: Option<ModelId>) -> Option<Rung> {
        let pick = |key: &str, at: &Option<At<f64>>, (shown, default): (&str, f64)| {
            at.as_ref().map(|at| at.value).unwrap_or_else(|| {
                self.note(file.site.child(key).key, shown.to_owned(), Origin::Default);
                default
            })
        };
        Some(match file.kind {
            RungKind::ShorterContext => Rung::ShorterContext {
                keep: pick("keep", &file.keep, KEEP),
                quality: pick("quality", &file.quality, QUALITY_OF_SHORTER),
            },
            RungKind::SmallerModel => {
                let model = match &file.model {
                    Some(name) => self.model_id(name),
                    None => self.smaller_model(file, default_model),
                };
                Rung::SmallerModel { model: model? }
            }
            RungKind::CachedAnswer => {
                if self.semantic_cache().is_none() {
                    let message = "there is no [caching.semantic], so this rung is passed over";
                    self.warn(&file.site, message.to_owned());
                }
                Rung::CachedAnswer { similarity: pick("similarity", &file.similarity, SIMILARITY) }
            }
            RungKind::PartialResult => {
                Rung::PartialResult { quality: pick("quality", &file.quality, QUALITY_OF_PARTIAL) }
            }
            RungKind::Refine => Rung::Refine,
        })
    }

    /// Routing's default model, where a rung does not say.
    fn smaller_model(&self, file: &RungFile, default_model: Option<ModelId>) -> Option<ModelId> {
        let Some(model) = default_model else {
            // A default that is written and wrong is what is wrong.
            let routing = self.file.policy.routing.as_ref();
            if routing.is_none_or(|routing| routing.default_model.is_none()) {
                let message = "which model is smaller? there is no routing.default_model";
                let problem = Problem::new(ProblemKind::MissingKey, &file.site, message);
                let help = "write { rung = \"smaller_model\", model = \"NAME\" }";
                self.push(problem.help(help));
            }
            return None;
        };
        let name = self.models.get(model.index()).map_or("", |model| &model.name);
        let how = "routing.default_model".to_owned();
        self.derived(&file.site.child("model").key, name.to_owned(), how);
        Some(model)
    }

    /// Limits on what calls and tools may cost.
    pub(in crate::resolve) fn spend_limits(&self, routing: &RoutingSpec) -> Vec<SpendLimit> {
        let all_tasks = || (0..self.file.tasks.len()).map(|at| TaskId(number(at)));
        let limit = |file: &SpendLimitFile| {
            let scope = match &file.scope {
                None => Some(SpendScope::All),
                Some(Ok(scope)) => Some(match scope.value {
                    ScopeFile::All => SpendScope::All,
                    ScopeFile::EachTenant => SpendScope::EachTenant,
                }),
                Some(Err(task)) => {
                    task.as_ref().and_then(|task| self.task_id(task)).map(SpendScope::Task)
                }
            };
            let then = match file.then.as_ref() {
                None => None,
                Some(ThenFile::Refuse) => Some(LimitReached::Refuse),
                Some(ThenFile::SmallerModel(name)) => {
                    let model = self.model_of(name.as_ref());
                    if let (Some(model), Some(name), Some(scope)) = (model, name, scope) {
                        let its = |&task: &TaskId| match scope {
                            SpendScope::Task(of) => task == of,
                            SpendScope::All | SpendScope::EachTenant => true,
                        };
                        self.warn_if_dearer(model, all_tasks().filter(its), routing, &name.site);
                    }
                    model.map(LimitReached::SmallerModel)
                }
            };
            let limit = file.limit.as_ref()?.value;
            Some(SpendLimit { scope: scope?, limit, period: file.period?, then: then? })
        };
        self.file.policy.spend_limits.iter().filter_map(limit).collect()
    }
}
