//! Gates: whether a candidate is worse than a baseline by more than is tolerated.
//!
//! Both arms are run under the same random numbers, and a gate judges the paired change of one
//! number. With `θ` the change and `τ` the tolerance, counted so that larger is worse, it
//!
//! * **fails** when the lower confidence bound of `θ` exceeds `τ`: it is worse, not by chance;
//! * **passes** when the upper confidence bound of `θ` does not exceed `τ`;
//! * is **inconclusive** otherwise, and more pairs of replications are run, up to a cap.
//!
//! Several gates fail by the rule of Holm (Scand. J. Statist. 6, 1979): with no gate's tolerance
//! exceeded, the probability that any fails is at most 1 − confidence, however many there are.
//! Passing needs no correction: a check passes when every gate does (intersection–union test, Berger,
//! Technometrics 24, 1982). Each look at the data after more pairs is one more chance to err, so every
//! look has its share of the error (Bonferroni over the looks).
//!
//! A tolerance in per cent is judged on the ratio of the arms, an absolute one on their difference;
//! of two, the one that allows more at the baseline found. A gate's limit (a ceiling or floor) is
//! judged by the same rules, with the candidate's own number for `θ`, the limit for `τ`, and the
//! two-sided interval of an objective.
//!
//! Invariants: equal arms pass every change that tolerates none, with a change of exactly nothing;
//! arms that are not equal are never held to differ by nothing for sure in a share of cases (see
//! `sample`); nothing depends on the order of the gates; a number that has no value never passes.
//!
//! Deliberately absent: running the arms (see `check`), and texts.

use crate::metric::Metric;
use crate::objectives::Comparison;
use crate::paired::Change;
use crate::result::RunResult;
use crate::stability::Verdict as Stability;
use sample::Sample;

mod sample;

/// What happens when a gate fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The check fails.
    Fail,
    /// The check only warns.
    Warn,
}

/// A change that is tolerated: the looser of two, where both are given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Which way the candidate has to lie from the baseline changed by this: `AtMost` for a number
    /// that must not rise by more.
    pub comparison: Comparison,
    /// As a part of the baseline: 0.02 is two per cent more.
    pub relative: Option<f64>,
    /// In the number's unit.
    pub absolute: Option<f64>,
}

/// One gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Path of its number.
    pub name: String,
    /// As it was written.
    pub text: String,
    /// What is measured.
    pub metric: Metric,
    /// What is asked of it.
    pub rule: Rule,
    /// What failing means.
    pub level: Level,
}

/// What a gate asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// That the candidate is not worse than the baseline by more than this.
    Change(Tolerance),
    /// That the candidate lies on this side of a limit, whatever the baseline does.
    Limit(Comparison, f64),
}

/// How a gate fared, or a whole check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Not worse than tolerated, surely.
    Pass,
    /// Neither is sure.
    Inconclusive,
    /// Worse than tolerated, surely.
    Fail,
}

/// A gate and what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The gate.
    pub gate: Gate,
    /// Its number in both arms.
    pub change: Change,
    /// Verdict, with the other gates in mind.
    pub verdict: Verdict,
    /// Why, where the interval does not say it.
    pub reason: Option<String>,
    /// The test that decided; absent where none was possible or needed.
    pub test: Option<Test>,
}

/// The test of a gate, counted as the number is (not turned so that larger is worse). Of a limit
/// `change` is the candidate's number itself, and `tolerance` the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    /// Whether the change was judged as a part of the baseline.
    pub is_relative: bool,
    /// The change found: of the baseline, or in the number's unit.
    pub change: f64,
    /// Lower end of its interval, one-sided, at the confidence this gate was judged with.
    pub low: f64,
    /// Upper end likewise.
    pub high: f64,
    /// What is tolerated.
    pub tolerance: f64,
    /// The probability of so large a change if just the tolerated one were true.
    pub p_value: f64,
    /// The change that would be found to be beyond tolerance with probability `power`, at this
    /// number of pairs and this gate's confidence if it were judged alone. Absent where arms that
    /// are not equal show no spread, which says nothing of what others would show.
    pub detectable: Option<f64>,
}

/// How sure a check has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assurance {
    /// Confidence of the whole check's failing.
    pub confidence: f64,
    /// Probability with which a stated effect is found.
    pub power: f64,
    /// Looks at the data there may be.
    pub looks: u32,
}

impl Assurance {
    /// Error that one look may make.
    fn per_look(self) -> f64 {
        (1.0 - self.confidence) / f64::from(self.looks.max(1))
    }
}

/// The worst of the gates, those that only warn left out.
#[must_use]
pub fn verdict(gates: &[Judged]) -> Verdict {
    let binding = gates.iter().filter(|judged| judged.gate.level == Level::Fail);
    binding.map(|judged| judged.verdict).max().unwrap_or(Verdict::Pass)
}

/// Judges all gates on the same pairs of replications.
#[must_use]
pub fn judge(
    gates: &[Gate],
    (baseline, candidate): (&RunResult, &RunResult),
    assurance: Assurance,
) -> Vec<Judged> {
    let error = assurance.per_look();
    let mut trials: Vec<Trial> =
        gates.iter().map(|gate| Trial::of(gate, (baseline, candidate), error)).collect();
    // Holm: the smallest p-value is compared with error/m, the next with error/(m − 1), and so on
    // until one does not fail.
    let mut order: Vec<usize> = (0..trials.len()).filter(|&at| trials[at].is_tested()).collect();
    order.sort_by(|&a, &b| trials[a].p_value().total_cmp(&trials[b].p_value()));
    let tested = order.len();
    let mut goes_on = true;
    for (rank, at) in order.into_iter().enumerate() {
        let share = error / (tested - rank) as f64;
        goes_on &= trials[at].p_value() <= share;
        let level = if goes_on { share } else { error };
        trials[at].decide(goes_on, level, (error, assurance.power), tested);
    }
    trials.into_iter().map(Trial::judged).collect()
}

/// A gate under judgement.
struct Trial {
    gate: Gate,
    change: Change,
    /// What is decided without a test.
    decided: Option<(Verdict, Option<String>)>,
    /// The change as it is judged, where there is one.
    sample: Option<Sample>,
    /// Whether a limit that holds would do so for this horizon alone.
    is_doubtful: bool,
    test: Option<Test>,
}

impl Trial {
    fn of(gate: &Gate, (baseline, candidate): (&RunResult, &RunResult), error: f64) -> Trial {
        let (before, after) = (gate.metric.estimate(baseline), gate.metric.estimate(candidate));
        let overloaded = |result: &RunResult| {
            let void = result.stability.verdict.is_some_and(Stability::voids_latency);
            void && gate.metric.depends_on_backlog()
        };
        let failed = Some((Verdict::Fail, Some(OVERLOADED.to_owned())));
        let decided = match (overloaded(baseline), overloaded(candidate), gate.rule) {
            (_, true, Rule::Limit(..)) | (false, true, Rule::Change(_)) => failed,
            (true, false, Rule::Change(_)) => {
                let why = "the baseline is overloaded and the candidate is not".to_owned();
                Some((Verdict::Pass, Some(why)))
            }
            (true, true, Rule::Change(_)) => {
                let why = "both are overloaded: the number depends on the horizon".to_owned();
                Some((Verdict::Inconclusive, Some(why)))
            }
            (_, false, Rule::Limit(..)) | (false, false, Rule::Change(_)) => None,
        };
        let sample = match gate.rule {
            Rule::Change(tolerance) => {
                let equal = baseline == candidate;
                Sample::of_change((&before, &after), tolerance, equal, error)
            }
            Rule::Limit(comparison, limit) => {
                let is_time = gate.metric.unit() == "s";
                Sample::of_limit(&after, (comparison, limit), is_time, error)
            }
        };
        let (decided, sample) = match (decided, sample) {
            (None, Ok(sample)) => (None, Some(sample)),
            (None, Err(reason)) => (Some((Verdict::Inconclusive, Some(reason))), None),
            (decided, _) => (decided, None),
        };
        Trial {
            gate: gate.clone(),
            change: Change::between(&before, &after),
            decided,
            sample,
            is_doubtful: matches!(gate.rule, Rule::Limit(..))
                && candidate.stability.horizon_matters
                && gate.metric.depends_on_backlog(),
            test: None,
        }
    }

    fn is_tested(&self) -> bool {
        self.sample.is_some()
    }

    fn p_value(&self) -> f64 {
        self.sample.map_or(1.0, Sample::p_value)
    }

    /// Fails, or looks whether it passes; `level` is the error this gate is judged with, one of so
    /// many that are.
    fn decide(&mut self, fails: bool, level: f64, (alone, power): (f64, f64), tested: usize) {
        let Some(sample) = self.sample else { return };
        let test = sample.test(level, alone, power);
        let holds = [test.low, test.high].map(|end| sample.comparison.holds(end, test.tolerance));
        let decided = match (fails, holds) {
            (true, _) => (Verdict::Fail, None),
            (false, [true, true]) if self.is_doubtful => {
                // No number of pairs would decide it: no test did.
                let why = "the backlog rises, so it holds for this horizon alone".to_owned();
                self.decided = Some((Verdict::Inconclusive, Some(why)));
                return;
            }
            (false, [true, true]) => (Verdict::Pass, None),
            (false, [false, false]) => {
                let why = format!(
                    "its own interval lies beyond what is allowed, but one of {tested} gates fails \
                     only with more confidence (Holm's rule)"
                );
                (Verdict::Inconclusive, Some(why))
            }
            (false, _) => (Verdict::Inconclusive, None),
        };
        self.test = Some(test);
        self.decided = Some(decided);
    }

    fn judged(self) -> Judged {
        // Without a test and without a decision there is nothing: never a pass.
        let (verdict, reason) = self.decided.unwrap_or((Verdict::Inconclusive, None));
        Judged { gate: self.gate, change: self.change, verdict, reason, test: self.test }
    }
}

const OVERLOADED: &str = "the candidate is overloaded: the number grows as long as the run lasts";
