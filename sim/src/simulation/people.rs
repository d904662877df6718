//! A client's request from its arrival to its end: submissions, patience, deadlines, and what is
//! counted of it.

use super::Simulation;
use super::calls::{LOG_ARRIVED, LOG_ENDED, LOG_REJECTED, REFUSED_PAUSE};
use super::model_calls::{HASTY_ATTEMPTS, LEAST_PAUSE};
use super::state::{Account, Affair, Ending, Live, Root, Usage};
use super::timers::Timer;
use crate::dice::{Dice, Purpose, mix};
use crate::ids::{Handle, ModelId};
use crate::price::{Beyond, LimitReached, Month};
use crate::record::Recorder;
use crate::resilience::Failure;
use crate::scenario::Scenario;
use crate::tasks::{Driver, Path, Rung};
use crate::units::{Span, Time};
use crate::workload::Request;

impl<R: Recorder> Simulation<'_, R> {
    /// A request arrives whose task takes the general way.
    pub(super) fn arrive_with_task(&mut self, request: Request, now: Time) {
        let measured = self.is_measured(now);
        self.observer.arrived();
        self.audit.enter(now);
        self.log(LOG_ARRIVED, now, request.number);
        let tenant = self.tenant(&request);
        let Request { task, source, number, .. } = request;
        let account = Account { task, source, number, tenant, measured };
        self.outcome.tasks[task.index()].arrived += u64::from(measured);
        let root = Root {
            request,
            account,
            run: super::NOBODY,
            submission: 0,
            calls_before: 0,
            submitted: now,
            orphan: false,
            usage: Usage::default(),
            keep: 1.0,
            quality: 1.0,
            forced: None,
            rung: 0,
            let_in: false,
            answered: false,
            premium: false,
            written: 0,
            first_token: Time::ZERO,
            confidence: None,
            affair: self.flow.affairs.insert(Affair { holders: 1, ..Affair::default() }),
        };
        let handle = self.flow.roots.insert(root);
        self.submit_task(handle, now);
    }

    fn tenant(&self, request: &Request) -> u32 {
        let people = &self.scenario.sources[request.source.index()].people;
        match (&people.tenants, &self.world.tenants[request.source.index()]) {
            (Some(spec), Some(popularity)) => {
                let mut dice = Dice::of(request.key, Purpose::Tenant);
                spec.first + popularity.draw(&mut dice) - 1
            }
            _ => 0,
        }
    }

    /// The present submission of a request begins.
    pub(super) fn submit_task(&mut self, handle: Handle, now: Time) {
        let scenario = self.scenario;
        let Some(root) = self.flow.roots.get_mut(handle) else { return };
        root.submitted = now;
        let (account, submission) = (root.account, root.submission);
        let task = account.task;
        let (request_key, source) = (root.request.key, root.request.source);
        let outcome = &mut self.outcome.tasks[task.index()];
        outcome.submissions += u64::from(account.measured);
        if let Some(ending) = self.stands_against(handle, now) {
            self.end_task(handle, ending, now);
            return;
        }
        let client = &scenario.sources[source.index()].people.client;
        let leaves = client.patience.as_ref().map_or(Time::NEVER, |patience| {
            let coin = mix(request_key, u64::from(submission));
            now.after(patience.sample(&mut Dice::of(coin, Purpose::Patience)))
        });
        let limit = scenario.tasks[task.index()].budget.max_latency;
        let deadline = limit.map_or(Time::NEVER, |limit| now.after(limit));
        // Either ends the submission, so the later one never comes; unless the work goes on
        // without its user, who goes first at one instant.
        if leaves != Time::NEVER && leaves <= deadline {
            self.agenda.push(leaves, Timer::Patience(handle, submission));
        }
        if deadline != Time::NEVER && (deadline < leaves || client.abandoned_work_goes_on) {
            self.agenda.push(deadline, Timer::Deadline(handle, submission));
        }
        self.begin_run(handle, task, request_key, None, now);
    }

    /// A plan or a spend limit that refuses the task; one that asks for a smaller model is noted.
    fn stands_against(&mut self, handle: Handle, now: Time) -> Option<Ending> {
        let root = self.flow.roots.get_mut(handle)?;
        let account = root.account;
        let people = &self.scenario.sources[root.request.source.index()].people;
        let plan = people.tenants.and_then(|tenants| tenants.plan);
        if let Some(plan) = plan
            && let spec = &self.scenario.plans[plan.index()]
            && spec.beyond == Beyond::Refused
            && let Some(month) = Month::at(now, self.scenario.warm_up, self.scenario.horizon)
            && let Some(most) = spec.included.and_then(|included| month.allowance(included))
            && self.outcome.tenant(account.tenant).in_month(month.number) >= u64::from(most)
        {
            return Some(Ending::Refused);
        }
        for limit in &mut self.world.limits {
            if !limit.acts(now, account) {
                continue;
            }
            match limit.spec.then {
                LimitReached::Refuse => return Some(Ending::Refused),
                LimitReached::SmallerModel(model) => root.forced = Some(model),
            }
        }
        None
    }

    /// A user's patience is at its end.
    pub(super) fn lose_patience(&mut self, handle: Handle, now: Time) {
        let Some(root) = self.flow.roots.get(handle) else { return };
        let client = &self.scenario.sources[root.request.source.index()].people.client;
        if client.abandoned_work_goes_on {
            // The work stays with the old root; the user goes on with a new one.
            let mut user = root.clone();
            user.run = super::NOBODY;
            if let Some(affair) = self.flow.affairs.get_mut(user.affair) {
                affair.holders += 1;
            }
            if let Some(root) = self.flow.roots.get_mut(handle) {
                root.orphan = true;
            }
            let user = self.flow.roots.insert(user);
            self.end_task(user, Ending::Abandoned, now);
        } else {
            self.end_task(handle, Ending::Abandoned, now);
        }
    }

    /// A rung of the ladder ends the task.
    pub(super) fn end_by_rung(&mut self, handle: Handle, rung: Rung, now: Time) {
        let Some(root) = self.flow.roots.get(handle) else { return };
        let ending = match rung {
            Rung::PartialResult { quality } => {
                let good = Dice::of(root.request.key, Purpose::Partial).coin(quality);
                if good { Ending::Success } else { Ending::Wrong }
            }
            _ => Ending::Refined,
        };
        self.end_task(handle, ending, now);
    }

    /// All steps of a task are over.
    pub(super) fn task_done(&mut self, handle: Handle, right: bool, path: Path, now: Time) {
        let Some(root) = self.flow.roots.get(handle) else { return };
        let harmed = self.flow.affairs.get(root.affair).is_some_and(|affair| affair.harmed);
        let ending = match (harmed, right) {
            (true, _) => Ending::Harmful,
            (false, false) => Ending::Wrong,
            (false, true) => Ending::Success,
        };
        self.finish(handle, ending, Some(path), now);
    }

    /// A task ends before its steps are over.
    pub(super) fn end_task(&mut self, handle: Handle, ending: Ending, now: Time) {
        let Some(root) = self.flow.roots.get(handle) else { return };
        let run = root.run;
        let path = self.path_until(run, now);
        self.drop_run(run, now);
        self.finish(handle, ending, path, now);
    }

    /// What a task waited for until now: to where its last part at work has got, and the use of a
    /// tool that it is in.
    fn path_until(&self, run: Handle, now: Time) -> Option<Path> {
        let mut run = self.flow.runs.get(run)?;
        let mut whole: Option<Path> = None;
        let extended = |whole: Option<Path>, more: Path| match whole {
            Some(mut path) => {
                path.append(&more);
                path
            }
            None => more,
        };
        let part = |live: &Live| match live {
            Live::Run(part) => self.flow.runs.get(*part),
            Live::Call(_) | Live::Use(_) => None,
        };
        while let Some(inner) = run.live.iter().rev().find_map(part) {
            let Some(parent) = inner.parent else { break };
            whole = Some(extended(whole, run.progress.state(parent.step).path));
            run = inner;
        }
        let mut path = extended(whole, run.progress.furthest());
        if run.live.iter().any(|live| matches!(live, Live::Use(_))) {
            path.spend(Driver::Tools, now);
        }
        Some(path)
    }

    /// A submission ended; the user asks again, or that was it.
    fn finish(&mut self, handle: Handle, ending: Ending, path: Option<Path>, now: Time) {
        let Some(root) = self.flow.roots.get_mut(handle) else { return };
        if root.orphan {
            let affair = root.affair;
            self.flow.roots.remove(handle);
            self.leave_affair(affair);
            return;
        }
        let client = &self.scenario.sources[root.request.source.index()].people.client;
        let sees = matches!(ending, Ending::Failed(_) | Ending::Abandoned | Ending::Refused);
        if let (true, Some(again)) = (sees, &client.resubmit)
            && root.submission + 1 < again.max_submissions
            && !(again.max_submissions == u32::MAX && self.scenario.drains_for_long(now))
        {
            let coin = mix(root.request.key, u64::from(root.submission));
            let mut dice = Dice::of(coin, Purpose::Resubmit);
            if dice.coin(again.probability) {
                let pause = again.pause.sample(&mut dice);
                root.submission += 1;
                root.calls_before += std::mem::take(&mut root.usage).calls;
                (root.keep, root.quality, root.rung) = (1.0, 1.0, 0);
                (root.forced, root.run) = (None, super::NOBODY);
                // Harm that was done stays done.
                (root.premium, root.written, root.confidence) = (false, 0, None);
                root.answered = false;
                let hasty = root.submission >= HASTY_ATTEMPTS;
                let least = if hasty { LEAST_PAUSE } else { Span(1) };
                self.agenda
                    .push(now.after(pause.max(least)), Timer::Resubmit(handle, root.submission));
                return;
            }
        }
        let Some(root) = self.flow.roots.remove(handle) else { return };
        self.count_task(&root, ending, path, now);
        self.leave_affair(root.affair);
    }

    /// A root is gone, and with the last one what they shared.
    fn leave_affair(&mut self, handle: Handle) {
        let Some(affair) = self.flow.affairs.get_mut(handle) else { return };
        affair.holders -= 1;
        if affair.holders == 0 {
            self.flow.affairs.remove(handle);
        }
    }

    /// A request is over.
    fn count_task(&mut self, root: &Root, ending: Ending, path: Option<Path>, now: Time) {
        let Account { task, measured, .. } = root.account;
        let mut affair = Affair::default();
        if let Some(shared) = self.flow.affairs.get_mut(root.affair) {
            shared.over = true;
            affair = *shared;
        }
        // Whatever came of it for the user.
        let ending = if affair.harmed { Ending::Harmful } else { ending };
        let born = root.request.at;
        let latency = now - born;
        let refused = is_turned_away(root, ending);
        self.audit.leave(now, born);
        let success = ending == Ending::Success;
        let whole = since(born, path, now);
        let in_time = self.is_measured(now) && now.0 <= self.scenario.horizon.0;
        let outcome = &mut self.outcome.tasks[task.index()];
        outcome.completed += u64::from(success && in_time);
        outcome.harmed += u64::from(ending == Ending::Harmful && in_time);
        if success {
            self.observer.succeeded();
        }
        self.observer.task_ended(task, success.then_some(latency), refused);
        if measured {
            let counter = match ending {
                Ending::Success => &mut outcome.succeeded,
                Ending::Abandoned => &mut outcome.abandoned,
                _ if refused => &mut outcome.rejected,
                _ => &mut outcome.failed,
            };
            *counter += 1;
            outcome.endings.count(ending);
            if success {
                outcome.answered.successes += u64::from(affair.answered);
                let slo = self.scenario.tasks[task.index()].latency_slo;
                outcome.within_slo += u64::from(slo.is_none_or(|slo| latency <= slo));
                outcome.latency.record(latency);
                outcome.drivers.record(latency, &whole.parts());
            }
        }
        if refused {
            self.log(LOG_REJECTED, now, root.request.number);
        } else {
            self.observer.finished(latency, 0);
            self.log(LOG_ENDED, now, root.request.number ^ (root.first_token.0 << 1));
        }
        self.book_tenant(root, success, refused, now);
        self.record_task(root, (ending, refused), &affair, whole.parts(), now);
        let written = success.then_some(root.written);
        let at = match refused {
            true => now.after(REFUSED_PAUSE),
            // A client that never thinks would begin such tasks for ever at one instant.
            false if now == born => now.after(LEAST_PAUSE),
            false => now,
        };
        self.follow_up(root.request.source, root.request.origin, written, at);
    }

    /// Counts the use of a rung of the ladder.
    pub(super) fn count_rung(&mut self, handle: Handle, rung: Rung) {
        let Some(root) = self.flow.roots.get(handle) else { return };
        let kind = match rung {
            Rung::ShorterContext { .. } => 0,
            Rung::SmallerModel { .. } => 1,
            Rung::CachedAnswer { .. } => 2,
            Rung::PartialResult { .. } => 3,
            Rung::Refine => 4,
        };
        let account = root.account;
        self.outcome.tasks[account.task.index()].rungs[kind] += u64::from(account.measured);
        self.observer.parts.of_task(account.task, |acts| acts.rungs[kind] += 1);
    }
}

/// Whether a failure means that nobody let the call in.
fn is_refusal(failure: Failure) -> bool {
    !matches!(failure, Failure::ServerError | Failure::Timeout)
}

/// Whether an answer of this model makes a task a premium one under its tenant's plan.
pub(super) fn is_premium(scenario: &Scenario, root: &Root, model: ModelId) -> bool {
    let people = &scenario.sources[root.request.source.index()].people;
    let plan = people.tenants.and_then(|tenants| tenants.plan);
    let premium = plan.and_then(|plan| scenario.plans[plan.index()].premium.as_ref());
    premium.is_some_and(|premium| premium.models.contains(&model))
}

/// Whether nothing of a request was let in anywhere.
fn is_turned_away(root: &Root, ending: Ending) -> bool {
    match ending {
        Ending::Refused => true,
        Ending::Failed(failure) => !root.let_in && is_refusal(failure),
        _ => false,
    }
}

/// What a request waited for from its birth on: earlier submissions and what no path knows are
/// repetition.
fn since(born: Time, path: Option<Path>, now: Time) -> Path {
    let mut whole = Path::starting(born);
    if let Some(path) = path {
        whole.spend(Driver::Retries, path.start());
        whole.append(&path);
    }
    whole.spend(Driver::Retries, now);
    whole
}
