//! A sweep: one scenario in many variants, each measured by itself under the same random numbers.
//!
//! ```text
//! Blueprint + levers + Design ──► Sweep ──► evaluate(cell) ──► Outcome   (in any order, side by side)
//!                                              Outcomes ──► morris::ranking
//! ```
//!
//! Invariants: all cells have the same seed, so replication `r` of each sees the same customers and
//! differences between cells are differences of the system; what a cell gives depends on the sweep
//! and its number alone, never on the other cells or on threads; a combination that the scenario
//! refuses is a result, not an end of the sweep.
//!
//! Deliberately absent: which cells are run where and when, files, and what the error of calibrated
//! times would do to each cell (`run` says it for one).

pub mod design;
pub mod morris;

use crate::case::Case;
use crate::estimate::Estimate;
use crate::metric::Metric;
use crate::replicate::{NoProgress, Plan, ReplicateError, Runner, Sample, StopReason, replicate};
use crate::result::RunResult;
use crate::{summary, work};
use design::{Cells, Design, DesignError};
use scenarios::Blueprint;
use scenarios::resolved::Lever;

/// Keys that everything that is compared has in common, with the reason.
const COMMON: [(&str, &str); 2] = [
    ("scenario.seed", "all share one seed, so that they see the same customers: use --seed"),
    ("scenario.replications", "all have the same number of them: use --replications"),
];

/// Why a key cannot differ between scenarios that are to see the same customers; `None` where it may.
#[must_use]
pub fn common_to_all(key: &str) -> Option<&'static str> {
    COMMON.iter().find(|common| common.0 == key).map(|common| common.1)
}

/// What all cells have in common, and what tells them apart.
#[derive(Clone, Debug)]
pub struct Sweep {
    blueprint: Blueprint,
    set: Vec<String>,
    levers: Vec<Lever>,
    cells: Cells,
    seed: u64,
    replications: Sample,
    max_events: Option<u64>,
}

/// Why there is no sweep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// A lever that would be none.
    #[error("{key} is no lever of a sweep: {why}")]
    Common {
        /// Its key.
        key: String,
        /// Why not.
        why: &'static str,
    },
    /// One key cannot have two values.
    #[error("{0} is varied twice")]
    Twice(String),
    /// What cannot be changed has no effect to be measured.
    #[error("{0} has a single value: an effect needs two or more")]
    Fixed(String),
    /// Too many cells, or too few.
    #[error("{0}")]
    Design(DesignError),
}

/// What became of a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The scenario refuses this combination; the problems in words.
    Refused(String),
    /// It was run.
    Measured(Box<Measured>),
}

/// What a cell found.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// SHA-256 of its scenario, policy and overrides, in hexadecimal.
    pub sha256: String,
    /// Everything, judged by the cell's objectives.
    pub result: RunResult,
    /// Every number that can be judged, with its path and its unit, in the order of [`Metric::all`].
    pub numbers: Vec<(String, &'static str, Estimate)>,
}

impl Sweep {
    /// Lays a design over the levers of a scenario. Its overrides `set` come before those of a cell;
    /// of the `plan`, the seed, the number of replications and the limit on events count for each
    /// cell.
    ///
    /// # Errors
    /// [`SweepError`], before anything is laid out.
    pub fn new(
        blueprint: Blueprint,
        set: Vec<String>,
        levers: Vec<Lever>,
        design: Design,
        plan: &Plan,
    ) -> Result<Sweep, SweepError> {
        for (at, lever) in levers.iter().enumerate() {
            if let Some((_, why)) = COMMON.iter().find(|(key, _)| *key == lever.key) {
                return Err(SweepError::Common { key: lever.key.clone(), why });
            }
            if levers.iter().take(at).any(|other| other.key == lever.key) {
                return Err(SweepError::Twice(lever.key.clone()));
            }
        }
        let counts: Vec<usize> = levers.iter().map(|lever| lever.values.len()).collect();
        let cells = Cells::new(design, &counts, plan.seed).map_err(|error| match error {
            DesignError::Fixed { lever } => SweepError::Fixed(levers[lever].key.clone()),
            other => SweepError::Design(other),
        })?;
        let Plan { seed, replications, max_events, .. } = *plan;
        Ok(Sweep { blueprint, set, levers, cells, seed, replications, max_events })
    }

    /// What is varied, in the order of the columns.
    #[must_use]
    pub fn levers(&self) -> &[Lever] {
        &self.levers
    }

    /// Seed of all cells.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Replications of each cell.
    #[must_use]
    pub fn replications(&self) -> Sample {
        self.replications
    }

    /// Which value of which lever each cell has.
    #[must_use]
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// The key and the value of each lever in a cell.
    #[must_use]
    pub fn overrides(&self, cell: usize) -> Vec<(&str, &str)> {
        let levels = self.cells.levels(cell).into_iter().zip(&self.levers);
        levels.map(|(level, lever)| (lever.key.as_str(), lever.values[level].as_str())).collect()
    }

    /// The scenario of a cell.
    ///
    /// # Errors
    /// What the scenario refuses, in words.
    pub fn case(&self, cell: usize) -> Result<Case, String> {
        let own = self.overrides(cell).into_iter().map(|(key, value)| format!("{key}={value}"));
        let overrides: Vec<String> = self.set.iter().cloned().chain(own).collect();
        let resolved =
            self.blueprint.resolve(&overrides).map_err(|problems| problems.to_string())?;
        Case::new(resolved)
    }

    /// Runs a cell on the threads of the pool it is called in.
    ///
    /// # Errors
    /// It was stopped; what of it was finished is given up.
    pub fn evaluate(&self, cell: usize, runner: &Runner<'_>) -> Result<Outcome, ReplicateError> {
        let case = match self.case(cell) {
            Ok(case) => case,
            Err(problems) => return Ok(Outcome::Refused(problems)),
        };
        let (seed, replications) = (self.seed, self.replications);
        let max_events = self.max_events;
        let plan = Plan { seed, replications, max_events, threads: None, ..case.plan() };
        let scenario = case.scenario();
        let found = replicate(scenario, &plan, runner, &NoProgress)?;
        if let StopReason::Halted(halt) = found.stopped {
            return Err(ReplicateError::NothingFinished(halt));
        }
        let all = summary::summarise_all(scenario, seed, &found);
        let numbers = numbers(&case, &all);
        let result = summary::judged(all, scenario, &case.objectives);
        let sha256 = case.resolved.sha256;
        Ok(Outcome::Measured(Box::new(Measured { sha256, result, numbers })))
    }
}

/// Every number once, those of tasks that are mere parts of others left out.
fn numbers(case: &Case, all: &RunResult) -> Vec<(String, &'static str, Estimate)> {
    let scenario = case.scenario();
    let mut seen: Vec<Metric> = Vec::new();
    let mut numbers = Vec::new();
    for (path, metric) in Metric::all(scenario) {
        let of_part = metric.task().is_some_and(|task| work::is_part(scenario, task.index()));
        if of_part || seen.contains(&metric) {
            continue;
        }
        seen.push(metric);
        let estimate = Estimate { without: Vec::new(), ..metric.estimate(all) };
        numbers.push((path, metric.unit(), estimate));
    }
    numbers
}
