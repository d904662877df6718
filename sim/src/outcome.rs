//! The results of one simulation: plain data, integer counts, mergeable across replications.

use crate::engine::EngineCounts;
use crate::ledger::Ledger;
use crate::metrics::{Histogram, Series};
use crate::units::Span;

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
    /// Quantities to be priced, and their price so far.
    pub ledger: Ledger,
    /// The whole system, window by window: the warm-up included, the drain left out.
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
    /// From arrival to end, succeeded tasks.
    pub latency: Histogram,
}

/// Counts and latency of the calls to one model (of tasks that arrived after warm-up).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ModelOutcome {
    /// Calls that ended.
    pub calls: u64,
    /// Attempts those took (a call that overflowed to the next pool has several).
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
}
