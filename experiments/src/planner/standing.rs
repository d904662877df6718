//! How a candidate stands after some replications: does it hold, and is it worth more of them?
//!
//! Invariants: an objective is missed for sure where its whole interval lies beyond the target, or
//! where the system is overloaded; a single replication has no interval.
//!
//! Deliberately absent: what follows for other candidates (see `search`).

use crate::arms::MIN_REPLICATIONS;
use crate::metric::Metric;
use crate::objectives::{Comparison, ObjectiveResult};
use crate::trial::{Slack, Trial};

/// Replications of the second look: the fewest whose interval is of use.
pub(crate) const FEW: u32 = 3;
/// Times as many replications as usual, where the scenario does not say how many and an objective
/// stays undecided.
const LONGER: u32 = 3;
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
        let is_upper =
            matches!(judged.objective.comparison, Comparison::AtMost | Comparison::Below);
        match judged.objective.metric {
            Metric::TaskLatency(..) | Metric::Call(..) => is_upper,
            Metric::SuccessRate(_) | Metric::SloAttainment(_) | Metric::Goodput(_) => !is_upper,
            _ => false,
        }
    })
}

/// Whether a candidate does no better than one that failed, by the same replications, in what that
/// one failed in.
pub(crate) fn does_no_better(trial: &Trial, failed: &Trial, then: &Trial) -> bool {
    let mut lacking = failed
        .objectives
        .iter()
        .zip(&then.objectives)
        .zip(&trial.objectives)
        .filter(|((failed, _), _)| failed.met != Some(true));
    lacking.any(|((_, then), own)| {
        let slacks = Slack::of(own).zip(Slack::of(then));
        slacks.is_some_and(|(own, then)| own.value <= then.value)
    })
}
