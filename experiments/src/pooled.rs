//! Estimates pooled over replications, with jackknife intervals.
//!
//! Invariants: sums are integers and exact; the leave-one-out histogram of the jackknife is the
//! pooled one minus one replication's counts, looked up in running sums, so the work grows with
//! what the replications counted and not with the square of their number; a quantile that the
//! values cannot support is refused.

use crate::CONFIDENCE;
use crate::estimate::{Distribution, Estimate, Smoothed};
use sim::metrics::{BucketCounts, Cumulated, Histogram, Rest};
use sim::stats::{Smoothing, min_samples_for_upper_bound};
use std::sync::LazyLock;

/// Reason for a missing interval.
pub(crate) const ONE_REPLICATION: &str = "one replication: no interval";
/// Reason for a missing latency.
pub(crate) const UNSTABLE: &str = "unstable: depends on the horizon";
/// Reason for a missing latency of a system that got stuck.
pub(crate) const METASTABLE: &str = "metastable: depends on the horizon";
/// Reason for a missing time of a steady state.
pub(crate) const START_UP: &str = "the start-up outlasts half of the run";

/// The quantiles of every [`Distribution`].
const QUANTILES: [f64; 4] = [0.50, 0.90, 0.95, 0.99];
/// Which of them replications are added for.
const P95: f64 = 0.95;

/// The weights of all smoothed quantiles: they depend on nothing, and every summary asks for them.
static SMOOTHING: LazyLock<Smoothing> = LazyLock::new(Smoothing::default);

/// All replications' values of one kind of time.
pub(crate) struct Times<'a> {
    pub(crate) parts: Vec<&'a BucketCounts>,
    pub(crate) pooled: Histogram,
}

impl<'a> Times<'a> {
    pub(crate) fn new(parts: impl Iterator<Item = &'a BucketCounts>) -> Times<'a> {
        let parts: Vec<_> = parts.collect();
        let mut pooled = Histogram::default();
        parts.iter().for_each(|part| pooled.add(part));
        Times { parts, pooled }
    }

    /// Mean and quantiles; all absent, for the reason `none`, when there are no values.
    pub(crate) fn distribution(&self, none: &str) -> Distribution {
        let pooled = &self.pooled;
        let Some(whole) = statistics(pooled.mean_secs(), |p| pooled.quantile_secs(p)) else {
            return Distribution::absent(0, none);
        };
        let cumulated = self.cumulated();
        let rests: Vec<Option<Rest<'_>>> =
            self.parts.iter().map(|part| cumulated.without(part)).collect();
        let without: Vec<_> = rests.iter().map(|rest| statistics_of(rest.as_ref()?)).collect();
        let estimate = |at: usize| {
            self.estimate(whole[at], |omit| without.get(omit).copied().flatten().map(|s| s[at]))
        };
        let quantile = |at: usize| match unsupported(QUANTILES[at], self.pooled.count()) {
            Some(reason) => Estimate::absent(reason),
            None => {
                let smoothed = smoothed(QUANTILES[at], &cumulated, &rests).map(Box::new);
                Estimate { smoothed, ..estimate(at + 1) }
            }
        };
        Distribution {
            count: self.pooled.count(),
            mean: estimate(0),
            p50: quantile(0),
            p90: quantile(1),
            p95: quantile(2),
            p99: quantile(3),
        }
    }

    /// The p95 alone, for deciding whether to go on.
    pub(crate) fn p95(&self) -> Estimate {
        if let Some(reason) = unsupported(P95, self.pooled.count()) {
            return Estimate::absent(reason);
        }
        let Some(whole) = self.pooled.quantile_secs(P95) else {
            return Estimate::absent("no values");
        };
        let cumulated = self.cumulated();
        self.estimate(whole, |omit| cumulated.without(self.parts.get(omit)?)?.quantile_secs(P95))
    }

    /// Each part's own p95.
    pub(crate) fn p95_of_each(&self) -> Vec<Option<f64>> {
        self.parts.iter().map(|part| Cumulated::of(part).quantile_secs(P95)).collect()
    }

    fn cumulated(&self) -> Cumulated {
        Cumulated::of(&self.pooled.to_counts())
    }

    fn estimate(&self, whole: f64, without: impl Fn(usize) -> Option<f64>) -> Estimate {
        from_jackknife(self.parts.len(), |omit| omit.map_or(Some(whole), &without))
            .held_within(0.0, f64::INFINITY)
    }
}

/// Mean and the four quantiles; `None` without values.
fn statistics(mean: Option<f64>, quantile: impl Fn(f64) -> Option<f64>) -> Option<[f64; 5]> {
    let mut all = [mean?; 5];
    for (slot, p) in all[1..].iter_mut().zip(QUANTILES) {
        *slot = quantile(p)?;
    }
    Some(all)
}

fn statistics_of(rest: &Rest<'_>) -> Option<[f64; 5]> {
    statistics(rest.mean_secs(), |p| rest.quantile_secs(p))
}

/// The smoothed quantile of the whole and of what is left without each part; `None` where a part
/// leaves nothing, or there is one part only.
fn smoothed(p: f64, whole: &Cumulated, rests: &[Option<Rest<'_>>]) -> Option<Smoothed> {
    let of = |rest: &Rest<'_>| SMOOTHING.quantile((p, rest.count()), |p| rest.quantile_secs(p));
    let value = of(&whole.without(&BucketCounts::default())?)?;
    let without = rests.iter().map(|rest| of(rest.as_ref()?)).collect::<Option<Vec<_>>>()?;
    (without.len() >= 2).then_some(Smoothed { value, without })
}

/// Values needed before the `p`-quantile is reported: with fewer, not even the largest value is
/// an upper bound of it with the usual confidence. Necessary, not sufficient, for values that
/// depend on each other.
pub(crate) fn values_needed(p: f64) -> u64 {
    min_samples_for_upper_bound(p, CONFIDENCE).unwrap_or(u64::MAX)
}

fn unsupported(p: f64, values: u64) -> Option<String> {
    let needed = values_needed(p);
    (values < needed).then(|| format!("needs at least {needed} values, and there are {values}"))
}

/// The estimate of a statistic of replications, or why it has no value or no interval.
fn from_jackknife(n: usize, statistic: impl Fn(Option<usize>) -> Option<f64>) -> Estimate {
    let Some(value) = statistic(None) else { return Estimate::absent("no values") };
    if n < 2 {
        return Estimate::without_interval(value, ONE_REPLICATION);
    }
    let without: Option<Vec<f64>> = (0..n).map(|omit| statistic(Some(omit))).collect();
    Estimate::from_replications(value, without.unwrap_or_default()).unwrap_or_else(|| {
        Estimate::without_interval(value, "only one replication has values: no interval")
    })
}

/// Numerator and denominator of a ratio in one replication, exact.
pub(crate) type Part = (i128, i128);

/// The ratio of the sums; absent, for the reason `none`, when the denominators sum to zero.
pub(crate) fn ratio(parts: &[Part], none: &str) -> Estimate {
    let (top, bottom) = sums(parts);
    let statistic = |omit: Option<usize>| {
        let (a, b) = omit.and_then(|at| parts.get(at)).copied().unwrap_or((0, 0));
        (bottom != b).then(|| (top - a) as f64 / (bottom - b) as f64)
    };
    if bottom == 0 { Estimate::absent(none) } else { from_jackknife(parts.len(), statistic) }
}

/// A ratio of counts between 0 and 1. When all cases agree the replications show no spread, and
/// the exact binomial bound for independent cases stands in (Clopper and Pearson, Biometrika 26,
/// 1934): with `n` successes of `n` the lower end is `(α/2)^(1/n)`.
pub(crate) fn proportion(parts: &[Part], none: &str) -> Estimate {
    let (top, bottom) = sums(parts);
    let cases = u64::try_from(bottom).ok().filter(|&cases| cases > 0);
    let estimate = Estimate { cases, ..ratio(parts, none).held_within(0.0, 1.0) };
    if estimate.low.is_none() || bottom <= 0 {
        return estimate;
    }
    let surely = libm::exp(libm::log((1.0 - CONFIDENCE) / 2.0) / bottom as f64);
    if top == bottom {
        Estimate { low: Some(surely), ..estimate }
    } else if top == 0 {
        Estimate { high: Some(1.0 - surely), ..estimate }
    } else {
        estimate
    }
}

fn sums(parts: &[Part]) -> Part {
    parts.iter().fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::units::Span;

    fn counts(values: impl Iterator<Item = u64>) -> BucketCounts {
        let mut histogram = Histogram::default();
        values.for_each(|v| histogram.record(Span::from_millis(v)));
        histogram.to_counts()
    }

    /// The slow twin: each leave-one-out histogram built anew from the other replications.
    #[test]
    fn subtracting_gives_the_interval_of_building_anew() {
        let parts: Vec<_> = (0..6).map(|r| counts((1..400).map(move |i| i * (10 + r)))).collect();
        let times = Times::new(parts.iter());
        let found = times.distribution("none").p95;
        let slow = sim::stats::jackknife(6, CONFIDENCE, |omit| {
            let others = parts.iter().enumerate().filter(|(i, _)| Some(*i) != omit);
            Times::new(others.map(|(_, part)| part)).pooled.quantile_secs(P95)
        })
        .expect("six replications");
        let ends = (Some(slow.value), Some(slow.low), Some(slow.high));
        assert_eq!((found.value, found.low, found.high), ends);
        assert_eq!(times.p95(), Estimate { smoothed: None, ..found.clone() });
        let smoothed = found.smoothed.expect("six replications");
        let anew = |omit: Option<usize>| {
            let others = parts.iter().enumerate().filter(|(i, _)| Some(*i) != omit);
            let pooled = Times::new(others.map(|(_, part)| part)).pooled;
            let quantile = |p| pooled.quantile_secs(p);
            Smoothing::default().quantile((P95, pooled.count()), quantile).expect("values")
        };
        let without: Vec<f64> = (0..6).map(|omit| anew(Some(omit))).collect();
        assert_eq!(*smoothed, Smoothed { value: anew(None), without });
    }

    #[test]
    fn quantiles_are_refused_where_the_sample_is_too_small() {
        let parts = [counts(1..60), counts(1..60)];
        let found = Times::new(parts.iter()).distribution("none");
        assert!(found.p95.value.is_some() && found.p99.value.is_none());
        let reason = found.p99.reason.unwrap_or_default();
        assert_eq!(reason, "needs at least 299 values, and there are 118");
    }

    #[test]
    fn one_replication_has_a_value_and_no_interval() {
        let parts = [counts(1..600)];
        let found = Times::new(parts.iter()).distribution("none").p50;
        assert!(found.value.is_some() && found.low.is_none());
        assert_eq!(found.reason.as_deref(), Some(ONE_REPLICATION));
        let none = Times::new([counts(1..1)].iter()).distribution("nothing ended").p50;
        assert_eq!(none, Estimate::absent("nothing ended"));
        let lone = [counts(1..600), counts(1..1)];
        assert!(Times::new(lone.iter()).distribution("none").p50.low.is_none());
    }

    #[test]
    fn ratios_are_ratios_of_sums() {
        let found = ratio(&[(1, 10), (30, 90)], "none");
        assert_eq!(found.value, Some(0.31));
        assert!(found.low < found.value && found.value < found.high);
        assert_eq!(ratio(&[(0, 0), (0, 0)], "no tasks"), Estimate::absent("no tasks"));
    }

    /// The rule of three: no failure among n says that at most about 3.7/n fail (two-sided 95 %).
    #[test]
    fn a_spotless_record_still_has_an_interval() {
        let found = proportion(&[(500, 500), (500, 500)], "none");
        let low = found.low.expect("two replications");
        assert!((1.0 - low - 3.689 / 1_000.0).abs() < 1e-5, "{low}");
        assert_eq!(proportion(&[(0, 500), (0, 500)], "none").high, Some(1.0 - low));
        let some = proportion(&[(499, 500), (500, 500)], "none");
        assert_eq!(some.high, Some(1.0), "a probability stays within 0 and 1");
    }
}
