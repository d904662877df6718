//! Common random numbers: a policy that never acts leaves every byte of a result alone, and two
//! policies that do act meet the same customers.
//!
//! Every random draw belongs to a request, an attempt or a place, and not to whoever asks first. So
//! switching on what has nothing to do must change nothing: not the order of events, not a count,
//! not a bucket of a histogram, not a pico-dollar. `policies` goes through every key of a policy
//! file, `settings` through what policies come to inside the simulator, on random scenarios, and
//! `arms` compares request by request.
//!
//! Each case is also given in a form that acts, and that has to be seen: a comparison that overlooks
//! a policy at work says nothing about one at rest.

mod arms;
mod keys;
mod policies;
mod settings;
mod worlds;

use experiments::{Halt, NoProgress, Plan, Sample};
use sim::metrics::LimitSeries;
use sim::{Outcome, Scenario, Simulation};

/// Replications of a scenario.
#[derive(Debug, PartialEq)]
struct Runs {
    outcomes: Vec<Outcome>,
    /// What `run` prints in its last line.
    digest: String,
}

/// Two replications.
fn runs(scenario: &Scenario, seed: u64) -> Runs {
    let mut outcomes: Vec<Outcome> =
        (0..2).map(|number| Simulation::new(scenario, seed, number).run()).collect();
    let again = |_: &Scenario, _: u64, number: u32| {
        outcomes.get(number as usize).cloned().ok_or(Halt::Interrupted)
    };
    let plan = Plan { seed, replications: Sample::Fixed(2), threads: Some(1), ..Plan::default() };
    let result =
        experiments::run(scenario, &plan, &[], &again, &NoProgress).expect("both are there");
    let digest = reports::digest::result_sha256(&result);
    outcomes.iter_mut().for_each(leave_out_effort);
    Runs { digest, outcomes }
}

/// One replication, without its digest, which takes far longer than a small simulation.
fn outcome(scenario: &Scenario, seed: u64) -> Runs {
    let mut outcome = Simulation::new(scenario, seed, 1).run();
    leave_out_effort(&mut outcome);
    Runs { digest: String::new(), outcomes: vec![outcome] }
}

/// What says how a result was got and is in none.
fn leave_out_effort(outcome: &mut Outcome) {
    assert_eq!(outcome.audit, Vec::<String>::new());
    // A limit that is never used up has a line of zeros in the series.
    let acts = |limit: &LimitSeries| {
        limit.used_up.iter().any(Option::is_some) || limit.acted.iter().any(|&acted| acted > 0)
    };
    outcome.series.parts.limits.retain(acts);
    for remote in &mut outcome.remotes {
        // What a prompt would find in the prompt cache is looked up for this limit alone.
        remote.measured.charged[UNCACHED_INPUT] = 0;
        remote.whole_run.charged[UNCACHED_INPUT] = 0;
    }
}

/// Its place among the rate limits.
const UNCACHED_INPUT: usize = 2;

/// Part of an outcome as text.
type Part = fn(&Outcome) -> String;

/// The first part in which they differ, by name and as it is.
fn difference(before: &Runs, after: &Runs) -> Option<String> {
    let parts: [(&str, Part); 8] = [
        ("the log", |o| o.log_hash.to_string()),
        ("tasks", |o| format!("{:#?}", o.tasks)),
        ("models", |o| format!("{:#?}", o.models)),
        ("tenants", |o| format!("{:#?}", o.tenants)),
        ("remotes", |o| format!("{:#?}", o.remotes)),
        ("tools", |o| format!("{:#?}", o.tools)),
        ("pools", |o| format!("{:#?}", o.pools)),
        ("the rest", |o| format!("{o:#?}")),
    ];
    for (one, other) in before.outcomes.iter().zip(&after.outcomes).filter(|(a, b)| a != b) {
        for (name, part) in parts {
            let (one, other) = (part(one), part(other));
            if let Some(at) = one.lines().zip(other.lines()).position(|(a, b)| a != b) {
                let lines: Vec<&str> = one.lines().skip(at.saturating_sub(6)).take(9).collect();
                return Some(format!(
                    "{name}: {}, now {:?}",
                    lines.join("\n"),
                    other.lines().nth(at)
                ));
            }
        }
    }
    (before != after).then(|| "only the digest".to_owned())
}
