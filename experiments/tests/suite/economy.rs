//! The bill of a whole scenario: every list of parts sums to the same total, to the pico-dollar.

use crate::world;
use experiments::{
    Estimate, Halt, Metric, NoProgress, Plan, RunResult, Sample, TenantsId, Verdict, Warning, run,
};
use sim::backends::{Bucket, Limits};
use sim::ids::SourceId;
use sim::units::Money;
use sim::{Outcome, Scenario, Simulation};

const RUNS: u32 = 4;
/// Most tokens that a client lets be written.
const CAP: u32 = 250;

fn simulate(scenario: &Scenario, seed: u64, replication: u32) -> Result<Outcome, Halt> {
    Ok(Simulation::new(scenario, seed, replication).run())
}

fn result(scenario: &Scenario) -> RunResult {
    let plan = Plan { seed: 5, replications: Sample::Fixed(RUNS), ..Plan::default() };
    let result = run(scenario, &plan, &[], &simulate, &NoProgress).expect("it finishes");
    let audited = |warning: &Warning| !matches!(warning, Warning::AuditFailed { .. });
    assert!(result.warnings.iter().all(audited), "{:?}", result.warnings);
    result
}

fn sum(amounts: impl Iterator<Item = Money>) -> Money {
    Money(amounts.map(|amount| amount.0).sum())
}

fn near(estimate: &Estimate, expected: f64) -> bool {
    estimate.value.is_some_and(|value| (value - expected).abs() <= 1e-9 * expected.abs())
}

#[test]
fn every_way_to_take_the_bill_apart_gives_the_same_total() {
    let scenario = world::scenario();
    let found = result(&scenario);
    // A second way: what the simulator booked to tasks as things ended, and what is rented.
    let rented: i128 = 1_100 * (4 * 2_999_999_999_999 + 2 * 7 * Money::PICO_PER_DOLLAR) / 3_600;
    let outcomes: Vec<Outcome> = (0..RUNS).flat_map(|r| simulate(&scenario, 5, r)).collect();
    let booked: i128 = outcomes.iter().flat_map(|o| &o.tasks).map(|t| t.spend.0).sum();
    let wasted: i128 = outcomes.iter().flat_map(|o| &o.tasks).map(|t| t.wasted.0).sum();
    assert_eq!(wasted / i128::from(RUNS), found.spend.wasted.0);
    let drivers = found.cost_drivers.as_ref().expect("tasks have several steps");
    let items = sum(drivers.items.iter().map(|part| part.amount));
    let causes = sum(drivers.causes.iter().map(|part| part.amount));
    assert_eq!(items, causes);
    // Renting truncates once a pool or remote and run.
    let off = items.0 - booked - i128::from(RUNS) * rented;
    assert!((0..=8).contains(&(off + 4)), "{off} pico-dollars off {}", items.0);
    let total = found.spend.total;
    assert_eq!(total, found.spend.by.total());
    assert!((0..=9).contains(&(items.0 / i128::from(RUNS) - total.0)), "truncated once a cause");
    let per_task = found.spend.per_successful_task_usd.value.expect("tasks succeed");
    let parts = |list: &[experiments::CostPart]| {
        list.iter().filter_map(|part| part.per_successful_task_usd.value).sum::<f64>()
    };
    for list in [&drivers.items, &drivers.causes] {
        assert!((parts(list) - per_task).abs() < 1e-9 * per_task, "{list:?}");
    }
    let by = found.spend.by;
    let costly =
        [by.gpu, by.provisioned, by.tokens, by.retrieval, by.human_review, by.observability];
    assert!(costly.iter().all(|amount| amount.0 > 0), "{by:?}");
    assert!(found.spend.wasted > Money::ZERO && found.margin.harm > Money::ZERO);
}

#[test]
fn a_day_costs_what_is_rented_for_a_day_and_what_is_used_in_one() {
    let found = result(&world::scenario());
    let by = found.spend.by;
    let rented = 24 * (4 * 2_999_999_999_999 + 2 * 7 * Money::PICO_PER_DOLLAR);
    let used = by.total().0 - by.gpu.0 - by.provisioned.0;
    let expected = rented + used * 864 / 11;
    assert!((found.spend.per_day.0 - expected).abs() < 1_000, "{}", found.spend.per_day.0);
    assert!(near(&found.spend.per_day_usd, found.spend.per_day.as_dollars_f64()));
}

#[test]
fn tasks_and_tenants_bear_all_cost_between_them() {
    let found = result(&world::scenario());
    let of =
        |of: fn(&experiments::TaskMoney) -> Money| sum(found.tasks.iter().map(|t| of(&t.money)));
    let (metered, rented) = (of(|money| money.metered), of(|money| money.rented));
    assert!((metered.0 + rented.0 - found.spend.total.0).abs() <= 12, "truncated a few times");
    // Only the agents use the hosted API, and only the replies use the GPUs.
    let by = found.spend.by;
    assert!((found.tasks[1].money.rented.0 - by.gpu.0).abs() <= 4);
    assert_eq!(found.tasks[1].money.metered, Money::ZERO);
    let [group] = found.tenants.as_slice() else { panic!("one group of tenants") };
    let cost = group.metered + group.rented;
    let agent = found.tasks[0].money.metered + found.tasks[0].money.rented;
    assert!((cost.0 - agent.0).abs() <= 60, "{} is not {}", cost.0, agent.0);
    assert_eq!((group.tenants, group.plan.as_deref()), (50, Some("pro")));
    let heavy: Vec<u32> = group.heaviest.iter().map(|heavy| heavy.tenants).collect();
    assert_eq!(heavy, [1, 5]);
    let shares: Vec<f64> = group.heaviest.iter().filter_map(|h| h.cost_share.value).collect();
    assert!(shares[0] > 0.1 && shares[1] > shares[0] && shares[1] < 1.0, "{shares:?}");
}

#[test]
fn margins_of_days_and_tenants_are_metrics() {
    let scenario = world::scenario();
    let found = result(&scenario);
    let group = &found.tenants[0];
    let of = |path: &str| {
        let metric = Metric::parse(path, &scenario).unwrap_or_else(|error| panic!("{error}"));
        (metric.estimate(&found), metric.unit())
    };
    let own = |number: &str| of(&format!("{}.{number}", group.name));
    let heaviest = &group.heaviest[0].margin_per_tenant_month_usd;
    for ((estimate, unit), expected, expected_unit) in [
        (of("margin.per_day"), &found.margin.per_day_usd, "USD"),
        (of("margin.per_month"), &found.margin.per_month_usd, "USD"),
        (own("margin_per_tenant"), &group.margin_per_tenant_month_usd, "USD"),
        (own("losing_tenants"), &group.losing, ""),
        (own("margin_per_heaviest_tenant"), heaviest, "USD"),
    ] {
        assert_eq!((&estimate, unit), (expected, expected_unit));
        assert!(estimate.value.is_some() || estimate.reason.is_some());
    }
    let bringing = |source: u32| TenantsId::of(&scenario, SourceId(source));
    let with: Vec<u32> = (0..u32::try_from(scenario.sources.len()).expect("few"))
        .filter(|source| bringing(*source).is_some())
        .collect();
    assert!(!with.is_empty() && with.len() < scenario.sources.len());
    assert!(with.iter().all(|source| bringing(*source) == Some(TenantsId(0))));
    assert_eq!(bringing(u32::MAX), None);
}

#[test]
fn the_causes_of_a_latency_sum_to_it() {
    let found = result(&world::scenario());
    let agent = &found.tasks[0];
    let drivers = agent.drivers.as_ref().expect("tasks of several steps have them");
    let secs =
        |parts: &[sim::units::Span]| parts.iter().map(|part| part.0).sum::<u64>() as f64 / 1e12;
    let p95 = drivers.p95.expect("there are enough tasks");
    let [mean, p95] = [secs(&drivers.mean), secs(&p95)];
    assert!(near(&agent.latency.mean, mean) && near(&agent.latency.p95, p95), "{mean} {p95}");
    assert!(drivers.p95_tasks >= 20);
    assert!(found.tasks[1].drivers.is_none() && found.tasks[1].work.is_none());
}

#[test]
fn work_is_counted_where_it_was_done() {
    let found = result(&world::scenario());
    let work = found.tasks[0].work.as_ref().expect("tasks of several steps do work");
    assert_eq!(work.submissions, found.tasks[0].counts.arrived);
    let guards = found.models[0].work.as_ref().expect("a model under a policy");
    assert!(guards.retries > 0 && guards.failures.iter().sum::<u64>() > guards.retries);
    let [hosted, units] = found.remotes.as_slice() else { panic!("two remotes") };
    assert!(hosted.failed > 0 && hosted.utilisation.is_none());
    assert_eq!(hosted.token_spend.total(), hosted.spend);
    assert!(hosted.tokens.cached_input > 0 && hosted.wasted.output < hosted.tokens.output);
    let utilised = units.utilisation.as_ref().and_then(|share| share.value);
    assert!(utilised.is_some_and(|share| 0.0 < share && share < 1.0));
    let [kb, _] = found.tools.as_slice() else { panic!("two tools") };
    assert!(kb.failed > 0 && kb.wasted > Money::ZERO && kb.wasted < kb.spend);
    assert_eq!(found.stability.verdict, Some(Verdict::Stable));
}

/// Retries of attempts that nobody stops keep ten places busy with work nobody waits for.
#[test]
fn a_disturbance_can_leave_a_system_stuck() {
    let stuck = result(&world::fragile(4, 6.0));
    assert_eq!(stuck.stability.verdict, Some(Verdict::Metastable), "{}", stuck.stability.why);
    assert!(stuck.tasks[0].latency.p95.value.is_none());
    let why = &stuck.stability.why;
    assert!(why.contains("in 4 of 4 replications"), "{why}");
    // Attempts go on and answers do not come: how many of them there are says how long it lasted.
    let attempts = &stuck.models[0].work.as_ref().expect("a policy").attempts_per_answer;
    assert_eq!(attempts.value, None);
    assert_eq!(attempts.reason.as_deref(), Some("metastable: depends on the horizon"));
    // A month would not be a longer run like this.
    assert_eq!(stuck.margin.per_month, None);
    assert_eq!(
        stuck.margin.per_month_usd.reason.as_deref(),
        Some("metastable: depends on the horizon")
    );
    let amplification = stuck.amplification.expect("a model under a policy");
    let [load] = amplification.models.as_slice() else { panic!("one model") };
    assert_eq!((load.worst, load.vulnerable), (Some(4.0), Some(true)));
    assert!(load.safe_per_s.is_some_and(|safe| (safe - 2.5).abs() < 0.3), "{load:?}");
}

/// Ten places of a second each would carry ten attempts a second; limits carry less, the tightest
/// the least. All prompts and answers are equally long, and a client's cap is what is charged.
#[test]
fn the_tightest_limit_is_the_capacity() {
    let mut scenario = world::fragile(4, 0.5);
    scenario.remotes[0].incidents.clear();
    scenario.sources[0].max_tokens = Some(CAP);
    scenario.sources[0].lengths.input = world::fixed(700);
    scenario.sources[0].lengths.output = world::fixed(100);
    let at = |per_minute| Some(Bucket { per_minute, burst: 1_000_000 });
    let none = Limits::default();
    let whole = u64::from(700 + CAP);
    for (limits, capacity) in [
        (Limits { requests: at(480), ..none }, 8.0),
        (Limits { requests: at(480), tokens: at(whole * 60 * 7), ..none }, 7.0),
        (Limits { tokens: at(whole * 60 * 7), input_tokens: at(700 * 60 * 6), ..none }, 6.0),
        (Limits { requests: at(480), output_tokens: at(u64::from(CAP) * 60 * 5), ..none }, 5.0),
    ] {
        scenario.remotes[0].limits = limits;
        let amplification = result(&scenario).amplification.expect("a model under a policy");
        let found = amplification.models[0].capacity_per_s.expect("it is known");
        assert!((found - capacity).abs() < 1e-9, "{found}, not {capacity}");
    }
}

/// Without retries the same disturbance passes, and so it does at a load that all retries fit.
#[test]
fn below_the_threshold_the_same_disturbance_passes() {
    for scenario in [world::fragile(1, 6.0), world::fragile(4, 2.0)] {
        let found = result(&scenario);
        assert_eq!(found.stability.verdict, Some(Verdict::Stable), "{}", found.stability.why);
        let attempts = &found.models[0].work.as_ref().expect("a policy").attempts_per_answer;
        assert!(attempts.value.is_some_and(|ratio| ratio >= 1.0), "{attempts:?}");
    }
    let mut calm = world::fragile(4, 6.0);
    calm.remotes[0].incidents.clear();
    assert_eq!(result(&calm).stability.verdict, Some(Verdict::Stable));
}
