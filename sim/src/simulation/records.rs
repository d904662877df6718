//! What a [`Recorder`] is told: put together where something ends, and only if it is kept.
//!
//! Invariants: every offer to a backend is reported once, when it has ended or was not let in; a task
//! is reported after all of its attempts that are not late.
//!
//! Deliberately absent: anything that the simulation itself goes by.

use super::Simulation;
use super::calls::Call;
use super::state::{Affair, Attempt, Place, Root};
use crate::backends::{Course, RemotePrice};
use crate::engine::{EndReason, Ended};
use crate::ids::{Backend, Handle, ModelId, PoolId, ReplicaId};
use crate::outcome::Ending;
use crate::record::{AttemptEnding, AttemptRecord, Recorder, TaskRecord};
use crate::resilience::Failure;
use crate::tasks::DRIVERS;
use crate::units::{Money, Span, Time};
use crate::workload::Request;

impl<R: Recorder> Simulation<'_, R> {
    /// The record of an attempt that was never served and ends now.
    fn unserved(&self, attempt: &Attempt, ending: AttemptEnding, now: Time) -> AttemptRecord {
        let affair = self.flow.roots.get(attempt.root);
        let affair = affair.and_then(|root| self.flow.affairs.get(root.affair));
        AttemptRecord {
            number: attempt.account.number,
            source: attempt.account.source,
            task: attempt.account.task,
            tenant: attempt.account.tenant,
            step: Some(attempt.step),
            model: attempt.model,
            backend: attempt.backend,
            replica: 0,
            sent: attempt.sent,
            scheduled: Time::NEVER,
            first_token: Time::NEVER,
            ended: now,
            ending: if attempt.timed_out {
                AttemptEnding::Failed(Failure::Timeout)
            } else {
                ending
            },
            input: attempt.input,
            hit_tokens: 0,
            output: 0,
            preemptions: 0,
            cost: Money::ZERO,
            measured: attempt.account.measured,
            billed: self.is_billed(now),
            used: false,
            late: affair.is_none_or(|affair| affair.over),
        }
    }

    /// A backend did not let an attempt in.
    pub(super) fn record_refusal(&mut self, attempt: &Attempt, failure: Failure, now: Time) {
        if R::KEEPS {
            let record = self.unserved(attempt, AttemptEnding::Failed(failure), now);
            self.recorder.attempt(&record);
        }
    }

    /// An attempt is stopped; nothing is said of one that a backend is at work on, which leaves later.
    pub(super) fn record_stopped(&mut self, own: Handle, now: Time) {
        if let (true, Some(attempt)) = (R::KEEPS, self.flow.attempts.get(own))
            && !matches!(attempt.place, Place::Engine(..) | Place::Remote(_))
        {
            let record = self.unserved(attempt, AttemptEnding::Stopped, now);
            self.recorder.attempt(&record);
        }
    }

    /// An attempt leaves a remote.
    pub(super) fn record_remote(
        &mut self,
        attempt: &Attempt,
        (price, course): (&RemotePrice, &Course),
        used: bool,
        now: Time,
    ) {
        if !R::KEEPS {
            return;
        }
        let ending = match course.failure {
            _ if now < course.ends => AttemptEnding::Stopped,
            Some(failure) => AttemptEnding::Failed(failure),
            None => AttemptEnding::Answered,
        };
        let output = course.written(now);
        let record = AttemptRecord {
            scheduled: course.began,
            first_token: if output > 0 { course.first_token } else { Time::NEVER },
            hit_tokens: course.cached_tokens,
            output,
            cost: match price {
                RemotePrice::Metered(meter) => meter.price_of(&course.billed(now)),
                RemotePrice::Hourly { .. } | RemotePrice::Free => Money::ZERO,
            },
            used,
            ..self.unserved(attempt, ending, now)
        };
        self.recorder.attempt(&record);
    }

    /// An attempt leaves an engine.
    pub(super) fn record_engine(
        &mut self,
        attempt: &Attempt,
        replica: ReplicaId,
        end: &Ended,
        used: bool,
        now: Time,
    ) {
        if R::KEEPS {
            let ending = match end.reason {
                EndReason::Finished => AttemptEnding::Answered,
                EndReason::Cancelled => AttemptEnding::Stopped,
            };
            let record = self.unserved(attempt, ending, now);
            self.recorder.attempt(&self.served(record, replica, end, used));
        }
    }

    /// A record with what an engine did.
    fn served(
        &self,
        record: AttemptRecord,
        replica: ReplicaId,
        end: &Ended,
        used: bool,
    ) -> AttemptRecord {
        let pool = self.pool_of[replica.index()];
        AttemptRecord {
            backend: Backend::Pool(pool),
            replica: replica.0 - self.first_replica[pool.index()],
            scheduled: end.scheduled,
            first_token: end.first_token,
            hit_tokens: end.hit_tokens,
            output: end.outputs,
            preemptions: end.preemptions,
            used,
            ..record
        }
    }

    /// A task that takes the general way is over.
    pub(super) fn record_task(
        &mut self,
        root: &Root,
        (ending, rejected): (Ending, bool),
        affair: &Affair,
        parts: [Span; DRIVERS],
        now: Time,
    ) {
        if !R::KEEPS {
            return;
        }
        let observability = self.scenario.tasks[root.account.task.index()].observability;
        let billed = if self.is_billed(now) { observability } else { Money::ZERO };
        self.recorder.task(&TaskRecord {
            number: root.request.number,
            source: root.request.source,
            task: root.account.task,
            tenant: root.account.tenant,
            arrived: root.request.at,
            ended: now,
            ending,
            rejected,
            submissions: root.submission + 1,
            calls: root.calls_before + root.usage.calls,
            spend: affair.spend + observability,
            billed: affair.billed + billed,
            wasted: affair.wasted,
            parts,
        });
    }

    /// A pool does not take a plain call.
    pub(super) fn record_direct_refusal(
        &mut self,
        request: &Request,
        (model, pool): (ModelId, PoolId),
        failure: Failure,
        now: Time,
    ) {
        if R::KEEPS {
            let record = AttemptRecord {
                number: request.number,
                source: request.source,
                task: request.task,
                tenant: 0,
                step: None,
                model,
                backend: Backend::Pool(pool),
                replica: 0,
                sent: now,
                scheduled: Time::NEVER,
                first_token: Time::NEVER,
                ended: now,
                ending: AttemptEnding::Failed(failure),
                input: request.input,
                hit_tokens: 0,
                output: 0,
                preemptions: 0,
                cost: Money::ZERO,
                measured: self.is_measured(now),
                billed: self.is_billed(now),
                used: false,
                late: false,
            };
            self.recorder.attempt(&record);
        }
    }

    /// A task that is one plain call was refused.
    pub(super) fn record_direct_rejection(&mut self, request: &Request, why: Failure, now: Time) {
        if R::KEEPS {
            self.recorder.task(&TaskRecord {
                number: request.number,
                source: request.source,
                task: request.task,
                tenant: 0,
                arrived: request.at,
                ended: now,
                ending: Ending::Failed(why),
                rejected: true,
                submissions: 1,
                calls: 1,
                spend: Money::ZERO,
                billed: Money::ZERO,
                wasted: Money::ZERO,
                parts: [Span::ZERO; DRIVERS],
            });
        }
    }

    /// A plain call ends, and its task with it.
    pub(super) fn record_direct(
        &mut self,
        call: &Call,
        replica: ReplicaId,
        end: &Ended,
        now: Time,
    ) {
        if !R::KEEPS {
            return;
        }
        let record = AttemptRecord {
            number: call.number,
            source: call.source,
            task: call.task,
            tenant: 0,
            step: None,
            model: call.model,
            backend: Backend::Pool(self.pool_of[replica.index()]),
            replica: 0,
            sent: call.born,
            scheduled: Time::NEVER,
            first_token: Time::NEVER,
            ended: end.ended,
            ending: AttemptEnding::Answered,
            input: call.input,
            hit_tokens: 0,
            output: 0,
            preemptions: 0,
            cost: Money::ZERO,
            measured: self.is_measured(call.born),
            billed: self.is_billed(now),
            used: true,
            late: false,
        };
        let record = self.served(record, replica, end, true);
        self.recorder.attempt(&record);
        let on_host = self.time_on_host(replica, call.input);
        self.recorder.task(&TaskRecord {
            number: call.number,
            source: call.source,
            task: call.task,
            tenant: 0,
            arrived: call.born,
            ended: now,
            ending: Ending::Success,
            rejected: false,
            submissions: 1,
            calls: 1,
            spend: Money::ZERO,
            billed: Money::ZERO,
            wasted: Money::ZERO,
            parts: super::calls::parts(call.born, on_host, end),
        });
    }
}
