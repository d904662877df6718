//! Attempts: choosing a backend, the guards around it, and what ends an attempt.
//!
//! The order of the guards is that of [`crate::resilience`]. A call has at most
//! `hedge.max_attempts` attempts under way; the first answer wins and the others are cancelled.

use super::Simulation;
use super::state::{Attempt, Call, Delivered, Place};
use super::timers::Timer;
use crate::backends::{Attempt as RemoteAttempt, Course, Offer};
use crate::dice::{Dice, Purpose, mix};
use crate::engine::{EndReason, Ended};
use crate::ids::{Backend, Handle, ModelId, PoolId, RemoteId, ReplicaId};
use crate::record::Recorder;
use crate::resilience::{Failure, Permit, hedge};
use crate::scenario::BackendChoice;
use crate::tasks::Driver;
use crate::units::{Span, Time};
use smallvec::SmallVec;

/// Why nothing was sent, and when the backend says to come back.
pub(super) type Refusal = (Failure, Option<Span>);

impl<R: Recorder> Simulation<'_, R> {
    /// Sends a call to the first backend of its model that takes it.
    pub(super) fn send(&mut self, handle: Handle, now: Time) -> Result<(), Refusal> {
        let Some(call) = self.flow.calls.get_mut(handle) else { return Ok(()) };
        let model = call.model;
        call.made += 1;
        call.made_in_all += 1;
        let (priority, made) = (call.priority, call.made_in_all);
        let measured = call.account.measured;
        let coin = mix(call.asking, u64::from(made));
        let spec = &self.scenario.models[model.index()];
        let first = match spec.choice {
            BackendChoice::Ordered => 0,
            BackendChoice::Weighted => weighted(&self.world.guards[model.index()].weights, coin),
        };
        let others = (0..spec.served_by.len()).filter(|&other| other != first);
        let mut refusal = (Failure::Overloaded, None);
        for serving in std::iter::once(first).chain(others) {
            let breaker = &mut self.world.guards[model.index()].breakers[serving].1;
            let permit = match breaker {
                Some(breaker) => match breaker.permit(now) {
                    Some(permit) => {
                        self.audit.take_permit();
                        Some(permit)
                    }
                    None => {
                        self.audit.turn_away(measured);
                        self.count_failure(model, measured, Failure::BreakerOpen);
                        refusal = (Failure::BreakerOpen, refusal.1);
                        continue;
                    }
                },
                None => None,
            };
            let guards = &mut self.world.guards[model.index()];
            if !guards.admission.admit(priority, guards.in_flight) {
                // One door leads to all backends, so the others need not be tried.
                self.tell_breaker(model, serving, permit, Failure::Overloaded, now);
                self.audit.turn_away(measured);
                self.count_failure(model, measured, Failure::Overloaded);
                return Err((Failure::Overloaded, None));
            }
            self.observer.attempted();
            if measured {
                self.outcome.models[model.index()].attempts += 1;
            }
            self.audit.offer(matches!(spec.served_by[serving].backend, Backend::Remote(_)));
            match self.offer(handle, serving as u32, permit, now) {
                Ok(attempt) => {
                    self.sent(handle, attempt, now);
                    return Ok(());
                }
                Err(refused) => {
                    self.tell_breaker(model, serving, permit, refused.0, now);
                    self.audit.refuse();
                    self.count_failure(model, measured, refused.0);
                    refusal = refused;
                }
            }
        }
        Err(refusal)
    }

    /// Tells a breaker that an attempt it let through came to nothing at once.
    fn tell_breaker(
        &mut self,
        model: ModelId,
        serving: usize,
        permit: Option<Permit>,
        failure: Failure,
        now: Time,
    ) {
        let breaker = &mut self.world.guards[model.index()].breakers[serving].1;
        if let (Some(breaker), Some(permit)) = (breaker, permit) {
            breaker.record(now, Err(failure), Span::ZERO, permit);
            self.audit.return_permit();
        }
    }

    /// Offers an attempt to one backend.
    fn offer(
        &mut self,
        handle: Handle,
        serving: u32,
        permit: Option<Permit>,
        now: Time,
    ) -> Result<Handle, Refusal> {
        let Some(call) = self.flow.calls.get(handle) else {
            return Err((Failure::Overloaded, None));
        };
        let backend = self.scenario.models[call.model.index()].served_by[serving as usize].backend;
        let attempt = Attempt {
            call: handle,
            account: call.account,
            root: call.root,
            step: call.place,
            model: call.model,
            serving,
            backend,
            sent: now,
            input: call.prompt.input,
            context: call.prompt.context,
            place: Place::Nowhere,
            permit,
            timed_out: false,
        };
        let offered = match backend {
            Backend::Pool(pool) => self.offer_pool(&attempt, pool, now),
            Backend::Remote(remote) => self.offer_remote(&attempt, remote, now),
        };
        if let Err((failure, _)) = offered {
            self.record_refusal(&attempt, failure, now);
        }
        offered
    }

    fn offer_pool(
        &mut self,
        attempt: &Attempt,
        pool: PoolId,
        now: Time,
    ) -> Result<Handle, Refusal> {
        let handle = attempt.call;
        let Some(call) = self.flow.calls.get(handle) else {
            return Err((Failure::Overloaded, None));
        };
        let wanted = super::calls::Wanted::of_call(call);
        let replica = self.find_replica(pool, &wanted, now).map_err(|why| (why, None))?;
        let Some(call) = self.flow.calls.get(handle) else {
            return Err((Failure::Overloaded, None));
        };
        let segments = call.prompt.segments.clone();
        let wanted = super::calls::Wanted::of_call(call);
        let own = self.flow.attempts.insert(attempt.clone());
        let slot = self.calls.insert(super::calls::InEngine::Attempt(own)).slot;
        let place = self.enter(replica, &wanted, segments, slot, now);
        if let Some(attempt) = self.flow.attempts.get_mut(own) {
            attempt.place = place;
        }
        Ok(own)
    }

    fn offer_remote(
        &mut self,
        attempt: &Attempt,
        remote: RemoteId,
        now: Time,
    ) -> Result<Handle, Refusal> {
        let handle = attempt.call;
        let own = self.flow.attempts.insert(attempt.clone());
        let Some(call) = self.flow.calls.get(handle) else {
            return Err((Failure::Overloaded, None));
        };
        let offered = RemoteAttempt {
            key: mix(
                mix(call.asking, u64::from(call.made_in_all)),
                self.scenario.remotes[remote.index()].key,
            ),
            user_key: self.flow.roots.get(call.root).map_or(0, |root| {
                let source = root.request.source;
                mix(self.scenario.sources[source.index()].key, root.request.origin.person())
            }),
            input: call.prompt.input,
            context: call.prompt.context,
            output: call.prompt.output,
            max_tokens: call.max_tokens,
            priority: call.priority,
            prompt: &call.prompt.segments,
            ticket: own,
        };
        let place = match self.world.remotes[remote.index()].offer(now, &offered) {
            Offer::Started(course) => {
                self.agenda.push(course.ends, Timer::AttemptEnds(own));
                Place::Remote(course)
            }
            Offer::Queued(spot) => Place::Queue(spot),
            Offer::Refused { failure, retry_after } => {
                self.flow.attempts.remove(own);
                return Err((failure, retry_after));
            }
        };
        if let Some(attempt) = self.flow.attempts.get_mut(own) {
            attempt.place = place;
        }
        Ok(own)
    }

    /// An attempt was let in: its timers start.
    fn sent(&mut self, handle: Handle, attempt: Handle, now: Time) {
        let Some(call) = self.flow.calls.get_mut(handle) else { return };
        if call.live.is_empty() {
            (call.first_sent, call.launched) = (now, 0);
        }
        call.live.push(attempt);
        call.launched += 1;
        let (first_sent, launched) = (call.first_sent, call.launched);
        let (model, turn, root, place) = (call.model, call.turn, call.root, call.place);
        let waited_for = call.execution.is_some();
        self.world.guards[model.index()].in_flight += 1;
        // Of a shadow the task knows nothing.
        let own = waited_for || self.call_spec(place).is_some_and(|spec| spec.background);
        if let (true, Some(root)) = (own, self.flow.roots.get_mut(root)) {
            root.let_in = true;
        }
        let guards = &self.scenario.models[model.index()].guards;
        // Where the end is known, what would come after it, or at the same instant behind it, is
        // not planned at all.
        let ends = self.flow.attempts.get(attempt).map_or(Time::NEVER, |sent| match sent.place {
            Place::Remote(course) => course.ends,
            _ => Time::NEVER,
        });
        if let Some(timeout) = guards.timeout
            && ends > now.after(timeout)
        {
            self.agenda.push(now.after(timeout), Timer::AttemptTimeout(attempt));
        }
        // An attempt that is not alone may fail and leave the others waiting for the hedge.
        let alone = launched == 1;
        if let Some(spec) = &guards.hedge
            && let Some(at) = hedge::next_at(spec, first_sent, launched)
            && !(alone && ends <= at)
        {
            self.agenda.push(at, Timer::Hedge(handle, turn));
        }
    }

    /// A call is slow: one more attempt beside those under way, if the budget allows.
    pub(super) fn hedge(&mut self, handle: Handle, now: Time) {
        let Some(call) = self.flow.calls.get(handle).filter(|call| !call.live.is_empty()) else {
            return;
        };
        let (model, measured) = (call.model, call.account.measured);
        let paid = self.world.guards[model.index()].budget.as_mut().is_none_or(|b| b.withdraw(now));
        if paid && self.send(handle, now).is_ok() {
            self.outcome.models[model.index()].hedges += u64::from(measured);
            self.observer.parts.of_model(model, |window| window.hedges += 1);
        }
    }

    /// A remote attempt comes to its end.
    pub(super) fn attempt_ends(&mut self, own: Handle, now: Time) {
        let Some(attempt) = self.flow.attempts.get(own) else { return };
        let Place::Remote(course) = attempt.place else { return };
        if course.ends != now {
            return;
        }
        if course.failure.is_none() {
            self.drop_rivals(attempt.call, own, now);
        }
        let Some(attempt) = self.leave_remote(own, &course, now) else { return };
        match course.failure {
            Some(failure) => self.attempt_failed(own, &attempt, failure, now),
            None => {
                let delivered = Delivered {
                    scheduled: course.began,
                    first_token: course.first_token,
                    ended: now,
                    on_host: Span::ZERO,
                    cold: course.cold,
                    stalled: (Span::ZERO, Span::ZERO),
                    outputs: course.output,
                    hit_tokens: course.cached_tokens,
                    preemptions: 0,
                };
                self.attempt_delivered(own, &attempt, &delivered, now);
            }
        }
    }

    /// Takes an attempt out of its remote, books its cost and starts whoever is next there.
    fn leave_remote(&mut self, own: Handle, course: &Course, now: Time) -> Option<Attempt> {
        let attempt = self.flow.attempts.remove(own)?;
        let Backend::Remote(remote) = attempt.backend else { return None };
        let useful = course.failure.is_none() && now >= course.ends;
        self.book_remote(&attempt, remote, course, useful, now);
        if let Some(next) = self.world.remotes[remote.index()].leave(now, course) {
            self.agenda.push(next.ends, Timer::AttemptEnds(next.ticket));
            if let Some(waiting) = self.flow.attempts.get_mut(next.ticket) {
                waiting.place = Place::Remote(next);
            }
        }
        Some(attempt)
    }

    /// An attempt left its engine.
    pub(super) fn attempt_left_engine(
        &mut self,
        own: Handle,
        replica: ReplicaId,
        end: &Ended,
        now: Time,
    ) {
        let Some(attempt) = self.flow.attempts.remove(own) else { return };
        let cancelled = end.reason == EndReason::Cancelled;
        let useful = !cancelled && self.is_wanted(&attempt);
        self.book_engine(&attempt, replica, end, useful, now);
        if cancelled {
            // Whoever cancelled it has moved on already.
            return;
        }
        let delivered = Delivered {
            scheduled: end.scheduled,
            first_token: end.first_token,
            ended: end.ended,
            on_host: self.time_on_host(replica, attempt.input),
            cold: Span::ZERO,
            stalled: end.stalled,
            outputs: end.outputs,
            hit_tokens: end.hit_tokens,
            preemptions: end.preemptions,
        };
        self.drop_rivals(attempt.call, own, now);
        self.attempt_delivered(own, &attempt, &delivered, now);
    }

    /// An attempt takes too long.
    pub(super) fn attempt_times_out(&mut self, own: Handle, now: Time) {
        let Some(attempt) = self.flow.attempts.get(own) else { return };
        if self.flow.calls.get(attempt.call).is_none() {
            return;
        }
        let attempt = attempt.clone();
        if let Some(attempt) = self.flow.attempts.get_mut(own) {
            attempt.timed_out = true;
        }
        self.count_failure(attempt.model, attempt.account.measured, Failure::Timeout);
        let call = self.over(own, &attempt, Err(Failure::Timeout), now);
        let last = call.is_some_and(|call| call.live.is_empty());
        // Before anything else is sent: its place may be needed.
        if self.scenario.models[attempt.model.index()].guards.cancel_on_timeout {
            self.cancel_attempt(own, now);
        } else {
            self.let_go(own);
        }
        if last {
            self.carry_on(attempt.call, (Failure::Timeout, None), now);
        }
    }

    /// Nobody waits for an attempt any more, but it goes on. Its permit is given back already.
    fn let_go(&mut self, own: Handle) {
        if let Some(attempt) = self.flow.attempts.get_mut(own) {
            attempt.call = super::NOBODY;
            attempt.permit = None;
        }
    }

    /// Stops an attempt wherever it is; what it burned is booked.
    pub(super) fn cancel_attempt(&mut self, own: Handle, now: Time) {
        self.let_go(own);
        self.record_stopped(own, now);
        let Some(attempt) = self.flow.attempts.get(own) else { return };
        match attempt.place {
            Place::Nowhere => {
                self.flow.attempts.remove(own);
            }
            Place::Host(on_host) => {
                self.take_off_host(on_host);
                self.flow.attempts.remove(own);
            }
            Place::Engine(replica, seq, slot) => self.cancel_in_engine(replica, seq, slot, now),
            Place::Queue(spot) => {
                if let Backend::Remote(remote) = attempt.backend {
                    self.world.remotes[remote.index()].cancel_queued(spot);
                    self.audit.unqueue();
                }
                self.flow.attempts.remove(own);
            }
            Place::Remote(course) => {
                self.leave_remote(own, &course, now);
            }
        }
    }

    /// Takes an attempt off its call's list and tells the breaker how it went.
    fn over(
        &mut self,
        own: Handle,
        attempt: &Attempt,
        result: Result<(), Failure>,
        now: Time,
    ) -> Option<&mut Call> {
        let guards = &mut self.world.guards[attempt.model.index()];
        if let (Some(breaker), Some(permit)) =
            (&mut guards.breakers[attempt.serving as usize].1, attempt.permit)
        {
            breaker.record(now, result, now - attempt.sent, permit);
            self.audit.return_permit();
        }
        let call = self.flow.calls.get_mut(attempt.call)?;
        self.audit.resolve();
        guards.in_flight -= 1;
        call.live.retain(|other| *other != own);
        Some(call)
    }

    fn attempt_failed(&mut self, own: Handle, attempt: &Attempt, failure: Failure, now: Time) {
        if self.flow.calls.get(attempt.call).is_none() {
            return;
        }
        self.count_failure(attempt.model, attempt.account.measured, failure);
        let Some(call) = self.over(own, attempt, Err(failure), now) else { return };
        if call.live.is_empty() {
            self.carry_on(attempt.call, (failure, None), now);
        }
    }

    fn attempt_delivered(
        &mut self,
        own: Handle,
        attempt: &Attempt,
        delivered: &Delivered,
        now: Time,
    ) {
        let Some(call) = self.over(own, attempt, Ok(()), now) else { return };
        call.path.spend(Driver::Retries, attempt.sent);
        call.path.spend(Driver::Host, attempt.sent.after(delivered.on_host));
        call.path.wake(
            delivered.scheduled,
            delivered.cold.min(delivered.first_token - delivered.scheduled),
        );
        call.path.run(
            delivered.scheduled,
            delivered.first_token,
            delivered.ended,
            delivered.stalled,
        );
        self.count_delivery(attempt, delivered);
        self.answered(attempt.call, attempt, delivered, now);
    }

    /// The answer is there, so whatever else is under way for it stops. That comes before the place
    /// of the answer is given away: a rival may wait for it.
    fn drop_rivals(&mut self, handle: Handle, own: Handle, now: Time) {
        let Some(call) = self.flow.calls.get_mut(handle) else { return };
        let rivals = call.live.iter().copied().filter(|&rival| rival != own).collect();
        call.live.retain(|attempt| *attempt == own);
        self.drop_attempts(rivals, now);
    }

    /// Drops attempts for reasons that say nothing about their backends. Those that wait go first,
    /// or they would begin, and be paid for, where another of them leaves.
    pub(super) fn drop_attempts(&mut self, mut attempts: SmallVec<[Handle; 2]>, now: Time) {
        let waits = |own: Handle| {
            self.flow.attempts.get(own).is_some_and(|a| matches!(a.place, Place::Queue(_)))
        };
        attempts.sort_by_key(|&own| !waits(own));
        for own in attempts {
            let Some(attempt) = self.flow.attempts.get(own) else { continue };
            self.audit.drop_attempt(attempt.account.measured);
            self.world.guards[attempt.model.index()].in_flight -= 1;
            self.release_permit(own);
            self.cancel_attempt(own, now);
        }
    }

    fn release_permit(&mut self, own: Handle) {
        let Some(attempt) = self.flow.attempts.get(own) else { return };
        let breaker =
            &mut self.world.guards[attempt.model.index()].breakers[attempt.serving as usize].1;
        if let (Some(breaker), Some(permit)) = (breaker, attempt.permit) {
            breaker.release(permit);
            self.audit.return_permit();
        }
    }
}

/// Position of a backend drawn by weight.
fn weighted(sums: &[f64], coin: u64) -> usize {
    let total = sums.last().copied().unwrap_or(0.0);
    let drawn = Dice::of(coin, Purpose::Backend).uniform() * total;
    sums.partition_point(|&sum| sum <= drawn).min(sums.len().saturating_sub(1))
}
