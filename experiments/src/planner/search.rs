//! Which candidate is simulated next, and how often.
//!
//! First looks, of one replication each, go where they tell most: to the candidate that leaves the
//! fewest open whatever comes of it. If it fails for want of capacity, so do those with less of the
//! same; if it holds, those whose rent alone is dearer are of no interest. What seems to hold is then
//! run with more replications, the cheapest first, until it surely misses an objective or keeps all of
//! them under both seeds. One that does no better than one that failed, by the same replications and in
//! what that one failed in, gets no more of them. Whatever is not surely dearer than the one found is
//! run on until it is.
//!
//! Invariants: a candidate is ruled out by its rent only against the spend of one that was simulated,
//! and is open again when that one fails; the next step depends on what was simulated before, never
//! on time or threads.
//!
//! Deliberately absent: guesses of loads that were not simulated, and what is told of it all (see
//! `found`).

mod found;

use super::space::Space;
use super::standing::{
    FEW, Levels, REFERENCES, does_no_better, doubt, is_hopeless, lacks_capacity, surely_misses,
};
use crate::paired::combined;
use crate::trial::{Of, Trial, Trials, Untried};
use std::rc::Rc;

/// The second best is looked for up to this multiple of the spend of the best.
const SECOND_WITHIN: f64 = 1.5;
/// Multiples of the spend of the best at which a dearer candidate is run for the frontier.
const DEARER: [f64; 4] = [1.25, 1.5, 2.0, 3.0];
/// A simulated spend may lie this part below the rent reckoned in floating point.
const ROUNDING: f64 = 1e-9;

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nothing yet.
    New,
    /// The scenario does not take it.
    Refused,
    /// One with more of the same lacks capacity.
    Dominated,
    /// It was run.
    Simulated,
}

/// How far a candidate that was simulated has come.
#[derive(Clone)]
enum State {
    Open,
    AfterOne,
    /// No better than one that failed.
    Worse,
    Missed,
    Undecided,
    Confirmed(Rc<Trial>),
}

struct Contender {
    at: usize,
    /// As run most often under the seed of the run.
    trial: Rc<Trial>,
    level: usize,
    /// Spend per month at each level so far.
    spends: Vec<f64>,
    /// Whether the fresh seed left an objective undecided at this level.
    is_doubted: bool,
    state: State,
}

impl Contender {
    /// Whether what it comes to is known by more than one replication that another one was like.
    fn is_known(&self) -> bool {
        self.level > 0 || matches!(self.state, State::AfterOne | State::Open)
    }
}

pub(crate) struct Search<'s, 'a> {
    trials: &'s mut Trials<'a>,
    pub(crate) space: &'s Space<'s>,
    base: &'s [String],
    rents: Vec<f64>,
    levels: Levels,
    statuses: Vec<Status>,
    contenders: Vec<Contender>,
    /// Dearer ones that were run for the frontier.
    further: Vec<(usize, Rc<Trial>)>,
    /// How many are looked for now: the best, or the second best as well.
    wanted: usize,
    pub(crate) rents_failed: bool,
}

impl<'s, 'a> Search<'s, 'a> {
    pub(crate) fn new(
        trials: &'s mut Trials<'a>,
        space: &'s Space<'s>,
        base: &'s [String],
        rents: Vec<Option<f64>>,
        levels: Levels,
    ) -> Search<'s, 'a> {
        let status = |rent: &Option<f64>| match rent {
            Some(_) => Status::New,
            None => Status::Refused,
        };
        Search {
            statuses: rents.iter().map(status).collect(),
            rents: rents.into_iter().map(|rent| rent.unwrap_or(f64::INFINITY)).collect(),
            trials,
            space,
            base,
            levels,
            contenders: Vec::new(),
            further: Vec::new(),
            wanted: 1,
            rents_failed: false,
        }
    }

    /// The best, its neighbours below, the second best, and the frontier.
    pub(crate) fn all(&mut self) -> Result<(), Untried> {
        loop {
            self.find()?;
            if !self.look_below()? {
                break;
            }
        }
        if !self.confirmed().is_empty() {
            self.wanted = 2;
            self.find()?;
            self.look_beyond()?;
        }
        Ok(())
    }

    /// Looks and runs until the cheapest ones that are wanted are confirmed, or nothing is left.
    fn find(&mut self) -> Result<(), Untried> {
        loop {
            let cutoff = self.cutoff();
            if let Some(next) = self.choose(cutoff) {
                self.look(next)?;
                continue;
            }
            let order = self.order();
            let order: Vec<usize> =
                order.into_iter().filter(|&which| self.spend(which) < self.limit()).collect();
            let is_open = |which: &&usize| matches!(self.contenders[**which].state, State::Open);
            let next = order.iter().take(self.wanted).find(is_open);
            match next.copied().or_else(|| self.close_one(&order)) {
                Some(which) => self.raise(which)?,
                None => return Ok(()),
            }
        }
    }

    /// Those that may still be a plan, the cheapest first; of equal ones that with more room below its
    /// targets.
    fn order(&self) -> Vec<usize> {
        let is_alive = |&which: &usize| {
            matches!(self.contenders[which].state, State::Open | State::Confirmed(_))
        };
        let mut order: Vec<usize> = (0..self.contenders.len()).filter(is_alive).collect();
        let slack = |which: usize| self.contenders[which].trial.slack(Of::All).value;
        order.sort_by(|&a, &b| {
            let spend = self.spend(a).total_cmp(&self.spend(b));
            let at = |which: usize| self.contenders[which].at;
            spend.then(slack(b).total_cmp(&slack(a))).then(at(a).cmp(&at(b)))
        });
        order
    }

    /// Spend per month of a contender as it is to be expected of all replications: what few of them
    /// say, moved by what the same few got wrong of the one that was run most often.
    fn spend(&self, which: usize) -> f64 {
        let spends = &self.contenders[which].spends;
        let own = spends.last().copied().unwrap_or(f64::INFINITY);
        let most = self.contenders.iter().map(|one| one.level).max().unwrap_or_default();
        let like = self.contenders.iter().find(|one| one.level == most);
        let moved = like.and_then(|like| {
            let then = like.spends.get(spends.len().checked_sub(1)?)?;
            Some(like.spends.last()? - then)
        });
        own + moved.filter(|moved| moved.is_finite()).unwrap_or_default()
    }

    /// Spend per month from which on nothing is of interest any more, whatever came of the others.
    fn limit(&self) -> f64 {
        let best = self.confirmed().first().and_then(|(_, trial, _)| trial.spend_per_month.value);
        match (self.wanted, best) {
            (2, Some(best)) => best * SECOND_WITHIN,
            _ => f64::INFINITY,
        }
    }

    /// Spend per month that the ones wanted seem to need.
    fn cutoff(&self) -> f64 {
        let seems_to_hold = |&which: &usize| {
            let contender = &self.contenders[which];
            matches!(contender.state, State::Confirmed(_))
                || contender.trial.slack(Of::All).value >= 0.0
        };
        let order = self.order();
        let last = order.into_iter().filter(seems_to_hold).nth(self.wanted - 1);
        last.map_or(f64::INFINITY, |which| self.spend(which)).min(self.limit())
    }

    /// The new candidate below a spend after whose look the fewest are left open in the worse case.
    fn choose(&self, cutoff: f64) -> Option<usize> {
        let is_open = |at: usize| self.statuses[at] == Status::New && self.rents[at] < cutoff;
        let mut open: Vec<usize> = (0..self.space.len()).filter(|&at| is_open(at)).collect();
        open.sort_by(|&a, &b| self.rents[a].total_cmp(&self.rents[b]).then(a.cmp(&b)));
        let less = self.space.counted_up_to(is_open);
        let mut best: Option<(usize, usize)> = None;
        for &at in &open {
            let dearer = open.len() - open.partition_point(|&o| self.rents[o] <= self.rents[at]);
            let gone = (less[at] as usize).min(dearer);
            if best.is_none_or(|(most, _)| gone > most) {
                best = Some((gone, at));
            }
        }
        best.map(|(_, at)| at)
    }

    fn run(
        &mut self,
        at: usize,
        replications: u32,
        seed: u64,
    ) -> Result<Option<Rc<Trial>>, Untried> {
        let changes = self.changes(at);
        let trial = match self.trials.run(&changes, replications, seed) {
            Ok(trial) => trial,
            Err(Untried::Refused(_)) => {
                self.statuses[at] = Status::Refused;
                return Ok(None);
            }
            Err(stop) => return Err(stop),
        };
        let reckoned = self.rents[at] * (1.0 - ROUNDING);
        if trial.spend_per_month.value.is_some_and(|spend| spend < reckoned) {
            // What one rent got wrong others may, too.
            self.rents_failed = true;
            self.rents.iter_mut().for_each(|rent| *rent = 0.0);
        }
        Ok(Some(trial))
    }

    /// The first replication of a candidate.
    fn look(&mut self, at: usize) -> Result<(), Untried> {
        let seed = self.trials.seed();
        let replications = self.levels.all[0];
        let Some(trial) = self.run(at, replications, seed)? else { return Ok(()) };
        self.statuses[at] = Status::Simulated;
        let spends = vec![trial.spend_per_month.value.unwrap_or(f64::INFINITY)];
        self.contenders.push(Contender {
            at,
            trial,
            level: 0,
            spends,
            is_doubted: false,
            state: State::Open,
        });
        self.judge(self.contenders.len() - 1);
        Ok(())
    }

    /// Whether those that were run with all replications leave no hope for one that has fewer.
    fn is_hopeless_beside(&self, which: usize) -> bool {
        let own = &self.contenders[which];
        if own.level >= self.levels.full {
            return false;
        }
        let failed =
            self.references().filter(|one| matches!(one.state, State::Missed | State::Undecided));
        let differences = |one: &&Contender| self.space.differences(one.at, own.at);
        let Some(like) = failed.min_by_key(differences) else { return false };
        let replications = self.levels.all[own.level];
        let then = self.trials.known(&self.changes(like.at), replications, self.trials.seed());
        then.is_some_and(|then| does_no_better(&own.trial, &like.trial, &then))
    }

    /// Those that were run with all replications.
    fn references(&self) -> impl Iterator<Item = &Contender> {
        self.contenders.iter().filter(|one| one.level >= self.levels.full)
    }

    /// Overrides of a candidate with those of the question.
    fn changes(&self, at: usize) -> Vec<String> {
        self.base.iter().cloned().chain(self.space.changes(at)).collect()
    }

    /// What an open contender needs next: the fresh seed, where all replications hold, or else more of
    /// them, unless another one says that they are in vain.
    fn raise(&mut self, which: usize) -> Result<(), Untried> {
        let Contender { level, is_doubted, ref trial, .. } = self.contenders[which];
        if level >= self.levels.full && trial.is_met(Of::All) && !is_doubted {
            return self.confirm(which);
        }
        if self.is_hopeless_beside(which) {
            self.contenders[which].state = State::Worse;
            return Ok(());
        }
        let seed = self.trials.seed();
        let (at, level) = (self.contenders[which].at, level + 1);
        let replications = self.levels.all[level];
        let Some(trial) = self.run(at, replications, seed)? else {
            self.contenders[which].state = State::Missed;
            return Ok(());
        };
        let contender = &mut self.contenders[which];
        contender.spends.push(trial.spend_per_month.value.unwrap_or(f64::INFINITY));
        (contender.level, contender.trial, contender.is_doubted) = (level, trial, false);
        self.judge(which);
        Ok(())
    }

    /// As many replications under a fresh seed.
    fn confirm(&mut self, which: usize) -> Result<(), Untried> {
        let Contender { at, level, .. } = self.contenders[which];
        let fresh = self.trials.fresh_seed();
        let again = self.run(at, self.levels.all[level], fresh)?;
        let is_last = level + 1 == self.levels.all.len();
        let contender = &mut self.contenders[which];
        contender.state = match again {
            Some(again) if again.is_met(Of::All) => State::Confirmed(again),
            Some(again) if !surely_misses(&again) && is_last => State::Undecided,
            Some(again) if !surely_misses(&again) => State::Open,
            _ => State::Missed,
        };
        contender.is_doubted = true;
        Ok(())
    }

    /// What the replications so far say of a contender, and of those that have less of the same.
    fn judge(&mut self, which: usize) {
        let Contender { at, ref trial, level, .. } = self.contenders[which];
        let is_last = level + 1 == self.levels.all.len();
        let by_one = trial.replications == 1 && is_hopeless(trial);
        let is_reference = level > 0
            && level < self.levels.full
            && !trial.is_void
            && self.references().count() < REFERENCES;
        let is_missed = surely_misses(trial);
        let state = match is_missed {
            _ if by_one && !is_last => State::AfterOne,
            true if is_reference => State::Open,
            true => State::Missed,
            false if is_last && !trial.is_met(Of::All) => State::Undecided,
            false => State::Open,
        };
        let spreads = (is_missed || matches!(state, State::AfterOne)) && lacks_capacity(trial);
        self.contenders[which].state = state;
        if spreads {
            let statuses = &mut self.statuses;
            self.space.up_to(at, |less| {
                if statuses[less] == Status::New {
                    statuses[less] = Status::Dominated;
                }
            });
        }
    }

    /// An open contender that may not be dearer than the last one wanted.
    fn close_one(&self, order: &[usize]) -> Option<usize> {
        let last = *order.get(self.wanted - 1)?;
        let is_close = |&&which: &&usize| {
            matches!(self.contenders[which].state, State::Open) && !self.is_dearer(which, last)
        };
        order.iter().skip(self.wanted).find(is_close).copied()
    }

    /// Whether an open contender is surely dearer than a confirmed one, by the replications that both
    /// have.
    fn is_dearer(&self, which: usize, than: usize) -> bool {
        let own = &self.contenders[which];
        let replications = self.levels.all[own.level];
        let seed = self.trials.seed();
        let than_it = self.changes(self.contenders[than].at);
        let Some(other) = self.trials.known(&than_it, replications, seed) else { return true };
        let more = combined(&other.spend_per_month, &own.trial.spend_per_month, |a, b| Some(b - a));
        let Some(value) = more.value else { return true };
        match more.low {
            _ if own.level >= self.levels.full => true,
            Some(low) => low >= 0.0,
            // Candidates that spend exactly the same do so in every replication.
            None if value == 0.0 => true,
            None => {
                let all = &self.contenders[than].trial.spend_per_month;
                doubt(&more, all).is_some_and(|doubt| value > doubt)
            }
        }
    }

    /// Looks at candidates that have one less than the best and were left out because of another: is
    /// it true that they fail? Says whether any was looked at.
    fn look_below(&mut self) -> Result<bool, Untried> {
        let Some(&(best, ..)) = self.confirmed().first() else { return Ok(false) };
        let mut looked = false;
        for less in self.space.one_less(best) {
            if self.statuses[less] == Status::Dominated {
                self.statuses[less] = Status::New;
                self.look(less)?;
                looked = true;
            }
        }
        Ok(looked)
    }

    /// Runs a few dearer candidates, to see what more money buys.
    fn look_beyond(&mut self) -> Result<(), Untried> {
        let confirmed = self.confirmed();
        let Some((best, trial, _)) = confirmed.first() else { return Ok(()) };
        let Some(spend) = trial.spend_per_month.value else { return Ok(()) };
        let mut above = self.cutoff().max(spend);
        let seed = self.trials.seed();
        let few = self.levels.full().min(FEW);
        for target in DEARER.map(|times| times * spend) {
            let Some(at) = self.near(above, target, *best) else { continue };
            above = self.rents[at];
            let found = self.run(at, few, seed)?;
            self.further.extend(found.map(|trial| (at, trial)));
        }
        Ok(())
    }

    /// The new candidate with the largest rent in a range; of equal ones that most like another.
    fn near(&self, above: f64, upto: f64, like: usize) -> Option<usize> {
        let is_in = |&at: &usize| {
            let rent = self.rents[at];
            self.statuses[at] == Status::New && rent > above && rent <= upto
        };
        let found = (0..self.space.len()).filter(is_in);
        found.min_by(|&a, &b| {
            let rent = self.rents[b].total_cmp(&self.rents[a]);
            let unlike = |at: usize| self.space.differences(at, like);
            rent.then_with(|| unlike(a).cmp(&unlike(b))).then(a.cmp(&b))
        })
    }
}
