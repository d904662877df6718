//! The central loop: one match on what happens next.
//!
//! A simulation is single-threaded and owns everything it touches. It cannot fail: what a
//! [`Scenario`] promises is checked where it is made. `calls` carries requests from arrival to
//! end, `observe` watches (windows, signals, marks), both behind the match in
//! [`Simulation::step`].
//!
//! Invariants: time never goes back; at one instant events go by rank (see [`crate::event`]);
//! equal seed, replication and scenario give equal outcomes, bit for bit.
//!
//! Deliberately absent: threads, wall-clock time, and decisions (engines, routers and sources
//! decide; this carries out).

mod timers;
mod state;
mod world;
mod signals;
mod parts;
mod observe;
mod records;
mod books;
mod calls;
mod hosts;
mod attempts;
mod tool_uses;
mod answers;
mod budgets;
mod model_calls;
mod runs;
mod people;

use crate::agenda::{Agenda, Next};
use crate::audit::Audit;
use crate::engine::{Ended, Replica};
use crate::event::{Event, EventRecord, RANK_ARRIVE, RANK_BOUNDARY, RANK_SCHEDULE};
use crate::ids::{Arena, Backend, Handle, PoolId, ReplicaId, SourceId};
use crate::outcome::Outcome;
use crate::record::{Discard, Recorder};
use crate::router::Router;
use crate::scenario::{Scenario, Serving};
use crate::units::Time;
use crate::workload::{Expected, Request, Source};
use calls::InEngine;
use hosts::OnHost;
use observe::Observer;
use state::{Affair, Attempt, Call, Next as Following, Root, Run, Use};
use std::sync::Arc;
use timers::Timer;
use world::World;

/// Events between two looks at whether to stop.
const STOP_CHECK: u64 = 4_096;

/// Plans for later among which stale ones are not looked for.
const FEW_PLANS: usize = 1_024;

/// Refers to nobody.
const NOBODY: Handle = Handle { slot: u32::MAX, generation: u32::MAX };

/// Tasks under way that take the general way, and their parts.
#[derive(Debug, Default)]
struct Flow {
    roots: Arena<Root>,
    affairs: Arena<Affair>,
    runs: Arena<Run>,
    calls: Arena<Call>,
    attempts: Arena<Attempt>,
    uses: Arena<Use>,
    /// What follows at once from the event at hand, the next last; empty between events.
    next: Vec<Following>,
}

impl Flow {
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.roots.len()
            + self.affairs.len()
            + self.runs.len()
            + self.calls.len()
            + self.attempts.len()
            + self.uses.len()
    }
}

/// One replication of a scenario, under way.
#[derive(Debug)]
pub struct Simulation<'a, R: Recorder = Discard> {
    scenario: &'a Scenario,
    recorder: R,
    slots: Slots,
    agenda: Agenda<Timer>,
    /// One-off events from which on the stale ones among them are thrown out.
    sweep_at: usize,
    sources: Vec<Source>,
    /// The request each source's slot stands for.
    upcoming: Vec<Option<Expected>>,
    /// Requests that arrive because another one ended.
    follow_ups: Arena<Request>,
    routers: Vec<Router>,
    replicas: Vec<Replica>,
    /// Pool of each replica.
    pool_of: Vec<PoolId>,
    /// First replica of each pool.
    first_replica: Vec<u32>,
    /// Calls sent to each replica and not ended.
    outstanding: Vec<u32>,
    /// What engines will get from their hosts.
    on_hosts: Arena<OnHost>,
    /// What the engines work on, or will.
    calls: Arena<InEngine>,
    /// Tasks that take the general way.
    flow: Flow,
    world: World,
    observer: Observer,
    audit: Audit,
    outcome: Outcome,
    ended: Vec<Ended>,
}

impl<'a> Simulation<'a, Discard> {
    /// Replication number `replication` of a scenario under `seed`; nothing is recorded per call.
    #[must_use]
    pub fn new(scenario: &'a Scenario, seed: u64, replication: u32) -> Self {
        Simulation::recording(scenario, seed, replication, Discard)
    }
}

impl<'a, R: Recorder> Simulation<'a, R> {
    /// As [`Simulation::new`], with a sink for every call.
    #[must_use]
    pub fn recording(scenario: &'a Scenario, seed: u64, replication: u32, recorder: R) -> Self {
        let mut replicas = Vec::new();
        let mut pool_of = Vec::new();
        let mut first_replica = Vec::new();
        for (number, pool) in scenario.pools.iter().enumerate() {
            first_replica.push(replicas.len() as u32);
            // Replicas read one table: copies would crowd each other out of the near caches.
            let step_time = Arc::new(pool.step_time.clone());
            for _ in 0..pool.replicas {
                replicas.push(Replica::new(pool.engine.clone(), Arc::clone(&step_time)));
                pool_of.push(PoolId(number as u32));
            }
        }
        let router =
            |pool: &crate::fleet::PoolSpec| Router::new(pool.balancing.clone(), pool.replicas);
        let slots = Slots::new(replicas.len(), scenario);
        let mut simulation = Simulation {
            recorder,
            slots,
            agenda: Agenda::new(slots.end as usize),
            sweep_at: FEW_PLANS,
            sources: Vec::new(),
            upcoming: vec![None; scenario.sources.len()],
            follow_ups: Arena::default(),
            routers: scenario.pools.iter().map(router).collect(),
            outstanding: vec![0; replicas.len()],
            replicas,
            pool_of,
            first_replica,
            on_hosts: Arena::default(),
            calls: Arena::default(),
            flow: Flow::default(),
            world: World::new(scenario, seed, replication),
            observer: Observer::new(scenario),
            audit: Audit::default(),
            outcome: observe::empty_outcome(scenario),
            ended: Vec::new(),
            scenario,
        };
        simulation.open_sources(seed, replication);
        simulation.open_observers();
        simulation
    }

    fn open_sources(&mut self, seed: u64, replication: u32) {
        for (number, spec) in self.scenario.sources.iter().enumerate() {
            let task = &self.scenario.tasks[spec.task.index()];
            let models = &self.scenario.models;
            let room = |serving: &Serving| match serving.backend {
                Backend::Pool(pool) => self.scenario.pools[pool.index()].engine.max_model_len.0,
                Backend::Remote(remote) => self.scenario.remotes[remote.index()].max_context,
            };
            let served_by = task.request_model().map(|model| &models[model.index()].served_by);
            let longest = served_by.into_iter().flatten().map(room).max();
            let id = SourceId(number as u32);
            let longest = longest.map_or(u32::MAX, |tokens| tokens - 1);
            let horizon = self.scenario.horizon;
            self.sources.push(Source::new(spec, id, seed, replication, horizon, longest));
            self.expect_next(id);
        }
    }

    /// Puts the next arrival of a source on the agenda.
    fn expect_next(&mut self, source: SourceId) {
        let expected = self.sources[source.index()].expect();
        let at = expected.map_or(Time::NEVER, Expected::at);
        self.upcoming[source.index()] = expected;
        self.agenda.set(self.slots.sources + source.0, at, RANK_ARRIVE);
    }

    /// Runs to the end.
    #[must_use]
    pub fn run(self) -> Outcome {
        self.run_with(&|_| false).0.unwrap_or_default()
    }

    /// Runs to the end, or until `stop`, which is told now and then how many events there were, says
    /// so (then there is no outcome), and hands the recorder back.
    pub fn run_with(mut self, stop: &dyn Fn(u64) -> bool) -> (Option<Outcome>, R) {
        let mut now = Time::ZERO;
        while let Some((at, event, timer)) = self.next_event() {
            now = at;
            self.handle(at, event, timer);
            if self.outcome.events.is_multiple_of(STOP_CHECK) && stop(self.outcome.events) {
                return (None, self.recorder);
            }
        }
        self.close(now);
        (Some(self.outcome), self.recorder)
    }

    /// Handles one event and tells which; `None` when the run is over.
    pub fn step(&mut self) -> Option<EventRecord> {
        let (at, event, timer) = self.next_event()?;
        self.handle(at, event, timer);
        Some(EventRecord { at, event, log_hash: self.outcome.log_hash })
    }

    fn next_event(&mut self) -> Option<(Time, Event, Option<Timer>)> {
        // Observers alone keep nothing going once the measured time is over.
        if self.audit.in_system() == 0 && self.observer.is_done() && self.is_drained() {
            return None;
        }
        if self.agenda.one_offs() > self.sweep_at {
            self.sweep();
        }
        let (at, next) = self.agenda.take_next()?;
        Some(match next {
            Next::OneOff(timer) => (at, Event::Timer, Some(timer)),
            Next::Slot(slot, rank) => (at, self.slots.event(slot, rank), None),
        })
    }

    /// Throws out plans that no longer concern anybody: most time limits are never reached, and
    /// would wait in everybody's way. They double before this is done again.
    fn sweep(&mut self) {
        let mut agenda = std::mem::replace(&mut self.agenda, Agenda::new(0));
        agenda.keep_one_offs(|timer| !self.is_stale(timer));
        self.agenda = agenda;
        self.sweep_at = (2 * self.agenda.one_offs()).max(FEW_PLANS);
    }

    /// Whether nobody will arrive and every engine is idle (after a last EOS one lingers).
    fn is_drained(&self) -> bool {
        self.follow_ups.is_empty()
            && self.flow.is_empty()
            && self.on_hosts.is_empty()
            && self.upcoming.iter().all(Option::is_none)
            && self.replicas.iter().all(Replica::is_idle)
    }

    fn handle(&mut self, now: Time, event: Event, timer: Option<Timer>) {
        if timer.is_some_and(|timer| self.is_stale(timer)) {
            return;
        }
        self.outcome.events += 1;
        match event {
            Event::Boundary(replica) => self.reach_boundary(replica, now),
            Event::Schedule(replica) => self.start_iteration(replica, now),
            Event::Arrival(source) => {
                let expected = self.upcoming[source.index()].take();
                let due = &mut self.sources[source.index()];
                if let Some(request) = expected.and_then(|expected| due.birth(expected)) {
                    self.arrive(request, now);
                }
                self.expect_next(source);
            }
            Event::Timer => {
                if let Some(timer) = timer {
                    self.timer(timer, now);
                }
            }
            Event::Refresh(pool) => self.refresh_signals(pool, now),
            Event::WindowEnd => self.end_window(now),
            Event::Mark => self.pass_mark(now),
        }
    }

    /// Whether what was planned no longer concerns anybody.
    fn is_stale(&self, timer: Timer) -> bool {
        let flow = &self.flow;
        let submission = |root: Handle, submission: u32| {
            flow.roots.get(root).filter(|root| root.submission == submission)
        };
        let turn =
            |call: Handle, turn: u32| flow.calls.get(call).is_some_and(|call| call.turn == turn);
        !match timer {
            Timer::FollowUp(_) => true,
            Timer::Received(on_host) => self.on_hosts.get(on_host).is_some(),
            Timer::AttemptEnds(attempt) => flow.attempts.get(attempt).is_some(),
            Timer::AttemptTimeout(attempt) => {
                flow.attempts.get(attempt).is_some_and(|a| flow.calls.get(a.call).is_some())
            }
            Timer::Retry(call, at) | Timer::Hedge(call, at) => turn(call, at),
            Timer::LookedUp(call) => flow.calls.get(call).is_some(),
            Timer::UseEnds(tool_use, turn) => {
                flow.uses.get(tool_use).is_some_and(|tool_use| tool_use.turn == turn)
            }
            Timer::Patience(root, at) => submission(root, at)
                .is_some_and(|root| !root.orphan && flow.runs.get(root.run).is_some()),
            // Work whose user has left has its deadline all the same.
            Timer::Deadline(root, at) => {
                submission(root, at).is_some_and(|root| flow.runs.get(root.run).is_some())
            }
            Timer::Resubmit(root, at) => submission(root, at).is_some(),
        }
    }

    fn timer(&mut self, timer: Timer, now: Time) {
        match timer {
            Timer::FollowUp(handle) => {
                if let Some(request) = self.follow_ups.remove(handle) {
                    self.arrive(request, now);
                }
            }
            Timer::Received(on_host) => self.receive(on_host, now),
            Timer::AttemptEnds(attempt) => self.attempt_ends(attempt, now),
            Timer::AttemptTimeout(attempt) => self.attempt_times_out(attempt, now),
            Timer::Retry(call, _) => self.attempt(call, now),
            Timer::Hedge(call, _) => self.hedge(call, now),
            Timer::LookedUp(call) => self.looked_up(call, now),
            Timer::UseEnds(tool_use, _) => self.use_ends(tool_use, now),
            Timer::Patience(root, _) => self.lose_patience(root, now),
            Timer::Deadline(root, _) => self.run_out(root, now),
            Timer::Resubmit(root, _) => self.submit_task(root, now),
        }
        self.follow(now);
    }

    /// Ends the iteration under way on a replica and, unless something else happens at this very
    /// instant, starts the next one.
    fn reach_boundary(&mut self, replica: ReplicaId, now: Time) {
        let mut ended = std::mem::take(&mut self.ended);
        self.replicas[replica.index()].complete(now, &mut ended);
        for end in ended.drain(..) {
            self.end_call(replica, &end, now);
        }
        self.ended = ended;
        if self.agenda.next_time_besides(replica.0) > now {
            self.start_iteration(replica, now);
        } else {
            self.agenda.set(replica.0, now, RANK_SCHEDULE);
        }
    }

    fn start_iteration(&mut self, replica: ReplicaId, now: Time) {
        let engine = &mut self.replicas[replica.index()];
        let mut ended = std::mem::take(&mut self.ended);
        engine.schedule(now, &mut ended);
        self.agenda.set(replica.0, engine.boundary(), RANK_BOUNDARY);
        for end in ended.drain(..) {
            self.end_call(replica, &end, now);
        }
        self.ended = ended;
    }
}

/// Where the slots of each kind begin in the agenda; replicas come first.
#[derive(Clone, Copy, Debug)]
struct Slots {
    pools: u32,
    window: u32,
    mark: u32,
    sources: u32,
    end: u32,
}

impl Slots {
    fn new(replicas: usize, scenario: &Scenario) -> Slots {
        let pools = replicas as u32;
        let window = pools + scenario.pools.len() as u32;
        let sources = window + 2;
        let end = sources + scenario.sources.len() as u32;
        Slots { pools, window, mark: window + 1, sources, end }
    }

    fn event(&self, slot: u32, rank: u8) -> Event {
        if slot < self.pools {
            let replica = ReplicaId(slot);
            return if rank == RANK_BOUNDARY {
                Event::Boundary(replica)
            } else {
                Event::Schedule(replica)
            };
        }
        match slot {
            slot if slot < self.window => Event::Refresh(PoolId(slot - self.pools)),
            slot if slot == self.window => Event::WindowEnd,
            slot if slot == self.mark => Event::Mark,
            slot => Event::Arrival(SourceId(slot - self.sources)),
        }
    }
}

#[cfg(test)]
mod tests;
