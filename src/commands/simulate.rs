//! What every simulating command begins with: a case, a plan, and what runs replications.

use super::blueprint;
use crate::args::{Simulating, Source};
use crate::error::{Error, halt_code};
use crate::limits::Watch;
use experiments::determinism::check_determinism;
use experiments::{Case, ExitStatus, ObjectiveResult, Plan, ReplicateError, Sample, StopReason};
use scenarios::Resolved;
use sim::{Scenario, Simulation};
use std::cell::Cell;

/// Events of a run compared with its twin between two looks at the limits.
const LOOK: u64 = 4_096;

/// Loads a scenario and prepares it to be judged.
pub(super) fn case(source: &Source) -> Result<Case, Error> {
    let resolved = blueprint(source)?.resolve(&source.set)?;
    prepared(resolved)
}

/// Prepares a scenario to be judged.
pub(super) fn prepared(resolved: Resolved) -> Result<Case, Error> {
    Case::new(resolved).map_err(Error::Usage)
}

/// What the file asks for, and the command line instead.
pub(super) fn plan(args: &Simulating, case: &Case) -> Plan {
    let stated = case.plan();
    Plan {
        seed: args.seed.unwrap_or(stated.seed),
        replications: args.replications.map_or(stated.replications, Sample::Fixed),
        threads: args.threads.map(|n| n as usize),
        max_events: args.limits.max_events,
        ..stated
    }
}

/// Compares two runs of replication 0 event by event, where that is asked for.
pub(super) fn lockstep(
    args: &Simulating,
    scenario: &Scenario,
    seed: u64,
    watch: &Watch,
) -> Result<(), Error> {
    if !args.check_determinism {
        return Ok(());
    }
    let stopped = Cell::new(false);
    let start = || {
        let mut simulation = Simulation::new(scenario, seed, 0);
        let (stopped, mut events) = (&stopped, 0_u64);
        std::iter::from_fn(move || {
            if stopped.get() || events.is_multiple_of(LOOK) && watch.stops(events) {
                stopped.set(true);
                return None;
            }
            events += 1;
            simulation.step()
        })
    };
    let compared = check_determinism(start);
    if stopped.get() {
        return Err(Error::Halted(watch.halt()));
    }
    let events = compared.map_err(|error| Error::Bug(error.to_string()))?;
    if !args.quiet {
        crate::output::tell!("determinism: {events} events of replication 0 are equal in two runs");
    }
    Ok(())
}

/// What loading noticed, for commands whose report on stdout does not say it.
pub(super) fn warn(resolved: &Resolved) {
    for warning in &resolved.warnings {
        crate::output::tell!("warning: {}: {}", warning.site.place, warning.message);
    }
}

/// Why there are no replications at all.
pub(super) fn failed(error: ReplicateError) -> Error {
    match error {
        ReplicateError::NothingFinished(halt) => Error::Halted(halt),
        threads => Error::Usage(threads.to_string()),
    }
}

/// The exit code of a command that judged objectives.
pub(super) fn code(stopped: &StopReason, objectives: &[ObjectiveResult]) -> u8 {
    match stopped {
        StopReason::Halted(halt) => halt_code(halt),
        _ => ExitStatus::of(objectives).code(),
    }
}
