//! Where calls go: backends by order and by weight, fallbacks, canaries and shadows, devices, and
//! who is served first.

use super::*;
use crate::backends::DeviceClass;
use crate::routing::Fallback;
use crate::scenario::BackendChoice;
use crate::workload::SessionSpec;
use std::collections::{BTreeMap, BTreeSet};

/// Model 0 at three backends, with these weights.
fn at_three(scenario: &mut Scenario, weights: [f64; 3]) {
    for key in [20, 21] {
        scenario.remotes.push(RemoteSpec { key, ..scenario.remotes[0].clone() });
    }
    let serving = |(remote, weight): (u32, f64)| Serving {
        backend: Backend::Remote(RemoteId(remote)),
        weight,
    };
    scenario.models[0].served_by = (0..).zip(weights).map(serving).collect();
}

fn begun(outcome: &Outcome) -> Vec<u64> {
    outcome.remotes.iter().map(|remote| remote.whole_run.begun).collect()
}

fn answered(outcome: &Outcome) -> Vec<u64> {
    outcome.models.iter().map(|model| model.calls).collect()
}

#[test]
fn what_one_backend_refuses_the_next_one_in_order_takes() {
    let mut scenario = scenario(vec![one_call()]);
    at_three(&mut scenario, [1.0; 3]);
    scenario.remotes[0].station.servers = Some(1);
    scenario.remotes[0].station.queue_limit = Some(0);
    scenario.sources[0].arrivals = arriving(&[0, 10, 20, 101]);
    assert_eq!(begun(&run(&scenario)), [2, 2, 0]);
}

#[test]
fn a_backend_behind_an_open_breaker_is_passed_over() {
    let mut scenario = scenario(vec![one_call()]);
    at_three(&mut scenario, [1.0; 3]);
    scenario.remotes[0].incidents = vec![outage(0, 10, 1)];
    scenario.sources[0].arrivals = arriving(&[0, 20]);
    scenario.models[0].guards.breaker = Some(BreakerSpec {
        failure_rate_threshold: 100.0,
        slow_call_rate_threshold: 100.0,
        slow_call_duration_threshold: Span::from_secs(9),
        sliding_window: SlidingWindow::Calls(1),
        minimum_number_of_calls: 1,
        wait_duration_in_open_state: Span::from_secs(1),
        permitted_calls_in_half_open_state: 1,
        consecutive_failures: None,
        failures: FailureSet::ALL,
    });
    let outcome = run(&scenario);
    assert_eq!((begun(&outcome), outcome.tasks[0].succeeded), (vec![1, 1, 0], 1));
    assert_eq!(outcome.models[0].failures[Failure::BreakerOpen as usize], 1);
}

/// Where the drawn one refuses, the others are asked in order, whatever their weights.
#[test]
fn backends_are_drawn_by_weight_and_the_others_follow_in_order() {
    let mut scenario = scenario(vec![one_call()]);
    at_three(&mut scenario, [0.0, 3.0, 0.0]);
    scenario.models[0].choice = BackendChoice::Weighted;
    scenario.sources[0].arrivals = arriving(&[0; 20]);
    assert_eq!(begun(&run(&scenario)), [0, 20, 0]);
    scenario.remotes[1].max_context = 1;
    assert_eq!(begun(&run(&scenario)), [20, 0, 0]);
    scenario.remotes[0].max_context = 1;
    assert_eq!(begun(&run(&scenario)), [0, 0, 20]);
}

/// Nine attempts of one call: all at one backend once in 256 times.
#[test]
fn each_attempt_is_drawn_anew() {
    let mut scenario = scenario(vec![one_call()]);
    at_three(&mut scenario, [1.0, 0.0, 1.0]);
    scenario.models[0].choice = BackendChoice::Weighted;
    scenario.models[0].guards.retry = retry(9);
    scenario.remotes.iter_mut().for_each(|remote| remote.error_rate = 1.0);
    let begun = begun(&run(&scenario));
    assert_eq!((begun[0] + begun[2], begun[1]), (9, 0));
    assert!(begun[0] > 0 && begun[2] > 0, "{begun:?}");
}

/// The first fallback is for rate limits only, and the last is not needed.
#[test]
fn the_first_fallback_for_the_failure_takes_the_call() {
    let mut scenario = scenario(vec![one_call()]);
    let only = FailureSet::default().with(Failure::RateLimited);
    let fallbacks = [only, FailureSet::ALL, FailureSet::ALL]
        .map(|on| Fallback { model: ModelId(another_model(&mut scenario) as u32), on });
    scenario.routing.fallbacks = vec![fallbacks.to_vec()];
    scenario.remotes[0].error_rate = 1.0;
    assert_eq!(answered(&run(&scenario)), [0, 0, 1, 0]);
}

fn share(of: u32, to: usize, shadow: bool) -> Share {
    let key = 300 + to as u64;
    Share { of: ModelId(of), to: ModelId(to as u32), share: 1.0, shadow, key }
}

/// A canary is no shadow, a shadow no canary, and neither follows another.
#[test]
fn a_shadow_follows_the_model_that_is_asked() {
    let mut scenario = scenario(vec![one_call()]);
    for _ in 0..4 {
        another_model(&mut scenario);
    }
    scenario.routing.shares =
        vec![share(0, 2, true), share(0, 1, false), share(1, 3, true), share(1, 4, false)];
    let outcome = run(&scenario);
    assert_eq!(answered(&outcome), [0, 1, 0, 1, 0]);
    assert_eq!((outcome.tasks[0].calls, outcome.tasks[0].spend), (1, Money(14)));
}

/// Tasks of two calls: each sends both to the other model or none, and about half of them do.
#[test]
fn shares_are_drawn_by_task_and_by_share() {
    let chosen = |shadow: bool, key: u64| -> BTreeSet<u64> {
        let mut scenario = scenario(vec![of_steps(vec![step(&[], None), step(&[0], None)])]);
        let to = another_model(&mut scenario);
        scenario.sources[0].arrivals = arriving(&[0; 40]);
        scenario.routing.shares = vec![Share { share: 0.5, key, ..share(0, to, shadow) }];
        let (_, records) = records(&scenario);
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        for call in records.calls.iter().filter(|call| call.model.index() == to) {
            *times.entry(call.number).or_default() += 1;
        }
        assert!(times.values().all(|&calls| calls == 2), "{times:?}");
        assert!((10..=30).contains(&times.len()), "{} of 40", times.len());
        times.into_keys().collect()
    };
    // The same key is the same draw, whatever is done with it.
    assert_eq!(chosen(false, 3), chosen(true, 3));
    assert_ne!(chosen(false, 3), chosen(false, 4));
    assert_ne!(chosen(true, 3), chosen(true, 4));
}

/// Half of the users have a device that can do it: a conversation of eight turns is answered to
/// its end or not at all.
#[test]
fn a_user_keeps_the_device() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.sources[0].session =
        Some(SessionSpec { turns: exactly(8), think: DurationDist::Fixed(MS(10)), memory: None });
    scenario.sources[0].arrivals =
        Arrivals::ClosedLoop { users: 20, think: DurationDist::Fixed(Span::from_secs(60)) };
    scenario.remotes[0].kind = RemoteKind::Device;
    scenario.remotes[0].devices = vec![DeviceClass {
        name: "phone".into(),
        share: 0.5,
        slowness: 2.0,
        throttled: 1.0,
        throttled_slowness: 3.0,
    }];
    let task = &run(&scenario).tasks[0];
    let unable = task.endings.failed[Failure::NotEligible as usize];
    assert_eq!(task.succeeded % 8, 0, "{} turns", task.succeeded);
    assert!(task.succeeded >= 24 && unable >= 3, "{} {unable}", task.succeeded);
    // Slow, and throttled besides.
    assert_eq!((task.latency.min(), task.latency.max()), (Some(MS(600)), Some(MS(600))));
}

/// One place, taken at 0: at 100 ms the more important one goes, though it came last.
#[test]
fn whoever_is_more_important_is_served_first() {
    let search = ToolUse { tool: ToolId(0), query: None, cache: None, acts: false };
    for steps in [vec![step(&[], None)], vec![step(&[], Some(Work::Tool(search)))]] {
        let mut scenario = scenario(vec![of_steps(steps)]);
        scenario.tools = vec![tool()];
        scenario.tools[0].latency = DurationDist::Fixed(MS(100));
        let station =
            Station { servers: Some(1), queue_limit: None, discipline: Discipline::Priority };
        (scenario.remotes[0].station, scenario.tools[0].station) = (station, station);
        scenario.sources[0].arrivals = arriving(&[0, 10]);
        scenario.sources[0].priority = 5;
        let urgent = another_source(&mut scenario, &[20]);
        scenario.sources[urgent].priority = 1;
        let (_, records) = records(&scenario);
        let order: Vec<u32> = records.tasks.iter().map(|task| task.source.0).collect();
        assert_eq!(order, [0, 1, 0]);
    }
}
