//! What a run says: plain data, the input of every report.
//!
//! Definitions, the same everywhere:
//! * counts are sums over all replications; money and GPU hours are means per replication;
//! * a *pooled* estimate treats the values of all replications as one population (what a
//!   promise such as "p95 below 6 s" means), and its interval is the jackknife over replications
//!   with Student's t (Miller, "The jackknife: a review", Biometrika 61, 1974);
//! * a ratio is the ratio of sums over replications, with the same interval;
//! * "ended" means succeeded, failed, rejected or abandoned;
//! * a day is 24 h, a month 30.4375 days (a twelfth of 365.25).
//!
//! Deliberately absent: names of files, hashes, wording and rounding, which belong to reports.

use crate::estimate::{Distribution, Estimate};
use crate::objectives::ObjectiveResult;
use crate::replicate::StopReason;
use crate::stability::Stability;
use crate::warnings::Warning;
use sim::metrics::{Histogram, Series};
use sim::units::{Money, Span};

/// Everything one experiment found.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    /// Seed of all replications.
    pub seed: u64,
    /// Replications that count, numbered from 0 without gaps.
    pub replications: u32,
    /// Why no more were run.
    pub stopped: StopReason,
    /// Length of one run, warm-up included.
    pub horizon: Span,
    /// Removed from the start of each run.
    pub warm_up: Span,
    /// Time measured in each replication: horizon minus warm-up.
    pub measured: Span,
    /// One per `Scenario::tasks`, in that order.
    pub tasks: Vec<TaskResult>,
    /// One per `Scenario::models`, in that order.
    pub models: Vec<ModelResult>,
    /// One per `Scenario::pools`, in that order.
    pub pools: Vec<PoolResult>,
    /// What it costs.
    pub spend: SpendResult,
    /// What it earns.
    pub margin: Margin,
    /// Whether the backlog stays bounded.
    pub stability: Stability,
    /// One per objective asked for, in that order.
    pub objectives: Vec<ObjectiveResult>,
    /// What the reader should know before using a number.
    pub warnings: Vec<Warning>,
    /// The whole system, window by window, summed over replications (divide counts by
    /// [`RunResult::replications`]); warm-up and drain included.
    pub series: Series,
    /// Events handled, all replications.
    pub events: u64,
    /// Each replication's event-log hash, by index: equal hashes, equal runs.
    pub log_hashes: Vec<u64>,
}

/// How many tasks of one kind ended how, summed over replications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TaskCounts {
    /// Tasks that began.
    pub arrived: u64,
    /// Ended well.
    pub succeeded: u64,
    /// Ended in an error.
    pub failed: u64,
    /// Refused on arrival.
    pub rejected: u64,
    /// Given up by the client.
    pub abandoned: u64,
    /// Unfinished when a run was stopped.
    pub in_flight: u64,
    /// Succeeded within the latency SLO (all that succeeded when there is none).
    pub within_slo: u64,
}

/// One kind of task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskResult {
    /// Name in the scenario.
    pub name: String,
    /// Sums over replications.
    pub counts: TaskCounts,
    /// Seconds from arrival to end, succeeded tasks, pooled.
    pub latency: Distribution,
    /// `succeeded / ended`.
    pub success_rate: Estimate,
    /// `within SLO / ended`: a task that fails or is refused misses its SLO. Absent without SLO.
    pub slo_attainment: Estimate,
    /// Tasks that succeeded within their SLO per second of measured time.
    pub goodput: Estimate,
    /// Each replication's own p95 in seconds, by index; a cross-check of the pooled one.
    pub p95_by_replication: Vec<Option<f64>>,
    /// The pooled latencies themselves, for charts and tables.
    pub histogram: Histogram,
}

/// The calls to one model. Times are in seconds and pooled.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelResult {
    /// Name in the scenario.
    pub name: String,
    /// Calls that ended, summed over replications.
    pub calls: u64,
    /// Attempts those took.
    pub attempts: u64,
    /// Prompt tokens of finished calls.
    pub input_tokens: u64,
    /// Output tokens of finished calls.
    pub output_tokens: u64,
    /// Time to first token.
    pub ttft: Distribution,
    /// Mean time per output token after the first, one value per call.
    pub tpot: Distribution,
    /// End to end.
    pub e2e: Distribution,
    /// From arrival at the engine to the iteration that first computes it.
    pub queue: Distribution,
    /// From leaving the queue to the first token.
    pub prefill: Distribution,
    /// From the first to the last token.
    pub decode: Distribution,
    /// What the mean end-to-end time is made of.
    pub drivers: Option<LatencyShares>,
    /// The pooled times to first token, for charts and tables.
    pub ttft_histogram: Histogram,
    /// The pooled times per output token.
    pub tpot_histogram: Histogram,
}

/// Shares of the total end-to-end time of all calls; they sum to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyShares {
    /// Waiting in an engine's queue.
    pub queue: f64,
    /// Computing the prompt, to the first token.
    pub prefill: f64,
    /// Writing the rest.
    pub decode: f64,
    /// Everything else: earlier attempts, the way to the engine and back.
    pub other: f64,
}

/// One pool of replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolResult {
    /// Name in the scenario.
    pub name: String,
    /// Replicas rented.
    pub replicas: u64,
    /// Share of the replicas' measured time in which an iteration ran.
    pub utilisation: Estimate,
    /// KV blocks in use over KV blocks there are, mean over window ends.
    pub kv_usage_mean: Estimate,
    /// Requests running on a replica, mean over window ends of the measured time.
    pub running_mean: Estimate,
    /// Preemptions, summed over replications.
    pub preemptions: u64,
    /// Prompt tokens served from the prefix cache over prompt tokens admitted.
    pub prefix_hit_ratio: Estimate,
    /// Mean over requests of each request's own hit ratio.
    pub prefix_hit_ratio_per_request: Estimate,
    /// Cached blocks reused for other content, summed over replications.
    pub evictions: u64,
    /// GPU hours rented, mean per replication.
    pub gpu_hours: f64,
}

/// What it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct SpendResult {
    /// Mean per replication, truncated to the pico-dollar; the sum of `by`.
    pub total: Money,
    /// Per 24 h of measured time.
    pub per_day: Money,
    /// Per 30.4375 days of measured time.
    pub per_month: Money,
    /// The mean of `per_day` in dollars with its t interval over replications.
    pub per_day_usd: Estimate,
    /// The mean of `per_month` in dollars, likewise.
    pub per_month_usd: Estimate,
    /// Dollars of spend over tasks of all kinds that ended well in the measured time.
    pub per_successful_task_usd: Estimate,
    /// `total` by cause.
    pub by: SpendBy,
}

/// Spend by cause, mean per replication. A cause the scenario does not have costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SpendBy {
    /// GPUs rented.
    pub gpu: Money,
    /// Tokens bought from hosted APIs.
    pub tokens: Money,
    /// Tool calls.
    pub tools: Money,
    /// People checking answers.
    pub human_review: Money,
}

/// What it earns: the value of all successful tasks minus all spend.
#[derive(Clone, Debug, PartialEq)]
pub struct Margin {
    /// Dollars per successful task: mean value minus cost per successful task.
    pub per_task_usd: Estimate,
    /// Per 30.4375 days of measured time; `None` unless every kind of task has a value (the
    /// reason is in `per_task_usd`).
    pub per_month: Option<Money>,
}
