//! Runs replications in parallel and keeps what the estimates need, in order.
//!
//! Invariants: replication `r` is a function of (scenario, seed, `r`) alone; batches have sizes
//! that do not depend on the number of threads, and records are put back by index, so neither
//! does anything else; what counts is always a prefix 0, 1, 2, … without gaps, also after an
//! interruption.
//!
//! Deliberately absent: the simulator (a [`Runner`] is handed in) and any interval (see
//! `summary`), except the one question whether the precision asked for is reached.

use crate::record::{self, Record};
use crate::stability::Verdict;
use crate::summary;
use crate::warm_up::{self, WarmUp};
use rayon::prelude::*;
use sim::metrics::Series;
use sim::units::Span;
use sim::{Outcome, Scenario};

/// Replications of the smallest sample that stops by itself, and of the pilot for warm-up.
/// Ten is the usual least for a t interval of simulation output (Law, "Simulation Modeling and
/// Analysis", 5th ed., section 9.4.1, advises at least 3 to 5 and more for skewed output).
pub(crate) const MIN_REPLICATIONS: u32 = 10;
/// Replications after which the precision counts as not reached.
pub(crate) const MAX_REPLICATIONS: u32 = 200;

/// Replications whose time series are in memory at once.
const AT_ONCE: u32 = 64;

/// Runs one replication of a scenario: `(scenario, seed, replication)`. `None` when it was
/// stopped from outside before its end.
pub type Runner<'a> = dyn Fn(&Scenario, u64, u32) -> Option<Outcome> + Sync + 'a;

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
    /// A few more with times as far off as their calibration allows.
    Calibration,
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
    let batches = Batches { seed: plan.seed, runner, progress };
    let Some(threads) = plan.threads else { return batches.replicate(scenario, plan) };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|source| ReplicateError::Threads { threads, source })?
        .install(|| batches.replicate(scenario, plan))
}

/// What every batch needs.
struct Batches<'a> {
    seed: u64,
    runner: &'a Runner<'a>,
    progress: &'a dyn Progress,
}

impl Batches<'_> {
    fn replicate(&self, scenario: &Scenario, plan: &Plan) -> Result<Replications, ReplicateError> {
        let warm_up = if plan.steady_state { self.pilot(scenario)? } else { WarmUp::Terminating };
        let mut measured = scenario.clone();
        measured.warm_up = scenario.warm_up.max(warm_up.cut());
        let removed = measured.warm_up;
        let mut sample = Collected::default();
        let stopped = self.measure(&measured, plan.replications, &mut sample);
        let Collected { records, series } = sample;
        if records.is_empty() {
            return Err(ReplicateError::NothingFinished);
        }
        Ok(Replications { records, series, stopped, warm_up, removed })
    }

    fn pilot(&self, scenario: &Scenario) -> Result<WarmUp, ReplicateError> {
        let whole = Scenario { warm_up: Span::ZERO, ..scenario.clone() };
        let mut pilot = Collected::default();
        let to = MIN_REPLICATIONS;
        if self.extend(&mut pilot, &whole, Phase::Pilot, to, to) {
            Ok(warm_up::find(&pilot.series, scenario.horizon))
        } else {
            Err(ReplicateError::NothingFinished)
        }
    }

    fn measure(&self, scenario: &Scenario, sample: Sample, into: &mut Collected) -> StopReason {
        let (mut to, most) = match sample {
            Sample::Fixed(n) => (n.max(1), n.max(1)),
            Sample::Auto => (MIN_REPLICATIONS, MAX_REPLICATIONS),
        };
        // An interval that became narrow by luck tends to miss the truth, so a quarter of fresh
        // replications must confirm it (`tests/suite/coverage.rs` measures what is left of this).
        let mut confirming = false;
        loop {
            if !self.extend(into, scenario, Phase::Measure, to, most) {
                return StopReason::Interrupted;
            }
            if sample != Sample::Auto {
                return StopReason::Fixed;
            }
            let verdict = summary::stability(&into.records).verdict;
            if verdict.is_some_and(Verdict::voids_latency) {
                return StopReason::Unstable;
            }
            match summary::too_wide(scenario, &into.records) {
                None if confirming || to == MIN_REPLICATIONS || to == most => {
                    return StopReason::PrecisionReached;
                }
                None => (confirming, to) = (true, (to + to / 4).min(most)),
                Some((_, widest)) if to == most => return StopReason::PrecisionNotReached(widest),
                Some((factor, _)) => (confirming, to) = (false, next_look(to, factor).min(most)),
            }
        }
    }

    /// Runs replications until there are `to`; false when stopped before, with what was finished
    /// without a gap kept.
    fn extend(
        &self,
        into: &mut Collected,
        scenario: &Scenario,
        phase: Phase,
        to: u32,
        most: u32,
    ) -> bool {
        let done = |into: &Collected| into.records.len() as u32;
        self.progress.batch(phase, to - done(into), most);
        let one = |index: u32| {
            let outcome = (self.runner)(scenario, self.seed, index)?;
            self.progress.finished(phase);
            Some(Record::of(outcome, scenario))
        };
        while done(into) < to {
            let (from, upto) = (done(into), to.min(done(into) + AT_ONCE));
            let finished: Vec<_> = (from..upto).into_par_iter().map(one).collect();
            for (record, series) in finished.into_iter().map_while(|one| one) {
                record::add_series(&mut into.series, &series);
                into.records.push(record);
            }
            if done(into) < upto {
                return false;
            }
        }
        true
    }
}

/// At how many replications to look again when the widest interval of `n` is `factor` times too
/// wide: where it should be narrow enough, a tenth added, since widths shrink with `√n`. Looking
/// more often would stop too often at an interval that is narrow by luck and misses the truth.
fn next_look(n: u32, factor: f64) -> u32 {
    let needed = f64::from(n) * factor * factor * 1.1;
    // The cast holds at the largest integer for an infinite factor.
    (needed as u32).max(n.saturating_add(MIN_REPLICATIONS))
}

/// Replications finished so far.
#[derive(Default)]
struct Collected {
    records: Vec<Record>,
    series: Series,
}
