//! Queueing stations built from the simulator's own parts, and estimates of what they do.
//!
//! A server is a sequence of an engine that runs `servers` of them at once; a job is a request with
//! a prompt of one token whose answer has as many tokens as its service has steps, every iteration
//! being one step long. A second of simulated time is the mean service time, which is [`STEPS`]
//! steps.
//!
//! Discretisation: a service law is rounded to whole steps (at least one), which moves its mean by
//! less than a step, relative error `1/STEPS`. With one server nothing else is rounded: an idle
//! engine starts at once. With several, a job that finds the engine running begins at the next
//! step: at most one step late.
//!
//! A station may share instead: every iteration takes a step for each job in it, so that the jobs
//! present progress at equal shares of a constant total rate. A job joins at the next iteration,
//! later by at most a step for each job present.
//!
//! Or the servers are the places of a hosted backend ([`Hosted`]), behind its queue: an answer of
//! `n` tokens takes `n` steps, begins at once and needs no iterations. Its clients may retry, or
//! lose patience.
//!
//! Invariants: replications are independent and put back by index; an estimate stops growing when
//! every half-width is reached or [`MOST_REPLICATIONS`] are spent, and says how many it took.

use crate::hosted::{self, BATCH, MOST_REPLICATIONS};
use rayon::prelude::*;
use sim::backends::Discipline;
use sim::dist::{DurationDist, LengthDist, LengthLaw, LengthsSpec};
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime};
use sim::fleet::{Balancing, HostTime, PoolSpec, Strategy};
use sim::ids::{ModelId, PoolId, TaskId};
use sim::metrics::{BucketCounts, Histogram};
use sim::outcome::{Ending, ModelOutcome};
use sim::record::{CallRecord, Recorder, TaskRecord};
use sim::resilience::RetrySpec;
use sim::scenario::{ModelSpec, Scenario};
use sim::stats::{Interval, jackknife, t_interval};
use sim::tasks::TaskSpec;
use sim::units::{Blocks, Money, PS_PER_SEC, Span, Tokens};
use sim::workload::{Arrivals, ClientSpec, Gaps, People, RateCurve, Scaling, SourceSpec};
use sim::{Outcome, Simulation};

/// Steps of a mean service.
pub(crate) const STEPS: f64 = 4_000.0;
/// Length of a step: [`STEPS`] of them are a second.
pub(crate) const STEP: Span = Span(PS_PER_SEC / STEPS as u64);
/// Longest service in steps; the laws used here exceed it with a probability below 1e-50.
const LONGEST: u32 = 1 << 22;

/// A stream of jobs.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// Time in seconds, as everywhere here: mean services.
    pub(crate) arrivals: Arrivals,
    /// Law of the service in steps.
    pub(crate) service: LengthLaw,
    /// Class of its jobs, 0 the first to be served where priorities count.
    pub(crate) class: u32,
}

/// Servers with their queues, and what comes in.
#[derive(Clone, Debug)]
pub(crate) struct Station {
    pub(crate) flows: Vec<Flow>,
    /// Servers behind each queue.
    pub(crate) servers: u32,
    /// Queues.
    pub(crate) replicas: u32,
    /// How jobs choose a queue.
    pub(crate) strategy: Strategy,
    /// Jobs a queue holds, those in service included; `None`: any number.
    pub(crate) places: Option<u32>,
    pub(crate) policy: SchedulingPolicy,
    /// Whether the servers behind a queue share the speed of one.
    pub(crate) shares: bool,
    /// Servers of a hosted backend instead of an engine's; there is one queue then.
    pub(crate) hosted: Option<Hosted>,
    /// Simulated seconds of one replication; a tenth is not measured.
    pub(crate) seconds: f64,
}

/// What is particular to servers of a hosted backend.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosted {
    /// Who goes first; `Station::policy` is the engine's.
    pub(crate) discipline: Discipline,
    /// What clients do who are refused.
    pub(crate) retry: Option<RetrySpec>,
    /// How long clients stay, waiting or in service.
    pub(crate) patience: Option<DurationDist>,
}

/// A quantity to estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Measure {
    /// Of a time in seconds, of all jobs or of one class.
    Time { of: Interest, class: Option<u32>, at: Stat },
    /// Share of time a queue has at least so many jobs, those in service included.
    AtLeast(u32),
    /// Mean number of jobs at all queues.
    InSystem,
    /// Quantile over time of the number of jobs at all queues.
    InSystemQuantile(f64),
    /// Mean number of jobs that have come and have not begun.
    Waiting,
    /// Mean number of jobs beyond one for each server.
    Excess,
    /// Share of time in which all servers are at work.
    AllBusy,
    /// Share of time without any job.
    Empty,
    /// Mean share of the servers at work.
    Utilisation,
    /// Share of jobs that wait for longer than a step.
    Waited,
    /// Variance of the sojourn.
    SojournVariance,
    /// Attempts of a job that is served.
    Attempts,
    /// Jobs that get a server, a second.
    Begun,
    /// Share of jobs that never get a server.
    NeverBegun,
    /// Jobs that come, a second.
    Arrived,
    /// Share of jobs that are refused.
    Rejected,
    /// Jobs served a second.
    Throughput,
    /// Share of time the servers' engines run.
    Busy,
    /// Variance over mean of the arrivals in a hundredth of the replication.
    Dispersion,
}

/// Which time of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Before its service.
    Waiting,
    /// From arrival to end.
    Sojourn,
}

/// What of a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stat {
    Mean,
    Quantile(f64),
}

/// Poisson arrivals, `rate` a second.
pub(crate) fn poisson(rate: f64) -> Arrivals {
    renewal(Gaps::Exponential, rate)
}

pub(crate) fn renewal(gaps: Gaps, rate: f64) -> Arrivals {
    Arrivals::Renewal { gaps, rate: RateCurve::constant(rate) }
}

/// An exponential service of `mean` seconds.
pub(crate) fn exponential(mean: f64) -> LengthLaw {
    LengthLaw::Gamma { shape: 1.0, scale: mean * STEPS }
}

/// A pool at a price of one dollar per GPU hour whose router always knows the present.
pub(crate) fn pool(
    engine: EngineSpec,
    step_time: StepTime,
    replicas: u32,
    strategy: Strategy,
) -> PoolSpec {
    PoolSpec {
        name: "pool".to_owned(),
        replicas,
        gpus_per_replica: 1,
        price_per_gpu_hour: Money(Money::PICO_PER_DOLLAR),
        engine,
        step_time,
        host: HostTime::NONE,
        balancing: Balancing { strategy, signal_age: Span::ZERO, count_own_dispatches: true },
    }
}

/// A scenario with one task and one model for each of `classes`, all served by the first pool.
pub(crate) fn scenario(
    sources: Vec<SourceSpec>,
    classes: u32,
    pools: Vec<PoolSpec>,
    (warm_up, horizon): (Span, Span),
) -> Scenario {
    let task = |class| TaskSpec::one_call(&format!("task {class}"), ModelId(class));
    let model = |class: u32| ModelSpec::on_pools(&format!("model {class}"), &[PoolId(0)]);
    Scenario {
        horizon,
        warm_up,
        tasks: (0..classes).map(task).collect(),
        sources,
        models: (0..classes).map(model).collect(),
        pools,
        // A run drains after its horizon however short that was, window by window.
        window: Span(horizon.0 / 100).max(Span::from_secs(1)),
        ..Scenario::default()
    }
}

impl Station {
    /// One queue with `servers` servers.
    pub(crate) fn single(servers: u32, flows: Vec<Flow>, seconds: f64) -> Station {
        Station {
            flows,
            servers,
            replicas: 1,
            strategy: Strategy::RoundRobin,
            places: None,
            policy: SchedulingPolicy::Fcfs,
            shares: false,
            hosted: None,
            seconds,
        }
    }

    /// One queue in front of the places of a hosted backend.
    pub(crate) fn hosted(servers: u32, flows: Vec<Flow>, seconds: f64) -> Station {
        let hosted = Some(Hosted::default());
        Station { hosted, ..Station::single(servers, flows, seconds) }
    }

    /// As the simulator takes it.
    pub(crate) fn scenario(&self) -> Scenario {
        let mut sources: Vec<SourceSpec> = self.flows.iter().enumerate().map(source).collect();
        let classes = self.flows.iter().map(|flow| flow.class + 1).max().unwrap_or(1);
        let horizon = Span::from_secs_f64(self.seconds);
        let measured = (Span(horizon.0 / 10), horizon);
        let Some(hosted) = &self.hosted else {
            let pools = vec![self.pool()];
            return scenario(sources, classes, pools, measured);
        };
        for source in &mut sources {
            let patience = hosted.patience.clone();
            source.people.client = ClientSpec { patience, ..ClientSpec::default() };
        }
        let queue_limit = self.places.map(|places| places - self.servers);
        let remote = hosted::remote(Some(self.servers), queue_limit, hosted.discipline);
        let mut scenario = scenario(sources, classes, Vec::new(), measured);
        scenario.remotes = vec![hosted::by_the_token(remote, STEP)];
        for model in &mut scenario.models {
            *model = hosted::model(0);
            model.guards.retry = hosted.retry.clone();
        }
        scenario
    }

    fn pool(&self) -> PoolSpec {
        let engine = EngineSpec {
            scheduling: Scheduling::Vllm,
            // Room for every sequence at its longest is not needed; a preemption would show.
            kv_blocks: Blocks(1 << 22),
            block_size: Tokens(16),
            max_num_batched_tokens: Tokens(self.servers.max(2)),
            max_num_seqs: self.servers,
            max_model_len: Tokens(LONGEST + 2),
            prefix_caching: false,
            policy: self.policy,
            watermark: Blocks(0),
            reserve_full_isl: true,
            long_prefill_token_threshold: Tokens(0),
            chunked_prefill: true,
            async_scheduling: false,
            max_num_queued_reqs: self.places,
            max_num_queued_tokens: None,
            prefill_schedule_interval: 1,
        };
        let knots =
            vec![(1, STEP.0), (self.servers.max(2), STEP.0 * u64::from(self.servers.max(2)))];
        let step = if self.shares {
            StepTime::new(0, 0, knots, 0, 0, Vec::new())
        } else {
            StepTime::constant(STEP)
        };
        let step = step.expect("a step is longer than nothing");
        pool(engine, step, self.replicas, self.strategy)
    }

    /// Estimates every measure until its half-width (if one is asked for) is reached. Returns the
    /// 95 % intervals and the number of replications.
    pub(crate) fn estimate(
        &self,
        wanted: &[(Measure, Option<f64>)],
        seed: u64,
    ) -> Result<(Vec<Interval>, usize), String> {
        let scenario = self.scenario();
        let presence = wanted.iter().any(|(measure, _)| measure.needs_presence());
        let mut samples: Vec<Sample> = Vec::new();
        loop {
            let next = samples.len() as u32..(samples.len() + BATCH) as u32;
            let more: Result<Vec<Sample>, String> = next
                .into_par_iter()
                .map(|replication| Sample::take(&scenario, seed, replication, presence))
                .collect();
            samples.extend(more?);
            let mut intervals = Vec::new();
            for (measure, _) in wanted {
                let interval = measure.estimate(self, &samples);
                intervals.push(interval.ok_or_else(|| format!("nothing seen of {measure:?}"))?);
            }
            let reached = intervals.iter().zip(wanted).all(|(interval, (_, half_width))| {
                half_width.is_none_or(|half| interval.high - interval.low <= 2.0 * half)
            });
            if reached || samples.len() >= MOST_REPLICATIONS {
                return Ok((intervals, samples.len()));
            }
        }
    }
}

fn source((number, flow): (usize, &Flow)) -> SourceSpec {
    SourceSpec {
        name: format!("flow {number}"),
        key: number as u64 + 1,
        task: TaskId(flow.class),
        arrivals: flow.arrivals.clone(),
        lengths: LengthsSpec {
            input: LengthDist { law: LengthLaw::Fixed(1), min: 1, max: 1 },
            output: LengthDist { law: flow.service.clone(), min: 1, max: LONGEST },
            correlation: 0.0,
        },
        ends_by_eos: false,
        max_tokens: None,
        priority: flow.class as i32,
        prefix: None,
        session: None,
        scaling: Scaling::default(),
        people: People::default(),
    }
}

/// One replication, reduced to what can be asked.
struct Sample {
    outcome: Outcome,
    /// Waiting and sojourn, by class.
    times: [Vec<BucketCounts>; 2],
    /// Attempts of a job that was served.
    attempts: f64,
    presence: Shares,
}

/// What the stays of all jobs come to.
#[derive(Debug, Default)]
struct Shares {
    /// Share of time with exactly so many jobs: at a queue, at all, at work.
    at_one: Vec<f64>,
    at_all: Vec<f64>,
    at_work: Vec<f64>,
    /// Mean number of jobs that wait.
    waiting: f64,
    /// Variance of the sojourn.
    variance: f64,
}

impl Sample {
    /// One replication; `presence` says whether it matters who was there when.
    fn take(
        scenario: &Scenario,
        seed: u64,
        replication: u32,
        presence: bool,
    ) -> Result<Sample, String> {
        let recorder = Presence { on: presence, stays: Vec::new() };
        let simulation = Simulation::recording(scenario, seed, replication, recorder);
        let (outcome, Presence { stays, .. }) = simulation.run_with(&|_| false);
        let mut outcome = outcome.ok_or("stopped")?;
        let preempted = outcome.pools.iter().any(|pool| pool.whole_run.preemptions > 0);
        if !outcome.audit.is_empty() || preempted {
            return Err(format!("audit: {:?}, {:?}", outcome.audit, outcome.pools));
        }
        let models = std::mem::take(&mut outcome.models);
        let times = [
            models.iter().map(|model| model.queue.to_counts()).collect(),
            models.iter().map(|model| model.e2e.to_counts()).collect(),
        ];
        let count = |of: fn(&ModelOutcome) -> u64| models.iter().map(of).sum::<u64>() as f64;
        let attempts = count(|model| model.attempts) / count(|model| model.calls);
        let presence = if presence { Shares::new(scenario, &stays) } else { Shares::default() };
        Ok(Sample { outcome, times, attempts, presence })
    }
}

impl Shares {
    fn new(scenario: &Scenario, stays: &[Stay]) -> Shares {
        let measured = (scenario.warm_up.0, scenario.horizon.0);
        let queues = scenario.pools.first().map_or(1, |pool| pool.replicas);
        let present = |stay: &Stay| (stay.place, stay.from, stay.to);
        let together = |stay: &Stay| (0, stay.from, stay.to);
        let at_work = |stay: &Stay| Some((0, stay.began?, stay.to));
        let waits: Vec<_> = stays.iter().map(|s| (0, s.from, s.began.unwrap_or(s.to))).collect();
        let waiting = occupancy(waits, 1, measured);
        let counted = stays.iter().filter(|stay| stay.from >= measured.0);
        let sojourns: Vec<f64> =
            counted.map(|stay| Span(stay.to - stay.from).as_secs_f64()).collect();
        let n = sojourns.len() as f64;
        let mean = sojourns.iter().sum::<f64>() / n;
        Shares {
            at_one: occupancy(stays.iter().map(present).collect(), queues, measured),
            at_all: occupancy(stays.iter().map(together).collect(), 1, measured),
            at_work: occupancy(stays.iter().filter_map(at_work).collect(), 1, measured),
            waiting: mean_of(&waiting),
            variance: sojourns.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / (n - 1.0),
        }
    }
}

fn mean_of(shares: &[f64]) -> f64 {
    shares.iter().enumerate().map(|(k, share)| k as f64 * share).sum()
}

/// A job's stay, in picoseconds; one that left unserved may or may not have begun.
#[derive(Clone, Copy, Debug)]
struct Stay {
    place: u32,
    from: u64,
    began: Option<u64>,
    to: u64,
}

/// Remembers where each job was from when to when.
struct Presence {
    on: bool,
    stays: Vec<Stay>,
}

impl Recorder for Presence {
    fn call(&mut self, record: &CallRecord) {
        if self.on {
            self.stays.push(Stay {
                place: record.replica,
                from: record.arrived.0,
                began: Some(record.scheduled.0),
                to: record.ended.0,
            });
        }
    }

    fn task(&mut self, record: &TaskRecord) {
        if self.on && record.ending == Ending::Abandoned {
            let (from, to) = (record.arrived.0, record.ended.0);
            self.stays.push(Stay { place: 0, from, began: None, to });
        }
    }
}

/// Share of the time in `[from, to)` during which a place has exactly `k` jobs, over all places.
fn occupancy(stays: Vec<(u32, u64, u64)>, places: u32, (from, to): (u64, u64)) -> Vec<f64> {
    let mut changes: Vec<(u32, u64, bool)> = stays
        .into_iter()
        .flat_map(|(place, start, end)| [(place, start, true), (place, end, false)])
        .collect();
    changes.sort_unstable();
    let mut time = vec![0u128; 1];
    let mut changes = changes.into_iter().peekable();
    for place in 0..places {
        let (mut last, mut jobs) = (from, 0i64);
        while let Some((_, at, arrives)) = changes.next_if(|change| change.0 == place) {
            let at = at.clamp(from, to);
            // Ends sort before arrivals of the same instant, so a count may dip for no time.
            let index = jobs.max(0) as usize;
            time.resize(time.len().max(index + 1), 0);
            time[index] += u128::from(at - last);
            last = at;
            jobs += if arrives { 1 } else { -1 };
        }
        time[0] += u128::from(to - last);
    }
    let all = u128::from(places) * u128::from(to - from);
    time.into_iter().map(|span| span as f64 / all as f64).collect()
}

impl Measure {
    fn needs_presence(&self) -> bool {
        matches!(
            self,
            Measure::AtLeast(_)
                | Measure::InSystem
                | Measure::InSystemQuantile(_)
                | Measure::Waiting
                | Measure::Excess
                | Measure::AllBusy
                | Measure::Empty
                | Measure::Utilisation
                | Measure::SojournVariance
        )
    }

    fn estimate(&self, station: &Station, samples: &[Sample]) -> Option<Interval> {
        match *self {
            Measure::Time { of, class, at } => time_interval(samples, of, class, at),
            Measure::Waited => waited(samples),
            _ => {
                let values: Option<Vec<f64>> =
                    samples.iter().map(|sample| self.of_one(station, sample)).collect();
                Some(t_interval(&values?, 0.95)?.interval())
            }
        }
    }

    fn of_one(&self, station: &Station, sample: &Sample) -> Option<f64> {
        let outcome = &sample.outcome;
        let measured = outcome.measured.as_secs_f64();
        let tasks = |count: fn(&sim::outcome::TaskOutcome) -> u64| {
            outcome.tasks.iter().map(count).sum::<u64>() as f64
        };
        let (shares, servers) = (&sample.presence, (station.servers * station.replicas) as usize);
        // Whoever had a place is billed when leaving it, served or not.
        let begun = outcome.remotes.iter().map(|r| r.billed.attempts).sum::<u64>() as f64;
        Some(match *self {
            Measure::AtLeast(k) => shares.at_one.iter().skip(k as usize).sum(),
            Measure::InSystem => mean_of(&shares.at_all),
            Measure::Waiting => shares.waiting,
            Measure::Excess => mean_of(shares.at_all.get(servers..).unwrap_or(&[])),
            Measure::AllBusy => shares.at_work.get(servers).copied().unwrap_or(0.0),
            Measure::Empty => shares.at_all[0],
            Measure::Utilisation => mean_of(&shares.at_work) / servers as f64,
            Measure::SojournVariance => shares.variance,
            Measure::Attempts => sample.attempts,
            Measure::Begun => begun / measured,
            Measure::NeverBegun => 1.0 - begun / tasks(|task| task.arrived),
            Measure::Arrived => tasks(|task| task.arrived) / measured,
            Measure::InSystemQuantile(p) => {
                let mut below = 0.0;
                shares.at_all.iter().position(|share| {
                    below += share;
                    below >= p
                })? as f64
            }
            Measure::Rejected => tasks(|task| task.rejected) / tasks(|task| task.arrived),
            Measure::Throughput => tasks(|task| task.succeeded) / measured,
            Measure::Busy => {
                outcome.pools[0].measured.busy as f64
                    / PS_PER_SEC as f64
                    / measured
                    / f64::from(station.replicas)
            }
            Measure::Dispersion => {
                // The tenth before the warm-up ends and what drains after the horizon are left out.
                let windows = outcome.series.windows.get(10..100)?;
                let n = windows.len() as f64;
                let mean = windows.iter().map(|w| w.arrived as f64).sum::<f64>() / n;
                let square = |w: &sim::metrics::Window| (w.arrived as f64 - mean).powi(2);
                windows.iter().map(square).sum::<f64>() / (n - 1.0) / mean
            }
            Measure::Time { .. } | Measure::Waited => return None,
        })
    }
}

/// Of the jobs of all replications together, leaving one replication out at a time.
fn time_interval(
    samples: &[Sample],
    of: Interest,
    class: Option<u32>,
    at: Stat,
) -> Option<Interval> {
    let total = pooled(samples, of, class);
    jackknife(samples.len(), 0.95, |left_out| {
        let rest = without(&total, samples, of, class, left_out)?;
        match at {
            Stat::Mean => rest.mean_secs(),
            Stat::Quantile(p) => rest.quantile_secs(p),
        }
    })
}

fn waited(samples: &[Sample]) -> Option<Interval> {
    let total = pooled(samples, Interest::Waiting, None);
    jackknife(samples.len(), 0.95, |left_out| {
        let rest = without(&total, samples, Interest::Waiting, None, left_out)?;
        Some(1.0 - rest.count_at_most(STEP) / rest.count() as f64)
    })
}

fn parts(sample: &Sample, of: Interest, class: Option<u32>) -> impl Iterator<Item = &BucketCounts> {
    let classes = &sample.times[usize::from(of == Interest::Sojourn)];
    let wanted = move |number: usize| class.is_none_or(|class| class as usize == number);
    classes.iter().enumerate().filter(move |(number, _)| wanted(*number)).map(|(_, part)| part)
}

fn pooled(samples: &[Sample], of: Interest, class: Option<u32>) -> Histogram {
    let mut total = Histogram::default();
    for part in samples.iter().flat_map(|sample| parts(sample, of, class)) {
        total.add(part);
    }
    total
}

fn without(
    total: &Histogram,
    samples: &[Sample],
    of: Interest,
    class: Option<u32>,
    left_out: Option<usize>,
) -> Option<Histogram> {
    let mut rest = total.clone();
    if let Some(index) = left_out {
        for part in parts(&samples[index], of, class) {
            rest = rest.without(part)?;
        }
    }
    Some(rest)
}

#[test]
fn occupancy_is_the_share_of_time() {
    // Place 0: one job in [0, 4), another in [2, 6); place 1: none. Measured: [1, 5).
    let shares = occupancy(vec![(0, 0, 4), (0, 2, 6)], 2, (1, 5));
    assert_eq!(shares, [0.5, 2.0 / 8.0, 2.0 / 8.0]);
    // A job ends as another arrives.
    assert_eq!(occupancy(vec![(0, 0, 2), (0, 2, 4)], 1, (0, 4)), [0.0, 1.0]);
}
