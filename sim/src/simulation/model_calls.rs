//! A model call from its question to its answer: routing, budgets, retries, fallbacks, escalation.

use super::Simulation;
use super::signals::About;
use super::state::{Attempt, Call, Delivered, Execution, Found, Live, Next, Root};
use super::timers::Timer;
use crate::dice::{Dice, Purpose, key, mix};
use crate::ids::{Handle, ModelId, TaskId};
use crate::record::Recorder;
use crate::resilience::retry::{may_retry, pause};
use crate::tasks::{Answer, CallLengths, Driver, ModelCallSpec, Path, Work, draw_answer};
use crate::units::{Span, Time};
use crate::workload::{Prompt, tokens_of};
use smallvec::SmallVec;
use std::num::NonZeroU32;

/// Attempts after which a pause is never shorter than [`LEAST_PAUSE`]: with no limit and no pause
/// a call that is always refused would ask for ever at one instant.
pub(super) const HASTY_ATTEMPTS: u32 = 10;
pub(super) const LEAST_PAUSE: Span = Span::from_millis(10);

impl<'a, R: Recorder> Simulation<'a, R> {
    /// A step asks a model.
    pub(super) fn begin_call(
        &mut self,
        execution: Execution,
        spec: &ModelCallSpec,
        question: u64,
        asking: u64,
        path: Path,
        now: Time,
    ) {
        let Some(run) = self.flow.runs.get(execution.run) else { return };
        let (root_handle, task) = (run.root, run.task);
        let Some(root) = self.flow.roots.get(root_handle) else { return };
        let place = (task, execution.step);
        let prompt = self.prompt(root, spec, place, question);
        let kit = &self.world.steps[task.index()][execution.step as usize];
        let of_request = spec.lengths.are_of_request(task != root.account.task);
        let call = Call {
            execution: (!spec.background).then_some(execution),
            root: root_handle,
            account: root.account,
            place,
            intent: spec.intent,
            model: ModelId(0),
            asked: SmallVec::new(),
            max_tokens: root.request.max_tokens.filter(|_| of_request).map(NonZeroU32::get),
            ends_by_eos: !of_request || root.request.ends_by_eos,
            cut: false,
            priority: root.request.priority,
            route: if of_request { root.request.route() } else { key(question, Purpose::Route) },
            question,
            asking,
            query: kit.queries.as_ref().map(|queries| queries.draw(question)),
            prompt,
            born: path.at(),
            path,
            first_sent: now,
            launched: 0,
            made: 0,
            made_in_all: 0,
            turn: 0,
            live: SmallVec::new(),
            found: None,
            in_hand: None,
        };
        let handle = self.flow.calls.insert(call);
        if spec.background {
            self.flow.next.push(Next::Ask(handle));
            self.executed(execution, path, Answer::SURE, None);
            return;
        }
        if let Some(run) = self.flow.runs.get_mut(execution.run) {
            run.live.push(Live::Call(handle));
        }
        self.begin_asking(handle, now);
    }

    /// Asks the caches, or the model.
    pub(super) fn begin_asking(&mut self, handle: Handle, now: Time) {
        let Some(call) = self.flow.calls.get(handle) else { return };
        let cacheable = self.call_spec(call.place).is_some_and(|spec| spec.cacheable);
        if !(cacheable && self.look_up(handle, now)) {
            self.ask(handle, now);
        }
    }

    /// What is sent to the model.
    pub(super) fn prompt(
        &self,
        root: &Root,
        spec: &ModelCallSpec,
        (task, step): (crate::ids::TaskId, u32),
        question: u64,
    ) -> Prompt {
        let request = &root.request;
        let kit = &self.world.steps[task.index()][step as usize];
        match (&spec.lengths, &kit.prompts) {
            (_, Some(prompts)) if !spec.lengths.are_of_request(task != root.account.task) => {
                prompts.draw(question, root.keep)
            }
            (CallLengths::Memory, _) => {
                let segments = request.said(root.written);
                let input = tokens_of(&segments);
                let output = request.memory.map_or(1, NonZeroU32::get);
                Prompt { segments, input, context: input, output, output_segment: question }
            }
            _ => {
                let mut segments = request.segments.clone();
                if root.keep < 1.0
                    && let Some(last) = segments.last_mut()
                {
                    last.tokens = ((f64::from(last.tokens) * root.keep) as u32).max(1);
                }
                Prompt {
                    input: tokens_of(&segments),
                    context: request.context,
                    segments,
                    output: request.output,
                    output_segment: request.output_segment(),
                }
            }
        }
    }

    /// The specification of the step that a call is of.
    pub(super) fn call_spec(&self, (task, step): (TaskId, u32)) -> Option<&'a ModelCallSpec> {
        match &self.scenario.tasks[task.index()].graph.steps[step as usize].work {
            Work::ModelCall(spec) => Some(spec),
            _ => None,
        }
    }

    /// Whether a call of a step, made for a task, has the lengths that its request was drawn with.
    pub(super) fn is_of_request(&self, place: (TaskId, u32), task: TaskId) -> bool {
        self.call_spec(place).is_some_and(|spec| spec.lengths.are_of_request(place.0 != task))
    }

    /// Chooses the model and sends the call, unless a budget stands against it.
    pub(super) fn ask(&mut self, handle: Handle, now: Time) {
        if !self.fit_into_budget(handle, now) {
            return;
        }
        let Some((model, by_rule)) = self.choose_model(handle, now) else { return };
        let Some(call) = self.flow.calls.get_mut(handle) else { return };
        call.path.spend(Driver::Tools, now);
        call.model = model;
        call.asked.push(model);
        let (input, root, measured) = (call.prompt.input, call.root, call.account.measured);
        let task = call.account.task.index();
        if let Some(root) = self.flow.roots.get_mut(root) {
            root.usage.calls += 1;
            root.usage.input = root.usage.input.saturating_add(input);
        }
        self.outcome.tasks[task].calls += u64::from(measured);
        self.outcome.tasks[task].by_rule += u64::from(measured && by_rule);
        self.cast_shadow(handle, now);
        self.drive(handle, now);
    }

    /// Sends a call that has its model.
    fn drive(&mut self, handle: Handle, now: Time) {
        let Some(call) = self.flow.calls.get(handle) else { return };
        if let Some(budget) = &mut self.world.guards[call.model.index()].budget {
            budget.deposit(now);
        }
        self.attempt(handle, now);
    }

    /// The next attempt of a call is due.
    pub(super) fn attempt(&mut self, handle: Handle, now: Time) {
        if let Err(refusal) = self.send(handle, now) {
            self.carry_on(handle, refusal, now);
        }
    }

    /// No attempt of a call is under way any more: another one, another model, or failure.
    pub(super) fn carry_on(
        &mut self,
        handle: Handle,
        mut refusal: super::attempts::Refusal,
        now: Time,
    ) {
        let scenario = self.scenario;
        loop {
            let Some(call) = self.flow.calls.get_mut(handle) else { return };
            call.turn += 1;
            let model = call.model;
            let measured = call.account.measured;
            let guards = &mut self.world.guards[model.index()];
            if let Some(spec) = &scenario.models[model.index()].guards.retry
                && may_retry(spec, call.made, refusal.0)
                && !(spec.max_attempts == u32::MAX && scenario.drains_for_long(now))
                && guards.budget.as_mut().is_none_or(|budget| budget.withdraw(now))
            {
                let coin = mix(call.asking, scenario.models[model.index()].key);
                let mut wait = pause(spec, call.made + 1, coin, refusal.1);
                if call.made >= HASTY_ATTEMPTS {
                    wait = wait.max(LEAST_PAUSE);
                }
                self.agenda.push(now.after(wait), Timer::Retry(handle, call.turn));
                self.outcome.models[model.index()].retries += u64::from(measured);
                self.observer.parts.of_model(model, |window| window.retries += 1);
                return;
            }
            let fallbacks = scenario.routing.fallbacks.get(model.index());
            let in_hand = call.in_hand.map(|found| found.model);
            // Whoever gave the answer in hand would give no other one.
            let next = fallbacks.into_iter().flatten().find(|fallback| {
                let other = Some(fallback.model) != in_hand;
                fallback.on.has(refusal.0) && !(other && call.asked.contains(&fallback.model))
            });
            let Some(fallback) = next.filter(|next| Some(next.model) != in_hand) else {
                self.give_up(handle, refusal.0, now);
                return;
            };
            call.model = fallback.model;
            call.asked.push(fallback.model);
            call.made = 0;
            self.outcome.models[model.index()].fallbacks += u64::from(measured);
            self.observer.parts.of_model(model, |window| window.fallbacks += 1);
            if let Some(budget) = &mut self.world.guards[fallback.model.index()].budget {
                budget.deposit(now);
            }
            match self.send(handle, now) {
                Ok(()) => return,
                Err(refused) => refusal = refused,
            }
        }
    }

    /// An attempt brought the answer.
    pub(super) fn answered(
        &mut self,
        handle: Handle,
        attempt: &Attempt,
        delivered: &Delivered,
        now: Time,
    ) {
        let scenario = self.scenario;
        let Some(call) = self.flow.calls.get(handle) else { return };
        let place = call.place;
        let Some(spec) = self.call_spec(place) else { return };
        let Some(call) = self.flow.calls.get_mut(handle) else { return };
        let factor = self.flow.roots.get(call.root).map_or(1.0, |root| root.quality);
        let model = &scenario.models[attempt.model.index()];
        let mut answer = match (model.quality.get(call.intent.index()), factor) {
            (None, 1.0) => Answer::SURE,
            (quality, factor) => {
                let sure = crate::tasks::Quality { success: 1.0, unsafe_rate: 0.0 };
                let intent = &scenario.intents[call.intent.index()];
                let keys = (call.question, call.asking, model.key);
                draw_answer(intent, quality.copied().unwrap_or(sure), factor, keys)
            }
        };
        answer.right &= !call.cut;
        let (root, seen) = (call.root, call.execution.is_some());
        if let Some(root) = self.flow.roots.get_mut(root) {
            // Of a shadow the task knows nothing.
            if seen || spec.background {
                root.usage.output = root.usage.output.saturating_add(delivered.outputs);
            }
            if seen {
                root.premium |= super::people::is_premium(scenario, root, attempt.model);
            }
        }
        let &Delivered { first_token, outputs, .. } = delivered;
        let found = Found { answer, model: attempt.model, first_token, outputs };
        self.tell_root(handle, &found);
        match self.escalation(handle, answer.confidence, now) {
            Some(model) => self.escalate(handle, model, found, now),
            None => self.use_answer(handle, &found, now),
        }
    }

    /// What a task knows of the last answer to one of its calls.
    fn tell_root(&mut self, handle: Handle, found: &Found) {
        let Some(call) = self.flow.calls.get(handle) else { return };
        let of_request = self.is_of_request(call.place, call.account.task);
        // Of shadows and what is in the background it knows none.
        if let (Some(_), Some(root)) = (call.execution, self.flow.roots.get_mut(call.root)) {
            root.first_token = found.first_token;
            if of_request {
                root.written = found.outputs;
            }
        }
    }

    /// An answer is the one that counts.
    fn use_answer(&mut self, handle: Handle, found: &Found, now: Time) {
        let Some(call) = self.flow.calls.get(handle) else { return };
        let cacheable = self.call_spec(call.place).is_some_and(|spec| spec.cacheable);
        if let (true, Some(query)) = (cacheable, call.query) {
            self.keep_answer(&query, &found.answer, found.outputs, now);
        }
        self.deliver(handle, found.answer);
    }

    /// The model a call goes to once more, if its confidence says so and the budget allows.
    fn escalation(&self, handle: Handle, confidence: f64, now: Time) -> Option<ModelId> {
        let call = self.flow.calls.get(handle)?;
        if self.scenario.routing.escalations.is_empty() || call.execution.is_none() {
            return None;
        }
        let root = self.flow.roots.get(call.root)?;
        if root.forced.is_some() || !self.fits(root, call) {
            return None;
        }
        let about = About { call: Some(call), confidence: Some(confidence) };
        let rule = self.scenario.routing.escalations.iter().find(|rule| {
            !call.asked.contains(&rule.model) && self.holds(&rule.when, root, about, now)
        })?;
        Some(rule.model)
    }

    fn escalate(&mut self, handle: Handle, model: ModelId, found: Found, now: Time) {
        let Some(call) = self.flow.calls.get_mut(handle) else { return };
        call.in_hand = Some(found);
        call.model = model;
        call.asked.push(model);
        call.made = 0;
        call.turn += 1;
        // To the better model it is a call of its own.
        call.born = now;
        let (root, input, account) = (call.root, call.prompt.input, call.account);
        if let Some(root) = self.flow.roots.get_mut(root) {
            root.usage.calls += 1;
            root.usage.input = root.usage.input.saturating_add(input);
        }
        let task = &mut self.outcome.tasks[account.task.index()];
        task.escalations += u64::from(account.measured);
        task.calls += u64::from(account.measured);
        self.observer.parts.of_task(account.task, |acts| acts.escalations += 1);
        self.cut(handle);
        self.drive(handle, now);
    }

    /// The call has its answer.
    pub(super) fn deliver(&mut self, handle: Handle, answer: Answer) {
        let Some(call) = self.flow.calls.get(handle) else { return };
        let (execution, path) = (call.execution, call.path);
        self.flow.calls.discard(handle);
        let Some(execution) = execution else { return };
        if let Some(run) = self.flow.runs.get_mut(execution.run) {
            run.live.retain(|live| *live != Live::Call(handle));
        }
        self.executed(execution, path, answer, None);
    }

    /// Nobody is left to ask: the answer that was doubted stands, if there is one.
    fn give_up(&mut self, handle: Handle, failure: crate::resilience::Failure, now: Time) {
        let Some(call) = self.flow.calls.get_mut(handle) else { return };
        let Some(found) = call.in_hand else {
            self.fail(handle, failure, now);
            return;
        };
        // What was tried after it brought nothing but delay.
        call.path.spend(Driver::Retries, now);
        let account = call.account;
        self.outcome.tasks[account.task.index()].kept_answers += u64::from(account.measured);
        self.tell_root(handle, &found);
        self.use_answer(handle, &found, now);
    }

    /// The call failed for good.
    fn fail(&mut self, handle: Handle, failure: crate::resilience::Failure, now: Time) {
        let Some(mut call) = self.flow.calls.remove(handle) else { return };
        let Some(execution) = call.execution else { return };
        if let Some(run) = self.flow.runs.get_mut(execution.run) {
            run.live.retain(|live| *live != Live::Call(handle));
        }
        call.path.spend(Driver::Retries, now);
        self.executed(execution, call.path, Answer::SURE, Some(failure));
    }

    /// The model a call goes to, and whether it was a rule that said so.
    fn choose_model(&self, handle: Handle, now: Time) -> Option<(ModelId, bool)> {
        let call = self.flow.calls.get(handle)?;
        let routing = &self.scenario.routing;
        let step = &self.scenario.tasks[call.place.0.index()].graph.steps[call.place.1 as usize];
        let Work::ModelCall(spec) = &step.work else { return None };
        let root = self.flow.roots.get(call.root);
        if let Some(model) = root.and_then(|root| root.forced) {
            return Some((model, false));
        }
        let about = About { call: Some(call), confidence: None };
        let rule = || {
            let root = root?;
            let holds = |rule: &&crate::routing::Rule| self.holds(&rule.when, root, about, now);
            routing.rules.iter().find(holds).map(|rule| rule.model)
        };
        let ruled = if spec.model.is_none() { rule() } else { None };
        let model = spec
            .model
            .or(ruled)
            .or_else(|| routing.by_intent.get(call.intent.index()).copied().flatten())
            .or(routing.default_model)?;
        let person = root.map_or(call.question, |root| root.request.key);
        let canary = routing.shares.iter().find(|share| {
            share.of == model
                && !share.shadow
                && Dice::of(mix(person, share.key), Purpose::Share).coin(share.share)
        });
        Some((canary.map_or(model, |share| share.to), ruled.is_some()))
    }

    /// Sends copies of a call that nobody waits for.
    fn cast_shadow(&mut self, handle: Handle, now: Time) {
        for share in &self.scenario.routing.shares {
            let Some(call) = self.flow.calls.get(handle) else { return };
            if !share.shadow || share.of != call.model {
                continue;
            }
            let person = self.flow.roots.get(call.root).map_or(0, |root| root.request.key);
            if !Dice::of(mix(person, share.key), Purpose::Share).coin(share.share) {
                continue;
            }
            let mut shadow = call.clone();
            shadow.execution = None;
            shadow.model = share.to;
            shadow.asked = SmallVec::from_slice(&[share.to]);
            shadow.asking = mix(shadow.asking, share.key);
            shadow.query = None;
            let shadow = self.flow.calls.insert(shadow);
            self.drive(shadow, now);
        }
    }
}
