//! Requests on the hosts of engines: sent, but not in the engine yet.
//!
//! How long a request stays there depends on its prompt alone, so nothing of it is kept beyond the
//! engine's receipt. The router counts it as outstanding from the start; the engine knows nothing
//! of it.
//!
//! Deliberately absent: a host that is busy. Its time for a request is the same under every load.

use super::Simulation;
use super::calls::InEngine;
use super::state::Place;
use super::timers::Timer;
use crate::engine::Submission;
use crate::ids::{Handle, ReplicaId};
use crate::record::Recorder;
use crate::units::{Span, Time};

/// A request on the host of a replica.
#[derive(Clone, Debug)]
pub(super) struct OnHost {
    replica: ReplicaId,
    submission: Submission,
}

impl<R: Recorder> Simulation<'_, R> {
    /// Keeps a request on the host of a replica until `until`.
    pub(super) fn stay(
        &mut self,
        replica: ReplicaId,
        submission: Submission,
        until: Time,
    ) -> Handle {
        let on_host = self.on_hosts.insert(OnHost { replica, submission });
        self.agenda.push(until, Timer::Received(on_host));
        on_host
    }

    /// An engine gets a request from its host.
    pub(super) fn receive(&mut self, on_host: Handle, now: Time) {
        let Some(OnHost { replica, submission }) = self.on_hosts.remove(on_host) else { return };
        let slot = submission.call;
        let seq = self.submit(replica, submission, now);
        if let Some(&InEngine::Attempt(own)) = self.calls.in_slot(slot)
            && let Some(attempt) = self.flow.attempts.get_mut(own)
        {
            attempt.place = Place::Engine(replica, seq, slot);
        }
    }

    /// Forgets a request that its engine has not got yet.
    pub(super) fn take_off_host(&mut self, on_host: Handle) {
        let Some(gone) = self.on_hosts.remove(on_host) else { return };
        self.outstanding[gone.replica.index()] -= 1;
        self.calls.remove_slot(gone.submission.call);
    }

    /// What a prompt of so many tokens spends on the host of a replica.
    pub(super) fn time_on_host(&self, replica: ReplicaId, input: u32) -> Span {
        self.scenario.pools[self.pool_of[replica.index()].index()].host.of(input)
    }
}
