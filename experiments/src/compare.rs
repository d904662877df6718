//! Two scenarios side by side under the same random numbers.
//!
//! Deliberately absent: a verdict (see `check`), and single tasks (see `examples`).

use crate::arms::Arms;
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

/// Runs two scenarios with the same replications and compares them.
///
/// # Errors
/// Those of [`crate::replicate()`].
pub fn compare(
    (before, after): (&Case, &Case),
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
    let judged = |case: &Case, result| summary::judged(result, case.scenario(), &case.objectives);
    Ok(Compared { before: judged(before, first), after: judged(after, second), contrast })
}
