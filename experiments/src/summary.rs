//! From replications to the result: every number with its interval or the reason for none.
//!
//! Invariants: a latency of an unstable system, and any time of a steady state that the run never
//! reached, is absent; money totals are integers, and what is
//! shown as a sum is the sum of its parts; a metric is computed in one place, here.
//!
//! Deliberately absent: the decision whether a number is good (see `objectives`).

use crate::calibration::{self, Uncertain};
use crate::drivers;
use crate::estimate::{Distribution, Estimate};
use crate::money::{margin, of_task, spend, spent};
use crate::objectives::Objective;
use crate::pooled::{
    METASTABLE, Part, START_UP, Times, UNSTABLE, proportion, ratio, values_needed,
};
use crate::record::{ModelTimes, Record};
use crate::replicate::{
    Halt, Plan, Progress, ReplicateError, Replications, Runner, StopReason, replicate,
};
use crate::result::{LatencyShares, ModelResult, PoolResult, RunResult, TaskCounts, TaskResult};
use crate::revenue::Earners;
use crate::stability::{self, Flow, Stability, Verdict};
use crate::storm;
use crate::tenants;
use crate::warm_up::WarmUp;
use crate::warnings::Warning;
use crate::work;
use sim::Scenario;
use sim::ids::{Backend, PoolId, TaskId};
use sim::metrics::BucketCounts;
use sim::outcome::{ModelOutcome, PoolOutcome, TaskOutcome};
use sim::resilience::Failure;
use sim::scenario::ModelSpec;
use sim::tasks::TaskSpec;
use sim::units::{PS_PER_SEC, Span};

/// Relative half-width aimed at for the p95 latency of each task.
const LATENCY_PRECISION: f64 = 0.05;
/// Relative half-width aimed at for the spend.
const SPEND_PRECISION: f64 = 0.01;

const NOTHING_ENDED: &str = "no task ended";
pub(crate) const NOTHING_SUCCEEDED: &str = "no task succeeded";
const NO_CALLS: &str = "no call has this time";

/// Runs a plan and summarises it.
///
/// # Errors
/// Those of [`replicate`].
pub fn run(
    scenario: &Scenario,
    plan: &Plan,
    objectives: &[Objective],
    runner: &Runner<'_>,
    progress: &dyn Progress,
) -> Result<RunResult, ReplicateError> {
    run_calibrated(scenario, &[], plan, objectives, runner, progress)
}

/// As [`run`]; what the times of the `uncertain` pools may be off by becomes an interval of its own.
///
/// # Errors
/// Those of [`replicate`].
pub fn run_calibrated(
    scenario: &Scenario,
    uncertain: &[Uncertain],
    plan: &Plan,
    objectives: &[Objective],
    runner: &Runner<'_>,
    progress: &dyn Progress,
) -> Result<RunResult, ReplicateError> {
    let found = replicate(scenario, plan, runner, progress)?;
    let mut result = summarise_all(scenario, plan.seed, &found);
    calibration::widen(&mut result, (scenario, &found), uncertain, plan, runner, progress)?;
    Ok(judged(result, scenario, objectives))
}

/// Everything the replications of a scenario say, judged by the objectives.
#[must_use]
pub fn summarise(
    scenario: &Scenario,
    seed: u64,
    replications: &Replications,
    objectives: &[Objective],
) -> RunResult {
    judged(summarise_all(scenario, seed, replications), scenario, objectives)
}

/// A result of all tasks, judged, without those that are mere parts of others.
pub(crate) fn judged(
    mut result: RunResult,
    scenario: &Scenario,
    objectives: &[Objective],
) -> RunResult {
    result.objectives = objectives.iter().map(|objective| objective.judge(&result)).collect();
    let doubtful = result.objectives.iter().filter(|judged| judged.calibration_decides());
    let names: Vec<String> = doubtful.map(|judged| judged.objective.name.clone()).collect();
    if !names.is_empty() {
        result.warnings.push(Warning::CalibrationDecides { objectives: names });
    }
    // Objectives count tasks as the scenario does; what only runs as a part of others has no row.
    let mut started = (0..scenario.tasks.len()).map(|at| !work::is_part(scenario, at));
    result.tasks.retain(|_| started.next().unwrap_or(true));
    result
}

/// Everything the replications of a scenario say, of all its tasks and without objectives.
pub(crate) fn summarise_all(
    scenario: &Scenario,
    seed: u64,
    replications: &Replications,
) -> RunResult {
    let records = &replications.records;
    let stability = stability(records);
    let withheld = Withheld::of(stability.verdict, replications.warm_up);
    let measured = Span(scenario.horizon.0.saturating_sub(replications.removed.0));
    let general = work::is_general(scenario);
    let parts = (0..scenario.tasks.len()).map(|at| work::is_part(scenario, at));
    let started: Vec<bool> = parts.map(|part| !part).collect();
    let earners = Earners::of(scenario, &started, measured);
    let of_task = |at, spec: &TaskSpec| task(records, scenario, (at, spec), withheld, &earners);
    let tasks = each(&scenario.tasks, of_task);
    let mut warnings = warnings(replications, those(&tasks, &started), &stability.verdict);
    warnings.extend(tenants::warnings(scenario, measured));
    RunResult {
        seed,
        replications: records.len() as u32,
        stopped: replications.stopped.clone(),
        horizon: scenario.horizon,
        warm_up: replications.removed,
        measured,
        warnings,
        tasks,
        models: each(&scenario.models, |at, spec| model(records, general, (at, spec), withheld)),
        pools: each(&scenario.pools, |at, spec| pool(records, scenario, at, &spec.name)),
        remotes: each(&scenario.remotes, |at, spec| work::remote(records, scenario, at, spec)),
        tools: each(&scenario.tools, |at, spec| work::tool(records, at, spec)),
        tenants: tenants::summarise(records, scenario, withheld.flow),
        spend: spend(records, scenario),
        spend_limits: scenario.spend_limits.clone(),
        cost_drivers: general.then(|| drivers::cost(records, scenario)),
        margin: margin(records, &scenario.tasks, &earners, withheld.flow),
        stability,
        amplification: general.then(|| storm::amplified(records, scenario)),
        objectives: Vec::new(),
        series: replications.series.clone(),
        events: records.iter().map(|r| r.outcome.events).sum(),
        log_hashes: records.iter().map(|r| r.outcome.log_hash).collect(),
    }
}

/// The tasks that are no mere parts of others.
fn those<'a>(tasks: &'a [TaskResult], started: &'a [bool]) -> impl Iterator<Item = &'a TaskResult> {
    tasks.iter().zip(started).filter_map(|(task, &started)| started.then_some(task))
}

/// The verdict on the replications so far.
pub(crate) fn stability(records: &[Record]) -> Stability {
    let flows: Vec<Flow> = records.iter().map(|r| r.flow).collect();
    storm::judge(records, stability::judge(&flows))
}

/// What misses its precision by the largest factor, and that factor (infinite when there is no
/// interval); `None` when all is precise enough. A task
/// without any value is left out: more replications would not make it more precise.
pub(crate) fn too_wide(scenario: &Scenario, records: &[Record]) -> Option<(f64, String)> {
    let latencies = scenario.tasks.iter().enumerate().filter_map(|(at, spec)| {
        let times = Times::new(records.iter().filter_map(|r| r.latency.get(at)));
        let path = format!("{}.p95_latency", spec.name);
        (times.pooled.count() > 0).then(|| excess(&path, &times.p95(), LATENCY_PRECISION))
    });
    let spend: Vec<Part> = records.iter().map(|r| (spent(r).0, 1)).collect();
    let spend = excess("spend", &ratio(&spend, "no replications"), SPEND_PRECISION);
    latencies.chain([spend]).filter(|(factor, _)| *factor > 1.0).max_by(|a, b| a.0.total_cmp(&b.0))
}

/// How many times wider than `aim` an interval is, and the same in words.
fn excess(path: &str, estimate: &Estimate, aim: f64) -> (f64, String) {
    match estimate.relative_half_width() {
        Some(width) => (width / aim, format!("{path} is ±{:.1} %", width * 100.0)),
        None => {
            let reason = estimate.reason.as_deref().unwrap_or("is zero within its interval");
            (f64::INFINITY, format!("{path} {reason}"))
        }
    }
}

fn each<Spec, T>(specs: &[Spec], make: impl Fn(usize, &Spec) -> T) -> Vec<T> {
    specs.iter().enumerate().map(|(at, spec)| make(at, spec)).collect()
}

/// One number pair per replication.
fn parts<T>(
    records: &[Record],
    pick: impl Fn(&Record) -> Option<T>,
    part: fn(T) -> Part,
) -> Vec<Part> {
    records.iter().map(|r| pick(r).map_or((0, 0), part)).collect()
}

/// Why times would say nothing of the system, where they would not.
#[derive(Clone, Copy)]
struct Withheld {
    /// Those that grow with a backlog.
    latency: Option<&'static str>,
    /// Those that only the number of running requests moves.
    pace: Option<&'static str>,
    /// Attempts per answer, because the attempts go on and the answers do not come; margins of a
    /// month, because a month would not be a longer run like this.
    flow: Option<&'static str>,
}

impl Withheld {
    fn of(verdict: Option<Verdict>, warm_up: WarmUp) -> Withheld {
        let pace = matches!(warm_up, WarmUp::AtBound(_)).then_some(START_UP);
        let flow = match verdict {
            Some(Verdict::Unstable) => Some(UNSTABLE),
            Some(Verdict::Metastable) => Some(METASTABLE),
            Some(Verdict::Stable) | None => None,
        };
        Withheld { latency: flow.or(pace), pace, flow }
    }
}

fn blanked(distribution: Distribution, why: Option<&str>) -> Distribution {
    match why {
        Some(why) => Distribution::absent(distribution.count, why),
        None => distribution,
    }
}

fn task(
    records: &[Record],
    scenario: &Scenario,
    (at, spec): (usize, &TaskSpec),
    withheld: Withheld,
    earners: &Earners<'_>,
) -> TaskResult {
    let plain = work::is_plain(scenario, at);
    let outcome = |r: &Record| r.outcome.tasks.get(at).cloned();
    let times = Times::new(records.iter().filter_map(|r| r.latency.get(at)));
    let within = |make: &dyn Fn() -> Estimate| {
        if spec.latency_slo.is_none() {
            Estimate::absent("the task has no latency SLO")
        } else {
            withheld.latency.map_or_else(make, Estimate::absent)
        }
    };
    let per_second = |r: &Record| {
        let within = r.outcome.tasks.get(at).map_or(0, |t| t.within_slo);
        (i128::from(within), i128::from(r.outcome.measured.0))
    };
    let goodput: Vec<Part> = records.iter().map(per_second).collect();
    let latency = blanked(times.distribution(NOTHING_SUCCEEDED), withheld.latency);
    let did = (!plain).then(|| work::task(records, at));
    TaskResult {
        money: of_task(records, (at, spec), earners),
        drivers: match (&did, withheld.latency) {
            (Some(_), None) => drivers::latency(records, at, &times, latency.p95.value),
            _ => None,
        },
        work: did,
        name: spec.name.clone(),
        id: TaskId(at as u32),
        latency_slo: spec.latency_slo,
        counts: records.iter().filter_map(|r| r.outcome.tasks.get(at)).fold(
            TaskCounts::default(),
            |sum, t| TaskCounts {
                arrived: sum.arrived + t.arrived,
                succeeded: sum.succeeded + t.succeeded,
                failed: sum.failed + t.failed,
                rejected: sum.rejected + t.rejected,
                abandoned: sum.abandoned + t.abandoned,
                in_flight: sum.in_flight + t.in_flight,
                within_slo: sum.within_slo + t.within_slo,
            },
        ),
        latency,
        success_rate: proportion(
            &parts(records, outcome, |t| (t.succeeded.into(), ended(&t))),
            NOTHING_ENDED,
        ),
        slo_attainment: within(&|| {
            let parts = parts(records, outcome, |t| (t.within_slo.into(), ended(&t)));
            proportion(&parts, NOTHING_ENDED)
        }),
        goodput: withheld.latency.map_or_else(
            || {
                let rate = ratio(&goodput, "no time was measured").held_within(0.0, f64::INFINITY);
                rate.map(|per_ps| per_ps * PS_PER_SEC as f64)
            },
            Estimate::absent,
        ),
        p95_by_replication: times.p95_of_each(),
        histogram: times.pooled,
    }
}

fn ended(task: &TaskOutcome) -> i128 {
    i128::from(task.succeeded)
        + i128::from(task.failed)
        + i128::from(task.rejected)
        + i128::from(task.abandoned)
}

fn model(
    records: &[Record],
    general: bool,
    (at, spec): (usize, &ModelSpec),
    withheld: Withheld,
) -> ModelResult {
    let sum = |of: fn(&ModelOutcome) -> u64| -> u64 {
        records.iter().filter_map(|r| r.outcome.models.get(at)).map(of).sum()
    };
    let times = |of: fn(&ModelTimes) -> &BucketCounts| {
        Times::new(records.iter().filter_map(|r| r.times.get(at)).map(of))
    };
    let [ttft, tpot, e2e] = [times(|t| &t.ttft), times(|t| &t.tpot), times(|t| &t.e2e)];
    let [queue, prefill, decode] =
        [times(|t| &t.queue), times(|t| &t.prefill), times(|t| &t.decode)];
    ModelResult {
        name: spec.name.clone(),
        calls: sum(|m| m.calls),
        attempts: sum(|m| m.attempts),
        turned_away: sum(|m| m.failures[Failure::RateLimited as usize])
            + sum(|m| m.failures[Failure::Overloaded as usize]),
        input_tokens: sum(|m| m.input_tokens),
        output_tokens: sum(|m| m.output_tokens),
        ttft: blanked(ttft.distribution(NO_CALLS), withheld.latency),
        tpot: blanked(tpot.distribution(NO_CALLS), withheld.pace),
        e2e: blanked(e2e.distribution(NO_CALLS), withheld.latency),
        queue: blanked(queue.distribution(NO_CALLS), withheld.latency),
        prefill: blanked(prefill.distribution(NO_CALLS), withheld.pace),
        decode: blanked(decode.distribution(NO_CALLS), withheld.pace),
        drivers: shares(&e2e, [&queue, &prefill, &decode]),
        ttft_histogram: ttft.pooled,
        tpot_histogram: tpot.pooled,
        work: general.then(|| work::model(records, at, withheld.flow)),
    }
}

/// Sums of the parts over the sum of the whole; `None` when no time passed.
fn shares(whole: &Times<'_>, parts: [&Times<'_>; 3]) -> Option<LatencyShares> {
    let total = whole.pooled.sum_picoseconds();
    let parts = parts.map(|p| p.pooled.sum_picoseconds());
    // In integers: a rest that is not there is zero, not what rounding left over.
    let rest = total.saturating_sub(parts.iter().sum());
    let [queue, prefill, decode] = parts.map(|part| part as f64 / total as f64);
    let other = rest as f64 / total as f64;
    (total > 0).then_some(LatencyShares { queue, prefill, decode, other })
}

fn pool(records: &[Record], scenario: &Scenario, at: usize, name: &str) -> PoolResult {
    let sum = |of: fn(&PoolOutcome) -> u64| {
        records.iter().filter_map(|r| r.outcome.pools.get(at)).map(of).sum()
    };
    let outcome = |r: &Record| r.outcome.pools.get(at).cloned();
    let share = |part: fn(PoolOutcome) -> Part, none| {
        ratio(&parts(records, outcome, part), none).held_within(0.0, 1.0)
    };
    let busy: Vec<Part> = records
        .iter()
        .filter_map(|r| {
            let pool = r.outcome.pools.get(at)?;
            Some((
                pool.measured.busy as i128,
                i128::from(pool.replicas) * i128::from(r.outcome.measured.0),
            ))
        })
        .collect();
    let gpu_ps: u128 =
        records.iter().filter_map(|r| r.outcome.pools.get(at)).map(|p| p.gpu_time).sum();
    PoolResult {
        name: name.into(),
        replicas: records.first().and_then(outcome).map_or(0, |p| p.replicas),
        utilisation: ratio(&busy, "no time was measured").held_within(0.0, 1.0),
        kv_usage_mean: share(
            |p| (p.kv_used_samples.into(), p.kv_total_samples.into()),
            "no window ended in the measured time",
        ),
        running_mean: ratio(
            &parts(records, outcome, |p| (p.running_samples.into(), p.samples.into())),
            "no window ended in the measured time",
        )
        .held_within(0.0, f64::INFINITY),
        preemptions: sum(|p| p.measured.preemptions),
        prefix_hit_ratio: share(
            |p| (p.measured.hit_tokens.into(), p.measured.prompt_tokens.into()),
            "no request was admitted",
        ),
        prefix_hit_ratio_per_request: share(
            |p| (p.measured.hit_ppm.into(), i128::from(p.measured.admitted) * 1_000_000),
            "no request was admitted",
        ),
        evictions: sum(|p| p.measured.evictions),
        gpu_hours: gpu_ps as f64 / PS_PER_SEC as f64 / 3_600.0 / records.len() as f64,
        breaker: work::breaker(
            scenario,
            Backend::Pool(PoolId(at as u32)),
            records
                .iter()
                .filter_map(|r| r.outcome.pools.get(at))
                .map(|pool| (pool.breaker_opens, pool.breaker_rejected)),
        ),
    }
}

/// In the order a reader should meet them: what voids the result first.
fn warnings<'a>(
    replications: &Replications,
    tasks: impl Iterator<Item = &'a TaskResult>,
    verdict: &Option<Verdict>,
) -> Vec<Warning> {
    let count = replications.records.len() as u32;
    let mut all: Vec<Warning> = Vec::new();
    let audits = replications.records.iter().enumerate();
    all.extend(audits.filter_map(|(at, record)| {
        let finding = record.outcome.audit.first()?.clone();
        Some(Warning::AuditFailed { replication: at as u32, finding })
    }));
    match verdict {
        Some(Verdict::Unstable) => all.push(Warning::Unstable),
        Some(Verdict::Metastable) => all.push(Warning::Metastable),
        None => all.push(Warning::StabilityNotJudged),
        Some(Verdict::Stable) => {}
    }
    match &replications.stopped {
        StopReason::Halted(Halt::Interrupted) => all.push(Warning::Interrupted { finished: count }),
        StopReason::Halted(Halt::Limit(limit)) => {
            all.push(Warning::LimitReached { finished: count, limit: limit.clone() });
        }
        StopReason::PrecisionNotReached(widest) => {
            all.push(Warning::PrecisionNotReached { replications: count, widest: widest.clone() })
        }
        _ => {}
    }
    match replications.warm_up {
        WarmUp::AtBound(_) => all.push(Warning::RunTooShort),
        WarmUp::TooFewWindows => all.push(Warning::WarmUpNotJudged),
        WarmUp::Terminating | WarmUp::Found(_) => {}
    }
    if count == 1 {
        all.push(Warning::SingleReplication);
    }
    for task in tasks {
        all.extend(task_warnings(task));
    }
    all
}

fn task_warnings(task: &TaskResult) -> Vec<Warning> {
    let values = task.histogram.count();
    if values == 0 {
        return vec![Warning::NothingFinished { task: task.name.clone() }];
    }
    let quantiles = [("p50", 0.50), ("p90", 0.90), ("p95", 0.95), ("p99", 0.99)];
    quantiles
        .into_iter()
        .map(|(name, p)| (name, values_needed(p)))
        .filter(|&(_, needed)| values < needed)
        .map(|(name, needed)| Warning::QuantileNotSupported {
            metric: format!("{}.{name}_latency", task.name),
            values,
            needed,
        })
        .collect()
}
