//! Watching without touching: windows of the time series, router signals, and the instants at
//! which measuring begins and ends.

use super::Simulation;
use super::parts::{OpenParts, empty_parts};
use crate::audit::Remains;
use crate::backends::RemoteUsage;
use crate::engine::EngineCounts;
use crate::event::RANK_OBSERVE;
use crate::ids::{Backend, PoolId, TaskId};
use crate::ledger::{GpuAccount, Ledger};
use crate::metrics::{Series, Window};
use crate::outcome::{
    Answered, ModelOutcome, Outcome, PoolOutcome, RemoteOutcome, TaskOutcome, ToolOutcome,
};
use crate::record::Recorder;
use crate::router::Signal;
use crate::scenario::Scenario;
use crate::units::{Money, Span, Time};

/// The window under way and the marks passed.
#[derive(Clone, Debug)]
pub(super) struct Observer {
    window: Window,
    pub(super) parts: OpenParts,
    warm_up: Time,
    horizon: Time,
    passed: Mark,
    /// Counts of each pool at the end of the warm-up.
    before: Vec<EngineCounts>,
    /// What each remote had done by then.
    remotes_before: Vec<RemoteUsage>,
    last_arrival: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    None,
    WarmUp,
    Horizon,
}

impl Observer {
    pub(super) fn new(scenario: &Scenario) -> Observer {
        Observer {
            window: Window::default(),
            parts: OpenParts::new(scenario),
            warm_up: Time(scenario.warm_up.0),
            horizon: Time(scenario.horizon.0),
            passed: Mark::None,
            before: vec![EngineCounts::default(); scenario.pools.len()],
            remotes_before: Vec::new(),
            last_arrival: Time::ZERO,
        }
    }

    /// Whether the measured time is over.
    pub(super) fn is_done(&self) -> bool {
        self.passed == Mark::Horizon
    }

    pub(super) fn arrived(&mut self) {
        self.window.arrived += 1;
    }

    pub(super) fn finished(&mut self, latency: Span, preemptions: u32) {
        self.window.finished += 1;
        self.window.latency_sum += u128::from(latency.0);
        self.window.preemptions += u64::from(preemptions);
    }

    /// A task ended well.
    pub(super) fn succeeded(&mut self) {
        self.window.succeeded += 1;
    }

    /// A task ended; it took so long if it succeeded.
    pub(super) fn task_ended(&mut self, task: TaskId, latency: Option<Span>, rejected: bool) {
        self.parts.task_ended(task, latency, rejected);
    }

    /// A pool refuses a request, because a queue is full.
    pub(super) fn turned_away(&mut self, pool: PoolId) {
        self.parts.turned_away(pool);
    }

    /// An attempt is offered to a backend.
    pub(super) fn attempted(&mut self) {
        self.window.attempts += 1;
    }

    /// An amount is booked.
    pub(super) fn spent(&mut self, amount: Money) {
        self.window.metered += amount;
    }

    pub(super) fn preempted(&mut self, preemptions: u32) {
        self.window.preemptions += u64::from(preemptions);
    }

    /// `now`, moved on by picoseconds when an earlier request already arrived then.
    pub(super) fn distinct(&mut self, now: Time) -> Time {
        self.last_arrival = now.max(self.last_arrival.after(Span(1)));
        self.last_arrival
    }
}

/// An outcome with a place for everything the scenario names.
pub(super) fn empty_outcome(scenario: &Scenario) -> Outcome {
    Outcome {
        measured: scenario.horizon - scenario.warm_up,
        tasks: vec![TaskOutcome::default(); scenario.tasks.len()],
        models: vec![ModelOutcome::default(); scenario.models.len()],
        pools: vec![PoolOutcome::default(); scenario.pools.len()],
        remotes: vec![RemoteOutcome::default(); scenario.remotes.len()],
        tools: vec![ToolOutcome::default(); scenario.tools.len()],
        series: Series {
            width: scenario.window,
            windows: Vec::new(),
            parts: empty_parts(scenario),
        },
        ..Outcome::default()
    }
}

impl<R: Recorder> Simulation<'_, R> {
    pub(super) fn open_observers(&mut self) {
        let first = Time(self.scenario.window.0).min(self.observer.horizon);
        self.agenda.set(self.slots.window, first, RANK_OBSERVE);
        self.agenda.set(self.slots.mark, self.observer.warm_up, RANK_OBSERVE);
        for pool in 0..self.routers.len() as u32 {
            self.plan_refresh(PoolId(pool), Time::ZERO);
        }
    }

    fn plan_refresh(&mut self, pool: PoolId, now: Time) {
        if let Some(age) = self.routers[pool.index()].refresh_every() {
            self.agenda.set(self.slots.pools + pool.0, now.after(age), RANK_OBSERVE);
        }
    }

    /// A router scrapes its pool.
    pub(super) fn refresh_signals(&mut self, pool: PoolId, now: Time) {
        let first = self.first_replica[pool.index()] as usize;
        let (outstanding, replicas) = (&self.outstanding, &self.replicas);
        self.routers[pool.index()].refresh(now, |number, now| Signal {
            outstanding: outstanding[first + number],
            waiting: replicas[first + number].load().0,
            kv_used: replicas[first + number].used_blocks_at(now),
        });
        self.plan_refresh(pool, now);
    }

    /// A window of the series ends; the samples of the measured time are taken here too, at equal
    /// distances, so not at the end of a shorter last window.
    pub(super) fn end_window(&mut self, now: Time) {
        let is_whole = now.0.is_multiple_of(self.scenario.window.0);
        let measured = is_whole && now > self.observer.warm_up;
        let mut window = std::mem::take(&mut self.observer.window);
        let pools = self.read_pools(now);
        for (number, pool) in pools.iter().enumerate() {
            window.waiting += pool.waiting;
            window.running += pool.running;
            window.kv_blocks_used += pool.kv_blocks_used;
            window.kv_blocks += pool.kv_blocks;
            if measured {
                let samples = &mut self.outcome.pools[number];
                samples.kv_used_samples += pool.kv_blocks_used;
                samples.kv_total_samples += pool.kv_blocks;
                samples.running_samples += pool.running;
                samples.samples += u64::from(self.scenario.pools[number].replicas);
            }
        }
        for remote in &self.world.remotes {
            window.waiting += remote.waiting() as u64;
            window.running += u64::from(remote.in_flight());
        }
        for tool in &self.world.tools {
            window.waiting += tool.waiting() as u64;
            window.running += u64::from(tool.in_flight());
        }
        // A call that is nowhere is about to ask, and a user without a run to ask again.
        let calls = self.flow.calls.values().filter(|call| call.live.is_empty());
        let users = self.flow.roots.values().filter(|root| root.run == super::NOBODY);
        window.paused = (calls.count() + users.count()) as u64;
        self.outcome.series.windows.push(window);
        self.end_window_of_parts(pools, now);
        // Nobody looks at the drain window by window, and it may last long: the last window ends with
        // the horizon, in every replication alike.
        let over = now >= self.observer.horizon;
        let next = now.after(self.scenario.window).min(self.observer.horizon);
        let next = if over { Time::NEVER } else { next };
        self.agenda.set(self.slots.window, next, RANK_OBSERVE);
    }

    /// The warm-up or the measured time ends.
    pub(super) fn pass_mark(&mut self, now: Time) {
        if self.observer.passed == Mark::None {
            self.observer.passed = Mark::WarmUp;
            for (replica, &pool) in self.replicas.iter().zip(&self.pool_of) {
                self.observer.before[pool.index()] += replica.counts_at(now);
            }
            self.observer.remotes_before =
                self.world.remotes.iter().map(|remote| remote.usage(now)).collect();
            self.agenda.set(self.slots.mark, self.observer.horizon, RANK_OBSERVE);
            return;
        }
        self.observer.passed = Mark::Horizon;
        let remotes = self.world.remotes.iter().zip(&self.observer.remotes_before);
        for (outcome, (remote, before)) in self.outcome.remotes.iter_mut().zip(remotes) {
            outcome.measured = remote.usage(now).since(before);
        }
        for (replica, &pool) in self.replicas.iter().zip(&self.pool_of) {
            self.outcome.pools[pool.index()].measured += replica.counts_at(now);
        }
        for (pool, &before) in self.outcome.pools.iter_mut().zip(&self.observer.before) {
            pool.measured = pool.measured - before;
        }
        self.agenda.set(self.slots.mark, Time::NEVER, RANK_OBSERVE);
    }

    /// Collects what the engines counted, prices it and audits the whole.
    pub(super) fn close(&mut self, now: Time) {
        let measured = self.outcome.measured;
        for (replica, &pool) in self.replicas.iter().zip(&self.pool_of) {
            self.outcome.pools[pool.index()].whole_run += replica.counts();
        }
        let account = |spec: &crate::fleet::PoolSpec| GpuAccount {
            gpu_time: u128::from(spec.replicas)
                * u128::from(spec.gpus_per_replica)
                * u128::from(measured.0),
            per_gpu_hour: spec.price_per_gpu_hour,
        };
        self.outcome.ledger = Ledger { gpu: self.scenario.pools.iter().map(account).collect() };
        for (pool, spec) in self.outcome.pools.iter_mut().zip(&self.scenario.pools) {
            pool.replicas = u64::from(spec.replicas);
        }
        for (pool, account) in self.outcome.pools.iter_mut().zip(&self.outcome.ledger.gpu) {
            pool.gpu_time = account.gpu_time;
        }
        self.count_breakers();
        self.close_limits();
        self.count_unfinished();
        self.count_plain_calls();
        for (outcome, remote) in self.outcome.remotes.iter_mut().zip(&self.world.remotes) {
            outcome.whole_run = remote.usage(now);
        }
        let rest = self.rest_of_parts();
        let remains = Remains {
            replicas: &self.replicas,
            remotes: &self.world.remotes,
            tools: &self.world.tools,
            under_way: self.flow.len() + self.calls.len(),
            admitted: self.world.guards.iter().map(|guards| u64::from(guards.in_flight)).sum(),
            rest: &rest,
        };
        self.outcome.audit = self.audit.findings(self.scenario, &self.outcome, &remains);
    }

    /// What the circuit breakers of each backend did.
    fn count_breakers(&mut self) {
        let breakers = self.world.guards.iter().flat_map(|guards| &guards.breakers);
        for (backend, breaker) in breakers {
            let Some(breaker) = breaker else { continue };
            let (opens, rejected) = match backend {
                Backend::Pool(pool) => {
                    let pool = &mut self.outcome.pools[pool.index()];
                    (&mut pool.breaker_opens, &mut pool.breaker_rejected)
                }
                Backend::Remote(remote) => {
                    let remote = &mut self.outcome.remotes[remote.index()];
                    (&mut remote.breaker_opens, &mut remote.breaker_rejected)
                }
            };
            *opens += breaker.opens();
            *rejected += breaker.rejected();
        }
    }

    /// A plain task is its one call, and takes as long: counted once while the run lasts.
    fn count_plain_calls(&mut self) {
        for (task, model) in self.outcome.tasks.iter_mut().zip(&self.world.direct) {
            if let Some(model) = model {
                let all = task.succeeded;
                task.answered =
                    Answered { calls: all, submissions: all, tasks: all, successes: all };
                self.outcome.models[model.index()].e2e.merge(&task.latency);
            }
        }
    }

    /// What the clock ran out on: possible only beyond 213 simulated days.
    fn count_unfinished(&mut self) {
        for task in &mut self.outcome.tasks {
            let over = task.succeeded + task.failed + task.rejected + task.abandoned;
            task.in_flight = task.arrived - over;
        }
    }
}
