//! Scenarios run side by side: replication `r` of each sees the same random numbers.
//!
//! Invariants: all arms have the same replications 0, 1, 2, … without gaps, also after an
//! interruption, and leave out the same warm-up; which replications there are depends on the
//! scenarios, the seed and the plan, never on the number of threads.
//!
//! Deliberately absent: what the arms say of each other (see `paired`).

use crate::record::{self, Record};
use crate::replicate::{
    Halt, Phase, Plan, Progress, ReplicateError, Replications, Runner, Sample, StopReason,
};
use crate::stability::Verdict;
use crate::summary;
use crate::warm_up::{self, WarmUp};
use rayon::ThreadPool;
use rayon::prelude::*;
use sim::Scenario;
use sim::metrics::Series;
use sim::units::Span;

/// Replications of the smallest sample that stops by itself, and of the pilot for warm-up.
/// Ten is the usual least for a t interval of simulation output (Law, "Simulation Modeling and
/// Analysis", 5th ed., section 9.4.1, advises at least 3 to 5 and more for skewed output).
pub(crate) const MIN_REPLICATIONS: u32 = 10;
/// Replications after which the precision counts as not reached.
pub(crate) const MAX_REPLICATIONS: u32 = 200;

/// Replications of an arm whose time series are in memory at once.
const AT_ONCE: u32 = 64;

/// Scenarios under way side by side.
pub struct Arms<'a> {
    scenarios: Vec<Scenario>,
    collected: Vec<Collected>,
    warm_up: WarmUp,
    stopped: StopReason,
    crew: Crew<'a>,
}

/// Replications finished so far.
#[derive(Default)]
struct Collected {
    records: Vec<Record>,
    series: Series,
    events: u64,
}

/// What every batch needs.
struct Crew<'a> {
    seed: u64,
    max_events: Option<u64>,
    runner: &'a Runner<'a>,
    progress: &'a dyn Progress,
    /// `None`: rayon's own.
    threads: Option<ThreadPool>,
}

impl<'a> Arms<'a> {
    /// Prepares the scenarios, none of which has been run yet. Where the steady state is asked for,
    /// pilots find the warm-up, and all arms leave out the longest.
    ///
    /// # Errors
    /// The threads could not be started, or a pilot was stopped.
    pub fn new(
        scenarios: &[&Scenario],
        plan: &Plan,
        runner: &'a Runner<'a>,
        progress: &'a dyn Progress,
    ) -> Result<Arms<'a>, ReplicateError> {
        let build = |threads: usize| {
            let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
            builder.build().map_err(|source| ReplicateError::Threads { threads, source })
        };
        let threads = plan.threads.map(build).transpose()?;
        let crew = Crew { seed: plan.seed, max_events: plan.max_events, runner, progress, threads };
        let mut warm_up = WarmUp::Terminating;
        if plan.steady_state {
            for scenario in scenarios {
                warm_up = warm_up.longer(crew.pilot(scenario)?);
            }
        }
        let least = scenarios.iter().map(|scenario| scenario.warm_up).max().unwrap_or_default();
        let removed = least.max(warm_up.cut());
        let measured = |scenario: &&Scenario| Scenario { warm_up: removed, ..(*scenario).clone() };
        Ok(Arms {
            scenarios: scenarios.iter().map(measured).collect(),
            collected: scenarios.iter().map(|_| Collected::default()).collect(),
            warm_up,
            stopped: StopReason::Fixed,
            crew,
        })
    }

    /// Replications that every arm has.
    #[must_use]
    pub fn done(&self) -> u32 {
        self.collected.first().map_or(0, Collected::done)
    }

    /// Runs the replications of a sample.
    ///
    /// # Errors
    /// Not even one was finished.
    pub fn measure(&mut self, sample: Sample) -> Result<(), ReplicateError> {
        let (mut to, most) = match sample {
            Sample::Fixed(n) => (n.max(1), n.max(1)),
            Sample::Auto => (MIN_REPLICATIONS, MAX_REPLICATIONS),
        };
        // An interval that became narrow by luck tends to miss the truth, so a quarter of fresh
        // replications must confirm it (`tests/suite/coverage.rs` measures what is left of this).
        let mut confirming = false;
        loop {
            self.extend_to(to, most)?;
            if self.is_halted() || sample != Sample::Auto {
                return Ok(());
            }
            if self.all_void() {
                self.stopped = StopReason::Unstable;
                return Ok(());
            }
            match self.too_wide() {
                None if confirming || to == MIN_REPLICATIONS || to == most => {
                    self.stopped = StopReason::PrecisionReached;
                    return Ok(());
                }
                None => (confirming, to) = (true, (to + to / 4).min(most)),
                Some((_, widest)) if to == most => {
                    self.stopped = StopReason::PrecisionNotReached(widest);
                    return Ok(());
                }
                Some((factor, _)) => (confirming, to) = (false, next_look(to, factor).min(most)),
            }
        }
    }

    /// Runs replications until every arm has `to` of them, or until it is stopped from outside.
    /// `most` is the largest number there may be in all, for a progress display.
    ///
    /// # Errors
    /// Not even one was finished.
    pub fn extend_to(&mut self, to: u32, most: u32) -> Result<(), ReplicateError> {
        if self.is_halted() {
            return Ok(());
        }
        let halted =
            self.crew.extend(&self.scenarios, &mut self.collected, Phase::Measure, (to, most));
        match halted {
            Some(halt) if self.done() == 0 => Err(ReplicateError::NothingFinished(halt)),
            Some(halt) => {
                self.stopped = StopReason::Halted(halt);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether it was stopped from outside, so that no more replications can be had.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        matches!(self.stopped, StopReason::Halted(_))
    }

    /// What the arms found so far, in the order of the scenarios.
    #[must_use]
    pub fn replications(&self) -> Vec<Replications> {
        let collected = self.collected.iter().zip(&self.scenarios);
        let each = |(found, scenario): (&Collected, &Scenario)| Replications {
            records: found.records.clone(),
            series: found.series.clone(),
            stopped: self.stopped_of(found),
            warm_up: self.warm_up,
            removed: scenario.warm_up,
        };
        collected.map(each).collect()
    }

    /// What the arms found, in the order of the scenarios.
    ///
    /// # Errors
    /// Nothing was run.
    pub fn finish(self) -> Result<Vec<Replications>, ReplicateError> {
        if self.done() == 0 {
            return Err(ReplicateError::NothingFinished(Halt::Interrupted));
        }
        let stopped: Vec<StopReason> =
            self.collected.iter().map(|found| self.stopped_of(found)).collect();
        let parts = self.collected.into_iter().zip(self.scenarios).zip(stopped);
        let each =
            |((found, scenario), stopped): ((Collected, Scenario), StopReason)| Replications {
                records: found.records,
                series: found.series,
                stopped,
                warm_up: self.warm_up,
                removed: scenario.warm_up,
            };
        Ok(parts.map(each).collect())
    }

    /// Why there are no more of one arm.
    fn stopped_of(&self, found: &Collected) -> StopReason {
        match &self.stopped {
            StopReason::PrecisionReached | StopReason::PrecisionNotReached(_)
                if found.is_void() =>
            {
                StopReason::Unstable
            }
            other => other.clone(),
        }
    }

    fn all_void(&self) -> bool {
        self.collected.iter().all(Collected::is_void)
    }

    /// What misses its precision by the largest factor, of all arms whose numbers mean something.
    fn too_wide(&self) -> Option<(f64, String)> {
        let arms = self.scenarios.iter().zip(&self.collected);
        arms.filter(|(_, found)| !found.is_void())
            .filter_map(|(scenario, found)| summary::too_wide(scenario, &found.records))
            .max_by(|a, b| a.0.total_cmp(&b.0))
    }
}

impl Collected {
    fn done(&self) -> u32 {
        self.records.len() as u32
    }

    /// Whether more replications would not make its latency meaningful.
    fn is_void(&self) -> bool {
        summary::stability(&self.records).verdict.is_some_and(Verdict::voids_latency)
    }
}

impl Crew<'_> {
    fn pilot(&self, scenario: &Scenario) -> Result<WarmUp, ReplicateError> {
        let whole = Scenario { warm_up: Span::ZERO, ..scenario.clone() };
        let mut pilot = [Collected::default()];
        let to = (MIN_REPLICATIONS, MIN_REPLICATIONS);
        match self.extend(std::slice::from_ref(&whole), &mut pilot, Phase::Pilot, to) {
            Some(halt) => Err(ReplicateError::NothingFinished(halt)),
            None => Ok(warm_up::find(&pilot[0].series, scenario.horizon)),
        }
    }

    /// Runs replications until there are `to` of each scenario; why not, when stopped before, with
    /// what was finished without a gap by all of them kept.
    fn extend(
        &self,
        scenarios: &[Scenario],
        into: &mut [Collected],
        phase: Phase,
        (to, most): (u32, u32),
    ) -> Option<Halt> {
        let mut done = into.first().map_or(0, Collected::done);
        let arms = scenarios.len() as u32;
        self.progress.batch(phase, to.saturating_sub(done) * arms, most * arms);
        while done < to {
            let upto = to.min(done + AT_ONCE);
            let jobs: Vec<(u32, usize)> =
                (done..upto).flat_map(|r| (0..scenarios.len()).map(move |arm| (r, arm))).collect();
            let one = |(replication, arm): (u32, usize)| {
                let outcome = (self.runner)(&scenarios[arm], self.seed, replication)?;
                self.progress.finished(phase);
                Ok(Record::of(outcome, &scenarios[arm]))
            };
            let run = || jobs.into_par_iter().map(one).collect::<Vec<_>>();
            let finished = match &self.threads {
                Some(pool) => pool.install(run),
                None => run(),
            };
            if let Some(halt) = self.keep(finished, into) {
                return Some(halt);
            }
            done = upto;
        }
        None
    }

    /// Keeps the replications that all arms have finished, up to the first that one of them has not.
    fn keep(
        &self,
        finished: Vec<Result<(Record, Series), Halt>>,
        into: &mut [Collected],
    ) -> Option<Halt> {
        let mut finished = finished.into_iter();
        loop {
            // One replication of every arm; the last chunk is empty.
            let row: Vec<_> = finished.by_ref().take(into.len()).collect();
            if row.is_empty() {
                return None;
            }
            let row = match row.into_iter().collect::<Result<Vec<_>, Halt>>() {
                Ok(row) => row,
                Err(halt) => return Some(halt),
            };
            let events = |(found, (record, _)): (&Collected, &(Record, Series))| {
                found.events + record.outcome.events
            };
            let most = into.iter().zip(&row).map(events).max().unwrap_or_default();
            if let Some(limit) = self.max_events.filter(|&limit| most > limit) {
                return Some(Halt::Limit(format!("--max-events {limit}")));
            }
            for (found, (record, series)) in into.iter_mut().zip(row) {
                found.events += record.outcome.events;
                record::add_series(&mut found.series, &series);
                found.records.push(record);
            }
        }
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
