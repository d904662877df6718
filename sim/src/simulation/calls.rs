//! A call from arrival to end: routing, rejection, overflow, and what is counted.

use super::Simulation;
use super::state::Place;
use super::timers::Timer;
use crate::dice::mix;
use crate::engine::{EndReason, Ended, Submission};
use crate::event::RANK_SCHEDULE;
use crate::ids::{Backend, Handle, ModelId, PoolId, ReplicaId, SeqId, SourceId, TaskId};
use crate::outcome::Ending;
use crate::record::{CallRecord, Recorder};
use crate::resilience::Failure;
use crate::router::{Signal, Visible};
use crate::tasks::{DRIVERS, Driver};
use crate::units::{Span, Time};
use crate::workload::{Origin, Request, Segments};
use std::num::NonZeroU32;

/// A call in flight.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) source: SourceId,
    pub(super) task: TaskId,
    pub(super) model: ModelId,
    pub(super) born: Time,
    pub(super) input: u32,
    context: u32,
    attempts: u32,
    origin: Origin,
}

/// What an engine works on.
#[derive(Clone, Debug)]
pub(super) enum InEngine {
    /// The only call of a task that takes the short way.
    Direct(Call),
    /// An attempt of a call.
    Attempt(Handle),
}

/// What a pool has to know of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    input: u32,
    output: u32,
    /// What the client allows it to write; `None` when it does not say.
    max_tokens: Option<u32>,
    ends_by_eos: bool,
    priority: i32,
    route: u64,
    affinity: u64,
    output_segment: u64,
}

impl Wanted {
    fn of_request(request: &Request) -> Wanted {
        Wanted {
            input: request.input,
            output: request.output,
            max_tokens: request.max_tokens.map(NonZeroU32::get),
            ends_by_eos: request.ends_by_eos,
            priority: request.priority,
            route: request.route(),
            affinity: request.affinity(),
            output_segment: request.output_segment(),
        }
    }

    pub(super) fn of_call(call: &super::state::Call) -> Wanted {
        Wanted {
            input: call.prompt.input,
            output: call.max_tokens.map_or(call.prompt.output, |cap| call.prompt.output.min(cap)),
            max_tokens: call.max_tokens,
            ends_by_eos: call.ends_by_eos,
            priority: call.priority,
            // Drawn again for each attempt, as balancers do, so that a hedge may go elsewhere.
            route: match call.made_in_all {
                0 | 1 => call.route,
                again => mix(call.route, u64::from(again)),
            },
            affinity: call.prompt.segments.first().map_or(0, |segment| segment.id),
            output_segment: call.prompt.output_segment,
        }
    }

    /// Tokens it can write before it reaches the model's limit; 0 when its prompt already does.
    fn fitting_outputs(&self, max_model_len: u32) -> u32 {
        self.output.min(max_model_len.saturating_sub(self.input))
    }

    /// What an engine is told that it may write. A request that does not end by EOS has asked for
    /// the length it gets; one of which nothing is said may fill the context.
    fn declared_outputs(&self, max_model_len: u32) -> u32 {
        let room = max_model_len.saturating_sub(self.input);
        let asked = if self.ends_by_eos { self.max_tokens } else { Some(self.output) };
        asked.map_or(room, |asked| asked.min(room))
    }
}

/// What a client waits at least before it asks again after a refusal: without it a client that
/// never thinks would ask for ever at one instant.
pub(super) const REFUSED_PAUSE: Span = Span::from_secs(1);

/// What of an arrival, rejection or end goes into the log.
pub(super) const LOG_ARRIVED: u64 = 1;
pub(super) const LOG_REJECTED: u64 = 2;
pub(super) const LOG_ENDED: u64 = 3;

impl<R: Recorder> Simulation<'_, R> {
    /// A request arrives.
    pub(super) fn arrive(&mut self, mut request: Request, now: Time) {
        match self.world.direct[request.task.index()] {
            Some(model) => self.arrive_directly(&mut request, model, now),
            None => {
                self.arrive_with_task(request, now);
                self.follow(now);
            }
        }
    }

    /// A request arrives whose task is one plain call: it goes to the first pool that takes it.
    fn arrive_directly(&mut self, request: &mut Request, model: ModelId, now: Time) {
        let measured = self.is_measured(now);
        self.observer.arrived();
        self.audit.enter(now);
        self.log(LOG_ARRIVED, now, request.number);
        let task = &mut self.outcome.tasks[request.task.index()];
        task.arrived += u64::from(measured);
        task.submissions += u64::from(measured);
        task.calls += u64::from(measured);
        let scenario = self.scenario;
        let mut attempts = 0;
        let mut refusal = Failure::Overloaded;
        let wanted = Wanted::of_request(request);
        for pool in scenario.models[model.index()].pools() {
            attempts += 1;
            self.observer.attempted();
            match self.find_replica(pool, &wanted, now) {
                Ok(replica) => {
                    let slot = self.keep(request, model, attempts);
                    let segments = std::mem::take(&mut request.segments);
                    self.enter(replica, &wanted, segments, slot, now);
                    return;
                }
                Err(failure) => {
                    self.count_failure(model, measured, failure);
                    self.record_direct_refusal(request, (model, pool), failure, now);
                    refusal = failure;
                }
            }
        }
        if measured {
            let task = &mut self.outcome.tasks[request.task.index()];
            task.rejected += 1;
            task.endings.count(Ending::Failed(refusal));
            self.outcome.models[model.index()].attempts += u64::from(attempts);
        }
        self.observer.task_ended(request.task, None, true);
        self.audit.leave(now, now);
        self.log(LOG_REJECTED, now, request.number);
        self.record_direct_rejection(request, refusal, now);
        self.follow_up(request.source, request.origin, None, now.after(REFUSED_PAUSE));
    }

    /// The replica of a pool that takes a call, or why the pool rejects it.
    pub(super) fn find_replica(
        &mut self,
        pool: PoolId,
        wanted: &Wanted,
        now: Time,
    ) -> Result<ReplicaId, Failure> {
        let spec = &self.scenario.pools[pool.index()];
        let first = self.first_replica[pool.index()];
        let outputs = wanted.fitting_outputs(spec.engine.max_model_len.0);
        if outputs == 0 || !self.replicas[first as usize].accepts(wanted.input, outputs) {
            return Err(Failure::TooLong);
        }
        let visible = Visible { bits: wanted.route, affinity: wanted.affinity };
        let (outstanding, replicas) = (&self.outstanding, &self.replicas);
        let live = |number: usize| {
            let replica = first as usize + number;
            Signal {
                outstanding: outstanding[replica],
                waiting: replicas[replica].load().0,
                kv_used: replicas[replica].used_blocks_at(now),
            }
        };
        let load = |number: usize| outstanding[first as usize + number];
        let chosen = self.routers[pool.index()].choose(visible, load, live);
        let replica = first + chosen as u32;
        let inside = self.outstanding[replica as usize];
        let tokens = self.replicas[replica as usize].queued_tokens();
        if spec.engine.max_num_queued_reqs.is_some_and(|most| inside >= most)
            || spec.engine.max_num_queued_tokens.is_some_and(|most| tokens >= most)
        {
            self.observer.turned_away(pool);
            return Err(Failure::Overloaded);
        }
        self.routers[pool.index()].sent(chosen);
        Ok(ReplicaId(replica))
    }

    /// Keeps what will be asked of a request when its call ends; under which number.
    fn keep(&mut self, request: &Request, model: ModelId, attempts: u32) -> u32 {
        let call = Call {
            number: request.number,
            source: request.source,
            task: request.task,
            model,
            born: request.at,
            input: request.input,
            context: request.context,
            attempts,
            origin: request.origin,
        };
        self.calls.insert(InEngine::Direct(call)).slot
    }

    /// Sends a call to a replica under the number `slot`; where it is then.
    pub(super) fn enter(
        &mut self,
        replica: ReplicaId,
        wanted: &Wanted,
        segments: Segments,
        slot: u32,
        now: Time,
    ) -> Place {
        let pool = &self.scenario.pools[self.pool_of[replica.index()].index()];
        let longest = pool.engine.max_model_len.0;
        let outputs = wanted.fitting_outputs(longest);
        let submission = Submission {
            call: slot,
            // Distinct arrivals: equal keys of the priority policy could take each other's blocks
            // for ever.
            arrived: self.observer.distinct(now),
            prompt: wanted.input,
            outputs,
            max_tokens: wanted.declared_outputs(longest),
            ends_by_eos: wanted.ends_by_eos && outputs == wanted.output,
            priority: wanted.priority,
            segments,
            output_segment: wanted.output_segment,
        };
        self.outstanding[replica.index()] += 1;
        match pool.host.of(wanted.input) {
            Span::ZERO => Place::Engine(replica, self.submit(replica, submission, now), slot),
            on_host => Place::Host(self.stay(replica, submission, now.after(on_host))),
        }
    }

    /// Puts a request into an engine.
    pub(super) fn submit(
        &mut self,
        replica: ReplicaId,
        submission: Submission,
        now: Time,
    ) -> SeqId {
        let engine = &mut self.replicas[replica.index()];
        let idle = engine.boundary() == Time::NEVER;
        let seq = engine.submit(now, submission);
        self.plan(replica, idle, now);
        seq
    }

    /// Stops what an engine works on under the number `slot`, at its next boundary.
    pub(super) fn cancel_in_engine(
        &mut self,
        replica: ReplicaId,
        seq: SeqId,
        slot: u32,
        now: Time,
    ) {
        let engine = &mut self.replicas[replica.index()];
        let idle = engine.boundary() == Time::NEVER;
        engine.cancel(now, seq, slot);
        self.plan(replica, idle, now);
    }

    /// Puts a replica whose plans changed on the agenda.
    fn plan(&mut self, replica: ReplicaId, idle: bool, now: Time) {
        if idle {
            self.agenda.set(replica.0, now, RANK_SCHEDULE);
        } else {
            let boundary = self.replicas[replica.index()].boundary();
            self.agenda.set(replica.0, boundary, crate::event::RANK_BOUNDARY);
        }
    }

    /// A call left its engine.
    pub(super) fn end_call(&mut self, replica: ReplicaId, end: &Ended, now: Time) {
        match self.calls.remove_slot(end.call) {
            Some(InEngine::Direct(call)) => self.end_direct(&call, replica, end, now),
            Some(InEngine::Attempt(attempt)) => {
                self.attempt_left_engine(attempt, replica, end, now);
                self.follow(now);
            }
            None => {}
        }
    }

    fn end_direct(&mut self, call: &Call, replica: ReplicaId, end: &Ended, now: Time) {
        debug_assert_eq!(end.reason, EndReason::Finished, "nobody cancels a plain call");
        self.outstanding[replica.index()] -= 1;
        self.audit.compute(call.input, end);
        let latency = now - call.born;
        let on_host = self.time_on_host(replica, call.input);
        let in_engine = u128::from((latency - on_host).0);
        self.observer.finished(latency, end.preemptions);
        self.audit.leave(now, call.born);
        self.log(LOG_ENDED, now, call.number ^ (end.first_token.0 << 1));
        self.observer.succeeded();
        self.observer.task_ended(call.task, Some(latency), false);
        if self.is_measured(now) && now.0 <= self.scenario.horizon.0 {
            let task = &mut self.outcome.tasks[call.task.index()];
            task.completed += 1;
            task.engine_time += in_engine;
            // Such tasks have no tenants of their own.
            self.outcome.tenant(0).engine_time += in_engine;
            self.book_work(replica, (call.input, call.context), end, true);
        }
        if self.is_measured(call.born) {
            self.count(call, end, latency, on_host);
        }
        self.record_direct(call, replica, end, now);
        let pool = self.pool_of[replica.index()];
        self.recorder.call(&CallRecord {
            number: call.number,
            source: call.source,
            task: call.task,
            model: call.model,
            backend: Backend::Pool(pool),
            replica: replica.0 - self.first_replica[pool.index()],
            arrived: call.born,
            scheduled: end.scheduled,
            first_token: end.first_token,
            ended: end.ended,
            input: call.input,
            output: end.outputs,
            hit_tokens: end.hit_tokens,
            preemptions: end.preemptions,
        });
        self.follow_up(call.source, call.origin, Some(end.outputs), now);
    }

    fn count(&mut self, call: &Call, end: &Ended, latency: Span, on_host: Span) {
        let task = &mut self.outcome.tasks[call.task.index()];
        task.succeeded += 1;
        task.endings.count(Ending::Success);
        task.drivers.record(latency, &parts(call.born, on_host, end));
        let slo = self.scenario.tasks[call.task.index()].latency_slo;
        task.within_slo += u64::from(slo.is_none_or(|slo| latency <= slo));
        // That of the model is the same, and is added when the run closes.
        task.latency.record(latency);
        let model = &mut self.outcome.models[call.model.index()];
        model.calls += 1;
        model.attempts += u64::from(call.attempts);
        model.input_tokens += u64::from(call.input);
        model.output_tokens += u64::from(end.outputs);
        model.ttft.record(end.first_token - call.born);
        model.queue.record(end.scheduled - call.born.after(on_host));
        model.prefill.record(end.first_token - end.scheduled);
        let decode = end.ended - end.first_token;
        model.decode.record(decode);
        if end.outputs > 1 {
            model.tpot.record(Span(decode.0 / u64::from(end.outputs - 1)));
        }
    }

    /// A session's next turn or a client's next request, now that this one is over.
    pub(super) fn follow_up(
        &mut self,
        source: SourceId,
        origin: Origin,
        written: Option<u32>,
        now: Time,
    ) {
        if let Some(next) = self.sources[source.index()].follow_up(origin, written, now) {
            let at = next.at;
            let handle = self.follow_ups.insert(next);
            self.agenda.push(at, Timer::FollowUp(handle));
        }
    }

    pub(super) fn is_measured(&self, at: Time) -> bool {
        at.0 >= self.scenario.warm_up.0
    }

    pub(super) fn log(&mut self, kind: u64, now: Time, number: u64) {
        let word = now.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number.rotate_left(17) ^ kind;
        let hash = (self.outcome.log_hash ^ word).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        self.outcome.log_hash = hash ^ (hash >> 32);
    }
}

/// What a plain call waited for: as [`crate::tasks::Path::run`] divides it.
pub(super) fn parts(born: Time, on_host: Span, end: &Ended) -> [Span; DRIVERS] {
    let (prefill, decode) = (end.first_token - end.scheduled, end.ended - end.first_token);
    let (before, after) = (end.stalled.0.min(prefill), end.stalled.1.min(decode));
    let mut parts = [Span::ZERO; DRIVERS];
    parts[Driver::Host as usize] = on_host;
    parts[Driver::Queueing as usize] = end.scheduled - born.after(on_host);
    parts[Driver::Prefill as usize] = prefill - before;
    parts[Driver::Decode as usize] = decode - after;
    parts[Driver::Preemption as usize] = before + after;
    parts
}
