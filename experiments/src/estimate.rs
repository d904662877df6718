//! A number with its interval, or the reason why one of them is missing.
//!
//! Invariant: `value` or an end of the interval that is absent leaves a reason behind.

use crate::CONFIDENCE;
use sim::stats::jackknife_interval;

/// A point estimate with a two-sided [`crate::CONFIDENCE`] interval.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Estimate {
    /// The estimate, when the sample supports one.
    pub value: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Why the value or the interval is absent.
    pub reason: Option<String>,
    /// Where the value would be if calibrated times are as far off as they may be; absent where it
    /// does not rest on any, or was not asked for.
    pub calibration: Option<Range>,
    /// The value with each replication left out, by index, where the interval comes from there:
    /// with those of another estimate of the same replications it says how sure any function of
    /// both is (see [`crate::paired`]). Empty where there is no interval.
    pub without: Vec<f64>,
    /// Of a quantile with an interval: the same smoothed, which is what a change is taken from (see
    /// [`crate::paired`]).
    pub smoothed: Option<Box<Smoothed>>,
    /// Of a share of cases, such as a success rate, how many there were. Where all of them or none
    /// hold they show no spread, and their number alone says how far the truth may lie.
    pub cases: Option<u64>,
}

/// A quantile without the chance of single values in it ([`sim::stats::Smoothing`]): of little use
/// for what it says about one arm, which is the plain quantile, and far surer about a difference.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Smoothed {
    /// Of all replications.
    pub value: f64,
    /// With each replication left out, by index.
    pub without: Vec<f64>,
}

/// A two-sided [`crate::CONFIDENCE`] interval whose ends may be open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Lower end; `None` where the value has no lower bound.
    pub low: Option<f64>,
    /// Upper end; likewise.
    pub high: Option<f64>,
}

/// Mean and quantiles of one population of times, in seconds.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Distribution {
    /// Values in the population.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: Estimate,
    /// Median.
    pub p50: Estimate,
    /// 90 % are at or below.
    pub p90: Estimate,
    /// 95 % are at or below.
    pub p95: Estimate,
    /// 99 % are at or below.
    pub p99: Estimate,
}

impl Estimate {
    /// No number at all, because of `reason`.
    #[must_use]
    pub fn absent(reason: impl Into<String>) -> Estimate {
        Estimate { reason: Some(reason.into()), ..Estimate::default() }
    }

    /// A number without an interval, because of `reason`.
    #[must_use]
    pub fn without_interval(value: f64, reason: impl Into<String>) -> Estimate {
        Estimate { value: Some(value), reason: Some(reason.into()), ..Estimate::default() }
    }

    /// A number with its interval.
    #[must_use]
    pub fn with_interval(value: f64, low: f64, high: f64) -> Estimate {
        let (value, low, high) = (Some(value), Some(low), Some(high));
        Estimate { value, low, high, ..Estimate::default() }
    }

    /// A number with the jackknife's interval, from what it is `without` each replication; `None`
    /// with fewer than two.
    #[must_use]
    pub fn from_replications(value: f64, without: Vec<f64>) -> Option<Estimate> {
        let interval = jackknife_interval(value, &without, CONFIDENCE)?;
        Some(Estimate { without, ..Estimate::with_interval(value, interval.low, interval.high) })
    }

    /// The same with both ends of the interval moved into `[least, largest]`, for quantities
    /// that cannot lie outside.
    #[must_use]
    pub fn held_within(self, least: f64, largest: f64) -> Estimate {
        let held = |end: Option<f64>| end.map(|x| x.clamp(least, largest));
        Estimate { low: held(self.low), high: held(self.high), ..self }
    }

    /// The same in another unit; `convert` must rise.
    #[must_use]
    pub(crate) fn map(self, convert: impl Fn(f64) -> f64) -> Estimate {
        Estimate {
            value: self.value.map(&convert),
            low: self.low.map(&convert),
            high: self.high.map(&convert),
            calibration: self.calibration.map(|range| Range {
                low: range.low.map(&convert),
                high: range.high.map(&convert),
            }),
            reason: self.reason,
            without: self.without.into_iter().map(&convert).collect(),
            smoothed: self.smoothed.map(|smoothed| Box::new(smoothed.map(&convert))),
            cases: None,
        }
    }

    /// Half the interval's width over the value; `None` without an interval or when the value
    /// is zero and the interval is not.
    #[must_use]
    pub fn relative_half_width(&self) -> Option<f64> {
        let half = (self.high? - self.low?) / 2.0;
        if half == 0.0 {
            Some(0.0)
        } else {
            Some(half / self.value?.abs()).filter(|r| r.is_finite())
        }
    }
}

impl Smoothed {
    /// The same in another unit; `convert` must rise.
    fn map(self, convert: impl Fn(f64) -> f64) -> Smoothed {
        let without = self.without.into_iter().map(&convert).collect();
        Smoothed { value: convert(self.value), without }
    }
}

impl Distribution {
    /// No number at all, because of `reason`.
    #[must_use]
    pub fn absent(count: u64, reason: &str) -> Distribution {
        let none = Estimate::absent(reason);
        Distribution {
            count,
            mean: none.clone(),
            p50: none.clone(),
            p90: none.clone(),
            p95: none.clone(),
            p99: none,
        }
    }
}
