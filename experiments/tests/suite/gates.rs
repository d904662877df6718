//! What gates promise, counted: false alarms, power, coverage of the change, and what common random
//! numbers are worth.
//!
//! The system is an M/G/1 queue at load 0.8 with lognormal services of coefficient of variation 1.5;
//! a candidate serves every job a little slower. One percent slower services make the p95 of the
//! time in the system about five per cent longer, and two thirds of the replications' own spread is
//! larger than that.

use crate::mg1::{Mg1, run};
use experiments::check::{CheckPlan, CheckResult, check};
use experiments::gate::{Gate, Level, Rule, Tolerance, Verdict};
use experiments::paired::Change;
use experiments::{Arms, Comparison, Estimate, Metric, NoProgress, Plan, Sample, summarise};
use rayon::prelude::*;
use sim::Scenario;

/// Seconds of one run: 2,400 jobs.
const HORIZON: u64 = 3_000;
const TRIALS: u64 = 400;
const PATH: &str = "job.p95_latency";

/// Services `factor` times as long; `salt` says which random numbers.
fn queue(factor: f64, salt: u32) -> Scenario {
    Mg1 { cv: 1.5, servers: 1 }.arm(HORIZON, factor, salt)
}

fn gate(relative: f64) -> Gate {
    let tolerance =
        Tolerance { comparison: Comparison::AtMost, relative: Some(relative), absolute: None };
    Gate {
        name: PATH.to_owned(),
        text: format!("<= +{}%", relative * 100.0),
        metric: Metric::parse(PATH, &queue(1.0, 0)).expect("a known number"),
        rule: Rule::Change(tolerance),
        level: Level::Fail,
    }
}

fn checked(seed: u64, candidate: &Scenario, gates: &[Gate]) -> CheckResult {
    let how = CheckPlan {
        plan: Plan { seed, ..Plan::default() },
        pairs: 10,
        most_pairs: 40,
        confidence: 0.95,
        power: 0.9,
    };
    check((&queue(1.0, 0), candidate), (gates, &[]), &how, &run, &NoProgress).expect("it ends")
}

/// How many of the trials fail.
fn alarms(candidate: &Scenario, gates: &[Gate]) -> u64 {
    let fails = |seed: u64| checked(seed, candidate, gates).verdict == Verdict::Fail;
    (0..TRIALS).into_par_iter().filter(|&seed| fails(seed)).count() as u64
}

#[test]
fn the_same_candidate_passes_with_no_change_at_all() {
    for seed in 0..5 {
        let found = checked(seed, &queue(1.0, 0), &[gate(0.0)]);
        let test = found.gates[0].test.expect("it is tested");
        assert_eq!(found.verdict, Verdict::Pass);
        assert_eq!((test.change, test.low, test.high), (0.0, 0.0, 0.0));
        assert!(found.repeats && found.pairs == 10);
    }
}

/// A candidate of the same law under other random numbers, a gate that tolerates nothing: the hardest
/// case. Four gates at once fail no more often than one. Five per cent of 400 are 20; 33 lie three
/// standard deviations above.
#[test]
fn at_most_one_check_in_twenty_fails_without_a_change() {
    let other = queue(1.0, 1);
    let one = alarms(&other, &[gate(0.0)]);
    let quantile = |path: &str| Gate {
        metric: Metric::parse(path, &other).expect("a known number"),
        name: path.to_owned(),
        ..gate(0.0)
    };
    let four = ["job.p50_latency", "job.p90_latency", "job.p95_latency", "job.p99_latency"];
    let four = alarms(&other, &four.map(quantile));
    println!("false alarms in {TRIALS}: {one} with one gate, {four} with four");
    assert!(one <= 20, "{one} of {TRIALS}");
    assert!(four <= 20, "{four} of {TRIALS}");
}

/// The effect that a check states, on average over trials, is found in nine of ten.
#[test]
fn a_change_as_large_as_stated_is_found_in_nine_of_ten() {
    let tolerance = 0.02;
    let pilot = |seed: u64| {
        let test = checked(seed, &queue(1.01, 0), &[gate(tolerance)]).gates[0].test;
        test.expect("it is tested")
    };
    let pilots: Vec<_> = (1_000..1_100_u64).into_par_iter().map(pilot).collect();
    let mean = |of: fn(&experiments::gate::Test) -> f64| {
        pilots.iter().map(of).sum::<f64>() / pilots.len() as f64
    };
    let (stated, per_cent_of_service) = (mean(|test| test.detectable), mean(|test| test.change));
    // The p95 rises by about the same for each further per cent that services take longer.
    let factor = 1.0 + 0.01 * stated / per_cent_of_service;
    let found = alarms(&queue(factor, 0), &[gate(tolerance)]);
    println!(
        "stated {:.2} %, by services {:.2} % longer: found {found} of {TRIALS}",
        stated * 100.0,
        (factor - 1.0) * 100.0
    );
    assert!(stated < 0.06, "an effect that anybody would see: {stated}");
    assert!(found >= TRIALS * 9 / 10, "{found} of {TRIALS}");
}

/// How many of the trials' intervals hold the truth, of the change in per cent and of the difference,
/// and by what factor common random numbers make its variance smaller (the median). The truth is the
/// change over 4,000 replications, known twenty times better than a trial knows it.
fn covered(horizon: u64) -> (usize, usize, f64) {
    let arms = [1.0, 1.01].map(|factor| Mg1 { cv: 1.5, servers: 1 }.arm(horizon, factor, 0));
    let p95 = |seed: u64, replications: u32| {
        let plan = Plan { seed, replications: Sample::Fixed(replications), ..Plan::default() };
        let mut side = Arms::new(&[&arms[0], &arms[1]], &plan, &run, &NoProgress)
            .expect("no threads of its own");
        side.measure(plan.replications).expect("it ends");
        let found = side.finish().expect("it ends");
        let of =
            |at: usize| summarise(&arms[at], seed, &found[at], &[]).tasks[0].latency.p95.clone();
        Change::between(&of(0), &of(1))
    };
    let truth = p95(99_999, 4_000);
    let changes: Vec<Change> = (0..TRIALS).into_par_iter().map(|seed| p95(seed, 10)).collect();
    let count = |of: fn(&Change) -> &Estimate| {
        let truth = of(&truth).value;
        let holds = |change: &&Change| of(change).low <= truth && of(change).high >= truth;
        changes.iter().filter(holds).count()
    };
    let mut ratios: Vec<f64> = changes.iter().filter_map(|change| change.variance_ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let found = (count(|c| &c.relative), count(|c| &c.difference), ratios[ratios.len() / 2]);
    println!("{horizon} s: relative, difference of {TRIALS}, variance ratio {found:?}");
    found
}

/// 92 to 98 % of 400 are 368 to 392.
#[test]
fn the_interval_of_a_change_covers_the_truth_as_often_as_it_says() {
    let (relative, difference, ratio) = covered(10_000);
    assert!((368..=392).contains(&relative), "{relative} of {TRIALS}");
    assert!((368..=392).contains(&difference), "{difference} of {TRIALS}");
    assert!(ratio >= 10.0, "common random numbers cut the variance by {ratio} only");
}

/// In runs of 37 relaxation times a single busy hour decides over the p95, and differences, which
/// grow with it, are skewed: their intervals cover less than they say. Changes in per cent, which
/// gates judge, do not have this weakness.
#[test]
fn short_runs_cost_coverage_of_differences_only() {
    let (relative, difference, _) = covered(HORIZON);
    assert!((368..=392).contains(&relative), "{relative} of {TRIALS}");
    assert!((340..=392).contains(&difference), "{difference} of {TRIALS}");
}
