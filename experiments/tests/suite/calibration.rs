//! Intervals of calibration on a pool whose latency is known: so many iterations of one length.

use crate::world::{engine, fixed, source};
use experiments::{
    Comparison, Estimate, Halt, Metric, NoProgress, Objective, Plan, RunResult, Sample, StopReason,
    Uncertain, UncertainPool, Warning, run_calibrated,
};
use sim::dist::LengthsSpec;
use sim::engine::StepTime;
use sim::fleet::{Balancing, HostTime, PoolSpec, Strategy};
use sim::ids::{ModelId, PoolId};
use sim::scenario::ModelSpec;
use sim::tasks::TaskSpec;
use sim::units::{Money, Span};
use sim::workload::SourceSpec;
use sim::{Scenario, Simulation};
use std::sync::atomic::{AtomicU32, Ordering};

/// Iterations of 10 ms for an answer; the prompt takes the first of them.
const OUTPUT: u32 = 50;
/// From a 90 % interval to a 95 % one.
const WIDER: f64 = 1.959_964 / 1.644_854;

/// Answers of half a second after 100 ms on the host; eight at a time.
fn scenario(per_second: f64) -> Scenario {
    let pool = PoolSpec {
        name: "gpus".into(),
        replicas: 1,
        gpus_per_replica: 1,
        price_per_gpu_hour: Money(3 * Money::PICO_PER_DOLLAR),
        engine: engine(),
        step_time: StepTime::constant(Span::from_millis(10)).expect("a positive span"),
        host: HostTime { request: Span::from_millis(90), prompt_token: Span::from_micros(100) },
        balancing: Balancing {
            strategy: Strategy::RoundRobin,
            signal_age: Span::ZERO,
            count_own_dispatches: true,
        },
    };
    let source = SourceSpec {
        lengths: LengthsSpec { input: fixed(100), output: fixed(OUTPUT), correlation: 0.0 },
        ..source("users", 7, 0, per_second)
    };
    Scenario {
        horizon: Span::from_secs(2_000),
        window: Span::from_secs(10),
        tasks: vec![TaskSpec::one_call("reply", ModelId(0))],
        sources: vec![source],
        models: vec![ModelSpec::on_pools("m", &[PoolId(0)])],
        pools: vec![pool],
        ..Scenario::default()
    }
}

/// Iterations a fifth longer or shorter at the ends of the 95 % interval, host times by half.
fn uncertain() -> Vec<Uncertain> {
    let (iteration, first_token) = (libm::log(1.2) / WIDER, libm::log(1.5) / WIDER);
    let pool = PoolId(0);
    let one = UncertainPool { pool, iteration, first_token, host_is_stated: false };
    vec![Uncertain { pools: vec![one] }]
}

fn found(per_second: f64, threads: usize, objectives: &[Objective]) -> RunResult {
    let plan =
        Plan { seed: 3, replications: Sample::Fixed(5), threads: Some(threads), ..Plan::default() };
    let runner = |scenario: &Scenario, seed, replication| {
        Ok(Simulation::new(scenario, seed, replication).run())
    };
    let scenario = scenario(per_second);
    run_calibrated(&scenario, &uncertain(), &plan, objectives, &runner, &NoProgress)
        .expect("it finishes")
}

fn ends(estimate: &Estimate) -> (f64, f64) {
    let range = estimate.calibration.expect("it was asked for");
    (range.low.expect("closed"), range.high.expect("closed"))
}

#[test]
fn latencies_move_with_the_times_and_rented_gpus_cost_the_same() {
    let result = found(0.05, 1, &[]);
    // Hardly anybody meets anybody: a request begins at once.
    let (low, high) = ends(&result.tasks[0].latency.p50);
    assert!((low - (0.1 / 1.5 + 0.5 / 1.2)).abs() < 2e-3, "{low}");
    assert!((high - (0.1 * 1.5 + 0.5 * 1.2)).abs() < 2e-3, "{high}");
    let (low, high) = ends(&result.models[0].tpot.p50);
    assert!((low - 0.01 / 1.2).abs() < 1e-4 && (high - 0.012).abs() < 1e-4, "{low}, {high}");
    assert_eq!(ends(&result.spend.per_day_usd), (72.0, 72.0));
    assert_eq!(ends(&result.tasks[0].success_rate), (1.0, 1.0));
}

#[test]
fn the_intervals_do_not_depend_on_threads() {
    assert_eq!(found(4.0, 1, &[]), found(4.0, 3, &[]));
}

/// Sixteen a second fill the eight places: fourteen are carried, and are no longer at the slow end.
#[test]
fn an_end_at_which_the_system_is_overloaded_is_open() {
    let result = found(14.0, 2, &[]);
    let p95 = &result.tasks[0].latency.p95;
    let range = p95.calibration.expect("it was asked for");
    assert!(range.low.is_some_and(|low| Some(low) < p95.value), "{range:?}");
    assert_eq!(range.high, None);
    let overloaded = Warning::OverloadedWithinCalibration;
    assert!(result.warnings.contains(&overloaded), "{:?}", result.warnings);
}

/// Seventeen are too many, and would not be at the fast end; thirty are at either.
#[test]
fn an_overload_that_the_fast_end_would_carry_is_doubted() {
    let doubted = |per_second| {
        let result = found(per_second, 2, &[]);
        assert_eq!(result.tasks[0].latency.p95.value, None, "{per_second}/s are too many");
        result.warnings.contains(&Warning::CarriedWithinCalibration)
    };
    assert!(doubted(17.0) && !doubted(30.0));
}

#[test]
fn an_objective_on_both_sides_of_its_target_is_warned_of() {
    let objective = |target| Objective {
        name: format!("reply within {target}"),
        metric: Metric::parse("reply.p95_latency", &scenario(0.05)).expect("a metric"),
        comparison: Comparison::AtMost,
        target,
        text: format!("<= {target}s"),
    };
    let result = found(0.05, 1, &[objective(0.65), objective(2.0)]);
    assert_eq!(result.objectives.iter().map(|o| o.met).collect::<Vec<_>>(), [Some(true); 2]);
    let decides = Warning::CalibrationDecides { objectives: vec!["reply within 0.65".into()] };
    assert!(result.warnings.contains(&decides), "{:?}", result.warnings);
}

#[test]
fn what_is_stopped_on_the_way_keeps_its_replications() {
    let plan =
        Plan { seed: 3, replications: Sample::Fixed(4), threads: Some(1), ..Plan::default() };
    let left = AtomicU32::new(5);
    let runner = |scenario: &Scenario, seed, replication| {
        let goes_on = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        goes_on
            .map(|_| Simulation::new(scenario, seed, replication).run())
            .map_err(|_| Halt::Interrupted)
    };
    let scenario = scenario(1.0);
    let result = run_calibrated(&scenario, &uncertain(), &plan, &[], &runner, &NoProgress);
    let result = result.expect("four are finished");
    assert_eq!((result.replications, &result.stopped), (4, &StopReason::Halted(Halt::Interrupted)));
    assert!(result.tasks[0].latency.p95.value.is_some());
    assert_eq!(result.tasks[0].latency.p95.calibration, None);
    assert!(result.warnings.contains(&Warning::CalibrationInterrupted), "{:?}", result.warnings);
}

/// 100 ms on the host and 10 ms in the engine until the first token.
#[test]
fn first_tokens_are_as_uncertain_as_they_were_measured_to_be() {
    let result = found(0.05, 1, &[]);
    let (low, high) = ends(&result.models[0].ttft.p50);
    let value = result.models[0].ttft.p50.value.expect("a value");
    assert!((low - value / 1.5).abs() < 1e-3 && (high - value * 1.5).abs() < 1e-3, "{low} {high}");
    // What is stated does not err.
    let mut stated = uncertain();
    stated[0].pools[0].host_is_stated = true;
    let plan =
        Plan { seed: 3, replications: Sample::Fixed(5), threads: Some(1), ..Plan::default() };
    let runner = |scenario: &Scenario, seed, replication| {
        Ok(Simulation::new(scenario, seed, replication).run())
    };
    let scenario = scenario(0.05);
    let result = run_calibrated(&scenario, &stated, &plan, &[], &runner, &NoProgress);
    let (low, high) = ends(&result.expect("it finishes").models[0].ttft.p50);
    let rest = value - 0.09;
    assert!((low - (0.09 + rest / 1.5)).abs() < 1e-3, "{low}");
    assert!((high - (0.09 + rest * 1.5)).abs() < 1e-3, "{high}");
}
