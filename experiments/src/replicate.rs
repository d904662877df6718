//! Runs replications in parallel and keeps what the estimates need, in order.
//!
//! Invariants: replication `r` is a function of (scenario, seed, `r`) alone; batches have sizes
//! that do not depend on the number of threads, and records are put back by index, so neither
//! does anything else; what counts is always a prefix 0, 1, 2, … without gaps, also after an
//! interruption.
//!
//! Deliberately absent: the simulator (a [`Runner`] is handed in) and any interval (see
//! `summary`), except the one question whether the precision asked for is reached.

use crate::record::Record;
use crate::warm_up::WarmUp;
use sim::metrics::Series;
use sim::units::Span;
use sim::{Outcome, Scenario};

/// Replications of the smallest sample that stops by itself, and of the pilot for warm-up.
/// Ten is the usual least for a t interval of simulation output (Law, "Simulation Modeling and
/// Analysis", 5th ed., section 9.4.1, advises at least 3 to 5 and more for skewed output).
pub(crate) const MIN_REPLICATIONS: u32 = 10;
/// Replications after which the precision counts as not reached.
pub(crate) const MAX_REPLICATIONS: u32 = 200;

/// Runs one replication of a scenario: `(scenario, seed, replication)`. `None` when it was
/// stopped from outside before its end.
pub type Runner<'a> = dyn Fn(&Scenario, u64, u32) -> Option<Outcome> + Sync + 'a;

/// How many replications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// So many; zero counts as one.
    Fixed(u32),
    /// At least [`MIN_REPLICATIONS`], until the relative half-width of the p95 of each task is at
    /// most 5 % and that of the spend at most 1 %, at most [`MAX_REPLICATIONS`].
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
    /// The system is unstable: more replications would not make its latency meaningful.
    Unstable,
    /// Stopped from outside.
    Interrupted,
}

/// What is being done, for a progress display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Looking for the warm-up.
    Pilot,
    /// The replications that count.
    Measure,
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
    #[error("stopped before the first replication was finished")]
    NothingFinished,
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
