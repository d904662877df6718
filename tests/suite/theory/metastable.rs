//! A trigger that passes and an overload that stays: clients that time out and try again.
//!
//! Whoever waits longer than the timeout sends another attempt while the first stays in the queue
//! and is worked on in vain. Once the backlog is longer than the timeout, every call costs
//! `max_attempts` times the work, so the backlog drains only below `capacity / max_attempts`, and
//! the system is stuck above (Bronson and others, "Metastable failures in distributed systems",
//! HotOS 2021). The trigger is an outage of a minute in which attempts hang.
//!
//! Deliberately absent: loads within a tenth of a threshold, where chance decides.

use crate::hosted::{model, remote, serving, source};
use crate::station::poisson;
use sim::Simulation;
use sim::backends::{Discipline, Incident};
use sim::dist::DurationDist;
use sim::ids::ModelId;
use sim::resilience::{Backoff, Failure, FailureSet, Jitter, RetrySpec};
use sim::scenario::Scenario;
use sim::tasks::TaskSpec;
use sim::units::{Span, Time};

/// Load over capacity, calls counted once, and attempts of a call in all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retries {
    pub(crate) load: f64,
    pub(crate) max_attempts: u32,
}

/// Servers with a mean service of 200 ms: a capacity of 100 calls a second.
const SERVERS: u32 = 20;
const CAPACITY: f64 = 100.0;
/// When the outage begins, its length, and from when on the calls are judged.
const OUTAGE: (u64, u64) = (100, 60);
const JUDGED: (u64, u64) = (1_800, 2_100);

fn scenario(case: &Retries, outage: bool) -> Scenario {
    let mean = Span::from_millis(200);
    let service = DurationDist::Exponential { mean };
    let mut place = serving(remote(Some(SERVERS), None, Discipline::Fifo), service);
    if outage {
        place.incidents = vec![Incident {
            at: Time::ZERO.after(Span::from_secs(OUTAGE.0)),
            length: Span::from_secs(OUTAGE.1),
            error_rate: 1.0,
            slowness: 1.0,
            error_after: Span::from_secs(30),
        }];
    }
    let mut patient = model(0);
    patient.guards.timeout = Some(Span::from_secs(3));
    patient.guards.cancel_on_timeout = false;
    patient.guards.retry = Some(RetrySpec {
        max_attempts: case.max_attempts,
        on: FailureSet::default().with(Failure::Timeout).with(Failure::ServerError),
        backoff: Backoff::Exponential {
            initial: Span::from_millis(100),
            factor: 1.0,
            max: Span::from_millis(100),
            jitter: Jitter::Full,
        },
        respect_retry_after: true,
        budget: None,
    });
    let horizon = Span::from_secs(JUDGED.1);
    Scenario {
        horizon,
        warm_up: Span::from_secs(JUDGED.0),
        tasks: vec![TaskSpec::one_call("call", ModelId(0))],
        sources: vec![source(poisson(case.load * CAPACITY), 1)],
        models: vec![patient],
        remotes: vec![place],
        window: horizon,
        ..Scenario::default()
    }
}

/// Share of the late calls that succeed.
fn success(case: &Retries, outage: bool) -> Result<f64, String> {
    let outcome = Simulation::new(&scenario(case, outage), 3, 0).run();
    if !outcome.audit.is_empty() {
        return Err(outcome.audit.join("; "));
    }
    Ok(outcome.tasks[0].succeeded as f64 / outcome.tasks[0].arrived as f64)
}

/// Whether all or none of the late calls succeed; anything between is an error.
fn is_healthy(case: &Retries, outage: bool) -> Result<bool, String> {
    match success(case, outage)? {
        share if share > 0.99 => Ok(true),
        share if share < 0.05 => Ok(false),
        share => Err(format!("{case:?}, outage {outage}: {share} of the late calls succeed")),
    }
}

/// Whether a case lies a tenth away from both thresholds.
pub(crate) fn is_clear(case: &Retries) -> bool {
    let far = |ratio: f64| (ratio - 1.0).abs() >= 0.1;
    far(case.load) && far(case.load * f64::from(case.max_attempts))
}

/// Whether it carries its load, but not any more once an outage has come and gone.
pub(crate) fn is_vulnerable(case: &Retries) -> Result<bool, String> {
    Ok(is_healthy(case, false)? && !is_healthy(case, true)?)
}

/// Below the threshold an outage of a minute is forgotten, above it never; and without the outage
/// both are well.
#[test]
fn an_outage_is_forgotten_below_the_threshold_and_never_above() {
    let healthy = |load, max_attempts, outage| {
        is_healthy(&Retries { load, max_attempts }, outage).expect("all or nothing")
    };
    for max_attempts in [2, 3, 5] {
        let threshold = 1.0 / f64::from(max_attempts);
        assert!(healthy(0.85 * threshold, max_attempts, true), "{max_attempts} below");
        assert!(healthy(1.2 * threshold, max_attempts, false), "{max_attempts} undisturbed");
        assert!(!healthy(1.2 * threshold, max_attempts, true), "{max_attempts} above");
    }
    // One attempt makes nothing vulnerable.
    assert!(healthy(0.85, 1, true));
}
