//! Names of what a result counts: keys for scripts, words for people.
//!
//! Invariant: each list has the order of the counts it names.

use sim::backends::{RemoteKind, ToolCost};
use sim::outcome::Endings;
use sim::resilience::FAILURES;
use sim::tasks::DRIVERS;

/// Causes of latency.
pub(crate) const DRIVER_KEYS: [&str; DRIVERS] = [
    "queueing",
    "prefill",
    "decode",
    "preemption",
    "retries",
    "tools",
    "review",
    "cold_start",
    "host",
];
/// The same for people.
pub(crate) const DRIVER_WORDS: [&str; DRIVERS] = [
    "queueing",
    "prefill",
    "decode",
    "preemption",
    "retries and pauses",
    "tools and look-ups",
    "human review",
    "cold start",
    "host of the engine",
];

/// Why attempts fail.
pub(crate) const FAILURE_KEYS: [&str; FAILURES] = [
    "rate_limited",
    "overloaded",
    "server_error",
    "timeout",
    "breaker_open",
    "too_long",
    "not_eligible",
];
/// The same as headers.
pub(crate) const FAILURE_WORDS: [&str; FAILURES] =
    ["429", "503", "5xx", "timeout", "breaker", "too long", "no device"];

/// Rungs of the ladder.
pub(crate) const RUNG_KEYS: [&str; 5] =
    ["shorter_context", "smaller_model", "cached_answer", "partial_result", "refine"];

/// How tasks end: the failures of a required step stand among the others.
pub(crate) const ENDING_KEYS: [&str; 8 + FAILURES] = [
    "success",
    "wrong",
    "harmful",
    "caught",
    "over_budget",
    "refined",
    "refused",
    "abandoned",
    "failed_rate_limited",
    "failed_overloaded",
    "failed_server_error",
    "failed_timeout",
    "failed_breaker_open",
    "failed_too_long",
    "failed_not_eligible",
];
/// The same for people.
pub(crate) const ENDING_WORDS: [&str; 8 + FAILURES] = [
    "success",
    "wrong result",
    "harm done",
    "caught by a check",
    "budget used up",
    "asked to refine",
    "refused by limit or plan",
    "given up by the user",
    "a step failed: 429",
    "a step failed: 503",
    "a step failed: 5xx",
    "a step failed: timeout",
    "a step failed: breaker open",
    "a step failed: too long",
    "a step failed: no device",
];

/// Counts by ending in the order of their names.
pub(crate) fn endings(endings: &Endings) -> [u64; 8 + FAILURES] {
    let mut all = [0; 8 + FAILURES];
    all[..8].copy_from_slice(&[
        endings.success,
        endings.wrong,
        endings.harmful,
        endings.caught,
        endings.over_budget,
        endings.refined,
        endings.refused,
        endings.abandoned,
    ]);
    all[8..].copy_from_slice(&endings.failed);
    all
}

/// What a backend is.
pub(crate) fn kind(kind: RemoteKind) -> &'static str {
    match kind {
        RemoteKind::Hosted => "hosted",
        RemoteKind::Provisioned => "provisioned",
        RemoteKind::Device => "device",
    }
}

/// What a tool's cost is called.
pub(crate) fn tool_kind(cost: ToolCost) -> &'static str {
    match cost {
        ToolCost::Retrieval => "retrieval",
        ToolCost::Tool => "tool",
        ToolCost::SafetyCheck => "safety_check",
        ToolCost::Formatting => "formatting",
        ToolCost::HumanReview => "human_review",
    }
}

/// Words for the causes and items of spend; other keys stand for themselves.
pub(crate) fn spend_words(key: &str) -> String {
    match key {
        "gpu" => "GPUs".into(),
        "gpu_at_work" => "GPUs at work".into(),
        "gpu_wasted" => "GPUs, unused attempts".into(),
        "gpu_idle" => "GPUs idle".into(),
        "provisioned_at_work" => "provisioned, at work".into(),
        "provisioned_wasted" => "provisioned, unused attempts".into(),
        "provisioned_idle" => "provisioned, idle".into(),
        "cache_write_tokens" => "tokens written to cache".into(),
        "wasted_uses" => "unused tool uses".into(),
        "wasted_attempts" => "unused attempts (retries)".into(),
        "context" => "context sent again".into(),
        "cache_misses" => "context missed by caches".into(),
        "first_calls" => "one call per success".into(),
        "further_calls" => "further calls (fan-out)".into(),
        "asked_again" => "asked again by users".into(),
        "unsuccessful_tasks" => "tasks without success".into(),
        "saved_by_caches" => "saved by answer caches".into(),
        _ => key.replace('_', " "),
    }
}
