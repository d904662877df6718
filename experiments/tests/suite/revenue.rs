//! What tenants pay, from runs whose tasks can be counted by hand: one comes every so often, takes
//! no time and costs a cent.

use crate::support::dollars;
use crate::world;
use experiments::{Estimate, Halt, NoProgress, Plan, RunResult, Sample, Warning, run};
use sim::backends::{Answering, Meter, RemotePrice, RemoteSpec};
use sim::dist::DurationDist;
use sim::ids::{Backend, PlanId, RemoteId};
use sim::price::{Beyond, MONTH, PlanSpec};
use sim::resilience::GuardSpec;
use sim::tasks::TaskSpec;
use sim::units::{Money, Span};
use sim::workload::{Arrivals, Gaps, People, RateCurve, SourceSpec, TenantSpec};
use sim::{Outcome, Scenario, Simulation};

const CENT: Money = Money(Money::PICO_PER_DOLLAR / 100);

fn simulate(scenario: &Scenario, seed: u64, replication: u32) -> Result<Outcome, Halt> {
    Ok(Simulation::new(scenario, seed, replication).run())
}

fn result(scenario: &Scenario) -> RunResult {
    let plan = Plan { seed: 3, replications: Sample::Fixed(2), ..Plan::default() };
    let result = run(scenario, &plan, &[], &simulate, &NoProgress).expect("it finishes");
    let audited = |warning: &Warning| !matches!(warning, Warning::AuditFailed { .. });
    assert!(result.warnings.iter().all(audited), "{:?}", result.warnings);
    result
}

fn near(estimate: &Estimate, expected: f64) -> bool {
    estimate.value.is_some_and(|value| (value - expected).abs() <= 1e-6 * expected.abs())
}

fn plan(per_month: Money, included: Option<u32>, beyond: Beyond) -> PlanSpec {
    PlanSpec {
        name: "tier".into(),
        per_month,
        included,
        beyond,
        per_success: Money::ZERO,
        premium: None,
    }
}

/// One task of a source every `gap`, of one tenant on the plan.
fn steady(name: &str, task: u32, tenant: u32, gap: Span, plan: u32) -> SourceSpec {
    let rate = RateCurve::constant(1e12 / gap.0 as f64);
    let tenants = TenantSpec { first: tenant, count: 1, zipf: 0.0, plan: Some(PlanId(plan)) };
    SourceSpec {
        arrivals: Arrivals::Renewal { gaps: Gaps::Constant, rate },
        people: People { tenants: Some(tenants), ..People::default() },
        ..world::source(name, u64::from(tenant), task, 1.0)
    }
}

/// Calls that take no time and cost a cent; each kind of task is worth what the list says.
fn shop(measured: Span, values: &[Option<Money>]) -> Scenario {
    let free = Money::ZERO;
    let meter =
        Meter { input: free, cached_input: free, cache_write: free, output: free, call: CENT };
    let at_once = DurationDist::Fixed(Span::ZERO);
    let answering = Answering {
        ttft: at_once.clone(),
        per_input_token: Span::ZERO,
        tpot: at_once,
        slowness: Vec::new(),
    };
    let task = |(at, value): (usize, &Option<Money>)| TaskSpec {
        value: *value,
        ..world::task(&format!("task{at}"), vec![world::step("call", &[], world::call(0))])
    };
    Scenario {
        horizon: measured,
        window: Span(measured.0 / 100),
        tasks: values.iter().enumerate().map(task).collect(),
        models: vec![world::served("m", Backend::Remote(RemoteId(0)), GuardSpec::default())],
        remotes: vec![RemoteSpec {
            price: RemotePrice::Metered(meter),
            answering,
            ..world::remote("api", 1)
        }],
        ..Scenario::default()
    }
}

/// A tenant who sends three times what is included, at $20 a month, in a part of a month.
fn heavy(part: u64, beyond: Beyond) -> Scenario {
    let measured = Span(MONTH.0 / part);
    let gap = Span(MONTH.0 / 3_000);
    Scenario {
        sources: vec![steady("app", 0, 1, gap, 0)],
        plans: vec![plan(dollars(20), Some(1_000), beyond)],
        ..shop(measured, &[None])
    }
}

/// Of 3,000 tasks a month 1,000 are let in, at a cent each: $20 − $10. A tenth of the month lets
/// in a tenth.
#[test]
fn a_tiers_cap_leaves_the_same_margin_in_a_month_and_in_a_part_of_it() {
    for part in [1, 3, 10] {
        let found = result(&heavy(part, Beyond::Refused));
        let counts = &found.tasks[0].counts;
        let allowed = 2 * (1_000.0 / part as f64).round() as u64;
        assert_eq!(counts.succeeded, allowed, "1/{part}");
        assert!(counts.rejected.abs_diff(2 * 2_000 / part) <= 4, "{counts:?}");
        let [tenants] = found.tenants.as_slice() else { panic!("one group") };
        let margin = 20.0 - 0.01 * part as f64 * (allowed / 2) as f64;
        assert!(near(&tenants.margin_per_tenant_month_usd, margin), "1/{part}: {tenants:?}");
        assert!((margin - 10.0).abs() < 0.02);
        assert_eq!(tenants.losing.value, Some(0.0));
        assert!(found.warnings.iter().all(|w| !matches!(w, Warning::FewIncluded { .. })));
    }
}

/// Of 3,000 tasks a month 2,000 are beyond, at 3 cents: $20 + $60 − $30.
#[test]
fn credits_leave_the_same_margin_in_a_month_and_in_a_part_of_it() {
    for part in [1, 2, 10] {
        let found = result(&heavy(part, Beyond::Charged(Money(3 * CENT.0))));
        let tasks = found.tasks[0].counts.succeeded as f64 / 2.0;
        assert!((tasks - 3_000.0 / part as f64).abs() <= 1.0, "{tasks}");
        let [tenants] = found.tenants.as_slice() else { panic!("one group") };
        let beyond = tasks * part as f64 - 1_000.0;
        let margin = 20.0 + 0.03 * beyond - 0.01 * tasks * part as f64;
        let estimate = &tenants.margin_per_tenant_month_usd;
        assert!(near(estimate, margin), "1/{part}: {estimate:?} is not {margin}");
        assert!((margin - 50.0).abs() <= 0.02 * part as f64);
    }
}

/// What was not used in one month is not there in the next: 500 of 1,000, then 2,000 of 1,000.
#[test]
fn credits_are_not_carried_over() {
    let half = Span(MONTH.0 / 500);
    let mut scenario = heavy(1, Beyond::Charged(CENT));
    scenario.horizon = MONTH + MONTH;
    let month = sim::units::Time(MONTH.0);
    let knots = vec![(month, 1e12 / half.0 as f64), (month, 4e12 / half.0 as f64)];
    scenario.sources[0].arrivals = Arrivals::Renewal {
        gaps: Gaps::Constant,
        rate: RateCurve { knots, ..RateCurve::constant(1.0) },
    };
    let found = result(&scenario);
    let revenue = found.tenants[0].revenue.as_dollars_f64();
    assert!((revenue - 50.0).abs() <= 0.02, "2 · $20 and 1,000 cents, not {revenue}");
}

#[test]
fn less_than_one_included_task_says_nothing_of_a_month() {
    let day = Span::from_secs(86_400);
    let mut scenario = heavy(1, Beyond::Refused);
    scenario.horizon = day;
    scenario.plans[0].included = Some(20);
    let found = result(&scenario);
    let tenants = &found.tenants[0];
    let missing =
        [&tenants.margin_per_tenant_month_usd, &tenants.losing, &found.margin.per_task_usd];
    for estimate in missing {
        assert_eq!(estimate.value, None);
        let reason = estimate.reason.as_deref().unwrap_or_default();
        assert!(reason.contains("less than one of the 20 tasks"), "{reason}");
        assert!(reason.ends_with("at least 37 h"), "{reason}");
    }
    assert_eq!(found.tasks[0].counts.rejected, 0, "a cap that would refuse everybody");
    scenario.plans[0].included = Some(300);
    let found = result(&scenario);
    assert_eq!(found.tasks[0].counts.succeeded, 2 * 10, "300/30.4375 to the nearest");
    let few = Warning::FewIncluded {
        plan: "tier".into(),
        included: 300,
        allowance: 10,
        least: "3 days".into(),
    };
    assert!(found.warnings.contains(&few), "{:?}", found.warnings);
    scenario.horizon = Span(day.0 / 2);
    let brief = Warning::PartOfADay { plan: "tier".into() };
    assert!(result(&scenario).warnings.contains(&brief));
}

/// What was sent in the warm-up is not paid for and uses nothing up.
#[test]
fn months_begin_with_the_measured_time() {
    let mut scenario = heavy(10, Beyond::Refused);
    scenario.warm_up = Span(scenario.horizon.0 / 2);
    let found = result(&scenario);
    assert_eq!(found.tasks[0].counts.succeeded, 2 * 50);
    assert!(near(&found.tenants[0].margin_per_tenant_month_usd, 10.0));
}

/// $20 a month for 3,000 tasks that cost a cent each.
#[test]
fn a_plan_gives_tasks_without_a_value_their_margin() {
    let flat = |scenario: Scenario| Scenario {
        plans: vec![plan(dollars(20), None, Beyond::Refused)],
        ..scenario
    };
    let gap = Span(MONTH.0 / 3_000);
    let mut scenario = flat(heavy(1, Beyond::Refused));
    let found = result(&scenario);
    let tasks = found.tasks[0].counts.succeeded as f64 / 2.0;
    let margin = 20.0 / tasks - 0.01;
    assert!(near(&found.margin.per_task_usd, margin), "{:?}", found.margin);
    assert!(near(&found.tasks[0].money.margin_per_task_usd, margin));
    let revenue = found.margin.revenue;
    assert_eq!((revenue.values, revenue.plans), (Money::ZERO, dollars(20)));

    // Beside a task with a value, of somebody else.
    scenario.tasks = shop(MONTH, &[None, Some(dollars(1))]).tasks;
    scenario.sources.push(SourceSpec {
        people: People::default(),
        ..steady("mail", 1, 9, Span(MONTH.0 / 100), 0)
    });
    let found = result(&scenario);
    let others = found.tasks[1].counts.succeeded as f64 / 2.0;
    assert!(near(&found.tasks[0].money.margin_per_task_usd, margin));
    assert!(near(&found.tasks[1].money.margin_per_task_usd, 0.99));
    let total = (20.0 + others - 0.01 * (tasks + others)) / (tasks + others);
    assert!(near(&found.margin.per_task_usd, total), "{:?}", found.margin);

    // A task that has a value is not paid for twice.
    scenario.tasks[0].value = Some(dollars(2));
    let found = result(&scenario);
    assert_eq!(found.margin.revenue.plans, Money::ZERO);
    assert!(near(&found.tasks[0].money.margin_per_task_usd, 1.99));

    // One plan for two kinds of task: together they have a margin, apart they have none.
    scenario.sources[1] = steady("mail", 1, 1, gap, 0);
    (scenario.tasks[0].value, scenario.tasks[1].value) = (None, None);
    let found = result(&scenario);
    assert!(near(&found.margin.per_task_usd, 20.0 / (2.0 * tasks) - 0.01), "{:?}", found.margin);
    for task in &found.tasks {
        let reason = task.money.margin_per_task_usd.reason.as_deref();
        assert_eq!(reason, Some("the plan tier pays for task0 and task1 together"));
    }
}

#[test]
fn where_nobody_knows_who_pays_the_margin_says_so() {
    let gap = Span(MONTH.0 / 300);
    let mut scenario = Scenario {
        sources: vec![steady("app", 0, 1, gap, 0), steady("mail", 1, 1, gap, 0)],
        plans: vec![plan(dollars(20), None, Beyond::Refused)],
        ..shop(Span(MONTH.0 / 4), &[None, Some(dollars(1))])
    };
    let reason = |scenario: &Scenario| result(scenario).margin.per_task_usd.reason;
    let both = "the plan tier pays for task0, which has no value, and for task1, which has one";
    assert_eq!(reason(&scenario).as_deref(), Some(both));
    scenario.sources[0].people = People::default();
    let nobody = "the task task0 has no value, and nobody pays a plan for app";
    assert_eq!(reason(&scenario).as_deref(), Some(nobody));
    scenario.sources[1].people = People::default();
    scenario.plans.clear();
    assert_eq!(reason(&scenario).as_deref(), Some("the task task0 has no value"));
}
