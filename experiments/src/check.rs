//! A check: baseline and candidate side by side, more pairs while a gate cannot tell.
//!
//! Invariants: both arms are run here, by the same binary, under the same seed, so a verdict is
//! never a comparison with a stored number; the verdict depends on the scenarios, the gates, the
//! seed and the plan, never on the number of threads; nothing is judged that the baseline against
//! itself would not pass.
//!
//! Deliberately absent: exit codes, texts, and single tasks (see `examples`).

use crate::arms::Arms;
use crate::contrast::Contrast;
use crate::gate::{self, Assurance, Gate, Judged, Level, Verdict};
use crate::objectives::Objective;
use crate::replicate::{
    Plan, Progress, ReplicateError, Replications, Runner, Sample, StopReason, replicate,
};
use crate::result::RunResult;
use crate::summary;
use sim::Scenario;

/// Replications of the baseline that are run a second time, as its own candidate.
const SELF_TEST: u32 = 2;

/// How a check goes about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckPlan {
    /// Seed, threads and limits; the number of replications is that of `pairs`.
    pub plan: Plan,
    /// Pairs of replications at first; at least two.
    pub pairs: u32,
    /// Pairs after which what cannot be told stays inconclusive.
    pub most_pairs: u32,
    /// Confidence of failing.
    pub confidence: f64,
    /// Probability with which the stated effects are found.
    pub power: f64,
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct CheckResult {
    /// The worst of the gates that bind.
    pub verdict: Verdict,
    /// One per gate, in their order.
    pub gates: Vec<Judged>,
    /// Pairs of replications they were judged on.
    pub pairs: u32,
    /// The most there might have been.
    pub most_pairs: u32,
    /// How sure the check had to be.
    pub assurance: Assurance,
    /// Why there are no more pairs.
    pub stopped: StopReason,
    /// The baseline, judged by the objectives.
    pub baseline: RunResult,
    /// The candidate likewise.
    pub candidate: RunResult,
    /// Everything that both have, side by side.
    pub contrast: Contrast,
    /// Whether the baseline, run again as its own candidate, was the same to the last digit. If not,
    /// the simulator has a bug and no verdict counts.
    pub repeats: bool,
}

impl CheckPlan {
    /// Numbers of pairs at which the gates are judged: doubled each time up to the most.
    fn looks(&self) -> Vec<u32> {
        let most = self.most_pairs.max(self.pairs);
        let mut looks = vec![self.pairs.max(2)];
        while let Some(&last) = looks.last()
            && last < most
        {
            looks.push(last.saturating_mul(2).min(most));
        }
        looks
    }
}

/// Checks a candidate against a baseline; both have the same tasks, models and pools in the same
/// order.
///
/// # Errors
/// Those of [`replicate`].
pub fn check(
    (baseline, candidate): (&Scenario, &Scenario),
    (gates, objectives): (&[Gate], &[Objective]),
    how: &CheckPlan,
    runner: &Runner<'_>,
    progress: &dyn Progress,
) -> Result<CheckResult, ReplicateError> {
    let looks = how.looks();
    let most = looks.last().copied().unwrap_or(how.pairs);
    let assurance =
        Assurance { confidence: how.confidence, power: how.power, looks: looks.len() as u32 };
    let mut arms = Arms::new(&[baseline, candidate], &how.plan, runner, progress)?;
    let mut found = Found::default();
    for pairs in looks {
        arms.extend_to(pairs, most)?;
        found = Found::of((baseline, candidate), &arms.replications(), how.plan.seed);
        found.gates = gate::judge(gates, (&found.results[0], &found.results[1]), assurance);
        if arms.is_halted() || !found.gates.iter().any(may_be_decided) {
            break;
        }
    }
    let replications = arms.finish()?;
    let [first, second] = replications.as_slice() else {
        return Err(ReplicateError::NothingFinished(crate::replicate::Halt::Interrupted));
    };
    let halted = matches!(first.stopped, StopReason::Halted(_));
    let repeats = halted || repeats(baseline, &how.plan, (first, runner), progress)?;
    let contrast = Contrast::of((baseline, &found.results[0]), (candidate, &found.results[1]));
    let judged = |scenario, replications| {
        summary::summarise(scenario, how.plan.seed, replications, objectives)
    };
    Ok(CheckResult {
        // What was stopped in the middle depends on how fast it went: no verdict.
        verdict: if halted { Verdict::Inconclusive } else { gate::verdict(&found.gates) },
        gates: found.gates,
        pairs: first.records.len() as u32,
        most_pairs: most,
        assurance,
        stopped: first.stopped.clone(),
        baseline: judged(baseline, first),
        candidate: judged(candidate, second),
        contrast,
        repeats,
    })
}

/// Both arms so far, with all their tasks.
#[derive(Default)]
struct Found {
    results: Vec<RunResult>,
    gates: Vec<Judged>,
}

impl Found {
    fn of(scenarios: (&Scenario, &Scenario), arms: &[Replications], seed: u64) -> Found {
        let arms = [scenarios.0, scenarios.1].into_iter().zip(arms);
        let results = arms.map(|(scenario, found)| summary::summarise_all(scenario, seed, found));
        Found { results: results.collect(), gates: Vec::new() }
    }
}

/// Whether more pairs might decide a gate that binds.
fn may_be_decided(judged: &Judged) -> bool {
    let open = judged.verdict == Verdict::Inconclusive && judged.gate.level == Level::Fail;
    // Without a test there was no interval, which more pairs may bring only to a limit.
    open && (judged.test.is_some() || judged.reason.is_none())
}

/// Whether the first replications of the baseline come out the same when they are run again.
fn repeats(
    baseline: &Scenario,
    plan: &Plan,
    (first, runner): (&Replications, &Runner<'_>),
    progress: &dyn Progress,
) -> Result<bool, ReplicateError> {
    let sample = Sample::Fixed(SELF_TEST);
    let scenario = Scenario { warm_up: first.removed, ..baseline.clone() };
    let plan = Plan { replications: sample, steady_state: false, ..*plan };
    let again = replicate(&scenario, &plan, runner, progress)?;
    Ok(again.records.iter().zip(&first.records).all(|(again, first)| again == first))
}
