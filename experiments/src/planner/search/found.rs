//! What a search has found so far.
//!
//! Invariant: every candidate is counted once.
//!
//! Deliberately absent: running anything.

use super::super::Counts;
use super::{Contender, FEW, Search, State, Status};
use crate::trial::{Of, Trial};
use std::rc::Rc;

impl Search<'_, '_> {
    /// The confirmed ones with what came of both seeds, the cheapest first.
    pub(crate) fn confirmed(&self) -> Vec<(usize, Rc<Trial>, Rc<Trial>)> {
        let order = self.order().into_iter().map(|which| &self.contenders[which]);
        let confirmed = order.filter_map(|contender| match &contender.state {
            State::Confirmed(again) => {
                Some((contender.at, Rc::clone(&contender.trial), Rc::clone(again)))
            }
            _ => None,
        });
        confirmed.collect()
    }

    /// The cheapest that is undecided, or else the one whose tightest objective lies least beyond its
    /// target.
    pub(crate) fn closest(&self) -> Option<(usize, Rc<Trial>)> {
        let all = self.contenders.iter();
        let undecided = all.clone().filter(|one| matches!(one.state, State::Undecided));
        let spend = |one: &Contender| one.trial.spend_per_month.value.unwrap_or(f64::INFINITY);
        let cheapest = undecided.min_by(|a, b| spend(a).total_cmp(&spend(b)).then(a.at.cmp(&b.at)));
        let slack = |one: &Contender| one.trial.slack(Of::All).value;
        let nearest = all
            .filter(|one| one.is_known())
            .max_by(|a, b| slack(a).total_cmp(&slack(b)).then(b.at.cmp(&a.at)));
        cheapest.or(nearest).map(|one| (one.at, Rc::clone(&one.trial)))
    }

    /// Of those that spend less than this and failed, the one that comes closest; of equal ones the
    /// cheapest.
    pub(crate) fn near_miss(&self, below: f64) -> Option<(usize, Rc<Trial>)> {
        let spend = |one: &Contender| one.trial.spend_per_month.value.unwrap_or(f64::INFINITY);
        let slack = |one: &Contender| one.trial.slack(Of::All).value;
        let failed = self.contenders.iter().filter(|one| match one.state {
            State::AfterOne | State::Missed | State::Undecided => spend(one) < below,
            State::Worse => spend(one) < below && slack(one) < 0.0 && one.is_known(),
            State::Open | State::Confirmed(_) => false,
        });
        let nearest = failed.max_by(|a, b| {
            slack(a).total_cmp(&slack(b)).then(spend(b).total_cmp(&spend(a))).then(b.at.cmp(&a.at))
        });
        nearest.map(|one| (one.at, Rc::clone(&one.trial)))
    }

    /// All that were run often enough for an interval.
    pub(crate) fn simulated_often(&self) -> Vec<(usize, Rc<Trial>)> {
        let few = self.levels.full().min(FEW);
        let all = self.contenders.iter().map(|one| (one.at, Rc::clone(&one.trial)));
        let all = all.chain(self.further.iter().cloned());
        all.filter(|(_, trial)| trial.replications >= few).collect()
    }

    /// What became of every candidate; `is_over` where nothing stopped the search.
    pub(crate) fn counts(&self, is_over: bool) -> Counts {
        let confirmed = self.confirmed();
        let mut counts = Counts { candidates: self.space.len(), ..Counts::default() };
        // Before the end only a confirmed spend rules anything out.
        let spend = |trial: &Trial| trial.spend_per_month.value.unwrap_or(f64::INFINITY);
        let best = confirmed.first().map_or(f64::INFINITY, |(_, trial, _)| spend(trial));
        let cutoff = if is_over { self.cutoff() } else { best };
        for (status, &rent) in self.statuses.iter().zip(&self.rents) {
            match status {
                Status::Refused => counts.refused += 1,
                Status::Dominated => counts.by_capacity += 1,
                Status::New if rent >= cutoff => counts.by_rent += 1,
                Status::New => counts.left += 1,
                Status::Simulated => counts.simulated += 1,
            }
        }
        for contender in &self.contenders {
            match contender.state {
                State::Open if is_over => counts.dearer += 1,
                State::Open => counts.open += 1,
                State::AfterOne => counts.after_one += 1,
                State::Worse => counts.worse += 1,
                State::Missed => counts.missed += 1,
                State::Undecided => counts.undecided += 1,
                State::Confirmed(_) => counts.confirmed += 1,
            }
        }
        counts.for_frontier = self.further.len();
        counts
    }
}
