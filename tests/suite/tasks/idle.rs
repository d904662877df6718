//! Policies that never act change nothing, not even for tasks that took the short way without
//! them; and two policies see the same customers.

use super::{any, cases};
use crate::swarm;
use proptest::prelude::*;
use sim::backends::{Answering, Limits, RemoteKind, RemotePrice, RemoteSpec, Station};
use sim::cache::{Eviction, SemanticCacheSpec};
use sim::dist::DurationDist;
use sim::ids::ModelId;
use sim::outcome::Outcome;
use sim::predicate::{Op, Predicate, Signal, Value};
use sim::price::{LimitReached, SpendLimit, SpendScope};
use sim::resilience::{
    Backoff, BreakerSpec, FailureSet, HedgeSpec, RetryBudgetSpec, RetrySpec, SlidingWindow,
};
use sim::routing::{Rule, Share};
use sim::tasks::Rung;
use sim::units::{Money, Span};
use sim::workload::ResubmitSpec;
use sim::{Scenario, Simulation};

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

fn assert_same(scenario: &Scenario, changed: &Scenario, seed: u64) -> Outcome {
    let run = |scenario: &Scenario| Simulation::new(scenario, seed, 0).run();
    let (plain, idle) = (run(scenario), run(changed));
    assert_eq!(plain.audit, Vec::<String>::new());
    assert_eq!(idle.audit, Vec::<String>::new());
    assert_eq!(plain.tasks, idle.tasks);
    assert_eq!(plain.models, idle.models);
    assert_eq!(plain.pools, idle.pools);
    assert_eq!(plain.tools, idle.tools);
    assert_eq!(plain.remotes[..], idle.remotes[..plain.remotes.len()]);
    assert_eq!(plain.series, idle.series);
    assert_eq!(plain.log_hash, idle.log_hash);
    plain
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn idle_policies_change_nothing_for_tasks(scenario in any::scenarios(), seed in any::<u64>()) {
        let idle = with_idle_policies(scenario.clone());
        assert_same(&scenario, &idle, seed);
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
