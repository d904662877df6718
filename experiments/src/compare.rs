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
    let all = |case: &Case, found: &Replications| {
        summary::summarise_all(case.scenario(), plan.seed, found)
    };
    let (first, second) = (all(before, &found[0]), all(after, &found[1]));
    let contrast = Contrast::of((before.scenario(), &first), (after.scenario(), &second));
    let judged = |case: &Case, mut result: RunResult, found: &Replications| {
        if with_calibration {
            let of = (case.scenario(), found);
            calibration::widen(&mut result, of, &case.uncertain, plan, runner, progress)?;
        }
        Ok(summary::judged(result, case.scenario(), &case.objectives))
    };
    let (before, after) = (judged(before, first, &found[0])?, judged(after, second, &found[1])?);
    Ok(Compared { before, after, contrast })
}
