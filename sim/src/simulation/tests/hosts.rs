//! Requests that spend 20 ms and 1 ms a prompt token on the host of an engine that does an iteration
//! in 10 ms: prompts of 10 tokens reach it after 30 ms.

use super::attempts::{at_engines, hedge};
use super::*;
use crate::fleet::HostTime;
use crate::workload::TenantSpec;

fn with_host(replicas: u32, max_num_seqs: u32) -> Scenario {
    let mut scenario = scenario(vec![one_call()]);
    at_engines(&mut scenario, replicas, max_num_seqs);
    scenario.pools[0].host = HostTime { request: MS(20), prompt_token: MS(1) };
    scenario
}

/// Time of all tasks that is one cause's.
fn part(outcome: &Outcome, driver: Driver) -> u128 {
    outcome.tasks[0].drivers.bands.iter().map(|band| band.parts[driver as usize]).sum()
}

/// Five tokens: 30 ms on the host, 50 ms in the engine, and no queue. With a tenant the same task takes
/// the general way.
#[test]
fn the_host_comes_before_the_queue_whichever_way_a_task_takes() {
    let plain = with_host(1, 4);
    let mut general = plain.clone();
    general.sources[0].people.tenants =
        Some(TenantSpec { first: 1, count: 1, zipf: 0.0, plan: None });
    for scenario in [plain, general] {
        let outcome = run(&scenario);
        let model = &outcome.models[0];
        assert_eq!(outcome.tasks[0].latency.max(), Some(MS(80)));
        assert_eq!((model.ttft.max(), model.queue.max()), (Some(MS(40)), Some(Span::ZERO)));
        assert_eq!(outcome.tasks[0].engine_time, u128::from(MS(50).0));
        assert_eq!(part(&outcome, Driver::Host), u128::from(MS(30).0));
        assert_eq!(part(&outcome, Driver::Queueing), 0);
    }
}

/// Two on one place: both are received at 30 ms, and the second begins at 80.
#[test]
fn the_queue_begins_when_the_engine_has_the_request() {
    let mut scenario = with_host(1, 1);
    scenario.sources[0].arrivals = arriving(&[0, 0]);
    let outcome = run(&scenario);
    assert_eq!(outcome.models[0].queue.max(), Some(MS(50)));
    assert_eq!(outcome.tasks[0].latency.max(), Some(MS(130)));
}

/// Given up after 25 ms, it never reaches the engine, and costs nothing there.
#[test]
fn what_is_given_up_on_the_host_never_reaches_the_engine() {
    let mut scenario = with_host(1, 4);
    let guards = &mut scenario.models[0].guards;
    (guards.timeout, guards.cancel_on_timeout) = (Some(MS(25)), true);
    let outcome = run(&scenario);
    assert_eq!(outcome.models[0].failures[Failure::Timeout as usize], 1);
    assert_eq!((outcome.pools[0].whole_run.busy, outcome.tasks[0].engine_time), (0, 0));
    scenario.models[0].guards.cancel_on_timeout = false;
    assert_eq!(run(&scenario).pools[0].whole_run.busy, u128::from(MS(50).0));
}

/// The hedge is sent at 30 ms and is on the second engine from 60 on, until the first is done at 80.
#[test]
fn a_rival_spends_its_own_time_on_the_host() {
    let mut scenario = with_host(2, 4);
    scenario.models[0].guards.hedge = hedge(2);
    let outcome = run(&scenario);
    assert_eq!(outcome.tasks[0].latency.max(), Some(MS(80)));
    assert_eq!(outcome.pools[0].whole_run.busy, u128::from(MS(50 + 20).0));
}

/// The router counts what is on the host, so of two at one instant each goes to another engine.
#[test]
fn the_router_counts_what_is_on_the_host() {
    let mut scenario = with_host(2, 1);
    scenario.pools[0].balancing.strategy = crate::fleet::Strategy::LeastOutstanding;
    scenario.sources[0].arrivals = arriving(&[0, 0]);
    assert_eq!(run(&scenario).models[0].queue.max(), Some(Span::ZERO));
}
