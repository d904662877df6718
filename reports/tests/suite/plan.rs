//! Documents of a plan: goldens, and what is said where nothing is recommended.

use crate::golden::compare;
use experiments::planner::{Choice, Counts, Planned, Point};
use experiments::trial::Trial;
use experiments::{Comparison, Estimate, Halt, Metric, Objective, ObjectiveResult, Quantile};
use reports::ScenarioInfo;
use reports::command::Named;
use reports::plan::{PlanReport, headline, markdown, text};
use sim::ids::TaskId;
use sim::units::Span;
use std::rc::Rc;

fn around(value: f64) -> Estimate {
    Estimate::with_interval(value, value * 0.99, value * 1.01)
}

fn judged(
    name: &str,
    metric: Metric,
    text: &str,
    target: f64,
    estimate: Estimate,
) -> ObjectiveResult {
    let comparison = if text.starts_with('<') { Comparison::AtMost } else { Comparison::AtLeast };
    let objective = Objective { name: name.into(), metric, comparison, target, text: text.into() };
    let met = objective_met(&estimate, comparison, target);
    ObjectiveResult { objective, estimate, met }
}

fn objective_met(estimate: &Estimate, comparison: Comparison, target: f64) -> Option<bool> {
    let (low, high) = (estimate.low?, estimate.high?);
    match comparison {
        Comparison::AtMost if high <= target => Some(true),
        Comparison::AtMost if low > target => Some(false),
        Comparison::AtLeast if low >= target => Some(true),
        Comparison::AtLeast if high < target => Some(false),
        _ => None,
    }
}

/// What came of so many replicas: spend in dollars per month, p95 in seconds.
fn trial(replicas: u32, p95: f64, replications: u32) -> Rc<Trial> {
    let changes = vec![format!("pools.chat-h100.replicas={replicas}")];
    let latency = Metric::TaskLatency(TaskId(0), Quantile::P95);
    let success = Metric::SuccessRate(TaskId(0));
    let spend = 2_184.195 * f64::from(replicas);
    Rc::new(Trial {
        changes,
        objectives: vec![
            judged("chat.p95_latency", latency, "<= 8s", 8.0, around(p95)),
            judged(
                "chat.success_rate",
                success,
                ">= 0.97",
                0.97,
                Estimate::with_interval(0.995, 0.994, 0.996),
            ),
        ],
        spend_per_month: Estimate::with_interval(spend, spend, spend),
        p95: vec![("chat".into(), around(p95))],
        is_void: false,
        replications,
        events: 1_000,
    })
}

fn choice(trial: &Rc<Trial>, more: f64) -> Choice {
    let more_per_month = Estimate::with_interval(more, more, more);
    let (trial, confirmed) = (Rc::clone(trial), Rc::clone(trial));
    Choice { changes: trial.changes.clone(), trial, confirmed, more_per_month }
}

fn point(trial: &Rc<Trial>) -> Point {
    Point { changes: trial.changes.clone(), p95: trial.p95[0].1.clone(), trial: Rc::clone(trial) }
}

fn planned() -> Planned {
    let [two, three, four] = [trial(2, 11.2, 3), trial(3, 6.1, 10), trial(4, 4.8, 10)];
    Planned {
        best: Some(choice(&three, 0.0)),
        doubts: Vec::new(),
        second: Some(choice(&four, 2_184.195)),
        binds: Some(point(&two)),
        closest: None,
        task: "chat".into(),
        frontier: [&two, &three, &four].map(point).into(),
        counts: Counts {
            candidates: 8,
            by_rent: 4,
            simulated: 4,
            after_one: 1,
            missed: 1,
            confirmed: 2,
            ..Counts::default()
        },
        runs: 44,
        exhaustive_runs: 80,
        replications: 10,
        seed: 7,
        stopped: None,
        rents_failed: false,
    }
}

fn report(result: &Planned) -> PlanReport<'_> {
    let values = (1..=8).map(|n| n.to_string()).collect();
    PlanReport {
        result,
        scenario: ScenarioInfo {
            name: "chat".into(),
            question: Some("How many replicas does the chat need?".into()),
            sha256: "5a".repeat(32),
        },
        named: Named {
            scenario: "files/chat.toml".into(),
            policy: Some("calm.toml".into()),
            ..Named::default()
        },
        base: vec!["traffic.web.scale=2x".into()],
        levers: vec![("pools.chat-h100.replicas".into(), values)],
        horizon: Span::from_secs(3_600),
        notes: vec!["chat.toml:12:3: something to know".into()],
        provenance: Vec::new(),
        version: "0.1.0",
    }
}

#[test]
fn documents_are_as_committed() {
    let result = planned();
    let report = report(&result);
    compare("plan.txt", &text(&report, false, 80));
    compare("plan.md", &markdown(&report));
    compare("plan.json", &reports::json::plan::render(&report));
}

#[test]
fn nothing_is_recommended_that_was_not_confirmed() {
    let mut result = planned();
    (result.best, result.second, result.binds) = (None, None, None);
    result.closest = Some(point(&trial(8, 9.5, 10)));
    (result.counts.confirmed, result.counts.missed) = (0, 3);
    let none = headline(&report(&result));
    assert_eq!(
        none,
        "No candidate keeps all objectives; closest comes pools.chat-h100.replicas=8, which comes to \
         9.50 s (9.40–9.60); what binds is chat.p95_latency (<= 8s)."
    );
    result.counts.undecided = 1;
    assert!(headline(&report(&result)).contains("undecided"));
    result.stopped = Some(Halt::Interrupted);
    let text = text(&report(&result), false, 80);
    assert!(text.contains("before the search was stopped"), "{text}");
    assert!(text.contains("PARTIAL"), "{text}");
    assert!(!text.contains("repeat it") && !text.contains("the plan:"), "{text}");
}

#[test]
fn what_binds_is_what_a_cheaper_one_misses() {
    let mut result = planned();
    let binds = "what binds is chat.p95_latency (<= 8s): pools.chat-h100.replicas=2 costs less but comes to";
    assert!(headline(&report(&result)).contains(binds));
    let mut overloaded = Trial::clone(&result.binds.as_ref().expect("one").trial);
    overloaded.is_void = true;
    result.binds = Some(point(&Rc::new(overloaded)));
    assert!(headline(&report(&result)).contains("what binds is capacity"));
    result.binds = None;
    assert!(headline(&report(&result)).contains("no candidate costs less"));
    result.counts.by_capacity = 1;
    assert!(!headline(&report(&result)).contains("no candidate costs less"));
    result.second = Some(choice(&trial(3, 6.2, 10), 0.0));
    assert!(headline(&report(&result)).contains("costs the same"));
}
