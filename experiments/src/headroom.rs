//! By what factor traffic may grow before the first objective breaks.
//!
//! The factor is looked for with few replications, by doubling and halving, and then with all of them
//! around the place found. Between the factors tried the distance to the target is taken to be a
//! straight line. The factor at which the estimate crosses its target is the answer; those at which
//! the two ends of its interval do are the interval of the answer: with less traffic the objective is
//! surely kept, with more it is surely broken.
//!
//! Invariants: every factor that the answer rests on was simulated; an end that was not reached is
//! open, and a factor that was not found is absent with a reason.
//!
//! Deliberately absent: objectives that traffic helps.

use crate::estimate::Estimate;
use crate::trial::{Of, Trial, Trials, Untried};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Replications of the first look at a factor.
const FEW: u32 = 3;
/// Factors beyond which nobody plans.
const MOST: f64 = 10.0;
/// Halvings of the first bracket: a factor known to a part in `2^(2^-k)` after `k` of them.
const COARSE: u32 = 4;
/// Steps of all replications on either side of the first finding, as factors.
const STEP: f64 = 1.06;
/// Steps on either side at most.
const STEPS: u32 = 4;

/// The traffic that the system carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Headroom {
    /// The factor, with its interval.
    pub factor: Estimate,
    /// Path of the objective that breaks first.
    pub objective: Option<String>,
    /// Factors tried, with the distance of the tightest objective from its target.
    pub tried: Vec<(f64, f64)>,
}

/// Finds the headroom; `overrides` are those of a traffic factor.
///
/// # Errors
/// Stopped from outside, or no threads.
pub fn headroom(
    trials: &mut Trials<'_>,
    replications: u32,
    overrides: &dyn Fn(f64) -> Result<Vec<String>, String>,
) -> Result<Headroom, Untried> {
    let mut search = Search { trials, overrides, full: BTreeMap::new(), coarse: BTreeMap::new() };
    let about = match search.bracket()? {
        Ok(about) => about,
        Err((reason, at_least)) => {
            let factor = Estimate { low: at_least, ..Estimate::absent(reason) };
            return Ok(search.answer(factor, None));
        }
    };
    search.look_closer(about, replications)?;
    // Beyond an overload there is no line: it breaks somewhere between the two factors.
    let value = search.crossing(|trial| trial.slack(Of::All).value, 0.5);
    let low = search.crossing(|trial| trial.slack(Of::All).worse, 0.0);
    let high = search.crossing(|trial| trial.slack(Of::All).better, 1.0);
    let objective = search.first_to_break();
    let factor = match value {
        Some(value) => Estimate {
            value: Some(value),
            low,
            high,
            reason: match (low, high) {
                (Some(_), Some(_)) => None,
                _ => Some("an end of the interval lies beyond the factors tried".to_owned()),
            },
            ..Estimate::default()
        },
        None => Estimate::absent("the factors tried do not lie on both sides of the target"),
    };
    Ok(search.answer(factor, objective))
}

/// Factors in thousandths of a per cent, so that they can be looked up.
type Grain = u64;

struct Search<'s, 'a> {
    trials: &'s mut Trials<'a>,
    overrides: &'s dyn Fn(f64) -> Result<Vec<String>, String>,
    full: BTreeMap<Grain, Rc<Trial>>,
    coarse: BTreeMap<Grain, f64>,
}

fn grain(factor: f64) -> Grain {
    (factor * 1e5).round() as Grain
}

fn factor_of(grain: Grain) -> f64 {
    grain as f64 / 1e5
}

/// A factor to begin with, or why there is none and the factor that is carried for sure.
type Bracket = Result<f64, (String, Option<f64>)>;

impl Search<'_, '_> {
    /// Runs a factor; `None` where it cannot be resolved or may not be run any more.
    fn run(&mut self, factor: f64, replications: u32) -> Result<Option<Rc<Trial>>, Untried> {
        let factor = factor_of(grain(factor));
        let Ok(changes) = (self.overrides)(factor) else { return Ok(None) };
        let seed = self.trials.seed();
        match self.trials.run(&changes, replications, seed) {
            Ok(trial) => Ok(Some(trial)),
            Err(Untried::Refused(_) | Untried::UsedUp) => Ok(None),
            Err(stop) => Err(stop),
        }
    }

    /// The distance from the target at a factor, by few replications.
    fn look(&mut self, factor: f64) -> Result<Option<f64>, Untried> {
        let Some(trial) = self.run(factor, FEW)? else { return Ok(None) };
        let slack = trial.slack(Of::All).value;
        self.coarse.insert(grain(factor), slack);
        Ok(Some(slack))
    }

    /// A factor near the crossing.
    fn bracket(&mut self) -> Result<Bracket, Untried> {
        let Some(now) = self.look(1.0)? else {
            return Ok(Err(("today's traffic could not be simulated".to_owned(), None)));
        };
        if now == f64::INFINITY {
            return Ok(Err(("the scenario has no objective with a number".to_owned(), None)));
        }
        let grows = now >= 0.0;
        let (mut kept, mut broken) = (1.0, 1.0);
        loop {
            if grows && broken >= MOST {
                let reason = "every objective is kept at all factors tried".to_owned();
                return Ok(Err((reason, Some(MOST))));
            }
            if !grows && kept <= 1.0 / MOST {
                let reason = "an objective is missed at all factors tried".to_owned();
                return Ok(Err((reason, None)));
            }
            let next = if grows { broken * 2.0 } else { kept / 2.0 };
            let next = next.clamp(1.0 / MOST, MOST);
            let Some(slack) = self.look(next)? else {
                let reason = format!("{next}× the traffic takes too long to simulate");
                return Ok(Err((reason, grows.then_some(kept))));
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

    /// Runs all replications around a factor until both ends of the interval have crossed.
    fn look_closer(&mut self, about: f64, replications: u32) -> Result<(), Untried> {
        let Some(like) = self.run(about, FEW)? else { return Ok(()) };
        let trials = u64::from(2 * STEPS + 1);
        let replications = self.trials.affordable(&like, trials, (FEW, replications));
        self.keep(about, replications)?;
        for (step, done) in [
            (1.0 / STEP, (|trial| trial.slack(Of::All).worse >= 0.0) as fn(&Trial) -> bool),
            (STEP, |trial| trial.slack(Of::All).better < 0.0),
        ] {
            let mut factor = about;
            for _ in 0..STEPS {
                let at_end =
                    if step < 1.0 { self.full.iter().next() } else { self.full.iter().next_back() };
                if at_end.is_some_and(|(_, trial)| done(trial)) {
                    break;
                }
                factor *= step;
                if !self.keep(factor, replications)? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, factor: f64, replications: u32) -> Result<bool, Untried> {
        let Some(trial) = self.run(factor, replications)? else { return Ok(false) };
        self.full.insert(grain(factor), trial);
        Ok(true)
    }

    /// Where a distance crosses zero, on straight lines between the factors tried.
    fn crossing(&self, of: fn(&Trial) -> f64, overloaded: f64) -> Option<f64> {
        let points: Vec<(f64, f64)> =
            self.full.iter().map(|(&grain, trial)| (factor_of(grain), of(trial))).collect();
        points.windows(2).find_map(|pair| {
            let ((a, x), (b, y)) = (pair[0], pair[1]);
            if x < 0.0 || y >= 0.0 {
                return None;
            }
            let share = if y.is_finite() { x / (x - y) } else { overloaded };
            Some(a + share * (b - a))
        })
    }

    /// The tightest objective at the first factor that is not kept.
    fn first_to_break(&self) -> Option<String> {
        let broken = self.full.values().find(|trial| trial.slack(Of::All).value < 0.0);
        let (judged, _) = broken?.tightest(Of::All)?;
        Some(judged.objective.name.clone())
    }

    fn answer(&self, factor: Estimate, objective: Option<String>) -> Headroom {
        let mut tried = self.coarse.clone();
        let closer = self.full.iter().map(|(&grain, trial)| (grain, trial.slack(Of::All).value));
        tried.extend(closer);
        let tried = tried.into_iter().map(|(grain, slack)| (factor_of(grain), slack)).collect();
        Headroom { factor, objective, tried }
    }
}
