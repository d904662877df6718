//! What is kept of one replication: everything the pooled estimates and their intervals need.
//!
//! Histograms are kept as lists of their filled buckets, so that two hundred replications fit in
//! memory; the pooled histogram minus one replication's list is the leave-one-out histogram of
//! the jackknife, exactly.

use crate::stability::Flow;
use sim::Outcome;
use sim::metrics::BucketCounts;

/// One finished replication.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The outcome; its histograms are moved into the fields below and its series into the
    /// pooled one, so they are empty here.
    pub outcome: Outcome,
    /// Latency of succeeded tasks, one per kind of task.
    pub latency: Vec<BucketCounts>,
    /// Times of calls, one per model.
    pub times: Vec<ModelTimes>,
    /// Requests in the system over time, for the test of stability.
    pub flow: Flow,
}

/// The times of the calls to one model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelTimes {
    /// Time to first token.
    pub ttft: BucketCounts,
    /// Time per output token after the first.
    pub tpot: BucketCounts,
    /// End to end.
    pub e2e: BucketCounts,
    /// In the engine's queue.
    pub queue: BucketCounts,
    /// From the queue to the first token.
    pub prefill: BucketCounts,
    /// From the first token to the last.
    pub decode: BucketCounts,
}
