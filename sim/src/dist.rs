//! Distributions of token counts and of durations, and how one value is drawn.
//!
//! Invariants: a draw depends only on the parameters and on the stream handed in; every token
//! count lies in `[min, max]` and is at least 1.
//!
//! Deliberately absent: fitting (see `calibrate`) and reading of histograms (see `scenarios`).

use crate::units::Span;

/// A distribution of token counts, clamped to a range.
#[derive(Clone, Debug, PartialEq)]
pub struct LengthDist {
    /// The law before clamping.
    pub law: LengthLaw,
    /// Smallest value, at least 1.
    pub min: u32,
    /// Largest value, at least `min`.
    pub max: u32,
}

/// The law of a token count; values are rounded to the nearest integer and then clamped.
#[derive(Clone, Debug, PartialEq)]
pub enum LengthLaw {
    /// Always the same.
    Fixed(u32),
    /// `exp(N(mu, sigma²))`.
    Lognormal {
        /// Mean of the logarithm.
        mu: f64,
        /// Standard deviation of the logarithm, ≥ 0.
        sigma: f64,
    },
    /// A lognormal with probability `weight`, otherwise another one.
    LognormalMixture {
        /// Probability of the first component, in `[0, 1]`.
        weight: f64,
        /// `(mu, sigma)` of the first component.
        first: (f64, f64),
        /// `(mu, sigma)` of the second component.
        second: (f64, f64),
    },
    /// Gamma with mean `shape · scale`.
    Gamma {
        /// Shape, > 0.
        shape: f64,
        /// Scale in tokens, > 0.
        scale: f64,
    },
    /// A histogram: values with weights.
    Empirical(Empirical),
}

/// A discrete distribution over token counts, stored as a cumulative table.
#[derive(Clone, Debug, PartialEq)]
pub struct Empirical {
    /// `(value, probability of a value ≤ this one)`, rising in both; the last is 1.
    cumulative: Vec<(u32, f64)>,
}

/// A distribution of durations, drawn in seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationDist {
    /// Always the same.
    Fixed(Span),
    /// Exponential with this mean.
    Exponential {
        /// Mean.
        mean: Span,
    },
    /// `exp(N(mu, sigma²))` seconds.
    Lognormal {
        /// Mean of the logarithm of the seconds.
        mu: f64,
        /// Standard deviation of the logarithm, ≥ 0.
        sigma: f64,
    },
    /// Gamma with mean `shape · scale`.
    Gamma {
        /// Shape, > 0.
        shape: f64,
        /// Scale, > 0.
        scale: Span,
    },
}

/// Lengths of one request: prompt and answer, possibly correlated.
#[derive(Clone, Debug, PartialEq)]
pub struct LengthsSpec {
    /// Prompt tokens beyond shared prefixes and session history.
    pub input: LengthDist,
    /// Tokens the model writes.
    pub output: LengthDist,
    /// Correlation in `[-1, 1]` of the two normal scores (a Gaussian copula); 0 = independent.
    pub correlation: f64,
}

impl Empirical {
    /// Builds the table from `(value, weight)` pairs in any order; equal values add up.
    /// `None` when no weight is positive or one is negative or not finite.
    #[must_use]
    pub fn new(mut weighted: Vec<(u32, f64)>) -> Option<Empirical> {
        if weighted.iter().any(|&(_, w)| !w.is_finite() || w < 0.0) {
            return None;
        }
        weighted.retain(|&(_, w)| w > 0.0);
        weighted.sort_by_key(|&(value, _)| value);
        weighted.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        let total: f64 = weighted.iter().map(|&(_, w)| w).sum();
        if weighted.is_empty() || !total.is_finite() {
            return None;
        }
        let mut below = 0.0;
        for pair in &mut weighted {
            below += pair.1;
            pair.1 = below / total;
        }
        if let Some(last) = weighted.last_mut() {
            last.1 = 1.0;
        }
        Some(Empirical { cumulative: weighted })
    }

    /// The least value whose cumulative probability reaches `p`.
    #[must_use]
    pub fn quantile(&self, p: f64) -> u32 {
        let at = self.cumulative.partition_point(|&(_, below)| below < p);
        self.cumulative[at.min(self.cumulative.len() - 1)].0
    }

    /// Mean of the distribution.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let mut below = 0.0;
        let mut sum = 0.0;
        for &(value, upto) in &self.cumulative {
            sum += f64::from(value) * (upto - below);
            below = upto;
        }
        sum
    }
}
