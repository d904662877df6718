//! What a simulation may take: until when, how much memory, how many events; and Ctrl-C.
//!
//! Invariants: a limit ends the work, never changes a number: what was finished before counts, and
//! the report and the exit code say that it was stopped. Events are limited in the order of the
//! replications, so that the same ones count on any number of threads; time and memory are not
//! under our control, and what they leave may differ from run to run.
//!
//! Deliberately absent: a guess of what the work will take.

use crate::error::Error;
use crate::progress::stop_flag;
use experiments::Halt;
use scenarios::quantity;
use sim::{Outcome, Scenario, Simulation};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The limits of one command, as they were asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Limits {
    /// Stop when the replications of a run have taken this many events; those that fit count.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_events: Option<u64>,
    /// Stop when this program uses more memory, "2GiB"; what is finished counts.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_memory: Option<(u64, String)>,
    /// Stop after this time, "60s"; what is finished counts.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) max_wall: Option<(Duration, String)>,
}

fn size(text: &str) -> Result<(u64, String), String> {
    let bytes = quantity::bytes(text).map_err(|error| error.to_string())?.0;
    if !cfg!(target_os = "linux") {
        return Err("the memory in use can be watched on Linux only".to_owned());
    }
    Ok((bytes, text.to_owned()))
}

fn time(text: &str) -> Result<(Duration, String), String> {
    let span = quantity::span(text).map_err(|error| error.to_string())?;
    if span.0 == 0 {
        return Err("it has to be longer than nothing".to_owned());
    }
    Ok((Duration::from_secs_f64(span.as_secs_f64()), text.to_owned()))
}

/// Runs replications while the limits and the user allow it.
pub(crate) struct Watch {
    limits: Limits,
    since: Instant,
    stop: &'static AtomicBool,
    /// The limit that was reached first.
    reached: Mutex<Option<Halt>>,
    is_over: AtomicBool,
    findings: Mutex<Vec<String>>,
}

impl Watch {
    /// From now on.
    pub(crate) fn begin(limits: &Limits) -> Watch {
        Watch {
            limits: limits.clone(),
            since: Instant::now(),
            stop: stop_flag(),
            reached: Mutex::default(),
            is_over: AtomicBool::new(false),
            findings: Mutex::default(),
        }
    }

    /// What runs one replication.
    pub(crate) fn runner(&self) -> impl Fn(&Scenario, u64, u32) -> Result<Outcome, Halt> + Sync {
        |scenario: &Scenario, seed: u64, replication: u32| {
            if self.must_stop() {
                return Err(self.halt());
            }
            let simulation = Simulation::new(scenario, seed, replication);
            let too_many = |events| self.limits.max_events.is_some_and(|most| events > most);
            let (outcome, _) = simulation.run_with(&|events| too_many(events) || self.must_stop());
            let outcome = outcome.ok_or_else(|| self.halt())?;
            if let (false, Ok(mut found)) = (outcome.audit.is_empty(), self.findings.lock()) {
                found.extend(outcome.audit.iter().cloned());
            }
            Ok(outcome)
        }
    }

    /// A failed audit of any replication is a bug, not a result.
    pub(crate) fn audited(&self) -> Result<(), Error> {
        let findings = self.findings.lock();
        match findings.ok().as_deref().and_then(|found| found.first()) {
            Some(finding) => Err(Error::Bug(format!("the audit found: {finding}"))),
            None => Ok(()),
        }
    }

    /// Whether the work has to end now.
    pub(crate) fn must_stop(&self) -> bool {
        if self.stop.load(Ordering::Relaxed) || self.is_over.load(Ordering::Relaxed) {
            return true;
        }
        let Some(limit) = self.over() else { return false };
        if let Ok(mut reached) = self.reached.lock() {
            reached.get_or_insert(Halt::Limit(limit));
        }
        self.is_over.store(true, Ordering::Relaxed);
        true
    }

    /// The limit that is behind us.
    fn over(&self) -> Option<String> {
        if let Some((most, text)) = &self.limits.max_wall
            && self.since.elapsed() >= *most
        {
            return Some(format!("--max-wall {text}"));
        }
        if let Some((most, text)) = &self.limits.max_memory
            && resident_bytes().is_some_and(|bytes| bytes > *most)
        {
            return Some(format!("--max-memory {text}"));
        }
        None
    }

    /// Why a replication was stopped: if by nothing that holds for all of them, by its own events.
    fn halt(&self) -> Halt {
        let reached = self.reached.lock().ok().and_then(|reached| reached.clone());
        match (reached, self.limits.max_events) {
            (Some(halt), _) => halt,
            (None, Some(most)) if !self.stop.load(Ordering::Relaxed) => {
                Halt::Limit(format!("--max-events {most}"))
            }
            (None, _) => Halt::Interrupted,
        }
    }
}

/// Memory of this process that is in use, as Linux tells it; `None` elsewhere.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}
