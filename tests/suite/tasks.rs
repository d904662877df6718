//! Tasks under every policy: what must hold whatever the scenario.
//!
//! Conservation, money and causes of latency in random scenarios, told from the records alone; and
//! policies that never act, which must change nothing at all.
//!
//! `SURGELINE_TASK_CASES` says how many random scenarios are tried, and `SURGELINE_TASK_SEED` which;
//! the defaults keep the suite quick.

pub(crate) mod any;
mod idle;
mod reach;
mod recorded;

use crate::conservation::record;
use experiments::{NoProgress, Plan, Sample};
use proptest::prelude::*;
use sim::Scenario;
use sim::outcome::{Ending, Endings, Outcome, TaskOutcome};
use sim::record::TaskRecord;
use sim::units::Span;

/// Random scenarios to try.
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    let wanted = |name: &str| std::env::var(name).ok()?.parse().ok();
    let cases = wanted("SURGELINE_TASK_CASES").unwrap_or(usual);
    // The same scenarios every time: a change is judged by what it does, not by luck.
    let seed = wanted("SURGELINE_TASK_SEED").unwrap_or(0);
    let rng_seed = proptest::test_runner::RngSeed::Fixed(seed.into());
    ProptestConfig { cases, rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}

/// Counts of a kind of task, told again from its records.
fn check_task(scenario: &Scenario, number: usize, task: &TaskOutcome, records: &[TaskRecord]) {
    let own = || records.iter().filter(|record| record.task.index() == number);
    let measured = || own().filter(|record| record.arrived.0 >= scenario.warm_up.0);
    let mut endings = Endings::default();
    measured().for_each(|record| endings.count(record.ending));
    assert_eq!(task.endings, endings);
    assert_eq!(task.arrived, measured().count() as u64);
    assert_eq!(task.in_flight, 0);
    let submissions: u64 = measured().map(|record| u64::from(record.submissions)).sum();
    assert_eq!(task.submissions, submissions);
    let succeeded = || measured().filter(|record| record.ending == Ending::Success);
    let latency = |record: &TaskRecord| record.ended - record.arrived;
    let slo = scenario.tasks[number].latency_slo;
    let within = succeeded().filter(|record| slo.is_none_or(|slo| latency(record) <= slo));
    assert_eq!(task.within_slo, within.count() as u64);
    let sum: u128 = succeeded().map(|record| u128::from(latency(record).0)).sum();
    assert_eq!(task.latency.sum_picoseconds(), sum);
    let in_time = |record: &&TaskRecord| {
        let ended = record.ended.0;
        record.ending == Ending::Success
            && (scenario.warm_up.0..=scenario.horizon.0).contains(&ended)
    };
    assert_eq!(task.completed, own().filter(in_time).count() as u64);
}

fn check(scenario: &Scenario, outcome: &Outcome, records: &[TaskRecord]) {
    assert_eq!(outcome.audit, Vec::<String>::new());
    for record in records {
        let parts: Span = record.parts.iter().fold(Span::ZERO, |sum, &part| sum + part);
        assert_eq!(parts, record.ended - record.arrived, "causes add up: {record:?}");
    }
    for (number, task) in outcome.tasks.iter().enumerate() {
        check_task(scenario, number, task, records);
    }
}

/// What the cost of a successful task is made of, by either list, is all that was spent.
fn check_bill(scenario: &Scenario, outcome: &Outcome) {
    let plan =
        Plan { seed: 0, replications: Sample::Fixed(1), threads: Some(1), ..Plan::default() };
    let again = |_: &Scenario, _: u64, _: u32| Ok(outcome.clone());
    let result = experiments::run(scenario, &plan, &[], &again, &NoProgress).expect("it finished");
    recorded::check_ledger(scenario, outcome, &result);
    let Some(drivers) = &result.cost_drivers else { return };
    for list in [&drivers.items, &drivers.causes] {
        let sum: i128 = list.iter().map(|part| part.amount.0).sum();
        assert_eq!(sum, result.spend.total.0, "{list:?}");
    }
    let of = |key: &str| drivers.causes.iter().find(|part| part.key == key).map(|p| p.amount.0);
    let tokens: i128 = drivers
        .items
        .iter()
        .filter(|part| part.key.ends_with("_tokens"))
        .map(|part| part.amount.0)
        .sum();
    let context = of("context").unwrap_or(0) + of("cache_misses").unwrap_or(0);
    assert!((0..=tokens).contains(&context), "context costs {context} of {tokens}");
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn tasks_attempts_money_and_causes_are_conserved(
        scenario in any::scenarios(),
        seed in any::<u64>(),
    ) {
        let (outcome, recorded) = record(&scenario, seed, 0);
        check(&scenario, &outcome, &recorded.tasks);
        recorded::check_attempts(&scenario, &outcome, &recorded);
        crate::series::check_answers(&scenario, &outcome, &recorded);
        check_bill(&scenario, &outcome);
    }
}
