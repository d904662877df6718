//! Intervals for the mean of independent values, such as one statistic per replication.

use super::special::student_t_quantile;

/// A point estimate between the two ends of its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A mean and how far the interval reaches to either side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TInterval {
    /// Arithmetic mean.
    pub mean: f64,
    /// Half the width of the interval.
    pub half_width: f64,
}

impl TInterval {
    /// The same as two ends.
    #[must_use]
    pub fn interval(self) -> Interval {
        Interval {
            value: self.mean,
            low: self.mean - self.half_width,
            high: self.mean + self.half_width,
        }
    }
}

/// Student's interval `x̄ ± t(n − 1)·s/√n` with confidence `conf` for the mean of independent,
/// roughly normal values; `None` with fewer than two values or a confidence outside (0, 1).
#[must_use]
pub fn t_interval(values: &[f64], conf: f64) -> Option<TInterval> {
    let n = values.len() as f64;
    if values.len() < 2 || !(conf > 0.0 && conf < 1.0) {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let variance = sum_of_squares(values) / (n - 1.0);
    let t = student_t_quantile(0.5 + conf / 2.0, n - 1.0);
    Some(TInterval { mean, half_width: t * (variance / n).sqrt() })
}

/// Sum of squared deviations from the mean. Taken from the first value, so that equal values
/// have none, exactly: a constant cost must not get an interval from rounding.
pub(super) fn sum_of_squares(values: &[f64]) -> f64 {
    let first = values.first().copied().unwrap_or(0.0);
    let mean = values.iter().map(|x| x - first).sum::<f64>() / values.len() as f64;
    values.iter().map(|x| (x - first - mean) * (x - first - mean)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::resample::SplitMix64;
    use crate::stats::special::normal_quantile;

    /// Rows t_interval-110 and -111 of the project's table of oracles, checked with SciPy there.
    #[test]
    fn it_agrees_with_the_oracle() {
        let x = [1.02, 0.97, 1.11, 0.99, 1.05, 1.0, 0.95, 1.08, 1.03, 0.98];
        let t = t_interval(&x, 0.95).expect("enough values");
        assert!((t.mean - 1.018).abs() < 1e-12);
        assert!((t.half_width / 0.036_131_622_264_3 - 1.0).abs() < 1e-9, "{}", t.half_width);
    }

    #[test]
    fn equal_values_have_no_spread() {
        assert_eq!(t_interval(&[0.1; 7], 0.95).map(|t| t.half_width), Some(0.0));
    }

    #[test]
    fn one_value_has_no_interval() {
        assert_eq!(t_interval(&[1.0], 0.95), None);
        assert_eq!(t_interval(&[1.0, 2.0], 1.0), None);
    }

    /// Of 4000 nominal 95 % intervals from ten normal values each, 93.6 to 96.4 % must cover the
    /// mean: four standard deviations of the binomial count.
    #[test]
    fn it_covers_as_often_as_it_says_on_normal_values() {
        let mut random = SplitMix64::new(1);
        let covered = (0..4_000)
            .filter(|_| {
                let x: Vec<f64> =
                    (0..10).map(|_| 3.0 + 2.0 * normal_quantile(random.unit())).collect();
                let t = t_interval(&x, 0.95).expect("enough values");
                (t.mean - 3.0).abs() <= t.half_width
            })
            .count();
        assert!((3_744..=3_856).contains(&covered), "{covered} of 4000");
    }
}
