//! The series by part of the system: what is counted while a window is under way, and what is read
//! off the backends when it ends.
//!
//! Backends count from the start of the run; a window is the difference of two readings. What no
//! backend knows is counted here as it happens: ends of tasks, what policies did, requests that find
//! a full queue.
//!
//! Deliberately absent: anything that the whole system's window needs, which is kept when this is
//! not (see [`MOST_CELLS`]).

use super::Simulation;
use super::world::World;
use crate::backends::{Remote, Tool};
use crate::engine::Replica;
use crate::ids::{Backend, ModelId, PoolId, TaskId, ToolId};
use crate::metrics::{
    BANDS, BandCounts, BreakerWindow, LimitSeries, MOST_CELLS, ModelWindow, Parts, PoolWindow,
    RemoteWindow, TaskActs, TaskWindow, ToolWindow, band,
};
use crate::record::Recorder;
use crate::resilience::{Breaker, BreakerState, Failure};
use crate::scenario::Scenario;
use crate::units::{Span, Time};

/// The window under way of each part.
#[derive(Clone, Debug)]
pub(super) struct OpenParts {
    kept: bool,
    /// Requests that pools refused because a queue was full, from the start of the run.
    overloaded: Vec<u64>,
    /// Uses answered from the caches of tools, likewise.
    cache_hits: Vec<u64>,
    /// Empty when no window is kept, as are the tasks.
    models: Vec<ModelWindow>,
    tasks: Vec<OpenTask>,
    /// Readings of the whole run up to the start of the window.
    pools: Vec<PoolWindow>,
    remotes: Vec<RemoteWindow>,
    tools: Vec<ToolWindow>,
}

/// The window under way of one kind of task.
#[derive(Clone, Debug)]
struct OpenTask {
    ended: u64,
    rejected: u64,
    latency: Box<[u64; BANDS]>,
    acts: TaskActs,
}

impl OpenTask {
    fn new() -> OpenTask {
        let latency = Box::new([0; BANDS]);
        OpenTask { ended: 0, rejected: 0, latency, acts: TaskActs::default() }
    }

    /// What happened in the window, which is over.
    fn close(&mut self) -> TaskWindow {
        let latency = BandCounts::of(&self.latency);
        self.latency.fill(0);
        let (ended, rejected) =
            (std::mem::take(&mut self.ended), std::mem::take(&mut self.rejected));
        TaskWindow { ended, rejected, latency, acts: std::mem::take(&mut self.acts) }
    }
}

impl OpenParts {
    pub(super) fn new(scenario: &Scenario) -> OpenParts {
        let Scenario { pools, remotes, tools, models, tasks, .. } = scenario;
        let kept = is_kept(scenario);
        let counted = |parts: usize| if kept { parts } else { 0 };
        OpenParts {
            kept,
            overloaded: vec![0; pools.len()],
            cache_hits: vec![0; tools.len()],
            models: vec![ModelWindow::default(); counted(models.len())],
            tasks: (0..counted(tasks.len())).map(|_| OpenTask::new()).collect(),
            pools: vec![PoolWindow::default(); pools.len()],
            remotes: vec![RemoteWindow::default(); remotes.len()],
            tools: vec![ToolWindow::default(); tools.len()],
        }
    }

    /// A pool refuses a request, because a queue is full.
    pub(super) fn turned_away(&mut self, pool: PoolId) {
        self.overloaded[pool.index()] += 1;
    }

    /// The cache of a tool answers a use of it.
    pub(super) fn tool_cache_hit(&mut self, tool: ToolId) {
        self.cache_hits[tool.index()] += 1;
    }

    /// Something happens to a call to a model.
    pub(super) fn of_model(&mut self, model: ModelId, count: impl FnOnce(&mut ModelWindow)) {
        if let Some(open) = self.models.get_mut(model.index()) {
            count(open);
        }
    }

    /// A policy acts for a task.
    pub(super) fn of_task(&mut self, task: TaskId, count: impl FnOnce(&mut TaskActs)) {
        if let Some(open) = self.tasks.get_mut(task.index()) {
            count(&mut open.acts);
        }
    }

    /// What happened in the window, which is over. A plain task is its one call to the model in
    /// `direct`, which is not counted a second time while the window lasts: let in, it is answered.
    fn close(&mut self, direct: &[Option<ModelId>]) -> (Vec<ModelWindow>, Vec<TaskWindow>) {
        let tasks: Vec<TaskWindow> = self.tasks.iter_mut().map(OpenTask::close).collect();
        for (task, model) in tasks.iter().zip(direct) {
            if let Some(model) = model {
                self.of_model(*model, |window| window.answered += task.ended - task.rejected);
            }
        }
        (self.models.iter_mut().map(std::mem::take).collect(), tasks)
    }

    /// A task ended; it took so long if it succeeded.
    pub(super) fn task_ended(&mut self, task: TaskId, latency: Option<Span>, rejected: bool) {
        let Some(open) = self.tasks.get_mut(task.index()) else { return };
        open.ended += 1;
        open.rejected += u64::from(rejected);
        if let Some(latency) = latency {
            open.latency[band(latency)] += 1;
        }
    }
}

/// Whether the series is kept by part.
fn is_kept(scenario: &Scenario) -> bool {
    let Scenario { pools, remotes, tools, models, tasks, spend_limits, .. } = scenario;
    let backends = pools.len() + remotes.len() + tools.len();
    let parts = backends + models.len() + tasks.len() + spend_limits.len();
    let windows = scenario.horizon.0.div_ceil(scenario.window.0.max(1));
    windows.saturating_mul(parts as u64) <= MOST_CELLS
}

/// Places for the windows of every part.
pub(super) fn empty_parts(scenario: &Scenario) -> Parts {
    let limits = vec![LimitSeries::default(); scenario.spend_limits.len()];
    if !is_kept(scenario) {
        return Parts { limits, ..Parts::default() };
    }
    Parts {
        pools: vec![Vec::new(); scenario.pools.len()],
        remotes: vec![Vec::new(); scenario.remotes.len()],
        tools: vec![Vec::new(); scenario.tools.len()],
        models: vec![Vec::new(); scenario.models.len()],
        tasks: vec![Vec::new(); scenario.tasks.len()],
        limits,
    }
}

impl<R: Recorder> Simulation<'_, R> {
    /// Readings of all pools.
    pub(super) fn read_pools(&self, now: Time) -> Vec<PoolWindow> {
        let overloaded = self.observer.parts.overloaded.iter();
        let mut pools: Vec<PoolWindow> = overloaded
            .map(|&overloaded| PoolWindow { overloaded, ..PoolWindow::default() })
            .collect();
        for (replica, &pool) in self.replicas.iter().zip(&self.pool_of) {
            pools[pool.index()] += &read_replica(replica, now);
        }
        for (backend, breaker) in breakers(&self.world) {
            if let Backend::Pool(pool) = backend {
                pools[pool.index()].breakers += &breaker;
            }
        }
        pools
    }

    /// A window ends: what its parts did in it is appended to the series.
    pub(super) fn end_window_of_parts(&mut self, pools: Vec<PoolWindow>, now: Time) {
        if !self.observer.parts.kept {
            return;
        }
        let mut remotes: Vec<RemoteWindow> =
            self.world.remotes.iter().map(|remote| read_remote(remote, now)).collect();
        for (backend, breaker) in breakers(&self.world) {
            if let Backend::Remote(remote) = backend {
                remotes[remote.index()].breakers += &breaker;
            }
        }
        let hits = self.observer.parts.cache_hits.iter();
        let tools: Vec<ToolWindow> = self
            .world
            .tools
            .iter()
            .zip(hits)
            .map(|(tool, &hits)| read_tool(tool, hits, now))
            .collect();
        let open = &mut self.observer.parts;
        let parts = &mut self.outcome.series.parts;
        append(&mut parts.pools, &pools, &open.pools, PoolWindow::since);
        append(&mut parts.remotes, &remotes, &open.remotes, RemoteWindow::since);
        append(&mut parts.tools, &tools, &open.tools, ToolWindow::since);
        (open.pools, open.remotes, open.tools) = (pools, remotes, tools);
        let (models, tasks) = open.close(&self.world.direct);
        parts.models.iter_mut().zip(models).for_each(|(windows, window)| windows.push(window));
        parts.tasks.iter_mut().zip(tasks).for_each(|(windows, window)| windows.push(window));
        for (series, limit) in parts.limits.iter_mut().zip(&mut self.world.limits) {
            series.acted.push(std::mem::take(&mut limit.acted));
        }
    }

    /// What models, tasks and caches of tools did after the last window: in the drain, or in a
    /// window that had not ended.
    pub(super) fn rest_of_parts(&mut self) -> Parts {
        let open = &mut self.observer.parts;
        let (models, tasks) = open.close(&self.world.direct);
        let hits = open.cache_hits.iter().zip(&open.tools);
        let tool = |(&hits, before): (&u64, &ToolWindow)| {
            vec![ToolWindow { cache_hits: hits - before.cache_hits, ..ToolWindow::default() }]
        };
        Parts {
            tools: hits.map(tool).collect(),
            models: models.into_iter().map(|window| vec![window]).collect(),
            tasks: tasks.into_iter().map(|window| vec![window]).collect(),
            ..Parts::default()
        }
    }

    /// The run is over: when its spend limits were used up.
    pub(super) fn close_limits(&mut self) {
        let limits = self.outcome.series.parts.limits.iter_mut().zip(&self.world.limits);
        limits.for_each(|(series, limit)| series.used_up.push(limit.used_up));
    }
}

/// Appends a window to the series of each part, from the readings at its end and its start.
fn append<W>(series: &mut [Vec<W>], now: &[W], before: &[W], since: fn(&W, &W) -> W) {
    for (windows, (now, before)) in series.iter_mut().zip(now.iter().zip(before)) {
        windows.push(since(now, before));
    }
}

fn read_replica(replica: &Replica, now: Time) -> PoolWindow {
    let (waiting, running) = replica.load();
    let counts = replica.counts_at(now);
    PoolWindow {
        waiting: u64::from(waiting),
        running: u64::from(running),
        full_replicas: u64::from(replica.is_full()),
        kv_blocks_used: u64::from(replica.used_blocks_at(now)),
        kv_blocks: u64::from(replica.usable_blocks()),
        preemptions: counts.preemptions,
        busy: counts.busy,
        ..PoolWindow::default()
    }
}

fn read_remote(remote: &Remote, now: Time) -> RemoteWindow {
    let usage = remote.usage(now);
    let refused = |failure: Failure| usage.refused[failure as usize];
    RemoteWindow {
        waiting: remote.waiting() as u64,
        running: u64::from(remote.in_flight()),
        begun: usage.begun,
        failed: usage.failed,
        rate_limited: refused(Failure::RateLimited),
        overloaded: refused(Failure::Overloaded),
        too_long: refused(Failure::TooLong),
        not_eligible: refused(Failure::NotEligible),
        input_tokens: usage.billed.input,
        cached_input_tokens: usage.billed.cached_input,
        breakers: BreakerWindow::default(),
    }
}

fn read_tool(tool: &Tool, cache_hits: u64, now: Time) -> ToolWindow {
    ToolWindow {
        waiting: tool.waiting() as u64,
        running: u64::from(tool.in_flight()),
        overloaded: tool.usage(now).refused,
        cache_hits,
    }
}

/// Readings of all circuit breakers, each with the backend behind it.
fn breakers(world: &World) -> impl Iterator<Item = (Backend, BreakerWindow)> + '_ {
    let read = |breaker: &Breaker| BreakerWindow {
        not_closed: u64::from(breaker.state() != BreakerState::Closed),
        opens: breaker.opens(),
        refused: breaker.rejected(),
    };
    let all = world.guards.iter().flat_map(|guards| &guards.breakers);
    all.filter_map(move |(backend, breaker)| Some((*backend, read(breaker.as_ref()?))))
}
