//! How a number changes from one arm to another that saw the same random numbers.
//!
//! Replication `r` of both arms has the same customers, so most of what differs between replications
//! cancels out in the difference: its interval is the jackknife of the difference itself, each
//! replication left out of both arms, and not a comparison of two intervals (overlapping intervals
//! prove nothing). The change of a quantile is that of the smoothed quantile: of two arms that have
//! nearly everything in common, single values around a quantile differ by more than the quantiles do,
//! and the jackknife of a plain one takes that for spread of the replications.
//!
//! Invariants: two equal arms differ by exactly nothing; without a pair of intervals from the same
//! replications there is no interval, and a reason.
//!
//! Deliberately absent: whether a change is too large (see `gate`).

use crate::estimate::Estimate;
use sim::stats::jackknife_error;

/// One number of two arms.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// In the first arm.
    pub before: Estimate,
    /// In the second.
    pub after: Estimate,
    /// Second minus first, in their unit.
    pub difference: Estimate,
    /// Second over first, minus 1; absent where the first is zero.
    pub relative: Estimate,
    /// Variance that the difference would have with independent random numbers over the one it
    /// has: how many times as many replications that would take. Absent without intervals, and
    /// where the difference does not vary at all.
    pub variance_ratio: Option<f64>,
}

impl Change {
    /// Compares two estimates of the same replications.
    #[must_use]
    pub fn between(before: &Estimate, after: &Estimate) -> Change {
        Change {
            before: before.clone(),
            after: after.clone(),
            difference: combined(before, after, |a, b| Some(b - a)),
            relative: combined(before, after, |a, b| (a != 0.0).then(|| b / a - 1.0)),
            variance_ratio: variance_ratio(before, after),
        }
    }

    /// The same of arms that are not equal: where not one case of two shares is known to differ, the
    /// difference has no spread, and the binomial bound stands in (see [`crate::gate`]), both ways.
    #[must_use]
    pub fn with_unseen(self) -> Change {
        let is_certain =
            |estimate: &Estimate| estimate.low.is_some() && estimate.low == estimate.high;
        let (Some(first), Some(second)) = (self.before.cases, self.after.cases) else {
            return self;
        };
        if !is_certain(&self.difference) {
            return self;
        }
        let cases = first.min(second) as f64;
        let bound = 1.0 - libm::exp(libm::log((1.0 - crate::CONFIDENCE) / 2.0) / cases);
        let widened = |estimate: Estimate, by: f64| Estimate {
            low: estimate.low.map(|low| low - by),
            high: estimate.high.map(|high| high + by),
            ..estimate
        };
        let base = self.before.value.unwrap_or_default();
        let relative = if base > 0.0 { bound / base } else { 0.0 };
        Change {
            difference: widened(self.difference, bound),
            relative: widened(self.relative, relative),
            ..self
        }
    }

    /// Whether the interval of the difference does not hold zero.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        let ends = self.difference.low.zip(self.difference.high);
        ends.is_some_and(|(low, high)| low > 0.0 || high < 0.0)
    }
}

/// A function of two estimates of the same replications, with its interval.
#[must_use]
pub fn combined(
    first: &Estimate,
    second: &Estimate,
    function: impl Fn(f64, f64) -> Option<f64>,
) -> Estimate {
    let (Some(_), Some(_)) = (first.value, second.value) else {
        return Estimate::absent(missing(first, second));
    };
    let [(a, first_without), (b, second_without)] = replications([first, second]);
    let Some(value) = function(a, b).filter(|value| value.is_finite()) else {
        return Estimate::absent("it is zero before");
    };
    if first_without.is_empty() || first_without.len() != second_without.len() {
        return Estimate::without_interval(value, missing(first, second));
    }
    let pairs = first_without.iter().zip(second_without);
    let without: Option<Vec<f64>> = pairs.map(|(&a, &b)| function(a, b)).collect();
    without
        .and_then(|without| Estimate::from_replications(value, without))
        .unwrap_or_else(|| Estimate::without_interval(value, "it is zero in a replication"))
}

/// What a comparison rests on: both numbers, and each of them without one replication after the
/// other. Smoothed where both can be.
fn replications<'a>(estimates: [&'a Estimate; 2]) -> [(f64, &'a [f64]); 2] {
    let plain = |of: &'a Estimate| (of.value.unwrap_or_default(), &of.without[..]);
    let smooth = |of: &'a Estimate| of.smoothed.as_ref().map(|of| (of.value, &of.without[..]));
    match estimates.map(smooth) {
        [Some(first), Some(second)] => [first, second],
        _ => estimates.map(plain),
    }
}

/// What either of two estimates lacks.
fn missing(first: &Estimate, second: &Estimate) -> String {
    match (&first.reason, &second.reason) {
        (Some(before), Some(after)) if before == after => before.clone(),
        (Some(before), Some(after)) => format!("before: {before}; after: {after}"),
        (Some(before), None) => format!("before: {before}"),
        (None, Some(after)) => format!("after: {after}"),
        (None, None) => "the two are not of the same replications".to_owned(),
    }
}

fn variance_ratio(before: &Estimate, after: &Estimate) -> Option<f64> {
    let [(_, before), (_, after)] = replications([before, after]);
    if before.len() != after.len() {
        return None;
    }
    let together: Vec<f64> = before.iter().zip(after).map(|(a, b)| b - a).collect();
    let [before, after, together] = [before, after, &together].map(jackknife_error);
    let (before, after, together) = (before?, after?, together?);
    (together > 0.0).then(|| (before * before + after * after) / (together * together))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::Smoothed;

    fn mean(values: &[f64]) -> Estimate {
        let n = values.len() as f64;
        let sum: f64 = values.iter().sum();
        let without = values.iter().map(|x| (sum - x) / (n - 1.0)).collect();
        Estimate::from_replications(sum / n, without).expect("several values")
    }

    #[test]
    fn the_interval_of_a_mean_difference_is_the_paired_t_interval() {
        let (a, b) = ([10.0, 14.0, 9.0, 12.0, 11.0], [10.5, 14.7, 9.4, 12.5, 11.9]);
        let change = Change::between(&mean(&a), &mean(&b));
        let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b - a).collect();
        let t = sim::stats::t_interval(&differences, crate::CONFIDENCE).expect("five pairs");
        let found = change.difference.clone();
        assert!((found.value.expect("a value") - t.mean).abs() < 1e-12);
        assert!((found.high.expect("an end") - t.mean - t.half_width).abs() < 1e-12);
        assert!(change.is_certain());
        // What the arms have in common is gone.
        assert!(change.variance_ratio.expect("it varies") > 100.0);
        assert!(change.before.high > change.after.low, "the intervals of the arms overlap");
    }

    /// A second arm that is a fifth slower, and whose neighbours of the quantile happen to lie apart.
    #[test]
    fn the_change_of_a_quantile_is_that_of_the_smoothed_one() {
        let smooth = |by: f64, plain: Estimate| {
            let without = [10.0, 10.5, 9.5].map(|value| by * value).to_vec();
            let smoothed = Some(Box::new(Smoothed { value: by * 10.0, without }));
            Estimate { smoothed, ..plain }
        };
        let before = smooth(1.0, mean(&[9.0, 10.0, 11.0]));
        let after = smooth(1.2, mean(&[13.0, 12.0, 10.0]));
        let change = Change::between(&before, &after).relative;
        assert!((change.value.expect("a value") - 0.2).abs() < 1e-12);
        let [low, high] = [change.low, change.high].map(|end| end.expect("an end"));
        assert!(high - low < 1e-9, "{low} to {high}");
        // One arm that cannot be smoothed, and both are plain.
        let plain = Estimate { smoothed: None, ..after };
        let change = Change::between(&before, &plain).relative;
        assert!((change.value.expect("a value") - (35.0 / 30.0 - 1.0)).abs() < 1e-12);
    }

    #[test]
    fn equal_arms_differ_by_nothing_at_all() {
        let arm = mean(&[0.1, 0.7, 0.3, 0.9]);
        let change = Change::between(&arm, &arm);
        let nothing = (Some(0.0), Some(0.0), Some(0.0));
        for found in [&change.difference, &change.relative] {
            assert_eq!((found.value, found.low, found.high), nothing);
        }
        assert!(!change.is_certain());
        assert_eq!(change.variance_ratio, None);
    }

    #[test]
    fn two_spotless_records_may_still_differ() {
        let spotless = Estimate { cases: Some(150), ..mean(&[1.0, 1.0, 1.0]) };
        let change = Change::between(&spotless, &spotless).with_unseen();
        let low = change.difference.low.expect("an end");
        assert!((low + 3.689 / 150.0).abs() < 4e-4, "{low}");
        assert_eq!(change.difference.high, Some(-low));
        assert!(!change.is_certain());
        // One that varies keeps its own interval.
        let some = Estimate { cases: Some(150), ..mean(&[0.98, 1.0, 1.0]) };
        let change = Change::between(&spotless, &some);
        assert_eq!(change.clone().with_unseen(), change);
    }

    #[test]
    fn what_is_missing_is_said() {
        let arm = mean(&[1.0, 2.0, 3.0]);
        let unstable = Estimate::absent("unstable: depends on the horizon");
        let change = Change::between(&arm, &unstable);
        assert_eq!(change.difference.value, None);
        let reason = change.difference.reason.expect("a reason");
        assert_eq!(reason, "after: unstable: depends on the horizon");
        let other = mean(&[1.0, 2.0]);
        let change = Change::between(&arm, &other).difference;
        assert!(change.value.is_some() && change.low.is_none() && change.reason.is_some());
        let zero = mean(&[0.0, 0.0]);
        assert_eq!(Change::between(&zero, &other).relative.value, None);
    }
}
