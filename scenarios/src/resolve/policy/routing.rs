//! Routing: models by name, conditions compiled, rules told apart by when they can be asked.
//!
//! Invariants: a rule that reads the confidence of an answer is an escalation, every other one is
//! asked before the call; one list of fallbacks for each model, one entry for each intent.
//!
//! Deliberately absent: which model a call gets (see `sim::routing`).

use crate::file::{FallbackFile, RoutingFile, ShareFile};
use crate::kinds::Text;
use crate::problem::{At, Problem, ProblemKind};
use crate::reader::Either;
use crate::resolve::Resolver;
use crate::resolve::traffic::stream_key;
use sim::resilience::FailureSet;
use sim::routing::{Fallback, RoutingSpec, Rule, Share};
use sim::tasks::{Step, Work};
use std::collections::BTreeSet;

impl Resolver<'_> {
    /// `[routing]`; without it each call names its model.
    pub(in crate::resolve) fn routing(&self) -> RoutingSpec {
        let mut routing = RoutingSpec {
            by_intent: vec![None; self.intents.len()],
            fallbacks: vec![Vec::new(); self.models.len()],
            ..RoutingSpec::default()
        };
        let Some(file) = &self.file.policy.routing else { return routing };
        routing.default_model = self.model_of(file.default_model.as_ref());
        routing.fail_closed = file.fail_closed.as_ref().is_some_and(|closed| closed.value);
        for (intent, model) in &file.by_intent {
            let model = self.model_id(model);
            let intent = self.find(intent, "intent", &self.intent_names);
            if let Some(slot) = intent.and_then(|at| routing.by_intent.get_mut(at)) {
                *slot = model;
            }
        }
        for (of, list) in &file.fallbacks {
            let fallbacks = list.iter().filter_map(|fallback| self.fallback(fallback)).collect();
            let of = self.model_id(of);
            if let Some(slot) = of.and_then(|of| routing.fallbacks.get_mut(of.index())) {
                *slot = fallbacks;
            }
        }
        self.rules(file, &mut routing);
        routing.shares = self.canaries_and_shadows(file);
        routing
    }

    /// Whether a call may leave it to routing which model it goes to.
    pub(in crate::resolve) fn routes(&self) -> bool {
        self.file.policy.routing.is_some()
    }

    /// Where neither a step nor its intent names a model, there has to be a default.
    pub(super) fn check_that_calls_go_somewhere(&self, routing: &RoutingSpec) {
        // A default that is written and wrong was reported.
        let written = |file: &RoutingFile| file.default_model.is_some();
        if self.file.policy.routing.as_ref().is_none_or(written) {
            return;
        }
        let lost = |step: &&Step| match &step.work {
            Work::ModelCall(call) => {
                let by_intent = routing.by_intent.get(call.intent.index());
                call.model.is_none() && by_intent.is_none_or(Option::is_none)
            }
            _ => false,
        };
        for (task, (_, file)) in self.tasks.iter().zip(&self.file.tasks) {
            let steps = task.iter().flat_map(|task| &task.spec.graph.steps);
            for step in steps.filter(lost) {
                let message = format!("nothing says which model the step `{}` calls", step.name);
                let problem = Problem::new(ProblemKind::MissingKey, &file.site, message);
                self.push(problem.help("name its `model`, or write [routing] default_model"));
            }
        }
    }

    fn rules(&self, file: &RoutingFile, routing: &mut RoutingSpec) {
        for rule in &file.rules {
            let when = rule.when.as_ref().and_then(|when| self.condition(when));
            let model = self.model_of(rule.model.as_ref());
            let Some((when, model)) = when.zip(model) else { continue };
            let after_an_answer = crate::condition::reads_confidence(&when);
            let rules = if after_an_answer { &mut routing.escalations } else { &mut routing.rules };
            rules.push(Rule { when, model });
        }
    }

    fn fallback(&self, file: &Either<Text, FallbackFile>) -> Option<Fallback> {
        match file {
            Ok(name) => Some(Fallback { model: self.model_id(name)?, on: FailureSet::ALL }),
            Err(file) => Some(Fallback {
                model: self.model_of(file.model.as_ref())?,
                on: file.on.unwrap_or(FailureSet::ALL),
            }),
        }
    }

    fn canaries_and_shadows(&self, file: &RoutingFile) -> Vec<Share> {
        let mut seen = BTreeSet::new();
        let mut share = |file: &ShareFile, shadow: bool| {
            let (of, to) = (self.model_of(file.of.as_ref()), self.model_of(file.to.as_ref()));
            let (of, to, share) = (of?, to?, file.share.as_ref()?.value);
            if !seen.insert((of, to, shadow)) {
                self.refuse(ProblemKind::Conflict, &file.site, "these two models stand here twice");
            }
            let name = |at: &Option<At<String>>| at.as_ref().map_or("", |at| &at.value).to_owned();
            let sort = if shadow { "shadow" } else { "canary" };
            let key = stream_key(&format!("{sort} {} {}", name(&file.of), name(&file.to)));
            Some(Share { of, to, share, shadow, key })
        };
        let mut shares: Vec<Share> =
            file.canaries.iter().filter_map(|canary| share(canary, false)).collect();
        shares.extend(file.shadows.iter().filter_map(|shadow| share(shadow, true)));
        shares
    }
}
