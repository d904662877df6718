//! The series by part of the system, in windows of 100 ms that can be worked out by hand.

use super::attempts::at_engines;
use super::*;
use crate::audit::Remains;
use crate::backends::Bucket;
use crate::metrics::{
    BreakerWindow, LimitSeries, Parts, PoolWindow, RemoteWindow, TaskWindow, ToolWindow,
};
use crate::price::{LimitReached, SpendLimit, SpendScope};
use crate::units::Blocks;
use crate::workload::TenantSpec;

/// So many windows of so many milliseconds.
fn in_windows(scenario: &mut Scenario, windows: u64, width: u64) {
    (scenario.window, scenario.horizon) = (MS(width), MS(width * windows));
}

fn parts(scenario: &Scenario) -> Parts {
    let outcome = run(scenario);
    let windows = outcome.series.windows.len();
    let parts = outcome.series.parts;
    assert!(parts.pools.iter().all(|part| part.len() == windows));
    assert!(parts.remotes.iter().all(|part| part.len() == windows));
    assert!(parts.tools.iter().all(|part| part.len() == windows));
    assert!(parts.models.iter().all(|part| part.len() == windows));
    assert!(parts.tasks.iter().all(|part| part.len() == windows));
    assert!(parts.limits.iter().all(|limit| limit.acted.len() == windows));
    parts
}

fn millis(ms: u64) -> u128 {
    u128::from(MS(ms).0)
}

/// Tasks that ended, were refused, and succeeded, by window.
fn ends(windows: &[TaskWindow]) -> Vec<(u64, u64, u64)> {
    windows.iter().map(|window| (window.ended, window.rejected, window.latency.count())).collect()
}

/// One engine with one place, where two may be: answers take 50 ms. The first is there from 20 to
/// 70 ms, the second from 70 to 120 and the last, which comes at 90, from 120 to 170; the third
/// finds two there.
fn one_place() -> Scenario {
    let mut scenario = scenario(vec![one_call()]);
    at_engines(&mut scenario, 1, 1);
    scenario.pools[0].engine.max_num_queued_reqs = Some(2);
    scenario.sources[0].arrivals = arriving(&[20, 20, 30, 90]);
    in_windows(&mut scenario, 3, 100);
    scenario
}

/// The first window ends amid the iterations of the second request, which may pass as one. With a
/// tenant the same task takes the general way.
#[test]
fn a_pool_is_seen_at_the_end_of_each_window_and_counted_in_it() {
    let plain = one_place();
    let mut general = plain.clone();
    general.sources[0].people.tenants =
        Some(TenantSpec { first: 1, count: 1, zipf: 0.0, plan: None });
    for scenario in [plain, general] {
        let parts = parts(&scenario);
        let idle = PoolWindow { kv_blocks: 99, ..PoolWindow::default() };
        let first = PoolWindow {
            waiting: 1,
            running: 1,
            full_replicas: 1,
            kv_blocks_used: 1,
            overloaded: 1,
            busy: millis(80),
            ..idle
        };
        assert_eq!(parts.pools, [[first, PoolWindow { busy: millis(70), ..idle }, idle]]);
        assert_eq!(ends(&parts.tasks[0]), [(2, 1, 1), (2, 0, 2), (0, 0, 0)]);
        let of_50_ms = parts.tasks[0][0].latency.quantile_secs(0.95).expect("one succeeded");
        assert!((of_50_ms - 0.05).abs() < 0.05 / 16.0, "{of_50_ms}");
        assert_eq!(parts.tasks[0][2].latency.quantile_secs(0.95), None);
    }
}

/// Two sequences of 10 tokens in three blocks each; the fourth iteration needs a fourth for each, and
/// there are seven. The second request starts over when the first has ended, at 50 ms; the whole
/// system counts its preemption when it ends.
#[test]
fn a_preemption_is_in_the_window_in_which_it_happens() {
    let mut scenario = scenario(vec![one_call()]);
    at_engines(&mut scenario, 1, 2);
    let engine = &mut scenario.pools[0].engine;
    (engine.kv_blocks, engine.block_size) = (Blocks(8), crate::units::Tokens(4));
    scenario.sources[0].arrivals = arriving(&[0, 0]);
    in_windows(&mut scenario, 2, 35);
    let outcome = run(&scenario);
    let windows = &outcome.series.parts.pools[0];
    let seen = |w: &PoolWindow| (w.preemptions, w.waiting, w.running, w.full_replicas);
    assert_eq!([seen(&windows[0]), seen(&windows[1])], [(1, 1, 1, 0), (0, 0, 0, 0)]);
    assert_eq!((windows[0].kv_blocks_used, windows[0].kv_blocks), (4, 7));
    let whole: Vec<u64> = outcome.series.windows.iter().map(|w| w.preemptions).collect();
    assert_eq!(whole, [0, 1]);
}

/// One place and one that may wait: the first has it from 20 to 120 ms, the second to 220. The
/// queue is full for the third, which the limit of three counts all the same, so that it refuses
/// the last one.
#[test]
fn a_remote_says_why_it_refused_what_in_which_window() {
    let mut scenario = scenario(vec![one_call()]);
    let remote = &mut scenario.remotes[0];
    (remote.station.servers, remote.station.queue_limit) = (Some(1), Some(1));
    remote.limits.requests = Some(Bucket { per_minute: 1, burst: 3 });
    scenario.sources[0].arrivals = arriving(&[20, 30, 40, 250]);
    in_windows(&mut scenario, 3, 100);
    let none = RemoteWindow::default();
    let expected = [
        RemoteWindow { waiting: 1, running: 1, begun: 1, overloaded: 1, ..none },
        RemoteWindow { running: 1, begun: 1, input_tokens: 10, ..none },
        RemoteWindow { rate_limited: 1, input_tokens: 10, ..none },
    ];
    let parts = parts(&scenario);
    assert_eq!(parts.remotes, [expected]);
    assert_eq!(ends(&parts.tasks[0]), [(1, 1, 0), (1, 0, 1), (2, 1, 1)]);
}

/// The failure at 11 ms opens it for 150 ms; the call at 180 is let through and decides at 280.
#[test]
fn a_breaker_is_open_then_half_open_then_closed() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.sources[0].arrivals = arriving(&[10, 50, 180]);
    scenario.remotes[0].incidents = vec![outage(0, 20, 1)];
    scenario.models[0].guards.breaker = Some(BreakerSpec {
        failure_rate_threshold: 100.0,
        slow_call_rate_threshold: 100.0,
        slow_call_duration_threshold: Span::from_secs(9),
        sliding_window: SlidingWindow::Calls(9),
        minimum_number_of_calls: 9,
        wait_duration_in_open_state: MS(150),
        permitted_calls_in_half_open_state: 1,
        consecutive_failures: Some(1),
        failures: FailureSet::ALL,
    });
    in_windows(&mut scenario, 3, 100);
    let none = RemoteWindow::default();
    let breakers = |not_closed, opens, refused| BreakerWindow { not_closed, opens, refused };
    let expected = [
        RemoteWindow { begun: 1, failed: 1, breakers: breakers(1, 1, 1), ..none },
        RemoteWindow { running: 1, begun: 1, breakers: breakers(1, 0, 0), ..none },
        RemoteWindow { input_tokens: 10, ..none },
    ];
    assert_eq!(parts(&scenario).remotes, [expected]);
    at_engines(&mut scenario, 1, 1);
    scenario.pools[0].engine.max_num_queued_reqs = Some(0);
    let windows = &parts(&scenario).pools[0];
    // Nobody is ever let in, so the half-open one opens again.
    assert_eq!(windows[0].breakers, breakers(1, 1, 1));
    assert_eq!(windows[1].breakers, breakers(1, 1, 0));
    assert_eq!((windows[0].overloaded, windows[1].overloaded), (1, 1));
}

/// A use takes a second; one may wait.
#[test]
fn a_tool_has_its_queue_in_the_series() {
    let search = ToolUse { tool: ToolId(0), query: None, cache: None, acts: false };
    let mut scenario = scenario(vec![of_steps(vec![step(&[], Some(Work::Tool(search)))])]);
    let station = Station { servers: Some(1), queue_limit: Some(1), discipline: Discipline::Fifo };
    scenario.tools = vec![ToolSpec { station, ..tool() }];
    scenario.sources[0].arrivals = arriving(&[10, 20, 30]);
    in_windows(&mut scenario, 5, 500);
    let none = ToolWindow::default();
    let window = |waiting, running, overloaded| ToolWindow { waiting, running, overloaded, ..none };
    let expected =
        [window(1, 1, 1), window(1, 1, 0), window(0, 1, 0), window(0, 1, 0), window(0, 0, 0)];
    assert_eq!(parts(&scenario).tools, [expected]);
}

/// A limit of one call's price a second: used up when the first answer of each second is paid for.
#[test]
fn a_limit_says_when_it_was_used_up_and_when_it_acted() {
    let mut scenario = scenario(vec![one_call()]);
    let (scope, period) = (SpendScope::All, Span::from_secs(1));
    let limit = SpendLimit { scope, limit: Money(7), period, then: LimitReached::Refuse };
    scenario.spend_limits = vec![
        SpendLimit { limit: Money(1_000), ..limit },
        limit,
        SpendLimit { limit: Money(0), then: LimitReached::SmallerModel(ModelId(0)), ..limit },
    ];
    scenario.sources[0].arrivals = arriving(&[10, 499, 1_010, 1_200, 1_600]);
    in_windows(&mut scenario, 4, 500);
    let at = |ms| vec![Some(Time::ZERO.after(MS(ms)))];
    let series = |used_up, acted: [u64; 4]| LimitSeries { used_up, acted: acted.to_vec() };
    let expected = [
        series(vec![None], [0; 4]),
        series(at(110), [1, 0, 1, 1]),
        // The one before it has refused three of the five.
        series(at(10), [1, 0, 1, 0]),
    ];
    assert_eq!(parts(&scenario).limits, expected);
}

#[test]
fn very_many_windows_are_kept_of_the_whole_system_alone() {
    let mut scenario = scenario(vec![one_call()]);
    let (scope, then) = (SpendScope::All, LimitReached::Refuse);
    scenario.spend_limits =
        vec![SpendLimit { scope, limit: Money(7), period: Span::from_secs(1), then }];
    // Four parts: the remote, the model, the task and the limit.
    let most = crate::metrics::MOST_CELLS / 4;
    for (windows, kept) in [(most, 1), (most + 1, 0)] {
        in_windows(&mut scenario, windows, 1);
        let outcome = run(&scenario);
        assert_eq!(outcome.series.windows.len() as u64, windows);
        let parts = &outcome.series.parts;
        assert_eq!([parts.remotes.len(), parts.models.len(), parts.tasks.len()], [kept; 3]);
        assert_eq!(parts.limits[0].acted.len() as u64, windows * kept as u64);
        assert_eq!(parts.limits[0].used_up, [Some(Time::ZERO.after(MS(100)))]);
    }
}

/// Windows that end with the warm-up and the horizon sum to the totals of the measured time.
#[test]
fn windows_sum_to_the_totals() {
    let mut scenario = one_place();
    (scenario.window, scenario.warm_up) = (MS(5), MS(65));
    let outcome = run(&scenario);
    let measured = &outcome.series.parts.pools[0][13..];
    let busy: u128 = measured.iter().map(|window| window.busy).sum();
    assert_eq!(busy, outcome.pools[0].measured.busy);
    assert_eq!(busy, millis(105));
    let running: u64 = measured.iter().map(|window| window.running).sum();
    assert_eq!(running, outcome.pools[0].running_samples);
}

/// A last window that is shorter ends with the horizon, however long the drain is.
#[test]
fn the_last_window_ends_with_the_horizon() {
    let mut scenario = one_place();
    scenario.horizon = MS(100);
    let mut of = |width: u64| {
        scenario.window = MS(width);
        parts(&scenario)
    };
    let (wide, narrow, longer) = (of(40), of(20), of(250));
    assert_eq!((wide.pools[0].len(), wide.pools[0][2]), (3, narrow.pools[0][4]));
    assert_eq!((longer.pools[0].len(), longer.pools[0][0].busy), (1, millis(80)));
}

/// Whatever is changed in a series, the audit sees it where the measured time is whole windows. Where
/// it is not, windows that are right are still found right.
#[test]
fn the_audit_finds_a_series_that_does_not_add_up() {
    let changes: [fn(&mut Parts); 5] = [
        |parts| parts.pools[0][1].busy += 1,
        |parts| parts.pools[0][1].running += 1,
        |parts| parts.pools[0][1].preemptions += 1,
        |parts| parts.tasks[0][1].ended += 1,
        |parts| parts.remotes[0][1].begun += 1,
    ];
    let found = |scenario: &Scenario, outcome: &Outcome| {
        let rest = &Parts::default();
        let remains =
            Remains { replicas: &[], remotes: &[], tools: &[], under_way: 0, admitted: 0, rest };
        let found = crate::audit::Audit::default().findings(scenario, outcome, &remains);
        found.into_iter().any(|finding| finding.contains("window"))
    };
    let mut scenario = one_place();
    scenario.window = MS(30);
    for warm_up in [0, 30] {
        scenario.warm_up = MS(warm_up);
        let outcome = run(&scenario);
        assert!(!found(&scenario, &outcome));
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = outcome.clone();
            change(&mut changed.series.parts);
            assert!(found(&scenario, &changed), "change {number} after {warm_up} ms");
        }
    }
    for (warm_up, horizon) in [(35, 300), (35, 295), (60, 175), (31, 59)] {
        (scenario.warm_up, scenario.horizon) = (MS(warm_up), MS(horizon));
        assert!(!found(&scenario, &run(&scenario)), "{warm_up} to {horizon} ms");
    }
}
