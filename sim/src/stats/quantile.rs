//! Quantiles of a sample and what a sample of a given size can say about them.
//!
//! Definition: Hyndman–Fan type 7 ("Sample quantiles in statistical packages", The American
//! Statistician 50, 1996), the default of R and NumPy. The distribution-free intervals hold for
//! independent values only, which the requests of one run are not: here they decide what is
//! refused, not what is reported.

use super::special::{binomial_cdf, binomial_tail, normal_quantile};

/// Order statistics that bracket a quantile: 1-based ranks in the sorted sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrderRanks {
    /// Rank of the lower end; 0 when the sample has none.
    pub lower: u64,
    /// Rank of the upper end; `n + 1` when the sample has none.
    pub upper: u64,
    /// Probability that the true quantile lies between the two (from minus infinity or to plus
    /// infinity where an end does not exist).
    pub coverage: f64,
}

/// Equal-tail ranks for the `p`-quantile of `n` independent values: the largest `l` with
/// `P(B ≤ l − 1) ≤ α/2` and the smallest `u` with `P(B ≥ u) ≤ α/2`, where `B` counts the values
/// below the quantile and `α = 1 − conf` (David and Nagaraja, "Order Statistics", section 7.1).
#[must_use]
pub fn order_statistic_ranks(n: u64, p: f64, conf: f64) -> OrderRanks {
    let tail = (1.0 - conf) / 2.0;
    // Both conditions change their answer once as the rank rises.
    let lower = first_rank(n, |l| binomial_cdf(l as i64 - 1, n, p) > tail).saturating_sub(1);
    let upper = first_rank(n, |u| binomial_tail(u as i64 - 1, n, p) <= tail);
    let coverage = binomial_cdf(upper as i64 - 1, n, p) - binomial_cdf(lower as i64 - 1, n, p);
    OrderRanks { lower, upper, coverage }
}

/// Smallest rank in `1..=n` where `holds` (false, then true), or `n + 1`.
fn first_rank(n: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (1, n + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

/// Independent values needed so that the largest is an upper bound of the `p`-quantile with
/// confidence `conf`: the smallest `n` with `pⁿ ≤ 1 − conf`. `None` unless both lie strictly
/// between 0 and 1.
#[must_use]
pub fn min_samples_for_upper_bound(p: f64, conf: f64) -> Option<u64> {
    let inside = |x: f64| x > 0.0 && x < 1.0;
    if !inside(p) || !inside(conf) {
        return None;
    }
    let exact = libm::log1p(-conf) / libm::log(p);
    // A quotient that is whole on paper may come out a few bits above it.
    Some(libm::ceil(exact * (1.0 - 1e-14)).max(1.0) as u64)
}

/// The `p`-quantile (`0 ≤ p ≤ 1`) of a rising slice, type 7; `None` when it is empty.
#[must_use]
pub fn quantile_sorted(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = last as f64 * p.clamp(0.0, 1.0);
    let below = (rank as usize).min(last);
    let (lower, upper) = (sorted[below], sorted[(below + 1).min(last)]);
    Some(lower + (upper - lower) * (rank - below as f64))
}

/// Weights of a smoothed quantile: the mean of the quantiles around it.
///
/// A quantile of a sample is one or two of its values, and how far these lie from their neighbours
/// is chance. Between two samples that have nearly everything in common little else is left of the
/// noise. The kernel estimator with a normal kernel whose standard deviation is that of the rank,
/// `√(p(1 − p)/(n + 1))`, is the estimator of Harrell and Davis ("A new distribution-free quantile
/// estimator", Biometrika 69, 1982) for all but small samples (Sheather and Marron, "Kernel quantile
/// estimators", Journal of the American Statistical Association 85, 1990).
#[derive(Clone, Copy, Debug)]
pub struct Smoothing {
    /// Standard normal quantiles in the middle of parts of equal probability.
    steps: [f64; Smoothing::PARTS],
}

impl Smoothing {
    const PARTS: usize = 16;

    /// The `p`-quantile (`0 ≤ p ≤ 1`) of `n` values whose `quantile` of any probability is known;
    /// `None` when any of these is.
    pub fn quantile(
        &self,
        (p, n): (f64, u64),
        quantile: impl Fn(f64) -> Option<f64>,
    ) -> Option<f64> {
        let deviation = (p * (1.0 - p) / (n as f64 + 1.0)).sqrt();
        let mut sum = 0.0;
        for step in self.steps {
            sum += quantile((p + step * deviation).clamp(0.0, 1.0))?;
        }
        Some(sum / Smoothing::PARTS as f64)
    }
}

impl Default for Smoothing {
    fn default() -> Smoothing {
        let middle = |part: usize| (part as f64 + 0.5) / Smoothing::PARTS as f64;
        Smoothing { steps: std::array::from_fn(|part| normal_quantile(middle(part))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::resample::SplitMix64;
    use crate::stats::special::incomplete_beta;

    /// Values computed with SciPy's binomial distribution (rows quantile_order_ci-101 to -106 of
    /// the project's table of oracles).
    #[test]
    fn ranks_agree_with_the_oracle() {
        let rows = [
            (1_000, 0.95, 936, 964, 0.958_095_268_223),
            (10_000, 0.99, 9_880, 9_920, 0.955_754_682_807),
        ];
        for (n, p, lower, upper, coverage) in rows {
            let ranks = order_statistic_ranks(n, p, 0.95);
            assert_eq!((ranks.lower, ranks.upper), (lower, upper));
            assert!((ranks.coverage - coverage).abs() < 1e-9, "{}", ranks.coverage);
        }
    }

    #[test]
    fn ends_that_do_not_exist_are_outside_the_sample() {
        let ranks = order_statistic_ranks(10, 0.99, 0.95);
        assert_eq!(ranks.upper, 11);
        assert_eq!(order_statistic_ranks(10, 0.01, 0.95).lower, 0);
        assert_eq!(order_statistic_ranks(0, 0.5, 0.95).upper, 1);
    }

    /// The median of 10 values: ranks 2 and 9 with coverage 97.85 % (1 − 22/1024).
    #[test]
    fn ranks_agree_with_the_textbook_median() {
        let ranks = order_statistic_ranks(10, 0.5, 0.95);
        assert_eq!((ranks.lower, ranks.upper), (2, 9));
        assert!((ranks.coverage - (1.0 - 22.0 / 1024.0)).abs() < 1e-12);
    }

    /// Row min_n_for_quantile_upper-107 of the table of oracles, and closed forms.
    #[test]
    fn sample_sizes_agree_with_the_oracle() {
        let rows = [(0.999, 0.95, 2_995), (0.99, 0.95, 299), (0.95, 0.95, 59), (0.5, 0.75, 2)];
        for (p, conf, n) in rows {
            assert_eq!(min_samples_for_upper_bound(p, conf), Some(n));
        }
        assert_eq!(min_samples_for_upper_bound(1.0, 0.95), None);
        assert_eq!(min_samples_for_upper_bound(f64::NAN, 0.95), None);
    }

    #[test]
    fn type_7_interpolates_between_order_statistics() {
        let x = [1.0, 2.0, 4.0, 8.0];
        for (p, expected) in [(0.0, 1.0), (0.5, 3.0), (0.95, 7.4), (1.0, 8.0)] {
            assert!((quantile_sorted(&x, p).expect("enough values") - expected).abs() < 1e-12);
        }
        assert_eq!(quantile_sorted(&[], 0.5), None);
    }

    /// Beside the estimator of Harrell and Davis, `Σ (I(i/n) − I((i − 1)/n))·x₍ᵢ₎` with the incomplete
    /// beta function of `(n + 1)p` and `(n + 1)(1 − p)`: apart by less than half of what a plain quantile
    /// lies from it, also where only twenty values lie beyond.
    #[test]
    fn smoothed_quantiles_are_those_of_harrell_and_davis() {
        let mut random = SplitMix64::new(5);
        let squared = |xs: &[f64]| xs.iter().map(|x| x * x).sum::<f64>();
        for p in [0.5, 0.9, 0.95, 0.99] {
            let (mut apart, mut plain) = (Vec::new(), Vec::new());
            for _ in 0..40 {
                let n = 2_000;
                let mut x: Vec<f64> = (0..n).map(|_| -libm::log(random.unit())).collect();
                x.sort_by(f64::total_cmp);
                let (a, b) = ((n + 1) as f64 * p, (n + 1) as f64 * (1.0 - p));
                let through = |i: usize| incomplete_beta(a, b, i as f64 / n as f64);
                let exact: f64 = (0..n).map(|i| (through(i + 1) - through(i)) * x[i]).sum();
                let smoothed = Smoothing::default()
                    .quantile((p, n as u64), |p| quantile_sorted(&x, p))
                    .expect("there are values");
                apart.push(smoothed - exact);
                plain.push(quantile_sorted(&x, p).expect("there are values") - exact);
            }
            let (apart, plain) = (squared(&apart), squared(&plain));
            assert!(apart < 0.25 * plain, "{p}: {apart} beside {plain}");
        }
    }

    #[test]
    fn a_smoothed_quantile_of_equal_values_is_their_value() {
        let found = Smoothing::default().quantile((0.95, 3), |p| quantile_sorted(&[2.0; 3], p));
        assert_eq!(found, Some(2.0));
        assert_eq!(Smoothing::default().quantile((0.5, 0), |p| quantile_sorted(&[], p)), None);
    }
}
