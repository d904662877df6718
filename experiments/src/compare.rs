//! Two scenarios side by side under the same random numbers.
//!
//! Deliberately absent: a verdict (see `check`), and single tasks (see `examples`).

use crate::arms::Arms;
use crate::calibration;
use crate::case::Case;
use crate::contrast::Contrast;
use crate::replicate::{Plan, Progress, ReplicateError, Replications, Runner};
use crate::result::RunResult;
use crate::summary;

/// Both arms, and what changed between them.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The first arm, judged by its own objectives.
    pub before: RunResult,
    /// The second likewise.
    pub after: RunResult,
    /// Everything that both have, side by side.
    pub contrast: Contrast,
}

/// Runs two scenarios with the same replications and compares them; with what the error of their
/// calibrations may do to each, if that is asked for.
///
/// # Errors
/// Those of [`crate::replicate()`].
pub fn compare(
    (before, after): (&Case, &Case),
    with_calibration: bool,
    plan: &Plan,
    runner: &Runner<'_>,
    progress: &dyn Progress,
) -> Result<Compared, ReplicateError> {
    let mut arms = Arms::new(&[before.scenario(), after.scenario()], plan, runner, progress)?;
    arms.measure(plan.replications)?;
    let found = arms.finish()?;
    let (first, second) = (&found[0], &found[1]);
    let mut both = unjudged((before, after), plan.seed, (first, second));
    if with_calibration {
        let widen = |case: &Case, result: &mut RunResult, found: &Replications| {
            let of = (case.scenario(), found);
            calibration::widen(result, of, &case.uncertain, plan, runner, progress)
        };
        widen(before, &mut both.before, first)?;
        widen(after, &mut both.after, second)?;
    }
    Ok(judged((before, after), both))
}

/// Compares what the arms of two scenarios have found so far, in the order of the arms.
#[must_use]
pub fn of_replications(
    cases: (&Case, &Case),
    seed: u64,
    found: (&Replications, &Replications),
) -> Compared {
    judged(cases, unjudged(cases, seed, found))
}

fn unjudged(
    (before, after): (&Case, &Case),
    seed: u64,
    (first, second): (&Replications, &Replications),
) -> Compared {
    let all = |case: &Case, found| summary::summarise_all(case.scenario(), seed, found);
    let (first, second) = (all(before, first), all(after, second));
    let contrast = Contrast::of((before.scenario(), &first), (after.scenario(), &second));
    Compared { before: first, after: second, contrast }
}

fn judged((before, after): (&Case, &Case), both: Compared) -> Compared {
    let judge = |case: &Case, result| summary::judged(result, case.scenario(), &case.objectives);
    Compared { before: judge(before, both.before), after: judge(after, both.after), ..both }
}
