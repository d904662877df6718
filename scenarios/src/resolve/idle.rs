//! What a file says and a run never acts on, or acts on otherwise than it reads.
//!
//! Invariant: nothing here changes a scenario; each function is one kind of warning.
//!
//! Deliberately absent: names that nothing uses (see `check_use`).

use super::Resolver;
use crate::file::{BudgetFile, IncidentFile, PlaceFile, RungKind, StationFile};
use crate::problem::At;
use crate::quantity::show_span;
use sim::ids::TaskId;
use sim::predicate::{Predicate, Signal};
use sim::units::Span;
use std::collections::BTreeSet;

/// What is known when a step begins.
const KNOWN_TO_STEPS: &str = "attributes, `confidence` of the last answer, `elapsed`, \
                              `remaining_latency`, `model_calls` and the state of backends";

impl Resolver<'_> {
    /// Warnings that need nothing but the file and the horizon.
    pub(super) fn warn_of_idle_keys(&self, horizon: Span, started: &BTreeSet<TaskId>) {
        let file = self.file;
        let remotes = file.providers.iter().chain(&file.provisioned).chain(&file.devices);
        for (_, remote) in remotes {
            self.warn_of_idle_queue(&remote.station);
            self.warn_of_late_incidents(&remote.incidents, horizon);
            if let PlaceFile::Device(_) = remote.place {
                self.warn_of_shared_places(&remote.station);
            }
        }
        for (_, tool) in &file.tools {
            self.warn_of_idle_queue(&tool.station);
            self.warn_of_late_incidents(&tool.incidents, horizon);
        }
        for (_, budget) in &file.policy.budgets {
            self.warn_after_refine(budget);
        }
        self.warn_of_own_fallbacks();
        self.warn_of_long_periods(horizon);
        self.warn_of_endless_latency(started);
    }

    fn warn_of_idle_queue(&self, station: &StationFile) {
        if let (None, Some(limit)) = (&station.concurrency, &station.queue_limit) {
            let message = "without `concurrency` everybody has a place, so nobody ever waits";
            self.warn(&limit.site, message.to_owned());
        }
    }

    fn warn_of_shared_places(&self, station: &StationFile) {
        if let Some(places) = &station.concurrency {
            let message = format!(
                "all users of these devices together have this many places ({}), not each of them",
                places.value
            );
            self.warn(&places.site, message);
        }
    }

    fn warn_of_late_incidents(&self, incidents: &[IncidentFile], horizon: Span) {
        for at in incidents.iter().filter_map(|incident| incident.at.as_ref()) {
            if at.value >= horizon {
                let message = format!(
                    "it begins at {}, when no request arrives any more: the horizon is {}",
                    show_span(at.value),
                    show_span(horizon)
                );
                self.warn(&at.site, message);
            }
        }
    }

    fn warn_of_own_fallbacks(&self) {
        let Some(routing) = &self.file.policy.routing else { return };
        for (of, list) in &routing.fallbacks {
            for fallback in list {
                let name = match fallback {
                    Ok(name) => Some(name),
                    Err(file) => file.model.as_ref(),
                };
                if let Some(name) = name.filter(|name| name.value == of.value) {
                    let message = "a model is not asked again after itself; [retries] does that";
                    self.warn(&name.site, message.to_owned());
                }
            }
        }
    }

    fn warn_after_refine(&self, budget: &BudgetFile) {
        let rungs = &budget.on_exceeded;
        let refine = rungs.iter().position(|rung| rung.kind == RungKind::Refine);
        for rung in refine.into_iter().flat_map(|at| rungs.iter().skip(at + 1)) {
            let message = "it comes after `refine`, which ends the task, so it is never reached";
            self.warn(&rung.site, message.to_owned());
        }
    }

    fn warn_of_long_periods(&self, horizon: Span) {
        for limit in &self.file.policy.spend_limits {
            let Some((period, amount)) = limit.period.zip(limit.limit.as_ref()) else { continue };
            if period > horizon {
                let message = format!(
                    "the whole limit for {} counts in a run of {}; it is not divided",
                    show_span(period),
                    show_span(horizon)
                );
                self.warn(&amount.site, message);
            }
        }
    }

    /// Steps that ask for the latency that remains, in a task that has no limit on it.
    fn warn_of_endless_latency(&self, started: &BTreeSet<TaskId>) {
        let endless = |task: &TaskId| self.policy.has_no_latency_limit(*task);
        let parts: BTreeSet<usize> = started
            .iter()
            .filter(|&task| endless(task))
            .flat_map(|&task| self.parts(task))
            .collect();
        for at in parts {
            let (Some(Some(task)), Some((_, file))) = (self.tasks.get(at), self.file.tasks.get(at))
            else {
                continue;
            };
            let reads = |name: &str| {
                let step = task.spec.graph.steps.iter().find(|step| step.name == name);
                let when = step.and_then(|step| step.when.as_ref());
                when.is_some_and(|when| when.reads(|s| s == Signal::RemainingLatency))
            };
            let names = super::tasks::names_of(&file.steps);
            for (step, _) in file.steps.iter().zip(names).filter(|(_, name)| reads(name)) {
                if let Some(when) = &step.when {
                    let message = "`remaining_latency` is not known in a task without an SLO and \
                                   without a latency budget, and what is not known does not hold";
                    self.warn(&when.site, message.to_owned());
                }
            }
        }
    }

    /// A step begins before there is a call, so what only a call has is not known.
    pub(super) fn warn_of_unknown_to_steps<T>(&self, text: &At<T>, when: &Predicate) {
        let of_calls = [(Signal::Intent, "intent"), (Signal::PromptTokens, "prompt_tokens")];
        for (signal, name) in of_calls {
            if when.reads(|read| read == signal) {
                let message = format!(
                    "`{name}` is not known before a call, and what is not known does not hold; a \
                     step knows {KNOWN_TO_STEPS}"
                );
                self.warn(&text.site, message);
            }
        }
    }
}
