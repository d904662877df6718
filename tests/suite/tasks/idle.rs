//! Policies that never act change nothing, not even for tasks that took the short way without
//! them; and two policies see the same customers.

use super::{any, cases};
use crate::conservation::record;
use crate::swarm;
use experiments::{NoProgress, Plan, Sample};
use proptest::prelude::*;
use sim::backends::{Answering, Bucket, Limits, RemoteKind, RemotePrice, RemoteSpec, Station};
use sim::cache::{Eviction, SemanticCacheSpec};
use sim::dist::{DurationDist, LengthDist, LengthLaw, LengthsSpec};
use sim::ids::{Backend, ModelId, RemoteId, SourceId, TaskId};
use sim::outcome::{Ending, Outcome};
use sim::predicate::{Op, Predicate, Signal, Value};
use sim::price::{LimitReached, SpendLimit, SpendScope};
use sim::record::TaskRecord;
use sim::resilience::{
    Backoff, BreakerSpec, FailureSet, GuardSpec, HedgeSpec, RetryBudgetSpec, RetrySpec,
    SlidingWindow,
};
use sim::routing::{Rule, Share};
use sim::scenario::{ModelSpec, Serving};
use sim::tasks::{IntentSpec, Quality, Rung, TaskBudget, TaskSpec};
use sim::units::{Money, Span, Time};
use sim::workload::{
    Arrivals, ClientSpec, Gaps, People, RateCurve, ResubmitSpec, Scaling, SourceSpec,
};
use sim::{Scenario, Simulation};
use std::collections::BTreeMap;

const EVER: Span = Span::from_secs(10_000_000);

/// A hosted model that nobody calls.
fn hosted() -> RemoteSpec {
    RemoteSpec {
        name: "idle".into(),
        key: 9,
        kind: RemoteKind::Hosted,
        answering: Answering {
            ttft: DurationDist::Fixed(Span::from_millis(5)),
            per_input_token: Span::ZERO,
            tpot: DurationDist::Fixed(Span::from_millis(5)),
            slowness: Vec::new(),
        },
        station: Station { servers: None, queue_limit: None, discipline: Default::default() },
        limits: Limits::default(),
        error_rate: 0.0,
        incidents: Vec::new(),
        cold_start: None,
        prompt_cache: None,
        devices: Vec::new(),
        max_context: u32::MAX,
        price: RemotePrice::Free,
    }
}

fn never() -> Predicate {
    let ops = vec![Op::Read(Signal::Confidence), Op::Constant(Value::Number(-1.0)), Op::Less];
    Predicate::new(ops).expect("well formed")
}

/// The same scenario with every policy that it does not have, none of which ever acts.
fn with_idle_policies(mut scenario: Scenario) -> Scenario {
    scenario.remotes.push(hosted());
    for model in &mut scenario.models {
        let guards = &mut model.guards;
        guards.timeout.get_or_insert(EVER);
        guards.hedge.get_or_insert(HedgeSpec { delay: EVER, max_attempts: 3 });
        guards.retry.get_or_insert(RetrySpec {
            max_attempts: 5,
            on: FailureSet::default(),
            backoff: Backoff::Drawn(DurationDist::Fixed(Span::from_millis(3))),
            respect_retry_after: true,
            budget: Some(RetryBudgetSpec { ratio: 0.1, min_per_second: 1, ttl: EVER }),
        });
        guards.breaker.get_or_insert(BreakerSpec {
            failure_rate_threshold: 100.0,
            slow_call_rate_threshold: 100.0,
            slow_call_duration_threshold: EVER,
            sliding_window: SlidingWindow::Seconds(1),
            minimum_number_of_calls: u32::MAX,
            wait_duration_in_open_state: EVER,
            permitted_calls_in_half_open_state: 1,
            consecutive_failures: None,
            failures: FailureSet::ALL,
        });
        guards.admission.max_in_flight.get_or_insert(u32::MAX);
    }
    for task in &mut scenario.tasks {
        let budget = &mut task.budget;
        budget.max_model_calls.get_or_insert(u32::MAX);
        budget.max_input_tokens.get_or_insert(u32::MAX);
        budget.max_output_tokens.get_or_insert(u32::MAX);
        budget.max_tool_time.get_or_insert(EVER);
        budget.max_latency.get_or_insert(EVER);
    }
    let asks_cache = |rung: &Rung| matches!(rung, Rung::CachedAnswer { .. });
    if scenario.tasks.iter().all(|task| !task.budget.on_exceeded.iter().any(asks_cache)) {
        scenario.semantic_cache.get_or_insert(SemanticCacheSpec {
            similarity_threshold: 1.1,
            ttl: EVER,
            capacity: 100,
            eviction: Eviction::Lru,
            lookup: Span::ZERO,
        });
    }
    for scope in [SpendScope::All, SpendScope::EachTenant] {
        let limit = Money(i128::MAX / 4);
        scenario.spend_limits.push(SpendLimit {
            scope,
            limit,
            period: Span::from_secs(1),
            then: LimitReached::Refuse,
        });
    }
    for (number, shadow) in [(0, true), (1, false)] {
        let (of, to) = (ModelId(0), ModelId(scenario.models.len() as u32 - 1));
        scenario.routing.shares.push(Share { of, to, share: 0.0, shadow, key: 700 + number });
    }
    scenario.routing.escalations.push(Rule { when: never(), model: ModelId(0) });
    for source in &mut scenario.sources {
        let client = &mut source.people.client;
        client.patience.get_or_insert(DurationDist::Fixed(EVER));
        client.resubmit.get_or_insert(ResubmitSpec {
            max_submissions: 9,
            probability: 0.0,
            pause: DurationDist::Fixed(EVER),
        });
    }
    scenario
}

/// The same scenario with limits on every remote that has none, all of them far away. Of
/// capacity rented by the hour the number of places says how much of it is idle.
fn with_idle_limits(mut scenario: Scenario) -> Scenario {
    let never = Bucket { per_minute: u64::MAX / 4, burst: u64::MAX / 4 };
    let rented = |remote: &RemoteSpec| matches!(remote.price, RemotePrice::Hourly { .. });
    for remote in scenario.remotes.iter_mut().filter(|remote| !rented(remote)) {
        remote.station.servers.get_or_insert(u32::MAX);
        remote.limits.requests.get_or_insert(never);
    }
    scenario
}

/// The digest of two replications.
fn digest(scenario: &Scenario, seed: u64) -> String {
    let simulate = |scenario: &Scenario, seed, replication| {
        Ok(Simulation::new(scenario, seed, replication).run())
    };
    let plan = Plan { seed, replications: Sample::Fixed(2), threads: Some(1), ..Plan::default() };
    let result = experiments::run(scenario, &plan, &[], &simulate, &NoProgress);
    reports::digest::result_sha256(&result.expect("nobody stops it"))
}

fn assert_same(scenario: &Scenario, changed: &Scenario, seed: u64) -> Outcome {
    let run = |scenario: &Scenario| Simulation::new(scenario, seed, 0).run();
    let (plain, idle) = (run(scenario), run(changed));
    assert_eq!(plain.audit, Vec::<String>::new());
    assert_eq!(idle.audit, Vec::<String>::new());
    assert_eq!(plain.tasks, idle.tasks);
    assert_eq!(plain.models, idle.models);
    assert_eq!(plain.pools, idle.pools);
    assert_eq!(plain.tools, idle.tools);
    assert_eq!(plain.tenants, idle.tenants);
    assert_eq!(plain.remotes[..], idle.remotes[..plain.remotes.len()]);
    assert_eq!(plain.series.windows, idle.series.windows);
    // Limits that are there see nothing, and those that are not are not in the list.
    let (parts, other) = (&plain.series.parts, &idle.series.parts);
    assert_eq!(parts.tasks, other.tasks);
    assert_eq!(parts.pools, other.pools);
    assert_eq!(parts.tools, other.tools);
    assert_eq!(parts.models, other.models);
    assert_eq!(parts.remotes[..], other.remotes[..parts.remotes.len()]);
    assert_eq!(plain.log_hash, idle.log_hash);
    plain
}

/// The same scenario without guards, caches, budgets and ladders, and with patient users.
fn without_policies(mut scenario: Scenario) -> Scenario {
    for model in &mut scenario.models {
        model.guards = GuardSpec::default();
    }
    for task in &mut scenario.tasks {
        task.budget = TaskBudget::default();
    }
    for source in &mut scenario.sources {
        source.people.client = ClientSpec::default();
    }
    (scenario.semantic_cache, scenario.exact_cache) = (None, None);
    scenario.spend_limits.clear();
    scenario
}

/// `(source, number)` and what is drawn at the birth of each task: instant and tenant.
fn customers(scenario: &Scenario, seed: u64) -> BTreeMap<(SourceId, u64), (Time, u32)> {
    let (_, recorded) = record(scenario, seed, 0);
    let open = |source: &SourceId| swarm::is_open_loop(&scenario.sources[source.index()]);
    let tasks = recorded.tasks.iter().filter(|task| open(&task.source));
    tasks.map(|task| ((task.source, task.number), (task.arrived, task.tenant))).collect()
}

/// `(source, number)` and quality of tasks of one call that were answered.
fn answers(scenario: &Scenario, seed: u64) -> BTreeMap<u64, bool> {
    let (_, recorded) = record(scenario, seed, 0);
    let answered = |task: &&TaskRecord| {
        task.submissions == 1 && matches!(task.ending, Ending::Success | Ending::Wrong)
    };
    let tasks = recorded.tasks.iter().filter(answered);
    tasks.map(|task| (task.number, task.ending == Ending::Success)).collect()
}

/// One call of a hosted model that is right two times out of three.
fn asking(timeout: Option<Span>) -> Scenario {
    let serving = Serving { backend: Backend::Remote(RemoteId(0)), weight: 1.0 };
    let mut model = ModelSpec { served_by: vec![serving], ..ModelSpec::default() };
    model.quality = vec![Quality { success: 0.67, unsafe_rate: 0.0 }];
    model.guards.timeout = timeout;
    let intent = IntentSpec { name: "ask".into(), key: 1, confidence: 0.0, consistency: 0.4 };
    let ttft = DurationDist::Exponential { mean: Span::from_millis(300) };
    let mut remote = hosted();
    remote.answering.ttft = ttft;
    let tokens = LengthDist { law: LengthLaw::Fixed(20), min: 1, max: 20 };
    let lengths = LengthsSpec { input: tokens.clone(), output: tokens, correlation: 0.0 };
    let rate = RateCurve::constant(20.0);
    Scenario {
        horizon: Span::from_secs(30),
        tasks: vec![TaskSpec::one_call("task", ModelId(0))],
        sources: vec![SourceSpec {
            name: "clients".into(),
            key: 11,
            task: TaskId(0),
            arrivals: Arrivals::Renewal { gaps: Gaps::Exponential, rate },
            lengths,
            ends_by_eos: true,
            max_tokens: None,
            priority: 0,
            prefix: None,
            session: None,
            scaling: Scaling::default(),
            people: People::default(),
        }],
        remotes: vec![remote],
        models: vec![model],
        intents: vec![intent],
        window: Span::from_secs(1),
        ..Scenario::default()
    }
}

#[test]
fn an_answer_is_as_good_under_one_policy_as_under_another() {
    let free = answers(&asking(None), 3);
    let hurried = answers(&asking(Some(Span::from_millis(200))), 3);
    assert!(hurried.len() * 3 < free.len() * 2 && hurried.len() > 50, "{}", hurried.len());
    assert!(hurried.iter().all(|(number, right)| free.get(number) == Some(right)));
    assert!(hurried.values().any(|right| !right));
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn idle_policies_change_nothing_for_tasks(scenario in any::scenarios(), seed in any::<u64>()) {
        let idle = with_idle_policies(scenario.clone());
        assert_same(&scenario, &idle, seed);
    }

    #[test]
    fn a_limit_that_never_binds_leaves_the_digest_alone(
        scenario in any::scenarios(),
        seed in any::<u64>(),
    ) {
        let limited = with_idle_limits(scenario.clone());
        prop_assert_eq!(digest(&limited, seed), digest(&scenario, seed));
    }

    #[test]
    fn a_policy_that_never_acts_leaves_the_digest_of_plain_calls_alone(
        scenario in swarm::scenarios(),
        seed in any::<u64>(),
    ) {
        let idle = with_idle_policies(scenario.clone());
        prop_assert_eq!(digest(&idle, seed), digest(&scenario, seed));
    }

    #[test]
    fn two_policies_see_the_same_customers(scenario in any::scenarios(), seed in any::<u64>()) {
        let (guarded, plain) = (customers(&scenario, seed), without_policies(scenario));
        // A kind of task may be one plain call without its policies, and then keeps no record.
        for (who, drawn) in customers(&plain, seed) {
            prop_assert_eq!(guarded.get(&who), Some(&drawn));
        }
    }

    #[test]
    fn a_plain_call_fares_the_same_on_the_short_and_on_the_general_way(
        scenario in swarm::scenarios(),
        seed in any::<u64>(),
    ) {
        let idle = with_idle_policies(scenario.clone());
        assert_same(&scenario, &idle, seed);
    }
}
