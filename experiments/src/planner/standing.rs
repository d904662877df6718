//! How a candidate stands after some replications: does it hold, and is it worth more of them?
//!
//! Invariants: an objective is missed for sure where its whole interval lies beyond the target, or
//! where the system is overloaded; a single replication has no interval.
//!
//! Deliberately absent: what follows for other candidates (see `search`).

use crate::arms::MIN_REPLICATIONS;
use crate::estimate::Estimate;
use crate::metric::Metric;
use crate::objectives::ObjectiveResult;
use crate::paired::combined;
use crate::trial::{Slack, Trial};
use sim::stats::jackknife_error;

/// Replications of the second look: the fewest whose interval is of use.
pub(crate) const FEW: u32 = 3;
/// Times as many replications as usual, where the scenario does not say how many and an objective
/// stays undecided.
const LONGER: u32 = 3;
/// Candidates that are run with all replications whatever few of them say, so that others can be
/// judged beside them.
pub(crate) const REFERENCES: usize = 3;
/// Standard deviations by which a difference may be wrong.
const DOUBT: f64 = 2.0;
/// Times as wide as at 95 % is an interval of three replications at 99 %.
const WIDER: f64 = 2.3;
/// A single replication drops a candidate that misses by more than this part of the target.
const HOPELESS: f64 = 0.5;

/// Replications of the looks at a candidate, each more than the one before.
pub(crate) struct Levels {
    pub(crate) all: Vec<u32>,
    /// The first at which objectives are judged for good.
    pub(crate) full: usize,
}

impl Levels {
    /// Up to `n` replications.
    pub(crate) fn fixed(n: u32) -> Levels {
        let mut all: Vec<u32> = [1, FEW].into_iter().filter(|&few| few < n).collect();
        all.push(n.max(1));
        Levels { full: all.len() - 1, all }
    }

    /// As many as a run that stops by itself has at least, or a few times more.
    pub(crate) fn auto() -> Levels {
        let all = vec![1, FEW, MIN_REPLICATIONS, LONGER * MIN_REPLICATIONS];
        Levels { all, full: 2 }
    }

    pub(crate) fn full(&self) -> u32 {
        self.all[self.full]
    }
}

/// Whether an objective is missed for sure.
pub(crate) fn surely_misses(trial: &Trial) -> bool {
    trial.objectives.iter().any(|judged| judged.met == Some(false))
}

/// Whether a replication is so far off that others will hardly make up for it.
pub(crate) fn is_hopeless(trial: &Trial) -> bool {
    trial.objectives.iter().any(is_far_off)
}

fn is_far_off(judged: &ObjectiveResult) -> bool {
    Slack::of(judged).is_some_and(|slack| slack.value < -HOPELESS)
}

/// Whether what is missed is something that less capacity does not help: times, and shares of work
/// that is done, with their usual side of the target.
pub(crate) fn lacks_capacity(trial: &Trial) -> bool {
    let is_missed = |judged: &&ObjectiveResult| judged.met == Some(false) || is_far_off(judged);
    trial.objectives.iter().filter(is_missed).any(|judged| {
        let is_upper = judged.objective.comparison.is_ceiling();
        match judged.objective.metric {
            Metric::TaskLatency(..) | Metric::Call(..) => is_upper,
            Metric::SuccessRate(_) | Metric::SloAttainment(_) | Metric::Goodput(_) => !is_upper,
            _ => false,
        }
    })
}

/// Whether a candidate will surely not keep an objective that another one, which failed, did not keep
/// either.
///
/// Only where both are alike in the replications that both have so far, and these were usual ones for
/// the failed one. Then what the candidate comes to with all replications is predicted: what the failed
/// one came to, moved by that difference, with the benefit of the doubt. Where they are not alike, one
/// says nothing of the other: what a burst does to twice the capacity is no matter of differences.
pub(crate) fn does_no_better(own: &Trial, failed: &Trial, then: &Trial) -> bool {
    let mut judged = own.objectives.iter().zip(&failed.objectives).zip(&then.objectives);
    judged.any(|((own, failed), then)| {
        let is_upper = failed.objective.comparison.is_ceiling();
        let estimate = &failed.estimate;
        let came_to = match failed.met {
            Some(true) => None,
            Some(false) => estimate.value,
            // Near the target the interval of one that is alike reaches as far.
            None if is_upper => estimate.high,
            None => estimate.low,
        };
        let Some(came_to) = came_to else { return false };
        let sign = if is_upper { -1.0 } else { 1.0 };
        let gain = combined(&then.estimate, &own.estimate, |then, own| Some(sign * (own - then)));
        let Some(value) = gain.value else { return false };
        let Some(doubt) = doubt(&gain, &failed.estimate) else { return false };
        let is_alike = value <= doubt / 2.0;
        // What these replications say of the failed one is what it came to.
        let missing = estimate.value.zip(then.estimate.value).map(|(all, then)| (all - then).abs());
        let is_usual = missing.is_some_and(|missing| missing <= doubt);
        is_usual && is_alike && sign * (came_to - failed.objective.target) + value + doubt < 0.0
    })
}

/// How much a difference of few replications may be wrong, beside the number of one of both by all of
/// them. That of two candidates varies from one replication to the next at most as much as the number
/// itself, since both see the same requests; where there are several, the difference says itself how
/// much it varies.
pub(crate) fn doubt(difference: &Estimate, of_all: &Estimate) -> Option<f64> {
    let all = of_all.without.len() as f64;
    let of_one = jackknife_error(&of_all.without)? * all.sqrt();
    let replications = (difference.without.len() as f64).max(1.0);
    let at_most = DOUBT * of_one / replications.sqrt();
    let own = difference.high.zip(difference.low).map(|(high, low)| WIDER * (high - low) / 2.0);
    Some(own.map_or(at_most, |own| own.min(at_most)))
}
