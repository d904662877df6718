//! What the random scenarios of tasks reach: a check of rules that no scenario reaches checks
//! nothing.
//!
//! The scenarios are fixed, so the counts are, and the least that is asked for leaves room for
//! changes of the model but none for a generator that lost its way.

use super::any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rayon::prelude::*;
use sim::backends::RemotePrice;
use sim::outcome::Outcome;
use sim::price::{Beyond, LimitReached};
use sim::resilience::FAILURES;
use sim::tasks::ALL_DRIVERS;
use sim::{Scenario, Simulation};
use std::collections::BTreeMap;

/// Scenarios that are run.
const SCENARIOS: usize = 1_000;

/// Times that each thing must happen in all of them together.
const LEAST: u64 = 10;

/// Failures by name, in the order of their numbers.
const FAILED: [&str; FAILURES] = [
    "rate limited",
    "overloaded",
    "server error",
    "timeout",
    "breaker open",
    "too long",
    "not eligible",
];

const RUNGS: [&str; 5] =
    ["shorter context", "smaller model", "cached answer", "partial result", "refine"];

type Counts = BTreeMap<String, u64>;

fn run(scenario: &Scenario, seed: u64) -> Outcome {
    Simulation::new(scenario, seed, 0).run()
}

/// Whether a plan, and whether a spend limit, may refuse tasks.
fn refusing(scenario: &Scenario) -> (bool, bool) {
    let plan = scenario.plans.iter().any(|plan| plan.beyond == Beyond::Refused);
    let limit = scenario.spend_limits.iter().any(|limit| limit.then == LimitReached::Refuse);
    (plan, limit)
}

fn count_tasks(scenario: &Scenario, outcome: &Outcome, count: &mut impl FnMut(&str, u64)) {
    for task in &outcome.tasks {
        let ends = &task.endings;
        count("succeeded", ends.success);
        count("wrong", ends.wrong);
        count("harmful", ends.harmful);
        count("caught", ends.caught);
        count("over budget", ends.over_budget);
        count("refined", ends.refined);
        count("abandoned", ends.abandoned);
        for (name, &failed) in FAILED.iter().zip(&ends.failed) {
            count(&format!("task failed: {name}"), failed);
        }
        // Where both may refuse, nobody knows which did.
        let by = |reason| if refusing(scenario) == reason { ends.refused } else { 0 };
        count("refused by a plan", by((true, false)));
        count("refused by a spend limit", by((false, true)));
        count("rejected", task.rejected);
        count("late", task.succeeded - task.within_slo);
        count("submitted again", task.submissions - task.arrived);
        count("escalated", task.escalations);
        count("answer that stands", task.kept_answers);
        count("exact hit", task.exact_hits);
        count("semantic hit", task.semantic_hits);
        count("wrong hit", task.wrong_hits);
        count("action blocked", task.actions_blocked);
        count("task with waste", u64::from(task.wasted.0 > 0));
        for (name, &taken) in RUNGS.iter().zip(&task.rungs) {
            count(&format!("rung: {name}"), taken);
        }
        for (at, driver) in ALL_DRIVERS.iter().enumerate() {
            let of_cause = task.drivers.bands.iter().filter(|band| band.parts[at] > 0);
            count(&format!("band of latency with {driver:?}"), of_cause.count() as u64);
        }
    }
}

fn count_backends(scenario: &Scenario, outcome: &Outcome, count: &mut impl FnMut(&str, u64)) {
    for model in &outcome.models {
        count("answer", model.calls);
        count("retry", model.retries);
        count("hedge", model.hedges);
        count("fallback", model.fallbacks);
        count("wasted token", model.wasted_output_tokens);
        for (name, &failed) in FAILED.iter().zip(&model.failures) {
            count(&format!("attempt failed: {name}"), failed);
        }
    }
    for (spec, remote) in scenario.remotes.iter().zip(&outcome.remotes) {
        let usage = &remote.whole_run;
        // Not everything is a backend's to refuse: only these four are.
        for at in [0, 1, 5, 6] {
            count(&format!("refused by a remote: {}", FAILED[at]), usage.refused[at]);
        }
        count("remote broken", usage.failed);
        count("cold start", usage.cold_starts);
        count("cached prompt token", usage.billed.cached_input);
        count("breaker opened", remote.breaker_opens);
        if matches!(spec.price, RemotePrice::Metered(_)) {
            count("wasted attempt", remote.wasted.attempts);
        }
    }
    for pool in &outcome.pools {
        count("served by a pool", pool.whole_run.admitted);
    }
    for tool in &outcome.tools {
        count("tool used", tool.uses);
        count("tool failed or stopped", tool.failed);
        count("tool's result cached", tool.cache_hits);
    }
}

/// Counts of one scenario; what has no counter of its own shows by its absence.
fn reached(scenario: &Scenario, seed: u64) -> Counts {
    let mut counts = Counts::new();
    let mut count = |what: &str, times: u64| {
        *counts.entry(what.to_owned()).or_default() += times;
    };
    let outcome = run(scenario, seed);
    count_tasks(scenario, &outcome, &mut count);
    count_backends(scenario, &outcome, &mut count);
    for (name, shadow) in [("scenario with shadows", true), ("scenario with canaries", false)] {
        let mut without = scenario.clone();
        without.routing.shares.retain(|share| share.shadow != shadow);
        let acts = without != *scenario && run(&without, seed).models != outcome.models;
        count(name, u64::from(acts));
    }
    counts
}

#[test]
fn random_scenarios_reach_every_rule() {
    let mut runner = TestRunner::deterministic();
    let scenarios: Vec<Scenario> = (0..SCENARIOS)
        .map(|_| any::scenarios().new_tree(&mut runner).expect("a scenario").current())
        .collect();
    let counts: Vec<Counts> =
        scenarios.par_iter().enumerate().map(|(seed, s)| reached(s, seed as u64)).collect();
    let mut all = Counts::new();
    for (what, times) in counts.iter().flatten() {
        *all.entry(what.clone()).or_default() += times;
    }
    let seldom: Counts = all.into_iter().filter(|&(_, times)| times < LEAST).collect();
    assert_eq!(seldom, Counts::new(), "happens too seldom");
}
