//! The smallest change that keeps the objectives, and what it costs.
//!
//! Every lever is tried by itself, from its smallest change to its largest: few replications say
//! which is the smallest that keeps all objectives, by halving where there are many. What is found is
//! then run with all replications, and confirmed under seeds that the search has never seen: a change
//! that was chosen because it did well under one seed does less well under others. Where no lever is
//! enough, pairs of the most helpful ones are tried.
//!
//! The cheapest confirmed change by spend per month is the repair; of equal ones the first lever's.
//! Where nothing keeps all objectives, the same is looked for with those about money left out, for which
//! half of what the search may take is put aside, and what is found says which ones it misses: quality
//! for more than it may cost.
//!
//! Invariants: what is recommended was simulated, with the replications of the run, under the seed of
//! the run and under fresh ones; its price is the paired difference of the spend.
//!
//! Deliberately absent: changes of three levers at once, and a proof that nothing cheaper exists.

use crate::estimate::Estimate;
use crate::paired::combined;
use crate::replicate::Halt;
use crate::trial::{Of, Trial, Trials, Untried};
use std::rc::Rc;

/// Replications of the first look at a change.
const FEW: u32 = 3;
/// Levers that are tried in pairs.
const PAIRED: usize = 4;
/// Changes of one lever that are confirmed before the next lever's turn.
const CONFIRMED: usize = 3;

/// Something that may be changed: from the smallest change to the largest, each a list of overrides
/// that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lever {
    /// Key path, for people.
    pub key: String,
    /// Its changes.
    pub changes: Vec<Vec<String>>,
}

/// A change that was found.
#[derive(Clone, Debug)]
pub struct Repair {
    /// Overrides, to be added to those of the scenario that needs it.
    pub changes: Vec<String>,
    /// Dollars per month more than without it.
    pub per_month: Estimate,
    /// As run under the seed of the run.
    pub trial: Rc<Trial>,
    /// As run under fresh seeds.
    pub confirmed: Rc<Trial>,
    /// Objectives that it misses: at most those about money.
    pub misses: Vec<String>,
}

/// What the search came to.
#[derive(Clone, Debug)]
pub enum Repaired {
    /// Nothing needs to be changed.
    NotNeeded,
    /// The cheapest change found, and further ones of other levers, cheapest first.
    Found(Repair, Vec<Repair>),
    /// None keeps all objectives, not even those that are not about money.
    NotFound {
        /// The change whose tightest objective lies least beyond its target, if any was tried.
        closest: Option<(Vec<String>, Rc<Trial>)>,
        /// Changes that were tried.
        tried: usize,
    },
}

/// What was found, and how far the search went.
#[derive(Clone, Debug)]
pub struct Search {
    /// What it came to.
    pub repaired: Repaired,
    /// Whether it ended before its end, because of what it may take or from outside.
    pub is_cut_short: bool,
    /// What stopped it from outside; what was confirmed by then counts.
    pub halt: Option<Halt>,
}

/// Looks for the repair of the scenario that `base` makes.
///
/// # Errors
/// No threads.
pub fn repair(
    trials: &mut Trials<'_>,
    base: &[String],
    levers: &[Lever],
    replications: u32,
) -> Result<Search, Untried> {
    let half = trials.left() / 2;
    let seed = trials.seed();
    let now = match trials.run(base, replications, seed) {
        Ok(trial) if trial.is_met(Of::All) => {
            let repaired = Repaired::NotNeeded;
            return Ok(Search { repaired, is_cut_short: false, halt: None });
        }
        Ok(trial) => trial,
        Err(Untried::Failed(error)) => return Err(Untried::Failed(error)),
        Err(untried) => {
            let halt = if let Untried::Halted(halt) = untried { Some(halt) } else { None };
            let repaired = Repaired::NotFound { closest: None, tried: 0 };
            return Ok(Search { repaired, is_cut_short: true, halt });
        }
    };
    let (found, closest) = (Vec::new(), None);
    let mut searching = Searching {
        trials,
        base,
        replications,
        now,
        of: Of::All,
        found,
        closest,
        tried: 0,
        is_cut: false,
    };
    let halt = match searching.both(levers, half) {
        Ok(()) => None,
        Err(Untried::Halted(halt)) => Some(halt),
        Err(error) => return Err(error),
    };
    let Searching { mut found, closest, tried, is_cut, .. } = searching;
    let price = |repair: &Repair| repair.per_month.value.unwrap_or(f64::INFINITY);
    found.sort_by(|a, b| price(a).total_cmp(&price(b)));
    let mut found = found.into_iter();
    let repaired = match found.next() {
        Some(cheapest) => Repaired::Found(cheapest, found.collect()),
        None => {
            let closest = closest.map(|(_, change, trial)| (change, trial));
            Repaired::NotFound { closest, tried }
        }
    };
    Ok(Search { repaired, is_cut_short: is_cut || halt.is_some(), halt })
}

struct Searching<'s, 'a> {
    trials: &'s mut Trials<'a>,
    base: &'s [String],
    replications: u32,
    now: Rc<Trial>,
    /// Objectives that have to be kept.
    of: Of,
    /// Changes that are confirmed.
    found: Vec<Repair>,
    /// The distance of all objectives, whichever have to be kept.
    closest: Option<(f64, Vec<String>, Rc<Trial>)>,
    tried: usize,
    is_cut: bool,
}

impl Searching<'_, '_> {
    /// Looks for what keeps all objectives, or else those that are not about money, for which so many
    /// events are put aside.
    fn both(&mut self, levers: &[Lever], aside: u64) -> Result<(), Untried> {
        let left = self.trials.left();
        self.trials.allow(left.saturating_sub(aside));
        self.all(levers)?;
        if self.found.is_empty() && !self.now.is_met(Of::Service) {
            self.of = Of::Service;
            let left = self.trials.left();
            self.trials.allow(left.saturating_add(aside));
            self.all(levers)?;
        }
        Ok(())
    }

    /// Changes of single levers that are enough; of pairs of the most helpful ones, if there is none.
    fn all(&mut self, levers: &[Lever]) -> Result<(), Untried> {
        let mut helpful: Vec<(f64, usize, usize)> = Vec::new();
        for (at, lever) in levers.iter().enumerate() {
            match self.smallest(&lever.changes)? {
                Some(from) => self.confirm(&lever.changes[from..])?,
                None => {
                    let best = self.best_of(&lever.changes);
                    helpful.extend(best.map(|(slack, best)| (slack, at, best)));
                }
            }
        }
        if !self.found.is_empty() {
            return Ok(());
        }
        helpful.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        helpful.truncate(PAIRED);
        for (first, &(_, one, best)) in helpful.iter().enumerate() {
            for &(_, other, _) in &helpful[first + 1..] {
                let with = &levers[one].changes[best];
                let both = |change: &Vec<String>| with.iter().chain(change).cloned().collect();
                let pairs: Vec<Vec<String>> = levers[other].changes.iter().map(both).collect();
                if let Some(from) = self.smallest(&pairs)? {
                    self.confirm(&pairs[from..])?;
                }
            }
        }
        Ok(())
    }

    fn run(
        &mut self,
        change: &[String],
        replications: u32,
        seed: u64,
    ) -> Result<Option<Rc<Trial>>, Untried> {
        let all: Vec<String> = self.base.iter().chain(change).cloned().collect();
        match self.trials.run(&all, replications, seed) {
            Ok(trial) => Ok(Some(trial)),
            Err(Untried::Refused(_)) => Ok(None),
            Err(Untried::UsedUp) => {
                self.is_cut = true;
                Ok(None)
            }
            Err(stop) => Err(stop),
        }
    }

    /// Whether a change seems to be enough, by few replications.
    fn seems_enough(&mut self, change: &[String]) -> Result<bool, Untried> {
        let seed = self.trials.seed();
        let Some(trial) = self.run(change, FEW, seed)? else { return Ok(false) };
        self.tried += 1;
        let slack = trial.slack(Of::All).value;
        let is_enough = trial.slack(self.of).value >= 0.0;
        if self.closest.as_ref().is_none_or(|(best, ..)| slack > *best) {
            self.closest = Some((slack, change.to_vec(), trial));
        }
        Ok(is_enough)
    }

    /// The smallest change that seems to be enough, where a larger one does more: by halving. Where the
    /// largest is not enough, one in the middle may be, and all are tried if they are few.
    fn smallest(&mut self, changes: &[Vec<String>]) -> Result<Option<usize>, Untried> {
        let Some(last) = changes.len().checked_sub(1) else { return Ok(None) };
        if last < 4 {
            for (at, change) in changes.iter().enumerate() {
                if self.seems_enough(change)? {
                    return Ok(Some(at));
                }
            }
            return Ok(None);
        }
        // Doubling first: the smallest that is enough is mostly near the beginning.
        let mut upto = 0;
        let mut below = None;
        while !self.seems_enough(&changes[upto])? {
            below = Some(upto);
            if upto == last {
                return Ok(None);
            }
            upto = (2 * upto + 1).min(last);
        }
        let mut from = below.map_or(0, |below| below + 1);
        while from < upto {
            let middle = from.midpoint(upto);
            if self.seems_enough(&changes[middle])? { upto = middle } else { from = middle + 1 }
        }
        Ok(Some(upto))
    }

    /// Finds the first of some changes that keeps the objectives for sure, under both seeds.
    fn confirm(&mut self, changes: &[Vec<String>]) -> Result<(), Untried> {
        let (seed, replications) = (self.trials.seed(), self.replications);
        for change in changes.iter().take(CONFIRMED) {
            let Some(trial) = self.run(change, replications, seed)? else { continue };
            if !trial.is_met(self.of) {
                continue;
            }
            let fresh = self.trials.fresh_seed();
            let Some(confirmed) = self.run(change, replications, fresh)? else { continue };
            if !confirmed.is_met(self.of) {
                continue;
            }
            let (before, after) = (&self.now.spend_per_month, &trial.spend_per_month);
            let per_month = combined(before, after, |a, b| Some(b - a));
            let (changes, misses) = (change.clone(), trial.missed());
            self.found.push(Repair { changes, per_month, trial, confirmed, misses });
            break;
        }
        Ok(())
    }

    /// The change of a lever that helps most though it is not enough, if it helps at all.
    fn best_of(&mut self, changes: &[Vec<String>]) -> Option<(f64, usize)> {
        let seed = self.trials.seed();
        let (now, of) = (self.now.slack(self.of).value, self.of);
        let slack = |at: usize, search: &mut Self| {
            let all: Vec<String> = search.base.iter().chain(&changes[at]).cloned().collect();
            let known = search.trials.known(&all, FEW, seed)?;
            Some((known.slack(of).value, at))
        };
        let tried: Vec<(f64, usize)> =
            (0..changes.len()).filter_map(|at| slack(at, self)).collect();
        let best = tried.into_iter().max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))?;
        (best.0 > now).then_some(best)
    }
}
