//! What may only move one way: more replicas never hurt, more load always does.
//!
//! Both sides see the same customers (common random numbers), so their difference is estimated
//! pair by pair.

use crate::station::{pool, scenario};
use rayon::prelude::*;
use sim::dist::{LengthDist, LengthLaw, LengthsSpec};
use sim::engine::{EngineSpec, Scheduling, SchedulingPolicy, StepTime};
use sim::fleet::Strategy;
use sim::ids::TaskId;
use sim::record::KeepAll;
use sim::stats::t_interval;
use sim::units::{Blocks, Span, Tokens};
use sim::workload::{Arrivals, Gaps, People, PrefixSpec, RateCurve, Scaling, SourceSpec};
use sim::{Outcome, Scenario, Simulation};

fn lengths(mean: f64, sigma: f64, max: u32) -> LengthDist {
    LengthDist {
        law: LengthLaw::Lognormal { mu: mean.ln() - sigma * sigma / 2.0, sigma },
        min: 1,
        max,
    }
}

/// A chat service: `rate` requests a second on `replicas` engines with `kv_blocks` blocks each.
pub(super) fn service(
    rate: f64,
    replicas: u32,
    kv_blocks: u32,
    strategy: Strategy,
    seconds: u64,
) -> Scenario {
    let source = SourceSpec {
        name: "chat".to_owned(),
        key: 1,
        task: TaskId(0),
        arrivals: Arrivals::Renewal { gaps: Gaps::Exponential, rate: RateCurve::constant(rate) },
        lengths: LengthsSpec {
            input: lengths(300.0, 0.8, 2_000),
            output: lengths(150.0, 0.8, 1_000),
            correlation: 0.0,
        },
        ends_by_eos: true,
        max_tokens: None,
        priority: 0,
        prefix: Some(PrefixSpec { tokens: 64, distinct: 20, zipf: 0.8 }),
        session: None,
        scaling: Scaling::default(),
        people: People::default(),
    };
    let engine = EngineSpec {
        scheduling: Scheduling::Vllm,
        kv_blocks: Blocks(kv_blocks),
        block_size: Tokens(16),
        max_num_batched_tokens: Tokens(2_048),
        max_num_seqs: 64,
        max_model_len: Tokens(4_096),
        prefix_caching: false,
        policy: SchedulingPolicy::Fcfs,
        watermark: Blocks(0),
        reserve_full_isl: true,
        long_prefill_token_threshold: Tokens(0),
        chunked_prefill: true,
        async_scheduling: true,
        max_num_queued_reqs: None,
        max_num_queued_tokens: None,
        prefill_schedule_interval: 1,
    };
    let knots = vec![(1, 6_000_000_000), (64, 7_000_000_000), (2_048, 80_000_000_000)];
    let step = StepTime::new(1_000_000_000, 0, knots, 50_000, 900_000, vec![]).expect("valid");
    let horizon = Span::from_secs(seconds);
    let pools = vec![pool(engine, step, replicas, strategy)];
    scenario(vec![source], 1, pools, (Span(horizon.0 / 10), horizon))
}

pub(super) fn run(scenario: &Scenario, seed: u64, replication: u32) -> Outcome {
    let outcome = Simulation::new(scenario, seed, replication).run();
    assert_eq!(outcome.audit, Vec::<String>::new());
    outcome
}

fn p95(outcome: &Outcome) -> f64 {
    outcome.models[0].e2e.quantile_secs(0.95).expect("requests ended")
}

#[test]
fn one_more_replica_never_hurts() {
    let strategies = [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::LeastOutstanding,
        Strategy::PowerOfChoices { choices: 2 },
        Strategy::KvAware,
        Strategy::PrefixAffinity { max_imbalance: 8 },
    ];
    let seeds = [1, 2, 3];
    let cases: Vec<(Strategy, u32, u64)> = strategies
        .into_iter()
        .flat_map(|s| [2, 4].map(|n| (s, n)))
        .flat_map(|(s, n)| seeds.map(|seed| (s, n, seed)))
        .collect();
    cases.into_par_iter().for_each(|(strategy, replicas, seed)| {
        // Busy enough that requests queue now and then, so that a replica more is felt.
        let rate = 18.0 * f64::from(replicas);
        let few = service(rate, replicas, 1_500, strategy, 100);
        let more = service(rate, replicas + 1, 1_500, strategy, 100);
        let change = |r| p95(&run(&more, seed, r)) - p95(&run(&few, seed, r));
        let pairs: Vec<f64> = (0..10).map(change).collect();
        let change = t_interval(&pairs, 0.95).expect("ten pairs").interval();
        let case = format!("{strategy:?}, {replicas} replicas, seed {seed}: {change:?}");
        assert!(change.low <= 0.0, "it hurts: {case}");
        assert!(change.high < 0.0, "it is not felt, so this tests nothing: {case}");
    });
}

/// So little load that most requests find all replicas idle: no rule may favour one of them.
#[test]
fn light_load_is_spread_over_all_replicas() {
    for strategy in [Strategy::RoundRobin, Strategy::LeastOutstanding, Strategy::KvAware] {
        let scenario = service(0.05, 4, 1_500, strategy, 20_000);
        let (_, kept) =
            Simulation::recording(&scenario, 1, 0, KeepAll::default()).run_with(&|_| false);
        let mut served = [0_usize; 4];
        kept.calls.iter().for_each(|call| served[call.replica as usize] += 1);
        let fair = kept.calls.len() / 4;
        let even = served.iter().all(|&n| n.abs_diff(fair) <= fair / 10);
        assert!(kept.calls.len() > 800 && even, "{strategy:?}: {served:?}");
    }
}

/// Load against a small KV pool: no preemption at first, then some, then many; p95 rises faster and
/// faster.
#[test]
fn a_small_kv_pool_has_a_knee() {
    let rates = [1.0, 2.25, 3.5, 4.75, 6.0];
    let points: Vec<(f64, f64)> = rates
        .into_par_iter()
        .map(|rate| {
            let scenario = service(rate, 1, 320, Strategy::RoundRobin, 1_200);
            let outcomes: Vec<Outcome> = (0..10).map(|r| run(&scenario, 1, r)).collect();
            let mean = |value: &dyn Fn(&Outcome) -> f64| {
                outcomes.iter().map(value).sum::<f64>() / outcomes.len() as f64
            };
            let preempted =
                |o: &Outcome| o.pools[0].whole_run.preemptions as f64 / o.models[0].calls as f64;
            (mean(&preempted), mean(&p95))
        })
        .collect();
    let rises: Vec<f64> = points.windows(2).map(|w| w[1].1 - w[0].1).collect();
    assert!(rises.iter().all(|&rise| rise > 0.0), "p95 falls somewhere: {points:?}");
    assert!(rises.windows(2).all(|w| w[1] > w[0]), "p95 is not convex: {points:?}");
    assert!(points.windows(2).all(|w| w[1].0 >= w[0].0), "preemptions fall: {points:?}");
    assert!(points[0].0 < 0.001 && points[4].0 > 0.1, "no pressure: {points:?}");
}
