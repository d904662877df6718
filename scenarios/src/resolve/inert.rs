//! What is written and cannot act: tasks that succeed without an answer, confidence that is never
//! below one, harm that nothing does, checks that look at nothing.
//!
//! Invariant: a warning is given only where no run could show an effect; what may act, if only
//! after a budget's rung has lowered the quality of answers, is passed over.
//!
//! Deliberately absent: names that nothing uses (see `check_use`), chains of escalations beyond
//! their first answer, and whether what acts is worth it.

use super::Resolver;
use super::names::NO_INTENT;
use crate::condition::{ConditionText, reads_confidence};
use crate::file::{StepFile, WorkFile};
use crate::problem::At;
use sim::backends::ToolCost;
use sim::ids::{IntentId, ModelId, TaskId};
use sim::predicate::{Op, Predicate, Signal, Value};
use sim::tasks::{ModelCallSpec, Rung, Work};
use std::collections::BTreeSet;

/// A call that may be answered, and by whom.
struct Answered {
    intent: IntentId,
    model: ModelId,
    /// Whether a rung of the task's budget may make answers worse than the model is.
    lowered: bool,
}

impl Resolver<'_> {
    /// Warns of all this, for tasks that traffic starts.
    pub(super) fn check_inert(&self, started: &BTreeSet<TaskId>) {
        // Half a scenario says nothing about what the whole one would do.
        if !self.context.sink.is_empty() {
            return;
        }
        for &task in started {
            self.check_answers(task);
            self.check_harm(task);
        }
        let used: BTreeSet<usize> = started.iter().flat_map(|&task| self.parts(task)).collect();
        for at in used {
            let Some((_, file)) = self.file.tasks.get(at) else { continue };
            file.steps.iter().for_each(|step| self.check_finds(step));
        }
        self.check_confidence(started);
    }

    /// Tasks with model calls of which none is needed.
    fn check_answers(&self, task: TaskId) {
        let Some((name, _)) = self.file.tasks.get(task.index()) else { return };
        if self.calls(task).any(|call| !call.background) && !self.needs_an_answer(task) {
            let message = "no model call of this task is both required and decisive: a task \
                           without any answer counts as success; leave out required = false where \
                           the answer matters";
            self.warn(&name.site, message.to_owned());
        }
    }

    /// Whether the task, or a part that it needs, fails without the answer of a call that decides.
    fn needs_an_answer(&self, task: TaskId) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![task];
        while let Some(task) = open.pop() {
            let Some(Some(spec)) = self.tasks.get(task.index()) else { continue };
            if !seen.insert(task) {
                continue;
            }
            for step in spec.spec.graph.steps.iter().filter(|step| step.required) {
                match &step.work {
                    Work::ModelCall(call) if call.decisive && !call.background => return true,
                    Work::SubTask(part) => open.push(*part),
                    Work::ModelCall(_) | Work::Tool(_) => {}
                }
            }
        }
        false
    }

    /// A cost of harm where nothing acts on the world.
    fn check_harm(&self, task: TaskId) {
        let Some((_, file)) = self.file.tasks.get(task.index()) else { return };
        let parts = self.parts(task).into_iter().filter_map(|at| self.tasks.get(at)?.as_ref());
        let mut steps = parts.flat_map(|task| &task.spec.graph.steps);
        let acts = steps.any(|step| matches!(&step.work, Work::Tool(used) if used.acts));
        if let (Some(cost), false) = (&file.harm_cost, acts) {
            let message = "no step of the task has acts = true, so no unsafe answer does harm and \
                           the cost never arises; mark the tool that acts on the world";
            self.warn(&cost.site, message.to_owned());
        }
    }

    /// A step that is there to find something, and looks at nothing.
    fn check_finds(&self, step: &StepFile) {
        let what = match step.work.as_slice() {
            [WorkFile::Tool(_, ToolCost::SafetyCheck)] => "safety check",
            [WorkFile::Tool(_, ToolCost::HumanReview)] => "review",
            _ => return,
        };
        if step.check.is_none() && step.repeat_until_success.is_none() {
            let message = format!(
                "without a `check` this {what} costs and finds nothing; write check = {{ of = \
                 \"STEP\", sensitivity = 0.9, specificity = 0.99 }}"
            );
            self.warn(&step.site, message);
        }
    }

    /// Conditions on a confidence that is always one.
    fn check_confidence(&self, started: &BTreeSet<TaskId>) {
        let routing = self.file.policy.routing.iter();
        let rules = routing.flat_map(|file| &file.rules).filter_map(|rule| rule.when.as_ref());
        let all: Vec<Answered> = started.iter().flat_map(|&task| self.answered(task)).collect();
        rules.for_each(|text| self.check_condition(text, &all, true));
        for &task in started {
            let answered = self.answered(task);
            let files = self.parts(task).into_iter().filter_map(|at| self.file.tasks.get(at));
            let steps = files.flat_map(|(_, file)| &file.steps);
            steps
                .filter_map(|step| step.when.as_ref())
                .for_each(|text| self.check_condition(text, &answered, false));
        }
    }

    /// Warns when the condition holds after none of these answers, because they are always right.
    /// The intent is that of the call, in rules; before a step it is not that of the last answer.
    fn check_condition(&self, text: &At<ConditionText>, all: &[Answered], rule: bool) {
        let Some(never) = self.condition(text).filter(reads_confidence).and_then(negated) else {
            return;
        };
        let excluded = |answer: &Answered, confidence: Option<f64>| {
            never.holds(|signal| match signal {
                Signal::Confidence => confidence.map(Value::Number),
                Signal::Intent if rule => self.word(answer.intent),
                _ => None,
            })
        };
        let mut concerned = all.iter().filter(|answer| !excluded(answer, None)).peekable();
        let sure = |answer: &Answered| !answer.lowered && self.is_sure(answer);
        if concerned.peek().is_none()
            || !concerned.clone().all(|answer| sure(answer) && excluded(answer, Some(1.0)))
        {
            return;
        }
        let model = concerned.peek().and_then(|answer| self.models.get(answer.model.index()));
        let model = model.map_or("MODEL", |model| model.name.as_str());
        let intent = concerned.filter_map(|answer| self.intents.get(answer.intent.index()));
        let intent = intent.copied().find(|&intent| intent != NO_INTENT);
        let (intent, label) = match intent {
            Some(intent) => (intent, String::new()),
            None => ("X", " and write intent = \"X\" in the model_call".to_owned()),
        };
        let message = format!(
            "the condition never holds: no quality is stated for the calls it concerns, so their \
             answers are always right and confidence is always 1; declare [intents.{intent}] with \
             quality = {{ {model} = {{ success = 0.9 }} }}{label}"
        );
        self.warn(&text.site, message);
    }

    /// Who may answer the calls of a task, before any rule looks at the confidence.
    fn answered(&self, task: TaskId) -> Vec<Answered> {
        let routing = &self.policy.scenario.routing;
        let mut rungs = self.policy.budget(task).into_iter().flat_map(|budget| &budget.on_exceeded);
        let lowered = rungs.any(|rung| match rung {
            Rung::ShorterContext { quality, .. } | Rung::PartialResult { quality } => {
                *quality < 1.0
            }
            _ => false,
        });
        let others = self.policy.substitutes();
        let by_rule: Vec<ModelId> = routing.rules.iter().map(|rule| rule.model).collect();
        let models = |call: &ModelCallSpec| -> BTreeSet<ModelId> {
            let chosen = match call.model {
                Some(model) => vec![model],
                None => {
                    let usual = self.policy.usual_model(call.intent);
                    usual.into_iter().chain(by_rule.iter().copied()).collect()
                }
            };
            chosen.into_iter().chain(others.iter().copied()).collect()
        };
        let calls = self.calls(task).filter(|call| !call.background);
        let each = |call: &ModelCallSpec| {
            let intent = call.intent;
            models(call).into_iter().map(move |model| Answered { intent, model, lowered })
        };
        calls.flat_map(each).collect()
    }

    /// Whether the model is always right about such questions.
    fn is_sure(&self, answer: &Answered) -> bool {
        let model = self.models.get(answer.model.index());
        let quality = model.and_then(|model| model.quality.get(answer.intent.index()));
        quality.is_none_or(|quality| quality.success >= 1.0)
    }

    /// The word that conditions compare an intent with.
    fn word(&self, intent: IntentId) -> Option<Value> {
        let name = self.intents.get(intent.index())?;
        Some(Value::Word(self.symbols.borrow_mut().intern(name)))
    }
}

/// The condition that surely holds where the given one surely does not.
fn negated(condition: Predicate) -> Option<Predicate> {
    Predicate::new(condition.ops().iter().copied().chain([Op::Not]).collect())
}
