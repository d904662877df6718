//! Twice the price is twice the spend, to the pico-dollar, and nothing else.
//!
//! Why it must hold: prices are applied to counts, and no decision reads a price or a bill unless
//! a spend limit or a plan asks it to. A price is an integer times an integer, so doubling is exact
//! where nothing is truncated. Rent is: time times the price of an hour, to the pico-dollar below.
//! So the exact test takes hourly prices that are whole pico-dollars per picosecond, and another
//! one shows that any price is off by one pico-dollar for each thing rented, at most.

use crate::conservation::record;
use crate::swarm;
use crate::tasks::{any, cases};
use experiments::{NoProgress, Plan, Sample};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use sim::backends::RemotePrice;
use sim::ledger::rent;
use sim::units::{Money, PS_PER_SEC};
use sim::{Outcome, Scenario, Simulation};

/// Picoseconds of an hour: a price of so many pico-dollars per hour is one per picosecond.
const HOUR: i128 = 3_600 * PS_PER_SEC as i128;

/// Calls a function with every price of what is used.
fn each_price(scenario: &mut Scenario, each: impl Fn(&mut Money)) {
    scenario.pools.iter_mut().for_each(|pool| each(&mut pool.price_per_gpu_hour));
    for remote in &mut scenario.remotes {
        match &mut remote.price {
            RemotePrice::Metered(meter) => {
                each(&mut meter.input);
                each(&mut meter.cached_input);
                each(&mut meter.cache_write);
                each(&mut meter.output);
                each(&mut meter.call);
            }
            RemotePrice::Hourly { per_unit_hour, .. } => each(per_unit_hour),
            RemotePrice::Free => {}
        }
    }
    for tool in &mut scenario.tools {
        each(&mut tool.per_call);
        each(&mut tool.per_hour);
    }
    scenario.tasks.iter_mut().for_each(|task| each(&mut task.observability));
}

/// Every amount of an outcome.
fn each_amount(outcome: &mut Outcome, each: impl Fn(&mut Money)) {
    outcome.series.windows.iter_mut().for_each(|window| each(&mut window.metered));
    for task in &mut outcome.tasks {
        each(&mut task.spend);
        each(&mut task.wasted);
    }
    for tool in &mut outcome.tools {
        each(&mut tool.spend);
        each(&mut tool.wasted);
    }
    outcome.tenants.iter_mut().for_each(|tenant| each(&mut tenant.spend));
    outcome.ledger.gpu.iter_mut().for_each(|account| each(&mut account.per_gpu_hour));
}

fn double(amount: &mut Money) {
    amount.0 *= 2;
}

/// The same without what reads the bill.
fn without_limits(mut scenario: Scenario) -> Scenario {
    scenario.spend_limits.clear();
    scenario
}

/// Hourly prices that are whole per picosecond.
fn per_picosecond(scenario: &mut Scenario) {
    scenario.pools.iter_mut().for_each(|pool| pool.price_per_gpu_hour.0 = HOUR * 3);
    scenario.tools.iter_mut().for_each(|tool| tool.per_hour.0 = HOUR);
    for remote in &mut scenario.remotes {
        if let RemotePrice::Hourly { per_unit_hour, .. } = &mut remote.price {
            per_unit_hour.0 = HOUR * 2;
        }
    }
}

/// The whole bill of a run.
fn bill(scenario: &Scenario, outcome: &Outcome) -> i128 {
    let again = |_: &Scenario, _: u64, _: u32| Ok(outcome.clone());
    let plan =
        Plan { seed: 0, replications: Sample::Fixed(1), threads: Some(1), ..Plan::default() };
    let result = experiments::run(scenario, &plan, &[], &again, &NoProgress).expect("it is there");
    result.spend.total.0
}

fn check(scenario: Scenario, seed: u64) -> Result<(), TestCaseError> {
    let mut scenario = without_limits(scenario);
    per_picosecond(&mut scenario);
    let mut dearer = scenario.clone();
    each_price(&mut dearer, double);
    let ((mut once, kept), (twice, kept_twice)) =
        (record(&scenario, seed, 0), record(&dearer, seed, 0));
    prop_assert_eq!(2 * bill(&scenario, &once), bill(&dearer, &twice));
    each_amount(&mut once, double);
    prop_assert_eq!(once, twice);
    prop_assert_eq!(kept.calls, kept_twice.calls);
    let doubled = kept.tasks.into_iter().map(|mut task| {
        [&mut task.spend, &mut task.billed, &mut task.wasted].into_iter().for_each(double);
        task
    });
    prop_assert_eq!(doubled.collect::<Vec<_>>(), kept_twice.tasks);
    let doubled = kept.attempts.into_iter().map(|mut attempt| {
        double(&mut attempt.cost);
        attempt
    });
    prop_assert_eq!(doubled.collect::<Vec<_>>(), kept_twice.attempts);
    Ok(())
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn doubling_every_price_doubles_what_tasks_cost(scenario in any::scenarios(), seed in any::<u64>()) {
        check(scenario, seed)?;
    }

    #[test]
    fn doubling_every_price_doubles_what_calls_cost(scenario in swarm::scenarios(), seed in any::<u64>()) {
        check(scenario, seed)?;
    }

    #[test]
    fn rent_at_twice_the_price_is_twice_the_rent_to_the_pico_dollar(
        time in 0u64..u64::MAX / 4,
        price in 0i64..i64::MAX / 4,
    ) {
        let [once, twice] = [1, 2].map(|n| rent(time.into(), Money(n * i128::from(price))).0);
        prop_assert!((0..=1).contains(&(twice - 2 * once)), "{once} and {twice}");
    }
}

/// One price left as it was is seen, and so is a spend limit that reads the bill.
#[test]
fn a_price_left_as_it_was_is_seen() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut forgotten, mut limited) = (0, 0);
    for seed in 0..60 {
        let scenario = any::scenarios().new_tree(&mut runner).expect("a scenario").current();
        let spend = |s: &Scenario| -> i128 {
            let outcome = Simulation::new(s, seed, 0).run();
            outcome.tasks.iter().map(|task| task.spend.0).sum()
        };
        let doubled = |base: &Scenario| {
            let mut dearer = base.clone();
            each_price(&mut dearer, double);
            dearer
        };
        let free = without_limits(scenario.clone());
        let mut one = doubled(&free);
        one.tools[0].per_call = free.tools[0].per_call;
        forgotten += u32::from(spend(&one) != 2 * spend(&free));
        limited += u32::from(spend(&doubled(&scenario)) != 2 * spend(&scenario));
    }
    assert!(forgotten > 5 && limited > 5, "{forgotten} and {limited} of 60");
}
