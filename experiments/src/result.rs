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

use crate::bill::TokenSpend;
use crate::drivers::TaskDrivers;
use crate::estimate::{Distribution, Estimate};
use crate::objectives::ObjectiveResult;
use crate::replicate::StopReason;
use crate::stability::Stability;
use crate::storm::Amplification;
use crate::tenants::TenantGroup;
use crate::warnings::Warning;
use crate::work::{BreakerCounts, ModelWork, RemoteResult, TaskWork, ToolResult};
use sim::ids::TaskId;
use sim::metrics::{Histogram, Series};
use sim::price::SpendLimit;
use sim::units::{Money, Span};
use std::ops::AddAssign;

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
    /// One per kind of task that is not merely a part of others, in the order of
    /// `Scenario::tasks`.
    pub tasks: Vec<TaskResult>,
    /// One per `Scenario::models`, in that order.
    pub models: Vec<ModelResult>,
    /// One per `Scenario::pools`, in that order.
    pub pools: Vec<PoolResult>,
    /// One per `Scenario::remotes`, in that order.
    pub remotes: Vec<RemoteResult>,
    /// One per `Scenario::tools`, in that order.
    pub tools: Vec<ToolResult>,
    /// Tenants by the sources that bring them.
    pub tenants: Vec<TenantGroup>,
    /// What it costs.
    pub spend: SpendResult,
    /// The limits that its policy sets to metered spend, as `Scenario::spend_limits`.
    pub spend_limits: Vec<SpendLimit>,
    /// What the cost of a successful task is made of; absent where only GPUs cost anything and
    /// all tasks are one plain call.
    pub cost_drivers: Option<CostDrivers>,
    /// What it earns.
    pub margin: Margin,
    /// Whether the backlog stays bounded.
    pub stability: Stability,
    /// How far work is multiplied; absent where all tasks are one plain call.
    pub amplification: Option<Amplification>,
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
    /// Place in `Scenario::tasks`, and so in the parts of the series.
    pub id: TaskId,
    /// Latency up to which a task counts as within its SLO.
    pub latency_slo: Option<Span>,
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
    /// What this kind of task costs and earns.
    pub money: TaskMoney,
    /// What its tasks did; absent for tasks of one plain call.
    pub work: Option<TaskWork>,
    /// What their latency is made of; likewise.
    pub drivers: Option<TaskDrivers>,
}

/// What one kind of task costs and earns. Its cost is what was metered for it, and its share of
/// what is rented: of GPUs by the time its attempts spent in engines, of provisioned capacity by
/// the time they spent there; by tasks that arrived where nobody spent any.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TaskMoney {
    /// Tokens, tools and observation, mean per replication.
    pub metered: Money,
    /// The part of it whose results nobody used.
    pub wasted: Money,
    /// Its share of what is rented, mean per replication.
    pub rented: Money,
    /// Dollars of cost per task of this kind that ended well in the measured time.
    pub cost_per_success_usd: Estimate,
    /// Dollars of value, or of what plans brought in for it, minus harm minus cost, likewise.
    pub margin_per_task_usd: Estimate,
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
    /// Attempts refused because there was too much to do: beyond a rate limit, or where all was full.
    pub turned_away: u64,
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
    /// What its guards did; absent where all tasks are one plain call.
    pub work: Option<ModelWork>,
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
    /// Its circuit breakers; absent where no model that it serves has one.
    pub breaker: Option<BreakerCounts>,
}

/// What it costs.
#[derive(Clone, Debug, PartialEq, Default)]
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
    /// The part of it that paid for metered attempts and uses whose results nobody used, mean per
    /// replication.
    pub wasted: Money,
}

/// Spend by cause, mean per replication. A cause the scenario does not have costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SpendBy {
    /// GPUs rented.
    pub gpu: Money,
    /// Capacity of others rented by the hour.
    pub provisioned: Money,
    /// Tokens and calls paid by use.
    pub tokens: Money,
    /// Tool calls.
    pub tools: Money,
    /// Searches.
    pub retrieval: Money,
    /// Safety checks that are no model calls.
    pub safety_checks: Money,
    /// Post-processing.
    pub formatting: Money,
    /// People checking answers.
    pub human_review: Money,
    /// Traces and logs of tasks.
    pub observability: Money,
}

/// Spend by item: what each part of the bill bought, and whether anybody used it. One replication
/// or, in a [`CostDrivers`], all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Items {
    /// Tokens and call fees of metered attempts whose answers were used.
    pub tokens: TokenSpend,
    /// Metered attempts whose answers nobody used: failed, timed out, overtaken, abandoned.
    pub wasted_attempts: Money,
    /// Uses of tools, retrieval, checks and formatting whose result was used.
    pub tools: Money,
    /// Human reviews that were used.
    pub human_review: Money,
    /// Uses of either that failed or were stopped.
    pub wasted_uses: Money,
    /// Traces and logs.
    pub observability: Money,
    /// GPUs while an iteration ran on their replica, for answers that were used.
    pub gpu_at_work: Money,
    /// The same for attempts whose answers nobody used: by the time at work of both.
    pub gpu_wasted: Money,
    /// GPUs rented and idle.
    pub gpu_idle: Money,
    /// Provisioned capacity by the share of its places taken (all of it where places are
    /// unlimited), for answers that were used.
    pub provisioned_at_work: Money,
    /// The same for the other attempts.
    pub provisioned_wasted: Money,
    /// The rest of it.
    pub provisioned_idle: Money,
}

/// What the cost per successful task is made of, twice: each list sums to the spend.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct CostDrivers {
    /// What was bought: dollars per successful task.
    pub items: Vec<CostPart>,
    /// Why it was bought: dollars per successful task.
    pub causes: Vec<CostPart>,
    /// What overlaps with these lists and is no part of their sum.
    pub beside: CostsBeside,
}

/// What is known of a cost without being a part of it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct CostsBeside {
    /// Calls that asked the caches of answers and found nothing, all replications together.
    pub answer_misses: u64,
    /// What they cost, if a call costs the mean of all: part of the rows of calls. In all
    /// replications together.
    pub answer_misses_cost: Money,
    /// Dollars of it per task that ended well in the measured time.
    pub answer_misses_per_task_usd: Estimate,
    /// Prompt tokens that our engines computed, all replications together.
    pub computed_tokens: u64,
    /// Those of them that were context, which the prefix cache did not have. Their GPU time is in
    /// the rows of calls and cannot be told apart.
    pub recomputed_tokens: u64,
}

/// A part of the cost per successful task.
#[derive(Clone, Debug, PartialEq)]
pub struct CostPart {
    /// Stable name for scripts, such as `output_tokens`.
    pub key: &'static str,
    /// In all replications together, exactly.
    pub amount: Money,
    /// Dollars per task that ended well in the measured time.
    pub per_successful_task_usd: Estimate,
}

/// What it earns: what all tasks bring in, minus what harmful ones cost, minus all spend.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Margin {
    /// Dollars over tasks of all kinds that ended well in the measured time.
    pub per_task_usd: Estimate,
    /// Per 30.4375 days of measured time; `None` unless it is known what every kind of task brings
    /// in, and where the backlog grows or the system is stuck: no month would be like this run.
    pub per_month: Option<Money>,
    /// Per 24 h of measured time, likewise.
    pub per_day: Option<Money>,
    /// Mean per replication, truncated to the pico-dollar, likewise.
    pub total: Option<Money>,
    /// The mean of `per_day` in dollars with its t interval over replications.
    pub per_day_usd: Estimate,
    /// The mean of `per_month` in dollars, likewise.
    pub per_month_usd: Estimate,
    /// What harmful tasks cost, mean per replication; in the margin, not in the spend.
    pub harm: Money,
    /// Where the money comes from, mean per replication; nothing where there is no margin.
    pub revenue: Revenue,
}

/// What tasks bring in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Revenue {
    /// The values of those that ended well in the measured time.
    pub values: Money,
    /// What tenants paid, where tasks state no value.
    pub plans: Money,
}

impl Revenue {
    /// Both together.
    #[must_use]
    pub fn total(self) -> Money {
        self.values + self.plans
    }
}

impl SpendBy {
    /// Every cause with its stable name, in the order of reports.
    #[must_use]
    pub fn parts(self) -> [(&'static str, Money); 9] {
        [
            ("gpu", self.gpu),
            ("provisioned", self.provisioned),
            ("tokens", self.tokens),
            ("tools", self.tools),
            ("retrieval", self.retrieval),
            ("safety_checks", self.safety_checks),
            ("formatting", self.formatting),
            ("human_review", self.human_review),
            ("observability", self.observability),
        ]
    }

    /// All causes together.
    #[must_use]
    pub fn total(self) -> Money {
        sum(self.parts().map(|(_, amount)| amount))
    }

    /// The same with each amount changed.
    pub(crate) fn map(self, to: impl Fn(Money) -> Money) -> SpendBy {
        SpendBy {
            gpu: to(self.gpu),
            provisioned: to(self.provisioned),
            tokens: to(self.tokens),
            tools: to(self.tools),
            retrieval: to(self.retrieval),
            safety_checks: to(self.safety_checks),
            formatting: to(self.formatting),
            human_review: to(self.human_review),
            observability: to(self.observability),
        }
    }
}

impl AddAssign for SpendBy {
    fn add_assign(&mut self, other: SpendBy) {
        self.gpu += other.gpu;
        self.provisioned += other.provisioned;
        self.tokens += other.tokens;
        self.tools += other.tools;
        self.retrieval += other.retrieval;
        self.safety_checks += other.safety_checks;
        self.formatting += other.formatting;
        self.human_review += other.human_review;
        self.observability += other.observability;
    }
}

impl Items {
    /// Every item with its stable name; they sum to the spend.
    #[must_use]
    pub fn parts(&self) -> Vec<(&'static str, Money)> {
        let mut all = self.tokens.parts().to_vec();
        all.extend([
            ("wasted_attempts", self.wasted_attempts),
            ("tools", self.tools),
            ("human_review", self.human_review),
            ("wasted_uses", self.wasted_uses),
            ("observability", self.observability),
            ("gpu_at_work", self.gpu_at_work),
            ("gpu_wasted", self.gpu_wasted),
            ("gpu_idle", self.gpu_idle),
            ("provisioned_at_work", self.provisioned_at_work),
            ("provisioned_wasted", self.provisioned_wasted),
            ("provisioned_idle", self.provisioned_idle),
        ]);
        all
    }
}

fn sum<const N: usize>(amounts: [Money; N]) -> Money {
    Money(amounts.iter().map(|amount| amount.0).sum())
}
