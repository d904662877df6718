//! What policies did in which window of the series. That windows sum to the totals is looked at in
//! every run, by the audit.

use super::attempts::hedge;
use super::*;
use crate::audit::{Audit, Remains};
use crate::cache::{Eviction, ExactCacheSpec, QuerySpec, SemanticCacheSpec};
use crate::metrics::{ModelWindow, Parts, TaskActs, TaskWindow};
use crate::routing::{Fallback, Rule};

/// So many windows of 100 ms.
fn in_windows(scenario: &mut Scenario, windows: u64) {
    (scenario.window, scenario.horizon) = (MS(100), MS(100 * windows));
}

fn acts(windows: &[TaskWindow]) -> Vec<TaskActs> {
    windows.iter().map(|window| window.acts).collect()
}

/// Model 0 fails after 30 ms, twice; then model 1 answers in 100 ms.
fn falling_back(at: &[u64]) -> Scenario {
    let mut scenario = scenario(vec![one_call()]);
    let other = ModelId(another_model(&mut scenario) as u32);
    scenario.models[0].guards.retry = retry(2);
    scenario.remotes[0].incidents = vec![outage(0, 10_000, 30)];
    scenario.routing.fallbacks = vec![vec![Fallback { model: other, on: FailureSet::ALL }]];
    scenario.sources[0].arrivals = arriving(at);
    in_windows(&mut scenario, 5);
    scenario
}

#[test]
fn retries_and_fallbacks_are_where_the_failure_is_known() {
    let parts = run(&falling_back(&[0, 250])).series.parts;
    let none = ModelWindow::default();
    let (retries, fallbacks) = (1, 1);
    let both = ModelWindow { retries, fallbacks, ..none };
    // The second fails at 280 and at 310 ms.
    let (first, then) = (ModelWindow { retries, ..none }, ModelWindow { fallbacks, ..none });
    assert_eq!(parts.models[0], [both, none, first, then, none]);
    let one = ModelWindow { answered: 1, ..none };
    assert_eq!(parts.models[1], [none, one, none, none, one]);
}

/// The hedge is sent after 30 ms; one of the two answers.
#[test]
fn a_hedge_is_where_it_is_sent() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.models[0].guards.hedge = hedge(2);
    scenario.sources[0].arrivals = arriving(&[80]);
    in_windows(&mut scenario, 3);
    let none = ModelWindow::default();
    let expected = [none, ModelWindow { answered: 1, hedges: 1, ..none }, none];
    assert_eq!(run(&scenario).series.parts.models, [expected]);
}

/// The doubted answer is there at 100 ms, the better one at 200.
#[test]
fn an_escalation_is_where_the_answer_is_doubted() {
    let mut scenario = scenario(vec![one_call()]);
    let better = ModelId(another_model(&mut scenario) as u32);
    scenario.routing.escalations = vec![Rule { when: always(true), model: better }];
    scenario.sources[0].arrivals = arriving(&[50]);
    in_windows(&mut scenario, 3);
    let parts = run(&scenario).series.parts;
    let none = TaskActs::default();
    let escalated = TaskActs { escalations: 1, ..none };
    assert_eq!(acts(&parts.tasks[0]), [none, escalated, none]);
    let answered = |windows: &[ModelWindow]| windows.iter().map(|w| w.answered).collect::<Vec<_>>();
    assert_eq!([&parts.models[0], &parts.models[1]].map(|w| answered(w)), [[0, 1, 0], [0, 0, 1]]);
}

const CACHE: ExactCacheSpec = ExactCacheSpec {
    ttl: Span::from_secs(9),
    capacity: 9,
    eviction: Eviction::Fifo,
    lookup: Span::ZERO,
};

/// Always the same.
const QUERY: QuerySpec = QuerySpec {
    topics: 1,
    zipf: 0.0,
    phrasings: 1,
    neighbours: 1,
    similarity: 0.9,
    neighbour_similarity: 0.8,
    spread: 0.0,
};

/// Asked at 0, 150 and 160 ms, answered at 100.
#[test]
fn a_hit_is_where_the_cache_has_it() {
    let mut asking = step(&[], None);
    if let Work::ModelCall(call) = &mut asking.work {
        (call.query, call.cacheable) = (Some(QUERY), true);
    }
    let mut scenario = scenario(vec![of_steps(vec![asking])]);
    scenario.sources[0].arrivals = arriving(&[0, 150, 160]);
    in_windows(&mut scenario, 3);
    let ExactCacheSpec { ttl, capacity, eviction, lookup } = CACHE;
    let semantic = SemanticCacheSpec { similarity_threshold: 1.0, ttl, capacity, eviction, lookup };
    let none = TaskActs::default();
    scenario.exact_cache = Some(CACHE);
    let hits = |scenario: &Scenario| acts(&run(scenario).series.parts.tasks[0]);
    assert_eq!(hits(&scenario), [none, TaskActs { exact_hits: 2, ..none }, none]);
    (scenario.exact_cache, scenario.semantic_cache) = (None, Some(semantic));
    assert_eq!(hits(&scenario), [none, TaskActs { semantic_hits: 2, ..none }, none]);
}

/// The first use takes a second from 10 ms on; the later ones find its result.
#[test]
fn a_use_answered_from_the_cache_of_a_tool_is_in_its_windows() {
    let search = ToolUse { tool: ToolId(0), query: Some(QUERY), cache: Some(CACHE), acts: false };
    let mut scenario = scenario(vec![of_steps(vec![step(&[], Some(Work::Tool(search)))])]);
    scenario.tools = vec![tool()];
    scenario.sources[0].arrivals = arriving(&[10, 1_110, 1_210, 1_220]);
    in_windows(&mut scenario, 13);
    let outcome = run(&scenario);
    let hits = outcome.series.parts.tools[0].iter().map(|window| window.cache_hits);
    assert_eq!(hits.collect::<Vec<_>>(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(outcome.tools[0].cache_hits, 3);
}

/// Ten tokens are halved once; the next one comes in another window.
#[test]
fn a_rung_is_where_it_is_taken() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.tasks[0].budget.max_input_tokens = Some(5);
    scenario.tasks[0].budget.on_exceeded = vec![Rung::ShorterContext { keep: 0.5, quality: 1.0 }];
    scenario.sources[0].arrivals = arriving(&[0, 120]);
    in_windows(&mut scenario, 3);
    let shorter = TaskActs { rungs: [1, 0, 0, 0, 0], ..TaskActs::default() };
    let parts = run(&scenario).series.parts;
    assert_eq!(acts(&parts.tasks[0]), [shorter, shorter, TaskActs::default()]);
}

/// Who arrives in the warm-up is in the series and not in the totals; what is done in the drain is
/// in the totals alone.
#[test]
fn windows_know_the_warm_up_and_not_the_drain() {
    let mut scenario = falling_back(&[0, 250, 480]);
    scenario.warm_up = MS(100);
    let outcome = run(&scenario);
    let parts = &outcome.series.parts;
    let windows: u64 = parts.models[0].iter().map(|window| window.fallbacks).sum();
    assert_eq!((windows, outcome.models[0].fallbacks), (2, 2));
    let early: u64 = parts.models[1].iter().map(|window| window.answered).sum();
    assert_eq!((early, outcome.models[1].calls), (2, 2));
}

/// A window that has one more or one less of anything than was counted for the totals is found.
#[test]
fn the_audit_counts_what_policies_did_again() {
    let changes: [fn(&mut Parts); 10] = [
        |parts| parts.models[0][1].answered += 1,
        |parts| parts.models[0][0].retries -= 1,
        |parts| parts.models[0][1].hedges += 1,
        |parts| parts.models[0][0].fallbacks -= 1,
        |parts| parts.tasks[0][1].acts.escalations += 1,
        |parts| parts.tasks[0][1].acts.exact_hits += 1,
        |parts| parts.tasks[0][1].acts.semantic_hits += 1,
        |parts| parts.tasks[0][1].acts.rungs[4] += 1,
        |parts| parts.tools[0][1].cache_hits += 1,
        |parts| parts.remotes[1][1].cached_input_tokens += 1,
    ];
    let mut scenario = falling_back(&[0, 250]);
    scenario.tools = vec![tool()];
    let outcome = run(&scenario);
    let found = |outcome: &Outcome| {
        let (rest, none) = (Parts::default(), (&[], &[], &[]));
        let (replicas, remotes, tools) = none;
        let remains = Remains { replicas, remotes, tools, under_way: 0, admitted: 0, rest: &rest };
        let found = Audit::default().findings(&scenario, outcome, &remains);
        found.into_iter().any(|finding| finding.contains("windows"))
    };
    assert!(!found(&outcome));
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = outcome.clone();
        change(&mut changed.series.parts);
        assert!(found(&changed), "change {number}");
    }
}
