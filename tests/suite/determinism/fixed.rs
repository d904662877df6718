//! Six fixed scenarios and the hash of everything that happens in each.
//!
//! A hash moves only together with a line under "Results changed" in CHANGELOG.md. It is the same
//! in debug and release and on every platform. Each scenario stands for one family of rules, so
//! that the set of hashes that moved says what a change touched.

use sim::dist::{DurationDist, LengthDist, LengthLaw, LengthsSpec};
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime};
use sim::fleet::{Balancing, HostTime, PoolSpec, Strategy};
use sim::ids::{ModelId, PoolId, TaskId};
use sim::scenario::ModelSpec;
use sim::tasks::TaskSpec;
use sim::units::{Blocks, Money, Span, Time, Tokens};
use sim::workload::{
    Arrivals, Gaps, People, PrefixSpec, RateCurve, ScaleHow, Scaling, SessionSpec, SourceSpec,
    Trace, TraceRow, TraceSegment,
};
use sim::{Scenario, Simulation};
use std::sync::Arc;

/// `(scenario, events, hash)` at seed 7, replication 1.
const EXPECTED: [(&str, u64, u64); 6] = [
    ("poisson", 2_559, 0x1e99_7451_1d1a_fde8),
    ("prefixes", 2_547, 0xd49f_fc68_4b97_c5dd),
    ("sessions", 2_211, 0xb574_d868_5a9e_413d),
    ("closed loop", 4_238, 0xfb73_8ca7_aeae_03e4),
    ("replay", 2_026, 0xfd62_2bb9_ff2b_4640),
    ("overflow", 2_487, 0x372a_e9b6_8ffe_26f7),
];

#[test]
fn fixed_scenarios_keep_their_hash() {
    let found: Vec<_> = scenarios()
        .into_iter()
        .map(|(name, scenario)| {
            let outcome = Simulation::new(&scenario, 7, 1).run();
            assert!(outcome.audit.is_empty(), "{name}: {:?}", outcome.audit);
            assert!(outcome.tasks[0].succeeded > 100, "{name}: {:?}", outcome.tasks[0]);
            (name, outcome.events, outcome.log_hash)
        })
        .collect();
    assert_eq!(found, EXPECTED, "results changed: {found:#x?}");
}

/// The six, by name.
pub(super) fn scenarios() -> Vec<(&'static str, Scenario)> {
    type Change = fn(&mut Scenario);
    let all: [(&str, Change); 6] = [
        ("poisson", |_| ()),
        ("prefixes", prefixes),
        ("sessions", sessions),
        ("closed loop", closed_loop),
        ("replay", replay),
        ("overflow", overflow),
    ];
    all.into_iter()
        .map(|(name, change)| {
            let mut scenario = plain();
            change(&mut scenario);
            (name, scenario)
        })
        .collect()
}

/// Poisson arrivals, two replicas, the less loaded of two.
fn plain() -> Scenario {
    let input = LengthDist { law: LengthLaw::Lognormal { mu: 5.0, sigma: 1.0 }, min: 1, max: 900 };
    let output = LengthDist { law: LengthLaw::Gamma { shape: 2.0, scale: 30.0 }, min: 1, max: 300 };
    let source = SourceSpec {
        name: "clients".into(),
        key: 11,
        task: TaskId(0),
        arrivals: Arrivals::Renewal { gaps: Gaps::Exponential, rate: RateCurve::constant(8.0) },
        lengths: LengthsSpec { input, output, correlation: 0.4 },
        ends_by_eos: true,
        max_tokens: Some(200),
        priority: 0,
        prefix: None,
        session: None,
        scaling: Scaling::default(),
        people: People::default(),
    };
    Scenario {
        horizon: Span::from_secs(60),
        warm_up: Span::from_secs(10),
        tasks: vec![TaskSpec {
            latency_slo: Some(Span::from_secs(5)),
            ..TaskSpec::one_call("task", ModelId(0))
        }],
        sources: vec![source],
        models: vec![ModelSpec::on_pools("model", &[PoolId(0)])],
        pools: vec![pool()],
        window: Span::from_secs(1),
        ..Scenario::default()
    }
}

fn pool() -> PoolSpec {
    let linear = vec![(0, 5_000_000_000), (64, 6_000_000_000), (512, 30_000_000_000)];
    PoolSpec {
        name: "pool".into(),
        replicas: 2,
        gpus_per_replica: 1,
        price_per_gpu_hour: Money(2_990_000_000_000),
        engine: EngineSpec {
            scheduling: Scheduling::Vllm,
            kv_blocks: Blocks(400),
            block_size: Tokens(16),
            max_num_batched_tokens: Tokens(512),
            max_num_seqs: 64,
            max_model_len: Tokens(2_048),
            prefix_caching: false,
            policy: SchedulingPolicy::Fcfs,
            watermark: Blocks(4),
            reserve_full_isl: true,
            long_prefill_token_threshold: Tokens(0),
            chunked_prefill: true,
            async_scheduling: true,
            max_num_queued_reqs: None,
            max_num_queued_tokens: None,
            prefill_schedule_interval: 1,
        },
        step_time: StepTime::new(1_000_000_000, 500_000_000, linear, 40_000, 900_000, vec![8, 64])
            .expect("the knots rise"),
        host: HostTime::NONE,
        balancing: Balancing {
            strategy: Strategy::PowerOfChoices { choices: 2 },
            signal_age: Span::ZERO,
            count_own_dispatches: true,
        },
    }
}

/// Shared prefixes of unequal popularity, cached, balanced by prefix.
fn prefixes(scenario: &mut Scenario) {
    scenario.sources[0].prefix = Some(PrefixSpec { tokens: 250, distinct: 6, zipf: 1.1 });
    scenario.pools[0].engine.prefix_caching = true;
    scenario.pools[0].balancing.strategy = Strategy::PrefixAffinity { max_imbalance: 3 };
}

/// Conversations, twice the users, signals half a second old.
fn sessions(scenario: &mut Scenario) {
    let source = &mut scenario.sources[0];
    source.arrivals =
        Arrivals::Renewal { gaps: Gaps::Gamma { cv: 2.0 }, rate: RateCurve::constant(1.0) };
    source.session = Some(SessionSpec {
        turns: LengthDist { law: LengthLaw::Lognormal { mu: 1.2, sigma: 0.5 }, min: 1, max: 9 },
        think: DurationDist::Exponential { mean: Span::from_secs(3) },
        memory: None,
    });
    source.scaling = Scaling { factor: 2.5, how: ScaleHow::MoreUsers };
    scenario.pools[0].engine.prefix_caching = true;
    scenario.pools[0].balancing = Balancing {
        strategy: Strategy::LeastOutstanding,
        signal_age: Span::from_millis(500),
        count_own_dispatches: false,
    };
}

/// Clients that wait for their answer, tight memory, preemption by priority.
fn closed_loop(scenario: &mut Scenario) {
    scenario.sources[0].arrivals = Arrivals::ClosedLoop {
        users: 12,
        think: DurationDist::Gamma { shape: 1.5, scale: Span::from_millis(400) },
    };
    let mut urgent = scenario.sources[0].clone();
    (urgent.key, urgent.priority) = (12, -1);
    scenario.sources.push(urgent);
    let engine = &mut scenario.pools[0].engine;
    engine.policy = SchedulingPolicy::Priority;
    engine.kv_blocks = Blocks(90);
    engine.reserve_full_isl = false;
    engine.async_scheduling = false;
    scenario.pools[0].balancing.strategy = Strategy::KvAware;
}

/// A recording drawn again, its rows in sessions and with shared segments.
fn replay(scenario: &mut Scenario) {
    let mut trace = Trace { span: Span::from_secs(60), ..Trace::default() };
    for number in 0..400u32 {
        let shared = 16 * (number % 5 + 1);
        let own = 20 + number * 37 % 200;
        let segments_at = trace.segments.len() as u32;
        trace.segments.push(TraceSegment {
            id: u64::from(number % 7),
            tokens: shared,
            shared: true,
        });
        let id = 1_000 + u64::from(number);
        trace.segments.push(TraceSegment { id, tokens: own, shared: false });
        trace.rows.push(TraceRow {
            at: Time::ZERO.after(Span::from_millis(u64::from(number) * 150)),
            input: shared + own,
            output: 5 + number * 13 % 90,
            session: if number % 3 == 0 { u32::MAX } else { number % 40 },
            segments_at,
            segments_len: 2,
            context: 0,
        });
    }
    let arrivals = Arrivals::Replay { trace: Arc::new(trace), jitter: Span::from_millis(90) };
    scenario.sources[0].arrivals = arrivals;
    scenario.sources[0].scaling = Scaling { factor: 1.5, how: ScaleHow::FasterUsers };
    scenario.pools[0].engine.prefix_caching = true;
    scenario.pools[0].balancing.strategy = Strategy::RoundRobin;
}

/// A modulated stream with a spike; a pool that refuses, and a slower one behind it that does not
/// split prompts.
fn overflow(scenario: &mut Scenario) {
    let mut shape = RateCurve::constant(1.0);
    shape.spikes.push((Time::ZERO.after(Span::from_secs(20)), Span::from_secs(5), 3.0));
    scenario.sources[0].arrivals = Arrivals::Modulated {
        states: vec![(4.0, Span::from_secs(6)), (20.0, Span::from_secs(2))],
        shape,
    };
    scenario.sources[0].scaling = Scaling { factor: 2.0, how: ScaleHow::Burstier };
    let first = &mut scenario.pools[0];
    first.engine.max_num_queued_reqs = Some(8);
    first.engine.max_num_seqs = 6;
    first.balancing.strategy = Strategy::Random;
    let mut second = pool();
    second.replicas = 1;
    second.engine.chunked_prefill = false;
    second.engine.max_num_batched_tokens = Tokens(1_024);
    second.engine.max_num_queued_reqs = Some(20);
    scenario.pools.push(second);
    scenario.models[0] = ModelSpec::on_pools("model", &[PoolId(0), PoolId(1)]);
}
