//! Does a nominal 95 % interval cover the truth in 95 % of the cases?

use crate::support::{Queue, scenario};
use experiments::{NoProgress, Plan, Sample, run};

/// The time in an M/M/1 system is exponential with rate `μ − λ`, so its p95 is
/// `ln 20/(μ − λ)`: here μ = 1, λ = 0.7. Ten replications of 10 000 s, the first 500 s removed
/// (the relaxation time is `1/(1 − √ρ)²` = 37 s). The bounds are 95 ± 3 % of 300 cases, 2.4
/// standard deviations of the count.
#[test]
fn the_jackknife_of_a_pooled_p95_covers_as_often_as_it_says() {
    let (scenario, queue) = (scenario(10_000, 500), Queue::poisson(|_| 0.7));
    let (p95, mean) = (20.0_f64.ln() / 0.3, 1.0 / 0.3);
    let (mut p95_covered, mut mean_covered) = (0, 0);
    for seed in 0..300 {
        let plan =
            Plan { seed, replications: Sample::Fixed(10), threads: None, steady_state: false };
        let runner = |s: &sim::Scenario, seed, r| Some(queue.run(s, seed, r));
        let result = run(&scenario, &plan, &[], &runner, &NoProgress).expect("it finishes");
        let covers = |estimate: &experiments::Estimate, truth: f64| {
            estimate.low.is_some_and(|low| low <= truth)
                && estimate.high.is_some_and(|high| truth <= high)
        };
        p95_covered += u32::from(covers(&result.tasks[0].latency.p95, p95));
        mean_covered += u32::from(covers(&result.tasks[0].latency.mean, mean));
    }
    println!("p95: {p95_covered} of 300, mean: {mean_covered} of 300");
    assert!((276..=294).contains(&p95_covered), "p95: {p95_covered} of 300");
    assert!((276..=294).contains(&mean_covered), "mean: {mean_covered} of 300");
}
