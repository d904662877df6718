//! Tasks, calls, pools, backends and tools for the JSON document.
//!
//! Invariant: what a scenario does not have leaves no key behind.

use super::{Named, Number, Times};
use crate::format::dollars_exact;
use crate::names::{DRIVER_KEYS, ENDING_KEYS, FAILURE_KEYS, RUNG_KEYS, endings, kind, tool_kind};
use experiments::{
    BreakerCounts, LatencyShares, ModelResult, ModelWork, PoolResult, RemoteResult, TaskDrivers,
    TaskMoney, TaskResult, TaskWork, ToolResult,
};
use serde::Serialize;
use sim::backends::MeterReading;
use sim::resilience::FAILURES;
use sim::tasks::DRIVERS;
use sim::units::Span;

#[derive(Serialize)]
pub(super) struct Task<'a> {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<Work<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drivers: Option<Drivers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    money: Option<Money<'a>>,
}

impl<'a> Task<'a> {
    pub(super) fn of(task: &'a TaskResult) -> Task<'a> {
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
            work: task.work.as_ref().map(Work::of),
            drivers: task.drivers.as_ref().map(Drivers::of),
            money: task.work.as_ref().map(|_| Money::of(&task.money)),
        }
    }

    /// As a task that no policy could act on.
    pub(super) fn leave_out_work(&mut self) {
        (self.work, self.drivers, self.money) = (None, None, None);
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
pub(super) struct Calls<'a> {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    guards: Option<Guards<'a>>,
}

impl<'a> Calls<'a> {
    pub(super) fn of(model: &'a ModelResult) -> Calls<'a> {
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
            guards: model.work.as_ref().map(Guards::of),
        }
    }

    /// As a model that nothing guards.
    pub(super) fn leave_out_guards(&mut self) {
        self.guards = None;
    }
}

#[derive(Serialize)]
pub(super) struct Pool<'a> {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<Breaker>,
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
    pub(super) fn of(pool: &'a PoolResult) -> Pool<'a> {
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
            breaker: pool.breaker.map(Breaker::of),
        }
    }

    /// Without a circuit breaker that never acted.
    pub(super) fn leave_out_idle(&mut self) {
        self.breaker = self.breaker.take().filter(Breaker::acted);
    }
}

/// What the tasks of one kind did, by names.
#[derive(Serialize)]
struct Work<'a> {
    endings: Named<'static, u64>,
    submissions: u64,
    calls: u64,
    by_rule: u64,
    escalations: u64,
    /// Left out where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_answers: Option<u64>,
    exact_hits: u64,
    semantic_hits: u64,
    wrong_hits: u64,
    actions_blocked: u64,
    rungs: Named<'static, u64>,
    submissions_per_task: Number<'a>,
    calls_per_submission: Number<'a>,
}

impl<'a> Work<'a> {
    fn of(work: &'a TaskWork) -> Work<'a> {
        let named = |keys: &[&'static str], counts: &[u64]| {
            Named(keys.iter().copied().zip(counts.iter().copied()).collect())
        };
        Work {
            endings: named(&ENDING_KEYS, &endings(&work.endings)),
            submissions: work.submissions,
            calls: work.calls,
            by_rule: work.by_rule,
            escalations: work.escalations,
            kept_answers: (work.kept_answers > 0).then_some(work.kept_answers),
            exact_hits: work.exact_hits,
            semantic_hits: work.semantic_hits,
            wrong_hits: work.wrong_hits,
            actions_blocked: work.actions_blocked,
            rungs: named(&RUNG_KEYS, &work.rungs),
            submissions_per_task: Number::of(&work.submissions_per_task),
            calls_per_submission: Number::of(&work.calls_per_submission),
        }
    }
}

/// Seconds by cause; each list sums to its latency, to the picosecond.
#[derive(Serialize)]
struct Drivers {
    mean_s: Named<'static, f64>,
    p95_s: Option<Named<'static, f64>>,
    p95_tasks: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Drivers {
    fn of(drivers: &TaskDrivers) -> Drivers {
        let named = |parts: &[Span; DRIVERS]| {
            Named(DRIVER_KEYS.into_iter().zip(parts.map(Span::as_secs_f64)).collect())
        };
        Drivers {
            mean_s: named(&drivers.mean),
            p95_s: drivers.p95.as_ref().map(named),
            p95_tasks: drivers.p95_tasks,
            reason: drivers.p95.is_none().then_some("the p95 is absent"),
        }
    }
}

#[derive(Serialize)]
struct Money<'a> {
    metered_usd: String,
    wasted_usd: String,
    rented_usd: String,
    per_successful_task_usd: Number<'a>,
    margin_per_task_usd: Number<'a>,
}

impl<'a> Money<'a> {
    fn of(money: &'a TaskMoney) -> Money<'a> {
        Money {
            metered_usd: dollars_exact(money.metered),
            wasted_usd: dollars_exact(money.wasted),
            rented_usd: dollars_exact(money.rented),
            per_successful_task_usd: Number::of(&money.cost_per_success_usd),
            margin_per_task_usd: Number::of(&money.margin_per_task_usd),
        }
    }
}

/// What the guards of a model did.
#[derive(Serialize)]
struct Guards<'a> {
    share: Number<'a>,
    attempts_per_answer: Number<'a>,
    failures: Named<'static, u64>,
    retries: u64,
    hedges: u64,
    fallbacks: u64,
    wasted_input_tokens: u64,
    wasted_output_tokens: u64,
}

fn failures(counts: &[u64; FAILURES]) -> Named<'static, u64> {
    Named(FAILURE_KEYS.into_iter().zip(*counts).collect())
}

impl<'a> Guards<'a> {
    fn of(work: &'a ModelWork) -> Guards<'a> {
        Guards {
            share: Number::of(&work.share),
            attempts_per_answer: Number::of(&work.attempts_per_answer),
            failures: failures(&work.failures),
            retries: work.retries,
            hedges: work.hedges,
            fallbacks: work.fallbacks,
            wasted_input_tokens: work.wasted_input_tokens,
            wasted_output_tokens: work.wasted_output_tokens,
        }
    }
}

#[derive(Serialize)]
struct Breaker {
    opens: u64,
    rejected: u64,
}

impl Breaker {
    fn of(counts: BreakerCounts) -> Breaker {
        Breaker { opens: counts.opens, rejected: counts.rejected }
    }

    fn acted(&self) -> bool {
        self.opens > 0 || self.rejected > 0
    }
}

#[derive(Serialize)]
struct Tokens {
    input: u64,
    cached_input: u64,
    cache_write: u64,
    output: u64,
}

impl Tokens {
    fn of(reading: &MeterReading) -> Tokens {
        Tokens {
            input: reading.input,
            cached_input: reading.cached_input,
            cache_write: reading.cache_write,
            output: reading.output,
        }
    }
}

/// A hosted, provisioned or device backend; money is per replication.
#[derive(Serialize)]
pub(super) struct Backend<'a> {
    kind: &'static str,
    attempts: u64,
    failed: u64,
    refused: Named<'static, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    utilisation: Option<Number<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    awake: Option<Number<'a>>,
    cold_starts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<Breaker>,
    tokens: Tokens,
    wasted_tokens: Tokens,
    spend_usd: String,
    token_spend_usd: Named<'static, String>,
}

impl<'a> Backend<'a> {
    pub(super) fn of(remote: &'a RemoteResult) -> Backend<'a> {
        let spend = remote.token_spend.parts();
        Backend {
            kind: kind(remote.kind),
            attempts: remote.attempts,
            failed: remote.failed,
            refused: failures(&remote.refused),
            utilisation: remote.utilisation.as_ref().map(Number::of),
            awake: remote.awake.as_ref().map(Number::of),
            cold_starts: remote.cold_starts,
            breaker: remote.breaker.map(Breaker::of),
            tokens: Tokens::of(&remote.tokens),
            wasted_tokens: Tokens::of(&remote.wasted),
            spend_usd: dollars_exact(remote.spend),
            token_spend_usd: Named(
                spend.into_iter().map(|(key, amount)| (key, dollars_exact(amount))).collect(),
            ),
        }
    }

    /// Without limits and a circuit breaker that never acted.
    pub(super) fn leave_out_idle(&mut self) {
        self.utilisation = None;
        self.awake = self.awake.take().filter(|awake| awake.value != Some(1.0));
        self.breaker = self.breaker.take().filter(Breaker::acted);
    }
}

#[derive(Serialize)]
pub(super) struct Tool<'a> {
    cost: &'static str,
    uses: u64,
    failed: u64,
    cache_hits: u64,
    time_s: Times<'a>,
    spend_usd: String,
    wasted_usd: String,
}

impl<'a> Tool<'a> {
    pub(super) fn of(tool: &'a ToolResult) -> Tool<'a> {
        Tool {
            cost: tool_kind(tool.cost),
            uses: tool.uses,
            failed: tool.failed,
            cache_hits: tool.cache_hits,
            time_s: Times::of(&tool.time),
            spend_usd: dollars_exact(tool.spend),
            wasted_usd: dollars_exact(tool.wasted),
        }
    }
}
