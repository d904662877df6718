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
//! judged on the candidate alone, like an objective.
//!
//! Invariants: equal arms pass every change that tolerates none, with a change of exactly nothing;
//! nothing depends on the order of the gates; a number that has no value never passes.
//!
//! Deliberately absent: running the arms (see `check`), and texts.

use crate::estimate::Estimate;
use crate::metric::Metric;
use crate::objectives::Comparison;
use crate::paired::{Change, combined};
use crate::result::RunResult;
use crate::stability::Verdict as Stability;
use sim::stats::jackknife_error;
use sim::stats::special::{student_t_quantile, student_t_tail};

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
    /// The change as it was judged: absent where a limit is.
    pub test: Option<Test>,
}

/// The test of a change, counted as the number is (not turned so that larger is worse).
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
    /// number of pairs and this gate's confidence if it were judged alone.
    pub detectable: f64,
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
        gates.iter().map(|gate| Trial::of(gate, baseline, candidate)).collect();
    // Holm: the smallest p-value is compared with error/m, the next with error/(m − 1), and so on
    // until one does not fail.
    let mut order: Vec<usize> = (0..trials.len()).filter(|&at| trials[at].is_tested()).collect();
    order.sort_by(|&a, &b| trials[a].p_value().total_cmp(&trials[b].p_value()));
    let mut left = order.len();
    let mut goes_on = true;
    for at in order {
        let share = error / left as f64;
        goes_on &= trials[at].p_value() <= share;
        let level = if goes_on { share } else { error };
        trials[at].decide(goes_on, level, (error, assurance.power));
        left -= 1;
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
    test: Option<Test>,
}

/// A change with its standard error.
#[derive(Clone, Copy)]
struct Sample {
    is_relative: bool,
    comparison: Comparison,
    change: f64,
    error: f64,
    degrees: f64,
    tolerance: f64,
}

impl Trial {
    fn of(gate: &Gate, baseline: &RunResult, candidate: &RunResult) -> Trial {
        let (before, after) = (gate.metric.estimate(baseline), gate.metric.estimate(candidate));
        let change = Change::between(&before, &after);
        let overloaded = |result: &RunResult| {
            let void = result.stability.verdict.is_some_and(Stability::voids_latency);
            void && gate.metric.depends_on_backlog()
        };
        let mut trial =
            Trial { gate: gate.clone(), change, decided: None, sample: None, test: None };
        let (sick_before, sick_after) = (overloaded(baseline), overloaded(candidate));
        trial.decided = match (sick_before, sick_after, gate.rule) {
            (_, true, Rule::Limit(..)) => Some((Verdict::Fail, Some(OVERLOADED.to_owned()))),
            (false, true, Rule::Change(_)) => Some((Verdict::Fail, Some(OVERLOADED.to_owned()))),
            (true, false, Rule::Change(_)) => {
                let why = "the baseline is overloaded and the candidate is not".to_owned();
                Some((Verdict::Pass, Some(why)))
            }
            (true, true, Rule::Change(_)) => {
                let why = "both are overloaded: the number depends on the horizon".to_owned();
                Some((Verdict::Inconclusive, Some(why)))
            }
            (_, false, Rule::Limit(comparison, limit)) => {
                Some(limited(&after, comparison, limit, candidate))
            }
            (false, false, Rule::Change(_)) => None,
        };
        if let (None, Rule::Change(tolerance)) = (&trial.decided, gate.rule) {
            match Sample::of(&before, &after, tolerance) {
                Ok(sample) => trial.sample = Some(sample),
                Err(reason) => trial.decided = Some((Verdict::Inconclusive, Some(reason))),
            }
        }
        trial
    }

    fn is_tested(&self) -> bool {
        self.sample.is_some()
    }

    fn p_value(&self) -> f64 {
        self.sample.map_or(1.0, Sample::p_value)
    }

    /// Fails, or looks whether it passes; `level` is the error this gate is judged with.
    fn decide(&mut self, fails: bool, level: f64, (alone, power): (f64, f64)) {
        let Some(sample) = self.sample else { return };
        let test = sample.test(level, alone, power);
        let beyond = match sample.comparison {
            Comparison::AtMost | Comparison::Below => test.high > sample.tolerance,
            Comparison::AtLeast | Comparison::Above => test.low < sample.tolerance,
        };
        let verdict = match (fails, beyond) {
            (true, _) => Verdict::Fail,
            (false, false) => Verdict::Pass,
            (false, true) => Verdict::Inconclusive,
        };
        self.test = Some(test);
        self.decided = Some((verdict, None));
    }

    fn judged(self) -> Judged {
        // Without a test and without a decision there is nothing: never a pass.
        let (verdict, reason) = self.decided.unwrap_or((Verdict::Inconclusive, None));
        Judged { gate: self.gate, change: self.change, verdict, reason, test: self.test }
    }
}

const OVERLOADED: &str = "the candidate is overloaded: the number grows as long as the run lasts";

/// A limit on the candidate alone, judged as an objective is.
fn limited(
    after: &Estimate,
    comparison: Comparison,
    limit: f64,
    candidate: &RunResult,
) -> (Verdict, Option<String>) {
    let (Some(low), Some(high)) = (after.low, after.high) else {
        let why = after.reason.clone().unwrap_or_else(|| "it has no interval".to_owned());
        return (Verdict::Inconclusive, Some(why));
    };
    match (comparison.holds(low, limit), comparison.holds(high, limit)) {
        (false, false) => (Verdict::Fail, None),
        (true, true) if candidate.stability.horizon_matters => {
            let why = "the backlog rises, so it holds for this horizon alone".to_owned();
            (Verdict::Inconclusive, Some(why))
        }
        (true, true) => (Verdict::Pass, None),
        _ => (Verdict::Inconclusive, None),
    }
}

impl Sample {
    /// The change on the scale of the tolerance that counts, or why there is none.
    fn of(before: &Estimate, after: &Estimate, tolerance: Tolerance) -> Result<Sample, String> {
        let Tolerance { comparison, relative, absolute } = tolerance;
        let rises = matches!(comparison, Comparison::AtMost | Comparison::Below);
        let base = before.value.unwrap_or(0.0).abs();
        // The looser of both, in the number's unit.
        let is_relative = match (relative, absolute) {
            (Some(relative), Some(absolute)) => {
                let in_unit = relative * base;
                base > 0.0 && if rises { in_unit >= absolute } else { in_unit <= absolute }
            }
            (relative, _) => relative.is_some(),
        };
        let found = if is_relative {
            // A negative baseline (a loss) turns a rise into a smaller ratio: its size counts.
            combined(before, after, |a, b| (a != 0.0).then(|| (b - a) / a.abs()))
        } else {
            combined(before, after, |a, b| Some(b - a))
        };
        let change = found.value.ok_or_else(|| found.reason.clone().unwrap_or_default())?;
        let error = jackknife_error(&found.without)
            .ok_or_else(|| found.reason.clone().unwrap_or_default())?;
        let degrees = found.without.len() as f64 - 1.0;
        let tolerance = if is_relative { relative } else { absolute }.unwrap_or(0.0);
        Ok(Sample { is_relative, comparison, change, error, degrees, tolerance })
    }

    /// How far the change lies beyond the tolerance; larger is worse.
    fn beyond(self) -> f64 {
        match self.comparison {
            Comparison::AtMost | Comparison::Below => self.change - self.tolerance,
            Comparison::AtLeast | Comparison::Above => self.tolerance - self.change,
        }
    }

    fn p_value(self) -> f64 {
        if self.error > 0.0 {
            return student_t_tail(self.beyond() / self.error, self.degrees);
        }
        // It does not vary: certain either way.
        if self.beyond() > 0.0 { 0.0 } else { 1.0 }
    }

    fn test(self, level: f64, alone: f64, power: f64) -> Test {
        let reach = |probability: f64| student_t_quantile(probability, self.degrees) * self.error;
        let effect = reach(1.0 - alone) + reach(power);
        Test {
            is_relative: self.is_relative,
            change: self.change,
            low: self.change - reach(1.0 - level),
            high: self.change + reach(1.0 - level),
            tolerance: self.tolerance,
            p_value: self.p_value(),
            detectable: match self.comparison {
                Comparison::AtMost | Comparison::Below => self.tolerance + effect,
                Comparison::AtLeast | Comparison::Above => self.tolerance - effect,
            },
        }
    }
}
