//! What nobody waits for must not act on those who wait: attempts given up, shadows, work whose
//! user has left. And clients in a hurry come to an end.

use crate::hosted::{model, remote, serving, source};
use crate::oracle::by_failures_in_a_row;
use sim::backends::{Discipline, Meter, RemotePrice};
use sim::dist::DurationDist;
use sim::ids::ModelId;
use sim::routing::Share;
use sim::scenario::Scenario;
use sim::tasks::{TaskSpec, Work};
use sim::units::{Money, Span};
use sim::workload::{Arrivals, Gaps, RateCurve, ResubmitSpec};
use sim::{Outcome, Simulation};

/// One task of one call to a hosted backend that takes `service` seconds, begun every ten seconds
/// for 200 seconds.
fn paced(service: u64) -> Scenario {
    let service = DurationDist::Fixed(Span::from_secs(service));
    let rate = RateCurve::constant(0.1);
    Scenario {
        horizon: Span::from_secs(200),
        tasks: vec![TaskSpec::one_call("task", ModelId(0))],
        sources: vec![source(Arrivals::Renewal { gaps: Gaps::Constant, rate }, 1)],
        models: vec![model(0)],
        remotes: vec![serving(remote(None, None, Discipline::Fifo), service)],
        window: Span::from_secs(200),
        ..Scenario::default()
    }
}

fn run(scenario: &Scenario) -> Outcome {
    let outcome = Simulation::new(scenario, 1, 0).run();
    assert_eq!(outcome.audit, Vec::<String>::new());
    outcome
}

/// An attempt that timed out goes on and ends well: for its breaker it failed, and that once.
#[test]
fn an_attempt_tells_its_breaker_once_how_it_went() {
    let mut scenario = paced(5);
    let guards = &mut scenario.models[0].guards;
    guards.timeout = Some(Span::from_secs(1));
    guards.breaker = Some(by_failures_in_a_row(3, Span::from_secs(10_000), 1));
    let outcome = run(&scenario);
    assert_eq!((outcome.tasks[0].arrived, outcome.tasks[0].succeeded), (20, 0));
    assert_eq!(outcome.models[0].attempts, 3, "three failures in a row open it");
}

/// Two calls of one token each fit into a budget of two tokens, whatever a shadow writes.
#[test]
fn a_shadow_uses_nothing_of_its_task() {
    let mut scenario = paced(1);
    let task = &mut scenario.tasks[0];
    task.budget.max_output_tokens = Some(2);
    let mut second = task.graph.steps[0].clone();
    (second.name, second.key, second.after) = ("again".to_owned(), 1, vec![0]);
    if let Work::ModelCall(call) = &mut second.work {
        call.model = Some(ModelId(0));
    }
    task.graph.steps.push(second);
    scenario.models.push(model(1));
    scenario.remotes.push(remote(None, None, Discipline::Fifo));
    let (of, to) = (ModelId(0), ModelId(1));
    scenario.routing.shares = vec![Share { of, to, share: 1.0, shadow: true, key: 1 }];
    let outcome = run(&scenario);
    assert_eq!((outcome.tasks[0].arrived, outcome.tasks[0].succeeded), (20, 20));
    assert_eq!(outcome.models[1].calls, 40);
}

/// What is paid for a user who has left is wasted.
#[test]
fn work_that_goes_on_without_its_user_is_wasted() {
    let mut scenario = paced(5);
    let client = &mut scenario.sources[0].people.client;
    client.patience = Some(DurationDist::Fixed(Span::from_secs(1)));
    client.abandoned_work_goes_on = true;
    let meter = Meter { call: Money(7), ..Meter::default() };
    scenario.remotes[0].price = RemotePrice::Metered(meter);
    let outcome = run(&scenario);
    let task = &outcome.tasks[0];
    assert_eq!((task.arrived, task.abandoned), (20, 20));
    // One that begins in the last five seconds would be paid for after the horizon.
    assert!(task.spend >= Money(19 * 7), "{task:?}");
    assert_eq!((task.wasted, outcome.remotes[0].wasted), (task.spend, outcome.remotes[0].billed));
}

/// Users who never think, and tasks that take no time: a hundred a second, not one a picosecond.
#[test]
fn a_client_who_never_thinks_comes_to_an_end() {
    let mut scenario = paced(0);
    let think = DurationDist::Fixed(Span::ZERO);
    scenario.sources[0].arrivals = Arrivals::ClosedLoop { users: 1, think };
    assert_eq!(run(&scenario).tasks[0].succeeded, 20_000);
}

/// Whoever is refused and asks again at once is not for ever at one instant.
#[test]
fn a_client_who_never_gives_up_comes_to_an_end() {
    let mut scenario = paced(50);
    scenario.remotes[0].station.servers = Some(1);
    scenario.remotes[0].station.queue_limit = Some(0);
    let again = ResubmitSpec {
        max_submissions: u32::MAX,
        probability: 1.0,
        pause: DurationDist::Fixed(Span::ZERO),
    };
    scenario.sources[0].people.client.resubmit = Some(again);
    let task = &run(&scenario).tasks[0];
    // 50 s each until the drain has lasted as long as the run: then they give up after all.
    assert_eq!((task.arrived, task.succeeded), (20, 8));
    assert!(task.submissions > 100_000 && task.submissions < 2_000_000, "{}", task.submissions);
}
