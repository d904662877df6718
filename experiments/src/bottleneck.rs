//! What gives out first: which part of the system, when, and why.
//!
//! A part is short in a window when, over all replications,
//!
//! * of a pool, at least one request waits for each replica at its end (or is turned away in it),
//!   and its KV cache is nine tenths full, or half of its replicas run as many sequences as they may,
//!   or iterations run nineteen twentieths of the time: whichever of these comes first in this list
//!   is the reason;
//! * of a provider, rate limits refuse at least one attempt in a hundred, or as many are refused for
//!   want of a place, or nine tenths of its places are taken and an attempt waits;
//! * of a tool, nine tenths of its places are taken and a use waits;
//! * of a spend limit, it has refused a task or sent it to a smaller model.
//!
//! It gives out where it is short in two windows running; the reason is the one of most of the windows
//! of that time. The first part to give out is the bottleneck; what gives out later may be a
//! consequence.
//!
//! Invariant: what is said of a window is a sum over replications, so nothing depends on their order.
//!
//! Deliberately absent: a proof. That a part is short when an objective breaks does not show that it
//! would be kept otherwise; the repair that is verified does.

use crate::metric::{Metric, Quantile};
use crate::objectives::Objective;
use crate::result::RunResult;
use crate::warm_up::whole_windows;
use sim::Scenario;
use sim::backends::{Bucket, RemoteSpec, Station, ToolSpec};
use sim::fleet::PoolSpec;
use sim::metrics::{LimitSeries, PoolWindow, RemoteWindow, ToolWindow};
use sim::units::{PS_PER_SEC, Span};

/// Windows running that make a shortage.
const RUNNING: usize = 2;
/// Share of the KV cache from which it is full.
const FULL_CACHE: f64 = 0.9;
/// Share of the replicas that run as many sequences as they may.
const FULL_REPLICAS: f64 = 0.5;
/// Share of the time in which iterations run.
const BUSY: f64 = 0.95;
/// Share of the places that are taken.
const FULL_PLACES: f64 = 0.9;
/// Share of the attempts that are refused.
const REFUSED: f64 = 0.01;

/// Why a part gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The KV cache of a pool is full.
    KvCache,
    /// Replicas run as many sequences as they may.
    Sequences,
    /// Iterations run all the time.
    Compute,
    /// Requests per minute of a provider.
    RequestRate,
    /// Tokens per minute of a provider.
    TokenRate,
    /// Places of a provider or a tool.
    Places,
    /// A spend limit is used up.
    Budget,
}

/// A part that gives out.
#[derive(Clone, Debug, PartialEq)]
pub struct Bottleneck {
    /// Name of the pool, provider, tool, or of what the spend limit counts.
    pub part: String,
    /// Why.
    pub shortage: Shortage,
    /// Start of the first window of the first time.
    pub from: Span,
    /// End of the last window of the first time.
    pub until: Span,
    /// Share of the windows in which it is short.
    pub share: f64,
}

/// How close a part comes to its limit, where nothing gives out.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearest {
    /// Name of the pool or provider.
    pub part: String,
    /// What of it.
    pub shortage: Shortage,
    /// Largest use of a window, as a share of what there is.
    pub use_of_it: f64,
    /// Start of that window.
    pub at: Span,
}

/// Parts that give out, the first one first.
#[must_use]
pub fn bottlenecks(scenario: &Scenario, result: &RunResult) -> Vec<Bottleneck> {
    let view = View::of(result);
    let parts = &result.series.parts;
    let mut all = Vec::new();
    for (spec, windows) in scenario.pools.iter().zip(&parts.pools) {
        let short = view.whole(windows).iter().map(|window| view.pool(spec, window));
        all.extend(view.first(&spec.name, short.collect()));
    }
    for (at, (spec, windows)) in scenario.remotes.iter().zip(&parts.remotes).enumerate() {
        let rate = view.rate(result, at, spec);
        let short = view.whole(windows).iter().map(|window| view.remote(spec, window, rate));
        all.extend(view.first(&spec.name, short.collect()));
    }
    for (spec, windows) in scenario.tools.iter().zip(&parts.tools) {
        let short = view.whole(windows).iter().map(|window| view.tool(spec, window));
        all.extend(view.first(&spec.name, short.collect()));
    }
    for (at, limit) in parts.limits.iter().enumerate() {
        all.extend(view.limit(scenario, at, limit));
    }
    all.sort_by(|a, b| a.from.cmp(&b.from).then(b.share.total_cmp(&a.share)));
    all
}

/// The part whose use comes closest to what there is of it. That iterations run all the time says
/// nothing: an engine with one request is as busy as one with many.
#[must_use]
pub fn nearest(scenario: &Scenario, result: &RunResult) -> Option<Nearest> {
    let view = View::of(result);
    let parts = &result.series.parts;
    let mut all: Vec<Nearest> = Vec::new();
    let mut most = |part: &str, shortage: Shortage, uses: Vec<f64>| {
        let most = uses.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        all.extend(most.map(|(at, &use_of_it)| Nearest {
            part: part.to_owned(),
            shortage,
            use_of_it,
            at: view.start(at),
        }));
    };
    for (spec, windows) in scenario.pools.iter().zip(&parts.pools) {
        let windows = view.whole(windows);
        let each = |of: &dyn Fn(&PoolWindow) -> f64| windows.iter().map(of).collect();
        most(&spec.name, Shortage::KvCache, each(&cache_use));
        let places = f64::from(spec.replicas) * f64::from(spec.engine.max_num_seqs) * view.runs;
        most(&spec.name, Shortage::Sequences, each(&|window| window.running as f64 / places));
    }
    for (at, (spec, windows)) in scenario.remotes.iter().zip(&parts.remotes).enumerate() {
        for (shortage, per_minute, units) in view.buckets(result, at, spec) {
            let minutes = view.width * view.runs / 60.0;
            let windows = view.whole(windows).iter();
            let uses = windows.map(|window| window.begun as f64 * units / minutes / per_minute);
            most(&spec.name, shortage, uses.collect());
        }
    }
    all.into_iter().max_by(|a, b| a.use_of_it.total_cmp(&b.use_of_it))
}

/// When an objective of a latency is first broken: start of the first two windows running in which the
/// quantile of the tasks that ended lies beyond the target. `None` where it is about something else,
/// or kept in all windows.
#[must_use]
pub fn breaks_at(objective: &Objective, result: &RunResult) -> Option<Span> {
    let Metric::TaskLatency(task, quantile) = objective.metric else { return None };
    let p = match quantile {
        Quantile::P50 => 0.50,
        Quantile::P90 => 0.90,
        Quantile::P95 => 0.95,
        Quantile::P99 => 0.99,
    };
    let series = &result.series;
    let windows = series.parts.tasks.get(task.index())?;
    let beyond = windows.iter().map(|window| {
        window.latency.quantile_secs(p).is_some_and(|value| value > objective.target)
    });
    let beyond: Vec<bool> = beyond.collect();
    let at = beyond.windows(RUNNING).position(|run| run.iter().all(|&beyond| beyond))?;
    Some(Span(series.width.0.saturating_mul(at as u64)))
}

/// What windows are of.
struct View {
    /// Seconds of a window.
    width: f64,
    width_span: Span,
    /// Windows of this width within the horizon: what the rest of it does is not comparable.
    whole: usize,
    /// Replications.
    runs: f64,
}

impl View {
    fn of(result: &RunResult) -> View {
        let width_span = result.series.width;
        View {
            width: width_span.as_secs_f64(),
            width_span,
            whole: whole_windows(&result.series, result.horizon).len(),
            runs: f64::from(result.replications.max(1)),
        }
    }

    fn whole<'w, W>(&self, windows: &'w [W]) -> &'w [W] {
        &windows[..windows.len().min(self.whole)]
    }

    fn start(&self, window: usize) -> Span {
        Span(self.width_span.0.saturating_mul(window as u64))
    }

    fn busy(&self, spec: &PoolSpec, window: &PoolWindow) -> f64 {
        let seconds = window.busy as f64 / PS_PER_SEC as f64;
        seconds / (f64::from(spec.replicas) * self.width * self.runs)
    }

    fn pool(&self, spec: &PoolSpec, window: &PoolWindow) -> Option<Shortage> {
        let replicas = f64::from(spec.replicas) * self.runs;
        let waits = window.waiting as f64 >= replicas || window.overloaded as f64 >= replicas;
        if !waits {
            return None;
        }
        if cache_use(window) >= FULL_CACHE {
            Some(Shortage::KvCache)
        } else if window.full_replicas as f64 >= FULL_REPLICAS * replicas {
            Some(Shortage::Sequences)
        } else if self.busy(spec, window) >= BUSY {
            Some(Shortage::Compute)
        } else {
            None
        }
    }

    fn remote(&self, spec: &RemoteSpec, window: &RemoteWindow, rate: Shortage) -> Option<Shortage> {
        let all = (window.begun + window.rate_limited + window.overloaded) as f64;
        let often = |count: u64| count > 0 && count as f64 >= REFUSED * all;
        let full = || self.is_full(&spec.station, window.running, window.waiting);
        if often(window.rate_limited) {
            Some(rate)
        } else if often(window.overloaded) || full() {
            Some(Shortage::Places)
        } else {
            None
        }
    }

    fn tool(&self, spec: &ToolSpec, window: &ToolWindow) -> Option<Shortage> {
        let full = self.is_full(&spec.station, window.running, window.waiting);
        let refused = window.overloaded as f64 >= self.runs;
        (full || refused).then_some(Shortage::Places)
    }

    /// Whether nearly all places are taken and somebody waits in every replication, on average.
    fn is_full(&self, station: &Station, running: u64, waiting: u64) -> bool {
        let places = f64::from(station.servers.unwrap_or(u32::MAX)) * self.runs;
        running as f64 >= FULL_PLACES * places && waiting as f64 >= self.runs
    }

    /// Buckets of a provider: which rate, what flows in per minute, and what an attempt takes of it.
    fn buckets(
        &self,
        result: &RunResult,
        at: usize,
        spec: &RemoteSpec,
    ) -> Vec<(Shortage, f64, f64)> {
        let Some(remote) = result.remotes.get(at) else { return Vec::new() };
        let attempts = remote.attempts.max(1) as f64;
        let per_attempt = |tokens: u64| tokens as f64 / attempts;
        let (input, output) = (per_attempt(remote.tokens.input), per_attempt(remote.tokens.output));
        let uncached = per_attempt(remote.tokens.input - remote.tokens.cached_input);
        let limits = &spec.limits;
        let bucket = |shortage, bucket: Option<Bucket>, units: f64| {
            bucket.map(|bucket| (shortage, bucket.per_minute as f64, units))
        };
        [
            bucket(Shortage::RequestRate, limits.requests, 1.0),
            bucket(Shortage::TokenRate, limits.tokens, input + output),
            bucket(Shortage::TokenRate, limits.input_tokens, uncached),
            bucket(Shortage::TokenRate, limits.output_tokens, output),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Which of a provider's rates is the tighter one.
    fn rate(&self, result: &RunResult, at: usize, spec: &RemoteSpec) -> Shortage {
        let tightest = self
            .buckets(result, at, spec)
            .into_iter()
            .max_by(|a, b| (a.2 / a.1).total_cmp(&(b.2 / b.1)));
        tightest.map_or(Shortage::RequestRate, |(shortage, ..)| shortage)
    }

    /// The first time a part is short, from whether it is in each window.
    fn first(&self, part: &str, short: Vec<Option<Shortage>>) -> Option<Bottleneck> {
        let is_short = |window: &Option<Shortage>| window.is_some();
        let at = short.windows(RUNNING).position(|run| run.iter().all(is_short))?;
        let length = short[at..].iter().take_while(|window| is_short(window)).count();
        Some(Bottleneck {
            part: part.to_owned(),
            shortage: most_often(&short[at..at + length])?,
            from: self.start(at),
            until: self.start(at + length),
            share: short.iter().filter(|window| is_short(window)).count() as f64
                / short.len() as f64,
        })
    }

    fn limit(&self, scenario: &Scenario, at: usize, limit: &LimitSeries) -> Option<Bottleneck> {
        let spec = scenario.spend_limits.get(at)?;
        let acted = self.whole(&limit.acted).iter();
        let acted = acted.map(|&acted| (acted > 0).then_some(Shortage::Budget)).collect();
        let name = match spec.scope {
            sim::price::SpendScope::All => "the spend limit".to_owned(),
            sim::price::SpendScope::Task(task) => {
                let task = scenario.tasks.get(task.index())?;
                format!("the spend limit of {}", task.name)
            }
            sim::price::SpendScope::EachTenant => "the spend limit of a tenant".to_owned(),
        };
        self.first(&name, acted)
    }
}

/// What is short in most of some windows; of equally many the one that comes first.
fn most_often(windows: &[Option<Shortage>]) -> Option<Shortage> {
    let count =
        |shortage: Shortage| windows.iter().filter(|&&window| window == Some(shortage)).count();
    let mut best: Option<(usize, Shortage)> = None;
    for shortage in windows.iter().flatten() {
        let times = count(*shortage);
        if best.is_none_or(|(most, _)| times > most) {
            best = Some((times, *shortage));
        }
    }
    best.map(|(_, shortage)| shortage)
}

fn cache_use(window: &PoolWindow) -> f64 {
    match window.kv_blocks {
        0 => 0.0,
        blocks => window.kv_blocks_used as f64 / blocks as f64,
    }
}
