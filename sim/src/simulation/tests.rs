//! Small tasks whose course is known by hand: one hosted model that answers after 100 ms.

mod accounts;
mod acts;
mod at_once;
mod attempts;
mod beside;
mod budgets;
mod caches;
mod causes;
mod checks;
mod conditions;
mod hosts;
mod in_hand;
mod long_sums;
mod parts;
mod routes;

use super::*;
use crate::backends::{
    Answering, Discipline, Incident, Limits, Meter, RemoteKind, RemotePrice, RemoteSpec, Station,
    ToolCost, ToolSpec,
};
use crate::dist::{DurationDist, LengthDist, LengthLaw, LengthsSpec};
use crate::ids::{Backend, ModelId, RemoteId, TaskId, ToolId};
use crate::outcome::TaskOutcome;
use crate::predicate::{Op, Predicate, Signal, Value};
use crate::record::KeepAll;
use crate::resilience::{
    Backoff, BreakerSpec, Failure, FailureSet, HedgeSpec, RetrySpec, SlidingWindow,
};
use crate::routing::Share;
use crate::scenario::{ModelSpec, Serving};
use crate::tasks::{
    Driver, Graph, IntentSpec, Join, Quality, Repeat, Rung, Step, TaskSpec, ToolUse, Work,
};
use crate::units::{Money, Span};
use crate::workload::{Arrivals, People, Scaling, SourceSpec, Trace, TraceRow};
use std::sync::Arc;

const MS: fn(u64) -> Span = Span::from_millis;

/// Always so many.
fn exactly(tokens: u32) -> LengthDist {
    LengthDist { law: LengthLaw::Fixed(tokens), min: 1, max: tokens }
}

/// Requests at these milliseconds, each with a prompt of 10 tokens and an answer of 5.
fn arriving(at: &[u64]) -> Arrivals {
    let row = |&at: &u64| TraceRow {
        at: Time::ZERO.after(MS(at)),
        input: 10,
        output: 5,
        session: u32::MAX,
        segments_at: 0,
        segments_len: 0,
        context: 0,
    };
    let rows: Vec<TraceRow> = at.iter().map(row).collect();
    let span = Span(rows.last().map_or(1, |last| last.at.0 + 1));
    let trace = Arc::new(Trace { rows, segments: Vec::new(), span });
    Arrivals::Replay { trace, jitter: Span::ZERO }
}

/// Another source like the first, with requests of its own.
fn another_source(scenario: &mut Scenario, at: &[u64]) -> usize {
    let number = scenario.sources.len();
    let arrivals = arriving(at);
    let source = SourceSpec { key: 100 + number as u64, arrivals, ..scenario.sources[0].clone() };
    scenario.sources.push(source);
    number
}

/// Another model like the first at a backend of its own, like the first one's.
fn another_model(scenario: &mut Scenario) -> usize {
    let number = scenario.models.len();
    let remote = RemoteId(scenario.remotes.len() as u32);
    scenario.remotes.push(RemoteSpec { key: 200 + number as u64, ..scenario.remotes[0].clone() });
    let serving = Serving { backend: Backend::Remote(remote), weight: 1.0 };
    scenario.models.push(ModelSpec { served_by: vec![serving], ..scenario.models[0].clone() });
    number
}

/// One request at the start, for task 0.
fn scenario(tasks: Vec<TaskSpec>) -> Scenario {
    let source = SourceSpec {
        name: "one".into(),
        key: 1,
        task: TaskId(0),
        arrivals: arriving(&[0]),
        lengths: LengthsSpec { input: exactly(10), output: exactly(5), correlation: 0.0 },
        ends_by_eos: true,
        max_tokens: None,
        priority: 0,
        prefix: None,
        session: None,
        scaling: Scaling::default(),
        people: People::default(),
    };
    let remote = RemoteSpec {
        name: "hosted".into(),
        key: 2,
        kind: RemoteKind::Hosted,
        answering: Answering {
            ttft: DurationDist::Fixed(MS(100)),
            per_input_token: Span::ZERO,
            tpot: DurationDist::Fixed(Span::ZERO),
            slowness: Vec::new(),
        },
        station: Station { servers: None, queue_limit: None, discipline: Discipline::Fifo },
        limits: Limits::default(),
        error_rate: 0.0,
        incidents: Vec::new(),
        cold_start: None,
        prompt_cache: None,
        devices: Vec::new(),
        max_context: 1_000,
        price: RemotePrice::Metered(Meter { call: Money(7), ..Meter::default() }),
    };
    let serving = Serving { backend: Backend::Remote(RemoteId(0)), weight: 1.0 };
    let model = ModelSpec { served_by: vec![serving], ..ModelSpec::default() };
    Scenario {
        horizon: Span::from_secs(100),
        tasks,
        sources: vec![source],
        models: vec![model],
        remotes: vec![remote],
        window: Span::from_secs(100),
        ..Scenario::default()
    }
}

fn one_call() -> TaskSpec {
    TaskSpec::one_call("task", ModelId(0))
}

/// The only step of a task of one call, after others and with work of its own.
fn step(after: &[u32], work: Option<Work>) -> Step {
    let mut step = one_call().graph.steps[0].clone();
    step.key = after.len() as u64 + 1;
    step.after = after.to_vec();
    step.work = work.unwrap_or(step.work);
    step
}

fn of_steps(steps: Vec<Step>) -> TaskSpec {
    TaskSpec { graph: Graph { steps }, ..one_call() }
}

fn run(scenario: &Scenario) -> Outcome {
    let outcome = Simulation::new(scenario, 1, 0).run();
    assert_eq!(outcome.audit, Vec::<String>::new());
    outcome
}

/// A run and what it tells of each call and task, in the order they ended.
fn records(scenario: &Scenario) -> (Outcome, KeepAll) {
    let simulation = Simulation::recording(scenario, 1, 0, KeepAll::default());
    let (outcome, kept) = simulation.run_with(&|_| false);
    let outcome = outcome.expect("nobody stops it");
    assert_eq!(outcome.audit, Vec::<String>::new());
    (outcome, kept)
}

/// What all succeeded tasks of a kind together waited for by this cause.
fn waited(task: &TaskOutcome, cause: Driver) -> Span {
    let picoseconds: u128 = task.drivers.bands.iter().map(|band| band.parts[cause as usize]).sum();
    Span(u64::try_from(picoseconds).expect("small tasks"))
}

/// Whoever begins in this time fails, and is told so after `error_after`.
fn outage(from: u64, until: u64, error_after: u64) -> Incident {
    let (at, length) = (Time::ZERO.after(MS(from)), MS(until - from));
    Incident { at, length, error_rate: 1.0, slowness: 1.0, error_after: MS(error_after) }
}

/// A condition that always holds of an answer, or never.
fn always(holds: bool) -> Predicate {
    let limit = Value::Number(if holds { 2.0 } else { -1.0 });
    let ops = vec![Op::Read(Signal::Confidence), Op::Constant(limit), Op::Less];
    Predicate::new(ops).expect("well formed")
}

/// All answers of model 0 are right with this probability, each by luck of its own.
fn right_in(scenario: &mut Scenario, success: f64) {
    scenario.intents =
        vec![IntentSpec { name: "i".into(), key: 5, confidence: 0.0, consistency: 0.0 }];
    scenario.models[0].quality = vec![Quality { success, unsafe_rate: 0.0 }];
}

fn retry(max_attempts: u32) -> Option<RetrySpec> {
    Some(RetrySpec {
        max_attempts,
        on: FailureSet::ALL,
        backoff: Backoff::Drawn(DurationDist::Fixed(Span::ZERO)),
        respect_retry_after: false,
        budget: None,
    })
}

#[test]
fn a_loop_of_parts_keeps_the_time_of_all_its_turns() {
    let mut whole = of_steps(vec![step(&[], Some(Work::SubTask(TaskId(1))))]);
    whole.graph.steps[0].repeat = Repeat::Loop(exactly(3));
    let outcome = run(&scenario(vec![whole, one_call()]));
    let task = &outcome.tasks[0];
    assert_eq!((task.succeeded, task.latency.max()), (1, Some(MS(300))));
    let prefill = task.drivers.bands.last().map(|band| band.parts[Driver::Prefill as usize]);
    assert_eq!(prefill, Some(u128::from(MS(300).0)));
}

#[test]
fn an_attempt_given_up_that_goes_on_costs_and_tells_its_breaker_once() {
    let mut scenario = scenario(vec![one_call()]);
    let guards = &mut scenario.models[0].guards;
    guards.timeout = Some(MS(50));
    guards.breaker = Some(BreakerSpec {
        failure_rate_threshold: 100.0,
        slow_call_rate_threshold: 100.0,
        slow_call_duration_threshold: Span::from_secs(9),
        sliding_window: SlidingWindow::Calls(9),
        minimum_number_of_calls: 9,
        wait_duration_in_open_state: MS(1),
        permitted_calls_in_half_open_state: 1,
        consecutive_failures: None,
        failures: FailureSet::ALL,
    });
    let outcome = run(&scenario);
    let task = &outcome.tasks[0];
    assert_eq!(task.endings.failed[Failure::Timeout as usize], 1);
    assert_eq!((task.spend, task.wasted), (Money(7), Money(7)));
    assert_eq!(outcome.remotes[0].billed.output, 5);
}

#[test]
fn an_attempt_given_up_frees_its_place_before_the_next_is_sent() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.remotes[0].station.servers = Some(1);
    scenario.remotes[0].station.queue_limit = Some(0);
    let guards = &mut scenario.models[0].guards;
    (guards.timeout, guards.cancel_on_timeout, guards.retry) = (Some(MS(50)), true, retry(2));
    let failures = run(&scenario).models[0].failures;
    assert_eq!(failures[Failure::Timeout as usize], 2);
    assert_eq!(failures[Failure::Overloaded as usize], 0);
}

#[test]
fn hedges_follow_by_their_delay_and_the_losers_are_cancelled() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.models[0].guards.hedge = Some(HedgeSpec { delay: MS(30), max_attempts: 3 });
    let outcome = run(&scenario);
    let model = &outcome.models[0];
    assert_eq!((model.attempts, model.hedges, model.calls), (3, 2, 1));
    assert_eq!(outcome.tasks[0].latency.max(), Some(MS(100)));
    assert_eq!((outcome.tasks[0].spend, outcome.tasks[0].wasted), (Money(21), Money(14)));
}

/// A first attempt that fails at 10 ms leaves the second alone; the third comes at its own time.
#[test]
fn a_rival_that_failed_still_counts_as_launched() {
    let mut scenario = scenario(vec![one_call()]);
    let guards = &mut scenario.models[0].guards;
    guards.hedge = Some(HedgeSpec { delay: MS(30), max_attempts: 3 });
    guards.timeout = Some(MS(45));
    let outcome = run(&scenario);
    // Sent at 0, 30 and 60; given up at 45, 75 and 105.
    assert_eq!(outcome.models[0].hedges, 2);
    assert_eq!(outcome.models[0].failures[Failure::Timeout as usize], 3);
}

#[test]
fn a_shadow_costs_and_its_task_knows_nothing_of_it() {
    let mut scenario = scenario(vec![of_steps(vec![step(&[], None), step(&[0], None)])]);
    scenario.tasks[0].budget.max_output_tokens = Some(10);
    scenario.routing.shares =
        vec![Share { of: ModelId(0), to: ModelId(1), share: 1.0, shadow: true, key: 3 }];
    scenario.models.push(scenario.models[0].clone());
    let outcome = run(&scenario);
    assert_eq!(outcome.tasks[0].endings.success, 1);
    assert_eq!(outcome.tasks[0].latency.max(), Some(MS(200)));
    assert_eq!((outcome.models[1].calls, outcome.tasks[0].spend), (2, Money(28)));
}

#[test]
fn what_is_in_the_background_costs_and_delays_nobody() {
    let mut steps = vec![step(&[], None), step(&[], None)];
    if let Work::ModelCall(call) = &mut steps[1].work {
        call.background = true;
    }
    steps[1].repeat = Repeat::Loop(exactly(50));
    let outcome = run(&scenario(vec![of_steps(steps)]));
    assert_eq!(outcome.tasks[0].latency.max(), Some(MS(100)));
    assert_eq!((outcome.tasks[0].calls, outcome.tasks[0].spend), (51, Money(7 * 51)));
}

#[test]
fn a_race_is_over_with_the_first_and_the_other_pays_for_what_it_used() {
    let search = ToolUse { tool: ToolId(0), query: None, cache: None, acts: false };
    let last = Step { join: Join::Any, ..step(&[0, 1], None) };
    let steps = vec![step(&[], None), step(&[], Some(Work::Tool(search))), last];
    let mut scenario = scenario(vec![of_steps(steps)]);
    scenario.tools = vec![tool()];
    let outcome = run(&scenario);
    assert_eq!(outcome.tasks[0].latency.max(), Some(MS(200)));
    // Stopped after 200 of its 1000 ms.
    assert_eq!((outcome.tools[0].uses, outcome.tools[0].failed), (1, 1));
    assert_eq!((outcome.tasks[0].spend, outcome.tasks[0].wasted), (Money(17), Money(3)));
}

#[test]
fn a_tool_that_takes_more_than_its_task_has_ends_the_budget() {
    let search = ToolUse { tool: ToolId(0), query: None, cache: None, acts: false };
    for (ladder, refined) in [(vec![], 0), (vec![Rung::Refine], 1)] {
        let mut task = of_steps(vec![step(&[], Some(Work::Tool(search.clone())))]);
        task.budget.max_tool_time = Some(MS(300));
        task.budget.on_exceeded = ladder;
        let mut scenario = scenario(vec![task]);
        scenario.tools = vec![tool()];
        let ends = run(&scenario).tasks[0].endings.clone();
        assert_eq!((ends.over_budget, ends.refined), (1 - refined, refined));
    }
}

/// A tool of one second.
fn tool() -> ToolSpec {
    ToolSpec {
        name: "search".into(),
        key: 4,
        cost: ToolCost::Tool,
        latency: DurationDist::Fixed(Span::from_secs(1)),
        station: Station { servers: None, queue_limit: None, discipline: Discipline::Fifo },
        error_rate: 0.0,
        incidents: Vec::new(),
        per_call: Money(3),
        per_hour: Money::ZERO,
    }
}
