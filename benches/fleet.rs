//! A whole simulation of about 100,000 requests on eight replicas, and its workload alone.
//!
//! The shape of the million-request scenario: Poisson arrivals, lognormal prompts and answers of
//! mean 1024 and 256 tokens, the less loaded of two replicas. Throughput counts requests.

use criterion::{Criterion, SamplingMode, Throughput};
use sim::dist::{LengthDist, LengthLaw, LengthsSpec};
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime};
use sim::fleet::{Balancing, HostTime, PoolSpec, Strategy};
use sim::ids::{ModelId, PoolId, SourceId, TaskId};
use sim::scenario::ModelSpec;
use sim::tasks::TaskSpec;
use sim::units::{Blocks, Money, Span, Tokens};
use sim::workload::{Arrivals, Gaps, People, RateCurve, Scaling, Source, SourceSpec};
use sim::{Scenario, Simulation};
use std::hint::black_box;

const REQUESTS: u64 = 100_000;
/// Requests per second; eight replicas are then busy but not overloaded.
const RATE: f64 = 120.0;
const MAX_MODEL_LEN: u32 = 32_768;

/// A lognormal of this mean whose standard deviation equals it.
fn lengths(mean: f64) -> LengthDist {
    let variance = std::f64::consts::LN_2;
    let law = LengthLaw::Lognormal { mu: mean.ln() - variance / 2.0, sigma: variance.sqrt() };
    LengthDist { law, min: 1, max: 15_000 }
}

fn source() -> SourceSpec {
    SourceSpec {
        name: "clients".into(),
        key: 7,
        task: TaskId(0),
        arrivals: Arrivals::Renewal { gaps: Gaps::Exponential, rate: RateCurve::constant(RATE) },
        lengths: LengthsSpec { input: lengths(1_024.0), output: lengths(256.0), correlation: 0.0 },
        ends_by_eos: true,
        max_tokens: None,
        priority: 0,
        prefix: None,
        session: None,
        scaling: Scaling::default(),
        people: People::default(),
    }
}

fn pool(prefix_caching: bool) -> PoolSpec {
    let linear = vec![
        (0, 5_500_000_000),
        (64, 5_700_000_000),
        (256, 6_000_000_000),
        (8_192, 150_000_000_000),
    ];
    let step_time = StepTime::new(1_000_000_000, 0, linear, 50_000, 900_000, Vec::new());
    PoolSpec {
        name: "pool".into(),
        replicas: 8,
        gpus_per_replica: 1,
        price_per_gpu_hour: Money(2_990_000_000_000),
        engine: EngineSpec {
            scheduling: Scheduling::Vllm,
            kv_blocks: Blocks(27_062),
            block_size: Tokens(16),
            max_num_batched_tokens: Tokens(8_192),
            max_num_seqs: 1_024,
            max_model_len: Tokens(MAX_MODEL_LEN),
            prefix_caching,
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

fn scenario(prefix_caching: bool) -> Scenario {
    let task = TaskSpec::one_call("task", ModelId(0));
    Scenario {
        horizon: Span::from_secs_f64(REQUESTS as f64 / RATE),
        warm_up: Span::ZERO,
        tasks: vec![task],
        sources: vec![source()],
        models: vec![ModelSpec::on_pools("model", &[PoolId(0)])],
        pools: vec![pool(prefix_caching)],
        window: Span::from_secs(1),
        ..Scenario::default()
    }
}

fn fleet(criterion: &mut Criterion) {
    for (name, caching) in [("fleet", false), ("fleet with prefix caching", true)] {
        let scenario = scenario(caching);
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        group.throughput(Throughput::Elements(REQUESTS));
        group.bench_function("100k requests, 8 replicas", |bencher| {
            bencher.iter(|| black_box(Simulation::new(&scenario, 1, 0).run()));
        });
        group.finish();
    }
}

fn workload(criterion: &mut Criterion) {
    let (spec, horizon) = (source(), scenario(false).horizon);
    let mut group = criterion.benchmark_group("workload");
    group.sample_size(10).throughput(Throughput::Elements(REQUESTS));
    group.bench_function("100k requests drawn", |bencher| {
        bencher.iter(|| {
            let mut source = Source::new(&spec, SourceId(0), 1, 0, horizon, MAX_MODEL_LEN);
            while let Some(request) = source.next() {
                black_box(request);
            }
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    fleet(&mut criterion);
    workload(&mut criterion);
    criterion.final_summary();
}
