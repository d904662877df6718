//! What tasks waited for: waking up, failures, tools, people.

use super::*;
use crate::backends::ColdStart;

const CAUSES: [Driver; 6] = [
    Driver::Queueing,
    Driver::Prefill,
    Driver::Retries,
    Driver::Tools,
    Driver::Review,
    Driver::ColdStart,
];

fn causes(outcome: &Outcome) -> [Span; 6] {
    CAUSES.map(|cause| waited(&outcome.tasks[0], cause))
}

/// Waking takes 300 ms, an answer 100.
fn sleeping(idle_after: Span, at: &[u64]) -> Scenario {
    let mut scenario = scenario(vec![one_call()]);
    scenario.remotes[0].cold_start =
        Some(ColdStart { start: DurationDist::Fixed(MS(300)), idle_after: Some(idle_after) });
    scenario.sources[0].arrivals = arriving(at);
    scenario
}

/// The second one waits for what is left of the waking, the third finds the place awake, and the
/// last, six seconds later, asleep again.
#[test]
fn waking_up_is_a_cause_of_its_own() {
    let outcome = run(&sleeping(Span::from_secs(5), &[0, 100, 1_000, 7_000]));
    assert_eq!(causes(&outcome), [0, 400, 0, 0, 0, 300 + 200 + 300].map(MS));
    assert_eq!(outcome.remotes[0].whole_run.cold_starts, 2);
}

/// Idle for 50 ms it sleeps: not at 460, while the one of 390 is still answered, nor at 539; but
/// at 690, 51 ms after the last one left.
#[test]
fn a_place_with_work_does_not_fall_asleep() {
    let outcome = run(&sleeping(MS(50), &[0, 390, 460, 539, 690]));
    assert_eq!(waited(&outcome.tasks[0], Driver::ColdStart), MS(300 + 300));
    assert_eq!(outcome.remotes[0].whole_run.cold_starts, 2);
}

/// A step that nobody needs is given up after 40 ms; then the one that counts takes 100.
#[test]
fn a_call_that_failed_is_time_lost_to_failures() {
    let mut task = of_steps(vec![step(&[], None), step(&[0], None)]);
    task.graph.steps[0].required = false;
    let mut scenario = scenario(vec![task]);
    let hasty = another_model(&mut scenario);
    scenario.models[hasty].guards.timeout = Some(MS(40));
    if let Work::ModelCall(call) = &mut scenario.tasks[0].graph.steps[0].work {
        call.model = Some(ModelId(hasty as u32));
    }
    assert_eq!(causes(&run(&scenario)), [0, 100, 40, 0, 0, 0].map(MS));
}

/// The same as a part of the task.
#[test]
fn a_part_that_failed_is_time_lost_to_failures() {
    let mut task = of_steps(vec![step(&[], Some(Work::SubTask(TaskId(1)))), step(&[0], None)]);
    task.graph.steps[0].required = false;
    let mut scenario = scenario(vec![task, one_call()]);
    let hasty = another_model(&mut scenario);
    scenario.models[hasty].guards.timeout = Some(MS(40));
    scenario.tasks[1] = TaskSpec::one_call("part", ModelId(hasty as u32));
    assert_eq!(causes(&run(&scenario)), [0, 100, 40, 0, 0, 0].map(MS));
}

/// Told of the failure after 20 ms, tried again after 30 more.
#[test]
fn an_attempt_that_failed_and_the_pause_after_it_are_lost_to_failures() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.remotes[0].incidents = vec![outage(0, 10, 20)];
    scenario.models[0].guards.retry = retry(2);
    scenario.models[0].guards.retry.as_mut().expect("set").backoff =
        Backoff::Drawn(DurationDist::Fixed(MS(30)));
    assert_eq!(causes(&run(&scenario)), [0, 100, 50, 0, 0, 0].map(MS));
}

/// One place at each, and a second task behind the first: at a tool it queues, for a person all is
/// review.
#[test]
fn tools_and_people_are_told_apart() {
    let using =
        Some(Work::Tool(ToolUse { tool: ToolId(0), query: None, cache: None, acts: false }));
    for (cost, expected) in [
        (ToolCost::Tool, [1_000, 0, 0, 2_000, 0, 0]),
        (ToolCost::HumanReview, [0, 0, 0, 0, 3_000, 0]),
    ] {
        let mut scenario = scenario(vec![of_steps(vec![step(&[], using.clone())])]);
        scenario.tools = vec![ToolSpec { cost, ..tool() }];
        scenario.tools[0].station.servers = Some(1);
        scenario.sources[0].arrivals = arriving(&[0, 0]);
        assert_eq!(causes(&run(&scenario)), expected.map(MS));
    }
}

/// Three times as slow for a second, for those that begin in it.
#[test]
fn a_tool_is_slow_in_an_incident() {
    let using = ToolUse { tool: ToolId(0), query: None, cache: None, acts: false };
    let mut scenario = scenario(vec![of_steps(vec![step(&[], Some(Work::Tool(using)))])]);
    scenario.tools = vec![tool()];
    scenario.tools[0].incidents =
        vec![Incident { error_rate: 0.0, slowness: 3.0, ..outage(0, 1_000, 0) }];
    scenario.sources[0].arrivals = arriving(&[0, 1_000]);
    let latency = &run(&scenario).tasks[0].latency;
    assert_eq!((latency.max(), latency.min()), (Some(MS(3_000)), Some(MS(1_000))));
}

/// One place: the second of two waits for 100 ms.
#[test]
fn waiting_for_a_place_is_queueing() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.remotes[0].station.servers = Some(1);
    scenario.sources[0].arrivals = arriving(&[0, 0]);
    assert_eq!(causes(&run(&scenario)), [100, 200, 0, 0, 0, 0].map(MS));
}
