//! Who pays: tenants, spend limits, plans, and how a request that came to nothing is counted.

use super::*;
use crate::ids::PlanId;
use crate::outcome::TenantOutcome;
use crate::price::MONTH;
use crate::price::{Beyond, LimitReached, PlanSpec, Premium, SpendLimit, SpendScope};
use crate::routing::{Fallback, Rule};
use crate::workload::{ResubmitSpec, TenantSpec};

/// The only tenant of a source has this number.
fn tenant(number: u32, plan: Option<PlanId>) -> Option<TenantSpec> {
    Some(TenantSpec { first: number, count: 1, zipf: 0.0, plan })
}

/// A limit of one call's price a second.
fn limit(scope: SpendScope, then: LimitReached) -> SpendLimit {
    SpendLimit { scope, limit: Money(7), period: Span::from_secs(1), then }
}

fn plan(included: Option<u32>) -> PlanSpec {
    PlanSpec {
        name: "plan".into(),
        per_month: Money::ZERO,
        included,
        beyond: Beyond::Refused,
        per_success: Money::ZERO,
        premium: Some(Premium { models: vec![ModelId(0)], per_task: Money(1) }),
    }
}

/// Tenants 1 and 3; nobody else has an account that anything is booked to.
#[test]
fn each_tenant_pays_for_its_own_tasks() {
    let search = ToolUse { tool: ToolId(0), query: None, cache: None, acts: false };
    let steps = vec![step(&[], None), step(&[0], Some(Work::Tool(search)))];
    let mut scenario = scenario(vec![of_steps(steps)]);
    scenario.tools = vec![tool()];
    scenario.tasks[0].observability = Money(1);
    scenario.sources[0].people.tenants = tenant(3, None);
    let other = another_source(&mut scenario, &[0, 5_000]);
    scenario.sources[other].people.tenants = tenant(1, None);
    let outcome = run(&scenario);
    let account = |tasks: u64| (tasks, tasks, Money(i128::from(tasks) * (7 + 3 + 1)));
    let told = |tenant: &TenantOutcome| (tenant.tasks, tenant.succeeded, tenant.spend);
    let told: Vec<_> = outcome.tenants.iter().map(told).collect();
    assert_eq!(told, [0, 2, 0, 1].map(account));
}

#[test]
fn time_at_rented_capacity_is_its_tenant_s_too() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.remotes[0].price =
        RemotePrice::Hourly { units: 1, per_unit_hour: Money(9), asleep_free: false };
    scenario.sources[0].people.tenants = tenant(2, None);
    let outcome = run(&scenario);
    let times: Vec<u128> = outcome.tenants.iter().map(|tenant| tenant.provisioned_time).collect();
    assert_eq!(times, [0, 0, u128::from(MS(100).0)]);
}

/// Reached once a second: by the first call of each, 100 ms after it began. What ends in the next
/// second is spent in the next.
#[test]
fn a_spend_limit_begins_anew_with_each_period() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.spend_limits = vec![limit(SpendScope::All, LimitReached::Refuse)];
    let cases: [(&[u64], u64); 2] =
        [(&[0, 500, 999, 1_000, 1_950, 2_000, 2_999], 3), (&[950, 1_500, 1_999, 2_000], 2)];
    for (at, let_in) in cases {
        scenario.sources[0].arrivals = arriving(at);
        let ends = run(&scenario).tasks[0].endings.clone();
        assert_eq!((ends.success, ends.refused), (let_in, at.len() as u64 - let_in));
    }
}

#[test]
fn a_spend_limit_counts_those_it_names() {
    let mut scenario = scenario(vec![one_call(), one_call()]);
    scenario.sources[0].arrivals = arriving(&[0, 500]);
    let other = another_source(&mut scenario, &[200, 700]);
    scenario.sources[other].people.tenants = tenant(1, None);
    scenario.sources[other].task = TaskId(1);
    for (scope, refused) in [
        (SpendScope::All, [1, 2]),
        (SpendScope::EachTenant, [1, 1]),
        (SpendScope::Task(TaskId(0)), [1, 0]),
        (SpendScope::Task(TaskId(1)), [0, 1]),
    ] {
        scenario.spend_limits = vec![limit(scope, LimitReached::Refuse)];
        let tasks = run(&scenario).tasks;
        assert_eq!([0, 1].map(|task: usize| tasks[task].endings.refused), refused, "{scope:?}");
    }
}

/// Beyond the limit everything goes to the smaller model, whatever would be escalated.
#[test]
fn a_spend_limit_keeps_calls_at_the_smaller_model() {
    let mut scenario = scenario(vec![one_call()]);
    let small = ModelId(another_model(&mut scenario) as u32);
    let large = ModelId(another_model(&mut scenario) as u32);
    scenario.spend_limits = vec![limit(SpendScope::All, LimitReached::SmallerModel(small))];
    scenario.routing.escalations = vec![Rule { when: always(true), model: large }];
    scenario.sources[0].arrivals = arriving(&[0, 500, 1_000]);
    let calls = run(&scenario).models.iter().map(|model| model.calls).collect::<Vec<_>>();
    assert_eq!(calls, [2, 1, 2]);
}

/// One task a month, and the next month another one.
#[test]
fn a_plan_refuses_what_it_does_not_include() {
    let mut scenario = scenario(vec![one_call()]);
    (scenario.horizon, scenario.window) = (Span(2 * MONTH.0), Span(2 * MONTH.0));
    scenario.plans = vec![plan(Some(1))];
    scenario.sources[0].people.tenants = tenant(0, Some(PlanId(0)));
    let month = MONTH.0 / MS(1).0;
    scenario.sources[0].arrivals = arriving(&[0, 500, month - 1, month, month + 200]);
    let outcome = run(&scenario);
    assert_eq!((outcome.tasks[0].succeeded, outcome.tasks[0].endings.refused), (2, 3));
    assert_eq!((outcome.tenants[0].tasks, outcome.tenants[0].premium), (2, 2));
}

/// The first submission had an answer of the premium model before it failed; the one that
/// succeeds has none, because that model is out.
#[test]
fn only_the_submission_that_succeeds_is_premium() {
    let mut scenario = scenario(vec![of_steps(vec![step(&[], None), step(&[0], None)])]);
    let (second, spare) = (another_model(&mut scenario), another_model(&mut scenario));
    if let Work::ModelCall(call) = &mut scenario.tasks[0].graph.steps[1].work {
        call.model = Some(ModelId(second as u32));
    }
    scenario.remotes[0].incidents = vec![outage(200, 10_000, 1)];
    scenario.remotes[second].incidents = vec![outage(0, 150, 1)];
    scenario.routing.fallbacks =
        vec![vec![Fallback { model: ModelId(spare as u32), on: FailureSet::ALL }]];
    scenario.plans = vec![plan(None)];
    scenario.sources[0].people.tenants = tenant(0, Some(PlanId(0)));
    scenario.sources[0].people.client.resubmit = Some(ResubmitSpec {
        max_submissions: 2,
        probability: 1.0,
        pause: DurationDist::Fixed(MS(200)),
    });
    let outcome = run(&scenario);
    assert_eq!((outcome.tasks[0].succeeded, outcome.tasks[0].submissions), (1, 2));
    assert_eq!((outcome.tenants[0].succeeded, outcome.tenants[0].premium), (1, 0));
}

#[test]
fn work_for_a_user_who_has_left_is_wasted() {
    let search = ToolUse { tool: ToolId(0), query: None, cache: None, acts: false };
    for (work, price, output) in [(None, 7, 5), (Some(Work::Tool(search)), 3, 0)] {
        let mut scenario = scenario(vec![of_steps(vec![step(&[], work)])]);
        scenario.tools = vec![tool()];
        let client = &mut scenario.sources[0].people.client;
        client.patience = Some(DurationDist::Fixed(MS(50)));
        client.abandoned_work_goes_on = true;
        let outcome = run(&scenario);
        let task = &outcome.tasks[0];
        assert_eq!((task.spend, task.wasted), (Money(price), Money(price)));
        let (tools, remotes) = (&outcome.tools[0], &outcome.remotes[0]);
        assert_eq!((remotes.wasted.output, tools.wasted, tools.failed), (output, tools.spend, 0));
    }
}

/// `[failed, rejected]` of one request.
fn counted(scenario: &Scenario) -> [u64; 2] {
    let task = &run(scenario).tasks[0];
    [task.failed, task.rejected]
}

/// A request that nobody let in was rejected; one that broke, or ended badly, has failed.
#[test]
fn what_was_let_in_fails_and_what_was_not_is_rejected() {
    let plain = scenario(vec![one_call()]);
    let mut broken = plain.clone();
    broken.remotes[0].error_rate = 1.0;
    assert_eq!(counted(&broken), [1, 0]);
    let mut slow = plain.clone();
    slow.models[0].guards.timeout = Some(MS(50));
    assert_eq!(counted(&slow), [1, 0]);
    let mut full = plain.clone();
    full.models[0].guards.admission.max_in_flight = Some(0);
    assert_eq!(counted(&full), [0, 1]);
    let mut long = plain.clone();
    long.remotes[0].max_context = 1;
    assert_eq!(counted(&long), [0, 1]);
    let mut spent = plain.clone();
    spent.spend_limits =
        vec![SpendLimit { limit: Money::ZERO, ..limit(SpendScope::All, LimitReached::Refuse) }];
    assert_eq!(counted(&spent), [0, 1]);
    let mut wrong = plain.clone();
    right_in(&mut wrong, 0.0);
    assert_eq!(counted(&wrong), [1, 0]);
    let mut late = plain;
    late.tasks[0].budget.max_latency = Some(MS(50));
    assert_eq!(counted(&late), [1, 0]);
}

/// Its first step was answered before the second was turned away.
#[test]
fn a_request_that_was_let_in_once_is_not_rejected_later() {
    let mut scenario = scenario(vec![of_steps(vec![step(&[], None), step(&[0], None)])]);
    let full = another_model(&mut scenario);
    scenario.models[full].guards.admission.max_in_flight = Some(0);
    if let Work::ModelCall(call) = &mut scenario.tasks[0].graph.steps[1].work {
        call.model = Some(ModelId(full as u32));
    }
    assert_eq!(counted(&scenario), [1, 0]);
}

#[test]
fn a_task_that_takes_exactly_its_slo_is_in_time() {
    for (slo, within) in [(Span(MS(100).0 - 1), 0), (MS(100), 1)] {
        let mut scenario = scenario(vec![one_call()]);
        scenario.tasks[0].latency_slo = Some(slo);
        assert_eq!(run(&scenario).tasks[0].within_slo, within);
    }
}

/// Warm-up until 1 s, horizon at 100: the second and the third arrive before the first instant that
/// counts and end after it, the last one ends too late.
#[test]
fn tasks_count_by_their_arrival_and_money_by_the_end_of_the_work() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.warm_up = Span::from_secs(1);
    scenario.sources[0].arrivals = arriving(&[0, 950, 960, 2_000, 99_950]);
    let (outcome, records) = records(&scenario);
    let task = &outcome.tasks[0];
    assert_eq!((task.arrived, task.succeeded, task.calls, task.completed), (2, 2, 2, 3));
    assert_eq!((outcome.models[0].calls, outcome.models[0].attempts), (2, 2));
    assert_eq!((task.spend, outcome.remotes[0].billed.attempts), (Money(21), 3));
    // A record is no bill.
    assert!(records.tasks.iter().all(|record| record.spend == Money(7)));
}

/// Tried three times in all where the user sees that something went wrong, and wants to.
#[test]
fn users_ask_again_for_what_they_see_go_wrong() {
    let mut plain = scenario(vec![one_call()]);
    plain.sources[0].people.client.resubmit = Some(ResubmitSpec {
        max_submissions: 3,
        probability: 1.0,
        pause: DurationDist::Fixed(MS(200)),
    });
    let mut broken = plain.clone();
    broken.remotes[0].error_rate = 1.0;
    let mut refused = plain.clone();
    refused.spend_limits =
        vec![SpendLimit { limit: Money::ZERO, ..limit(SpendScope::All, LimitReached::Refuse) }];
    let mut left = plain.clone();
    left.sources[0].people.client.patience = Some(DurationDist::Fixed(MS(50)));
    let mut wrong = plain.clone();
    right_in(&mut wrong, 0.0);
    let mut late = plain.clone();
    late.tasks[0].budget.max_latency = Some(MS(50));
    for (scenario, submissions) in
        [(&broken, 3), (&refused, 3), (&left, 3), (&wrong, 1), (&late, 1)]
    {
        assert_eq!(run(scenario).tasks[0].submissions, submissions);
    }
    broken.sources[0].people.client.resubmit.as_mut().expect("set").probability = 0.0;
    assert_eq!(run(&broken).tasks[0].submissions, 1);
}

#[test]
fn an_hour_of_a_tool_has_its_price() {
    let act = ToolUse { tool: ToolId(0), query: None, cache: None, acts: false };
    let mut scenario = scenario(vec![of_steps(vec![step(&[], Some(Work::Tool(act)))])]);
    scenario.tools = vec![ToolSpec { per_hour: Money(3_600_000), ..tool() }];
    assert_eq!(run(&scenario).tasks[0].spend, Money(3 + 1_000));
}

#[test]
fn a_task_that_comes_to_nothing_is_not_premium() {
    for (success, premium) in [(1.0, 1), (0.0, 0)] {
        let mut scenario = scenario(vec![one_call()]);
        scenario.plans = vec![plan(None)];
        scenario.sources[0].people.tenants = tenant(0, Some(PlanId(0)));
        right_in(&mut scenario, success);
        let account = run(&scenario).tenants[0].clone();
        assert_eq!((account.tasks, account.premium), (1, premium));
    }
}

/// Forty tasks of four tenants who are all alike: each has about ten.
#[test]
fn the_tasks_of_a_source_are_divided_among_its_tenants() {
    let mut scenario = scenario(vec![one_call()]);
    scenario.sources[0].arrivals = arriving(&[0; 40]);
    scenario.sources[0].people.tenants =
        Some(TenantSpec { first: 2, count: 4, zipf: 0.0, plan: None });
    let tasks: Vec<u64> = run(&scenario).tenants.iter().map(|tenant| tenant.tasks).collect();
    assert_eq!((tasks.len(), tasks[0] + tasks[1], tasks.iter().sum::<u64>()), (6, 0, 40));
    // Three and a half standard deviations.
    assert!(tasks[2..].iter().all(|tasks| (1..=19).contains(tasks)), "{tasks:?}");
}
