//! A longer run begins as the shorter one does, byte for byte.
//!
//! Why it must hold: the horizon ends arrivals, and nothing before it can know when that will be.
//! Draws belong to requests and not to the run, so a later end adds requests and changes none.
//! Plans are left out: what one includes is, by its definition, the part of a month that the
//! measured time is.

use crate::conservation::record;
use crate::swarm;
use crate::tasks::{any, cases};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use sim::Scenario;
use sim::record::{CallRecord, TaskRecord};
use sim::units::{Span, Time};
use sim::workload::Arrivals;

/// What had ended before an instant, in the order in which it ended.
fn ended_before(s: &Scenario, seed: u64, at: Span) -> (Vec<CallRecord>, Vec<TaskRecord>) {
    let (_, mut kept) = record(s, seed, (seed % 2) as u32);
    kept.calls.retain(|call| call.ended.0 < at.0);
    kept.tasks.retain(|task| task.ended.0 < at.0);
    (kept.calls, kept.tasks)
}

fn longer(scenario: &Scenario, more: u64) -> Scenario {
    let horizon = scenario.horizon + Span::from_millis(more);
    Scenario { horizon, ..scenario.clone() }
}

/// Five times the traffic in a second from an instant on, where rates are stated.
fn with_spike(mut scenario: Scenario, at: Span) -> Scenario {
    for source in &mut scenario.sources {
        if let Arrivals::Renewal { rate, .. } = &mut source.arrivals {
            rate.spikes.push((Time(at.0), Span::from_secs(1), 5.0));
        }
    }
    scenario
}

fn check(mut scenario: Scenario, seed: u64, more: u64) -> Result<(), TestCaseError> {
    scenario.plans.clear();
    scenario
        .sources
        .iter_mut()
        .filter_map(|s| s.people.tenants.as_mut())
        .for_each(|t| t.plan = None);
    let end = scenario.horizon;
    let short = ended_before(&scenario, seed, end);
    let long = ended_before(&longer(&scenario, more), seed, end);
    prop_assert!(short == long, "{} and {} calls", short.0.len(), long.0.len());
    // What happens after the shorter run is no part of its prefix either.
    let busier = with_spike(longer(&scenario, more), end);
    prop_assert!(short == ended_before(&busier, seed, end), "a spike after the end");
    Ok(())
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn a_longer_run_of_tasks_begins_as_the_shorter_one(
        scenario in any::scenarios(),
        seed in any::<u64>(),
        more in 1u64..20_000,
    ) {
        check(scenario, seed, more)?;
    }

    #[test]
    fn a_longer_run_of_calls_begins_as_the_shorter_one(
        scenario in swarm::scenarios(),
        seed in any::<u64>(),
        more in 1u64..20_000,
    ) {
        check(scenario, seed, more)?;
    }
}

#[test]
fn a_change_before_the_end_of_the_shorter_run_is_seen() {
    let strategy = swarm::open_loop_scenarios();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let seen = (0..40).filter(|&seed| {
        let scenario = strategy.new_tree(&mut runner).expect("a scenario").current();
        let half = Span(scenario.horizon.0 / 2);
        let spiked = with_spike(longer(&scenario, 500), half);
        let end = scenario.horizon;
        ended_before(&scenario, seed, end) != ended_before(&spiked, seed, end)
    });
    assert!(seen.count() > 10);
}
