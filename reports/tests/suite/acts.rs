//! Pictures of what policies did over time, and of spend beside spend limits: drawn from windows, a
//! rate for each place.

use crate::html::data;
use crate::{fixture, simulated, tasks};
use experiments::RunResult;
use reports::html::render;
use serde_json::Value;
use sim::ids::TaskId;
use sim::metrics::{ModelWindow, RemoteWindow, TaskActs, TaskWindow, ToolWindow};
use sim::price::{LimitReached, SpendLimit, SpendScope};
use sim::units::{Money, Span};

/// Ten replications of three windows of 600 s each.
fn acting() -> RunResult {
    let mut result = tasks::everything();
    result.models.push(fixture::model("large"));
    result.tasks[1].id = TaskId(1);
    result.horizon = Span::from_secs(1_800);
    let parts = &mut result.series.parts;
    let none = ModelWindow::default();
    let small = ModelWindow { answered: 6_000, retries: 600, hedges: 0, fallbacks: 60 };
    let large = ModelWindow { answered: 60, ..none };
    parts.models = vec![vec![small, none, small], vec![none, large, none]];
    let acts = |escalations, semantic_hits, rungs| TaskWindow {
        acts: TaskActs { escalations, exact_hits: 0, semantic_hits, rungs },
        ..TaskWindow::default()
    };
    parts.tasks = vec![
        vec![acts(0, 0, [0; 5]), acts(120, 180, [0, 240, 0, 0, 6]), acts(0, 0, [0; 5])],
        vec![TaskWindow::default(); 3],
    ];
    let hits = |cache_hits| ToolWindow { cache_hits, ..ToolWindow::default() };
    parts.tools = vec![vec![hits(0), hits(0), hits(300)], vec![hits(0); 3]];
    let prompts = |input_tokens, cached_input_tokens| RemoteWindow {
        input_tokens,
        cached_input_tokens,
        ..RemoteWindow::default()
    };
    parts.remotes =
        vec![vec![prompts(0, 0), prompts(1_000, 250), prompts(10, 0)], vec![prompts(9, 0); 3]];
    result
}

/// The lines of a picture by name; none where there is no such picture.
fn lines(result: &RunResult, title: &str) -> Vec<(String, Vec<Value>)> {
    let all = data(&render(&fixture::report(result), "surgeline run x"));
    let drawn = all.into_iter().find(|drawn| drawn["title"] == title);
    let lines = drawn.map(|drawn| drawn["lines"].as_array().expect("lines").clone());
    let line = |line: Value| {
        let values = line["values"].as_array().expect("values").clone();
        (line["name"].as_str().expect("a name").to_owned(), values)
    };
    lines.into_iter().flatten().map(line).collect()
}

fn numbers(values: &[f64]) -> Vec<Value> {
    values.iter().map(|&value| Value::from(value)).collect()
}

/// A line as it must be: its name and its numbers.
fn line(name: &str, values: &[f64]) -> (String, Vec<Value>) {
    (name.to_owned(), numbers(values))
}

#[test]
fn what_a_policy_does_is_drawn_as_rates_of_a_replication() {
    let result = acting();
    let drawn = |title: &str| lines(&result, title);
    assert_eq!(
        drawn("Which models answer when"),
        [line("small", &[1.0, 0.0, 1.0]), line("large", &[0.0, 0.01, 0.0])]
    );
    // What nothing happens of has no line.
    assert_eq!(drawn("When calls are tried again"), [line("retries of small", &[0.1, 0.0, 0.1])]);
    assert_eq!(
        drawn("When calls go on to another model"),
        [
            line("escalated calls of support_reply", &[0.0, 0.02, 0.0]),
            line("fallbacks from small", &[0.01, 0.0, 0.01]),
        ]
    );
    assert_eq!(
        drawn("When rungs of the ladder are used"),
        [
            line("smaller model of support_reply", &[0.0, 0.04, 0.0]),
            line("refine of support_reply", &[0.0, 0.001, 0.0]),
        ]
    );
    assert_eq!(
        drawn("When caches answer"),
        [
            line("semantic hits of support_reply", &[0.0, 0.03, 0.0]),
            line("results of kb_search", &[0.0, 0.0, 0.05]),
        ]
    );
    let prompts = drawn("How much of prompts providers have cached");
    assert_eq!(prompts.len(), 1);
    assert_eq!(prompts[0].1, [Value::Null, Value::from(0.25), Value::from(0.0)]);
}

#[test]
fn where_nothing_happens_there_is_no_picture() {
    let all = data(&render(&fixture::report(&simulated::light()), "surgeline run x"));
    let titles: Vec<&str> = all.iter().filter_map(|drawn| drawn["title"].as_str()).collect();
    for title in ["again", "another model", "rungs", "caches", "providers", "models answer"] {
        assert!(!titles.iter().any(|drawn| drawn.contains(title)), "{titles:?}");
    }
}

/// Ten models, the last of which answer most.
#[test]
fn the_largest_lines_are_drawn_and_said_to_be() {
    let mut result = acting();
    result.models = (0..10).map(|number| fixture::model(&format!("model-{number}"))).collect();
    let window = |answered| vec![ModelWindow { answered, ..ModelWindow::default() }; 3];
    result.series.parts.models = (1..=10).map(window).collect();
    let names: Vec<String> =
        lines(&result, "Which models answer when").into_iter().map(|line| line.0).collect();
    assert_eq!(names, (2..10).map(|number| format!("model-{number}")).collect::<Vec<_>>());
    let page = render(&fixture::report(&result), "surgeline run x");
    assert!(page.contains("The 8 largest of 10 lines."));
}

/// A limit of $2 in 20 minutes from the start of the run. Of the three windows of 10 minutes the warm-up
/// takes half of the first: at its end one period has begun, at 20 minutes still one, then two.
#[test]
fn a_spend_limit_rises_where_its_period_begins() {
    let mut result = acting();
    (result.warm_up, result.horizon) = (Span::from_secs(300), Span::from_secs(1_800));
    result.measured = Span::from_secs(1_500);
    let limit = SpendLimit {
        scope: SpendScope::All,
        limit: Money(2 * Money::PICO_PER_DOLLAR),
        period: Span::from_secs(1_200),
        then: LimitReached::Refuse,
    };
    let title = "How spend adds up";
    let names = |result: &RunResult| {
        lines(result, title).into_iter().map(|line| line.0).collect::<Vec<String>>()
    };
    assert_eq!(names(&result), ["spend so far"]);
    // Neither is a limit of the whole.
    let task = SpendScope::Task(TaskId(0));
    let narrow = [task, SpendScope::EachTenant].map(|scope| SpendLimit { scope, ..limit });
    result.spend_limits = narrow.to_vec();
    assert_eq!(names(&result), ["spend so far"]);
    result.spend_limits.push(limit);
    let drawn = lines(&result, title);
    assert_eq!(names(&result)[..2], ["spend so far", "metered so far"]);
    assert_eq!(drawn[2], line("spend limit $2.00/20 min", &[2.0, 2.0, 4.0]));
    // Of a warm-up that ends with the first period nothing is left to spend.
    result.warm_up = Span::from_secs(1_200);
    assert_eq!(lines(&result, title)[2].1, [Value::Null, Value::Null, Value::from(2.0)]);
    result.spend_limits[2].period = Span::from_secs(86_400);
    assert_eq!(names(&result)[2], "spend limit $2.00/day");
}
