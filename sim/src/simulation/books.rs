//! What things cost, booked where they end.
//!
//! Booked is what happens from the end of the warm-up to the horizon, the time the fleet is paid
//! for. Each booking goes to the task, to the tenant and to the spend limits at once, in exact
//! pico-dollars, so the sums agree; the audit prices the meters of the backends a second time.

use super::Simulation;
use super::state::{Account, Attempt, Delivered, Root};
use crate::backends::{Course, RemotePrice, ToolCourse};
use crate::engine::Ended;
use crate::ids::{Backend, Handle, ModelId, RemoteId, ReplicaId, ToolId};
use crate::ledger::rent;
use crate::price::Month;
use crate::record::{CallRecord, Recorder};
use crate::resilience::Failure;
use crate::units::{Money, Span, Time};

impl<R: Recorder> Simulation<'_, R> {
    /// Whether what ends now is billed.
    pub(super) fn is_billed(&self, now: Time) -> bool {
        self.is_measured(now) && now.0 <= self.scenario.horizon.0
    }

    /// Books an amount to whom it belongs.
    fn book(&mut self, root: Handle, account: Account, amount: Money, mut useful: bool, now: Time) {
        if amount == Money::ZERO {
            return;
        }
        let billed = self.is_billed(now);
        if let Some(root) = self.flow.roots.get(root) {
            useful &= !root.orphan;
            if let Some(affair) = self.flow.affairs.get_mut(root.affair) {
                affair.spend += amount;
                affair.billed += if billed { amount } else { Money::ZERO };
                affair.wasted += if useful { Money::ZERO } else { amount };
            }
        }
        for limit in &mut self.world.limits {
            limit.book(now, account, amount);
        }
        if !billed {
            return;
        }
        self.observer.spent(amount);
        let task = &mut self.outcome.tasks[account.task.index()];
        task.spend += amount;
        if !useful {
            task.wasted += amount;
        }
        self.outcome.tenant(account.tenant).spend += amount;
    }

    /// Whether somebody waits for what comes of an attempt.
    pub(super) fn is_wanted(&self, attempt: &Attempt) -> bool {
        let orphan = self.flow.roots.get(attempt.root).is_some_and(|root| root.orphan);
        self.flow.calls.get(attempt.call).is_some() && !orphan
    }

    /// An attempt leaves a remote.
    pub(super) fn book_remote(
        &mut self,
        attempt: &Attempt,
        remote: RemoteId,
        course: &Course,
        useful: bool,
        now: Time,
    ) {
        let used = course.billed(now);
        self.audit.bill(&used);
        let useful = useful && self.is_wanted(attempt);
        let billed = self.is_billed(now);
        let outcome = &mut self.outcome.remotes[remote.index()];
        if billed {
            outcome.billed += used;
            if !useful {
                outcome.wasted += used;
            }
        }
        let price = &self.scenario.remotes[remote.index()].price;
        self.record_remote(attempt, (price, course), useful, now);
        let outcome = &mut self.outcome.remotes[remote.index()];
        match price {
            RemotePrice::Metered(meter) => {
                let amount = meter.price_of(&used);
                self.book(attempt.root, attempt.account, amount, useful, now);
            }
            RemotePrice::Hourly { .. } if billed => {
                outcome.taken.time(now - course.began, useful);
                let (account, time) = (attempt.account, u128::from((now - attempt.sent).0));
                self.outcome.tasks[account.task.index()].provisioned_time += time;
                self.outcome.tenant(account.tenant).provisioned_time += time;
            }
            RemotePrice::Hourly { .. } | RemotePrice::Free => {}
        }
    }

    /// An attempt leaves an engine.
    pub(super) fn book_engine(
        &mut self,
        attempt: &Attempt,
        replica: ReplicaId,
        end: &Ended,
        useful: bool,
        now: Time,
    ) {
        self.outstanding[replica.index()] -= 1;
        self.audit.compute(attempt.input, end);
        let account = attempt.account;
        let received = attempt.sent.after(self.time_on_host(replica, attempt.input));
        if account.measured && !useful {
            let model = &mut self.outcome.models[attempt.model.index()];
            model.wasted_input_tokens +=
                u64::from(if end.scheduled == Time::NEVER { 0 } else { attempt.input });
            model.wasted_output_tokens += u64::from(end.outputs);
        }
        if self.is_billed(now) {
            let time = u128::from((now - received).0);
            self.outcome.tasks[account.task.index()].engine_time += time;
            self.outcome.tenant(account.tenant).engine_time += time;
            self.book_work(replica, (attempt.input, attempt.context), end, useful);
        }
        self.record_engine(attempt, replica, end, useful, now);
    }

    /// What an engine did for somebody who leaves it in the measured time.
    pub(super) fn book_work(
        &mut self,
        replica: ReplicaId,
        (input, context): (u32, u32),
        end: &Ended,
        useful: bool,
    ) {
        if end.scheduled == Time::NEVER {
            return;
        }
        let taken = &mut self.outcome.pools[self.pool_of[replica.index()].index()].taken;
        taken.time(end.ended - end.scheduled, useful);
        taken.prompt(input, context, end.hit_tokens);
    }

    /// A use leaves its tool.
    pub(super) fn book_tool(
        &mut self,
        root: Handle,
        account: Account,
        tool: ToolId,
        course: &ToolCourse,
        now: Time,
    ) {
        let spec = &self.scenario.tools[tool.index()];
        let time = now - course.began;
        let amount = spec.per_call + rent(u128::from(time.0), spec.per_hour);
        let done = course.failure.is_none() && now >= course.ends;
        let billed = self.is_billed(now);
        let outcome = &mut self.outcome.tools[tool.index()];
        if account.measured {
            outcome.uses += 1;
            outcome.failed += u64::from(!done);
            outcome.time.record(time);
        }
        if billed {
            outcome.billed_uses += 1;
            outcome.spend += amount;
            // Nobody waits for the work of a user who has left.
            if !done || self.flow.roots.get(root).is_some_and(|root| root.orphan) {
                outcome.wasted += amount;
                outcome.wasted_uses += 1;
            }
        }
        self.book(root, account, amount, done, now);
    }

    /// A request is over: its tenant's accounts. Whoever was refused has used nothing of a plan.
    pub(super) fn book_tenant(&mut self, root: &Root, success: bool, refused: bool, now: Time) {
        let tenant = root.account.tenant;
        let observability = self.scenario.tasks[root.account.task.index()].observability;
        if observability != Money::ZERO {
            // The root is out of the arena; its record names this cost beside the rest.
            self.book(super::NOBODY, root.account, observability, true, now);
            if self.is_billed(now) {
                self.outcome.tasks[root.account.task.index()].observed += 1;
            }
        }
        let billed = self.is_billed(now);
        let spec = &self.scenario.sources[root.request.source.index()].people.tenants;
        let Some(spec) = spec.as_ref().filter(|_| !refused) else { return };
        let plan = spec.plan.map(|plan| &self.scenario.plans[plan.index()]);
        // After the horizon nothing is paid for any more.
        let included = plan.and_then(|plan| plan.included).filter(|_| billed);
        let account = self.outcome.tenant(tenant);
        if let Some(month) = Month::at(now, self.scenario.warm_up, self.scenario.horizon) {
            account.use_month(month, included);
        }
        if billed {
            account.tasks += 1;
            account.succeeded += u64::from(success);
            account.premium += u64::from(success && root.premium);
        }
    }

    /// An attempt, or the offer of one, failed.
    pub(super) fn count_failure(&mut self, model: ModelId, measured: bool, failure: Failure) {
        if measured {
            self.outcome.models[model.index()].failures[failure as usize] += 1;
        }
    }

    /// A model or a cache answers a call of a request.
    pub(super) fn count_answered(&mut self, root: Handle, account: Account) {
        let Some(root) = self.flow.roots.get_mut(root) else { return };
        if std::mem::replace(&mut root.answered, true) || !account.measured {
            return;
        }
        let answered = &mut self.outcome.tasks[account.task.index()].answered;
        answered.submissions += 1;
        if let Some(affair) = self.flow.affairs.get_mut(root.affair) {
            answered.tasks += u64::from(!std::mem::replace(&mut affair.answered, true));
        }
    }

    /// An attempt brought an answer that is used.
    pub(super) fn count_delivery(&mut self, attempt: &Attempt, delivered: &Delivered) {
        let Some(call) = self.flow.calls.get(attempt.call) else { return };
        let born = call.born;
        let number = self.flow.roots.get(call.root).map(|root| root.request.number);
        let source = self.flow.roots.get(call.root).map(|root| root.request.source);
        self.observer.parts.of_model(attempt.model, |window| window.answered += 1);
        if call.account.measured {
            self.outcome.tasks[attempt.account.task.index()].answered.calls += 1;
            let model = &mut self.outcome.models[attempt.model.index()];
            model.calls += 1;
            model.input_tokens += u64::from(attempt.input);
            model.output_tokens += u64::from(delivered.outputs);
            model.ttft.record(delivered.first_token - born);
            model.e2e.record(delivered.ended - born);
            model.queue.record(delivered.scheduled - attempt.sent.after(delivered.on_host));
            model.prefill.record(delivered.first_token - delivered.scheduled);
            let decode = delivered.ended - delivered.first_token;
            model.decode.record(decode);
            if delivered.outputs > 1 {
                model.tpot.record(Span(decode.0 / u64::from(delivered.outputs - 1)));
            }
        }
        self.count_answered(attempt.root, attempt.account);
        self.observer.preempted(delivered.preemptions);
        let replica = match attempt.place {
            super::state::Place::Engine(replica, ..) => match attempt.backend {
                Backend::Pool(pool) => replica.0 - self.first_replica[pool.index()],
                Backend::Remote(_) => 0,
            },
            _ => 0,
        };
        let (Some(number), Some(source)) = (number, source) else { return };
        self.recorder.call(&CallRecord {
            number,
            source,
            task: attempt.account.task,
            model: attempt.model,
            backend: attempt.backend,
            replica,
            arrived: born,
            scheduled: delivered.scheduled,
            first_token: delivered.first_token,
            ended: delivered.ended,
            input: attempt.input,
            output: delivered.outputs,
            hit_tokens: delivered.hit_tokens,
            preemptions: delivered.preemptions,
        });
    }
}
