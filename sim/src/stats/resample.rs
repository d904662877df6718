//! Intervals for any statistic of whole replications: leave one out, or draw with replacement.
//!
//! The jackknife (Quenouille 1956, Tukey 1958; Miller, "The jackknife: a review", Biometrika 61,
//! 1974) is the default: with ten replications the percentile bootstrap (Efron 1979) covers about
//! 90 % where it promises 95, and is here as a cross-check for many replications.

use super::interval::{Interval, sum_of_squares};
use super::quantile::quantile_sorted;
use super::special::student_t_quantile;

/// Interval for `statistic` of `n` replications: `θ̂ ± t(n − 1)·se` with
/// `se² = (n − 1)/n · Σ(θ̂₋ᵢ − θ̄)²`, where `θ̂₋ᵢ` leaves replication `i` out (`Some(i)`) and `θ̂`
/// leaves out none (`None`). `None` when `n < 2` or any of these does not exist.
pub fn jackknife(
    n: usize,
    conf: f64,
    mut statistic: impl FnMut(Option<usize>) -> Option<f64>,
) -> Option<Interval> {
    let value = statistic(None)?;
    let without: Vec<f64> = (0..n).map(|i| statistic(Some(i))).collect::<Option<_>>()?;
    jackknife_interval(value, &without, conf)
}

/// The same for a statistic that is known already: its `value`, and what it is `without` each of the
/// replications. Those of two statistics of the same replications may be combined one by one, which
/// gives the interval of any function of both.
#[must_use]
pub fn jackknife_interval(value: f64, without: &[f64], conf: f64) -> Option<Interval> {
    if !(conf > 0.0 && conf < 1.0) {
        return None;
    }
    let error = jackknife_error(without)?;
    let reach = student_t_quantile(0.5 + conf / 2.0, without.len() as f64 - 1.0) * error;
    Some(Interval { value, low: value - reach, high: value + reach })
}

/// Standard error of a statistic from what it is `without` each replication; `None` with fewer than
/// two.
#[must_use]
pub fn jackknife_error(without: &[f64]) -> Option<f64> {
    let count = without.len() as f64;
    let squares = sum_of_squares(without);
    (without.len() >= 2).then(|| (squares * (count - 1.0) / count).sqrt())
}

/// Percentile interval for `statistic` from `resamples` draws of `n` replications with
/// replacement, keyed by `seed`; the statistic is given the drawn indices, and all of them once
/// for the estimate. `None` when there is nothing to draw or any statistic does not exist.
pub fn bootstrap(
    n: usize,
    resamples: usize,
    conf: f64,
    seed: u64,
    mut statistic: impl FnMut(&[usize]) -> Option<f64>,
) -> Option<Interval> {
    if n < 2 || resamples == 0 || !(conf > 0.0 && conf < 1.0) {
        return None;
    }
    let mut drawn: Vec<usize> = (0..n).collect();
    let value = statistic(&drawn)?;
    let mut random = SplitMix64::new(seed);
    let mut found = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        drawn.iter_mut().for_each(|index| *index = random.below(n));
        found.push(statistic(&drawn)?);
    }
    found.sort_by(f64::total_cmp);
    let tail = (1.0 - conf) / 2.0;
    let (low, high) = (quantile_sorted(&found, tail)?, quantile_sorted(&found, 1.0 - tail)?);
    Some(Interval { value, low, high })
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
/// 2014): draws for resampling only; simulated quantities have keyed streams of their own.
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    pub(super) fn new(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A whole number below `n` by the high half of a product; its bias is `n / 2^64`.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// A number strictly between 0 and 1.
    #[cfg(test)]
    pub(super) fn unit(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::interval::t_interval;
    use crate::stats::special::normal_quantile;

    fn mean_without(x: &[f64], omit: Option<usize>) -> Option<f64> {
        let kept: Vec<f64> =
            x.iter().enumerate().filter(|(i, _)| Some(*i) != omit).map(|(_, &v)| v).collect();
        (!kept.is_empty()).then(|| kept.iter().sum::<f64>() / kept.len() as f64)
    }

    /// For the mean the jackknife is Student's interval, exactly.
    #[test]
    fn the_jackknife_of_a_mean_is_the_t_interval() {
        let x = [1.02, 0.97, 1.11, 0.99, 1.05, 1.0, 0.95, 1.08, 1.03, 0.98];
        let jack = jackknife(x.len(), 0.95, |omit| mean_without(&x, omit)).expect("enough values");
        let t = t_interval(&x, 0.95).expect("enough values");
        assert!((jack.high - jack.value - t.half_width).abs() < 1e-12);
    }

    #[test]
    fn a_statistic_that_does_not_exist_has_no_interval() {
        assert_eq!(jackknife(1, 0.95, |_| Some(1.0)), None);
        assert_eq!(jackknife(5, 0.95, |omit| omit.map_or(Some(1.0), |_| None)), None);
        assert_eq!(bootstrap(5, 100, 0.95, 1, |_| None), None);
    }

    /// A ratio of two correlated normal means, ten replications: 2000 nominal 95 % intervals.
    /// The t interval is not exact for a ratio, hence 93 to 97 %.
    #[test]
    fn the_jackknife_covers_as_often_as_it_says_on_a_ratio() {
        let mut random = SplitMix64::new(7);
        let covered = (0..2_000)
            .filter(|_| {
                let pairs: Vec<(f64, f64)> = (0..10)
                    .map(|_| {
                        let shared = normal_quantile(random.unit());
                        let own = normal_quantile(random.unit());
                        (20.0 + 2.0 * shared + own, 10.0 + shared)
                    })
                    .collect();
                let ratio = |omit: Option<usize>| {
                    let kept = pairs.iter().enumerate().filter(|(i, _)| Some(*i) != omit);
                    let (a, b) = kept.fold((0.0, 0.0), |s, (_, p)| (s.0 + p.0, s.1 + p.1));
                    Some(a / b)
                };
                let jack = jackknife(10, 0.95, ratio).expect("enough values");
                jack.low <= 2.0 && 2.0 <= jack.high
            })
            .count();
        assert!((1_860..=1_940).contains(&covered), "{covered} of 2000");
    }

    #[test]
    fn the_bootstrap_is_repeatable_and_near_the_normal_interval() {
        let mut random = SplitMix64::new(3);
        let x: Vec<f64> = (0..400).map(|_| normal_quantile(random.unit())).collect();
        let mean =
            |drawn: &[usize]| Some(drawn.iter().map(|&i| x[i]).sum::<f64>() / drawn.len() as f64);
        let first = bootstrap(x.len(), 2_000, 0.95, 11, mean).expect("enough values");
        assert_eq!(first, bootstrap(x.len(), 2_000, 0.95, 11, mean).expect("enough values"));
        let t = t_interval(&x, 0.95).expect("enough values");
        let half = (first.high - first.low) / 2.0;
        assert!((half / t.half_width - 1.0).abs() < 0.1, "{half} beside {}", t.half_width);
    }

    /// The first outputs for seed 1234567, as Rosetta Code lists them for Splitmix64.
    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }
}
