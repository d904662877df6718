//! One number that is equal when two results are.
//!
//! [`result_sha256`] is the SHA-256 of the canonical JSON (no white space, keys in the order of
//! the document, numbers as the shortest text that reads back as the same number) of
//! 1. everything in the JSON document from `seed` to `warnings` ([`crate::json`]);
//! 2. what the document leaves out: the filled buckets of every histogram, and the time series.
//!
//! A backend that was never called, a circuit breaker that never acted and the misses of caches of
//! answers that never had one are left out: to declare them changes nothing that happened. So is the revenue where it is nothing but the values of
//! tasks, which the margin says already.
//!
//! It leaves out provenance: the scenario's name, question and hash, origins of values, notes from
//! loading, and versions. So it is equal on any number of threads, in any build and for any file
//! that describes the same system; it changes with the seed. Reasons and warnings enter in their
//! wording, so compare digests made by one version.

use crate::json::Results;
use experiments::{BreakerCounts, Revenue, RunResult, TaskWork};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sim::metrics::{Histogram, Series};
use sim::units::Money;
use std::fmt::Write;

/// Everything the digest covers.
#[derive(Serialize)]
struct Canonical<'a> {
    results: Results<'a>,
    /// `(first picosecond, width, values)` of each bucket; tasks' latencies, then models' times.
    histograms: Vec<Vec<(u64, u64, u64)>>,
    series_width_ps: u64,
    series: Vec<Row>,
}

/// One window: arrived, finished, sum of latencies, waiting, running, KV blocks used, KV blocks,
/// preemptions.
type Row = (u64, u64, u128, u64, u64, u64, u64, u64);

/// SHA-256 of every result, in hexadecimal.
#[must_use]
pub fn result_sha256(result: &RunResult) -> String {
    let result = &what_acted(result);
    let buckets = |histogram: &Histogram| histogram.buckets().collect();
    let tasks = result.tasks.iter().map(|task| &task.histogram);
    let models = result.models.iter().flat_map(|m| [&m.ttft_histogram, &m.tpot_histogram]);
    let canonical = Canonical {
        results: Results::of(result),
        histograms: tasks.chain(models).map(buckets).collect(),
        series_width_ps: result.series.width.0,
        series: rows(&result.series),
    };
    let mut hasher = Sha256::new();
    hasher.update(crate::json::text(&canonical, false));
    hasher.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing into a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The result without the places and guards that had no part in it.
fn what_acted(result: &RunResult) -> RunResult {
    let mut acted = result.clone();
    acted.remotes.retain(|remote| {
        let refused: u64 = remote.refused.iter().sum();
        remote.attempts > 0 || refused > 0 || remote.spend != Money::ZERO
    });
    let idle = |breaker: &BreakerCounts| breaker.opens == 0 && breaker.rejected == 0;
    if acted.margin.revenue.plans == Money::ZERO {
        acted.margin.revenue = Revenue::default();
    }
    let answered = |work: &TaskWork| work.exact_hits + work.semantic_hits > 0;
    let caches_act = acted.tasks.iter().filter_map(|task| task.work.as_ref()).any(answered);
    if let Some(drivers) = acted.cost_drivers.as_mut().filter(|_| !caches_act) {
        drivers.beside.answer_misses = 0;
    }
    let breakers = acted.remotes.iter_mut().map(|remote| &mut remote.breaker);
    for breaker in breakers.chain(acted.pools.iter_mut().map(|pool| &mut pool.breaker)) {
        *breaker = breaker.filter(|breaker| !idle(breaker));
    }
    acted
}

fn rows(series: &Series) -> Vec<Row> {
    let row = |w: &sim::metrics::Window| {
        let latency = w.latency_sum;
        let (used, blocks) = (w.kv_blocks_used, w.kv_blocks);
        (w.arrived, w.finished, latency, w.waiting, w.running, used, blocks, w.preemptions)
    };
    series.windows.iter().map(row).collect()
}
