//! Documents of a real simulation: one replica, Poisson arrivals, a light and an impossible load.

use crate::fixture;
use experiments::{NoProgress, Plan, RunResult, Sample, Verdict, run};
use reports::{json, markdown, text};
use sim::dist::{LengthDist, LengthLaw, LengthsSpec};
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime};
use sim::fleet::{Balancing, HostTime, PoolSpec, Strategy};
use sim::ids::{ModelId, PoolId, TaskId};
use sim::scenario::ModelSpec;
use sim::tasks::TaskSpec;
use sim::units::{Blocks, Money, Span, Time, Tokens};
use sim::workload::{Arrivals, Gaps, People, RateCurve, ScaleHow, Scaling, SourceSpec};
use sim::{Scenario, Simulation};

fn engine() -> EngineSpec {
    EngineSpec {
        scheduling: Scheduling::Vllm,
        kv_blocks: Blocks(2_001),
        block_size: Tokens(16),
        max_num_batched_tokens: Tokens(2_048),
        max_num_seqs: 8,
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
    }
}

fn scenario(per_second: f64) -> Scenario {
    let fixed = |tokens| LengthDist { law: LengthLaw::Fixed(tokens), min: 1, max: 4_096 };
    let knots = vec![(Time::ZERO, per_second)];
    let rate = RateCurve { knots, period: None, spikes: Vec::new() };
    Scenario {
        horizon: Span::from_secs(1_000),
        warm_up: Span::ZERO,
        tasks: vec![TaskSpec {
            value: Some(Money(Money::PICO_PER_DOLLAR / 100)),
            latency_slo: Some(Span::from_secs(6)),
            ..TaskSpec::one_call("reply", ModelId(0))
        }],
        sources: vec![SourceSpec {
            name: "web".into(),
            key: 7,
            task: TaskId(0),
            arrivals: Arrivals::Renewal { gaps: Gaps::Exponential, rate },
            lengths: LengthsSpec { input: fixed(500), output: fixed(100), correlation: 0.0 },
            ends_by_eos: true,
            max_tokens: None,
            priority: 0,
            prefix: None,
            session: None,
            scaling: Scaling { factor: 1.0, how: ScaleHow::MoreUsers },
            people: People::default(),
        }],
        models: vec![ModelSpec::on_pools("small", &[PoolId(0)])],
        pools: vec![PoolSpec {
            name: "gpus".into(),
            replicas: 1,
            gpus_per_replica: 1,
            price_per_gpu_hour: Money(3 * Money::PICO_PER_DOLLAR),
            engine: engine(),
            step_time: StepTime::constant(Span::from_millis(20)).expect("20 ms is allowed"),
            host: HostTime::NONE,
            balancing: Balancing {
                strategy: Strategy::RoundRobin,
                signal_age: Span::ZERO,
                count_own_dispatches: true,
            },
        }],
        window: Span::from_secs(10),
        ..Scenario::default()
    }
}

/// Eight at a time for two seconds each: the replica carries just under 4 requests per second.
fn simulate(per_second: f64, threads: usize) -> RunResult {
    let plan = Plan {
        seed: 42,
        replications: Sample::Fixed(10),
        threads: Some(threads),
        ..Plan::default()
    };
    let runner = |scenario: &Scenario, seed, replication| {
        let outcome = Simulation::new(scenario, seed, replication).run();
        assert_eq!(outcome.audit, Vec::<String>::new(), "the audit found something");
        Ok(outcome)
    };
    run(&scenario(per_second), &plan, &[], &runner, &NoProgress).expect("ten replications")
}

/// Two requests a second on one replica, over a quarter of an hour.
pub(crate) fn light() -> RunResult {
    simulate(2.0, 1)
}

#[test]
fn a_light_load_is_reported_with_every_number() {
    let result = simulate(2.0, 1);
    let report = fixture::report(&result);
    let page = text::render(&report, false, 80);
    assert!(!page.contains("n/a"), "{page}");
    assert!(page.contains("stable: ") && page.contains("p95 of successful tasks"), "{page}");
    assert!(markdown::render(&report).contains("| **"));
    let drivers = result.models[0].drivers.expect("time passed");
    assert_eq!(drivers.other, 0.0, "queue, prefill and decode are all there is, to the picosecond");
    assert_eq!(json::render(&report), json::render(&fixture::report(&simulate(2.0, 3))));
}

#[test]
fn an_impossible_load_has_no_latency_in_any_document() {
    let result = simulate(8.0, 2);
    assert_eq!(result.stability.verdict, Some(Verdict::Unstable));
    let report = fixture::report(&result);
    let page = text::render(&report, false, 80);
    assert!(page.contains("UNSTABLE") && page.contains("capacity "), "{page}");
    assert!(markdown::render(&report).contains("**UNSTABLE"));
    let document: serde_json::Value =
        serde_json::from_str(&json::render(&report)).expect("valid JSON");
    assert!(document["tasks"]["reply"]["latency_s"]["p95"]["value"].is_null());
}
