//! What policies, backends and people come to inside the simulator, at rest in random scenarios.
//!
//! Each setting is switched on alone: two that act might make up for each other. Random scenarios
//! are busy with every other policy meanwhile, so a draw too many shows somewhere.

use super::{difference, outcome, runs};
use crate::{swarm, tasks::any};
use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::TestRunner;
use rayon::prelude::*;
use sim::Scenario;
use sim::backends::{
    Bucket, Discipline, Incident, Limits, PromptCache, RemoteKind, RemotePrice, RemoteSpec,
};
use sim::cache::{Eviction, ExactCacheSpec, QuerySpec, SemanticCacheSpec};
use sim::dist::DurationDist;
use sim::fleet::Strategy;
use sim::ids::{Backend, ModelId, PlanId, PoolId, TaskId};
use sim::predicate::{Op, Predicate, Signal, Value};
use sim::price::{Beyond, LimitReached, PlanSpec, SpendLimit, SpendScope};
use sim::resilience::{
    AdmissionSpec, Backoff, BreakerSpec, FailureSet, GuardSpec, HedgeSpec, RetryBudgetSpec,
    RetrySpec, SlidingWindow,
};
use sim::routing::{Fallback, Rule, Share};
use sim::scenario::{BackendChoice, Serving};
use sim::tasks::{ModelCallSpec, Rung, TaskBudget, ToolUse, Work};
use sim::units::{Blocks, Money, Span, Time, Tokens};
use sim::workload::{ClientSpec, ResubmitSpec, TenantSpec};

const EVER: Span = Span::from_secs(10_000_000);
const SOON: Span = Span::from_millis(40);
/// Scenarios of tasks under every policy, and of plain calls.
const TASKS: usize = 14;
const PLAIN: usize = 6;
/// Scenarios in which the acting form of a setting has to show.
const ACTS: usize = 2;

/// One scenario in so many is compared by its digest, too.
const DIGEST_OF_EACH: u64 = 8;

type Change = fn(&mut Scenario);

/// A setting that has nothing to do, beside one that has.
struct Setting {
    what: &'static str,
    /// Done to both.
    prepare: Change,
    idle: &'static [Change],
    acting: Change,
}

fn guards(s: &mut Scenario, change: impl Fn(&mut GuardSpec)) {
    s.models.iter_mut().for_each(|model| change(&mut model.guards));
}

fn budgets(s: &mut Scenario, change: impl Fn(&mut TaskBudget)) {
    s.tasks.iter_mut().for_each(|task| change(&mut task.budget));
}

fn remotes(s: &mut Scenario, change: impl Fn(&mut RemoteSpec)) {
    s.remotes.iter_mut().for_each(change);
}

fn calls(s: &mut Scenario, change: impl Fn(&mut ModelCallSpec)) {
    for step in s.tasks.iter_mut().flat_map(|task| &mut task.graph.steps) {
        if let Work::ModelCall(call) = &mut step.work {
            change(call);
        }
    }
}

fn tools(s: &mut Scenario, change: impl Fn(&mut ToolUse)) {
    for step in s.tasks.iter_mut().flat_map(|task| &mut task.graph.steps) {
        if let Work::Tool(tool) = &mut step.work {
            change(tool);
        }
    }
}

fn clients(s: &mut Scenario, change: impl Fn(&mut ClientSpec)) {
    s.sources.iter_mut().for_each(|source| change(&mut source.people.client));
}

fn incidents(s: &mut Scenario, incident: Incident) {
    s.remotes.iter_mut().for_each(|remote| remote.incidents.insert(0, incident));
    s.tools.iter_mut().for_each(|tool| tool.incidents.insert(0, incident));
}

fn incident(at: Span, length: Span, error_rate: f64, slowness: f64) -> Incident {
    Incident { at: Time(at.0), length, error_rate, slowness, error_after: SOON }
}

/// Of capacity rented by the hour the number of places says how much of it is idle.
fn not_rented(remote: &RemoteSpec) -> bool {
    !matches!(remote.price, RemotePrice::Hourly { .. })
}

fn strategy(s: &mut Scenario, strategy: Strategy) {
    for pool in &mut s.pools {
        (pool.balancing.strategy, pool.balancing.signal_age) = (strategy, Span::from_millis(700));
    }
}

/// `left operator right` as the first rule of one kind.
fn rule(left: Op, right: Op, operator: Op) -> Rule {
    let when = Predicate::new(vec![left, right, operator]).expect("well formed");
    Rule { when, model: ModelId(0) }
}

fn number(value: f64) -> Op {
    Op::Constant(Value::Number(value))
}

fn fallback(s: &mut Scenario, on: FailureSet) {
    let model = ModelId(s.models.len() as u32 - 1);
    s.routing.fallbacks.resize(s.models.len(), Vec::new());
    s.routing.fallbacks.iter_mut().for_each(|list| list.push(Fallback { model, on }));
}

fn share(s: &mut Scenario, share: f64, shadow: bool) {
    for number in 0..s.models.len() as u32 {
        let (of, to) = (ModelId(number), ModelId((number + 1) % s.models.len() as u32));
        s.routing.shares.insert(0, Share { of, to, share, shadow, key: 700 + u64::from(number) });
    }
}

fn retry(s: &mut Scenario, max_attempts: u32, on: FailureSet) {
    let backoff = Backoff::Drawn(DurationDist::Exponential { mean: SOON });
    let retry = RetrySpec { max_attempts, on, backoff, respect_retry_after: true, budget: None };
    guards(s, |g| g.retry = Some(retry.clone()));
}

fn retry_budget(s: &mut Scenario, ratio: f64, min_per_second: u32) {
    let budget = RetryBudgetSpec { ratio, min_per_second, ttl: Span::from_secs(10) };
    guards(s, |g| g.retry.iter_mut().for_each(|retry| retry.budget = Some(budget)));
}

fn breaker(minimum_number_of_calls: u32, window: SlidingWindow, on: FailureSet) -> BreakerSpec {
    BreakerSpec {
        failure_rate_threshold: 1.0,
        slow_call_rate_threshold: 100.0,
        slow_call_duration_threshold: EVER,
        sliding_window: window,
        minimum_number_of_calls,
        wait_duration_in_open_state: SOON,
        permitted_calls_in_half_open_state: 1,
        consecutive_failures: None,
        failures: on,
    }
}

fn query(topics: u32) -> QuerySpec {
    QuerySpec {
        topics,
        zipf: 0.0,
        phrasings: 1,
        neighbours: 1,
        similarity: 0.9,
        neighbour_similarity: 0.8,
        spread: 0.05,
    }
}

/// A cache of answers or results.
fn cache(lookup: Span) -> ExactCacheSpec {
    ExactCacheSpec { ttl: EVER, capacity: 1_000, eviction: Eviction::Random, lookup }
}

fn similar(similarity_threshold: f64, lookup: Span) -> Option<SemanticCacheSpec> {
    let ExactCacheSpec { ttl, capacity, eviction, lookup } = cache(lookup);
    Some(SemanticCacheSpec { similarity_threshold, ttl, capacity, eviction, lookup })
}

/// Without any cache of answers, and without the rung that asks one.
fn without_caches(s: &mut Scenario) {
    (s.semantic_cache, s.exact_cache) = (None, None);
    let asks = |rung: &Rung| matches!(rung, Rung::CachedAnswer { .. });
    budgets(s, |budget| budget.on_exceeded.retain(|rung| !asks(rung)));
}

fn spend_limit(s: &mut Scenario, scope: SpendScope, then: LimitReached, limit: Money) {
    s.spend_limits.insert(0, SpendLimit { scope, limit, period: Span::from_secs(1), then });
}

fn plan(s: &mut Scenario, included: Option<u32>, beyond: Beyond) {
    s.plans = vec![PlanSpec {
        name: "plan".into(),
        per_month: Money(7_000),
        included,
        beyond,
        per_success: Money(3),
        premium: None,
    }];
    for tenants in s.sources.iter_mut().filter_map(|source| source.people.tenants.as_mut()) {
        tenants.plan = Some(PlanId(0));
    }
}

/// Whoever asks again asks the same question: here nobody does.
fn each_question_once(s: &mut Scenario) {
    clients(s, |client| client.resubmit = None);
    for step in s.tasks.iter_mut().flat_map(|task| &mut task.graph.steps) {
        step.check.iter_mut().for_each(|check| check.redo = 0);
    }
}

/// Nobody is refused by any backend.
fn roomy(s: &mut Scenario) {
    remotes(s, |remote| {
        (remote.kind, remote.devices) = (RemoteKind::Hosted, Vec::new());
        (remote.limits, remote.max_context) = (Limits::default(), u32::MAX);
        (remote.station.servers, remote.station.queue_limit) = (None, None);
    });
    for engine in s.pools.iter_mut().map(|pool| &mut pool.engine) {
        (engine.kv_blocks, engine.watermark) = (Blocks(20_000), Blocks(0));
        engine.max_model_len = Tokens(48_000);
        engine.chunked_prefill = true;
        (engine.max_num_queued_reqs, engine.max_num_queued_tokens) = (None, None);
    }
    for model in &mut s.models {
        (model.choice, model.guards) = (BackendChoice::Ordered, GuardSpec::default());
        let another = s.pools.len() as u32;
        model.served_by.retain(|serving| serving.backend != Backend::Pool(PoolId(another)));
    }
    // Somewhere to go to, which everybody knows of already.
    let pool = swarm::pool().new_tree(&mut TestRunner::deterministic()).expect("a pool").current();
    s.pools.push(pool);
}

fn overflow(s: &mut Scenario, first: bool) {
    let backend = Backend::Pool(PoolId(s.pools.len() as u32 - 1));
    for model in &mut s.models {
        let at = if first { 0 } else { model.served_by.len() };
        model.served_by.insert(at, Serving { backend, weight: 1.0 });
    }
}

const LADDER: [Rung; 5] = [
    Rung::ShorterContext { keep: 0.2, quality: 0.1 },
    Rung::SmallerModel { model: ModelId(0) },
    Rung::CachedAnswer { similarity: 0.1 },
    Rung::PartialResult { quality: 0.1 },
    Rung::Refine,
];

const FAR: Bucket = Bucket { per_minute: u64::MAX / 4, burst: u64::MAX / 4 };
const NEAR: Bucket = Bucket { per_minute: 1, burst: 1 };

const SETTINGS: &[Setting] = &[
    Setting {
        what: "balancing of a single replica",
        prepare: |s| s.pools.iter_mut().for_each(|pool| pool.replicas = 1),
        idle: &[
            |s| strategy(s, Strategy::RoundRobin),
            |s| strategy(s, Strategy::Random),
            |s| strategy(s, Strategy::LeastOutstanding),
            |s| strategy(s, Strategy::PowerOfChoices { choices: 3 }),
            |s| strategy(s, Strategy::KvAware),
            |s| strategy(s, Strategy::PrefixAffinity { max_imbalance: 0 }),
        ],
        acting: |s| s.pools.iter_mut().for_each(|pool| pool.replicas = 3),
    },
    Setting {
        what: "rules that never hold",
        prepare: |_| (),
        idle: &[
            |s| {
                s.routing.rules.insert(0, rule(Op::Read(Signal::ModelCalls), number(0.0), Op::Less))
            },
            |s| s.routing.rules.insert(0, rule(number(1e15), Op::Read(Signal::Elapsed), Op::Less)),
            |s| {
                s.routing
                    .escalations
                    .insert(0, rule(Op::Read(Signal::Confidence), number(0.0), Op::Less))
            },
        ],
        acting: |s| {
            s.routing.rules.insert(0, rule(number(0.0), Op::Read(Signal::ModelCalls), Op::AtMost))
        },
    },
    Setting {
        what: "fallbacks after failures that never come",
        prepare: |_| (),
        idle: &[|s| fallback(s, FailureSet::default())],
        acting: |s| fallback(s, FailureSet::ALL),
    },
    Setting {
        what: "canaries and shadows of nobody",
        prepare: |_| (),
        idle: &[|s| share(s, 0.0, true), |s| share(s, 0.0, false)],
        acting: |s| share(s, 0.5, true),
    },
    Setting {
        what: "retries that are never made",
        prepare: |s| guards(s, |g| g.retry = None),
        idle: &[|s| retry(s, 1, FailureSet::ALL), |s| retry(s, 9, FailureSet::default())],
        acting: |s| retry(s, 3, FailureSet::ALL),
    },
    Setting {
        what: "a retry budget never used up",
        prepare: |s| guards(s, |g| g.retry.iter_mut().for_each(|retry| retry.budget = None)),
        idle: &[|s| retry_budget(s, 1e3, 0x10_0000), |s| retry_budget(s, 0.0, u32::MAX)],
        acting: |s| retry_budget(s, 0.0, 0),
    },
    Setting {
        what: "a timeout never reached",
        prepare: |s| guards(s, |g| g.timeout = None),
        idle: &[
            |s| guards(s, |g| (g.timeout, g.cancel_on_timeout) = (Some(EVER), true)),
            |s| guards(s, |g| (g.timeout, g.cancel_on_timeout) = (Some(EVER), false)),
        ],
        acting: |s| guards(s, |g| g.timeout = Some(SOON)),
    },
    Setting {
        what: "hedges that are never made",
        prepare: |s| guards(s, |g| g.hedge = None),
        idle: &[
            |s| guards(s, |g| g.hedge = Some(HedgeSpec { delay: EVER, max_attempts: 9 })),
            |s| guards(s, |g| g.hedge = Some(HedgeSpec { delay: SOON, max_attempts: 1 })),
        ],
        acting: |s| guards(s, |g| g.hedge = Some(HedgeSpec { delay: SOON, max_attempts: 2 })),
    },
    Setting {
        what: "a breaker that never opens",
        prepare: |s| guards(s, |g| g.breaker = None),
        idle: &[
            |s| {
                let never = breaker(u32::MAX, SlidingWindow::Seconds(9), FailureSet::ALL);
                guards(s, |g| g.breaker = Some(never));
            },
            |s| {
                let never = breaker(1, SlidingWindow::Calls(2), FailureSet::default());
                guards(s, |g| g.breaker = Some(never));
            },
        ],
        acting: |s| {
            let soon = breaker(1, SlidingWindow::Calls(9), FailureSet::ALL);
            guards(s, |g| g.breaker = Some(soon));
        },
    },
    Setting {
        what: "admission of everybody",
        prepare: |s| guards(s, |g| g.admission = AdmissionSpec::default()),
        idle: &[
            |s| guards(s, |g| g.admission.max_in_flight = Some(u32::MAX)),
            |s| guards(s, |g| g.admission.shed = vec![(i32::MAX, 0), (i32::MIN, u32::MAX)]),
        ],
        acting: |s| guards(s, |g| g.admission.max_in_flight = Some(1)),
    },
    Setting {
        what: "a budget of model calls",
        prepare: |s| budgets(s, |b| b.max_model_calls = None),
        idle: &[|s| budgets(s, |b| b.max_model_calls = Some(u32::MAX))],
        acting: |s| budgets(s, |b| b.max_model_calls = Some(1)),
    },
    Setting {
        what: "a budget of prompt tokens",
        prepare: |s| budgets(s, |b| b.max_input_tokens = None),
        idle: &[|s| budgets(s, |b| b.max_input_tokens = Some(u32::MAX))],
        acting: |s| budgets(s, |b| b.max_input_tokens = Some(90)),
    },
    Setting {
        what: "a budget of answer tokens",
        prepare: |s| budgets(s, |b| b.max_output_tokens = None),
        idle: &[|s| budgets(s, |b| b.max_output_tokens = Some(u32::MAX))],
        acting: |s| budgets(s, |b| b.max_output_tokens = Some(9)),
    },
    Setting {
        what: "a budget of time in tools",
        prepare: |s| budgets(s, |b| b.max_tool_time = None),
        idle: &[|s| budgets(s, |b| b.max_tool_time = Some(EVER))],
        acting: |s| budgets(s, |b| b.max_tool_time = Some(SOON)),
    },
    Setting {
        what: "a deadline",
        prepare: |s| budgets(s, |b| b.max_latency = None),
        idle: &[|s| budgets(s, |b| b.max_latency = Some(EVER))],
        acting: |s| budgets(s, |b| b.max_latency = Some(SOON)),
    },
    Setting {
        what: "a ladder without limits, and far from them",
        prepare: |s| budgets(s, |b| *b = TaskBudget::default()),
        idle: &[
            |s| budgets(s, |b| b.on_exceeded = LADDER.to_vec()),
            |s| budgets(s, |b| (b.on_exceeded, b.max_latency) = (LADDER.to_vec(), Some(EVER))),
        ],
        acting: |s| {
            budgets(s, |b| (b.on_exceeded, b.max_output_tokens) = (LADDER.to_vec(), Some(9)))
        },
    },
    Setting {
        what: "caches of answers where nothing is asked",
        prepare: |s| {
            without_caches(s);
            calls(s, |call| call.query = None);
        },
        idle: &[|s| s.semantic_cache = similar(0.0, SOON), |s| s.exact_cache = Some(cache(SOON))],
        acting: |s| {
            calls(s, |call| (call.query, call.cacheable) = (Some(query(2)), true));
            s.exact_cache = Some(cache(SOON));
        },
    },
    Setting {
        what: "caches of answers where nothing may be cached",
        prepare: |s| {
            without_caches(s);
            calls(s, |call| (call.query, call.cacheable) = (Some(query(2)), false));
        },
        idle: &[|s| s.semantic_cache = similar(0.0, SOON), |s| s.exact_cache = Some(cache(SOON))],
        acting: |s| {
            calls(s, |call| call.cacheable = true);
            s.semantic_cache = similar(0.5, SOON);
        },
    },
    Setting {
        what: "caches of answers that never have one",
        prepare: |s| {
            without_caches(s);
            each_question_once(s);
            calls(s, |call| (call.query, call.cacheable) = (Some(query(u32::MAX)), true));
        },
        idle: &[
            |s| s.semantic_cache = similar(0.999, Span::ZERO),
            |s| s.exact_cache = Some(cache(Span::ZERO)),
        ],
        acting: |s| s.exact_cache = Some(cache(SOON)),
    },
    Setting {
        what: "a cache of results where nothing is asked",
        prepare: |s| tools(s, |tool| (tool.query, tool.cache) = (None, None)),
        idle: &[|s| tools(s, |tool| tool.cache = Some(cache(SOON)))],
        acting: |s| tools(s, |tool| (tool.query, tool.cache) = (Some(query(2)), Some(cache(SOON)))),
    },
    Setting {
        what: "a cache of results that never has one",
        prepare: |s| {
            each_question_once(s);
            tools(s, |tool| (tool.query, tool.cache) = (Some(query(u32::MAX)), None));
        },
        idle: &[|s| tools(s, |tool| tool.cache = Some(cache(Span::ZERO)))],
        acting: |s| tools(s, |tool| (tool.query, tool.cache) = (Some(query(2)), Some(cache(SOON)))),
    },
    Setting {
        what: "spend limits never reached",
        prepare: |s| s.spend_limits.clear(),
        idle: &[
            |s| spend_limit(s, SpendScope::All, LimitReached::Refuse, Money(i128::MAX / 4)),
            |s| spend_limit(s, SpendScope::EachTenant, LimitReached::Refuse, Money(i128::MAX / 4)),
            |s| {
                let then = LimitReached::SmallerModel(ModelId(0));
                spend_limit(s, SpendScope::Task(TaskId(0)), then, Money(i128::MAX / 4));
            },
        ],
        acting: |s| spend_limit(s, SpendScope::EachTenant, LimitReached::Refuse, Money(1)),
    },
    Setting {
        what: "a plan never used up",
        prepare: |s| plan(s, None, Beyond::Charged(Money::ZERO)),
        idle: &[
            |s| plan(s, Some(u32::MAX), Beyond::Refused),
            |s| plan(s, Some(u32::MAX), Beyond::Charged(Money(9))),
        ],
        acting: |s| plan(s, Some(0), Beyond::Refused),
    },
    Setting {
        what: "an overflow that nobody needs",
        prepare: roomy,
        idle: &[|s| overflow(s, false)],
        acting: |s| overflow(s, true),
    },
    Setting {
        what: "incidents that take no time, come too late or do nothing",
        prepare: |_| (),
        idle: &[
            |s| incidents(s, incident(Span::from_secs(2), Span::ZERO, 1.0, 9.0)),
            |s| incidents(s, incident(EVER, Span::from_secs(60), 1.0, 9.0)),
            |s| incidents(s, incident(Span::ZERO, EVER, 0.0, 1.0)),
        ],
        acting: |s| incidents(s, incident(Span::ZERO, EVER, 0.5, 2.0)),
    },
    Setting {
        what: "rate limits never reached",
        prepare: |s| remotes(s, |remote| remote.limits = Limits::default()),
        idle: &[
            |s| remotes(s, |remote| remote.limits.requests = Some(FAR)),
            |s| remotes(s, |remote| remote.limits.tokens = Some(FAR)),
            |s| remotes(s, |remote| remote.limits.input_tokens = Some(FAR)),
            |s| remotes(s, |remote| remote.limits.output_tokens = Some(FAR)),
        ],
        acting: |s| remotes(s, |remote| remote.limits.requests = Some(NEAR)),
    },
    Setting {
        what: "places for everybody, and rules for a queue in which nobody waits",
        prepare: |s| remotes(s, |r| (r.station.servers, r.station.queue_limit) = (None, None)),
        idle: &[
            |s| {
                s.remotes
                    .iter_mut()
                    .filter(|r| not_rented(r))
                    .for_each(|r| r.station.servers = Some(u32::MAX))
            },
            |s| remotes(s, |remote| remote.station.queue_limit = Some(0)),
            |s| remotes(s, |remote| remote.station.discipline = Discipline::ShortestFirst),
            |s| remotes(s, |remote| remote.station.discipline = Discipline::Priority),
        ],
        acting: |s| remotes(s, |remote| remote.station.servers = Some(1)),
    },
    Setting {
        what: "a prompt cache for longer prompts than there are",
        prepare: |s| remotes(s, |remote| remote.prompt_cache = None),
        idle: &[|s| {
            let cache =
                PromptCache { ttl: EVER, min_tokens: u32::MAX, granularity: 1, capacity: 9 };
            remotes(s, |remote| remote.prompt_cache = Some(cache));
        }],
        acting: |s| {
            let cache = PromptCache { ttl: EVER, min_tokens: 1, granularity: 1, capacity: 9 };
            remotes(s, |remote| remote.prompt_cache = Some(cache));
        },
    },
    Setting {
        what: "patience without end, and nobody who asks again",
        prepare: |s| clients(s, |client| *client = ClientSpec::default()),
        idle: &[
            |s| clients(s, |client| client.patience = Some(DurationDist::Fixed(EVER))),
            |s| clients(s, |client| client.abandoned_work_goes_on = true),
            |s| {
                let pause = DurationDist::Exponential { mean: SOON };
                let never = ResubmitSpec { max_submissions: 9, probability: 0.0, pause };
                clients(s, |client| client.resubmit = Some(never.clone()));
            },
            |s| {
                let pause = DurationDist::Exponential { mean: SOON };
                let once = ResubmitSpec { max_submissions: 1, probability: 1.0, pause };
                clients(s, |client| client.resubmit = Some(once.clone()));
            },
        ],
        acting: |s| clients(s, |client| client.patience = Some(DurationDist::Fixed(SOON))),
    },
];

/// The same scenarios every time: tasks under every policy, and plain calls.
fn scenarios() -> Vec<Scenario> {
    let mut runner = TestRunner::deterministic();
    let mut found = Vec::new();
    for _ in 0..TASKS {
        found.push(any::scenarios().new_tree(&mut runner).expect("a scenario").current());
    }
    for _ in 0..PLAIN {
        found.push(swarm::scenarios().new_tree(&mut runner).expect("a scenario").current());
    }
    found
}

/// What the idle forms of a setting change, and that its acting form changes nothing.
fn findings(setting: &Setting, scenarios: &[Scenario]) -> Vec<String> {
    let (mut found, mut acted) = (Vec::new(), 0);
    for (scenario, seed) in scenarios.iter().zip(0..) {
        let with = |change: Change| {
            let mut changed = scenario.clone();
            (setting.prepare)(&mut changed);
            change(&mut changed);
            if seed % DIGEST_OF_EACH == 0 { runs(&changed, seed) } else { outcome(&changed, seed) }
        };
        let before = with(|_| ());
        for (number, &idle) in setting.idle.iter().enumerate() {
            let change = difference(&before, &with(idle));
            found.extend(change.map(|change| format!("{} ({number}): {change}", setting.what)));
        }
        if acted < ACTS && with(setting.acting) != before {
            acted += 1;
        }
    }
    if acted < ACTS {
        found.push(format!("{}: not seen where it acts", setting.what));
    }
    found
}

#[test]
fn a_setting_that_never_acts_changes_no_byte() {
    let scenarios = scenarios();
    let found = SETTINGS.par_iter().flat_map_iter(|setting| findings(setting, &scenarios));
    let found: Vec<String> = found.collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Tenants without plans and limits divide the bill and the tasks among them, and nothing else:
/// who a task belongs to matters only to what is drawn once for each tenant.
#[test]
fn tenants_without_limits_change_nothing_but_their_own_accounts() {
    let tenants = |scenario: &Scenario, tenants: Option<TenantSpec>, seed: u64| {
        let mut scenario = scenario.clone();
        scenario.plans.clear();
        scenario.spend_limits.retain(|limit| limit.scope != SpendScope::EachTenant);
        for people in scenario.sources.iter_mut().map(|source| &mut source.people) {
            people.attributes.iter_mut().for_each(|attribute| attribute.per_tenant = false);
            people.tenants = tenants;
        }
        let mut outcome = outcome(&scenario, seed).outcomes.remove(0);
        let accounts = std::mem::take(&mut outcome.tenants);
        (outcome, accounts)
    };
    let mut divided = 0;
    for (scenario, seed) in scenarios().iter().zip(0..) {
        let (expected, nobody) = tenants(scenario, None, seed);
        for count in [1, 5] {
            let some = TenantSpec { first: 0, count, zipf: 0.7, plan: None };
            let (outcome, accounts) = tenants(scenario, Some(some), seed);
            assert!(outcome == expected, "{count} tenants in scenario {seed}");
            divided += usize::from(accounts != nobody);
        }
    }
    assert!(divided > TASKS, "accounts were kept in {divided} runs");
}
