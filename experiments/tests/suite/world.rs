//! A scenario with one of everything that costs money, run by the simulator itself.

use crate::support::dollars;
use sim::Scenario;
use sim::backends::{
    Answering, Discipline, Incident, Limits, Meter, PromptCache, RemoteKind, RemotePrice,
    RemoteSpec, Station, ToolCost, ToolSpec,
};
use sim::dist::{DurationDist, LengthDist, LengthLaw, LengthsSpec};
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime};
use sim::fleet::{Balancing, HostTime, PoolSpec, Strategy};
use sim::ids::{Backend, IntentId, ModelId, PlanId, PoolId, RemoteId, TaskId, ToolId};
use sim::price::{Beyond, PlanSpec};
use sim::resilience::{Backoff, FailureSet, GuardSpec, Jitter, RetrySpec};
use sim::scenario::{ModelSpec, Serving};
use sim::tasks::{
    CallLengths, Graph, IntentSpec, Join, ModelCallSpec, Quality, Repeat, Step, TaskSpec, ToolUse,
    Work,
};
use sim::units::{Blocks, Money, Span, Time, Tokens};
use sim::workload::{Arrivals, Gaps, People, RateCurve, ScaleHow, Scaling, SourceSpec, TenantSpec};

/// A millionth of a dollar.
const MICRO: Money = Money(1_000_000);

pub(crate) fn fixed(tokens: u32) -> LengthDist {
    LengthDist { law: LengthLaw::Fixed(tokens), min: 1, max: 8_000 }
}

pub(crate) fn engine() -> EngineSpec {
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

fn pool() -> PoolSpec {
    PoolSpec {
        name: "gpus".into(),
        replicas: 2,
        gpus_per_replica: 2,
        price_per_gpu_hour: Money(2_999_999_999_999),
        engine: engine(),
        step_time: StepTime::constant(Span::from_millis(10)).expect("a positive span"),
        host: HostTime::NONE,
        balancing: Balancing {
            strategy: Strategy::RoundRobin,
            signal_age: Span::ZERO,
            count_own_dispatches: true,
        },
    }
}

pub(crate) fn remote(name: &str, key: u64) -> RemoteSpec {
    RemoteSpec {
        name: name.into(),
        key,
        kind: RemoteKind::Hosted,
        answering: Answering {
            ttft: DurationDist::Exponential { mean: Span::from_millis(300) },
            per_input_token: Span::from_micros(20),
            tpot: DurationDist::Fixed(Span::from_millis(8)),
            slowness: Vec::new(),
        },
        station: Station { servers: None, queue_limit: None, discipline: Discipline::Fifo },
        limits: Limits::default(),
        error_rate: 0.0,
        incidents: Vec::new(),
        cold_start: None,
        prompt_cache: None,
        devices: Vec::new(),
        max_context: 100_000,
        price: RemotePrice::Free,
    }
}

pub(crate) fn retrying(max_attempts: u32, timeout: Option<Span>) -> GuardSpec {
    GuardSpec {
        timeout,
        cancel_on_timeout: false,
        retry: Some(RetrySpec {
            max_attempts,
            on: FailureSet::ALL,
            backoff: Backoff::Exponential {
                initial: Span::from_millis(100),
                factor: 2.0,
                max: Span::from_secs(1),
                jitter: Jitter::Full,
            },
            respect_retry_after: false,
            budget: None,
        }),
        ..GuardSpec::default()
    }
}

pub(crate) fn served(name: &str, backend: Backend, guards: GuardSpec) -> ModelSpec {
    ModelSpec {
        name: name.into(),
        key: name.bytes().map(u64::from).sum(),
        served_by: vec![Serving { backend, weight: 1.0 }],
        guards,
        ..ModelSpec::default()
    }
}

pub(crate) fn call(model: u32) -> Work {
    Work::ModelCall(ModelCallSpec {
        intent: IntentId(0),
        model: Some(ModelId(model)),
        lengths: CallLengths::Request,
        prefix: None,
        query: None,
        cacheable: false,
        decisive: true,
        background: false,
    })
}

pub(crate) fn step(name: &str, after: &[u32], work: Work) -> Step {
    Step {
        name: name.into(),
        key: name.bytes().map(u64::from).sum(),
        after: after.to_vec(),
        join: Join::All,
        when: None,
        work,
        repeat: Repeat::Once,
        required: true,
        check: None,
    }
}

fn uses(tool: u32, acts: bool) -> Work {
    Work::Tool(ToolUse { tool: ToolId(tool), query: None, cache: None, acts })
}

fn tool(name: &str, key: u64, cost: ToolCost, error_rate: f64) -> ToolSpec {
    ToolSpec {
        name: name.into(),
        key,
        cost,
        latency: DurationDist::Exponential { mean: Span::from_millis(400) },
        station: Station { servers: Some(4), queue_limit: None, discipline: Discipline::Fifo },
        error_rate,
        incidents: Vec::new(),
        per_call: Money(1_234_567_891),
        per_hour: dollars(30),
    }
}

pub(crate) fn source(name: &str, key: u64, task: u32, per_second: f64) -> SourceSpec {
    SourceSpec {
        name: name.into(),
        key,
        task: TaskId(task),
        arrivals: Arrivals::Renewal {
            gaps: Gaps::Exponential,
            rate: RateCurve::constant(per_second),
        },
        lengths: LengthsSpec { input: fixed(700), output: fixed(60), correlation: 0.0 },
        ends_by_eos: true,
        max_tokens: None,
        priority: 0,
        prefix: None,
        session: None,
        scaling: Scaling { factor: 1.0, how: ScaleHow::MoreUsers },
        people: People::default(),
    }
}

pub(crate) fn task(name: &str, steps: Vec<Step>) -> TaskSpec {
    TaskSpec {
        value: Some(dollars(1)),
        graph: Graph { steps },
        ..TaskSpec::one_call(name, ModelId(0))
    }
}

/// A hosted API with errors and a prompt cache, provisioned capacity, GPUs; search and review;
/// one kind of task of four steps and one of one plain call; fifty tenants on a plan.
pub(crate) fn scenario() -> Scenario {
    let meter = Meter {
        input: Money(3_000_001),
        cached_input: Money(300_007),
        cache_write: Money(3_750_011),
        output: Money(15_000_013),
        call: MICRO,
    };
    let hosted = RemoteSpec {
        price: RemotePrice::Metered(meter),
        error_rate: 0.15,
        prompt_cache: Some(PromptCache {
            ttl: Span::from_secs(300),
            min_tokens: 100,
            granularity: 64,
            capacity: 50,
        }),
        ..remote("hosted", 11)
    };
    let units = RemoteSpec {
        kind: RemoteKind::Provisioned,
        station: Station { servers: Some(20), queue_limit: None, discipline: Discipline::Fifo },
        price: RemotePrice::Hourly { units: 2, per_unit_hour: dollars(7), asleep_free: false },
        ..remote("units", 12)
    };
    let agent = TaskSpec {
        harm_cost: Some(dollars(3)),
        observability: Money(77_777_777),
        ..task(
            "agent",
            vec![
                step("search", &[], uses(0, false)),
                step("draft", &[0], call(0)),
                step("second", &[0], call(1)),
                step("review", &[1, 2], uses(1, true)),
            ],
        )
    };
    let tenants = TenantSpec { first: 1, count: 50, zipf: 1.0, plan: Some(PlanId(0)) };
    let quality = Quality { success: 0.9, unsafe_rate: 0.05 };
    Scenario {
        horizon: Span::from_secs(1_200),
        warm_up: Span::from_secs(100),
        window: Span::from_secs(10),
        tasks: vec![agent, task("reply", vec![step("call", &[], call(2))])],
        sources: vec![
            SourceSpec {
                people: People { tenants: Some(tenants), ..People::default() },
                prefix: Some(sim::workload::PrefixSpec { tokens: 300, distinct: 3, zipf: 0.0 }),
                ..source("web", 21, 0, 1.5)
            },
            source("mail", 22, 1, 2.0),
        ],
        models: vec![
            ModelSpec {
                quality: vec![quality],
                ..served(
                    "big",
                    Backend::Remote(RemoteId(0)),
                    retrying(2, Some(Span::from_millis(1_400))),
                )
            },
            served("mid", Backend::Remote(RemoteId(1)), GuardSpec::default()),
            served("small", Backend::Pool(PoolId(0)), GuardSpec::default()),
        ],
        pools: vec![pool()],
        remotes: vec![hosted, units],
        tools: vec![
            tool("kb", 31, ToolCost::Retrieval, 0.05),
            tool("people", 32, ToolCost::HumanReview, 0.0),
        ],
        intents: vec![IntentSpec {
            name: "draft".into(),
            key: 41,
            confidence: 0.0,
            consistency: 0.5,
        }],
        plans: vec![PlanSpec {
            name: "pro".into(),
            per_month: dollars(2_000),
            included: Some(1_000),
            beyond: Beyond::Charged(Money(Money::PICO_PER_DOLLAR / 10)),
            per_success: Money(Money::PICO_PER_DOLLAR / 100),
            premium: None,
        }],
        ..Scenario::default()
    }
}

/// A provider with ten places of a second on average, whose clients give an attempt up after 5 s
/// without stopping it, and which is twenty times slower for a minute.
pub(crate) fn fragile(max_attempts: u32, per_second: f64) -> Scenario {
    let provider = RemoteSpec {
        answering: Answering {
            ttft: DurationDist::Exponential { mean: Span::from_millis(1_000) },
            per_input_token: Span::ZERO,
            tpot: DurationDist::Fixed(Span::ZERO),
            slowness: Vec::new(),
        },
        station: Station { servers: Some(10), queue_limit: None, discipline: Discipline::Fifo },
        incidents: vec![Incident {
            at: Time::ZERO.after(Span::from_secs(300)),
            length: Span::from_secs(60),
            error_rate: 0.0,
            slowness: 20.0,
            error_after: Span::ZERO,
        }],
        ..remote("provider", 51)
    };
    Scenario {
        horizon: Span::from_secs(1_500),
        window: Span::from_secs(10),
        tasks: vec![task("reply", vec![step("call", &[], call(0))])],
        sources: vec![source("web", 61, 0, per_second)],
        models: vec![served(
            "only",
            Backend::Remote(RemoteId(0)),
            retrying(max_attempts, Some(Span::from_secs(5))),
        )],
        remotes: vec![provider],
        ..Scenario::default()
    }
}
