//! Relations in law: they hold for intervals over replications, at fixed seeds.
//!
//! An interval at 99.9 % misses zero by chance once in a thousand measures, and the seeds are
//! fixed: a failure is a finding. Each test also shows a change that is seen.

use crate::swarm;
use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::TestRunner;
use rayon::prelude::*;
use sim::dist::{LengthDist, LengthLaw, LengthsSpec};
use sim::engine::StepTime;
use sim::fleet::{Balancing, HostTime, Strategy};
use sim::ids::{ModelId, PoolId, TaskId};
use sim::metrics::Histogram;
use sim::scenario::ModelSpec;
use sim::stats::{Interval, t_interval};
use sim::tasks::TaskSpec;
use sim::units::{Blocks, Money, Span, Tokens};
use sim::workload::{Arrivals, Gaps, People, RateCurve, Scaling, SourceSpec};
use sim::{Outcome, Scenario, Simulation};

fn tokens(mean: f64, max: u32) -> LengthDist {
    let law = LengthLaw::Lognormal { mu: (mean * 0.8).ln(), sigma: 0.7 };
    LengthDist { law, min: 1, max }
}

/// A Poisson source.
pub(super) fn source(name: &str, key: u64, rate: f64) -> SourceSpec {
    SourceSpec {
        name: name.into(),
        key,
        task: TaskId(0),
        arrivals: Arrivals::Renewal { gaps: Gaps::Exponential, rate: RateCurve::constant(rate) },
        lengths: LengthsSpec {
            input: tokens(200.0, 900),
            output: tokens(60.0, 300),
            correlation: 0.3,
        },
        ends_by_eos: true,
        max_tokens: None,
        priority: 0,
        prefix: None,
        session: None,
        scaling: Scaling::default(),
        people: People::default(),
    }
}

/// A pool that takes what these sources send. Its engine is one of the swarm's, with room: what is
/// refused, or loses its place, is work that depends on the company.
fn service(sources: Vec<SourceSpec>, replicas: u32, strategy: Strategy, engine: u32) -> Scenario {
    let mut runner = TestRunner::deterministic();
    let pools =
        (0..=engine).map(|_| swarm::pool().new_tree(&mut runner).expect("a pool").current());
    let mut pool = pools.last().expect("one at least");
    (pool.replicas, pool.gpus_per_replica, pool.price_per_gpu_hour) = (replicas, 1, Money(1_000));
    pool.balancing = Balancing { strategy, signal_age: Span::ZERO, count_own_dispatches: true };
    pool.host = HostTime { request: Span::ZERO, prompt_token: Span::ZERO };
    let engine = &mut pool.engine;
    (engine.kv_blocks, engine.watermark, engine.prefix_caching) = (Blocks(9_000), Blocks(0), false);
    (engine.max_model_len, engine.max_num_seqs) = (Tokens(2_000), 16);
    (engine.max_num_batched_tokens, engine.chunked_prefill) = (Tokens(512), true);
    (engine.max_num_queued_reqs, engine.max_num_queued_tokens) = (None, None);
    let knots = vec![(1, 2_000_000_000), (64, 3_000_000_000), (512, 30_000_000_000)];
    pool.step_time = StepTime::new(4_000_000_000, 0, knots, 50_000, 0, vec![]).expect("valid");
    Scenario {
        horizon: Span::from_secs(150),
        warm_up: Span::from_secs(15),
        window: Span::from_secs(15),
        tasks: vec![TaskSpec::one_call("task", ModelId(0))],
        models: vec![ModelSpec::on_pools("model", &[PoolId(0)])],
        sources,
        pools: vec![pool],
        ..Scenario::default()
    }
}

/// A number of a run.
type Measure = fn(&Outcome) -> f64;

/// Measures of all kinds of task together, because their order may be what is changed.
const MEASURES: [(&str, Measure); 4] = [
    ("arrived", |o| o.tasks.iter().map(|task| task.arrived as f64).sum()),
    ("mean latency", |o| latencies(o).mean_secs().unwrap_or(0.0)),
    ("p95", p95),
    ("engine time", |o| o.tasks.iter().map(|task| task.engine_time as f64 / 1e12).sum()),
];

fn latencies(outcome: &Outcome) -> Histogram {
    let mut all = Histogram::default();
    outcome.tasks.iter().for_each(|task| all.merge(&task.latency));
    all
}

fn p95(outcome: &Outcome) -> f64 {
    latencies(outcome).quantile_secs(0.95).unwrap_or(0.0)
}

pub(super) fn outcomes(scenario: &Scenario, seed: u64, replications: u32) -> Vec<Outcome> {
    let run = |number| {
        let outcome = Simulation::new(scenario, seed, number).run();
        assert_eq!(outcome.audit, Vec::<String>::new());
        outcome
    };
    (0..replications).into_par_iter().map(run).collect()
}

/// The measures in which two scenarios differ: intervals at 99.9 % of differences between
/// independent replications that leave zero out.
pub(super) fn differing(one: &[Outcome], other: &[Outcome]) -> Vec<(&'static str, Interval)> {
    let of = |(name, measure): (&'static str, Measure)| {
        let differences: Vec<f64> =
            one.iter().zip(other).map(|(a, b)| measure(a) - measure(b)).collect();
        let interval = t_interval(&differences, 0.999)?.interval();
        (interval.low > 0.0 || interval.high < 0.0).then_some((name, interval))
    };
    MEASURES.into_iter().filter_map(of).collect()
}

/// A Poisson stream split by coin tosses is two independent Poisson streams, and two independent
/// ones merged are one of the summed rate (Kingman, "Poisson Processes", 1993, sections 2.2 and
/// 5.1). So two sources of half the rate are one source, in every measure.
#[test]
fn a_stream_in_two_halves_is_the_whole_stream() {
    for (engine, strategy) in [(0, Strategy::LeastOutstanding), (1, Strategy::Random)] {
        let split = |half: f64| {
            let halves = vec![source("one", 21, half), source("other", 22, half)];
            outcomes(&service(halves, 2, strategy, engine), 3, 40)
        };
        let merged = outcomes(&service(vec![source("all", 20, 10.0)], 2, strategy, engine), 3, 40);
        assert_ne!(merged[0].log_hash, split(5.0)[0].log_hash, "they are other draws");
        assert_eq!(differing(&merged, &split(5.0)), Vec::new(), "{strategy:?}");
        let more = differing(&merged, &split(5.5));
        assert!(more.iter().any(|(name, _)| *name == "arrived"), "a tenth more is not seen");
        assert!(more.iter().any(|(name, _)| *name == "engine time"), "{more:?}");
    }
}

/// Whoever takes work as it comes and lets no replica idle beside a queue has, with one replica
/// more, at each instant at least as much capacity: on the same customers p95 may not rise beyond
/// what the replications leave open. Blind rules (turns, random) spread thinner and gain as well;
/// prefix affinity moves prompts, but without a prefix cache nothing is lost by that.
#[test]
fn an_idle_replica_more_does_not_hurt() {
    let strategies = [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::LeastOutstanding,
        Strategy::PowerOfChoices { choices: 2 },
        Strategy::KvAware,
        Strategy::PrefixAffinity { max_imbalance: 4 },
    ];
    let cases: Vec<(Strategy, u32, f64)> = strategies
        .into_iter()
        .flat_map(|strategy| [(strategy, 2, 5.0), (strategy, 3, 11.0), (strategy, 4, 1.0)])
        .collect();
    let changes = cases.into_par_iter().map(|(strategy, engine, rate)| {
        let of = |replicas| {
            outcomes(&service(vec![source("all", 20, rate)], replicas, strategy, engine), 4, 10)
        };
        let (few, more, fewer) = (of(2), of(3), of(1));
        let paired = |a: &[Outcome], b: &[Outcome]| {
            let pairs: Vec<f64> = a.iter().zip(b).map(|(a, b)| p95(a) - p95(b)).collect();
            t_interval(&pairs, 0.95).expect("ten pairs").interval()
        };
        let (added, taken) = (paired(&more, &few), paired(&fewer, &few));
        assert!(added.low <= 0.0, "{strategy:?} at {rate}/s: a replica more adds {added:?}");
        // The same comparison sees one taken away, where there is something to do.
        assert!(taken.low > 0.0 || rate < 2.0, "{strategy:?} at {rate}/s: {taken:?}");
        added.high
    });
    let felt = changes.filter(|&high| high < 0.0).count();
    assert!(felt > 6, "a replica more is felt in {felt} cases only");
}
