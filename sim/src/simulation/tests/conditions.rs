//! Which model is asked, and what conditions see: one case for each rule of precedence and for each
//! signal.

use super::*;
use crate::ids::AttributeId;
use crate::predicate::BackendSignal;
use crate::routing::Rule;
use crate::tasks::{CallLengths, ModelCallSpec};
use crate::workload::{AttributeLaw, AttributeSpec, ResubmitSpec, TenantSpec};

/// A signal is above a number.
fn above(signal: Signal, limit: f64) -> Predicate {
    let ops = vec![Op::Constant(Value::Number(limit)), Op::Read(signal), Op::Less];
    Predicate::new(ops).expect("well formed")
}

/// Whatever is known, this is so, or not.
fn known(holds: bool) -> Predicate {
    let constant = |number| Op::Constant(Value::Number(number));
    let (low, high) = if holds { (1.0, 2.0) } else { (2.0, 1.0) };
    Predicate::new(vec![constant(low), constant(high), Op::Less]).expect("well formed")
}

/// So many steps one after another whose model routing decides: model 1 under a condition, else
/// model 0.
fn decided(steps: u32, when: Predicate) -> Scenario {
    let one = |number: u32| step(&number.checked_sub(1).into_iter().collect::<Vec<_>>(), None);
    let mut task = of_steps((0..steps).map(one).collect());
    task.graph.steps.iter_mut().for_each(|step| *call_of(step) = open(call_of(step).clone()));
    let mut scenario = scenario(vec![task]);
    another_model(&mut scenario);
    scenario.routing.rules = vec![Rule { when, model: ModelId(1) }];
    scenario.routing.default_model = Some(ModelId(0));
    scenario
}

fn call_of(step: &mut Step) -> &mut ModelCallSpec {
    match &mut step.work {
        Work::ModelCall(call) => call,
        _ => panic!("it calls a model"),
    }
}

fn open(call: ModelCallSpec) -> ModelCallSpec {
    ModelCallSpec { model: None, lengths: CallLengths::Request, ..call }
}

fn answered(scenario: &Scenario) -> Vec<u64> {
    run(scenario).models.iter().map(|model| model.calls).collect()
}

#[test]
fn a_step_s_own_model_goes_before_rules_and_those_before_the_intent_and_the_default() {
    let rule = |holds, model| Rule { when: known(holds), model: ModelId(model) };
    let rules = || vec![rule(false, 4), rule(true, 1), rule(true, 4)];
    let intent = || vec![Some(ModelId(2))];
    for (own, rules, by_intent, asked) in [
        (Some(ModelId(0)), rules(), intent(), 0),
        (None, rules(), intent(), 1),
        (None, vec![rule(false, 4)], intent(), 2),
        (None, vec![], vec![None], 3),
    ] {
        let mut scenario = scenario(vec![one_call()]);
        call_of(&mut scenario.tasks[0].graph.steps[0]).model = own;
        right_in(&mut scenario, 1.0);
        (1..5).for_each(|number| assert_eq!(another_model(&mut scenario), number));
        scenario.routing.rules = rules;
        scenario.routing.by_intent = by_intent;
        scenario.routing.default_model = Some(ModelId(3));
        let calls = answered(&scenario);
        assert_eq!((calls[asked], calls.iter().sum::<u64>()), (1, 1), "{calls:?}");
    }
}

#[test]
fn a_call_is_escalated_to_models_that_were_not_asked_yet() {
    let mut scenario = scenario(vec![one_call()]);
    let to = [1, 2].map(|_| ModelId(another_model(&mut scenario) as u32));
    scenario.routing.escalations = to.map(|model| Rule { when: always(true), model }).to_vec();
    scenario.tasks[0].budget.max_model_calls = Some(9);
    assert_eq!(answered(&scenario), [1, 1, 1]);
}

/// Three steps at 201, 301 and 401 ms, of the second submission: the last is 200 ms into it.
#[test]
fn time_elapsed_is_that_of_the_submission() {
    let mut scenario = decided(3, above(Signal::Elapsed, 0.15));
    scenario.remotes[0].incidents = vec![outage(0, 10, 1)];
    scenario.sources[0].people.client.resubmit = Some(ResubmitSpec {
        max_submissions: 2,
        probability: 1.0,
        pause: DurationDist::Fixed(MS(200)),
    });
    assert_eq!(answered(&scenario), [2, 1]);
}

/// 150 ms before the task is late it is the second of three steps that has begun.
#[test]
fn time_left_is_that_until_the_task_is_late() {
    let mut scenario = decided(3, above(Signal::RemainingLatency, 0.15));
    scenario.tasks[0].latency_slo = Some(MS(300));
    assert_eq!(answered(&scenario), [1, 2]);
}

#[test]
fn calls_are_counted_as_they_are_asked() {
    assert_eq!(answered(&decided(3, above(Signal::ModelCalls, 1.0))), [2, 1]);
}

/// A step that is done only where the answer before it is doubtful.
#[test]
fn a_step_may_depend_on_the_last_answer_s_confidence() {
    for (success, calls) in [(0.0, 2), (1.0, 1)] {
        let ops = vec![Op::Read(Signal::Confidence), Op::Constant(Value::Number(0.5)), Op::Less];
        let when = Some(Predicate::new(ops).expect("well formed"));
        let steps = vec![step(&[], None), Step { when, ..step(&[0], None) }];
        let mut scenario = scenario(vec![of_steps(steps)]);
        right_in(&mut scenario, success);
        assert_eq!(answered(&scenario), [calls]);
    }
}

/// Open from 1 to 51 ms.
#[test]
fn an_open_breaker_is_seen() {
    let signal = Signal::Backend(Backend::Remote(RemoteId(0)), BackendSignal::BreakerOpen);
    let open = Predicate::new(vec![Op::Read(signal)]).expect("well formed");
    let mut scenario = decided(1, open);
    scenario.remotes[0].incidents = vec![outage(0, 10, 1)];
    scenario.models[0].guards.breaker = Some(BreakerSpec {
        failure_rate_threshold: 100.0,
        slow_call_rate_threshold: 100.0,
        slow_call_duration_threshold: Span::from_secs(9),
        sliding_window: SlidingWindow::Calls(1),
        minimum_number_of_calls: 1,
        wait_duration_in_open_state: MS(50),
        permitted_calls_in_half_open_state: 1,
        consecutive_failures: None,
        failures: FailureSet::ALL,
    });
    scenario.sources[0].arrivals = arriving(&[0, 20, 60]);
    assert_eq!(answered(&scenario), [1, 1]);
}

/// One place: the first is in work, the second waits.
#[test]
fn work_and_the_queue_before_it_are_told_apart() {
    for (signal, calls) in [(BackendSignal::InFlight, [1, 2]), (BackendSignal::Waiting, [2, 1])] {
        let signal = Signal::Backend(Backend::Remote(RemoteId(0)), signal);
        let mut scenario = decided(1, above(signal, 0.5));
        scenario.remotes[0].station.servers = Some(1);
        scenario.sources[0].arrivals = arriving(&[0, 10, 20]);
        assert_eq!(answered(&scenario), calls);
    }
}

/// One number for all tasks of a tenant, or one for each.
#[test]
fn an_attribute_is_the_tenant_s_or_the_task_s() {
    for per_tenant in [true, false] {
        let mut scenario = decided(1, above(Signal::Attribute(AttributeId(0)), 0.5));
        scenario.attributes = vec!["size".into()];
        scenario.sources[0].arrivals = arriving(&[0; 20]);
        let law = AttributeLaw::Uniform { low: 0.0, high: 1.0 };
        let people = &mut scenario.sources[0].people;
        people.attributes = vec![AttributeSpec { law, key: 8, per_tenant }];
        people.tenants = Some(TenantSpec { first: 1, count: 1, zipf: 0.0, plan: None });
        assert_eq!(answered(&scenario).contains(&20), per_tenant);
    }
}
