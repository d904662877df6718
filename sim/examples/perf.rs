//! Temporary timing.
use sim::dist::*;
use sim::engine::*;
use sim::fleet::*;
use sim::ids::*;
use sim::scenario::*;
use sim::units::*;
use sim::workload::*;
fn main() {
    let n: f64 = std::env::args().nth(1).map_or(1e6, |s| s.parse().unwrap());
    let caching = std::env::args().nth(2).is_some_and(|s| s == "cache");
    let rate: f64 = std::env::args().nth(3).map_or(120.0, |s| s.parse().unwrap());
    let dist = |mean: f64, cv: f64| {
        let s2 = (1.0 + cv * cv).ln();
        LengthDist {
            law: LengthLaw::Lognormal { mu: mean.ln() - s2 / 2.0, sigma: s2.sqrt() },
            min: 1,
            max: 15000,
        }
    };
    let st = StepTime::new(
        1_000_000_000,
        0,
        vec![
            (0, 5_500_000_000),
            (64, 5_700_000_000),
            (256, 6_000_000_000),
            (8192, 150_000_000_000),
        ],
        50_000,
        900_000,
        vec![],
    )
    .unwrap();
    let engine = EngineSpec {
        kv_blocks: Blocks(27062),
        block_size: Tokens(16),
        max_num_batched_tokens: Tokens(8192),
        max_num_seqs: 1024,
        max_model_len: Tokens(32768),
        prefix_caching: caching,
        policy: SchedulingPolicy::Fcfs,
        watermark: Blocks(0),
        reserve_full_isl: true,
        long_prefill_token_threshold: Tokens(0),
        chunked_prefill: true,
        async_scheduling: true,
        max_num_queued_reqs: None,
    };
    let sc = Scenario {
        horizon: Span::from_secs_f64(n / rate),
        warm_up: Span::ZERO,
        tasks: vec![TaskSpec {
            name: "t".into(),
            model: ModelId(0),
            value: None,
            latency_slo: None,
        }],
        sources: vec![SourceSpec {
            name: "s".into(),
            key: 7,
            task: TaskId(0),
            arrivals: Arrivals::Renewal {
                gaps: Gaps::Exponential,
                rate: RateCurve::constant(rate),
            },
            lengths: LengthsSpec {
                input: dist(1024.0, 1.0),
                output: dist(256.0, 1.0),
                correlation: 0.0,
            },
            ends_by_eos: true,
            max_tokens: None,
            priority: 0,
            prefix: None,
            session: None,
            scaling: Scaling::default(),
        }],
        models: vec![ModelSpec { name: "m".into(), served_by: vec![PoolId(0)] }],
        pools: vec![PoolSpec {
            name: "p".into(),
            replicas: 8,
            gpus_per_replica: 1,
            price_per_gpu_hour: Money(2_990_000_000_000),
            engine,
            step_time: st,
            balancing: Balancing {
                strategy: Strategy::PowerOfTwo,
                signal_age: Span::ZERO,
                count_own_dispatches: true,
            },
        }],
        window: Span::from_secs(1),
    };
    let t = std::time::Instant::now();
    let o = sim::Simulation::new(&sc, 1, 0).run();
    let e = t.elapsed().as_secs_f64();
    let m = &o.models[0];
    println!(
        "{} calls {:.2}s {:.0}/s events {} ({:.2}/call) iters {} util {:.3} ttft p95 {:.3} e2e p95 {:.3} audit {:?} evict {} hash {:x}",
        m.calls,
        e,
        m.calls as f64 / e,
        o.events,
        o.events as f64 / m.calls as f64,
        o.pools[0].iterations,
        o.pools[0].busy.as_secs_f64() / o.measured.as_secs_f64() / 8.0,
        m.ttft.quantile_secs(0.95).unwrap(),
        m.e2e.quantile_secs(0.95).unwrap(),
        o.audit,
        o.pools[0].evictions,
        o.log_hash
    );
}
