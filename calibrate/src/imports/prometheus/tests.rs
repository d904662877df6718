//! Texts as the engines write them, with the arithmetic done by hand.

use super::*;

const BEFORE: &str = include_str!("../../../tests/data/imports/metrics.txt");

fn read(text: &str) -> Result<Vec<EngineMetrics>, ImportErrors> {
    prometheus(File { name: "metrics.txt", text })
}

/// The same replica later.
fn after() -> String {
    BEFORE
        .replace(
            "prompt_tokens_total{engine=\"0\",model_name=\"m\"} 1000.0",
            "prompt_tokens_total{engine=\"0\",model_name=\"m\"} 3000.0",
        )
        .replace(
            "queries_total{engine=\"0\",model_name=\"m\"} 1000.0",
            "queries_total{engine=\"0\",model_name=\"m\"} 3000.0",
        )
        .replace(
            "hits_total{engine=\"0\",model_name=\"m\"} 100.0",
            "hits_total{engine=\"0\",model_name=\"m\"} 600.0",
        )
        .replace("le=\"0.25\",model_name=\"m\"} 4.0", "le=\"0.25\",model_name=\"m\"} 13.0")
        .replace("le=\"+Inf\",model_name=\"m\"} 4.0", "le=\"+Inf\",model_name=\"m\"} 14.0")
        .replace(
            "seconds_sum{engine=\"0\",model_name=\"m\"} 0.5",
            "seconds_sum{engine=\"0\",model_name=\"m\"} 3.5",
        )
}

#[test]
fn a_snapshot_of_vllm_is_read() {
    let found = read(BEFORE).expect("metrics");
    // The engine's first line of cache settings has no model and is a group of its own.
    assert_eq!(found.len(), 2);
    let metrics = &found[1];
    assert_eq!((metrics.engine, metrics.model.as_deref()), (Engine::Vllm, Some("m")));
    assert_eq!(
        (metrics.running, metrics.waiting, metrics.kv_usage),
        (Some(7.0), Some(2.0), Some(0.25))
    );
    assert_eq!((metrics.replica.as_str(), metrics.kv_tokens()), ("engine=0", Some(44_640)));
    let count = |counter| metrics.counters.get(&counter).copied();
    assert_eq!((count(Counter::Finished), count(Counter::Aborted)), (Some(7), Some(1)));
    assert_eq!((count(Counter::GenerationTokens), count(Counter::Preemptions)), (Some(500), None));
    let ttft = &metrics.latencies[&Latency::Ttft];
    assert_eq!((ttft.count(), ttft.mean()), (4, Some(0.125)));
    assert_eq!(ttft.quantile_bounds(0.5), Some((0.0, 0.1)));
    assert_eq!(ttft.quantile_bounds(0.51), Some((0.1, 0.25)));
    assert_eq!((ttft.quantile_bounds(0.0), ttft.quantile_bounds(1.5)), (Some((0.0, 0.1)), None));
}

#[test]
fn two_snapshots_give_rates_hits_and_quantiles() {
    let (before, after) = (read(BEFORE).expect("before"), read(&after()).expect("after"));
    let interval = between(&before[1], &after[1], Span::from_secs(10)).expect("an interval");
    assert_eq!(interval.rate(Counter::PromptTokens), Some(200.0));
    assert_eq!(interval.rate(Counter::GenerationTokens), Some(0.0));
    // (600 − 100) / (3000 − 1000).
    assert_eq!(interval.prefix_hit_ratio(), Some(0.25));
    let ttft = &interval.latencies[&Latency::Ttft];
    // Of ten new ones none was within 0.1 s, nine within 0.25 s; together they took 3 s.
    assert_eq!((ttft.count(), ttft.mean(), ttft.sum()), (10, Some(0.3), 3.0));
    assert_eq!(ttft.quantile_bounds(0.9), Some((0.1, 0.25)));
    assert_eq!(ttft.quantile_bounds(0.95), Some((0.25, f64::INFINITY)));
}

#[test]
fn what_is_no_interval_is_refused() {
    let (before, after) = (read(BEFORE).expect("before"), read(&after()).expect("after"));
    let second = Span::from_secs(1);
    let swapped = between(&after[1], &before[1], second).expect_err("falls");
    assert_eq!(swapped, IntervalError::Fell { what: "PromptTokens".to_owned() });
    assert_eq!(between(&before[1], &after[1], Span::ZERO), Err(IntervalError::NoTime));
    assert_eq!(between(&before[0], &after[1], second), Err(IntervalError::OtherReplica));
    let other = read(&BEFORE.replace("le=\"0.1\"", "le=\"0.2\"")).expect("metrics");
    let what = "Ttft".to_owned();
    assert_eq!(between(&before[1], &other[1], second), Err(IntervalError::OtherBuckets { what }));
}

#[test]
fn sglang_and_tensorrt_llm_have_their_own_names() {
    let text = r#"
sglang:num_running_reqs{model_name="m",tp_rank="0"} 162.0
sglang:num_queue_reqs{model_name="m",tp_rank="0"} 2826.0
sglang:token_usage{model_name="m",tp_rank="0"} 0.28
sglang:prompt_tokens_total{model_name="m"} 8.0e+06
sglang:cached_tokens_total{model_name="m"} 2.0e+06
sglang:time_per_output_token_seconds_bucket{le="+Inf",model_name="m"} 7.0
sglang:time_per_output_token_seconds_sum{model_name="m"} 0.7
trtllm_num_requests_running{model_name="m",engine_type="trtllm"} 3.0
trtllm_kv_cache_utilization{model_name="m",engine_type="trtllm"} 0.62
trtllm_kv_cache_max_blocks{model_name="m",engine_type="trtllm"} 100.0
trtllm_kv_cache_tokens_per_block{model_name="m",engine_type="trtllm"} 32.0
trtllm_time_per_output_token_seconds_bucket{le="+Inf",model_name="m"} 7.0
"#;
    let found = read(text).expect("metrics");
    let [sglang, tensorrt] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((sglang.running, sglang.waiting), (Some(162.0), Some(2_826.0)));
    assert_eq!(sglang.counters[&Counter::PrefixQueries], 8_000_000);
    assert_eq!(sglang.counters[&Counter::PrefixHits], 2_000_000);
    assert_eq!(sglang.latencies[&Latency::Itl].count(), 7);
    assert_eq!((tensorrt.kv_usage, tensorrt.kv_tokens()), (Some(0.62), Some(3_200)));
    assert!(tensorrt.latencies.contains_key(&Latency::Tpot));
}

#[test]
fn numbers_that_cannot_be_are_told_by_line() {
    let text = "vllm:prompt_tokens_total 1.5\nvllm:num_preemptions_total -1\n\
                vllm:time_to_first_token_seconds_bucket{le=\"1\"} 3\n\
                vllm:time_to_first_token_seconds_bucket{le=\"+Inf\"} 2\n\
                vllm:e2e_request_latency_seconds_bucket 2\nrubbish\n";
    let error = read(text).expect_err("five problems");
    let at: Vec<Option<u64>> = error.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(at, [Some(6), Some(1), Some(2), Some(5), Some(4), Some(5)]);
    assert!(read("up 1\n").is_err());
}
