//! What to run, and what running it gives: a plan, a runner and the finished replications.
//!
//! Invariants: replication `r` is a function of (scenario, seed, `r`) alone; what counts is always a
//! prefix 0, 1, 2, … without gaps, also after an interruption.
//!
//! Deliberately absent: the simulator (a [`Runner`] is handed in), how the work is spread over
//! threads (see `arms`) and any interval (see `summary`).

use crate::arms::Arms;
use crate::record::Record;
use crate::warm_up::WarmUp;
use sim::metrics::Series;
use sim::units::Span;
use sim::{Outcome, Scenario};

/// Runs one replication of a scenario: `(scenario, seed, replication)`.
pub type Runner<'a> = dyn Fn(&Scenario, u64, u32) -> Result<Outcome, Halt> + Sync + 'a;

/// Why a replication was stopped before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// From outside.
    #[error("interrupted")]
    Interrupted,
    /// A limit on what the work may take was reached; which, in words.
    #[error("stopped at {0}")]
    Limit(String),
}

/// How many replications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// So many; zero counts as one.
    Fixed(u32),
    /// At least 10, until the relative half-width of the p95 of each task is at
    /// most 5 % and that of the spend at most 1 %, confirmed by a quarter more, at most 200.
    Auto,
}

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Seed of all replications.
    pub seed: u64,
    /// How many.
    pub replications: Sample,
    /// Threads; `None`: rayon's own choice. The result does not depend on it.
    pub threads: Option<usize>,
    /// Whether the start-up is to be found and removed (otherwise the run is taken as it is, its
    /// start included).
    pub steady_state: bool,
    /// Events that all replications together may take: the one that goes beyond does not count any
    /// more, whatever the number of threads. `None`: no limit.
    pub max_events: Option<u64>,
}

impl Default for Plan {
    /// As many replications as the precision needs, under seed 1, of a run that is taken as it is.
    fn default() -> Plan {
        Plan {
            seed: 1,
            replications: Sample::Auto,
            threads: None,
            steady_state: false,
            max_events: None,
        }
    }
}

/// Why no more replications were run.
#[derive(Clone, Debug, PartialEq)]
pub enum StopReason {
    /// The number asked for was run.
    Fixed,
    /// The precision aimed at was reached.
    PrecisionReached,
    /// The cap came first; what was still too wide.
    PrecisionNotReached(String),
    /// The system is unstable or metastable: more replications would not make its latency
    /// meaningful.
    Unstable,
    /// Stopped before, by whom or by what.
    Halted(Halt),
}

/// What is being done, for a progress display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Looking for the warm-up.
    Pilot,
    /// The replications that count.
    Measure,
    /// A few more with times as far off as their calibration allows.
    Calibration,
    /// Variants that may or may not be of use.
    Search,
}

/// Told about progress from several threads at once.
pub trait Progress: Sync {
    /// A batch of `replications` begins; `most` is the largest number there may be in all.
    fn batch(&self, phase: Phase, replications: u32, most: u32);
    /// One replication has finished.
    fn finished(&self, phase: Phase);
}

/// Progress that nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn batch(&self, _: Phase, _: u32, _: u32) {}
    fn finished(&self, _: Phase) {}
}

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub enum ReplicateError {
    /// Stopped before replication 0 was finished.
    #[error("{0} before the first replication was finished")]
    NothingFinished(Halt),
    /// The threads could not be started.
    #[error("could not start {threads} threads: ask for fewer")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the system said.
        source: rayon::ThreadPoolBuildError,
    },
}

/// All finished replications.
#[derive(Clone, Debug, PartialEq)]
pub struct Replications {
    /// One per replication, by index; at least one.
    pub records: Vec<Record>,
    /// All series added up, window by window.
    pub series: Series,
    /// Why there are no more.
    pub stopped: StopReason,
    /// What was removed from the start, and how sure that is.
    pub warm_up: WarmUp,
    /// The scenario's warm-up as it was run: the larger of its own and the one found.
    pub removed: Span,
}

/// Runs the replications of `plan`, after a pilot for the warm-up when the steady state is asked
/// for (the scenario's own warm-up then counts as the least).
///
/// # Errors
/// The threads could not be started, or not even one replication was finished.
pub fn replicate(
    scenario: &Scenario,
    plan: &Plan,
    runner: &Runner<'_>,
    progress: &dyn Progress,
) -> Result<Replications, ReplicateError> {
    let mut arms = Arms::new(&[scenario], plan, runner, progress)?;
    arms.measure(plan.replications)?;
    // One scenario, one arm.
    arms.finish().map(|mut all| all.remove(0))
}
