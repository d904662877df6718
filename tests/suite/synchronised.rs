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

mod keys;
mod policies;
mod worlds;

use experiments::{NoProgress, Plan, Sample};
use sim::{Outcome, Scenario, Simulation};

/// Two replications of a scenario.
#[derive(Debug, PartialEq)]
struct Runs {
    outcomes: Vec<Outcome>,
    /// What `run` prints in its last line.
    digest: String,
}

fn runs(scenario: &Scenario, seed: u64) -> Runs {
    let mut outcomes: Vec<Outcome> =
        (0..2).map(|number| Simulation::new(scenario, seed, number).run()).collect();
    let again = |_: &Scenario, _: u64, number: u32| outcomes.get(number as usize).cloned();
    let plan = Plan { seed, replications: Sample::Fixed(2), threads: Some(1), steady_state: false };
    let result =
        experiments::run(scenario, &plan, &[], &again, &NoProgress).expect("both are there");
    let digest = reports::digest::result_sha256(&result);
    for outcome in &mut outcomes {
        assert_eq!(outcome.audit, Vec::<String>::new());
        // Effort, not a result: what the router sees of replicas is refreshed by events, for a
        // single replica too.
        outcome.events = 0;
    }
    Runs { digest, outcomes }
}

/// The first part in which they differ, by name and as it is.
fn difference(before: &Runs, after: &Runs) -> Option<String> {
    let parts: [(&str, fn(&Outcome) -> String); 8] = [
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
            let changed = one.lines().zip(other.lines()).find(|(a, b)| a != b);
            if one != other {
                return Some(format!("{name}: {changed:?}"));
            }
        }
    }
    (before != after).then(|| "only the digest".to_owned())
}
