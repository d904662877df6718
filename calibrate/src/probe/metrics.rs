//! What the engine's own page of metrics says about a cell.
//!
//! A page is fetched before a cell, every second while it runs, and after it. Gauges count by the
//! most that any page of the cell shows, counters by their difference from before to after.
//!
//! Invariants: what no page says is absent; counters that fell say nothing, for the engine was
//! restarted in between; a page that cannot be read costs its row and not the cell.
//!
//! Deliberately absent: the engine's own latencies, which `calibrate::imports::prometheus` reads
//! from the pages that are kept.

use crate::imports::File;
use crate::imports::prometheus::{Counter, Engine, EngineMetrics, prometheus};
use serde::{Deserialize, Serialize};

/// When a page was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Before the cell's first request.
    Before,
    /// While its lanes were busy.
    During,
    /// After its last answer.
    After,
}

impl When {
    pub(super) fn name(self) -> &'static str {
        match self {
            When::Before => "before",
            When::During => "during",
            When::After => "after",
        }
    }
}

/// A page, as `metrics.csv` has it: all replicas of it together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricsRow {
    /// Which session fetched it, from 1.
    pub session: u32,
    /// The cell.
    pub cell: u32,
    /// When.
    pub when: When,
    /// Seconds since the session began.
    pub at_s: f64,
    /// The engine, by the names of its metrics.
    pub engine: String,
    /// Replicas on the page.
    pub replicas: u32,
    /// Requests in the batch.
    pub running: Option<f64>,
    /// Requests that wait.
    pub waiting: Option<f64>,
    /// Share of the KV cache in use, of the fullest replica.
    pub kv_usage: Option<f64>,
    /// KV capacity of all replicas in tokens, where the engine states it.
    pub kv_capacity: Option<u64>,
    /// Requests that lost their blocks, since the engine started; likewise the next four.
    pub preemptions: Option<u64>,
    /// Prompt tokens.
    pub prompt_tokens: Option<u64>,
    /// Generated tokens.
    pub generation_tokens: Option<u64>,
    /// Prompt tokens looked up in the prefix cache.
    pub prefix_queries: Option<u64>,
    /// Prompt tokens found there.
    pub prefix_hits: Option<u64>,
}

/// What the pages of a cell say about it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CellMetrics {
    pub(super) running: Option<f64>,
    pub(super) waiting: Option<f64>,
    pub(super) kv_usage: Option<f64>,
    pub(super) preemptions: Option<u64>,
    pub(super) prefix_queries: Option<u64>,
    pub(super) prefix_hits: Option<u64>,
}

/// Reads a page; none if it is no engine's.
pub(super) fn row(
    (session, cell): (u32, u32),
    when: When,
    at_s: f64,
    page: &str,
) -> Option<MetricsRow> {
    let replicas = prometheus(File { name: "metrics", text: page }).ok()?;
    let first = replicas.first()?;
    let sum = |of: fn(&EngineMetrics) -> Option<f64>| {
        replicas
            .iter()
            .filter_map(of)
            .fold(None, |sum: Option<f64>, one| Some(sum.unwrap_or(0.0) + one))
    };
    let count = |counter: Counter| {
        let all = replicas.iter().filter_map(|one| one.counters.get(&counter));
        all.fold(None, |sum: Option<u64>, one| Some(sum.unwrap_or(0).saturating_add(*one)))
    };
    let capacity = replicas.iter().filter_map(EngineMetrics::kv_tokens);
    Some(MetricsRow {
        session,
        cell,
        when,
        at_s,
        engine: match first.engine {
            Engine::Vllm => "vllm",
            Engine::Sglang => "sglang",
            Engine::TensorRtLlm => "tensorrt-llm",
        }
        .to_owned(),
        replicas: u32::try_from(replicas.len()).unwrap_or(u32::MAX),
        running: sum(|one| one.running),
        waiting: sum(|one| one.waiting),
        kv_usage: replicas.iter().filter_map(|one| one.kv_usage).reduce(f64::max),
        kv_capacity: capacity
            .fold(None, |sum: Option<u64>, one| Some(sum.unwrap_or(0).saturating_add(one))),
        preemptions: count(Counter::Preemptions),
        prompt_tokens: count(Counter::PromptTokens),
        generation_tokens: count(Counter::GenerationTokens),
        prefix_queries: count(Counter::PrefixQueries),
        prefix_hits: count(Counter::PrefixHits),
    })
}

impl CellMetrics {
    /// What the rows of one cell come to.
    pub(super) fn of(rows: &[MetricsRow]) -> CellMetrics {
        let most = |of: fn(&MetricsRow) -> Option<f64>| rows.iter().filter_map(of).reduce(f64::max);
        let of_when = |when: When| rows.iter().find(|row| row.when == when);
        let counted = |of: fn(&MetricsRow) -> Option<u64>| {
            let (before, after) = (of_when(When::Before)?, of_when(When::After)?);
            // A series appears with its first event.
            of(after)?.checked_sub(of(before).unwrap_or(0))
        };
        CellMetrics {
            running: most(|row| row.running),
            waiting: most(|row| row.waiting),
            kv_usage: most(|row| row.kv_usage),
            preemptions: counted(|row| row.preemptions),
            prefix_queries: counted(|row| row.prefix_queries),
            prefix_hits: counted(|row| row.prefix_hits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(running: f64, usage: f64, counts: [u64; 3]) -> String {
        let [preemptions, queries, hits] = counts;
        format!(
            "vllm:num_requests_running{{engine=\"0\",model_name=\"m\"}} {running}\n\
             vllm:num_requests_waiting{{engine=\"0\",model_name=\"m\"}} 1.0\n\
             vllm:kv_cache_usage_perc{{engine=\"0\",model_name=\"m\"}} {usage}\n\
             vllm:num_preemptions_total{{engine=\"0\",model_name=\"m\"}} {preemptions}\n\
             vllm:prefix_cache_queries_total{{engine=\"0\",model_name=\"m\"}} {queries}\n\
             vllm:prefix_cache_hits_total{{engine=\"0\",model_name=\"m\"}} {hits}\n"
        )
    }

    #[test]
    fn gauges_are_the_most_and_counters_the_difference() {
        let rows: Vec<MetricsRow> = [
            (When::Before, page(0.0, 0.0, [1, 1_000, 100])),
            (When::During, page(16.0, 0.4, [1, 1_500, 400])),
            (When::During, page(12.0, 0.5, [3, 1_800, 600])),
            (When::After, page(0.0, 0.1, [4, 2_000, 700])),
        ]
        .into_iter()
        .map(|(when, page)| row((1, 2), when, 3.0, &page).expect("a page of vLLM"))
        .collect();
        assert_eq!((rows[0].engine.as_str(), rows[0].replicas), ("vllm", 1));
        let cell = CellMetrics::of(&rows);
        assert_eq!((cell.running, cell.waiting, cell.kv_usage), (Some(16.0), Some(1.0), Some(0.5)));
        assert_eq!(
            (cell.preemptions, cell.prefix_queries, cell.prefix_hits),
            (Some(3), Some(1_000), Some(600))
        );
    }

    #[test]
    fn what_no_page_says_is_absent() {
        assert_eq!(CellMetrics::of(&[]), CellMetrics::default());
        let read = |page: &str| row((1, 1), When::After, 0.0, page);
        for foreign in ["", "# surgeline: no metrics\n", "<html>", "go_threads 7\n"] {
            assert_eq!(read(foreign), None, "{foreign}");
        }
        // Restarted in between.
        let before = row((1, 1), When::Before, 0.0, &page(0.0, 0.0, [9, 9, 9])).expect("vLLM");
        let after = read(&page(0.0, 0.0, [1, 1, 1])).expect("vLLM");
        assert_eq!(CellMetrics::of(&[before, after]).preemptions, None);
        // SGLang and TensorRT-LLM by their own names, two ranks together.
        let sglang = read(
            "sglang:num_running_reqs{dp_rank=\"0\"} 2\nsglang:num_running_reqs{dp_rank=\"1\"} 3\n",
        );
        let sglang = sglang.expect("SGLang");
        assert_eq!(
            (sglang.engine.as_str(), sglang.running, sglang.replicas),
            ("sglang", Some(5.0), 2)
        );
        let trt = read("trtllm_kv_cache_utilization 0.25\n").expect("TensorRT-LLM");
        assert_eq!((trt.engine.as_str(), trt.kv_usage), ("tensorrt-llm", Some(0.25)));
    }
}
