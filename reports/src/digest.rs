//! One number that is equal when two results are.
//!
//! [`result_sha256`] is the SHA-256 of the canonical JSON (no white space, keys in the order of
//! the document, numbers as the shortest text that reads back as the same number) of
//! 1. what happened of the JSON document from `seed` to `warnings` ([`crate::json`]): a limit, a
//!    guard or a policy that never acted changes nothing, and neither does a place that was never
//!    called (`crate::json::acted` says what exactly is left out);
//! 2. what the document leaves out: the filled buckets of every histogram, and the time series.
//!
//! The time series enter for the whole system. By part of the system ([`sim::metrics::Parts`]) they
//! are left out: they count the same events once more, and they have a list for each policy and each
//! place that the scenario has, acting or not.
//!
//! It leaves out provenance: the scenario's name, question and hash, origins of values, notes from
//! loading, and versions. So it is equal on any number of threads, in any build and for any file
//! that describes the same system; it changes with the seed. Reasons and warnings enter in their
//! wording, so compare digests made by one version.

use crate::json::Results;
use experiments::RunResult;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sim::metrics::{Histogram, Series};
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
    let buckets = |histogram: &Histogram| histogram.buckets().collect();
    let tasks = result.tasks.iter().map(|task| &task.histogram);
    let models = result.models.iter().flat_map(|m| [&m.ttft_histogram, &m.tpot_histogram]);
    let canonical = Canonical {
        results: Results::acted(result),
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

fn rows(series: &Series) -> Vec<Row> {
    let row = |w: &sim::metrics::Window| {
        let latency = w.latency_sum;
        let (used, blocks) = (w.kv_blocks_used, w.kv_blocks);
        (w.arrived, w.finished, latency, w.waiting, w.running, used, blocks, w.preemptions)
    };
    series.windows.iter().map(row).collect()
}
