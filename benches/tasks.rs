//! Whole simulations of tasks: five model calls and a tool use each, under every policy at once.
//!
//! Two hosted models with errors, slow answers and rate limits; rules, escalation, fallbacks,
//! retries with a budget, hedges, breakers, admission, a task budget with its ladder, both caches of
//! answers, patience and resubmission. Throughput counts tasks; nothing of it is spent in engines.
//! The same tasks once more on pools of GPUs show what engines add.

use criterion::{Criterion, SamplingMode, Throughput};
use sim::backends::{
    Answering, Bucket, Discipline, Limits, Meter, PromptCache, RemoteKind, RemotePrice, RemoteSpec,
    Station, ToolCost, ToolSpec,
};
use sim::cache::{Eviction, ExactCacheSpec, QuerySpec, SemanticCacheSpec};
use sim::dist::{DurationDist, LengthDist, LengthLaw, LengthsSpec};
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime};
use sim::fleet::{Balancing, HostTime, PoolSpec, Strategy};
use sim::ids::{Backend, IntentId, ModelId, PoolId, RemoteId, TaskId, ToolId};
use sim::predicate::{Op, Predicate, Signal, Value};
use sim::price::{LimitReached, SpendLimit, SpendScope};
use sim::resilience::{
    AdmissionSpec, Backoff, BreakerSpec, FailureSet, GuardSpec, HedgeSpec, Jitter, RetryBudgetSpec,
    RetrySpec, SlidingWindow,
};
use sim::routing::{Fallback, RoutingSpec, Rule};
use sim::scenario::{BackendChoice, ModelSpec, Serving};
use sim::tasks::{
    CallLengths, Check, Finding, Flaw, Graph, IntentSpec, Join, ModelCallSpec, Quality, Repeat,
    Rung, Step, TaskBudget, TaskSpec, ToolUse, Work,
};
use sim::units::{Blocks, Money, Span, Tokens};
use sim::workload::{
    Arrivals, ClientSpec, Gaps, People, RateCurve, ResubmitSpec, Scaling, SourceSpec, TenantSpec,
};
use sim::{Scenario, Simulation};
use std::hint::black_box;

const TASKS: u64 = 50_000;
/// Tasks per second.
const RATE: f64 = 100.0;

fn lengths(mean: f64) -> LengthDist {
    let variance = std::f64::consts::LN_2;
    let law = LengthLaw::Lognormal { mu: mean.ln() - variance / 2.0, sigma: variance.sqrt() };
    LengthDist { law, min: 1, max: 8_000 }
}

fn query(topics: u32) -> QuerySpec {
    QuerySpec {
        topics,
        zipf: 0.9,
        phrasings: 5,
        neighbours: 4,
        similarity: 0.9,
        neighbour_similarity: 0.7,
        spread: 0.03,
    }
}

fn step(name: &str, key: u64, after: &[u32], work: Work) -> Step {
    Step {
        name: name.into(),
        key,
        after: after.to_vec(),
        join: Join::All,
        when: None,
        work,
        repeat: Repeat::Once,
        required: true,
        check: None,
    }
}

fn call(intent: u32, cacheable: bool) -> Work {
    Work::ModelCall(ModelCallSpec {
        intent: IntentId(intent),
        model: None,
        lengths: CallLengths::Drawn(LengthsSpec {
            input: lengths(600.0),
            output: lengths(150.0),
            correlation: 0.0,
        }),
        prefix: None,
        query: cacheable.then(|| query(100_000)),
        cacheable,
        decisive: true,
        background: false,
    })
}

fn task() -> TaskSpec {
    let search = ToolUse { tool: ToolId(0), query: None, cache: None, acts: false };
    let check = Check {
        step: 4,
        looks_for: Flaw::Wrong,
        sensitivity: 0.8,
        specificity: 0.98,
        redo: 1,
        then: Finding::GoOn,
    };
    let judge = Step { check: Some(check), ..step("judge", 6, &[4], call(1, false)) };
    let steps = vec![
        step("plan", 1, &[], call(0, true)),
        step("search", 2, &[0], Work::Tool(search)),
        step("draft", 3, &[1], call(0, false)),
        step("facts", 4, &[1], call(0, false)),
        step("answer", 5, &[2, 3], call(1, true)),
        judge,
    ];
    TaskSpec {
        name: "task".into(),
        value: None,
        harm_cost: None,
        latency_slo: Some(Span::from_secs(20)),
        observability: Money(1_000_000),
        budget: TaskBudget {
            max_model_calls: Some(20),
            max_input_tokens: Some(60_000),
            max_output_tokens: Some(20_000),
            max_tool_time: Some(Span::from_secs(10)),
            max_latency: Some(Span::from_secs(60)),
            on_exceeded: vec![
                Rung::ShorterContext { keep: 0.5, quality: 0.95 },
                Rung::SmallerModel { model: ModelId(0) },
                Rung::PartialResult { quality: 0.5 },
            ],
        },
        graph: Graph { steps },
    }
}

fn hosted(name: &str, key: u64, ttft: f64) -> RemoteSpec {
    RemoteSpec {
        name: name.into(),
        key,
        kind: RemoteKind::Hosted,
        answering: Answering {
            ttft: DurationDist::Lognormal { mu: ttft.ln(), sigma: 0.4 },
            per_input_token: Span(50_000_000),
            tpot: DurationDist::Lognormal { mu: -4.6, sigma: 0.2 },
            slowness: Vec::new(),
        },
        station: Station { servers: None, queue_limit: None, discipline: Discipline::Fifo },
        limits: Limits {
            requests: Some(Bucket { per_minute: 60_000, burst: 2_000 }),
            ..Limits::default()
        },
        error_rate: 0.01,
        incidents: Vec::new(),
        cold_start: None,
        prompt_cache: Some(PromptCache {
            ttl: Span::from_secs(300),
            min_tokens: 1_024,
            granularity: 128,
            capacity: 10_000,
        }),
        devices: Vec::new(),
        max_context: 128_000,
        price: RemotePrice::Metered(Meter {
            input: Money(150_000),
            cached_input: Money(75_000),
            cache_write: Money(150_000),
            output: Money(600_000),
            call: Money::ZERO,
        }),
    }
}

fn guards() -> GuardSpec {
    GuardSpec {
        timeout: Some(Span::from_secs(30)),
        cancel_on_timeout: true,
        retry: Some(RetrySpec {
            max_attempts: 4,
            on: FailureSet::ALL,
            backoff: Backoff::Exponential {
                initial: Span::from_millis(100),
                factor: 2.0,
                max: Span::from_secs(5),
                jitter: Jitter::Full,
            },
            respect_retry_after: true,
            budget: Some(RetryBudgetSpec {
                ratio: 0.1,
                min_per_second: 10,
                ttl: Span::from_secs(10),
            }),
        }),
        hedge: Some(HedgeSpec { delay: Span::from_secs(4), max_attempts: 2 }),
        breaker: Some(BreakerSpec {
            failure_rate_threshold: 50.0,
            slow_call_rate_threshold: 100.0,
            slow_call_duration_threshold: Span::from_secs(60),
            sliding_window: SlidingWindow::Calls(100),
            minimum_number_of_calls: 20,
            wait_duration_in_open_state: Span::from_secs(10),
            permitted_calls_in_half_open_state: 5,
            consecutive_failures: None,
            failures: FailureSet::ALL,
        }),
        admission: AdmissionSpec { max_in_flight: Some(5_000), shed: vec![(2, 4_000)] },
    }
}

fn model(name: &str, remotes: [u32; 2], success: f64) -> ModelSpec {
    let serving =
        |&remote: &u32| Serving { backend: Backend::Remote(RemoteId(remote)), weight: 1.0 };
    ModelSpec {
        name: name.into(),
        key: name.bytes().map(u64::from).sum(),
        served_by: remotes.iter().map(serving).collect(),
        choice: BackendChoice::Weighted,
        guards: guards(),
        quality: vec![Quality { success, unsafe_rate: 0.01 }; 2],
    }
}

fn condition(ops: Vec<Op>) -> Predicate {
    Predicate::new(ops).expect("well formed")
}

fn routing() -> RoutingSpec {
    let number = |n| Op::Constant(Value::Number(n));
    let long = condition(vec![
        number(900.0),
        Op::Read(Signal::PromptTokens),
        Op::Less,
        Op::Read(Signal::RemainingLatency),
        number(5.0),
        Op::Less,
        Op::Not,
        Op::And,
    ]);
    let unsure = condition(vec![Op::Read(Signal::Confidence), number(0.55), Op::Less]);
    let fallback = |model| vec![Fallback { model: ModelId(model), on: FailureSet::ALL }];
    RoutingSpec {
        default_model: Some(ModelId(0)),
        rules: vec![Rule { when: long, model: ModelId(1) }],
        escalations: vec![Rule { when: unsure, model: ModelId(1) }],
        fallbacks: vec![fallback(1), fallback(0)],
        ..RoutingSpec::default()
    }
}

fn source() -> SourceSpec {
    SourceSpec {
        name: "clients".into(),
        key: 7,
        task: TaskId(0),
        arrivals: Arrivals::Renewal { gaps: Gaps::Exponential, rate: RateCurve::constant(RATE) },
        lengths: LengthsSpec { input: lengths(600.0), output: lengths(150.0), correlation: 0.0 },
        ends_by_eos: true,
        max_tokens: None,
        priority: 0,
        prefix: None,
        session: None,
        scaling: Scaling::default(),
        people: People {
            tenants: Some(TenantSpec { first: 0, count: 100, zipf: 1.0, plan: None }),
            attributes: Vec::new(),
            client: ClientSpec {
                patience: Some(DurationDist::Exponential { mean: Span::from_secs(120) }),
                abandoned_work_goes_on: false,
                resubmit: Some(ResubmitSpec {
                    max_submissions: 3,
                    probability: 0.5,
                    pause: DurationDist::Fixed(Span::from_secs(5)),
                }),
            },
        },
    }
}

fn scenario() -> Scenario {
    let intent =
        |name: &str, key| IntentSpec { name: name.into(), key, confidence: 0.7, consistency: 0.5 };
    let (ttl, eviction) = (Span::from_secs(3_600), Eviction::Lru);
    Scenario {
        horizon: Span::from_secs_f64(TASKS as f64 / RATE),
        tasks: vec![task()],
        sources: vec![source()],
        models: vec![model("small", [0, 1], 0.85), model("large", [2, 3], 0.97)],
        remotes: (0..4).map(|n| hosted("hosted", n, 0.3 + 0.1 * n as f64)).collect(),
        tools: vec![ToolSpec {
            name: "search".into(),
            key: 11,
            cost: ToolCost::Retrieval,
            latency: DurationDist::Exponential { mean: Span::from_millis(200) },
            station: Station { servers: Some(60), queue_limit: None, discipline: Discipline::Fifo },
            error_rate: 0.0,
            incidents: Vec::new(),
            per_call: Money(1_000_000),
            per_hour: Money::ZERO,
        }],
        intents: vec![intent("draft", 1), intent("answer", 2)],
        routing: routing(),
        semantic_cache: Some(SemanticCacheSpec {
            similarity_threshold: 0.93,
            ttl,
            capacity: 20_000,
            eviction,
            lookup: Span::from_millis(5),
        }),
        exact_cache: Some(ExactCacheSpec {
            ttl,
            capacity: 20_000,
            eviction,
            lookup: Span::from_millis(1),
        }),
        spend_limits: vec![SpendLimit {
            scope: SpendScope::All,
            limit: Money(i128::from(u64::MAX)),
            period: Span::from_secs(3_600),
            then: LimitReached::Refuse,
        }],
        window: Span::from_secs(1),
        ..Scenario::default()
    }
}

/// Twelve replicas, the engine that the fleet benchmark runs.
fn pool() -> PoolSpec {
    let linear = vec![
        (0, 5_500_000_000),
        (64, 5_700_000_000),
        (256, 6_000_000_000),
        (8_192, 150_000_000_000),
    ];
    let step_time = StepTime::new(1_000_000_000, 0, linear, 50_000, 900_000, Vec::new());
    PoolSpec {
        name: "pool".into(),
        replicas: 12,
        gpus_per_replica: 1,
        price_per_gpu_hour: Money(2_990_000_000_000),
        engine: EngineSpec {
            scheduling: Scheduling::Vllm,
            kv_blocks: Blocks(27_062),
            block_size: Tokens(16),
            max_num_batched_tokens: Tokens(8_192),
            max_num_seqs: 1_024,
            max_model_len: Tokens(32_768),
            prefix_caching: true,
            policy: SchedulingPolicy::Fcfs,
            watermark: Blocks(0),
            reserve_full_isl: true,
            long_prefill_token_threshold: Tokens(0),
            chunked_prefill: true,
            async_scheduling: true,
            max_num_queued_reqs: None,
            max_num_queued_tokens: None,
            prefill_schedule_interval: 1,
        },
        step_time: step_time.expect("rising knots"),
        host: HostTime::NONE,
        balancing: Balancing {
            strategy: Strategy::PowerOfChoices { choices: 2 },
            signal_age: Span::ZERO,
            count_own_dispatches: true,
        },
    }
}

/// The same tasks with a pool for each model.
fn on_pools() -> Scenario {
    let mut scenario = scenario();
    scenario.pools = vec![pool(), pool()];
    for (number, model) in scenario.models.iter_mut().enumerate() {
        let backend = Backend::Pool(PoolId(number as u32));
        model.served_by = vec![Serving { backend, weight: 1.0 }];
    }
    scenario
}

fn tasks(criterion: &mut Criterion) {
    for (name, scenario) in [("tasks", scenario()), ("tasks on pools", on_pools())] {
        let outcome = Simulation::new(&scenario, 1, 0).run();
        assert!(outcome.audit.is_empty(), "{:?}", outcome.audit);
        let task = &outcome.tasks[0];
        assert!(task.calls > 4 * task.arrived && task.succeeded * 2 > task.arrived, "{task:?}");
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        group.throughput(Throughput::Elements(task.arrived));
        group.bench_function("50k tasks of five calls under every policy", |bencher| {
            bencher.iter(|| black_box(Simulation::new(&scenario, 1, 0).run()));
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    tasks(&mut criterion);
    criterion.final_summary();
}
