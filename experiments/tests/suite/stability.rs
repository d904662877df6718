//! The verdict on backlogs whose fate is known.

use crate::support::{Queue, scenario};
use experiments::stability::{Flow, Verdict, judge};

/// How many of `cases` experiments of `replications` runs are called unstable.
fn alarms(queue: Queue, horizon: u64, replications: u32, cases: u64) -> usize {
    let scenario = scenario(horizon, 0);
    let unstable = |&seed: &u64| {
        let flow = |r| {
            let outcome = queue.run(&scenario, seed, r);
            Flow::of(&outcome.series, scenario.warm_up, scenario.horizon)
        };
        let flows: Vec<Flow> = (0..replications).map(flow).collect();
        let stability = judge(&flows);
        let unstable = stability.verdict == Some(Verdict::Unstable);
        assert!(stability.capacity_per_s.is_some() || !unstable);
        unstable
    };
    (0..cases).filter(unstable).count()
}

/// Started empty, near saturation: it fills up for a long time and then stays.
#[test]
fn a_nearly_saturated_queue_is_stable() {
    for horizon in [500, 2_000, 10_000] {
        let count = alarms(Queue::poisson(|_| 0.9), horizon, 10, 200);
        println!("load 0.9, {horizon} s: {count} of 200");
        assert!(count <= 4, "{count} of 200 at {horizon} s");
        assert_eq!(alarms(Queue::poisson(|_| 0.9), horizon, 1, 200), 0, "single runs");
    }
}

/// More replications see smaller rises; bursts make larger ones by chance.
#[test]
fn many_replications_and_bursts_raise_no_false_alarm() {
    for horizon in [500, 3_000] {
        for rate in [|_| 0.9, |_| 0.95] {
            let many = alarms(Queue::poisson(rate), horizon, 100, 30);
            let bursty = Queue { burst: 20, ..Queue::poisson(rate) };
            let (ten, one) = (alarms(bursty, horizon, 10, 100), alarms(bursty, horizon, 1, 100));
            println!("{horizon} s: {many} of 30, bursts {ten} and {one} of 100");
            assert!(many == 0 && ten <= 2 && one <= 2, "{horizon} s: {many}, {ten}, {one}");
        }
    }
}

/// With a server for each job nothing ever waits; a run of four service times is all start-up.
#[test]
fn filling_up_is_not_a_backlog() {
    let queue = Queue { endless: true, ..Queue::poisson(|_| 1_000.0) };
    assert_eq!(alarms(queue, 4, 10, 20), 0);
    assert_eq!(alarms(queue, 4, 1, 20), 0);
}

#[test]
fn an_overloaded_queue_is_unstable() {
    for (horizon, replications, least) in
        [(1_000, 10, 90), (2_000, 10, 99), (3_000, 10, 100), (20_000, 1, 100)]
    {
        let count = alarms(Queue::poisson(|_| 1.1), horizon, replications, 100);
        println!("load 1.1, {horizon} s, {replications} replications: {count} of 100");
        assert!(count >= least, "{count} of 100 at {horizon} s");
    }
}

/// Half a day of sine above capacity at its top; the mean load is 0.8.
#[test]
fn a_hump_that_drains_is_stable() {
    fn hump(t: f64) -> f64 {
        0.8 + 0.6 * (std::f64::consts::TAU * (t / 20_000.0 - 0.25)).sin()
    }
    /// The same hump late in the run, so that its backlog is draining when the run ends.
    fn late(t: f64) -> f64 {
        hump(t - 4_000.0)
    }
    for rate in [hump as fn(f64) -> f64, late] {
        let queue = Queue { most: 1.4, ..Queue::poisson(rate) };
        assert_eq!(alarms(queue, 20_000, 10, 20), 0);
        assert_eq!(alarms(queue, 20_000, 1, 20), 0);
    }
}

/// A recorded half hour in which traffic rises, once below capacity and once beyond it at the
/// end, where its mean is still below.
#[test]
fn a_short_trace_that_rises_is_not_called_unstable() {
    for rate in [|t: f64| 0.2 + 0.6 * t / 1_800.0, |t: f64| 0.4 + 1.0 * t / 1_800.0] {
        let queue = Queue { most: 1.4, ..Queue::poisson(rate) };
        assert_eq!(alarms(queue, 1_800, 10, 50), 0);
        assert_eq!(alarms(queue, 1_800, 1, 50), 0);
    }
}

#[test]
fn the_stable_capacity_is_the_service_rate() {
    let scenario = scenario(10_000, 0);
    let queue = Queue::poisson(|_| 1.3);
    let flow = |r| Flow::of(&queue.run(&scenario, 5, r).series, scenario.warm_up, scenario.horizon);
    let stability = judge(&(0..10).map(flow).collect::<Vec<_>>());
    let capacity = stability.capacity_per_s.expect("unstable");
    // 25 000 exponential services: one percent is 1.6 standard deviations.
    assert!((capacity - 1.0).abs() < 0.02, "{capacity}");
    assert!((stability.demand_per_s.expect("judged") - 1.3).abs() < 0.02);
    assert!(stability.why.contains("stable capacity"), "{}", stability.why);
}

#[test]
fn too_few_windows_are_not_judged() {
    let mut scenario = scenario(1_000, 0);
    scenario.window = sim::units::Span::from_secs(100);
    let outcome = Queue::poisson(|_| 1.1).run(&scenario, 1, 0);
    let flow = Flow::of(&outcome.series, scenario.warm_up, scenario.horizon);
    assert_eq!(judge(&[flow]).verdict, None);
    assert_eq!(judge(&[]).verdict, None);
}
