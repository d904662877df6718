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
use sim::record::{Discard, Recorder};
use sim::{Outcome, Scenario, Simulation};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The limits of one command, as they were asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Limits {
    /// Stop when the replications of a run have taken this many events; those that fit count.
    #[arg(long, value_name = "N", value_parser = events)]
    pub(crate) max_events: Option<u64>,
    /// Stop when this program uses more memory, "2GiB"; what is finished counts.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_memory: Option<(u64, String)>,
    /// Stop after this time, "60s"; what is finished counts.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) max_wall: Option<(Duration, String)>,
}

/// Why a limit is refused that would let nothing begin.
const NOTHING: &str = "it has to be more than nothing";

fn events(text: &str) -> Result<u64, String> {
    let right = || "write a whole number from 1 up, like 5000000".to_owned();
    text.parse().ok().filter(|&most| most > 0).ok_or_else(right)
}

fn size(text: &str) -> Result<(u64, String), String> {
    let refused = |error| format!("{error}; write a size like 2GiB or 500MB");
    let bytes = quantity::bytes(text).map_err(refused)?.0;
    if bytes == 0 {
        return Err(NOTHING.to_owned());
    }
    if !cfg!(target_os = "linux") {
        return Err("the memory in use can be watched on Linux only".to_owned());
    }
    Ok((bytes, text.to_owned()))
}

fn time(text: &str) -> Result<(Duration, String), String> {
    let refused = |error| format!("{error}; write a time like 60s or 10m, up to 213d");
    let span = quantity::span(text).map_err(refused)?;
    if span.0 == 0 {
        return Err(NOTHING.to_owned());
    }
    Ok((Duration::from_secs_f64(span.as_secs_f64()), text.to_owned()))
}

/// Runs replications while the limits and the user allow it.
pub(crate) struct Watch {
    limits: Limits,
    since: Instant,
    stop: &'static AtomicBool,
    /// Set when nobody waits for the result any more.
    unwanted: Arc<AtomicBool>,
    /// The limit that was reached first.
    reached: Mutex<Option<Halt>>,
    is_over: AtomicBool,
    findings: Mutex<Vec<String>>,
}

impl Watch {
    /// From now on.
    pub(crate) fn begin(limits: &Limits) -> Watch {
        Watch::begin_unless(limits, Arc::default())
    }

    /// From now on, until somebody sets the flag.
    pub(crate) fn begin_unless(limits: &Limits, unwanted: Arc<AtomicBool>) -> Watch {
        Watch {
            limits: limits.clone(),
            since: Instant::now(),
            stop: stop_flag(),
            unwanted,
            reached: Mutex::default(),
            is_over: AtomicBool::new(false),
            findings: Mutex::default(),
        }
    }

    /// What runs one replication.
    pub(crate) fn runner(&self) -> impl Fn(&Scenario, u64, u32) -> Result<Outcome, Halt> + Sync {
        |scenario: &Scenario, seed: u64, replication: u32| {
            self.replicate(scenario, (seed, replication), Discard).map(|(outcome, _)| outcome)
        }
    }

    /// Runs one replication, under a seed, and records it.
    pub(crate) fn replicate<R: Recorder>(
        &self,
        scenario: &Scenario,
        which: (u64, u32),
        recorder: R,
    ) -> Result<(Outcome, R), Halt> {
        self.replicate_pausing(scenario, which, recorder, &|| ())
    }

    /// The same; `pause`, which may take its time, is called first and now and then.
    pub(crate) fn replicate_pausing<R: Recorder>(
        &self,
        scenario: &Scenario,
        (seed, replication): (u64, u32),
        recorder: R,
        pause: &dyn Fn(),
    ) -> Result<(Outcome, R), Halt> {
        pause();
        if self.must_stop() {
            return Err(self.halt());
        }
        let simulation = Simulation::recording(scenario, seed, replication, recorder);
        let (outcome, recorder) = simulation.run_with(&|events| {
            pause();
            self.stops(events)
        });
        let outcome = outcome.ok_or_else(|| self.halt())?;
        if let (false, Ok(mut found)) = (outcome.audit.is_empty(), self.findings.lock()) {
            found.extend(outcome.audit.iter().cloned());
        }
        Ok((outcome, recorder))
    }

    /// A failed audit of any replication is a bug, not a result.
    pub(crate) fn audited(&self) -> Result<(), Error> {
        let findings = self.findings.lock();
        match findings.ok().as_deref().and_then(|found| found.first()) {
            Some(finding) => Err(Error::Bug(format!("the audit found: {finding}"))),
            None => Ok(()),
        }
    }

    /// Whether a replication that has taken so many events goes no further.
    pub(crate) fn stops(&self, events: u64) -> bool {
        self.limits.max_events.is_some_and(|most| events > most) || self.must_stop()
    }

    /// Whether the work has to end now.
    pub(crate) fn must_stop(&self) -> bool {
        if self.is_asked_to_stop() || self.is_over.load(Ordering::Relaxed) {
            return true;
        }
        let Some(limit) = self.over() else { return false };
        if let Ok(mut reached) = self.reached.lock() {
            reached.get_or_insert(Halt::Limit(limit));
        }
        self.is_over.store(true, Ordering::Relaxed);
        true
    }

    fn is_asked_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.unwanted.load(Ordering::Relaxed)
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
    pub(crate) fn halt(&self) -> Halt {
        let reached = self.reached.lock().ok().and_then(|reached| reached.clone());
        match (reached, self.limits.max_events) {
            (Some(halt), _) => halt,
            (None, Some(most)) if !self.is_asked_to_stop() => {
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
