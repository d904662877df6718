//! Promises to be judged: a metric, a comparison and a target.
//!
//! Invariants: an objective is met or missed only when the whole interval lies on one side of the
//! target; an unstable system misses its latency objectives, because its latency exceeds any
//! target when the run is long enough; a value without an interval decides nothing.
//!
//! Deliberately absent: units in text (`6s`), which the reader of the scenario turns into numbers.

use crate::estimate::Estimate;
use crate::metric::Metric;
use crate::result::RunResult;
use crate::stability::Verdict;

/// Which way a metric is to lie from its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<=`
    AtMost,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `>`
    Above,
}

/// One promise.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// The metric's path as the user wrote it.
    pub name: String,
    /// What is measured.
    pub metric: Metric,
    /// Which way.
    pub comparison: Comparison,
    /// Against what, in the metric's unit.
    pub target: f64,
    /// The right-hand side as the user wrote it, such as `<= 6s`.
    pub text: String,
}

/// How an objective fared.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectiveResult {
    /// The promise.
    pub objective: Objective,
    /// The metric's estimate.
    pub estimate: Estimate,
    /// `Some(true)`: the whole interval is on the right side; `Some(false)`: it is wholly on the
    /// wrong side, or the system is unstable and this is about latency; `None`: it straddles the
    /// target, or there is no interval.
    pub met: Option<bool>,
}

/// What a process that judged objectives should say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Every objective is met.
    Met,
    /// At least one is missed.
    Missed,
    /// None is missed, at least one is undecided.
    Undecided,
}

impl Comparison {
    /// Whether `value` lies on the right side of `target`. Numbers that agree to 12 digits count
    /// as equal: one was computed, the other read from decimal text.
    #[must_use]
    pub fn holds(self, value: f64, target: f64) -> bool {
        let equal = (value - target).abs() <= 1e-12 * target.abs();
        match self {
            Comparison::AtMost => equal || value < target,
            Comparison::AtLeast => equal || value > target,
            Comparison::Below => !equal && value < target,
            Comparison::Above => !equal && value > target,
        }
    }

    /// Whether smaller is better: the target is a ceiling.
    #[must_use]
    pub fn is_ceiling(self) -> bool {
        matches!(self, Comparison::AtMost | Comparison::Below)
    }

    /// `<=`, `>=`, `<` or `>`.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::AtMost => "<=",
            Comparison::AtLeast => ">=",
            Comparison::Below => "<",
            Comparison::Above => ">",
        }
    }
}

impl Objective {
    /// Judges a result by this promise.
    #[must_use]
    pub fn judge(&self, result: &RunResult) -> ObjectiveResult {
        let estimate = self.metric.estimate(result);
        let unstable = result.stability.verdict.is_some_and(Verdict::voids_latency);
        let met = if unstable && self.metric.depends_on_backlog() {
            Some(false)
        } else {
            // A latency that depends on the horizon can miss its target, but not keep it.
            let doubtful = result.stability.horizon_matters && self.metric.depends_on_backlog();
            self.decide(&estimate).filter(|met| !(doubtful && *met))
        };
        ObjectiveResult { objective: self.clone(), estimate, met }
    }

    fn decide(&self, estimate: &Estimate) -> Option<bool> {
        let low = self.comparison.holds(estimate.low?, self.target);
        let high = self.comparison.holds(estimate.high?, self.target);
        (low == high).then_some(low)
    }
}

impl ObjectiveResult {
    /// Whether it is decided at the calibrated times, and would be decided otherwise, or not at all,
    /// where these are as far off as they may be.
    #[must_use]
    pub fn calibration_decides(&self) -> bool {
        let Objective { comparison, target, .. } = self.objective;
        let Some(range) = &self.estimate.calibration else { return false };
        // An open end lies beyond every target.
        let low = range.low.unwrap_or(f64::NEG_INFINITY);
        let high = range.high.unwrap_or(f64::INFINITY);
        self.met.is_some() && comparison.holds(low, target) != comparison.holds(high, target)
    }
}

impl ExitStatus {
    /// One missed objective decides; an undecided one comes next.
    #[must_use]
    pub fn of(results: &[ObjectiveResult]) -> ExitStatus {
        if results.iter().any(|r| r.met == Some(false)) {
            ExitStatus::Missed
        } else if results.iter().any(|r| r.met.is_none()) {
            ExitStatus::Undecided
        } else {
            ExitStatus::Met
        }
    }

    /// 0 met, 1 missed, 3 undecided.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Met => 0,
            ExitStatus::Missed => 1,
            ExitStatus::Undecided => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Quantile;
    use sim::ids::TaskId;

    fn latency_below(target: f64) -> Objective {
        Objective {
            name: "t.p95_latency".into(),
            metric: Metric::TaskLatency(TaskId(0), Quantile::P95),
            comparison: Comparison::AtMost,
            target,
            text: format!("<= {target}s"),
        }
    }

    #[test]
    fn an_interval_decides_only_as_a_whole() {
        let estimate = Estimate::with_interval(5.0, 4.0, 6.0);
        assert_eq!(latency_below(6.0).decide(&estimate), Some(true));
        assert_eq!(latency_below(3.9).decide(&estimate), Some(false));
        assert_eq!(latency_below(5.5).decide(&estimate), None);
        assert_eq!(latency_below(9.0).decide(&Estimate::without_interval(5.0, "one")), None);
        let at_least = Objective { comparison: Comparison::AtLeast, ..latency_below(4.0) };
        assert_eq!(at_least.decide(&estimate), Some(true));
        let above = Objective { comparison: Comparison::Above, ..latency_below(4.0) };
        assert_eq!(above.decide(&estimate), None);
    }

    #[test]
    fn equality_is_to_twelve_digits() {
        let spend = 0.1 + 0.2;
        assert!(Comparison::AtMost.holds(spend, 0.3) && Comparison::AtLeast.holds(spend, 0.3));
        assert!(!Comparison::Above.holds(spend, 0.3) && !Comparison::Below.holds(spend, 0.3));
        assert!(!Comparison::AtMost.holds(0.300_001, 0.3));
    }

    #[test]
    fn a_missed_objective_outweighs_an_undecided_one() {
        let with = |met| ObjectiveResult {
            objective: latency_below(1.0),
            estimate: Estimate::default(),
            met,
        };
        let cases = [
            (vec![], 0),
            (vec![Some(true)], 0),
            (vec![Some(true), None], 3),
            (vec![None, Some(false), Some(true)], 1),
        ];
        for (met, code) in cases {
            let results: Vec<_> = met.into_iter().map(with).collect();
            assert_eq!(ExitStatus::of(&results).code(), code);
        }
    }
}
