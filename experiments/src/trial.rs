//! Variants of a scenario tried one after another, each at most once.
//!
//! A search asks for many variants, most of them to be thrown away, so it begins with few
//! replications of each and looks closer only where that is worth it. All variants see the same
//! random numbers, so that they can be told apart with few.
//!
//! Invariants: the same changes with the same replications and seed are run once; a search ends when
//! the events it may take are used up, which does not depend on the number of threads.
//!
//! Deliberately absent: which variants to try (see `headroom`, `repair` and `planner`).

use crate::arms::Arms;
use crate::case::Case;
use crate::estimate::Estimate;
use crate::metric::Metric;
use crate::objectives::{Objective, ObjectiveResult};
use crate::record;
use crate::replicate::{
    Halt, Phase, Plan, Progress, ReplicateError, Replications, Runner, Sample, StopReason,
};
use crate::stability::Verdict;
use crate::summary;
use sim::Scenario;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Added to the seed of the run for a fresh one.
const FRESH: u64 = 0x5eed_0000_0001;

/// Resolves a variant: the scenario with these overrides.
pub type Resolve<'a> = dyn Fn(&[String]) -> Result<Case, String> + 'a;

/// Tries variants and remembers what came of them.
pub struct Trials<'a> {
    resolve: &'a Resolve<'a>,
    plan: Plan,
    runner: &'a Runner<'a>,
    progress: &'a dyn Progress,
    known: BTreeMap<Key, Rc<Trial>>,
    /// Events that may still be spent.
    events_left: u64,
    /// Simulations run: replications of variants.
    runs: u64,
    /// The latest variants with their replications, so that more of them go on from there.
    kept: VecDeque<((Vec<String>, u64), Replications)>,
    /// How many are kept.
    most_kept: usize,
}

/// Changes, replications and seed.
type Key = (Vec<String>, u32, u64);

/// What came of a variant.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The overrides that make it.
    pub changes: Vec<String>,
    /// Its objectives, judged.
    pub objectives: Vec<ObjectiveResult>,
    /// Dollars per month.
    pub spend_per_month: Estimate,
    /// p95 latency of each task, seconds, in the order of the scenario; parts of others left out.
    pub p95: Vec<(String, Estimate)>,
    /// Whether it is overloaded or stuck.
    pub is_void: bool,
    /// Replications run.
    pub replications: u32,
    /// Events they took.
    pub events: u64,
}

/// Why there is no trial.
#[derive(Debug)]
pub enum Untried {
    /// The scenario does not take these changes, in words.
    Refused(String),
    /// The search has used up what it may.
    UsedUp,
    /// Stopped from outside.
    Halted(Halt),
    /// The threads could not be started.
    Failed(ReplicateError),
}

/// Which objectives are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// All of them.
    All,
    /// Those that are not about money.
    Service,
}

impl Of {
    fn counts(self, metric: Metric) -> bool {
        self == Of::All || metric.unit() != "USD"
    }
}

/// How far an objective lies from its target, as a part of it; negative where it is missed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slack {
    /// At the estimate.
    pub value: f64,
    /// At the end of the interval that is worse.
    pub worse: f64,
    /// At the end that is better.
    pub better: f64,
}

impl<'a> Trials<'a> {
    /// A search without an end.
    pub fn new(
        resolve: &'a Resolve<'a>,
        plan: Plan,
        (runner, progress): (&'a Runner<'a>, &'a dyn Progress),
    ) -> Trials<'a> {
        let known = BTreeMap::new();
        let (events_left, kept) = (u64::MAX, VecDeque::new());
        Trials { resolve, plan, runner, progress, known, events_left, runs: 0, kept, most_kept: 0 }
    }

    /// Keeps the replications of so many variants, so that more of them go on from there instead of
    /// from the beginning. In the steady state nothing is kept: what is left out at the start depends
    /// on a pilot of its own.
    pub(crate) fn keeping(mut self, most: usize) -> Trials<'a> {
        self.most_kept = if self.plan.steady_state { 0 } else { most };
        self
    }

    /// From now on at most so many events, whatever was left.
    pub fn allow(&mut self, events: u64) {
        self.events_left = events;
    }

    /// Events that may still be spent.
    pub(crate) fn left(&self) -> u64 {
        self.events_left
    }

    /// Replications of a variant like this one of which `trials` may be run, at least `least` and at
    /// most `most`.
    pub(crate) fn affordable(&self, like: &Trial, trials: u64, (least, most): (u32, u32)) -> u32 {
        let of_one = (like.events / u64::from(like.replications.max(1))).max(1);
        let affordable = self.events_left / trials.max(1) / of_one;
        u32::try_from(affordable).unwrap_or(u32::MAX).clamp(least, most.max(least))
    }

    /// Simulations run so far: replications of all variants.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// The seed of the search.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.plan.seed
    }

    /// Another seed, for a confirmation: what was chosen because it did well under one does less well
    /// under others.
    #[must_use]
    pub(crate) fn fresh_seed(&self) -> u64 {
        self.plan.seed.wrapping_add(FRESH)
    }

    /// What came of a variant before, if it was run.
    pub(crate) fn known(
        &self,
        changes: &[String],
        replications: u32,
        seed: u64,
    ) -> Option<Rc<Trial>> {
        self.known.get(&(changes.to_vec(), replications, seed)).map(Rc::clone)
    }

    /// Runs a variant, or says what came of it before.
    ///
    /// # Errors
    /// It cannot be resolved, or the search has to end.
    pub fn run(
        &mut self,
        changes: &[String],
        replications: u32,
        seed: u64,
    ) -> Result<Rc<Trial>, Untried> {
        let key = (changes.to_vec(), replications, seed);
        if let Some(known) = self.known.get(&key) {
            return Ok(Rc::clone(known));
        }
        if self.events_left == 0 {
            return Err(Untried::UsedUp);
        }
        let case = (self.resolve)(changes).map_err(Untried::Refused)?;
        let plan = Plan { seed, replications: Sample::Fixed(replications), ..self.plan };
        let searching = Searching(self.progress);
        let scenario = case.scenario();
        let before = self.before(&(changes.to_vec(), seed), replications);
        let done = before.as_ref().map_or(0, |before| before.records.len() as u32);
        let runner = |scenario: &Scenario, seed: u64, replication: u32| {
            (self.runner)(scenario, seed, done + replication)
        };
        let run = || {
            let mut arms = Arms::new(&[scenario], &plan, &runner, &searching)?;
            arms.measure(Sample::Fixed(replications.saturating_sub(done)))?;
            arms.finish()
        };
        let mut found = run().map_err(|error| match error {
            ReplicateError::NothingFinished(halt) => Untried::Halted(halt),
            other => Untried::Failed(other),
        })?;
        let Some(mut found) = found.pop() else { return Err(Untried::UsedUp) };
        if let StopReason::Halted(halt) = found.stopped {
            return Err(Untried::Halted(halt));
        }
        let events: u64 = found.records.iter().map(|record| record.outcome.events).sum();
        self.events_left = self.events_left.saturating_sub(events);
        self.runs += found.records.len() as u64;
        if let Some(mut before) = before {
            before.records.append(&mut found.records);
            record::add_series(&mut before.series, &found.series);
            found = before;
        }
        let result = summary::summarise(scenario, seed, &found, &case.objectives);
        if self.most_kept > 0 {
            self.kept.push_back(((changes.to_vec(), seed), found));
            let surplus = self.kept.len().saturating_sub(self.most_kept);
            self.kept.drain(..surplus);
        }
        let p95 = result.tasks.iter().map(|task| (task.name.clone(), task.latency.p95.clone()));
        let trial = Rc::new(Trial {
            changes: changes.to_vec(),
            p95: p95.collect(),
            spend_per_month: result.spend.per_month_usd.clone(),
            is_void: result.stability.verdict.is_some_and(Verdict::voids_latency),
            replications: result.replications,
            events: result.events,
            objectives: result.objectives,
        });
        self.known.insert(key, Rc::clone(&trial));
        Ok(trial)
    }

    /// Fewer replications of a variant than are wanted now, if they are kept; they are no longer.
    fn before(&mut self, of: &(Vec<String>, u64), replications: u32) -> Option<Replications> {
        let is_of = |(kept, found): &((Vec<String>, u64), Replications)| {
            kept == of && (found.records.len() as u64) < u64::from(replications)
        };
        let at = self.kept.iter().position(is_of)?;
        self.kept.remove(at).map(|(_, found)| found)
    }
}

impl Trial {
    /// Whether every objective of these is surely met.
    #[must_use]
    pub fn is_met(&self, of: Of) -> bool {
        self.judged(of).all(|judged| judged.met == Some(true))
    }

    /// Objectives that are not surely met, by their paths.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let missed = self.objectives.iter().filter(|judged| judged.met != Some(true));
        missed.map(|judged| judged.objective.name.clone()).collect()
    }

    /// Objectives that have no number though the system is not overloaded, by their paths: whether
    /// they are kept is not known.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let unknown = self.objectives.iter().filter(|judged| Slack::of(judged).is_none());
        unknown.map(|judged| judged.objective.name.clone()).collect()
    }

    fn judged(&self, of: Of) -> impl Iterator<Item = &ObjectiveResult> {
        let counts = move |judged: &&ObjectiveResult| of.counts(judged.objective.metric);
        self.objectives.iter().filter(counts)
    }

    /// The objective that lies deepest beyond its target, or nearest to it.
    #[must_use]
    pub fn tightest(&self, of: Of) -> Option<(&ObjectiveResult, Slack)> {
        let all = self.judged(of).filter_map(|judged| Some((judged, Slack::of(judged)?)));
        all.min_by(|a, b| a.1.value.total_cmp(&b.1.value))
    }

    /// Of the objectives that are not surely met, or where all are, of all, the one with the least room,
    /// a share measured against what it could still lack: 99.5 % is half way from a target of 99 % to
    /// all.
    #[must_use]
    pub fn lacking(&self) -> Option<&ObjectiveResult> {
        let is_all_met = self.is_met(Of::All);
        let room = |judged: &ObjectiveResult| {
            let Objective { metric, target, comparison, .. } = judged.objective;
            let is_share = matches!(metric, Metric::SuccessRate(_) | Metric::SloAttainment(_));
            let is_least = !comparison.is_ceiling();
            let slack = Slack::of(judged)?.value;
            let is_of_rest = is_share && is_least && target > 0.0 && target < 1.0;
            Some(if is_of_rest { slack * target / (1.0 - target) } else { slack })
        };
        let counts = |judged: &&ObjectiveResult| is_all_met || judged.met != Some(true);
        let all = self.objectives.iter().filter(counts);
        let all = all.filter_map(|judged| Some((judged, room(judged)?)));
        all.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(judged, _)| judged)
    }

    /// The distance of the tightest, at the estimates and at the ends of their intervals.
    #[must_use]
    pub fn slack(&self, of: Of) -> Slack {
        let none = Slack { value: f64::INFINITY, worse: f64::INFINITY, better: f64::INFINITY };
        let all = self.judged(of).filter_map(Slack::of);
        all.fold(none, |tightest, slack| Slack {
            value: tightest.value.min(slack.value),
            worse: tightest.worse.min(slack.worse),
            better: tightest.better.min(slack.better),
        })
    }
}

impl Slack {
    /// `None` where the objective has no number though the system is not overloaded.
    #[must_use]
    pub fn of(judged: &ObjectiveResult) -> Option<Slack> {
        let lost = f64::NEG_INFINITY;
        let estimate = &judged.estimate;
        let Some(value) = estimate.value else {
            return (judged.met == Some(false)).then_some(Slack {
                value: lost,
                worse: lost,
                better: lost,
            });
        };
        let target = judged.objective.target;
        let size = if target == 0.0 { 1.0 } else { target.abs() };
        let slack = |value: f64| match judged.objective.comparison.is_ceiling() {
            true => (target - value) / size,
            false => (value - target) / size,
        };
        let ends = [estimate.low, estimate.high].map(|end| slack(end.unwrap_or(value)));
        let (worse, better) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        Some(Slack { value: slack(value), worse, better })
    }
}

/// Tells whoever watches that these are no replications of the result.
struct Searching<'a>(&'a dyn Progress);

impl Progress for Searching<'_> {
    fn batch(&self, _: Phase, replications: u32, most: u32) {
        self.0.batch(Phase::Search, replications, most);
    }

    fn finished(&self, _: Phase) {
        self.0.finished(Phase::Search);
    }
}
