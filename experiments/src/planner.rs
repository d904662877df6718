//! The cheapest of many candidates that keeps all objectives.
//!
//! A candidate is one value of each lever. The rent of each is known before anything is simulated
//! (see `rents`) and no spend is below it; the search (see `search`) simulates as few of them, and
//! each as rarely, as it needs to name the cheapest, the second best, and a few dearer ones for the
//! frontier of spend against p95. All see the same random numbers.
//!
//! Invariants: what is recommended kept every objective for sure, with all replications under the seed
//! of the run and under a fresh one; every candidate is accounted for, those that were not simulated
//! with why; the answer does not depend on the number of threads.
//!
//! Deliberately absent: a proof that nothing cheaper exists. Where a candidate was left out because one
//! with more of the same is not enough, or was dropped after few replications, the counts say so.

mod rents;
mod search;
mod space;
mod standing;

use crate::estimate::Estimate;
use crate::paired::combined;
use crate::repair::Lever;
use crate::replicate::{Halt, Plan, Progress, ReplicateError, Runner, Sample, StopReason};
use crate::result::RunResult;
use crate::summary::run_calibrated;
use crate::trial::{Resolve, Trial, Trials, Untried};
use crate::warnings::Warning;
use rents::Unknown;
use search::Search;
use space::Space;
use standing::Levels;
use std::rc::Rc;

pub use space::MOST_CANDIDATES;

/// Candidates whose replications are kept in memory, so that more of them go on from there.
const KEPT: usize = 256;

/// What is asked.
pub struct Question<'a> {
    /// Overrides that every candidate has.
    pub base: &'a [String],
    /// What may be chosen.
    pub levers: &'a [Lever],
    /// Whether the work has to end, and why; asked while rents are reckoned.
    pub halted: &'a dyn Fn() -> Option<Halt>,
    /// Whether the error of the best one's calibration is looked for, too.
    pub with_calibration: bool,
}

/// A candidate that kept all objectives under both seeds.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Overrides that make it, without those of the question.
    pub changes: Vec<String>,
    /// As run under the seed of the run.
    pub trial: Rc<Trial>,
    /// As run under a fresh seed.
    pub confirmed: Rc<Trial>,
    /// Dollars per month more than the best, pair by pair; nothing for the best itself.
    pub more_per_month: Estimate,
}

/// A point of the frontier: nothing that was simulated as often is both cheaper and faster.
#[derive(Clone, Debug)]
pub struct Point {
    /// Overrides that make it, without those of the question.
    pub changes: Vec<String>,
    /// What came of it.
    pub trial: Rc<Trial>,
    /// p95 latency of the frontier's task, seconds.
    pub p95: Estimate,
}

/// What became of the candidates; they add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All combinations of the levers' values.
    pub candidates: usize,
    /// The scenario does not take them.
    pub refused: usize,
    /// Not simulated: their rent alone is not below the spend of the second best, or where there is no
    /// second, not below 1.5 times that of the best.
    pub by_rent: usize,
    /// Not simulated: one with more of the same and else equal misses an objective for want of
    /// capacity.
    pub by_capacity: usize,
    /// Not simulated because the search was stopped.
    pub left: usize,
    /// Simulated at least once.
    pub simulated: usize,
    /// Of these, dropped after one replication, which missed an objective by more than half of its
    /// target or was overloaded.
    pub after_one: usize,
    /// Of these, dropped because they are too much like one that missed an objective or is undecided, by
    /// the same replications and in that objective.
    pub worse: usize,
    /// Of these, those whose interval lay beyond the target, or that were overloaded, later on.
    pub missed: usize,
    /// Of these, those that are left undecided by all replications.
    pub undecided: usize,
    /// Of these, dearer than the second best, or than where a second one was looked for.
    pub dearer: usize,
    /// Of these, neither dropped nor confirmed when the search was stopped.
    pub open: usize,
    /// Of these, confirmed.
    pub confirmed: usize,
    /// Simulated a few times besides to see what more money buys; counted as ruled out by rent, too.
    pub for_frontier: usize,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The cheapest found, if any keeps all objectives.
    pub best: Option<Choice>,
    /// What the error of the calibration may do to it, where it was looked for.
    pub doubts: Vec<Warning>,
    /// The next cheapest.
    pub second: Option<Choice>,
    /// Of the candidates that spend less than the best and were simulated, the one that comes closest
    /// to keeping all objectives: what it misses is what binds.
    pub binds: Option<Point>,
    /// Where none keeps them: the one that comes closest, or the cheapest that is undecided.
    pub closest: Option<Point>,
    /// Task whose p95 the frontier shows.
    pub task: String,
    /// From the cheapest to the dearest.
    pub frontier: Vec<Point>,
    /// What became of all candidates.
    pub counts: Counts,
    /// Replications that were run.
    pub runs: u64,
    /// Replications that it takes to run every candidate as often as the recommended ones.
    pub exhaustive_runs: u64,
    /// Replications that a recommended candidate had at least, under each of two seeds.
    pub replications: u32,
    /// The seed of the run.
    pub seed: u64,
    /// Why the search ended before its end.
    pub stopped: Option<Halt>,
    /// Whether a simulation cost less than the rent that was reckoned, so that rents ruled nothing out.
    pub rents_failed: bool,
}

/// How the search ended, for an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A plan was confirmed.
    Confirmed,
    /// No candidate keeps all objectives.
    None,
    /// Nothing was confirmed, and of some candidate it is not decided.
    Undecided,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is nothing to choose from, or too much, in words.
    #[error("{0}")]
    Refused(String),
    /// Nothing was finished.
    #[error(transparent)]
    Failed(#[from] ReplicateError),
}

/// Looks for the cheapest candidate that keeps all objectives.
///
/// # Errors
/// No levers, or too many candidates; a scenario that cannot be resolved; no threads; stopped before a
/// first candidate was simulated.
pub fn plan(
    question: &Question<'_>,
    resolve: &Resolve<'_>,
    plan: &Plan,
    (runner, progress): (&Runner<'_>, &dyn Progress),
) -> Result<Planned, PlanError> {
    let Question { base, levers, halted, .. } = *question;
    if levers.is_empty() {
        return Err(PlanError::Refused("there is no lever to move".to_owned()));
    }
    let Some(space) = Space::new(levers) else {
        let sizes: Vec<String> = levers.iter().map(|l| l.changes.len().to_string()).collect();
        return Err(PlanError::Refused(format!(
            "{} combinations are more than the {MOST_CANDIDATES} that a plan may choose from: give \
             fewer values, or fix a lever with --set",
            sizes.join(" × ")
        )));
    };
    let present = resolve(base).map_err(PlanError::Refused)?;
    if present.objectives.is_empty() {
        let advice = "without [objectives] there is nothing that a plan has to keep: write one like \
                      spend.per_day or TASK.p95_latency";
        return Err(PlanError::Refused(advice.to_owned()));
    }
    let rents = match rents::rents(&space, levers, base, resolve, halted) {
        Ok(rents) => rents,
        Err(Unknown::Refused(text)) => return Err(PlanError::Refused(text)),
        Err(Unknown::Halted(halt)) => return Err(ReplicateError::NothingFinished(halt).into()),
    };
    if rents.iter().all(Option::is_none) {
        return Err(PlanError::Refused(refused_all(&space, base, resolve)));
    }
    let levels = match plan.replications {
        Sample::Fixed(n) => Levels::fixed(n),
        Sample::Auto => Levels::auto(),
    };
    let full = levels.full();
    let mut trials = Trials::new(resolve, *plan, (runner, progress)).keeping(KEPT);
    if let Some(events) = plan.max_events {
        trials.allow(events);
    }
    let mut search = Search::new(&mut trials, &space, base, rents, levels);
    let ended = search.all();
    let stopped = match ended {
        Ok(()) => None,
        Err(Untried::Halted(halt)) => Some(halt),
        Err(Untried::UsedUp | Untried::Refused(_)) => {
            Some(Halt::Limit(format!("--max-events {}", plan.max_events.unwrap_or(u64::MAX))))
        }
        Err(Untried::Failed(error)) => return Err(error.into()),
    };
    let mut planned = answer(&search, stopped);
    if planned.counts.refused == space.len() {
        return Err(PlanError::Refused(refused_all(&space, base, resolve)));
    }
    if let (Some(halt), 0) = (&planned.stopped, planned.counts.simulated) {
        return Err(ReplicateError::NothingFinished(halt.clone()).into());
    }
    planned.runs = trials.runs();
    planned.exhaustive_runs = (space.len() as u64).saturating_mul(full.into());
    planned.replications = full;
    planned.seed = plan.seed;
    if question.with_calibration {
        let found = calibrated(&planned, question, resolve, plan, (runner, progress))?;
        planned.take_calibrated(found);
    }
    Ok(planned)
}

/// The best once more, with what the error of its calibration may do; `None` where nothing errs, or
/// where it was stopped.
fn calibrated(
    planned: &Planned,
    question: &Question<'_>,
    resolve: &Resolve<'_>,
    plan: &Plan,
    (runner, progress): (&Runner<'_>, &dyn Progress),
) -> Result<Option<RunResult>, PlanError> {
    let (Some(best), None) = (&planned.best, &planned.stopped) else { return Ok(None) };
    let case = resolve(&[question.base, &best.changes].concat()).map_err(PlanError::Refused)?;
    if case.uncertain.is_empty() {
        return Ok(None);
    }
    let plan = Plan { replications: Sample::Fixed(best.trial.replications), ..*plan };
    let (scenario, judged) = (case.scenario(), &case.objectives);
    match run_calibrated(scenario, &case.uncertain, &plan, judged, runner, progress) {
        Ok(result) if matches!(result.stopped, StopReason::Halted(_)) => Ok(None),
        Ok(result) => Ok(Some(result)),
        Err(ReplicateError::NothingFinished(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What the scenario has against the first candidate, where it takes none.
fn refused_all(space: &Space<'_>, base: &[String], resolve: &Resolve<'_>) -> String {
    let changes = space.changes(0);
    let all = [base, &changes].concat();
    let why = resolve(&all).err().unwrap_or_default();
    format!(
        "the scenario takes none of the {} candidates; the first, {}:\n{why}",
        space.len(),
        changes.join(" ")
    )
}

impl Planned {
    /// Gives the best what the error of its calibration may do: the same numbers, with their intervals.
    fn take_calibrated(&mut self, found: Option<RunResult>) {
        let (Some(best), Some(found)) = (&mut self.best, found) else { return };
        let RunResult { objectives, spend, tasks, mut warnings, .. } = found;
        let p95 = tasks.into_iter().map(|task| (task.name, task.latency.p95)).collect();
        let spend_per_month = spend.per_month_usd;
        best.trial = Rc::new(Trial { objectives, p95, spend_per_month, ..(*best.trial).clone() });
        warnings.retain(Warning::is_of_calibration);
        self.doubts = warnings;
    }

    /// How it ended.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match (&self.best, self.counts.undecided) {
            (Some(_), _) => Ending::Confirmed,
            (None, 0) => Ending::None,
            (None, _) => Ending::Undecided,
        }
    }
}

/// The search in the terms of the answer.
fn answer(search: &Search<'_, '_>, stopped: Option<Halt>) -> Planned {
    let confirmed = search.confirmed();
    let choice = |at: Option<&(usize, Rc<Trial>, Rc<Trial>)>| {
        let (at, trial, again) = at?;
        let best = &confirmed[0].1.spend_per_month;
        Some(Choice {
            changes: search.space.changes(*at),
            trial: Rc::clone(trial),
            confirmed: Rc::clone(again),
            more_per_month: combined(best, &trial.spend_per_month, |best, own| Some(own - best)),
        })
    };
    let (best, second) = (choice(confirmed.first()), choice(confirmed.get(1)));
    let closest = if best.is_none() { search.closest() } else { None };
    let spend = best.as_ref().and_then(|best| best.trial.spend_per_month.value);
    let binds = spend.and_then(|spend| search.near_miss(spend));
    let like = binds.as_ref().or(closest.as_ref()).map(|(_, trial)| trial);
    let like = like.or(best.as_ref().map(|best| &best.trial));
    let task = like.map_or_else(String::new, |trial| task_of(trial));
    let point = |(at, trial): (usize, Rc<Trial>)| Point {
        changes: search.space.changes(at),
        p95: p95_of(&trial, &task),
        trial,
    };
    let frontier = frontier(search.simulated_often().into_iter().map(point).collect());
    Planned {
        binds: binds.map(point),
        closest: closest.map(point),
        frontier,
        counts: search.counts(stopped.is_none()),
        runs: 0,
        exhaustive_runs: 0,
        replications: 0,
        seed: 0,
        rents_failed: search.rents_failed,
        best,
        doubts: Vec::new(),
        second,
        task,
        stopped,
    }
}

/// The task whose objective binds, or else the first.
fn task_of(trial: &Trial) -> String {
    let binding = trial.lacking().and_then(|judged| judged.objective.name.rsplit_once('.'));
    let named = binding.and_then(|(task, _)| trial.p95.iter().find(|(name, _)| name == task));
    named.or(trial.p95.first()).map_or_else(String::new, |(name, _)| name.clone())
}

fn p95_of(trial: &Trial, task: &str) -> Estimate {
    let found = trial.p95.iter().find(|(name, _)| name == task);
    found.map_or_else(|| Estimate::absent("no task has a latency"), |(_, p95)| p95.clone())
}

/// Those that nothing beats in both, from the cheapest on.
fn frontier(points: Vec<Point>) -> Vec<Point> {
    let number = |point: &Point| Some((point.trial.spend_per_month.value?, point.p95.value?));
    let mut points: Vec<(f64, f64, Point)> = points
        .into_iter()
        .filter_map(|point| number(&point).map(|(spend, p95)| (spend, p95, point)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut fastest = f64::INFINITY;
    points.retain(|&(_, p95, _)| {
        let is_faster = p95 < fastest;
        fastest = fastest.min(p95);
        is_faster
    });
    points.into_iter().map(|(_, _, point)| point).collect()
}
