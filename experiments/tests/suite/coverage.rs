//! Does a nominal 95 % interval cover the truth in 95 % of the cases?
//!
//! The time in an M/M/1 system is exponential with rate `μ − λ`, so its p95 is `ln 20/(μ − λ)`;
//! here μ = 1. Runs start empty, and 500 s are removed from them (the relaxation time
//! `1/(1 − √ρ)²` is 37 s at load 0.7).

use crate::mg1::{self, Mg1};
use crate::support::{Queue, scenario};
use experiments::{Estimate, NoProgress, Plan, Sample, run};
use rayon::prelude::*;

const TRIALS: u64 = 1_000;

/// How many of 300 experiments cover the p95 and the mean time in the system, and the mean number
/// of replications of an experiment.
fn covered(load: f64, queue: Queue, horizon: u64, replications: Sample) -> (u32, u32, f64) {
    let scenario = scenario(horizon, 500);
    let (p95, mean) = (20.0_f64.ln() / (1.0 - load), 1.0 / (1.0 - load));
    let covers = |estimate: &Estimate, truth: f64| {
        u32::from(estimate.low <= Some(truth) && estimate.high >= Some(truth))
    };
    let (mut p95_covered, mut mean_covered, mut spent) = (0, 0, 0);
    for seed in 0..300 {
        let plan = Plan { seed, replications, ..Plan::default() };
        let runner = |s: &sim::Scenario, seed, r| Ok(queue.run(s, seed, r));
        let result = run(&scenario, &plan, &[], &runner, &NoProgress).expect("it finishes");
        p95_covered += covers(&result.tasks[0].latency.p95, p95);
        mean_covered += covers(&result.tasks[0].latency.mean, mean);
        spent += result.replications;
    }
    let found = (p95_covered, mean_covered, f64::from(spent) / 300.0);
    println!("load {load}: p95, mean, replications {found:?}");
    found
}

/// The bounds are 95 ± 3 % of 300 cases, 2.4 standard deviations of the count.
#[test]
fn the_jackknife_of_a_pooled_p95_covers_as_often_as_it_says() {
    let queue = Queue::poisson(|_| 0.7);
    let (p95, mean, _) = covered(0.7, queue, 10_000, Sample::Fixed(10));
    assert!((276..=294).contains(&p95), "p95: {p95} of 300");
    assert!((276..=294).contains(&mean), "mean: {mean} of 300");
}

/// Stopping when the interval happens to be narrow costs a little coverage (Chow and Robbins,
/// Ann. Math. Statist. 36, 1965, promise it only in the limit): 90 % is demanded here. Without a
/// confirmation by fresh replications it was 88 to 90 %.
#[test]
fn adding_replications_until_precise_costs_little_coverage() {
    let (p95, _, replications) = covered(0.5, Queue::poisson(|_| 0.5), 2_000, Sample::Auto);
    assert!((270..=294).contains(&p95), "p95: {p95} of 300");
    assert!(replications > 10.0, "more than the least were needed: {replications}");
}

/// How many of `trials` intervals hold the p95 and the mean of ten replications of `scenario`, and how
/// many trials there were. The truth is that of 3,000 replications, known seventeen times better.
fn covered_by_its_own(queue: Mg1, horizon: u64) -> (usize, usize) {
    let scenario = queue.scenario(horizon);
    let found = |seed: u64, replications: u32| {
        let plan = Plan { seed, replications: Sample::Fixed(replications), ..Plan::default() };
        let result = run(&scenario, &plan, &[], &mg1::run, &NoProgress).expect("it finishes");
        let latency = &result.tasks[0].latency;
        (latency.p95.clone(), latency.mean.clone())
    };
    let truth = found(u64::from(u32::MAX), 3_000);
    let all: Vec<_> = (0..TRIALS).into_par_iter().map(|seed| found(seed, 10)).collect();
    let covers = |estimate: &Estimate, truth: &Estimate| {
        estimate.low <= truth.value && estimate.high >= truth.value
    };
    let p95 = all.iter().filter(|(p95, _)| covers(p95, &truth.0)).count();
    let mean = all.iter().filter(|(_, mean)| covers(mean, &truth.1)).count();
    println!("{queue:?}: p95 {p95}, mean {mean} of {TRIALS}");
    (p95, mean)
}

/// 93 to 97 % of a thousand, on an M/G/1 queue whose services vary (coefficient of variation 1.5) and
/// on an M/M/3 queue, both at load 0.8.
#[test]
fn intervals_cover_the_truth_in_93_to_97_of_100() {
    for (queue, horizon) in
        [(Mg1 { cv: 1.5, servers: 1 }, 30_000), (Mg1 { cv: 1.0, servers: 3 }, 10_000)]
    {
        let (p95, mean) = covered_by_its_own(queue, horizon);
        assert!((930..=970).contains(&p95), "{queue:?}: p95 {p95} of {TRIALS}");
        assert!((930..=970).contains(&mean), "{queue:?}: mean {mean} of {TRIALS}");
    }
}
