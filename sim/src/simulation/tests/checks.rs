//! Findings and what follows from them, actions that nobody could check, and answers side by side.

use super::*;
use crate::tasks::{Check, Finding, Flaw};

/// Looks at the first step and always tells how it is.
fn check(looks_for: Flaw, redo: u32, then: Finding) -> Option<Check> {
    Some(Check { step: 0, looks_for, sensitivity: 1.0, specificity: 1.0, redo, then })
}

fn using(acts: bool) -> Option<Work> {
    Some(Work::Tool(ToolUse { tool: ToolId(0), query: None, cache: None, acts }))
}

/// A draft of 100 ms, then a look at it of a second; done again twice at most.
#[test]
fn a_finding_has_a_step_done_again_so_often_and_no_more() {
    for (success, then, ends, times) in [
        (0.0, Finding::Fail, (0, 0, 1), 3),
        (0.0, Finding::GoOn, (0, 1, 0), 3),
        (0.0, Finding::Mend, (1, 0, 0), 3),
        (1.0, Finding::Fail, (1, 0, 0), 1),
    ] {
        let looks = Step { check: check(Flaw::Wrong, 2, then), ..step(&[0], using(false)) };
        let mut scenario = scenario(vec![of_steps(vec![step(&[], None), looks])]);
        scenario.tools = vec![tool()];
        right_in(&mut scenario, success);
        let (outcome, records) = records(&scenario);
        let task = &outcome.tasks[0];
        assert_eq!((task.succeeded, task.endings.wrong, task.endings.caught), ends, "{then:?}");
        assert_eq!((task.calls, outcome.tools[0].uses), (times, times));
        assert_eq!(records.tasks[0].ended, Time::ZERO.after(MS(1_100 * times)));
    }
}

/// A draft until 100 ms; then a tool starts, and a look at the draft, which finds something at
/// 200. So the tool stops, the draft is done again until 300, the tool starts again, and stops
/// when the second finding ends the task at 400.
#[test]
fn what_is_done_again_stops_first() {
    let looks = Step {
        join: Join::Any,
        check: check(Flaw::Wrong, 1, Finding::Fail),
        ..step(&[0, 1], None)
    };
    let steps = vec![step(&[], None), step(&[0], using(false)), looks];
    let mut scenario = scenario(vec![of_steps(steps)]);
    scenario.tools = vec![tool()];
    right_in(&mut scenario, 0.0);
    let (outcome, records) = records(&scenario);
    assert_eq!((outcome.tasks[0].endings.caught, outcome.tasks[0].calls), (1, 4));
    assert_eq!(records.tasks[0].ended, Time::ZERO.after(MS(400)));
    let tool = &outcome.tools[0];
    assert_eq!((tool.uses, tool.failed), (2, 2));
    assert_eq!((tool.time.max(), tool.time.min()), (Some(MS(100)), Some(MS(100))));
}

/// The look at the answer breaks, so nobody can say that acting is safe. Whether the task can do
/// without the action decides how it ends.
#[test]
fn an_action_whose_check_broke_is_left_undone() {
    let broken = |scenario: &mut Scenario| {
        let out = another_model(scenario);
        scenario.remotes[out].error_rate = 1.0;
        if let Work::ModelCall(call) = &mut scenario.tasks[0].graph.steps[1].work {
            call.model = Some(ModelId(out as u32));
        }
    };
    for (looks_for, fail_closed, required, ends) in [
        (Flaw::Unsafe, true, true, (0, 1, 1, 0)),
        (Flaw::Unsafe, true, false, (1, 0, 1, 0)),
        (Flaw::Unsafe, false, true, (1, 0, 0, 1)),
        // Who looks for mistakes says nothing about safety.
        (Flaw::Wrong, true, true, (1, 0, 0, 1)),
    ] {
        let looks =
            Step { required: false, check: check(looks_for, 0, Finding::Fail), ..step(&[0], None) };
        let act = Step { required, ..step(&[1], using(true)) };
        let mut scenario = scenario(vec![of_steps(vec![step(&[], None), looks, act])]);
        scenario.tools = vec![tool()];
        scenario.routing.fail_closed = fail_closed;
        broken(&mut scenario);
        let outcome = run(&scenario);
        let task = &outcome.tasks[0];
        let told = (task.succeeded, task.endings.caught, task.actions_blocked);
        assert_eq!((told, outcome.tools[0].uses), ((ends.0, ends.1, ends.2), ends.3));
    }
}

/// The second of three is turned away: the step is over at once and so are the others, of which
/// nobody knows any more.
#[test]
fn a_step_that_is_given_up_leaves_nothing_behind() {
    let mut task = of_steps(vec![step(&[], None), step(&[0], None)]);
    task.graph.steps[0].repeat = Repeat::Parallel(exactly(3));
    task.graph.steps[0].required = false;
    let mut scenario = scenario(vec![task]);
    scenario.models[0].guards.admission.max_in_flight = Some(1);
    let outcome = run(&scenario);
    assert_eq!((outcome.tasks[0].succeeded, outcome.tasks[0].latency.max()), (1, Some(MS(100))));
    assert_eq!(outcome.remotes[0].whole_run.place_time, u128::from(MS(100).0));
}

/// Right half of the time: four side by side are right together once in 16, and of four turns the
/// last one decides.
#[test]
fn answers_side_by_side_must_all_be_right_and_of_turns_the_last() {
    let right = |repeat: Repeat| {
        let mut task = one_call();
        task.graph.steps[0].repeat = repeat;
        let mut scenario = scenario(vec![task]);
        scenario.sources[0].arrivals = arriving(&[0; 64]);
        right_in(&mut scenario, 0.5);
        run(&scenario).tasks[0].succeeded
    };
    let (side_by_side, turns) =
        (right(Repeat::Parallel(exactly(4))), right(Repeat::Loop(exactly(4))));
    // Five standard deviations about 4 and 32.
    assert!((1..=13).contains(&side_by_side), "{side_by_side}");
    assert!((12..=52).contains(&turns) && turns > 13, "{turns}");
}

/// One place, one at work and three that wait for it when the user leaves after 50 ms. All four
/// are given up at that instant: what the first one leaves goes to none of the others.
#[test]
fn whoever_waits_when_all_is_given_up_never_begins() {
    for work in [None, using(false)] {
        let mut task = of_steps(vec![step(&[], work)]);
        task.graph.steps[0].repeat = Repeat::Parallel(exactly(4));
        let mut scenario = scenario(vec![task]);
        scenario.tools = vec![tool()];
        let places = Station { servers: Some(1), ..scenario.remotes[0].station };
        (scenario.remotes[0].station, scenario.tools[0].station) = (places, places);
        scenario.sources[0].people.client.patience = Some(DurationDist::Fixed(MS(50)));
        let outcome = run(&scenario);
        assert_eq!(outcome.tasks[0].endings.abandoned, 1);
        assert_eq!(outcome.remotes[0].whole_run.begun + outcome.tools[0].uses, 1);
        assert!([Money(3), Money(7)].contains(&outcome.tasks[0].spend));
    }
}

#[test]
fn only_steps_that_decide_spoil_a_task() {
    for (decisive, wrong) in [(true, 1), (false, 0)] {
        let mut scenario = scenario(vec![one_call()]);
        if let Work::ModelCall(call) = &mut scenario.tasks[0].graph.steps[0].work {
            call.decisive = decisive;
        }
        right_in(&mut scenario, 0.0);
        let task = &run(&scenario).tasks[0];
        assert_eq!((task.endings.wrong, task.succeeded), (wrong, 1 - wrong));
    }
}

/// The draft is unsafe, and a part of the task acts on it. What goes wrong after that makes the
/// harm no smaller.
#[test]
fn a_part_that_acts_on_an_unsafe_answer_does_harm_whatever_follows() {
    for breaks in [false, true] {
        let part = step(&[0], Some(Work::SubTask(TaskId(1))));
        let task = of_steps(vec![step(&[], None), part, step(&[1], None)]);
        let mut scenario = scenario(vec![task, of_steps(vec![step(&[], using(true))])]);
        scenario.tools = vec![tool()];
        right_in(&mut scenario, 1.0);
        scenario.models[0].quality[0].unsafe_rate = 1.0;
        let last = another_model(&mut scenario);
        scenario.remotes[last].error_rate = if breaks { 1.0 } else { 0.0 };
        if let Work::ModelCall(call) = &mut scenario.tasks[0].graph.steps[2].work {
            call.model = Some(ModelId(last as u32));
        }
        let task = &run(&scenario).tasks[0];
        assert_eq!((task.endings.harmful, task.failed, task.harmed), (1, 1, 1));
    }
}

/// A tool that breaks ends what needs it, and nothing else.
#[test]
fn a_tool_that_breaks_fails_its_step() {
    for required in [true, false] {
        let first = Step { required, ..step(&[], using(false)) };
        let mut scenario = scenario(vec![of_steps(vec![first, step(&[0], None)])]);
        scenario.tools = vec![ToolSpec { error_rate: 1.0, ..tool() }];
        let task = &run(&scenario).tasks[0];
        let failed = task.endings.failed[Failure::ServerError as usize];
        assert_eq!((failed, task.succeeded), (u64::from(required), u64::from(!required)));
    }
}

/// Right half of the time and always alike for one question. Two parts ask two, so both are right
/// once in four tasks.
#[test]
fn each_part_asks_a_question_of_its_own() {
    let mut whole = of_steps(vec![step(&[], Some(Work::SubTask(TaskId(1))))]);
    whole.graph.steps[0].repeat = Repeat::Parallel(exactly(2));
    let mut scenario = scenario(vec![whole, one_call()]);
    scenario.sources[0].arrivals = arriving(&[0; 64]);
    right_in(&mut scenario, 0.5);
    scenario.intents[0].consistency = 1.0;
    // Four standard deviations about 16, short of the 32 of one question.
    let succeeded = run(&scenario).tasks[0].succeeded;
    assert!((3..=29).contains(&succeeded), "{succeeded}");
}

/// Right, or safe, half of the time by luck: whoever may ask twenty times is so once, because each
/// time is another asking.
#[test]
fn what_is_done_again_is_asked_anew() {
    for (looks_for, success, unsafe_rate) in [(Flaw::Wrong, 0.5, 0.0), (Flaw::Unsafe, 1.0, 0.5)] {
        let looks = Step { check: check(looks_for, 19, Finding::Fail), ..step(&[0], using(false)) };
        let mut scenario = scenario(vec![of_steps(vec![step(&[], None), looks])]);
        scenario.tools = vec![tool()];
        scenario.sources[0].arrivals = arriving(&[0; 20]);
        right_in(&mut scenario, success);
        scenario.models[0].quality[0].unsafe_rate = unsafe_rate;
        let outcome = run(&scenario);
        assert_eq!(outcome.tasks[0].succeeded, 20);
        assert!(outcome.tasks[0].calls > 25, "{} askings", outcome.tasks[0].calls);
    }
}

/// Four looks, each of which finds the mistake half of the time: all four do once in 16.
#[test]
fn each_look_is_another_one() {
    let mut looks =
        Step { check: check(Flaw::Wrong, 3, Finding::Fail), ..step(&[0], using(false)) };
    looks.check.as_mut().expect("set").sensitivity = 0.5;
    let mut scenario = scenario(vec![of_steps(vec![step(&[], None), looks])]);
    scenario.tools = vec![tool()];
    scenario.sources[0].arrivals = arriving(&[0; 64]);
    right_in(&mut scenario, 0.0);
    let ends = &run(&scenario).tasks[0].endings;
    // Five standard deviations about 4.
    assert!((1..=13).contains(&ends.caught) && ends.caught + ends.wrong == 64, "{ends:?}");
}
