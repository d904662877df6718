//! `[load_balancing]` and `[objectives]`.
//!
//! Deliberately absent: routing, budgets, caching, retries and circuit breakers, which are
//! refused by name.

use crate::kinds::{Choice, Count, DURATION, Flag, Text};
use crate::problem::At;
use crate::reader::Reader;
use sim::fleet::Strategy;
use sim::units::Span;

/// What a policy file holds.
pub(crate) struct PolicyFile {
    pub(crate) balancing: Vec<(At<String>, BalancingFile)>,
}

/// How calls are spread over one pool.
pub(crate) struct BalancingFile {
    pub(crate) strategy: Option<At<Strategy>>,
    pub(crate) signal_age: Option<At<Span>>,
    pub(crate) count_own_dispatches: Option<At<bool>>,
    pub(crate) max_imbalance: Option<At<u32>>,
}

/// A target, still as text.
pub(crate) struct ObjectiveFile {
    /// `support_reply.p95_latency`.
    pub(crate) name: String,
    /// `<= 6s`.
    pub(crate) target: At<String>,
}

/// Strategies by name; the imbalance of `prefix-affinity` is filled in by `resolve`.
const STRATEGIES: Choice<Strategy> = Choice(&[
    ("round-robin", Strategy::RoundRobin),
    ("random", Strategy::Random),
    ("least-outstanding", Strategy::LeastOutstanding),
    ("power-of-two", Strategy::PowerOfTwo),
    ("kv-aware", Strategy::KvAware),
    ("prefix-affinity", Strategy::PrefixAffinity { max_imbalance: 0 }),
]);

pub(super) fn policy(r: &mut Reader<'_>) -> PolicyFile {
    r.unsupported(&["routing", "budgets", "caching", "retries", "circuit_breaker"]);
    PolicyFile {
        balancing: r.named("load_balancing", "How calls are spread over each pool.", balancing),
    }
}

fn balancing(r: &mut Reader<'_>) -> BalancingFile {
    BalancingFile {
        strategy: r.need("strategy", STRATEGIES, "The rule."),
        signal_age: r.or(
            "signal_age",
            DURATION,
            "0s",
            "How old the engine signals are that the router sees.",
        ),
        count_own_dispatches: r.or(
            "count_own_dispatches",
            Flag,
            "true",
            "Whether the router adds what it dispatched since the last signal.",
        ),
        max_imbalance: r.may(
            "max_imbalance",
            Count { min: 0, max: 1_000_000 },
            "For prefix-affinity: outstanding requests a favoured replica may be ahead. \
             Default: 8.",
        ),
    }
}

pub(super) fn objectives(r: &mut Reader<'_>) -> Vec<ObjectiveFile> {
    let doc = "Targets that `run` judges: `\"task.p95_latency\" = \"<= 6s\"`.";
    r.leaves("objectives", Text { longest: 60 }, doc)
        .into_iter()
        .map(|(name, target)| ObjectiveFile { name, target })
        .collect()
}
