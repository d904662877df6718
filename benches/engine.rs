//! One engine without a fleet: decoding by leaps and step by step, and admission with and without
//! prefix caching.
//!
//! "Step by step" is the reference engine, which has no aggregates: the distance between the two is
//! what leaping is worth. Throughput counts tokens written or requests served.

use criterion::{BatchSize, Criterion, Throughput};
use sim::engine::reference::ReferenceReplica;
use sim::engine::{Ended, EngineSpec, Replica, Scheduling, SchedulingPolicy, StepTime, Submission};
use sim::units::{Blocks, Time, Tokens};
use sim::workload::Segment;

/// Sequences that decode together, and the tokens each writes.
const DECODING: u32 = 64;
const OUTPUTS: u32 = 1_000;
/// Requests of the admission benchmark.
const REQUESTS: u32 = 1_000;

fn spec(prefix_caching: bool) -> EngineSpec {
    EngineSpec {
        scheduling: Scheduling::Vllm,
        kv_blocks: Blocks(27_062),
        block_size: Tokens(16),
        max_num_batched_tokens: Tokens(8_192),
        max_num_seqs: 1_024,
        max_model_len: Tokens(32_768),
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
    }
}

fn step_time() -> StepTime {
    let linear = vec![(0, 5_500_000_000), (256, 6_000_000_000), (8_192, 150_000_000_000)];
    StepTime::new(1_000_000_000, 0, linear, 50_000, 900_000, Vec::new()).expect("rising knots")
}

/// Request `number`: a prefix of `shared` tokens, one of eight, then `own` tokens of its own.
fn request(number: u32, arrived: Time, shared: u32, own: u32, outputs: u32) -> Submission {
    let prefix = Segment { id: u64::from(number % 8), tokens: shared };
    let rest = Segment { id: 1_000 + u64::from(number), tokens: own };
    Submission {
        call: number,
        arrived,
        prompt: shared + own,
        outputs,
        max_tokens: outputs,
        ends_by_eos: true,
        priority: 0,
        segments: [prefix, rest].into_iter().filter(|s| s.tokens > 0).collect(),
        output_segment: 1_000_000 + u64::from(number),
    }
}

/// Runs until everything submitted has ended; returns how many.
fn run(replica: &mut Replica) -> usize {
    let mut ended: Vec<Ended> = Vec::new();
    replica.schedule(Time::ZERO, &mut ended);
    while replica.boundary() != Time::NEVER {
        let now = replica.boundary();
        replica.complete(now, &mut ended);
        replica.schedule(now, &mut ended);
    }
    ended.len()
}

fn run_reference(replica: &mut ReferenceReplica) -> usize {
    let mut ended: Vec<Ended> = Vec::new();
    replica.schedule(Time::ZERO, &mut ended);
    while replica.boundary() != Time::NEVER {
        let now = replica.boundary();
        replica.complete(now, &mut ended);
        replica.schedule(now, &mut ended);
    }
    ended.len()
}

fn decoding(criterion: &mut Criterion) {
    let requests = || (0..DECODING).map(|n| request(n, Time(u64::from(n)), 0, 64 + n, OUTPUTS));
    let mut group = criterion.benchmark_group("decoding");
    group.sample_size(10).throughput(Throughput::Elements(u64::from(DECODING * OUTPUTS)));
    group.bench_function("by leaps", |bencher| {
        let fresh = || {
            let mut replica = Replica::new(spec(false), step_time());
            for request in requests() {
                replica.submit(Time::ZERO, request);
            }
            replica
        };
        bencher.iter_batched_ref(fresh, run, BatchSize::SmallInput);
    });
    group.bench_function("step by step", |bencher| {
        let fresh = || {
            let mut replica = ReferenceReplica::new(spec(false), step_time());
            requests().for_each(|request| replica.submit(request));
            replica
        };
        bencher.iter_batched_ref(fresh, run_reference, BatchSize::SmallInput);
    });
    group.finish();
}

fn admission(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admission");
    group.sample_size(10).throughput(Throughput::Elements(u64::from(REQUESTS)));
    for (name, caching) in [("without prefix caching", false), ("with prefix caching", true)] {
        let fresh = || {
            let mut replica = Replica::new(spec(caching), step_time());
            for number in 0..REQUESTS {
                let arrived = Time(u64::from(number));
                replica.submit(Time::ZERO, request(number, arrived, 768, 256 + number % 97, 32));
            }
            replica
        };
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(fresh, run, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decoding(&mut criterion);
    admission(&mut criterion);
    criterion.final_summary();
}
