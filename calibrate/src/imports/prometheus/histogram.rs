//! A histogram with the bounds its writer chose.
//!
//! Invariants: bounds rise, counts never fall from one bound to the next, and the last count is
//! that of everything; the constructor checks.
//!
//! Deliberately absent: interpolation inside a bucket.

use super::super::problem::Problems;
use super::exposition::Sample;
use super::names::{Latency, Part};
use super::{IntervalError, whole};

/// Durations in seconds, counted by bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Bounds that rise, and how many were at most that; the last bound is infinite.
    buckets: Vec<(f64, u64)>,
    /// Sum of all durations in seconds.
    sum: f64,
}

impl Histogram {
    /// How many durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }

    /// Sum of all durations in seconds.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Mean in seconds; `None` without a duration.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum / count as f64)
    }

    /// Between which two bounds, in seconds, the `p`-quantile lies (above the first, at most the
    /// second); the second is infinite beyond the last finite bound. `None` without a duration or
    /// for a `p` outside 0 to 1.
    #[must_use]
    pub fn quantile_bounds(&self, p: f64) -> Option<(f64, f64)> {
        if self.count() == 0 || !(0.0..=1.0).contains(&p) {
            return None;
        }
        let rank = (p * self.count() as f64).max(f64::MIN_POSITIVE);
        let index = self.buckets.iter().position(|(_, count)| *count as f64 >= rank)?;
        let lower = index.checked_sub(1).map_or(0.0, |below| self.buckets[below].0);
        Some((lower, self.buckets[index].0))
    }

    /// What came to it since `earlier`.
    pub(super) fn minus(
        &self,
        earlier: &Histogram,
        what: &str,
    ) -> Result<Histogram, IntervalError> {
        let what = || what.to_owned();
        let bounds = |histogram: &Histogram| -> Vec<u64> {
            histogram.buckets.iter().map(|(bound, _)| bound.to_bits()).collect()
        };
        if bounds(self) != bounds(earlier) {
            return Err(IntervalError::OtherBuckets { what: what() });
        }
        let mut buckets = Vec::with_capacity(self.buckets.len());
        let mut last = 0;
        for ((bound, now), (_, then)) in self.buckets.iter().zip(&earlier.buckets) {
            let count = now.checked_sub(*then).filter(|count| *count >= last);
            let count = count.ok_or_else(|| IntervalError::Fell { what: what() })?;
            last = count;
            buckets.push((*bound, count));
        }
        Ok(Histogram { buckets, sum: self.sum - earlier.sum })
    }
}

/// A histogram as its samples come in.
#[derive(Default)]
pub(super) struct Parts {
    buckets: Vec<(f64, u64)>,
    sum: f64,
    line: u64,
}

impl Parts {
    pub(super) fn take(&mut self, part: Part, sample: &Sample, problems: &mut Problems) {
        self.line = self.line.max(sample.line);
        match part {
            Part::Sum if sample.value.is_finite() => self.sum += sample.value,
            Part::Sum => {
                problems.push(sample.line, sample.name.as_str(), "a sum that is no number")
            }
            // The infinite bucket counts the same.
            Part::Count | Part::Alone => {}
            Part::Bucket => {
                let bound = sample.label("le").and_then(|le| le.parse().ok());
                let Some(bound) = bound.filter(|bound: &f64| !bound.is_nan()) else {
                    let message = "a bucket without a bound; expected the label `le`";
                    problems.push(sample.line, sample.name.as_str(), message);
                    return;
                };
                if let Some(count) = whole(sample, problems) {
                    self.buckets.push((bound, count));
                }
            }
        }
    }

    /// The histogram; series of several ranks add up.
    pub(super) fn finish(mut self, latency: Latency, problems: &mut Problems) -> Option<Histogram> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        for (bound, count) in self.buckets {
            match buckets.last_mut() {
                Some((last, sum)) if *last == bound => *sum = sum.saturating_add(count),
                _ => buckets.push((bound, count)),
            }
        }
        let rises = buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1);
        let ends = buckets.last().is_some_and(|(bound, _)| *bound == f64::INFINITY);
        if !rises || !ends {
            let message = "expected buckets whose counts never fall, up to le=\"+Inf\"";
            problems.push(self.line, format!("{latency:?}"), message);
            return None;
        }
        Some(Histogram { buckets, sum: self.sum })
    }
}
