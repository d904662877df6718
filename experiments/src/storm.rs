//! Whether a disturbance that is over has left the system stuck, and how far retries multiply work.
//!
//! **The rule.** A disturbance is a declared spike of the traffic (a factor above 1) or an incident
//! of a remote or a tool. The windows from the end of the warm-up to the start of the first one are
//! *before*; the second half of the windows from the end of the last one to the horizon are *after*
//! (the first half is left for the system to recover). A replication is stuck if
//!
//! 1. *the load is one that was carried*: arrivals per second after are at most [`SAME_LOAD`] times
//!    those before;
//! 2. *it does not succeed*: of what arrives after, the share that ends well is at most [`FAR_BELOW`]
//!    of the share before, in either half of after;
//! 3. *work is multiplied*: attempts per arriving task after are at least [`MULTIPLIED`] times those
//!    before.
//!
//! The system is metastable if any replication is stuck: what happened once can happen (Bronson and
//! others, "Metastable failures in distributed systems", HotOS 2021). With fewer than four windows
//! or thirty arrivals on either side nothing is judged.
//!
//! Deliberately absent: systems that tip over by chance, without a declared disturbance; they show
//! as a low success rate at a high number of attempts.

use crate::estimate::Estimate;
use crate::pooled::{Part, ratio};
use crate::record::Record;
use crate::stability::{Stability, Verdict};
use crate::warm_up::whole_windows;
use crate::work::is_plain;
use sim::Scenario;
use sim::backends::{Limits, RemoteSpec};
use sim::ids::Backend;
use sim::metrics::{Series, Window};
use sim::outcome::RemoteOutcome;
use sim::resilience::FluidRetries;
use sim::resilience::amplification::{RetryLoad as Attempts, amplification};
use sim::scenario::ModelSpec;
use sim::units::{Span, Time};
use sim::workload::Arrivals;

/// Windows on either side below which nothing is judged.
const LEAST_WINDOWS: usize = 4;
/// Arrivals likewise.
const LEAST_ARRIVALS: u64 = 30;
/// Times the earlier load that still counts as one that was carried.
const SAME_LOAD: f64 = 1.25;
/// Share of the earlier success below which the system does not work.
const FAR_BELOW: f64 = 0.5;
/// Times the earlier attempts per task from which work is multiplied.
const MULTIPLIED: f64 = 1.2;
/// Attempts per call from which no number is given.
const UNBOUNDED: f64 = 1e6;

/// How much more is done than was asked for.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Amplification {
    /// Attempts per model call.
    pub attempts_per_call: Estimate,
    /// Submissions per task.
    pub submissions_per_task: Estimate,
    /// Attempts per task: both, times the calls of a submission.
    pub attempts_per_task: Estimate,
    /// One for each model whose calls are tried again.
    pub models: Vec<RetryLoad>,
}

/// What retries make of the load on one model when every attempt fails.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RetryLoad {
    /// Name of the model.
    pub model: String,
    /// First attempts per second of measured time.
    pub demand_per_s: f64,
    /// Attempts per call while all fail, by the model's retries and the users' submissions; `None`:
    /// there is no limit.
    pub worst: Option<f64>,
    /// Attempts per second its backends can work on, from their places and the time attempts took
    /// in this run, and from their rate limits, those on tokens by what an attempt was charged; `None` where a pool serves it, which shows its
    /// capacity only when overloaded, where a backend has no limit, or serves other models too.
    pub capacity_per_s: Option<f64>,
    /// Calls per second below which a disturbance cannot leave it stuck: capacity over worst case.
    pub safe_per_s: Option<f64>,
    /// Whether it carries its load but could get stuck: demand between the two.
    pub vulnerable: Option<bool>,
}

/// Counts of one side of the disturbances.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
struct Side {
    seconds: f64,
    arrived: u64,
    succeeded: u64,
    attempts: u64,
}

impl Side {
    fn of(windows: &[Window], width: Span) -> Side {
        let sum = |of: fn(&Window) -> u64| windows.iter().map(of).sum();
        Side {
            seconds: windows.len() as f64 * width.as_secs_f64(),
            arrived: sum(|w| w.arrived),
            succeeded: sum(|w| w.succeeded),
            attempts: sum(|w| w.attempts),
        }
    }

    fn rate(&self) -> f64 {
        self.arrived as f64 / self.seconds
    }

    fn share(&self) -> f64 {
        self.succeeded as f64 / self.arrived.max(1) as f64
    }

    fn attempts_per_task(&self) -> f64 {
        self.attempts as f64 / self.arrived.max(1) as f64
    }
}

/// One replication before and after its disturbances.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(crate) struct Aftermath {
    /// When the last disturbance ended.
    over: Time,
    before: Side,
    after: Side,
    /// The two halves of `after`.
    halves: [Side; 2],
}

impl Aftermath {
    /// `None` without disturbances, or with too little on either side of them.
    pub(crate) fn of(series: &Series, scenario: &Scenario) -> Option<Aftermath> {
        let horizon = Time(scenario.horizon.0);
        let (from, over) = disturbed(scenario, horizon)?;
        let width = series.width.0.max(1);
        let windows = whole_windows(series, scenario.horizon);
        let up_to = |time: u64| usize::try_from(time / width).unwrap_or(usize::MAX);
        let begun = |time: u64| usize::try_from(time.div_ceil(width)).unwrap_or(usize::MAX);
        let before = windows.get(begun(scenario.warm_up.0)..up_to(from.0).min(windows.len()))?;
        let after = windows.get(begun(over.0)..)?;
        let after = &after[after.len() / 2..];
        if before.len() < LEAST_WINDOWS || after.len() < LEAST_WINDOWS {
            return None;
        }
        let (first, second) = after.split_at(after.len() / 2);
        let side = |windows| Side::of(windows, series.width);
        let found = Aftermath {
            over,
            before: side(before),
            after: side(after),
            halves: [side(first), side(second)],
        };
        let least = found.before.arrived.min(found.after.arrived);
        (least >= LEAST_ARRIVALS).then_some(found)
    }

    fn is_stuck(&self) -> bool {
        let (before, after) = (&self.before, &self.after);
        let fails = |half: &Side| half.share() <= FAR_BELOW * before.share();
        after.rate() <= SAME_LOAD * before.rate()
            && before.succeeded > 0
            && self.halves.iter().all(fails)
            && after.attempts_per_task() >= MULTIPLIED * before.attempts_per_task()
    }
}

/// Start of the first and end of the last declared disturbance that begins within the run.
fn disturbed(scenario: &Scenario, horizon: Time) -> Option<(Time, Time)> {
    let spikes = scenario.sources.iter().flat_map(|source| match &source.arrivals {
        Arrivals::Renewal { rate: curve, .. } | Arrivals::Modulated { shape: curve, .. } => {
            curve.spikes.as_slice()
        }
        Arrivals::ClosedLoop { .. } | Arrivals::Replay { .. } => &[],
    });
    let spikes = spikes.filter(|spike| spike.2 > 1.0).map(|&(at, length, _)| (at, length));
    let remotes = scenario.remotes.iter().flat_map(|remote| &remote.incidents);
    let tools = scenario.tools.iter().flat_map(|tool| &tool.incidents);
    let incidents = remotes.chain(tools).map(|incident| (incident.at, incident.length));
    let all = spikes.chain(incidents).filter(|(at, _)| *at < horizon);
    all.fold(None, |sum, (at, length)| {
        let (from, over) = sum.unwrap_or((at, at));
        Some((from.min(at), over.max(at.after(length))))
    })
}

/// The verdict on the backlog, unless replications are stuck.
pub(crate) fn judge(records: &[Record], backlog: Stability) -> Stability {
    let all: Vec<Aftermath> = records.iter().filter_map(|r| r.aftermath).collect();
    let stuck: Vec<&Aftermath> = all.iter().filter(|one| one.is_stuck()).collect();
    let Some(first) = stuck.first() else { return backlog };
    let mean = |of: &dyn Fn(&Aftermath) -> f64| {
        stuck.iter().map(|one| of(one)).sum::<f64>() / stuck.len() as f64
    };
    let why = format!(
        "the last disturbance ended after {:.0} s, and in {} of {} replications the system is stuck \
         until the horizon: {:.1} % of the arriving tasks succeed ({:.1} % before it) at {:.3} \
         arrivals per second ({:.3} before), with {:.2} attempts for each ({:.2} before)",
        first.over.as_secs_f64(),
        stuck.len(),
        records.len(),
        100.0 * mean(&|one| one.after.share()),
        100.0 * mean(&|one| one.before.share()),
        mean(&|one| one.after.rate()),
        mean(&|one| one.before.rate()),
        mean(&|one| one.after.attempts_per_task()),
        mean(&|one| one.before.attempts_per_task()),
    );
    Stability {
        verdict: Some(Verdict::Metastable),
        why,
        demand_per_s: Some(mean(&|one| one.after.rate())),
        horizon_matters: true,
        // What is completed while stuck is useless work; what is carried without it is unknown.
        capacity_per_s: None,
    }
}

/// How far work is multiplied, and how far it could be.
pub(crate) fn amplified(records: &[Record], scenario: &Scenario) -> Amplification {
    let counts = |r: &Record| {
        let attempts: u64 = r.outcome.models.iter().map(|model| model.attempts).sum();
        let mut sum = [i128::from(attempts), 0, 0, 0];
        for (at, task) in r.outcome.tasks.iter().enumerate() {
            let plain = is_plain(scenario, at);
            sum[1] += i128::from(if plain { task.arrived } else { task.calls });
            sum[2] += i128::from(if plain { task.arrived } else { task.submissions });
            sum[3] += i128::from(task.arrived);
        }
        sum
    };
    let per = |top: usize, bottom: usize| {
        let parts: Vec<Part> = records.iter().map(counts).map(|s| (s[top], s[bottom])).collect();
        ratio(&parts, "no task arrived").held_within(0.0, f64::INFINITY)
    };
    let load = |(at, model): (usize, &ModelSpec)| retry_load(records, scenario, at, model);
    Amplification {
        attempts_per_call: per(0, 1),
        submissions_per_task: per(2, 3),
        attempts_per_task: per(0, 3),
        models: scenario.models.iter().enumerate().filter_map(load).collect(),
    }
}

fn retry_load(
    records: &[Record],
    scenario: &Scenario,
    at: usize,
    model: &ModelSpec,
) -> Option<RetryLoad> {
    let outcomes = records.iter().filter_map(|r| r.outcome.models.get(at));
    let first: u64 =
        outcomes.map(|model| model.attempts.saturating_sub(model.retries + model.hedges)).sum();
    let seconds: f64 = records.iter().map(|r| r.outcome.measured.as_secs_f64()).sum();
    let demand = first as f64 / seconds;
    let again = scenario.sources.iter().filter_map(|source| {
        let again = source.people.client.resubmit.as_ref()?;
        Some(Attempts::new(again.max_submissions, again.probability).attempts_per_call)
    });
    let submissions = again.fold(1.0, f64::max);
    let retries = model.guards.retry.as_ref().map_or(1.0, |retry| amplification(retry, demand));
    let worst = submissions * retries;
    if first == 0 || worst <= 1.0 {
        return None;
    }
    let worst = Some(worst).filter(|worst| *worst < UNBOUNDED);
    let capacity: Option<f64> =
        model.served_by.iter().map(|s| capacity(records, scenario, s.backend)).sum();
    let fluid = capacity.zip(worst).map(|(capacity, amplification)| FluidRetries {
        load: demand,
        capacity,
        amplification,
    });
    Some(RetryLoad {
        model: model.name.clone(),
        demand_per_s: demand,
        worst,
        capacity_per_s: capacity,
        safe_per_s: fluid.map(|fluid| fluid.load_threshold()),
        vulnerable: fluid.map(|fluid| fluid.is_vulnerable()),
    })
}

/// Attempts per second a backend of one model can work on.
fn capacity(records: &[Record], scenario: &Scenario, backend: Backend) -> Option<f64> {
    let Backend::Remote(remote) = backend else { return None };
    let users = scenario.models.iter().filter(|m| m.served_by.iter().any(|s| s.backend == backend));
    let spec: &RemoteSpec = scenario.remotes.get(remote.index())?;
    if users.count() != 1 {
        return None;
    }
    let outcomes = || records.iter().filter_map(|r| r.outcome.remotes.get(remote.index()));
    let time: u128 = outcomes().map(|r: &RemoteOutcome| r.measured.place_time).sum();
    let begun: u64 = outcomes().map(|r| r.measured.begun).sum();
    let mean = time as f64 / sim::units::PS_PER_SEC as f64 / begun as f64;
    let places = spec.station.servers.map(|servers| f64::from(servers) / mean);
    let Limits { requests, tokens, input_tokens, output_tokens } = spec.limits;
    let limits = [requests, tokens, input_tokens, output_tokens].into_iter().enumerate();
    let limited = limits.filter_map(|(at, bucket)| {
        let charged = |at: usize| outcomes().map(|r| r.measured.charged[at]).sum::<u64>() as f64;
        // A limit on tokens lets in as many attempts as the mean one that it let in leaves room for.
        let each = if at == 0 { 1.0 } else { charged(at) / charged(0) };
        Some(bucket?.per_minute as f64 / 60.0 / each)
    });
    let known = places.into_iter().chain(limited).filter(|rate| rate.is_finite());
    known.min_by(f64::total_cmp)
}
