//! The full record of a run as one JSON object, `surgeline.run/1`.
//!
//! Meaning, beside the names: counts are sums over all replications; money, `gpu_hours` and
//! `simulated_seconds` are per replication; a month is 30.4375 days. Totals of money are decimal
//! strings with every digit down to the pico-dollar (at least two decimals), so nothing is
//! rounded; ratios of money are estimates and therefore numbers. Other numbers are the shortest
//! text that reads back as the same double.
//!
//! Invariants: the keys and their order are fixed by the structs here, whatever features
//! `serde_json` is built with; a value that is absent is `null`, and the object that holds it has
//! a `reason`; an event-log hash is a string, because a double cannot hold it.
//!
//! Deliberately absent: histograms and time series, which go into tables of their own (the digest
//! covers them).

use crate::digest::result_sha256;
use crate::format::dollars_exact;
use crate::report::Report;
use experiments::{
    Distribution, Estimate, LatencyShares, ModelResult, ObjectiveResult, PoolResult, RunResult,
    StopReason, TaskResult, Verdict,
};
use serde::{Serialize, Serializer};

/// Name and version of the shape.
pub const SCHEMA: &str = "surgeline.run/1";

/// The document, indented and with a newline at the end.
#[must_use]
pub fn render(report: &Report<'_>) -> String {
    let mut out = text(&Document::of(report), true);
    out.push('\n');
    out
}

/// Any of our documents as text.
pub(crate) fn text(document: &impl Serialize, indented: bool) -> String {
    let text = if indented {
        serde_json::to_string_pretty(document)
    } else {
        serde_json::to_string(document)
    };
    // Strings as keys, plain numbers and no input or output: nothing here can fail.
    text.unwrap_or_default()
}

/// A JSON object whose keys keep the order of the scenario.
struct Named<'a, T>(Vec<(&'a str, T)>);

impl<T: Serialize> Serialize for Named<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: &'a str,
    scenario: Scenario<'a>,
    result_sha256: String,
    #[serde(flatten)]
    results: Results<'a>,
    notes: &'a [String],
    provenance: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Scenario<'a> {
    name: &'a str,
    question: Option<&'a str>,
    sha256: &'a str,
}

#[derive(Serialize)]
struct Row<'a> {
    key: &'a str,
    value: &'a str,
    origin: &'a str,
}

impl<'a> Document<'a> {
    fn of(report: &'a Report<'a>) -> Document<'a> {
        let scenario = &report.scenario;
        Document {
            schema: SCHEMA,
            version: report.version,
            scenario: Scenario {
                name: &scenario.name,
                question: scenario.question.as_deref(),
                sha256: &scenario.sha256,
            },
            result_sha256: result_sha256(report.result),
            results: Results::of(report.result),
            notes: &report.notes,
            provenance: report
                .provenance
                .iter()
                .map(|row| Row { key: &row.key, value: &row.value, origin: &row.origin })
                .collect(),
        }
    }
}

/// Every result in the document: what the digest covers.
#[derive(Serialize)]
pub(crate) struct Results<'a> {
    seed: u64,
    replications: u32,
    stopped: Stopped<'a>,
    simulated_seconds: f64,
    warm_up_seconds: f64,
    measured_seconds: f64,
    events: u64,
    log_hashes: Vec<String>,
    tasks: Named<'a, Task<'a>>,
    calls: Named<'a, Calls<'a>>,
    pools: Named<'a, Pool<'a>>,
    spend: Spend<'a>,
    margin: Margin<'a>,
    stability: Stability<'a>,
    objectives: Vec<Objective<'a>>,
    warnings: Vec<Warning>,
}

impl<'a> Results<'a> {
    pub(crate) fn of(result: &'a RunResult) -> Results<'a> {
        Results {
            seed: result.seed,
            replications: result.replications,
            stopped: Stopped::of(&result.stopped),
            simulated_seconds: result.horizon.as_secs_f64(),
            warm_up_seconds: result.warm_up.as_secs_f64(),
            measured_seconds: result.measured.as_secs_f64(),
            events: result.events,
            log_hashes: result.log_hashes.iter().map(|hash| format!("{hash:016x}")).collect(),
            tasks: Named(result.tasks.iter().map(|t| (t.name.as_str(), Task::of(t))).collect()),
            calls: Named(result.models.iter().map(|m| (m.name.as_str(), Calls::of(m))).collect()),
            pools: Named(result.pools.iter().map(|p| (p.name.as_str(), Pool::of(p))).collect()),
            spend: Spend::of(result),
            margin: Margin::of(result),
            stability: Stability::of(result),
            objectives: result.objectives.iter().map(Objective::of).collect(),
            warnings: result.warnings.iter().map(Warning::of).collect(),
        }
    }
}

/// Name of a reason for stopping, for scripts.
fn stop_code(stopped: &StopReason) -> &'static str {
    match stopped {
        StopReason::Fixed => "fixed",
        StopReason::PrecisionReached => "precision-reached",
        StopReason::PrecisionNotReached(_) => "precision-not-reached",
        StopReason::Unstable => "unstable",
        StopReason::Interrupted => "interrupted",
    }
}

#[derive(Serialize)]
struct Stopped<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    widest: Option<&'a str>,
}

impl<'a> Stopped<'a> {
    fn of(stopped: &'a StopReason) -> Stopped<'a> {
        let widest = match stopped {
            StopReason::PrecisionNotReached(widest) => Some(widest.as_str()),
            _ => None,
        };
        Stopped { code: stop_code(stopped), widest }
    }
}

#[derive(Serialize)]
struct Number<'a> {
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Number<'a> {
    fn of(estimate: &'a Estimate) -> Number<'a> {
        let Estimate { value, low, high, reason } = estimate;
        Number { value: *value, low: *low, high: *high, reason: reason.as_deref() }
    }
}

#[derive(Serialize)]
struct Times<'a> {
    count: u64,
    mean: Number<'a>,
    p50: Number<'a>,
    p90: Number<'a>,
    p95: Number<'a>,
    p99: Number<'a>,
}

impl<'a> Times<'a> {
    fn of(times: &'a Distribution) -> Times<'a> {
        Times {
            count: times.count,
            mean: Number::of(&times.mean),
            p50: Number::of(&times.p50),
            p90: Number::of(&times.p90),
            p95: Number::of(&times.p95),
            p99: Number::of(&times.p99),
        }
    }
}

#[derive(Serialize)]
struct Task<'a> {
    arrived: u64,
    succeeded: u64,
    failed: u64,
    rejected: u64,
    abandoned: u64,
    in_flight: u64,
    within_slo: u64,
    latency_s: Times<'a>,
    p95_by_replication_s: &'a [Option<f64>],
    success_rate: Number<'a>,
    slo_attainment: Number<'a>,
    goodput_per_s: Number<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl<'a> Task<'a> {
    fn of(task: &'a TaskResult) -> Task<'a> {
        let counts = task.counts;
        let gap = task.p95_by_replication.iter().any(Option::is_none);
        Task {
            arrived: counts.arrived,
            succeeded: counts.succeeded,
            failed: counts.failed,
            rejected: counts.rejected,
            abandoned: counts.abandoned,
            in_flight: counts.in_flight,
            within_slo: counts.within_slo,
            latency_s: Times::of(&task.latency),
            p95_by_replication_s: &task.p95_by_replication,
            success_rate: Number::of(&task.success_rate),
            slo_attainment: Number::of(&task.slo_attainment),
            goodput_per_s: Number::of(&task.goodput),
            reason: gap.then_some("no task succeeded in some replication"),
        }
    }
}

#[derive(Serialize)]
struct Shares {
    queue: f64,
    prefill: f64,
    decode: f64,
    other: f64,
}

#[derive(Serialize)]
struct Calls<'a> {
    count: u64,
    attempts: u64,
    input_tokens: u64,
    output_tokens: u64,
    ttft_s: Times<'a>,
    tpot_s: Times<'a>,
    e2e_s: Times<'a>,
    queue_s: Times<'a>,
    prefill_s: Times<'a>,
    decode_s: Times<'a>,
    drivers: Option<Shares>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl<'a> Calls<'a> {
    fn of(model: &'a ModelResult) -> Calls<'a> {
        let shares = |s: LatencyShares| {
            let LatencyShares { queue, prefill, decode, other } = s;
            Shares { queue, prefill, decode, other }
        };
        Calls {
            count: model.calls,
            attempts: model.attempts,
            input_tokens: model.input_tokens,
            output_tokens: model.output_tokens,
            ttft_s: Times::of(&model.ttft),
            tpot_s: Times::of(&model.tpot),
            e2e_s: Times::of(&model.e2e),
            queue_s: Times::of(&model.queue),
            prefill_s: Times::of(&model.prefill),
            decode_s: Times::of(&model.decode),
            drivers: model.drivers.map(shares),
            reason: model.drivers.is_none().then_some("no time passed in any call"),
        }
    }
}

#[derive(Serialize)]
struct Pool<'a> {
    replicas: u64,
    utilisation: Option<f64>,
    kv_usage_mean: Option<f64>,
    running_mean: Option<f64>,
    preemptions: u64,
    prefix_hit_ratio: Option<f64>,
    prefix_hit_ratio_per_request: Option<f64>,
    evictions: u64,
    gpu_hours: f64,
    intervals: PoolIntervals<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The ratios above once more, as estimates.
#[derive(Serialize)]
struct PoolIntervals<'a> {
    utilisation: Number<'a>,
    kv_usage_mean: Number<'a>,
    running_mean: Number<'a>,
    prefix_hit_ratio: Number<'a>,
    prefix_hit_ratio_per_request: Number<'a>,
}

impl<'a> Pool<'a> {
    fn of(pool: &'a PoolResult) -> Pool<'a> {
        let (tokens, requests) = (&pool.prefix_hit_ratio, &pool.prefix_hit_ratio_per_request);
        let running = &pool.running_mean;
        let all = [&pool.utilisation, &pool.kv_usage_mean, running, tokens, requests];
        let absent = all.into_iter().find(|ratio| ratio.value.is_none());
        Pool {
            replicas: pool.replicas,
            utilisation: pool.utilisation.value,
            kv_usage_mean: pool.kv_usage_mean.value,
            running_mean: running.value,
            preemptions: pool.preemptions,
            prefix_hit_ratio: tokens.value,
            prefix_hit_ratio_per_request: requests.value,
            evictions: pool.evictions,
            gpu_hours: pool.gpu_hours,
            intervals: PoolIntervals {
                utilisation: Number::of(&pool.utilisation),
                kv_usage_mean: Number::of(&pool.kv_usage_mean),
                running_mean: Number::of(running),
                prefix_hit_ratio: Number::of(tokens),
                prefix_hit_ratio_per_request: Number::of(requests),
            },
            reason: absent.and_then(|ratio| ratio.reason.as_deref()),
        }
    }
}

#[derive(Serialize)]
struct Spend<'a> {
    total_usd: String,
    per_day_usd: String,
    per_month_usd: String,
    per_day_estimate_usd: Number<'a>,
    per_month_estimate_usd: Number<'a>,
    per_successful_task_usd: Number<'a>,
    by: SpendBy,
}

#[derive(Serialize)]
struct SpendBy {
    gpu: String,
    tokens: String,
    tools: String,
    human_review: String,
}

impl<'a> Spend<'a> {
    fn of(result: &'a RunResult) -> Spend<'a> {
        let (spend, by) = (&result.spend, result.spend.by);
        Spend {
            total_usd: dollars_exact(spend.total),
            per_day_usd: dollars_exact(spend.per_day),
            per_month_usd: dollars_exact(spend.per_month),
            per_day_estimate_usd: Number::of(&spend.per_day_usd),
            per_month_estimate_usd: Number::of(&spend.per_month_usd),
            per_successful_task_usd: Number::of(&spend.per_successful_task_usd),
            by: SpendBy {
                gpu: dollars_exact(by.gpu),
                tokens: dollars_exact(by.tokens),
                tools: dollars_exact(by.tools),
                human_review: dollars_exact(by.human_review),
            },
        }
    }
}

#[derive(Serialize)]
struct Margin<'a> {
    per_task_usd: Number<'a>,
    per_month_usd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Margin<'a> {
    fn of(result: &'a RunResult) -> Margin<'a> {
        let margin = &result.margin;
        let reason = margin.per_task_usd.reason.as_deref().unwrap_or("not computed");
        Margin {
            per_task_usd: Number::of(&margin.per_task_usd),
            per_month_usd: margin.per_month.map(dollars_exact),
            reason: margin.per_month.is_none().then_some(reason),
        }
    }
}

#[derive(Serialize)]
struct Stability<'a> {
    verdict: Option<&'static str>,
    why: &'a str,
    demand_per_s: Option<f64>,
    capacity_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Stability<'a> {
    fn of(result: &'a RunResult) -> Stability<'a> {
        let stability = &result.stability;
        let reason = match stability.verdict {
            None => Some(stability.why.as_str()),
            Some(Verdict::Stable) => Some("stable: the capacity was not reached"),
            Some(Verdict::Unstable) => None,
        };
        let absent = stability.demand_per_s.is_none() || stability.capacity_per_s.is_none();
        Stability {
            verdict: stability.verdict.map(|verdict| match verdict {
                Verdict::Stable => "stable",
                Verdict::Unstable => "unstable",
            }),
            why: &stability.why,
            demand_per_s: stability.demand_per_s,
            capacity_per_s: stability.capacity_per_s,
            reason: reason.filter(|_| absent),
        }
    }
}

#[derive(Serialize)]
struct Objective<'a> {
    name: &'a str,
    target: &'a str,
    target_value: f64,
    unit: &'static str,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    met: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Objective<'a> {
    fn of(judged: &'a ObjectiveResult) -> Objective<'a> {
        let (objective, estimate) = (&judged.objective, &judged.estimate);
        let undecided = judged.met.is_none().then_some("the interval straddles the target");
        Objective {
            name: &objective.name,
            target: &objective.text,
            target_value: objective.target,
            unit: objective.metric.unit(),
            value: estimate.value,
            low: estimate.low,
            high: estimate.high,
            met: judged.met,
            reason: estimate.reason.as_deref().or(undecided),
        }
    }
}

#[derive(Serialize)]
struct Warning {
    code: &'static str,
    message: String,
    advice: &'static str,
}

impl Warning {
    fn of(warning: &experiments::Warning) -> Warning {
        let (code, message) = (warning.code(), warning.message());
        Warning { code, message, advice: warning.advice() }
    }
}
