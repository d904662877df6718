//! What goes on beside a task or after it, and what a budget leaves of a call.

use super::*;
use crate::backends::Bucket;
use crate::routing::Rule;
use crate::tasks::{Check, Finding, Flaw};
use crate::workload::ResubmitSpec;

/// Users who leave after 50 ms what goes on without them, and ask again 200 ms later.
fn leaving(scenario: &mut Scenario, submissions: u32) {
    let client = &mut scenario.sources[0].people.client;
    client.patience = Some(DurationDist::Fixed(MS(50)));
    client.abandoned_work_goes_on = true;
    client.resubmit = Some(ResubmitSpec {
        max_submissions: submissions,
        probability: 1.0,
        pause: DurationDist::Fixed(MS(200)),
    });
}

/// Ten tokens may be written: the first call asks for ten at most, the second for five, whatever
/// the client would take.
#[test]
fn what_a_budget_leaves_is_what_rate_limits_count() {
    let mut scenario = scenario(vec![of_steps(vec![step(&[], None), step(&[0], None)])]);
    scenario.tasks[0].budget.max_output_tokens = Some(10);
    scenario.sources[0].max_tokens = Some(100);
    for (burst, succeeded) in [(15, 1), (14, 0)] {
        scenario.remotes[0].limits.output_tokens = Some(Bucket { per_minute: 1, burst });
        assert_eq!(run(&scenario).tasks[0].succeeded, succeeded);
    }
}

#[test]
fn an_escalated_call_is_cut_at_what_is_left() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.tasks[0].budget.max_output_tokens = Some(7);
    scenario.models.push(scenario.models[0].clone());
    scenario.routing.escalations = vec![Rule { when: always(true), model: ModelId(1) }];
    let outcome = run(&scenario);
    let written = [0, 1].map(|model: usize| outcome.models[model].output_tokens);
    assert_eq!((written, outcome.tasks[0].calls), ([5, 2], 2));
    assert_eq!((outcome.tasks[0].escalations, outcome.tasks[0].endings.wrong), (1, 1));
}

/// A rule decides for a call that leaves it to routing, and for none that names its model.
#[test]
fn calls_that_a_rule_sends_are_counted() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.models.push(scenario.models[0].clone());
    scenario.routing.default_model = Some(ModelId(0));
    let ops = vec![Op::Constant(Value::Number(1.0)), Op::Constant(Value::Number(2.0)), Op::Less];
    let when = Predicate::new(ops).expect("well formed");
    for (named, rules, by_rule) in [(None, 1, 1), (None, 0, 0), (Some(ModelId(0)), 1, 0)] {
        if let Work::ModelCall(call) = &mut scenario.tasks[0].graph.steps[0].work {
            call.model = named;
        }
        scenario.routing.rules = vec![Rule { when: when.clone(), model: ModelId(1) }; rules];
        let outcome = run(&scenario);
        assert_eq!((outcome.tasks[0].by_rule, outcome.tasks[0].escalations), (by_rule, 0));
        assert_eq!(outcome.models[1].calls, by_rule);
    }
}

#[test]
fn a_task_of_which_only_a_shadow_was_let_in_is_rejected() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.models.push(scenario.models[0].clone());
    scenario.models[0].guards.admission.max_in_flight = Some(0);
    scenario.routing.shares =
        vec![Share { of: ModelId(0), to: ModelId(1), share: 1.0, shadow: true, key: 3 }];
    let outcome = run(&scenario);
    assert_eq!((outcome.models[1].calls, outcome.tasks[0].rejected), (1, 1));
}

/// The first submission's call ends while its user waits to ask again, the second's after all.
#[test]
fn a_record_names_what_went_on_without_its_user() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.tasks[0].observability = Money(1);
    leaving(&mut scenario, 2);
    let (outcome, records) = records(&scenario);
    assert_eq!((outcome.tasks[0].spend, outcome.tasks[0].abandoned), (Money(15), 1));
    let record = &records.tasks[0];
    assert_eq!((record.spend, record.submissions), (Money(8), 2));
}

#[test]
fn harm_done_without_its_user_counts_once() {
    let act = ToolUse { tool: ToolId(0), query: None, cache: None, acts: true };
    let steps = vec![step(&[], None), step(&[0], Some(Work::Tool(act)))];
    let mut scenario = scenario(vec![of_steps(steps)]);
    scenario.tools = vec![tool()];
    let intent = IntentSpec { name: "i".into(), key: 5, confidence: 0.5, consistency: 0.5 };
    scenario.intents = vec![intent];
    scenario.models[0].quality = vec![Quality { success: 1.0, unsafe_rate: 1.0 }];
    // Alone it comes too late for the task's ending; another submission is still there to end.
    for (submissions, abandoned, harmful) in [(1, 1, 0), (3, 0, 1)] {
        leaving(&mut scenario, submissions);
        let task = &run(&scenario).tasks[0];
        assert_eq!((task.endings.abandoned, task.endings.harmful), (abandoned, harmful));
        assert_eq!((task.harmed, task.submissions), (1, u64::from(submissions)));
    }
}

#[test]
fn an_attempt_counts_at_each_backend_that_it_is_offered_to() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.remotes.push(scenario.remotes[0].clone());
    scenario.remotes[0].max_context = 1;
    scenario.models[0]
        .served_by
        .push(Serving { backend: Backend::Remote(RemoteId(1)), weight: 1.0 });
    scenario.models[0].guards.retry = retry(2);
    let model = &run(&scenario).models[0];
    assert_eq!((model.attempts, model.calls, model.retries), (2, 1, 0));
}

/// The check is left out, so nobody can say that acting is safe.
#[test]
fn an_action_without_its_safety_check_stays_undone() {
    let looks = Step {
        when: Some(always(false)),
        check: Some(Check {
            step: 0,
            looks_for: Flaw::Unsafe,
            sensitivity: 1.0,
            specificity: 1.0,
            redo: 0,
            then: Finding::Fail,
        }),
        ..step(&[0], None)
    };
    let act = ToolUse { tool: ToolId(0), query: None, cache: None, acts: true };
    let steps = vec![step(&[], None), looks, step(&[0, 1], Some(Work::Tool(act)))];
    let mut scenario = scenario(vec![of_steps(steps)]);
    scenario.tools = vec![tool()];
    for (fail_closed, caught) in [(false, 0), (true, 1)] {
        scenario.routing.fail_closed = fail_closed;
        let outcome = run(&scenario);
        let task = &outcome.tasks[0];
        assert_eq!((task.endings.caught, task.actions_blocked), (caught, caught));
        assert_eq!(outcome.tools[0].uses, 1 - caught);
    }
}

#[test]
fn each_submission_has_a_whole_budget() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.tasks[0].budget.max_model_calls = Some(1);
    scenario.remotes[0].error_rate = 1.0;
    leaving(&mut scenario, 2);
    scenario.sources[0].people.client.patience = None;
    let task = &run(&scenario).tasks[0];
    let ends = (task.endings.failed[Failure::ServerError as usize], task.endings.over_budget);
    assert_eq!((task.submissions, ends), (2, (1, 0)));
}
