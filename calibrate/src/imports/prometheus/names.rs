//! Which engine calls what by which name.
//!
//! Sources: vLLM `vllm/v1/metrics/loggers.py` (0.6 to 0.33), SGLang `production_metrics`, and
//! TensorRT-LLM `tensorrt_llm/metrics/collector.py` (1.1 and later), which Dynamo also exports with
//! the prefix `trtllm:`.
//!
//! Invariants: a name that two engines give to different things has an entry for each.
//! `time_per_output_token_seconds` is every gap in vLLM before 0.11 and in SGLang, and one mean a
//! request in TensorRT-LLM.
//!
//! Deliberately absent: metrics of speculative decoding, LoRA, transfer and the GPU itself.

/// The engines whose metrics are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM.
    TensorRtLlm,
}

/// What is counted since the engine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Prompt tokens, cached ones too.
    PromptTokens,
    /// Generated tokens.
    GenerationTokens,
    /// Prompt tokens looked up in the prefix cache.
    PrefixQueries,
    /// Prompt tokens found there.
    PrefixHits,
    /// Requests that lost their blocks and were computed again.
    Preemptions,
    /// Requests that ended, other than by being given up.
    Finished,
    /// Requests that were given up.
    Aborted,
}

/// Which duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Latency {
    /// From arrival to the first token.
    Ttft,
    /// Every gap between two outputs of every request.
    Itl,
    /// `(last − first) / (output − 1)`, once a request.
    Tpot,
    /// From arrival to the last token.
    E2e,
    /// In the waiting queue.
    Queue,
    /// From leaving the queue to the first token.
    Prefill,
    /// From the first to the last token.
    Decode,
}

/// What a metric says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Running,
    Waiting,
    KvUsage,
    KvBlocks,
    BlockSize,
    CacheConfig,
    Count(Counter),
    Time(Latency),
}

/// Which part of a histogram a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Alone,
    Bucket,
    Sum,
    Count,
}

const VLLM: &[(&str, Meaning)] = &[
    ("num_requests_running", Meaning::Running),
    ("num_requests_waiting", Meaning::Waiting),
    ("kv_cache_usage_perc", Meaning::KvUsage),
    ("gpu_cache_usage_perc", Meaning::KvUsage),
    ("cache_config_info", Meaning::CacheConfig),
    ("prompt_tokens_total", Meaning::Count(Counter::PromptTokens)),
    ("generation_tokens_total", Meaning::Count(Counter::GenerationTokens)),
    ("prefix_cache_queries_total", Meaning::Count(Counter::PrefixQueries)),
    ("prefix_cache_hits_total", Meaning::Count(Counter::PrefixHits)),
    ("gpu_prefix_cache_queries_total", Meaning::Count(Counter::PrefixQueries)),
    ("gpu_prefix_cache_hits_total", Meaning::Count(Counter::PrefixHits)),
    ("num_preemptions_total", Meaning::Count(Counter::Preemptions)),
    ("request_success_total", Meaning::Count(Counter::Finished)),
    ("time_to_first_token_seconds", Meaning::Time(Latency::Ttft)),
    ("inter_token_latency_seconds", Meaning::Time(Latency::Itl)),
    ("time_per_output_token_seconds", Meaning::Time(Latency::Itl)),
    ("request_time_per_output_token_seconds", Meaning::Time(Latency::Tpot)),
    ("e2e_request_latency_seconds", Meaning::Time(Latency::E2e)),
    ("request_queue_time_seconds", Meaning::Time(Latency::Queue)),
    ("request_prefill_time_seconds", Meaning::Time(Latency::Prefill)),
    ("request_decode_time_seconds", Meaning::Time(Latency::Decode)),
];

const SGLANG: &[(&str, Meaning)] = &[
    ("num_running_reqs", Meaning::Running),
    ("num_queue_reqs", Meaning::Waiting),
    ("token_usage", Meaning::KvUsage),
    ("prompt_tokens_total", Meaning::Count(Counter::PromptTokens)),
    ("generation_tokens_total", Meaning::Count(Counter::GenerationTokens)),
    ("cached_tokens_total", Meaning::Count(Counter::PrefixHits)),
    ("num_requests_total", Meaning::Count(Counter::Finished)),
    ("num_aborted_requests_total", Meaning::Count(Counter::Aborted)),
    ("time_to_first_token_seconds", Meaning::Time(Latency::Ttft)),
    ("inter_token_latency_seconds", Meaning::Time(Latency::Itl)),
    ("time_per_output_token_seconds", Meaning::Time(Latency::Itl)),
    ("e2e_request_latency_seconds", Meaning::Time(Latency::E2e)),
    ("queue_time_seconds", Meaning::Time(Latency::Queue)),
];

const TRTLLM: &[(&str, Meaning)] = &[
    ("num_requests_running", Meaning::Running),
    ("num_requests_waiting", Meaning::Waiting),
    ("kv_cache_utilization", Meaning::KvUsage),
    ("kv_cache_max_blocks", Meaning::KvBlocks),
    ("kv_cache_tokens_per_block", Meaning::BlockSize),
    ("prompt_tokens_total", Meaning::Count(Counter::PromptTokens)),
    ("generation_tokens_total", Meaning::Count(Counter::GenerationTokens)),
    ("prompt_cached_tokens_total", Meaning::Count(Counter::PrefixHits)),
    ("request_success_total", Meaning::Count(Counter::Finished)),
    ("time_to_first_token_seconds", Meaning::Time(Latency::Ttft)),
    ("time_per_output_token_seconds", Meaning::Time(Latency::Tpot)),
    ("e2e_request_latency_seconds", Meaning::Time(Latency::E2e)),
    ("request_queue_time_seconds", Meaning::Time(Latency::Queue)),
    ("request_prefill_time_seconds", Meaning::Time(Latency::Prefill)),
    ("request_decode_time_seconds", Meaning::Time(Latency::Decode)),
];

impl Engine {
    /// Which engine a metric is of, and its name without the engine's prefix.
    pub(super) fn of(name: &str) -> Option<(Engine, &str)> {
        let prefixes = [
            ("vllm:", Engine::Vllm),
            ("sglang:", Engine::Sglang),
            ("trtllm_", Engine::TensorRtLlm),
            ("trtllm:", Engine::TensorRtLlm),
        ];
        prefixes.iter().find_map(|(prefix, engine)| Some((*engine, name.strip_prefix(prefix)?)))
    }

    fn names(self) -> &'static [(&'static str, Meaning)] {
        match self {
            Engine::Vllm => VLLM,
            Engine::Sglang => SGLANG,
            Engine::TensorRtLlm => TRTLLM,
        }
    }
}

/// What a metric says, if it is known.
pub(super) fn meaning(engine: Engine, name: &str) -> Option<(Meaning, Part)> {
    let find = |name: &str| {
        let found = engine.names().iter().find(|(known, _)| *known == name)?;
        Some(found.1)
    };
    match find(name) {
        // A histogram without a suffix is none.
        Some(Meaning::Time(_)) => return None,
        Some(meaning) => return Some((meaning, Part::Alone)),
        None => {}
    }
    let parts = [("_bucket", Part::Bucket), ("_sum", Part::Sum), ("_count", Part::Count)];
    parts.iter().find_map(|(suffix, part)| {
        let meaning = find(name.strip_suffix(suffix)?)?;
        matches!(meaning, Meaning::Time(_)).then_some((meaning, *part))
    })
}
