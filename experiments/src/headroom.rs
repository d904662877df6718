//! By what factor traffic may grow before the first objective breaks.
//!
//! The factor is looked for with few replications, by doubling and halving, and then with all of them
//! around the place found, or where none was found, at the last factor tried. Each objective is taken
//! by itself: between the factors tried the distance of its own number from its own target is taken to
//! be a straight line, which that of the tightest one is not where another takes over. The smallest
//! factor at which an estimate crosses its target is the answer. Its interval ends where the worse end
//! of an objective's interval first crosses, and where the better end of one does: with less traffic
//! every objective that has a number is surely kept, with more one is surely broken. One without a
//! number has no distance; it is named.
//!
//! Invariants: every factor that the answer rests on was simulated, with more than the few replications
//! of the first look where the search may afford it; an end that was not reached is open, and a factor
//! that was not found is absent with a reason.
//!
//! Deliberately absent: objectives that traffic helps.

use crate::estimate::Estimate;
use crate::trial::{Of, Slack, Trial, Trials, Untried};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Replications of the first look at a factor.
const FEW: u32 = 3;
/// Factors beyond which nobody plans.
const MOST: f64 = 10.0;
/// Halvings of the first bracket: a factor known to a part in `2^(2^-k)` after `k` of them.
const COARSE: u32 = 4;
/// Steps of all replications away from the first finding, on either side, as factors.
const STEPS: [f64; 4] = [1.06, 1.06, 1.12, 1.25];

/// Factors that the closer look usually takes: those on either side, and the crossing.
const USUAL: u64 = 5;

/// The traffic that the system carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Headroom {
    /// The factor, with its interval. Where it was not found, `low` is the largest at which every
    /// objective is surely kept, `high` the smallest at which one is surely broken, if known.
    pub factor: Estimate,
    /// Path of the objective that breaks first.
    pub objective: Option<String>,
    /// Replications that the factor rests on: fewer than those of the run where the search could not
    /// afford them.
    pub replications: u32,
    /// Factors tried, rising.
    pub tried: Vec<Tried>,
}

/// A factor that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// Traffic, as a multiple of today's.
    pub factor: f64,
    /// Distance of the tightest objective from its target, as a part of it; negative where it is missed.
    pub slack: f64,
    /// p95 latency of each task, seconds; absent where the system is overloaded.
    pub p95: Vec<(String, Estimate)>,
}

/// Finds the headroom; `overrides` are those of a traffic factor. Half of what the search may take is
/// left to the closer look.
///
/// # Errors
/// Stopped from outside, or no threads.
pub fn headroom(
    trials: &mut Trials<'_>,
    replications: u32,
    overrides: &dyn Fn(f64) -> Result<Vec<String>, String>,
) -> Result<Headroom, Untried> {
    let half = trials.left() / 2;
    trials.allow(half);
    let (full, coarse) = (BTreeMap::new(), BTreeMap::new());
    let mut search = Search { trials, overrides, full, coarse, why_not: None };
    let about = match search.bracket()? {
        Ok(about) => about,
        Err(reason) => return Ok(search.answer(Estimate::absent(reason), None)),
    };
    let left = search.trials.left();
    search.trials.allow(left.saturating_add(half));
    search.look_closer(about, replications)?;
    Ok(search.found())
}

/// Factors in thousandths of a per cent, so that they can be looked up.
type Grain = u64;

struct Search<'s, 'a> {
    trials: &'s mut Trials<'a>,
    overrides: &'s dyn Fn(f64) -> Result<Vec<String>, String>,
    full: BTreeMap<Grain, Rc<Trial>>,
    coarse: BTreeMap<Grain, Rc<Trial>>,
    /// The last factor that could not be run, and why.
    why_not: Option<String>,
}

fn grain(factor: f64) -> Grain {
    (factor * 1e5).round() as Grain
}

fn factor_of(grain: Grain) -> f64 {
    grain as f64 / 1e5
}

/// Where a distance first becomes negative.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Crossing {
    /// It is at the smallest factor.
    Before,
    /// Between two.
    At(f64),
    /// It is not at any.
    Beyond,
}

impl Crossing {
    fn factor(self) -> f64 {
        match self {
            Crossing::Before => 0.0,
            Crossing::At(factor) => factor,
            Crossing::Beyond => f64::INFINITY,
        }
    }

    fn found(self) -> Option<f64> {
        if let Crossing::At(factor) = self { Some(factor) } else { None }
    }
}

/// One of the three distances of an objective, and where it crosses on the way to a factor at which
/// the system is overloaded, so that there is no line: as a share of that way.
type Side = (fn(&Slack) -> f64, f64);

const VALUE: Side = (|slack| slack.value, 0.5);
const WORSE: Side = (|slack| slack.worse, 0.0);
const BETTER: Side = (|slack| slack.better, 1.0);

impl Search<'_, '_> {
    /// Runs a factor; `None` where it cannot be resolved or may not be run any more.
    fn run(&mut self, factor: f64, replications: u32) -> Result<Option<Rc<Trial>>, Untried> {
        let factor = factor_of(grain(factor));
        let seed = self.trials.seed();
        let run = |changes: Vec<String>| self.trials.run(&changes, replications, seed);
        let why_not = match (self.overrides)(factor).map_err(Untried::Refused).and_then(run) {
            Ok(trial) => return Ok(Some(trial)),
            Err(Untried::Refused(why)) => format!("{factor}× the traffic is refused: {why}"),
            Err(Untried::UsedUp) => format!("{factor}× the traffic takes too long to simulate"),
            Err(stop) => return Err(stop),
        };
        self.why_not = Some(why_not);
        Ok(None)
    }

    /// The distance from the target at a factor, by few replications.
    fn look(&mut self, factor: f64) -> Result<Option<f64>, Untried> {
        let Some(trial) = self.run(factor, FEW)? else { return Ok(None) };
        let slack = trial.slack(Of::All).value;
        self.coarse.insert(grain(factor), trial);
        Ok(Some(slack))
    }

    /// A factor near the crossing, or the last one that could be tried; or why there is none.
    fn bracket(&mut self) -> Result<Result<f64, String>, Untried> {
        let Some(now) = self.look(1.0)? else {
            let why = self.why_not.take().unwrap_or_default();
            return Ok(Err(format!("today's traffic could not be simulated: {why}")));
        };
        if now == f64::INFINITY {
            return Ok(Err("the scenario has no objective with a number".to_owned()));
        }
        let grows = now >= 0.0;
        let (mut kept, mut broken) = (1.0, 1.0);
        loop {
            if grows && broken >= MOST {
                return Ok(Ok(MOST));
            }
            if !grows && kept <= 1.0 / MOST {
                return Ok(Ok(1.0 / MOST));
            }
            let next = if grows { broken * 2.0 } else { kept / 2.0 };
            let next = next.clamp(1.0 / MOST, MOST);
            let Some(slack) = self.look(next)? else {
                return Ok(Ok(kept));
            };
            match (grows, slack >= 0.0) {
                (true, true) => (kept, broken) = (next, next),
                (true, false) => broken = next,
                (false, true) => kept = next,
                (false, false) => (kept, broken) = (next, next),
            }
            if kept < broken {
                break;
            }
        }
        for _ in 0..COARSE {
            let middle = libm::sqrt(kept * broken);
            match self.look(middle)? {
                Some(slack) if slack >= 0.0 => kept = middle,
                Some(_) => broken = middle,
                None => break,
            }
        }
        Ok(Ok(libm::sqrt(kept * broken)))
    }

    /// Runs all replications around a factor until both ends of the interval have crossed, and once
    /// more where the estimate seems to.
    fn look_closer(&mut self, about: f64, replications: u32) -> Result<(), Untried> {
        let Some(like) = self.run(about, FEW)? else { return Ok(()) };
        let replications = self.trials.affordable(&like, USUAL, (FEW, replications));
        self.keep(about, replications)?;
        let is_kept = |trial: &Trial| trial.slack(Of::All).worse >= 0.0;
        let is_broken = |trial: &Trial| trial.slack(Of::All).better < 0.0;
        let mut low = about;
        for step in STEPS {
            if self.full.values().next().is_none_or(|trial| is_kept(trial)) {
                break;
            }
            low = (low / step).max(1.0 / MOST);
            if !self.keep(low, replications)? {
                break;
            }
        }
        let mut high = about;
        for step in STEPS {
            if self.full.values().next_back().is_none_or(|trial| is_broken(trial)) {
                break;
            }
            high = (high * step).min(MOST);
            if !self.keep(high, replications)? {
                break;
            }
        }
        match self.first(VALUE).0 {
            Crossing::At(factor) => self.keep(factor, replications)?,
            // What is kept with so much more is to be kept today, too.
            Crossing::Beyond => self.keep(1.0, replications)?,
            Crossing::Before => false,
        };
        Ok(())
    }

    fn keep(&mut self, factor: f64, replications: u32) -> Result<bool, Untried> {
        let Some(trial) = self.run(factor, replications)? else { return Ok(false) };
        self.full.insert(grain(factor), trial);
        Ok(true)
    }

    /// Where the first objective crosses, and its path.
    fn first(&self, side: Side) -> (Crossing, Option<String>) {
        let Some(like) = self.full.values().next() else { return (Crossing::Beyond, None) };
        let all = like
            .objectives
            .iter()
            .enumerate()
            .map(|(at, judged)| (self.crossing(at, side), Some(judged.objective.name.clone())));
        let first = all.min_by(|a, b| a.0.factor().total_cmp(&b.0.factor()));
        first.unwrap_or((Crossing::Beyond, None))
    }

    /// Where an objective crosses, on straight lines between the factors tried.
    fn crossing(&self, at: usize, (of, overloaded): Side) -> Crossing {
        let distance = |trial: &Trial| trial.objectives.get(at).and_then(Slack::of);
        let points = self
            .full
            .iter()
            .filter_map(|(&grain, trial)| Some((factor_of(grain), of(&distance(trial)?))));
        let mut before: Option<(f64, f64)> = None;
        for (b, y) in points {
            match before {
                None if y < 0.0 => return Crossing::Before,
                Some((a, x)) if y < 0.0 => {
                    let share = if y.is_finite() { x / (x - y) } else { overloaded };
                    return Crossing::At(a + share * (b - a));
                }
                _ => before = Some((b, y)),
            }
        }
        Crossing::Beyond
    }

    /// What the factors tried come to.
    fn found(&mut self) -> Headroom {
        let ends = self.full.keys().next().zip(self.full.keys().next_back());
        let Some([first, last]) = ends.map(|(a, b)| [factor_of(*a), factor_of(*b)]) else {
            let why = self.why_not.take().unwrap_or_default();
            return self.answer(Estimate::absent(why), None);
        };
        let (value, objective) = self.first(VALUE);
        let (worse, better) = (self.first(WORSE).0, self.first(BETTER).0);
        let unknown = self.unknown();
        // Beyond the factors tried an end is not known, but that it lies there is; what has no number
        // may have broken before.
        let low = match worse {
            Crossing::Beyond => Some(last).filter(|_| unknown.is_empty()),
            _ => worse.found(),
        };
        let high = if better == Crossing::Before { Some(first) } else { better.found() };
        let runs = self.runs();
        let whether = match worse {
            Crossing::Beyond if unknown.is_empty() => "every objective is surely kept at",
            Crossing::Beyond => "every objective that has a number is surely kept at",
            _ => "no objective is surely broken up to",
        };
        let reason = match value {
            Crossing::At(_) if worse.found().is_some() && better.found().is_some() => None,
            Crossing::At(_) => Some("an end of the interval lies beyond the factors tried".into()),
            Crossing::Beyond => {
                let further = self.why_not.take().map(|why| format!("; {why}"));
                Some(format!(
                    "{whether} {last}×, the largest factor tried, by {runs} replications{}",
                    further.unwrap_or_default()
                ))
            }
            Crossing::Before => {
                let missed = objective.as_deref().unwrap_or("an objective");
                Some(format!("{missed} is missed already at {first}×, the smallest factor tried"))
            }
        };
        let silent = (!unknown.is_empty())
            .then(|| format!("nothing is known of {}: no number there", unknown.join(", ")));
        let reason = match (reason, silent) {
            (Some(reason), Some(silent)) => Some(format!("{reason}; {silent}")),
            (reason, silent) => reason.or(silent),
        };
        let objective = objective.filter(|_| value != Crossing::Beyond);
        let factor = Estimate { value: value.found(), low, high, reason, ..Estimate::default() };
        self.answer(factor, objective)
    }

    /// Objectives that have no number at one of the factors of the closer look.
    fn unknown(&self) -> Vec<String> {
        let unknown: BTreeSet<String> =
            self.full.values().flat_map(|trial| trial.unknown()).collect();
        unknown.into_iter().collect()
    }

    /// Replications of the closer look.
    fn runs(&self) -> u32 {
        self.full.values().map(|trial| trial.replications).min().unwrap_or_default()
    }

    fn answer(&self, factor: Estimate, objective: Option<String>) -> Headroom {
        let mut tried = self.coarse.clone();
        tried.extend(self.full.iter().map(|(&grain, trial)| (grain, Rc::clone(trial))));
        let tried = tried.into_iter().map(|(grain, trial)| Tried {
            factor: factor_of(grain),
            slack: trial.slack(Of::All).value,
            p95: trial.p95.clone(),
        });
        Headroom { factor, objective, replications: self.runs(), tried: tried.collect() }
    }
}
