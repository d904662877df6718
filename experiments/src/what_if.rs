//! Today beside tomorrow: what changes, what gives out first, how far it is to the edge, and the
//! smallest repair.
//!
//! Invariants: today and tomorrow see the same customers, and tomorrow's further ones besides; every
//! number of the answer comes from a simulation that a plain run of the same scenario repeats; a
//! repair is recommended only where it kept all objectives under the seed of the run and under fresh
//! ones.
//!
//! Deliberately absent: texts, among them the sentence of the verdict.

use crate::bottleneck::{self, Bottleneck, Nearest};
use crate::case::Case;
use crate::compare::{Compared, compare};
use crate::headroom::{Headroom, headroom};
use crate::repair::{self, Lever, repair};
use crate::replicate::{Halt, Plan, Progress, ReplicateError, Runner, StopReason};
use crate::trial::{Resolve, Trials, Untried};
use crate::warnings::Warning;
use sim::units::Span;

/// Events that the search for the headroom may take, and that for a repair, as a multiple of what
/// today and tomorrow took: what keeps an answer within seconds.
const SEARCH: u64 = 2;
/// Events that each of them may take in any case.
const LEAST_SEARCH: u64 = 15_000_000;

/// What is asked.
pub struct Question<'a> {
    /// Today.
    pub today: &'a Case,
    /// Overrides that make tomorrow of it.
    pub changes: &'a [String],
    /// Overrides that multiply today's traffic by a factor.
    pub traffic: &'a dyn Fn(f64) -> Result<Vec<String>, String>,
    /// What a repair may change tomorrow.
    pub levers: &'a [Lever],
    /// Whether the error of the calibration is looked for, too.
    pub with_calibration: bool,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct WhatIf {
    /// Today and tomorrow, side by side.
    pub compared: Compared,
    /// What gives out tomorrow, first one first; what does so as often today stands at the end.
    pub bottlenecks: Vec<Bottleneck>,
    /// What comes closest to giving out tomorrow.
    pub nearest: Option<Nearest>,
    /// Objectives that are missed tomorrow: path, and when their latency first lies beyond the target.
    pub broken: Vec<(String, Option<Span>)>,
    /// By what factor today's traffic may grow.
    pub headroom: Option<Headroom>,
    /// The smallest repair of tomorrow.
    pub repair: Option<repair::Search>,
    /// Replications that the searches ran besides.
    pub search_runs: u64,
    /// What stopped the work from outside before its end.
    pub halt: Option<Halt>,
    /// What is therefore absent or not finished.
    pub unfinished: Vec<Part>,
}

/// A part of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Replications of both days.
    Replications,
    /// What the error of the calibration may do.
    Calibration,
    /// The headroom.
    Headroom,
    /// The repair.
    Repair,
}

/// Answers; where it was stopped from outside, the answer says so, and which part is not finished.
///
/// # Errors
/// Tomorrow cannot be resolved (in words), or not even one replication was finished.
pub fn what_if(
    question: &Question<'_>,
    resolve: &Resolve<'_>,
    plan: &Plan,
    (runner, progress): (&Runner<'_>, &dyn Progress),
) -> Result<WhatIf, WhatIfError> {
    let today = question.today;
    let tomorrow = resolve(question.changes).map_err(WhatIfError::Refused)?;
    let cases = (today, &tomorrow);
    let compared = compare(cases, question.with_calibration, plan, runner, progress)?;
    let after = &compared.after;
    let missed = after.objectives.iter().filter(|judged| judged.met == Some(false));
    let broken = missed.map(|judged| {
        let at = bottleneck::breaks_at(&judged.objective, after);
        (judged.objective.name.clone(), at)
    });
    let mut answer = WhatIf {
        bottlenecks: new_ones_first(
            bottleneck::bottlenecks(today.scenario(), &compared.before),
            bottleneck::bottlenecks(tomorrow.scenario(), after),
        ),
        nearest: bottleneck::nearest(tomorrow.scenario(), after),
        broken: broken.collect(),
        headroom: None,
        repair: None,
        search_runs: 0,
        halt: None,
        unfinished: Vec::new(),
        compared,
    };
    answer.look_for_halts();
    if !tomorrow.objectives.is_empty() {
        let trials = Trials::new(resolve, *plan, (runner, progress));
        answer.search(question, trials)?;
    }
    Ok(answer)
}

impl WhatIf {
    /// Whether one of the days was stopped from outside.
    fn look_for_halts(&mut self) {
        for day in [&self.compared.before, &self.compared.after] {
            let StopReason::Halted(halt) = &day.stopped else { continue };
            let part = match day.warnings.contains(&Warning::CalibrationInterrupted) {
                true => Part::Calibration,
                false => Part::Replications,
            };
            self.halt.get_or_insert(halt.clone());
            if !self.unfinished.contains(&part) {
                self.unfinished.push(part);
            }
        }
    }

    /// Looks for the headroom and for the repair.
    fn search(
        &mut self,
        question: &Question<'_>,
        mut trials: Trials<'_>,
    ) -> Result<(), ReplicateError> {
        if self.halt.is_some() {
            self.unfinished.extend([Part::Headroom, Part::Repair]);
            return Ok(());
        }
        let (before, after) = (&self.compared.before, &self.compared.after);
        let spent = before.events + after.events;
        let events = (spent.saturating_mul(SEARCH)).max(LEAST_SEARCH);
        let replications = before.replications;
        trials.allow(events);
        match headroom(&mut trials, replications, question.traffic) {
            Ok(found) => self.headroom = Some(found),
            Err(Untried::Failed(error)) => return Err(error),
            Err(Untried::Halted(halt)) => {
                self.halt = Some(halt);
                self.unfinished.extend([Part::Headroom, Part::Repair]);
            }
            // The search says by itself what it could not run.
            Err(Untried::Refused(_) | Untried::UsedUp) => {}
        }
        if self.halt.is_none() {
            trials.allow(events);
            match repair(&mut trials, question.changes, question.levers, replications) {
                Ok(found) => {
                    self.halt.clone_from(&found.halt);
                    self.unfinished.extend(found.halt.as_ref().map(|_| Part::Repair));
                    self.repair = Some(found);
                }
                Err(Untried::Failed(error)) => return Err(error),
                Err(_) => {}
            }
        }
        self.search_runs = trials.runs();
        Ok(())
    }
}

/// Tomorrow's bottlenecks, those that are hardly more so than today at the end.
fn new_ones_first(today: Vec<Bottleneck>, tomorrow: Vec<Bottleneck>) -> Vec<Bottleneck> {
    let is_old = |bottleneck: &Bottleneck| {
        let same = |known: &&Bottleneck| {
            known.part == bottleneck.part && known.shortage == bottleneck.shortage
        };
        let known = today.iter().find(same);
        known.is_some_and(|known| known.share > bottleneck.share / 2.0)
    };
    let (old, mut new): (Vec<Bottleneck>, Vec<Bottleneck>) = tomorrow.into_iter().partition(is_old);
    new.extend(old);
    new
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WhatIfError {
    /// Tomorrow cannot be resolved.
    #[error("{0}")]
    Refused(String),
    /// Nothing was finished.
    #[error(transparent)]
    Failed(#[from] ReplicateError),
}
