//! Guards around attempts: breakers and their probes, hedges, budgets of retries, pauses, time
//! limits, admission. Each case is small enough to be worked out by hand.

use super::*;
use crate::backends::Bucket;
use crate::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime};
use crate::fleet::{Balancing, HostTime, PoolSpec, Strategy};
use crate::ids::PoolId;
use crate::resilience::{Jitter, RetryBudgetSpec};
use crate::routing::Fallback;
use crate::units::{Blocks, Tokens};
use crate::workload::{ResubmitSpec, TenantSpec};

/// Opens for 50 ms at the first failure; then so many calls decide.
fn breaker(probes: u32) -> Option<BreakerSpec> {
    Some(BreakerSpec {
        failure_rate_threshold: 100.0,
        slow_call_rate_threshold: 100.0,
        slow_call_duration_threshold: Span::from_secs(9),
        sliding_window: SlidingWindow::Calls(9),
        minimum_number_of_calls: 9,
        wait_duration_in_open_state: MS(50),
        permitted_calls_in_half_open_state: probes,
        consecutive_failures: Some(1),
        failures: FailureSet::ALL,
    })
}

pub(super) fn hedge(max_attempts: u32) -> Option<HedgeSpec> {
    Some(HedgeSpec { delay: MS(30), max_attempts })
}

fn calls_pay(ratio: f64) -> Option<RetryBudgetSpec> {
    Some(RetryBudgetSpec { ratio, min_per_second: 0, ttl: Span::from_secs(60) })
}

/// The time for which a hosted backend's places were taken.
fn busy(outcome: &Outcome, remote: usize) -> u128 {
    outcome.remotes[remote].whole_run.place_time
}

fn millis(ms: u64) -> u128 {
    u128::from(MS(ms).0)
}

/// The failure at 1 ms opens it; at 100 ms one call is let through, whose user leaves at 130; so
/// the one at 200 is let through in its place.
#[test]
fn a_probe_whose_user_leaves_makes_room_for_another() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.sources[0].arrivals = arriving(&[0, 100]);
    another_source(&mut scenario, &[200]);
    scenario.sources[0].people.client.patience = Some(DurationDist::Fixed(MS(30)));
    scenario.models[0].guards.breaker = breaker(1);
    scenario.remotes[0].incidents = vec![outage(0, 10, 1)];
    let outcome = run(&scenario);
    let ends = &outcome.tasks[0].endings;
    assert_eq!(ends.failed[Failure::ServerError as usize], 1);
    assert_eq!((ends.abandoned, ends.success), (1, 1));
    assert_eq!(outcome.models[0].failures[Failure::BreakerOpen as usize], 0);
}

/// Two may be let through. At 100 ms a call and its hedge are; the hedge loses and gives its place
/// back, and the call at 300 takes it. Its own hedge finds none left.
#[test]
fn a_probe_that_lost_to_its_rival_makes_room_for_another() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.sources[0].arrivals = arriving(&[0, 100, 300]);
    (scenario.models[0].guards.breaker, scenario.models[0].guards.hedge) = (breaker(2), hedge(2));
    scenario.remotes[0].incidents = vec![outage(0, 10, 1)];
    let outcome = run(&scenario);
    assert_eq!(outcome.tasks[0].endings.success, 2);
    assert_eq!((outcome.models[0].attempts, outcome.models[0].hedges), (4, 1));
    assert_eq!(outcome.models[0].failures[Failure::BreakerOpen as usize], 1);
}

/// Five tokens from 100 to 140 ms. The hedge of 30 ms has its first at 130 and is at its second
/// when the answer is there.
#[test]
fn the_loser_of_a_hedge_stops_where_it_is() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.remotes[0].answering.tpot = DurationDist::Fixed(MS(10));
    scenario.remotes[0].price =
        RemotePrice::Metered(Meter { output: Money(1), ..Meter::default() });
    scenario.models[0].guards.hedge = hedge(2);
    let outcome = run(&scenario);
    assert_eq!((outcome.remotes[0].billed.output, outcome.remotes[0].wasted.output), (7, 2));
    assert_eq!((outcome.tasks[0].spend, outcome.tasks[0].wasted), (Money(7), Money(2)));
    assert_eq!(busy(&outcome, 0), millis(140 + 110));
}

#[test]
fn a_loser_that_still_waits_for_a_place_never_gets_it() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.remotes[0].station.servers = Some(1);
    scenario.models[0].guards.hedge = hedge(2);
    let outcome = run(&scenario);
    assert_eq!((outcome.models[0].attempts, outcome.remotes[0].whole_run.begun), (2, 1));
    assert_eq!(busy(&outcome, 0), millis(100));
}

/// Model 0 at so many engines that do an iteration in 10 ms and have room for this many requests.
pub(super) fn at_engines(scenario: &mut Scenario, replicas: u32, max_num_seqs: u32) {
    let engine = EngineSpec {
        scheduling: Scheduling::Vllm,
        kv_blocks: Blocks(100),
        block_size: Tokens(16),
        max_num_batched_tokens: Tokens(100),
        max_num_seqs,
        max_model_len: Tokens(1_000),
        prefix_caching: false,
        policy: SchedulingPolicy::Fcfs,
        watermark: Blocks(0),
        reserve_full_isl: false,
        long_prefill_token_threshold: Tokens(0),
        chunked_prefill: true,
        async_scheduling: false,
        max_num_queued_reqs: None,
        max_num_queued_tokens: None,
        prefill_schedule_interval: 1,
    };
    let strategy = Strategy::RoundRobin;
    scenario.pools = vec![PoolSpec {
        name: "pool".into(),
        replicas,
        gpus_per_replica: 1,
        price_per_gpu_hour: Money::ZERO,
        engine,
        step_time: StepTime::constant(MS(10)).expect("it takes time"),
        host: HostTime::NONE,
        balancing: Balancing { strategy, signal_age: Span::ZERO, count_own_dispatches: true },
    }];
    scenario.models[0].served_by = vec![Serving { backend: Backend::Pool(PoolId(0)), weight: 1.0 }];
}

/// Two engines that write a token every 10 ms: the answer is whole at 50 ms, and the hedge of
/// 30 ms has written two tokens of it.
#[test]
fn a_loser_in_an_engine_stops_at_its_next_token() {
    let mut scenario = scenario(vec![one_call()]);
    at_engines(&mut scenario, 2, 4);
    scenario.models[0].guards.hedge = hedge(2);
    let outcome = run(&scenario);
    assert_eq!(outcome.tasks[0].latency.max(), Some(MS(50)));
    assert_eq!((outcome.models[0].output_tokens, outcome.models[0].wasted_output_tokens), (5, 2));
    assert_eq!(outcome.pools[0].whole_run.busy, millis(50 + 20));
}

/// Both are given up at 25 ms. One has written two tokens by then, and the third is under way; the
/// other one has waited, so no prompt of it was computed.
#[test]
fn what_waited_in_an_engine_has_wasted_nothing() {
    let mut scenario = scenario(vec![one_call()]);
    at_engines(&mut scenario, 1, 1);
    scenario.sources[0].arrivals = arriving(&[0, 0]);
    let guards = &mut scenario.models[0].guards;
    (guards.timeout, guards.cancel_on_timeout) = (Some(MS(25)), true);
    scenario.sources[0].people.tenants =
        Some(TenantSpec { first: 1, count: 1, zipf: 0.0, plan: None });
    let outcome = run(&scenario);
    let model = &outcome.models[0];
    assert_eq!((model.wasted_input_tokens, model.wasted_output_tokens), (10, 3));
    // Both leave at the end of the iteration.
    let times: Vec<u128> = outcome.tenants.iter().map(|tenant| tenant.engine_time).collect();
    assert_eq!((times, outcome.tasks[0].engine_time), (vec![0, millis(60)], millis(60)));
}

/// The first attempt fails at 1 ms and the next is sent at 101: its hedge is due at 131, and is
/// stopped at 201.
#[test]
fn hedges_count_from_the_attempt_that_was_sent_alone() {
    let mut scenario = scenario(vec![one_call()]);
    let guards = &mut scenario.models[0].guards;
    (guards.hedge, guards.retry) = (hedge(2), retry(2));
    guards.retry.as_mut().expect("set").backoff = Backoff::Drawn(DurationDist::Fixed(MS(100)));
    scenario.remotes[0].incidents = vec![outage(0, 10, 1)];
    let outcome = run(&scenario);
    assert_eq!((outcome.tasks[0].latency.max(), outcome.models[0].hedges), (Some(MS(201)), 1));
    assert_eq!(busy(&outcome, 0), millis(1 + 100 + 70));
}

/// Every second call pays for one further attempt, and further attempts pay for none.
#[test]
fn calls_pay_for_retries_and_for_hedges() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.sources[0].arrivals = arriving(&[0, 1_000, 2_000, 3_000]);
    scenario.models[0].guards.retry = retry(5);
    scenario.models[0].guards.retry.as_mut().expect("set").budget = calls_pay(0.5);
    let mut hedged = scenario.clone();
    scenario.remotes[0].error_rate = 1.0;
    let model = &run(&scenario).models[0];
    assert_eq!((model.attempts, model.retries), (6, 2));
    hedged.models[0].guards.hedge = hedge(2);
    let model = &run(&hedged).models[0];
    assert_eq!((model.attempts, model.hedges), (6, 2));
}

/// To the fallback it is a call like any other: it pays, and has as many attempts.
#[test]
fn a_fallback_has_attempts_and_a_budget_of_its_own() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.models[0].guards.retry = retry(2);
    let other = another_model(&mut scenario);
    scenario.models[other].guards.retry.as_mut().expect("set").budget = calls_pay(1.0);
    scenario.remotes.iter_mut().for_each(|remote| remote.error_rate = 1.0);
    scenario.routing.fallbacks =
        vec![vec![Fallback { model: ModelId(other as u32), on: FailureSet::ALL }]];
    let outcome = run(&scenario);
    assert_eq!([0, other].map(|model| outcome.models[model].attempts), [2, 2]);
    assert_eq!([0, other].map(|model| outcome.models[model].fallbacks), [1, 0]);
}

/// Five attempts of 100 ms, and pauses of 100, 200, 300 and 300 ms between them.
#[test]
fn pauses_grow_from_attempt_to_attempt_up_to_their_cap() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.remotes[0].error_rate = 1.0;
    scenario.models[0].guards.retry = retry(5);
    scenario.models[0].guards.retry.as_mut().expect("set").backoff =
        Backoff::Exponential { initial: MS(100), factor: 2.0, max: MS(300), jitter: Jitter::None };
    let (_, records) = records(&scenario);
    assert_eq!(records.tasks[0].ended, Time::ZERO.after(MS(500 + 900)));
}

/// All fail at once and try again within a second, each in its own time.
#[test]
fn each_call_has_a_jitter_of_its_own() {
    for (jitter, least) in [(Jitter::Full, 0), (Jitter::Equal, 500)] {
        let mut scenario = scenario(vec![one_call()]);
        scenario.sources[0].arrivals = arriving(&[0; 20]);
        scenario.remotes[0].incidents = vec![outage(0, 1, 0)];
        let backoff = |jitter| Backoff::Exponential {
            initial: MS(1_000),
            factor: 2.0,
            max: MS(9_000),
            jitter,
        };
        scenario.models[0].guards.retry = retry(2);
        scenario.models[0].guards.retry.as_mut().expect("set").backoff = backoff(jitter);
        let (_, records) = records(&scenario);
        // In the order in which they ended.
        let pauses: Vec<Span> =
            records.tasks.iter().map(|task| task.ended - Time::ZERO - MS(100)).collect();
        assert_eq!(pauses.len(), 20);
        assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
        assert!(pauses[0] >= MS(least) && pauses[19] <= MS(1_000), "{pauses:?}");
        assert!(pauses[0] < MS(least + 250) && pauses[19] > MS(750), "{pauses:?}");
    }
}

/// One request a second: the second one comes 500 ms too early, and is told so.
#[test]
fn a_retry_waits_as_long_as_the_backend_asks() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.sources[0].arrivals = arriving(&[0, 500]);
    scenario.remotes[0].limits.requests = Some(Bucket { per_minute: 60, burst: 1 });
    scenario.models[0].guards.retry = retry(2);
    assert_eq!(run(&scenario).tasks[0].endings.success, 1);
    scenario.models[0].guards.retry.as_mut().expect("set").respect_retry_after = true;
    let task = &run(&scenario).tasks[0];
    assert_eq!((task.endings.success, task.latency.max()), (2, Some(MS(600))));
}

#[test]
fn an_answer_at_the_end_of_its_time_limit_counts() {
    for (limit, success) in [(Span(MS(100).0 - 1), 0), (MS(100), 1)] {
        let mut scenario = scenario(vec![one_call()]);
        scenario.models[0].guards.timeout = Some(limit);
        assert_eq!(run(&scenario).tasks[0].endings.success, success);
    }
}

#[test]
fn an_attempt_given_up_goes_on_unless_it_is_cancelled() {
    for (cancel, busy_for, output) in [(false, 100, 5), (true, 40, 0)] {
        let mut scenario = scenario(vec![one_call()]);
        let guards = &mut scenario.models[0].guards;
        (guards.timeout, guards.cancel_on_timeout) = (Some(MS(40)), cancel);
        let outcome = run(&scenario);
        assert_eq!(
            (busy(&outcome, 0), outcome.remotes[0].billed.output),
            (millis(busy_for), output)
        );
    }
}

/// Whoever loses patience at the instant of the deadline has left; later there is nobody to leave.
#[test]
fn patience_comes_before_the_deadline_where_both_end() {
    for (patience, abandoned) in [(49, 1), (50, 1), (51, 0)] {
        let mut scenario = scenario(vec![one_call()]);
        scenario.tasks[0].budget.max_latency = Some(MS(50));
        scenario.sources[0].people.client.patience = Some(DurationDist::Fixed(MS(patience)));
        let ends = &run(&scenario).tasks[0].endings;
        assert_eq!((ends.abandoned, ends.over_budget), (abandoned, 1 - abandoned));
    }
}

#[test]
fn work_whose_user_has_left_stops_at_its_deadline() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.tasks[0].budget.max_latency = Some(MS(50));
    let client = &mut scenario.sources[0].people.client;
    client.patience = Some(DurationDist::Fixed(MS(40)));
    client.abandoned_work_goes_on = true;
    let outcome = run(&scenario);
    assert_eq!(outcome.tasks[0].endings.abandoned, 1);
    assert_eq!(busy(&outcome, 0), millis(50));
}

/// Submitted again at 201 ms, it has until 351.
#[test]
fn each_submission_has_a_deadline_of_its_own() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.tasks[0].budget.max_latency = Some(MS(150));
    scenario.remotes[0].incidents = vec![outage(0, 10, 1)];
    scenario.sources[0].people.client.resubmit = Some(ResubmitSpec {
        max_submissions: 2,
        probability: 1.0,
        pause: DurationDist::Fixed(MS(200)),
    });
    let task = &run(&scenario).tasks[0];
    assert_eq!((task.endings.success, task.latency.max()), (1, Some(MS(301))));
}

/// Beside one call in flight only priorities below 5 are let in.
#[test]
fn the_less_important_are_shed_first() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.models[0].guards.admission.shed = vec![(5, 1)];
    for (priority, at) in [(5, [10, 500]), (4, [20, 700])] {
        let source = another_source(&mut scenario, &at);
        scenario.sources[source].priority = priority;
    }
    let (outcome, records) = records(&scenario);
    assert_eq!((outcome.tasks[0].succeeded, outcome.tasks[0].rejected), (4, 1));
    let shed = records.tasks[0];
    assert_eq!((shed.source, shed.ended), (SourceId(1), Time::ZERO.after(MS(10))));
}

/// One in flight at most. The second is let through by the breaker and refused at the door: where
/// that counts, the breaker is open when the third comes.
#[test]
fn a_breaker_stands_before_admission_and_sees_whom_it_refuses() {
    let others = FailureSet::default().with(Failure::ServerError);
    for (failures, overloaded, open) in [(FailureSet::ALL, 1, 1), (others, 2, 0)] {
        let mut scenario = scenario(vec![one_call()]);
        scenario.sources[0].arrivals = arriving(&[0, 10, 20]);
        let guards = &mut scenario.models[0].guards;
        guards.admission.max_in_flight = Some(1);
        guards.breaker = Some(BreakerSpec { failures, ..breaker(1).expect("set") });
        let outcome = run(&scenario);
        let told = outcome.models[0].failures;
        assert_eq!(told[Failure::Overloaded as usize], overloaded);
        assert_eq!(told[Failure::BreakerOpen as usize], open);
        assert_eq!((outcome.tasks[0].succeeded, outcome.models[0].attempts), (1, 1));
    }
}

/// Turned away at once twelve times; before the eleventh and the twelfth there is a pause of 10 ms.
#[test]
fn whoever_is_always_turned_away_slows_down() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.models[0].guards.admission.max_in_flight = Some(0);
    scenario.models[0].guards.retry = retry(12);
    let (outcome, records) = records(&scenario);
    assert_eq!(outcome.models[0].failures[Failure::Overloaded as usize], 12);
    assert_eq!(records.tasks[0].ended, Time::ZERO.after(MS(20)));
}
