//! What a task may use: what counts, what does not, and what a new submission begins with.

use super::*;
use crate::price::{LimitReached, SpendLimit, SpendScope};
use crate::routing::Rule;
use crate::tasks::TaskBudget;
use crate::workload::ResubmitSpec;

fn again(pause: u64) -> Option<ResubmitSpec> {
    let pause = DurationDist::Fixed(MS(pause));
    Some(ResubmitSpec { max_submissions: 2, probability: 1.0, pause })
}

/// Room for two calls of three: at 200 ms the third does not fit.
#[test]
fn every_call_counts_against_every_limit() {
    let none = TaskBudget::default;
    for budget in [
        TaskBudget { max_model_calls: Some(2), ..none() },
        TaskBudget { max_input_tokens: Some(29), ..none() },
        TaskBudget { max_output_tokens: Some(10), ..none() },
    ] {
        let mut task = one_call();
        task.graph.steps[0].repeat = Repeat::Loop(exactly(3));
        task.budget = budget;
        let (outcome, records) = records(&scenario(vec![task]));
        assert_eq!((outcome.tasks[0].calls, outcome.tasks[0].endings.over_budget), (2, 1));
        assert_eq!(records.tasks[0].ended, Time::ZERO.after(MS(200)));
    }
}

/// The first step is asked twice; that leaves room for the second, and none to ask it again.
#[test]
fn an_escalated_call_counts_as_two() {
    let none = TaskBudget::default;
    for budget in [
        TaskBudget { max_model_calls: Some(3), ..none() },
        TaskBudget { max_input_tokens: Some(39), ..none() },
    ] {
        let mut scenario = scenario(vec![of_steps(vec![step(&[], None), step(&[0], None)])]);
        let better = ModelId(another_model(&mut scenario) as u32);
        scenario.routing.escalations = vec![Rule { when: always(true), model: better }];
        scenario.tasks[0].budget = budget;
        let task = &run(&scenario).tasks[0];
        assert_eq!((task.calls, task.escalations, task.succeeded), (3, 1, 1));
    }
}

/// Ten tokens; each time half of what was kept so far is kept.
#[test]
fn each_rung_shortens_what_the_one_before_left() {
    let shorter = |quality| Rung::ShorterContext { keep: 0.5, quality };
    let mut scenario = scenario(vec![one_call()]);
    scenario.tasks[0].budget.max_input_tokens = Some(3);
    for (second, right) in [(1.0, 1), (0.0, 0)] {
        right_in(&mut scenario, 1.0);
        scenario.tasks[0].budget.on_exceeded = vec![shorter(1.0), shorter(second), Rung::Refine];
        let outcome = run(&scenario);
        assert_eq!((outcome.models[0].input_tokens, outcome.tasks[0].rungs), (2, [2, 0, 0, 0, 0]));
        assert_eq!(
            (outcome.tasks[0].succeeded, outcome.tasks[0].endings.wrong),
            (right, 1 - right)
        );
    }
}

/// The prompt is halved before it fits; then the call fails. The second submission begins with
/// the whole prompt, and at the top of the ladder.
#[test]
fn each_submission_begins_at_the_top_of_the_ladder() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.tasks[0].budget.max_input_tokens = Some(5);
    scenario.tasks[0].budget.on_exceeded = vec![Rung::ShorterContext { keep: 0.5, quality: 1.0 }];
    scenario.remotes[0].incidents = vec![outage(0, 10, 1)];
    scenario.sources[0].people.client.resubmit = again(200);
    let outcome = run(&scenario);
    assert_eq!((outcome.tasks[0].succeeded, outcome.tasks[0].rungs[0]), (1, 2));
    assert_eq!(outcome.models[0].input_tokens, 5);
}

/// Another kind of task has used up the first second's money, so the smaller model is asked, which
/// is out. In the next second it is the task's own again.
#[test]
fn each_submission_asks_its_own_model_first() {
    let mut scenario = scenario(vec![one_call(), one_call()]);
    let small = another_model(&mut scenario);
    scenario.remotes[small].error_rate = 1.0;
    scenario.sources[0].task = TaskId(1);
    let source = another_source(&mut scenario, &[500]);
    scenario.sources[source].task = TaskId(0);
    scenario.sources[source].people.client.resubmit = again(500);
    scenario.spend_limits = vec![SpendLimit {
        scope: SpendScope::All,
        limit: Money(7),
        period: Span::from_secs(1),
        then: LimitReached::SmallerModel(ModelId(small as u32)),
    }];
    let outcome = run(&scenario);
    assert_eq!((outcome.tasks[0].succeeded, outcome.tasks[0].submissions), (1, 2));
    assert_eq!([0, small].map(|model| outcome.models[model].attempts), [2, 1]);
}

/// Two uses of a second each, in a second and a half.
#[test]
fn time_in_tools_adds_up() {
    let search =
        || Some(Work::Tool(ToolUse { tool: ToolId(0), query: None, cache: None, acts: false }));
    let mut task = of_steps(vec![step(&[], search()), step(&[0], search())]);
    task.budget.max_tool_time = Some(MS(1_500));
    let mut scenario = scenario(vec![task]);
    scenario.tools = vec![tool()];
    let (outcome, records) = records(&scenario);
    assert_eq!(outcome.tasks[0].endings.over_budget, 1);
    assert_eq!(records.tasks[0].ended, Time::ZERO.after(MS(1_500)));
}

#[test]
fn a_partial_result_is_as_good_as_stated() {
    for (quality, right) in [(1.0, 1), (0.0, 0)] {
        let mut scenario = scenario(vec![one_call()]);
        scenario.tasks[0].budget.max_model_calls = Some(0);
        scenario.tasks[0].budget.on_exceeded = vec![Rung::PartialResult { quality }];
        let task = &run(&scenario).tasks[0];
        assert_eq!((task.succeeded, task.endings.wrong), (right, 1 - right));
        assert_eq!((task.calls, task.rungs), (0, [0, 0, 0, 1, 0]));
    }
}

/// There is nothing in the cache, so that rung is passed by.
#[test]
fn a_rung_that_has_nothing_to_give_is_not_used() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.tasks[0].budget.max_model_calls = Some(0);
    scenario.tasks[0].budget.on_exceeded =
        vec![Rung::CachedAnswer { similarity: 0.1 }, Rung::Refine];
    let task = &run(&scenario).tasks[0];
    assert_eq!((task.endings.refined, task.rungs), (1, [0, 0, 0, 0, 1]));
}

/// What goes on in the background writes on the task's account: when the last call is due, three
/// answers of five tokens are there.
#[test]
fn calls_in_the_background_count() {
    let mut task =
        of_steps(vec![step(&[], None), step(&[], None), step(&[0], None), step(&[2], None)]);
    if let Work::ModelCall(call) = &mut task.graph.steps[1].work {
        call.background = true;
    }
    for (limit, wrong) in [(15, 0), (16, 1)] {
        task.budget.max_output_tokens = Some(limit);
        let scenario = scenario(vec![task.clone()]);
        // A token left is enough to begin; the answer is cut, and wrong.
        let ends = run(&scenario).tasks[0].endings.clone();
        assert_eq!((ends.over_budget, ends.wrong), (1 - wrong, wrong));
    }
}

/// Half of the attempts break: whoever may submit twenty times gets an answer once, because each
/// submission is tried anew.
#[test]
fn each_submission_has_luck_of_its_own() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.remotes[0].error_rate = 0.5;
    scenario.sources[0].arrivals = arriving(&[0; 20]);
    let again = ResubmitSpec { max_submissions: 20, ..again(200).expect("set") };
    scenario.sources[0].people.client.resubmit = Some(again);
    assert_eq!(run(&scenario).tasks[0].succeeded, 20);
}
