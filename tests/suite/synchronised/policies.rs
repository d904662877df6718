//! Every key of a policy file, in a policy that never acts.
//!
//! Invariant: the cases write every key of the schema and every word it lists, so whoever adds one
//! adds its case; what a file says of all models is also tried as said of each model by its name.

use super::keys;
use super::worlds::{ALL, SOUND, World};
use super::{difference, runs};
use rayon::prelude::*;
use std::collections::BTreeSet;
use toml::{Table, Value};

/// A policy that has nothing to do, beside the same where it has.
struct Case {
    what: &'static str,
    /// Where it never acts.
    worlds: &'static [World],
    /// What there is without it, too.
    base: &'static str,
    /// What is added, in several ways.
    idle: &'static [&'static str],
    /// Where it does act, and written how.
    acting: (World, &'static str),
}

const TASKS: [World; 3] = [World::Calm, World::Distinct, World::Rough];
const SINGLE: [World; 4] = [World::Plain, World::Calm, World::Distinct, World::Rough];
const BY_MODEL: [&str; 4] = ["retries", "hedging", "circuit_breaker", "admission"];

const CASES: &[Case] = &[
    Case {
        what: "balancing of a single replica",
        worlds: &SINGLE,
        base: "",
        idle: &[
            "load_balancing.gpus = { strategy = 'round-robin' }",
            "load_balancing.gpus = { strategy = 'random' }",
            "load_balancing.gpus = { strategy = 'least-outstanding', signal_age = '2s' }",
            "load_balancing.gpus = { strategy = 'power-of-two', choices = 4, count_own_dispatches = false }",
            "load_balancing.gpus = { strategy = 'kv-aware', signal_age = '900ms', count_own_dispatches = true }",
            "load_balancing.gpus = { strategy = 'prefix-affinity', max_imbalance = 0 }",
        ],
        acting: (World::Wide, "load_balancing.gpus = { strategy = 'random' }"),
    },
    Case {
        what: "rules that never hold",
        worlds: &ALL,
        base: "",
        idle: &[
            "routing.escalate_if = [{ when = 'prompt_tokens > 100000', model = 'big' }, \
             { condition = \"elapsed > '9d'\", model = 'small' }]",
            "routing.escalate_if = [{ when = 'confidence < 0.0', model = 'big' }, \
             { when = \"confidence < 0.0 and tier == 'gold'\", model = 'small' }]",
            "routing.escalate_if = [{ when = 'model_calls < 0', model = 'big' }, \
             { when = 'in_flight.api < 0', model = 'big' }, { when = 'waiting.api < 0', model = 'big' }]",
        ],
        acting: (
            World::Calm,
            "routing.escalate_if = [{ when = 'confidence < 0.7', model = 'small' }]",
        ),
    },
    Case {
        what: "the default model said again, by intent",
        worlds: &TASKS,
        base: "",
        idle: &[
            "routing.by_intent = { draft = 'big', sort = 'small' }",
            "routing.default_model = 'big'",
        ],
        acting: (World::Calm, "routing.by_intent = { draft = 'small' }"),
    },
    Case {
        what: "fallbacks with nothing failing",
        worlds: &SOUND,
        base: "",
        idle: &[
            "routing.fallbacks = { big = ['small'], small = ['big'] }",
            "routing.fallbacks.small = [{ model = 'big', on = ['rate_limited', 'overloaded', 'server_error'] }]\n\
             routing.fallbacks.big = [{ model = 'small', on = ['timeout', 'breaker_open', 'too_long', 'not_eligible'] }]",
        ],
        acting: (World::Rough, "routing.fallbacks = { big = ['small'] }"),
    },
    Case {
        what: "fallbacks for other failures than those that come",
        worlds: &ALL,
        base: "",
        idle: &[
            "routing.fallbacks.big = [{ model = 'small', on = ['timeout', 'not_eligible'] }, 'big']",
        ],
        acting: (
            World::Rough,
            "routing.fallbacks.big = [{ model = 'small', on = ['server_error'] }]",
        ),
    },
    Case {
        what: "canaries and shadows of nobody",
        worlds: &ALL,
        base: "",
        idle: &[
            "routing.canary = [{ of = 'big', to = 'small', share = 0.0 }, { of = 'small', to = 'big', share = 0.0 }]",
            "routing.shadow = [{ of = 'big', to = 'small', share = 0.0 }, { of = 'small', to = 'big', share = 0.0 }]",
        ],
        acting: (World::Calm, "routing.shadow = [{ of = 'big', to = 'small', share = 0.3 }]"),
    },
    Case {
        what: "failing closed where every check is made",
        worlds: &SOUND,
        base: "",
        idle: &["routing.fail_closed = true", "routing.fail_closed = false"],
        acting: (World::Rough, "routing.fail_closed = true"),
    },
    Case {
        what: "retries with nothing failing",
        worlds: &SOUND,
        base: "",
        idle: &[
            "[retries]\nmax_attempts = 5\nrespect_retry_after = true\n\
             backoff = { initial = '200ms', factor = 2.0, max = '5s', jitter = 'full' }",
            "[retries]\nmax_attempts = 'unlimited'\nrespect_retry_after = false\nbackoff = { jitter = 'equal' }\n\
             on = ['rate_limited', 'overloaded', 'server_error', 'timeout', 'breaker_open', 'too_long', 'not_eligible']",
        ],
        acting: (World::Rough, "[retries]\nmax_attempts = 5"),
    },
    Case {
        what: "retries after failures that never come",
        worlds: &ALL,
        base: "",
        idle: &[
            "[retries]\non = ['timeout', 'breaker_open', 'too_long', 'not_eligible']\nbackoff = { kind = 'fixed', length = '1s' }",
            "[retries]\non = ['not_eligible']\nbackoff = { kind = 'exponential', mean = '1s' }",
            "[retries]\non = ['not_eligible']\nbackoff = { kind = 'gamma', mean = '1s', cv = 2.0 }",
            "[retries]\non = []\nbackoff = { kind = 'lognormal', p50 = '1s', p95 = '3s' }",
            "[retries]\nmax_attempts = 1\nbackoff = { jitter = 'none' }",
        ],
        acting: (World::Rough, "[retries]\non = ['server_error']"),
    },
    Case {
        what: "a retry budget never used up",
        worlds: &ALL,
        base: "[retries]\nmax_attempts = 4",
        idle: &[
            "[retries]\nretry_budget = { ratio = 1000.0, min_per_second = 1000000, ttl = '10s' }",
            "[retries]\nretry_budget = 'none'",
        ],
        acting: (
            World::Rough,
            "[retries]\nretry_budget = { ratio = 0.01, min_per_second = 0, ttl = '1s' }",
        ),
    },
    Case {
        what: "a timeout never reached",
        worlds: &ALL,
        base: "[retries]\nmax_attempts = 3",
        idle: &[
            "[retries]\ntimeout = '9d'\ncancel_on_timeout = true",
            "[retries]\ntimeout = '9d'\ncancel_on_timeout = false",
            "[retries]\ntimeout = 'none'\ncancel_on_timeout = true",
        ],
        acting: (World::Calm, "[retries]\ntimeout = '600ms'\ncancel_on_timeout = true"),
    },
    Case {
        what: "hedges never needed",
        worlds: &ALL,
        base: "",
        idle: &[
            "[hedging]\ndelay = '9d'\nmax_attempts = 3",
            "[hedging]\ndelay = '1ms'\nmax_attempts = 1",
        ],
        acting: (World::Calm, "[hedging]\ndelay = '600ms'\nmax_attempts = 2"),
    },
    Case {
        what: "a breaker with nothing failing and nothing slow",
        worlds: &SOUND,
        base: "",
        idle: &[
            "[circuit_breaker]\nenabled = true\nfailure_rate_threshold = 1\nminimum_number_of_calls = 1\n\
             consecutive_failures = 1\nslow_call_rate_threshold = 1\nslow_call_duration_threshold = '9d'\n\
             sliding_window_type = 'count_based'\nsliding_window_size = 5\n\
             wait_duration_in_open_state = '60s'\npermitted_calls_in_half_open_state = 1\n\
             record = ['rate_limited', 'overloaded', 'server_error', 'timeout', 'breaker_open', 'too_long', 'not_eligible']",
        ],
        acting: (World::Rough, "[circuit_breaker]\nconsecutive_failures = 1"),
    },
    Case {
        what: "a breaker that never opens",
        worlds: &ALL,
        base: "",
        idle: &[
            "[circuit_breaker]\nsliding_window_type = 'time_based'\nsliding_window_size = 10\n\
             minimum_number_of_calls = 100000\nconsecutive_failures = 'never'",
            "[circuit_breaker]\nfailure_rate_threshold = 1\nminimum_number_of_calls = 1\nrecord = ['not_eligible']",
            "[circuit_breaker]\nenabled = false\nfailure_rate_threshold = 1\nminimum_number_of_calls = 1",
        ],
        acting: (
            World::Calm,
            "[circuit_breaker]\nslow_call_rate_threshold = 1\nminimum_number_of_calls = 5\nslow_call_duration_threshold = '900ms'",
        ),
    },
    Case {
        what: "admission of everybody",
        worlds: &ALL,
        base: "",
        idle: &[
            "[admission]\nmax_in_flight = 'unlimited'",
            "[admission]\nmax_in_flight = 100000000\nshed = [{ priority = 1000, in_flight = 0 }, { priority = -9, in_flight = 100000000 }]",
        ],
        acting: (World::Calm, "[admission]\nmax_in_flight = 1"),
    },
    Case {
        what: "budgets never used up",
        worlds: &ALL,
        base: "",
        idle: &[
            "budgets.reply.max_model_calls = 1000000000",
            "budgets.reply.max_input_tokens = 1000000000",
            "budgets.reply.max_output_tokens = 1000000000",
            "budgets.reply.max_tool_time = '9d'",
            "budgets.reply.max_latency = '9d'",
        ],
        acting: (World::Calm, "budgets.reply.max_latency = '900ms'"),
    },
    Case {
        what: "a ladder that nobody has to take",
        worlds: &ALL,
        base: "",
        idle: &[
            "budgets.reply.on_exceeded = ['shorter_context', 'smaller_model', 'cached_answer', 'partial_result', 'refine']",
            "budgets.reply = { max_output_tokens = 1000000000, on_exceeded = [{ rung = 'shorter_context', keep = 0.1, quality = 0.3 }, \
             { rung = 'smaller_model', model = 'small' }, { rung = 'cached_answer', similarity = 0.5 }, \
             { rung = 'partial_result', quality = 0.2 }, { rung = 'refine' }] }",
        ],
        acting: (
            World::Calm,
            "budgets.reply = { max_input_tokens = 200, on_exceeded = ['shorter_context', 'partial_result'] }",
        ),
    },
    Case {
        what: "caches that are never asked",
        worlds: &[World::Plain, World::Wide],
        base: "",
        idle: &[
            "caching.exact = { ttl = '1h', capacity = 9, eviction = 'lru', lookup = '40ms' }",
            "caching.semantic = { similarity_threshold = 0.1, ttl = '1h', capacity = 9, eviction = 'fifo', lookup = '40ms' }",
            "caching.semantic_cache = { similarity_threshold = 0.1, ttl = 'none', eviction = 'random' }",
            "caching.tools.search = { ttl = '1h', lookup = '40ms' }",
        ],
        acting: (World::Calm, "caching.exact = { ttl = '1h' }"),
    },
    Case {
        what: "caches that never have the answer",
        worlds: &[World::Plain, World::Wide, World::Distinct],
        base: "",
        idle: &[
            "caching.exact = { enabled = true, ttl_seconds = 3600, capacity = 5000, eviction = 'random', lookup = '0s' }",
            "caching.exact = { ttl = 'none', eviction = 'fifo' }",
            "caching.semantic = { enabled = true, similarity_threshold = 0.95, ttl_seconds = 3600, eviction = 'random', lookup = '0s' }",
            "caching.semantic = { similarity_threshold = 0.95, ttl = 'none' }",
            "caching.semantic_cache = { enabled = true, similarity_threshold = 0.95, ttl = '1h', capacity = 5, lookup = '0s', eviction = 'lru' }",
            "caching.tools.search = { enabled = true, ttl_seconds = 3600, capacity = 5, eviction = 'lru', lookup = '0s' }",
            "caching.tools.search = { ttl = 'none', eviction = 'fifo' }",
        ],
        acting: (World::Calm, "caching.tools.search = { ttl = '1h', eviction = 'random' }"),
    },
    Case {
        what: "caches that are switched off",
        worlds: &ALL,
        base: "",
        idle: &[
            "caching.exact = { enabled = false, ttl = '1h', lookup = '9ms' }",
            "caching.semantic = { enabled = false, similarity_threshold = 0.1, eviction = 'lru' }",
            "caching.semantic_cache = { enabled = false, similarity_threshold = 0.1, ttl_seconds = 9, eviction = 'fifo' }",
            "caching.tools.search = { enabled = false, ttl = '1h', eviction = 'random' }",
        ],
        acting: (World::Calm, "caching.semantic = { similarity_threshold = 0.85, ttl = '1h' }"),
    },
    Case {
        what: "spend limits never reached",
        worlds: &ALL,
        base: "",
        idle: &[
            "spend_limits = [{ limit = '$1000000/day' }]",
            "spend_limits = [{ scope = 'all', limit = '$1000000', period = '10s', then = 'refuse' }, \
             { scope = 'each_tenant', limit = '$1000000/h', then = { smaller_model = 'small' } }]",
            "spend_limits = [{ scope = { task = 'reply' }, limit = '$1000000/month', then = { smaller_model = 'big' } }]",
        ],
        acting: (
            World::Calm,
            "spend_limits = [{ scope = 'each_tenant', limit = '$0.002', period = '1m' }]",
        ),
    },
];

/// An SLO is no policy: it is a question, and its answer a count of its own. Two ways to ask it.
const SLO: [&str; 2] =
    ["budgets.reply.p95_latency_slo = '900ms'", "budgets.reply.p95_latency_slo_ms = 900"];

fn table(text: &str) -> Table {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The same, said of each model by its name; `None` where a policy cannot be said so.
fn by_name(policy: &Table) -> Option<Table> {
    let mut named = policy.clone();
    let mut any = false;
    for key in BY_MODEL {
        if let Some(all) = named.remove(key) {
            let models = ["small", "big"].map(|model| (model.to_owned(), all.clone()));
            let models = Value::Table(models.into_iter().collect());
            named.insert(
                key.to_owned(),
                Value::Table(Table::from_iter([("models".to_owned(), models)])),
            );
            any = true;
        }
    }
    any.then_some(named)
}

/// Each idle policy of a case, in both ways of saying it.
fn ways(case: &Case) -> Vec<Table> {
    let said = case.idle.iter().map(|text| table(text));
    said.flat_map(|policy| std::iter::once(policy.clone()).chain(by_name(&policy))).collect()
}

#[test]
fn a_policy_that_never_acts_changes_no_byte() {
    let changes = CASES.par_iter().flat_map_iter(|case| {
        let base = table(case.base);
        let in_world = move |&world: &World| {
            let before = runs(&world.under(&[&base]), 7);
            let change = |policy: Table| {
                let found = difference(&before, &runs(&world.under(&[&base, &policy]), 7))?;
                Some(format!("{} in {world:?}, {policy}: {found}", case.what))
            };
            ways(case).into_iter().filter_map(change).collect::<Vec<String>>()
        };
        case.worlds.iter().flat_map(in_world)
    });
    let changes: Vec<String> = changes.collect();
    assert!(changes.is_empty(), "{}", changes.join("\n"));
}

/// What the comparison above would overlook, it would overlook here.
#[test]
fn the_same_policies_are_seen_where_they_act() {
    CASES.par_iter().for_each(|case| {
        let (base, (world, acting)) = (table(case.base), case.acting);
        let before = runs(&world.under(&[&base]), 7);
        for policy in std::iter::once(table(acting)).chain(by_name(&table(acting))) {
            let after = runs(&world.under(&[&base, &policy]), 7);
            let what = format!("{} in {world:?}: {policy:?}", case.what);
            assert_ne!(before.outcomes, after.outcomes, "{what}");
            assert_ne!(before.digest, after.digest, "{what}");
        }
    });
}

#[test]
fn an_slo_moves_nothing_but_its_own_count() {
    for world in ALL {
        let without = runs(&world.under(&[]), 7);
        let [one, other] = SLO.map(|text| runs(&world.under(&[&table(text)]), 7));
        assert_eq!(one, other, "{world:?}: it is the same, in milliseconds");
        let mut late = 0;
        for (outcome, without) in one.outcomes.iter().zip(&without.outcomes) {
            let mut outcome = outcome.clone();
            for task in &mut outcome.tasks {
                late += task.succeeded - task.within_slo;
                task.within_slo = task.succeeded;
            }
            assert_eq!(&outcome, without, "{world:?}");
        }
        assert!(late > 0, "{world:?}: nobody is late, so this says nothing");
    }
}

#[test]
fn every_key_of_a_policy_has_its_case() {
    let policies = CASES.iter().flat_map(ways).chain(SLO.map(table));
    let used: BTreeSet<String> = policies.flat_map(|policy| keys::used(&policy)).collect();
    let known = keys::known();
    let missing: Vec<&String> = known.difference(&used).collect();
    assert!(missing.is_empty(), "without a case that shows it idle: {missing:#?}");
    let unknown: Vec<&String> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "not in the schema: {unknown:#?}");
    assert!(known.len() > 150, "the schema is not read: {known:?}");
}

#[test]
fn a_key_without_a_case_is_found() {
    let policy = table("[hedging]\ndelay = '9d'\n[caching.exact]\neviction = 'lru'");
    let used = keys::used(&policy);
    let missing = |key: &str| keys::known().difference(&used).any(|missing| missing == key);
    assert!(!missing(".hedging.delay") && missing(".hedging.max_attempts"));
    assert!(!missing(".caching.exact.eviction=lru") && missing(".caching.exact.eviction=fifo"));
    assert!(missing(".hedging.models.*.delay"), "what is said of one model is a key of its own");
}
