//! The results of one simulation: plain data, integer counts, mergeable across replications.

use crate::backends::MeterReading;
use crate::engine::EngineCounts;
use crate::ledger::Ledger;
use crate::metrics::{self, Histogram, Series};
use crate::price::{MONTH, Month};
use crate::resilience::{FAILURES, Failure};
use crate::tasks::DRIVERS;
use crate::units::{Money, Span};

/// Everything one replication produced.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Outcome {
    /// Measured time: horizon minus warm-up.
    pub measured: Span,
    /// One per `Scenario::tasks`.
    pub tasks: Vec<TaskOutcome>,
    /// One per `Scenario::models`.
    pub models: Vec<ModelOutcome>,
    /// One per `Scenario::pools`.
    pub pools: Vec<PoolOutcome>,
    /// One per `Scenario::remotes`.
    pub remotes: Vec<RemoteOutcome>,
    /// One per `Scenario::tools`.
    pub tools: Vec<ToolOutcome>,
    /// By the tenants' numbers; as many as had anything booked.
    pub tenants: Vec<TenantOutcome>,
    /// Quantities to be priced, and their price so far.
    pub ledger: Ledger,
    /// The system, window by window: the warm-up included, the drain left out.
    pub series: Series,
    /// Events handled.
    pub events: u64,
    /// Hash over every arrival, rejection and end with its instant (and an end's first token), in
    /// order.
    pub log_hash: u64,
    /// What the audit found wrong; empty in a correct simulation.
    pub audit: Vec<String>,
}

/// Counts and latency of one kind of task (those that arrived after warm-up).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TaskOutcome {
    /// Tasks that began.
    pub arrived: u64,
    /// Tasks that ended well.
    pub succeeded: u64,
    /// Tasks that ended in an error.
    pub failed: u64,
    /// Tasks refused on arrival.
    pub rejected: u64,
    /// Tasks whose client gave up.
    pub abandoned: u64,
    /// Tasks unfinished when the run was stopped.
    pub in_flight: u64,
    /// Succeeded tasks within their latency SLO (all of them when there is none).
    pub within_slo: u64,
    /// Tasks that ended well between the end of the warm-up and the horizon, whenever they
    /// arrived: what the fleet did in the time it is paid for.
    pub completed: u64,
    /// Tasks that did harm and ended in that time, and those whose work first did harm in that
    /// time when they had ended already, without their user.
    pub harmed: u64,
    /// From arrival to end, succeeded tasks.
    pub latency: Histogram,
    /// How they ended.
    pub endings: Endings,
    /// Submissions, the first of each task included.
    pub submissions: u64,
    /// Model calls, attempts not counted.
    pub calls: u64,
    /// What was answered, and so cost something.
    pub answered: Answered,
    /// Calls whose model a rule of the routing chose before they were made.
    pub by_rule: u64,
    /// Calls made again because of the confidence of an answer, by the model of such a rule.
    pub escalations: u64,
    /// Calls answered by what they had escalated from, because nobody after that answered.
    pub kept_answers: u64,
    /// Calls that a cache of answers may answer, whether there is one or not.
    pub cacheable: u64,
    /// Calls answered from the exact cache.
    pub exact_hits: u64,
    /// Calls answered from the semantic cache, the ladder's rung of cached answers left out.
    pub semantic_hits: u64,
    /// Those of them whose answer belongs to another question.
    pub wrong_hits: u64,
    /// Actions left undone because no check could say that they are safe.
    pub actions_blocked: u64,
    /// Uses of the ladder's rungs: shorter context, smaller model, cached answer, partial result,
    /// refine.
    pub rungs: [u64; 5],
    /// Tasks whose observation was paid for in the measured time.
    pub observed: u64,
    /// Metered cost (tokens, tools, observation) of the measured time.
    pub spend: Money,
    /// The part of it that paid for attempts and uses whose result nobody used.
    pub wasted: Money,
    /// Time its attempts spent in engines, picoseconds, booked when they leave in the measured time.
    pub engine_time: u128,
    /// Time they spent at capacity rented by the hour, likewise.
    pub provisioned_time: u128,
    /// What succeeded tasks waited for.
    pub drivers: Drivers,
}

/// What models and caches of answers answered, of tasks that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Answered {
    /// Answers of models, those of escalations, shadows and the background among them.
    pub calls: u64,
    /// Submissions with at least one answer, by a model or a cache.
    pub submissions: u64,
    /// Tasks with at least one.
    pub tasks: u64,
    /// Those of them that succeeded.
    pub successes: u64,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// With a right result and no harm.
    Success,
    /// With a wrong result.
    Wrong,
    /// It did harm.
    Harmful,
    /// A required step failed.
    Failed(Failure),
    /// A check found something that could not be mended.
    Caught,
    /// A budget was used up and no rung was left.
    OverBudget,
    /// The user was asked to narrow the question.
    Refined,
    /// A spend limit or a plan refused it.
    Refused,
    /// The user gave up.
    Abandoned,
}

/// Counts by ending.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Endings {
    /// With a right result and no harm.
    pub success: u64,
    /// With a wrong result.
    pub wrong: u64,
    /// With harm done.
    pub harmful: u64,
    /// By the failure of a required step, by kind of failure.
    pub failed: [u64; FAILURES],
    /// By a check.
    pub caught: u64,
    /// By a budget.
    pub over_budget: u64,
    /// By asking the user to narrow the question.
    pub refined: u64,
    /// By a spend limit or a plan.
    pub refused: u64,
    /// By the user.
    pub abandoned: u64,
}

impl Endings {
    /// Counts one more.
    pub fn count(&mut self, ending: Ending) {
        *match ending {
            Ending::Success => &mut self.success,
            Ending::Wrong => &mut self.wrong,
            Ending::Harmful => &mut self.harmful,
            Ending::Failed(failure) => &mut self.failed[failure as usize],
            Ending::Caught => &mut self.caught,
            Ending::OverBudget => &mut self.over_budget,
            Ending::Refined => &mut self.refined,
            Ending::Refused => &mut self.refused,
            Ending::Abandoned => &mut self.abandoned,
        } += 1;
    }
}

/// What tasks waited for, by their latency: in bands of a sixteenth of a doubling.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Drivers {
    /// Bands from the shortest latency; empty ones at the end are left out.
    pub bands: Vec<DriverBand>,
}

/// Tasks of about one latency.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DriverBand {
    /// Tasks.
    pub tasks: u64,
    /// Time by cause, picoseconds; sums to the tasks' latencies.
    pub parts: [u128; DRIVERS],
}

impl Drivers {
    /// Adds a task.
    pub fn record(&mut self, latency: Span, parts: &[Span; DRIVERS]) {
        let band = Drivers::band(latency);
        if self.bands.len() <= band {
            self.bands.resize_with(band + 1, DriverBand::default);
        }
        let band = &mut self.bands[band];
        band.tasks += 1;
        for (sum, part) in band.parts.iter_mut().zip(parts) {
            // Most causes are nothing to most tasks, and their sums lie in far caches.
            if *part > Span::ZERO {
                *sum += u128::from(part.0);
            }
        }
    }

    /// Band of a latency: 16 to a doubling, below 2²⁰ ps (a microsecond) all in one.
    #[must_use]
    pub fn band(latency: Span) -> usize {
        metrics::band(latency)
    }

    /// Adds another run's tasks.
    pub fn merge(&mut self, other: &Drivers) {
        if self.bands.len() < other.bands.len() {
            self.bands.resize_with(other.bands.len(), DriverBand::default);
        }
        for (band, more) in self.bands.iter_mut().zip(&other.bands) {
            band.tasks += more.tasks;
            band.parts.iter_mut().zip(more.parts).for_each(|(sum, part)| *sum += part);
        }
    }
}

/// What one remote did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RemoteOutcome {
    /// From the end of the warm-up to the horizon.
    pub measured: crate::backends::RemoteUsage,
    /// In the whole run.
    pub whole_run: crate::backends::RemoteUsage,
    /// What attempts were billed that left in the measured time.
    pub billed: MeterReading,
    /// The part of it whose answers nobody used.
    pub wasted: MeterReading,
    /// Opening of its circuit breakers, all models together (whole run).
    pub breaker_opens: u64,
    /// Attempts its breakers refused (whole run).
    pub breaker_rejected: u64,
    /// Time at work of those that left in the measured time, where it is rented.
    pub taken: Taken,
}

/// What one tool did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ToolOutcome {
    /// Uses that got a place, of tasks that arrived after the warm-up.
    pub uses: u64,
    /// Those that failed or were stopped.
    pub failed: u64,
    /// Uses answered from its cache.
    pub cache_hits: u64,
    /// Time at work.
    pub time: Histogram,
    /// Uses that ended in the measured time.
    pub billed_uses: u64,
    /// Their cost.
    pub spend: Money,
    /// The part of it that paid for uses whose result nobody used.
    pub wasted: Money,
    /// Those uses.
    pub wasted_uses: u64,
}

/// One tenant's account.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TenantOutcome {
    /// Tasks that ended in the measured time.
    pub tasks: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// Succeeded tasks that used a premium model.
    pub premium: u64,
    /// Metered cost.
    pub spend: Money,
    /// Time its attempts spent in engines, picoseconds.
    pub engine_time: u128,
    /// Time they spent at capacity rented by the hour, picoseconds.
    pub provisioned_time: u128,
    /// Tasks beyond those included in the plan, in picoseconds of a month for each: a part of a
    /// month includes parts of tasks.
    pub beyond: u128,
    /// Month under way and tasks ended in it.
    month: (u64, u64),
}

impl TenantOutcome {
    /// Tasks ended in a month so far.
    #[must_use]
    pub fn in_month(&self, month: u64) -> u64 {
        if self.month.0 == month { self.month.1 } else { 0 }
    }

    /// A task ended in a month that includes so many when it is whole.
    pub fn use_month(&mut self, month: Month, included: Option<u32>) {
        let ended = self.in_month(month.number) + 1;
        self.month = (month.number, ended);
        if let Some(included) = included {
            // Over a month the parts sum to what was used less what it includes, or to nothing.
            let used = u128::from(ended) * u128::from(MONTH.0);
            let over = used.saturating_sub(u128::from(included) * u128::from(month.length.0));
            self.beyond += over.min(u128::from(MONTH.0));
        }
    }
}

impl Outcome {
    /// A tenant's account.
    pub fn tenant(&mut self, tenant: u32) -> &mut TenantOutcome {
        let at = tenant as usize;
        if self.tenants.len() <= at {
            self.tenants.resize_with(at + 1, TenantOutcome::default);
        }
        &mut self.tenants[at]
    }
}

/// Counts and latency of the calls to one model (of tasks that arrived after warm-up).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ModelOutcome {
    /// Calls that ended.
    pub calls: u64,
    /// Offers to backends: an attempt that one backend refuses and the next one takes counts twice,
    /// one that admission or a breaker turns away does not count. A limit on attempts is one on
    /// rounds through the backends, so up to that many times the number of backends.
    pub attempts: u64,
    /// Prompt tokens of finished calls.
    pub input_tokens: u64,
    /// Output tokens of finished calls.
    pub output_tokens: u64,
    /// Time to first token.
    pub ttft: Histogram,
    /// Mean time per output token after the first, one value per call with ≥ 2 tokens.
    pub tpot: Histogram,
    /// End to end.
    pub e2e: Histogram,
    /// From arrival at the engine to the iteration that first computes it.
    pub queue: Histogram,
    /// From leaving the queue to the first token.
    pub prefill: Histogram,
    /// From the first to the last token.
    pub decode: Histogram,
    /// Attempts that failed or were refused, by kind.
    pub failures: [u64; FAILURES],
    /// Further attempts after failures.
    pub retries: u64,
    /// Second attempts beside slow ones.
    pub hedges: u64,
    /// Calls that went on to a fallback from here.
    pub fallbacks: u64,
    /// Prompt tokens our engines computed for answers that nobody used.
    pub wasted_input_tokens: u64,
    /// Tokens our engines wrote that nobody used.
    pub wasted_output_tokens: u64,
}

/// What those that left a pool or a remote in the measured time took of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Taken {
    /// Time that attempts whose answers were used spent at work there, picoseconds.
    pub used: u128,
    /// Time that the others did.
    pub wasted: u128,
    /// Prompt tokens of both, in an engine.
    pub input: u64,
    /// Those of them that its prefix cache had.
    pub hits: u64,
    /// Prompt tokens that were no part of what was asked: a shared prefix, what was said before.
    pub context: u64,
    /// Those of them that its prefix cache had.
    pub context_hits: u64,
}

impl Taken {
    /// Somebody left after so much time at work.
    pub fn time(&mut self, time: Span, used: bool) {
        *(if used { &mut self.used } else { &mut self.wasted }) += u128::from(time.0);
    }

    /// An engine computed a prompt of which `context` tokens stand before what is asked.
    pub fn prompt(&mut self, input: u32, context: u32, hits: u32) {
        let counts = [input, hits, context, context.min(hits)].map(u64::from);
        let sums = [&mut self.input, &mut self.hits, &mut self.context, &mut self.context_hits];
        sums.into_iter().zip(counts).for_each(|(sum, count)| *sum += count);
    }
}

/// What one pool did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PoolOutcome {
    /// Replicas.
    pub replicas: u64,
    /// What its engines did from the end of the warm-up to the horizon, the time the pool is paid
    /// for. The drain after the horizon does not count.
    pub measured: EngineCounts,
    /// What they did in the whole run, warm-up and drain included: the sums that can be checked
    /// against the calls. With asynchronous scheduling some preemptions hit a sequence that has
    /// already ended, which no call counts.
    pub whole_run: EngineCounts,
    /// KV blocks in use, summed over the window ends of the measured time and all replicas.
    pub kv_used_samples: u64,
    /// KV blocks there are, summed likewise: usage is the ratio of the two.
    pub kv_total_samples: u64,
    /// Running requests, summed likewise.
    pub running_samples: u64,
    /// Looks at a replica behind these sums: window ends of the measured time × replicas.
    pub samples: u64,
    /// GPU time rented: replicas × GPUs × measured time, picoseconds.
    pub gpu_time: u128,
    /// Opening of its circuit breakers, all models together (whole run).
    pub breaker_opens: u64,
    /// Attempts its breakers refused (whole run).
    pub breaker_rejected: u64,
    /// What those took that left in the measured time.
    pub taken: Taken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_may_end_more_tasks_in_a_month_than_32_bits_count() {
        let mut tenant =
            TenantOutcome { month: (0, u64::from(u32::MAX)), ..TenantOutcome::default() };
        tenant.use_month(Month { number: 0, length: MONTH }, Some(u32::MAX));
        assert_eq!((tenant.in_month(0), tenant.beyond), (1 << 32, u128::from(MONTH.0)));
    }
}
