//! What retries do to the load, in closed form.
//!
//! Two limits between which a real system lies. Failures that strike attempts independently give
//! [`RetryLoad`]. Failures that overload itself causes (every attempt times out because the queue
//! is long, and its work is done all the same) give the fluid criterion [`FluidRetries`]: the
//! metastable state of Bronson and others, "Metastable failures in distributed systems", HotOS
//! 2021, in which a spike leaves a system that carries its load easily stuck at many times it.
//!
//! Pure functions of rates; rates are per second, and only their ratio matters.
//!
//! Deliberately absent: how long it takes to get stuck or to drain, which simulation answers.

use super::RetrySpec;

/// Retries of failures that strike each attempt independently with one probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryLoad {
    /// Mean number of attempts of a call: `(1 − p^m)/(1 − p)`.
    pub attempts_per_call: f64,
    /// Share of calls of which an attempt succeeds: `1 − p^m`.
    pub success_ratio: f64,
}

impl RetryLoad {
    /// `max_attempts` (at least 1) in all, each of which fails with probability `failure` in
    /// `[0, 1]`.
    #[must_use]
    pub fn new(max_attempts: u32, failure: f64) -> RetryLoad {
        let (attempts, success) = (f64::from(max_attempts), 1.0 - failure);
        if success <= 0.0 {
            return RetryLoad { attempts_per_call: attempts, success_ratio: 0.0 };
        }
        // 1 − p^m without the loss of digits at p near 1.
        let success_ratio = -libm::expm1(attempts * libm::log1p(-success));
        RetryLoad { attempts_per_call: success_ratio / success, success_ratio }
    }
}

/// Load and capacity of a system whose clients try again, as fluids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FluidRetries {
    /// Calls per second, each counted once.
    pub load: f64,
    /// Attempts per second that the system can work on; positive.
    pub capacity: f64,
    /// Attempts per call while every attempt fails; at least 1. See [`amplification`].
    pub amplification: f64,
}

impl FluidRetries {
    /// Load from which a spike can leave the system stuck, and below which a stuck one drains.
    #[must_use]
    pub fn load_threshold(&self) -> f64 {
        self.capacity / self.amplification
    }

    /// Attempts per second offered while every attempt fails.
    #[must_use]
    pub fn overloaded_offered(&self) -> f64 {
        self.load * self.amplification
    }

    /// Whether it carries its load but can get stuck: once every attempt fails, the attempts alone
    /// exceed the capacity. Not so at or above the capacity, where nothing has to happen for it to
    /// be overloaded.
    #[must_use]
    pub fn is_vulnerable(&self) -> bool {
        self.load_threshold() < self.load && self.load < self.capacity
    }
}

/// Attempts per call while every attempt fails, at `load` calls per second: `max_attempts`, or what
/// the budget of retries leaves of it, `1 + ratio + min_per_second / load`. Hedges are not in it.
#[must_use]
pub fn amplification(spec: &RetrySpec, load: f64) -> f64 {
    let most = match spec.max_attempts {
        u32::MAX => f64::INFINITY,
        attempts => f64::from(attempts),
    };
    spec.budget.map_or(most, |budget| {
        let allowed_anyway = match budget.min_per_second {
            0 => 0.0,
            rate => f64::from(rate) / load,
        };
        most.min(1.0 + budget.ratio + allowed_anyway)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::{Backoff, FailureSet, Jitter, RetryBudgetSpec};
    use crate::units::Span;

    /// The slow twin adds up the geometric series.
    #[test]
    fn attempts_are_the_geometric_series() {
        for failure in [0.0, 1e-9, 0.1, 0.3, 0.5, 0.9, 0.999_999, 1.0 - 1e-12, 1.0] {
            for max_attempts in [1, 2, 3, 10, 1_000] {
                let (mut attempts, mut reached) = (0.0, 1.0);
                for _ in 0..max_attempts {
                    attempts += reached;
                    reached *= failure;
                }
                let load = RetryLoad::new(max_attempts, failure);
                let off = (load.attempts_per_call / attempts - 1.0).abs();
                assert!(off < 1e-12, "{max_attempts} attempts at {failure}: {load:?}");
                let off = load.success_ratio - (1.0 - failure) * attempts;
                assert!(off.abs() < 1e-12, "{max_attempts} attempts at {failure}: {load:?}");
            }
        }
    }

    #[test]
    fn one_attempt_makes_nothing_vulnerable() {
        for load in [1.0, 50.0, 99.0, 100.0, 150.0] {
            let fluid = FluidRetries { load, capacity: 100.0, amplification: 1.0 };
            assert!(!fluid.is_vulnerable());
        }
    }

    #[test]
    fn vulnerable_means_stable_with_one_attempt_and_overloaded_with_all() {
        for load in 1..200 {
            let load = f64::from(load);
            let fluid = FluidRetries { load, capacity: 100.0, amplification: 3.0 };
            let expected = load < 100.0 && fluid.overloaded_offered() > 100.0;
            assert_eq!(fluid.is_vulnerable(), expected, "{load}");
        }
    }

    #[test]
    fn a_budget_caps_the_amplification() {
        let mut spec = RetrySpec {
            max_attempts: 5,
            on: FailureSet::ALL,
            backoff: Backoff::Exponential {
                initial: Span::ZERO,
                factor: 1.0,
                max: Span::ZERO,
                jitter: Jitter::None,
            },
            respect_retry_after: false,
            budget: None,
        };
        let budget = RetryBudgetSpec { ratio: 0.2, min_per_second: 10, ttl: Span::from_secs(10) };
        assert_eq!(amplification(&spec, 100.0), 5.0);
        spec.budget = Some(budget);
        assert!((amplification(&spec, 100.0) - 1.3).abs() < 1e-12);
        assert_eq!(amplification(&spec, 1.0), 5.0);
        spec.budget = Some(RetryBudgetSpec { min_per_second: 0, ..budget });
        assert_eq!(amplification(&spec, 0.0), 1.2);
        spec.max_attempts = u32::MAX;
        assert_eq!(amplification(&spec, 100.0), 1.2);
        spec.budget = None;
        assert_eq!(amplification(&spec, 100.0), f64::INFINITY);
    }
}
