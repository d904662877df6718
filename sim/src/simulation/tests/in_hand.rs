//! Answers that a call escalated from, when whoever it escalated to brings none.

use super::*;
use crate::routing::{Fallback, Rule};

/// Model 0 answers at 100 ms, wrongly, and is doubted; so is model `to` if it answers. It is out,
/// and says so 30 ms after it was asked.
fn doubted(to: usize) -> Scenario {
    let mut scenario = scenario(vec![one_call()]);
    right_in(&mut scenario, 0.0);
    (1..=to).for_each(|number| assert_eq!(another_model(&mut scenario), number));
    let rule = Rule { when: always(true), model: ModelId(to as u32) };
    scenario.routing.escalations = vec![rule];
    scenario.remotes[to].incidents = vec![outage(0, 10_000, 30)];
    scenario
}

fn fall_back(scenario: &mut Scenario, from: usize, to: &[u32], on: FailureSet) {
    scenario.routing.fallbacks.resize(scenario.models.len(), Vec::new());
    scenario.routing.fallbacks[from] =
        to.iter().map(|&model| Fallback { model: ModelId(model), on }).collect();
}

fn answered(outcome: &Outcome) -> Vec<u64> {
    outcome.models.iter().map(|model| model.calls).collect()
}

fn began(outcome: &Outcome) -> Vec<u64> {
    outcome.remotes.iter().map(|remote| remote.whole_run.begun).collect()
}

/// The answer of 100 ms is right, and is there at 130 ms.
#[test]
fn an_answer_stands_if_no_better_one_comes() {
    let mut scenario = doubted(1);
    scenario.models[0].quality[0].success = 1.0;
    let (outcome, records) = records(&scenario);
    let task = &outcome.tasks[0];
    assert_eq!((task.succeeded, task.kept_answers), (1, 1));
    assert_eq!((task.calls, task.escalations), (2, 1));
    assert_eq!(
        (task.latency.max(), records.tasks[0].ended),
        (Some(MS(130)), Time::ZERO.after(MS(130)))
    );
    assert_eq!((waited(task, Driver::Prefill), waited(task, Driver::Retries)), (MS(100), MS(30)));
    assert_eq!(outcome.models[1].failures[Failure::ServerError as usize], 1);
    assert_eq!((answered(&outcome), began(&outcome)), (vec![1, 0], vec![1, 1]));
}

/// It is as wrong, as unsafe and as doubtful as it was: the step after it sees that.
#[test]
fn an_answer_that_stands_is_what_it_was() {
    let mut scenario = doubted(1);
    let ops = vec![Op::Read(Signal::Confidence), Op::Constant(Value::Number(0.5)), Op::Less];
    let when = Some(Predicate::new(ops).expect("well formed"));
    let search = ToolUse { tool: ToolId(0), query: None, cache: None, acts: true };
    let act = Step { when, ..step(&[0], Some(Work::Tool(search))) };
    scenario.tasks = vec![of_steps(vec![step(&[], None), act])];
    scenario.tools = vec![tool()];
    for (unsafe_rate, ends) in [(0.0, (1, 0)), (1.0, (0, 1))] {
        scenario.models[0].quality = vec![Quality { success: 0.0, unsafe_rate }];
        scenario.models[1].quality = vec![Quality { success: 1.0, unsafe_rate: 0.0 }];
        let outcome = run(&scenario);
        let endings = &outcome.tasks[0].endings;
        assert_eq!((endings.wrong, endings.harmful), ends);
        assert_eq!(outcome.tools[0].uses, 1);
    }
}

/// Retries of the better model come first: three attempts of 30 ms each.
#[test]
fn an_answer_stands_only_when_all_attempts_have_failed() {
    let mut scenario = doubted(1);
    scenario.models[1].guards.retry = retry(3);
    scenario.models[0].quality[0].success = 1.0;
    let task = run(&scenario).tasks[0].clone();
    assert_eq!((task.kept_answers, task.latency.max()), (1, Some(MS(190))));
    assert_eq!(waited(&task, Driver::Retries), MS(90));
    // A fee for each attempt, and three of them brought nothing.
    assert_eq!((task.spend, task.wasted), (Money(28), Money(21)));
}

/// Model 2 is out. Whether its fallbacks are asked before the answer of model 0 stands.
#[test]
fn a_fallback_that_gave_the_answer_is_not_asked_again() {
    let never = FailureSet::default().with(Failure::RateLimited);
    for (fallbacks, on, calls, kept) in [
        (&[][..], FailureSet::ALL, [1, 0, 0], 1),
        (&[0], FailureSet::ALL, [1, 0, 0], 1),
        // In this order: model 0 has answered, so model 1 is not needed.
        (&[0, 1], FailureSet::ALL, [1, 0, 0], 1),
        (&[1, 0], FailureSet::ALL, [1, 1, 0], 0),
        (&[1], never, [1, 0, 0], 1),
    ] {
        let mut scenario = doubted(2);
        fall_back(&mut scenario, 2, fallbacks, on);
        let outcome = run(&scenario);
        assert_eq!((answered(&outcome), outcome.tasks[0].kept_answers), (calls.to_vec(), kept));
        assert_eq!(began(&outcome)[0], 1);
    }
}

/// All fallbacks are out as well: 30 ms for each of the two after 100.
#[test]
fn an_answer_stands_when_the_fallbacks_fail_too() {
    let mut scenario = doubted(2);
    scenario.models[0].quality[0].success = 1.0;
    scenario.remotes[1].incidents = vec![outage(0, 10_000, 30)];
    fall_back(&mut scenario, 2, &[1, 0], FailureSet::ALL);
    let task = run(&scenario).tasks[0].clone();
    assert_eq!((task.succeeded, task.kept_answers), (1, 1));
    assert_eq!(task.latency.max(), Some(MS(160)));
}

/// Model 1 is asked after model 0 and doubted as well; of model 2, which is out, its answer stands.
#[test]
fn of_two_answers_the_last_one_stands() {
    let mut scenario = doubted(2);
    let rules = [1, 2].map(|model| Rule { when: always(true), model: ModelId(model) });
    scenario.routing.escalations = rules.to_vec();
    fall_back(&mut scenario, 2, &[0], FailureSet::ALL);
    scenario.models[1].quality[0].success = 1.0;
    let outcome = run(&scenario);
    let task = &outcome.tasks[0];
    assert_eq!((task.succeeded, task.escalations, task.kept_answers), (1, 2, 1));
    assert_eq!(task.latency.max(), Some(MS(230)));
    assert_eq!(began(&outcome), [1, 1, 1]);
}

/// Without an escalation there is none in hand: the task fails.
#[test]
fn who_never_answered_leaves_nothing_that_stands() {
    let mut scenario = doubted(1);
    scenario.routing.escalations.clear();
    scenario.remotes[0].incidents = vec![outage(0, 10_000, 30)];
    fall_back(&mut scenario, 0, &[1], FailureSet::ALL);
    let task = run(&scenario).tasks[0].clone();
    assert_eq!((task.failed, task.kept_answers), (1, 0));
}
