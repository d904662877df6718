//! Every sum and ratio of a result, from outcomes written by hand.

use crate::support::{dollars, scenario};
use experiments::{Estimate, NoProgress, Plan, RunResult, Sample, Warning, run};
use sim::engine::{EngineCounts, EngineSpec, Scheduling, SchedulingPolicy, StepTime};
use sim::fleet::{Balancing, HostTime, PoolSpec, Strategy};
use sim::ids::PoolId;
use sim::metrics::{Series, Window};
use sim::outcome::{ModelOutcome, PoolOutcome, TaskOutcome};
use sim::scenario::ModelSpec;
use sim::units::{Blocks, Span, Tokens};
use sim::{Outcome, Scenario};

fn pool() -> PoolSpec {
    PoolSpec {
        name: "h100".into(),
        replicas: 2,
        gpus_per_replica: 1,
        price_per_gpu_hour: dollars(3),
        engine: EngineSpec {
            scheduling: Scheduling::Vllm,
            kv_blocks: Blocks(1_001),
            block_size: Tokens(16),
            max_num_batched_tokens: Tokens(8_192),
            max_num_seqs: 256,
            max_model_len: Tokens(8_192),
            prefix_caching: true,
            policy: SchedulingPolicy::Fcfs,
            watermark: Blocks(0),
            reserve_full_isl: false,
            long_prefill_token_threshold: Tokens(0),
            chunked_prefill: true,
            async_scheduling: false,
            max_num_queued_reqs: None,
            max_num_queued_tokens: None,
            prefill_schedule_interval: 1,
        },
        step_time: StepTime::constant(Span::from_millis(10)).expect("a positive span"),
        host: HostTime::NONE,
        balancing: Balancing {
            strategy: Strategy::RoundRobin,
            signal_age: Span::ZERO,
            count_own_dispatches: true,
        },
    }
}

fn one_model() -> Scenario {
    let mut scenario = scenario(3_600, 0);
    scenario.models = vec![ModelSpec::on_pools("small", &[PoolId(0)])];
    scenario.pools = vec![pool()];
    scenario
}

/// An hour in which `calls` calls took 10 s each: 2 s queued, 1 s prefill, 6 s decode.
fn hour(calls: u64) -> Outcome {
    let mut model = ModelOutcome {
        calls,
        attempts: 2 * calls,
        input_tokens: 100 * calls,
        output_tokens: 10 * calls,
        ..ModelOutcome::default()
    };
    let mut task = TaskOutcome {
        arrived: calls + 10,
        succeeded: calls,
        completed: calls,
        failed: 5,
        rejected: 3,
        abandoned: 1,
        in_flight: 1,
        within_slo: calls / 2,
        ..TaskOutcome::default()
    };
    for _ in 0..calls {
        model.e2e.record(Span::from_secs(10));
        model.queue.record(Span::from_secs(2));
        model.prefill.record(Span::from_secs(1));
        model.decode.record(Span::from_secs(6));
        model.ttft.record(Span::from_secs(3));
        task.latency.record(Span::from_secs(10));
    }
    let pool = PoolOutcome {
        replicas: 2,
        measured: EngineCounts {
            busy: u128::from(Span::from_secs(calls * 10).0),
            preemptions: 7,
            hit_tokens: 30 * calls,
            prompt_tokens: 100 * calls,
            hit_ppm: 250_000 * calls,
            admitted: calls,
            evictions: 4,
            ..EngineCounts::default()
        },
        kv_used_samples: calls,
        kv_total_samples: 1_000,
        running_samples: 3 * calls,
        samples: 2 * calls,
        gpu_time: 2 * u128::from(Span::from_secs(3_600).0),
        ..PoolOutcome::default()
    };
    let window = Window { arrived: 5, finished: 5, running: 2, ..Window::default() };
    Outcome {
        measured: Span::from_secs(3_600),
        tasks: vec![task],
        models: vec![model],
        pools: vec![pool],
        series: Series {
            width: Span::from_secs(18),
            windows: vec![window; 200],
            ..Series::default()
        },
        events: 3 * calls,
        log_hash: calls,
        ..Outcome::default()
    }
}

fn two_hours() -> RunResult {
    let plan =
        Plan { seed: 1, replications: Sample::Fixed(2), threads: Some(1), ..Plan::default() };
    let runner = |_: &Scenario, _: u64, r: u32| {
        let mut outcome = hour(if r == 0 { 300 } else { 500 });
        outcome.audit = if r == 0 { Vec::new() } else { vec!["blocks leak".into()] };
        Ok(outcome)
    };
    run(&one_model(), &plan, &[], &runner, &NoProgress).expect("it finishes")
}

fn near(estimate: &Estimate, expected: f64) -> bool {
    estimate.value.is_some_and(|value| (value - expected).abs() <= 1e-3 * expected)
        && estimate.low <= estimate.value
        && estimate.value <= estimate.high
}

#[test]
fn counts_are_sums_and_rates_are_ratios_of_sums() {
    let result = two_hours();
    let task = &result.tasks[0];
    assert_eq!((task.counts.arrived, task.counts.succeeded, task.counts.failed), (820, 800, 10));
    assert_eq!((task.counts.rejected, task.counts.abandoned, task.counts.in_flight), (6, 2, 2));
    assert!(near(&task.success_rate, 800.0 / 818.0), "{:?}", task.success_rate);
    assert!(near(&task.slo_attainment, 400.0 / 818.0));
    assert!(near(&task.goodput, 400.0 / 7_200.0));
    assert_eq!((task.latency.count, task.p95_by_replication.len()), (800, 2));
    assert_eq!((result.events, result.log_hashes), (2_400, vec![300, 500]));
    assert_eq!(result.series.windows[7].arrived, 10);
}

#[test]
fn the_mean_time_of_a_call_is_shared_out() {
    let result = two_hours();
    let model = &result.models[0];
    assert_eq!((model.calls, model.attempts), (800, 1_600));
    assert_eq!((model.input_tokens, model.output_tokens), (80_000, 8_000));
    assert!(near(&model.e2e.mean, 10.0) && near(&model.queue.p95, 2.0));
    assert!(near(&model.ttft.p99, 3.0) && model.tpot.p50.value.is_none());
    let shares = model.drivers.expect("time passed");
    let parts = [shares.queue, shares.prefill, shares.decode, shares.other];
    for (found, expected) in parts.into_iter().zip([0.2, 0.1, 0.6, 0.1]) {
        assert!((found - expected).abs() < 1e-9, "{parts:?}");
    }
}

#[test]
fn a_pool_is_measured_in_shares_of_what_was_rented() {
    let result = two_hours();
    let pool = &result.pools[0];
    assert_eq!((pool.replicas, pool.preemptions, pool.evictions), (2, 14, 8));
    assert!(near(&pool.utilisation, 8_000.0 / 14_400.0), "{:?}", pool.utilisation);
    assert!(near(&pool.kv_usage_mean, 0.4));
    assert!(near(&pool.running_mean, 1.5));
    assert!(near(&pool.prefix_hit_ratio, 0.3));
    assert!(near(&pool.prefix_hit_ratio_per_request, 0.25));
    assert!((pool.gpu_hours - 2.0).abs() < 1e-12);
}

#[test]
fn a_failed_audit_comes_before_everything_else() {
    let finding = "blocks leak".to_string();
    assert_eq!(two_hours().warnings[0], Warning::AuditFailed { replication: 1, finding });
}
