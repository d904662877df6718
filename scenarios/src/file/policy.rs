//! What a policy file holds, and `[objectives]`.
//!
//! Invariants: [`POLICY_KEYS`] are the keys of a policy file, in a file of its own or inline.
//!
//! Deliberately absent: names of models, tasks and the like, which `resolve` looks up.

mod budgets;
mod caching;
mod guards;
mod routing;

pub(crate) use budgets::{BudgetFile, RungFile, RungKind, ScopeFile, SpendLimitFile, ThenFile};
pub(crate) use caching::{CacheFile, CachingFile};
pub(crate) use guards::{
    AdmissionFile, BackoffFile, BreakerFile, ByModel, HedgingFile, RetriesFile, RetryBudgetFile,
    USUAL_FAILURES, WindowType,
};
pub(crate) use routing::{FallbackFile, RoutingFile, RuleFile, ShareFile};

use crate::kinds::{Choice, Count, DURATION, Flag, Text};
use crate::problem::At;
use crate::reader::Reader;
use sim::fleet::Strategy;
use sim::resilience::{Failure, FailureSet};
use sim::units::Span;

/// Keys of a policy file.
pub(crate) const POLICY_KEYS: [&str; 9] = [
    "load_balancing",
    "routing",
    "retries",
    "hedging",
    "circuit_breaker",
    "admission",
    "budgets",
    "caching",
    "spend_limits",
];

/// What a policy file holds.
#[derive(Default)]
pub(crate) struct PolicyFile {
    pub(crate) balancing: Vec<(At<String>, BalancingFile)>,
    pub(crate) routing: Option<RoutingFile>,
    pub(crate) retries: Option<ByModel<RetriesFile>>,
    pub(crate) hedging: Option<ByModel<HedgingFile>>,
    pub(crate) breaker: Option<ByModel<BreakerFile>>,
    pub(crate) admission: Option<ByModel<AdmissionFile>>,
    pub(crate) budgets: Vec<(At<String>, BudgetFile)>,
    pub(crate) caching: CachingFile,
    pub(crate) spend_limits: Vec<SpendLimitFile>,
}

/// How calls are spread over one pool.
pub(crate) struct BalancingFile {
    pub(crate) strategy: Option<At<Strategy>>,
    pub(crate) signal_age: Option<At<Span>>,
    pub(crate) count_own_dispatches: Option<At<bool>>,
    pub(crate) choices: Option<At<u32>>,
    pub(crate) max_imbalance: Option<At<u32>>,
}

/// A target, still as text.
pub(crate) struct ObjectiveFile {
    /// `support_reply.p95_latency`.
    pub(crate) name: String,
    /// `<= 6s`.
    pub(crate) target: At<String>,
}

/// Strategies by name; the choices of `power-of-two` and the imbalance of `prefix-affinity` are
/// filled in by `resolve`.
const STRATEGIES: Choice<Strategy> = Choice(&[
    ("round-robin", Strategy::RoundRobin),
    ("random", Strategy::Random),
    ("least-outstanding", Strategy::LeastOutstanding),
    ("power-of-two", Strategy::PowerOfChoices { choices: 2 }),
    ("kv-aware", Strategy::KvAware),
    ("prefix-affinity", Strategy::PrefixAffinity { max_imbalance: 0 }),
]);

/// Failures by name.
const FAILURES: Choice<Failure> = Choice(&[
    ("rate_limited", Failure::RateLimited),
    ("overloaded", Failure::Overloaded),
    ("server_error", Failure::ServerError),
    ("timeout", Failure::Timeout),
    ("breaker_open", Failure::BreakerOpen),
    ("too_long", Failure::TooLong),
    ("not_eligible", Failure::NotEligible),
]);

pub(super) fn policy(r: &mut Reader<'_>) -> PolicyFile {
    let retries = "Further attempts after a failure, and the timeout of each.";
    let hedging = "A second attempt beside a slow one.";
    PolicyFile {
        balancing: r.named("load_balancing", "How calls are spread over each pool.", balancing),
        routing: r.table("routing", "Which model a call goes to.", routing::routing),
        retries: r.table("retries", retries, guards::retries),
        hedging: r.table("hedging", hedging, guards::hedging),
        breaker: r.table("circuit_breaker", "When a backend is left alone.", guards::breaker),
        admission: r.table("admission", "Who is let in to each model.", guards::admission),
        budgets: r.named("budgets", "Limits of each kind of task.", budgets::budget),
        caching: r
            .table("caching", "Caches of answers and of tool results.", caching::caching)
            .unwrap_or_default(),
        spend_limits: r.list(
            "spend_limits",
            "Limits on what calls and tools may cost.",
            budgets::spend_limit,
        ),
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
        choices: r.may(
            "choices",
            Count { min: 2, max: 100 },
            "For power-of-two: replicas drawn, of which the least loaded is taken. Default: 2.",
        ),
        max_imbalance: r.may(
            "max_imbalance",
            Count { min: 0, max: 1_000_000 },
            "For prefix-affinity: outstanding requests a favoured replica may be ahead. \
             Default: 8.",
        ),
    }
}

/// A list of failures; `None` when it is not written.
fn failures(r: &mut Reader<'_>, key: &'static str, doc: &str) -> Option<FailureSet> {
    let written = r.has(key);
    let list = r.values(key, FAILURES, doc);
    let set = list.iter().fold(FailureSet::default(), |set, failure| set.with(failure.value));
    written.then_some(set)
}

pub(super) fn objectives(r: &mut Reader<'_>) -> Vec<ObjectiveFile> {
    let doc = "Targets that `run` judges: `\"task.p95_latency\" = \"<= 6s\"`.";
    r.leaves("objectives", Text { longest: 60 }, doc)
        .into_iter()
        .map(|(keys, target)| ObjectiveFile { name: keys.join("."), target })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::schema_of;

    #[test]
    fn the_keys_of_a_policy_are_those_that_are_read() {
        let schema = schema_of(policy);
        let read = schema["properties"].as_object().expect("a table");
        let mut known = POLICY_KEYS.to_vec();
        known.sort_unstable();
        assert_eq!(read.keys().collect::<Vec<_>>(), known);
    }
}
