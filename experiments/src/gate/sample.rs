//! What a gate judges, with its standard error: a change, or a candidate's number beside a limit.
//!
//! The error is the jackknife's over replications. A share of cases (a success rate) in which every
//! case of an arm agrees shows no spread, which does not mean that there is none: after 150 tasks
//! without a failure two in a hundred may fail. There the exact binomial bound for independent cases
//! (Clopper and Pearson, Biometrika 26, 1934) stands in, as the standard error at which the bound of
//! the gate's confidence is that one. It reaches to one side only: a share of 1 can be too high and
//! not too low. Where both arms have failures, and exactly the same ones in every replication, no
//! case in so many differs, and the same bound holds for those that do, to both sides.
//!
//! A change is one-sided: nobody asks how much better a candidate may be. A limit has the two-sided
//! interval of an objective: half of the error to either side. That of a time is on the scale of its
//! logarithm, because the error of a quantile grows with it and busy hours that a sample missed make
//! both too small.
//!
//! Invariants: equal arms differ by exactly nothing; otherwise the difference of two shares has an
//! error above zero.
//!
//! Deliberately absent: verdicts, and the rule of Holm (see the module above).

use super::{Test, Tolerance};
use crate::estimate::Estimate;
use crate::objectives::Comparison;
use crate::paired::combined;
use sim::stats::jackknife_error;
use sim::stats::special::{student_t_quantile, student_t_tail};

/// A change with its standard errors.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) is_relative: bool,
    pub(super) comparison: Comparison,
    pub(super) change: f64,
    pub(super) tolerance: f64,
    /// By which the truth may lie below and above the change found.
    errors: Sides,
    degrees: f64,
    /// Of a share in which all cases agree, how many there are, on the scale of the change: what
    /// others would show spreads as they do.
    unanimous: Option<f64>,
    /// Whether an error of zero says that nothing differs.
    is_exact: bool,
    /// Sides that share the error of the test.
    sides: f64,
    /// Whether change, tolerance and errors are those of the logarithm.
    is_logarithm: bool,
}

/// Standard errors to either side.
#[derive(Clone, Copy)]
struct Sides {
    below: f64,
    above: f64,
}

impl Sides {
    const NONE: Sides = Sides { below: 0.0, above: 0.0 };

    /// The binomial bound of a share in which all of the cases agree; nothing of any other number.
    fn of_agreement(estimate: &Estimate, level: f64, degrees: f64) -> Sides {
        let error = estimate.cases.map_or(0.0, |cases| binomial_error(cases, level, degrees));
        match estimate.value {
            Some(1.0) => Sides { below: error, above: 0.0 },
            Some(0.0) => Sides { below: 0.0, above: error },
            _ => Sides::NONE,
        }
    }

    fn with(self, other: Sides) -> Sides {
        let below = libm::hypot(self.below, other.below);
        Sides { below, above: libm::hypot(self.above, other.above) }
    }

    fn swapped(self) -> Sides {
        Sides { below: self.above, above: self.below }
    }
}

/// The standard error whose bound at the error `level` is the binomial one: with `n` successes of
/// `n` the share is at least `level^(1/n)`.
fn binomial_error(cases: u64, level: f64, degrees: f64) -> f64 {
    let bound = 1.0 - libm::exp(libm::log(level) / cases as f64);
    bound / student_t_quantile(1.0 - level, degrees)
}

impl Sample {
    /// The change on the scale of the tolerance that counts, or why there is none. `equal` arms are
    /// the same in all that was recorded; `level` is the error of one look.
    pub(super) fn of_change(
        (before, after): (&Estimate, &Estimate),
        tolerance: Tolerance,
        equal: bool,
        level: f64,
    ) -> Result<Sample, String> {
        let Tolerance { comparison, relative, absolute } = tolerance;
        let rises = comparison.is_ceiling();
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
        let mut sample = Sample::of(&found, comparison)?;
        sample.is_relative = is_relative;
        sample.tolerance = if is_relative { relative } else { absolute }.unwrap_or(0.0);
        sample.is_exact = equal;
        if !equal {
            sample.add_unseen((before, after), level);
        }
        Ok(sample)
    }

    /// The candidate's number itself beside a limit, or why there is none.
    pub(super) fn of_limit(
        after: &Estimate,
        (comparison, limit): (Comparison, f64),
        is_time: bool,
        level: f64,
    ) -> Result<Sample, String> {
        let is_above_zero = |value: f64| value > 0.0;
        let has_logarithm = is_time
            && is_above_zero(limit)
            && after.value.is_some_and(is_above_zero)
            && after.without.iter().copied().all(is_above_zero);
        let scaled = if has_logarithm { after.clone().map(libm::log) } else { after.clone() };
        let mut sample = Sample::of(&scaled, comparison)?;
        sample.sides = 2.0;
        sample.is_logarithm = has_logarithm;
        sample.tolerance = if has_logarithm { libm::log(limit) } else { limit };
        let unseen = Sides::of_agreement(after, level / sample.sides, sample.degrees);
        sample.errors = sample.errors.with(unseen);
        Ok(sample)
    }

    fn of(found: &Estimate, comparison: Comparison) -> Result<Sample, String> {
        let none = || found.reason.clone().unwrap_or_else(|| "it has no interval".to_owned());
        let change = found.value.ok_or_else(none)?;
        let error = jackknife_error(&found.without).ok_or_else(none)?;
        Ok(Sample {
            is_relative: false,
            comparison,
            change,
            tolerance: 0.0,
            errors: Sides { below: error, above: error },
            degrees: found.without.len() as f64 - 1.0,
            unanimous: None,
            is_exact: false,
            sides: 1.0,
            is_logarithm: false,
        })
    }

    /// Adds what the cases of two shares did not show and others might.
    fn add_unseen(&mut self, (before, after): (&Estimate, &Estimate), level: f64) {
        let (Some(first), Some(second)) = (before.cases, after.cases) else { return };
        let scale = if self.is_relative { before.value.unwrap_or(1.0).abs().recip() } else { 1.0 };
        let of = |estimate| Sides::of_agreement(estimate, level, self.degrees);
        let mut unseen = of(after).with(of(before).swapped());
        if self.errors.below == 0.0 {
            // Not one case is known to differ.
            let error = binomial_error(first.min(second), level, self.degrees);
            unseen = Sides { below: unseen.below.max(error), above: unseen.above.max(error) };
            self.unanimous = Some(first.min(second) as f64 / scale);
        }
        let unseen = Sides { below: unseen.below * scale, above: unseen.above * scale };
        self.errors = self.errors.with(unseen);
    }

    /// The error on the side of the tolerance, if the change lies beyond it.
    fn error(self) -> f64 {
        if self.comparison.is_ceiling() { self.errors.below } else { self.errors.above }
    }

    pub(super) fn p_value(self) -> f64 {
        let beyond = self.change - self.tolerance;
        let beyond = if self.comparison.is_ceiling() { beyond } else { -beyond };
        if self.error() > 0.0 {
            let tail = student_t_tail(beyond / self.error(), self.degrees);
            return (self.sides * tail).min(1.0);
        }
        // It does not vary: certain either way.
        if self.comparison.holds(self.change, self.tolerance) { 1.0 } else { 0.0 }
    }

    pub(super) fn test(self, level: f64, alone: f64, power: f64) -> Test {
        let bound = student_t_quantile(1.0 - level / self.sides, self.degrees);
        let back = |value: f64| if self.is_logarithm { libm::exp(value) } else { value };
        Test {
            is_relative: self.is_relative,
            change: back(self.change),
            low: back(self.change - bound * self.errors.below),
            high: back(self.change + bound * self.errors.above),
            tolerance: back(self.tolerance),
            p_value: self.p_value(),
            detectable: self.detectable(alone / self.sides, power).map(back),
        }
    }

    /// The change that would be found with probability `power` at the error `alone`.
    fn detectable(self, alone: f64, power: f64) -> Option<f64> {
        if self.error() == 0.0 && !self.is_exact {
            return None;
        }
        let reach = [1.0 - alone, power].map(|p| student_t_quantile(p, self.degrees));
        let beyond = |error: f64| (reach[0] + reach[1]) * error;
        let mut effect = beyond(self.error());
        if let Some(cases) = self.unanimous {
            // A share that is this much smaller varies by itself, as a binomial one does. Each round
            // takes the variance at the change before; the root makes it settle.
            for _ in 0..50 {
                let variance = (self.tolerance.abs() + effect) / cases;
                effect = beyond(libm::hypot(self.error(), libm::sqrt(variance)));
            }
        }
        let found = if self.comparison.is_ceiling() { effect } else { -effect };
        Some(self.tolerance + found)
    }
}
