//! Distributions of token counts, of durations and of ranks, and how one value is drawn.
//!
//! Invariants: a draw depends only on the parameters and on the stream handed in; every token
//! count lies in `[min, max]` and is at least 1.
//!
//! A prompt and its answer may be correlated by a Gaussian copula: two standard normals with the
//! wanted correlation each choose a quantile of their own law, so the laws stay what they are.
//! [`LengthSampler`] holds the tables this takes, built once.
//!
//! Deliberately absent: fitting (see `calibrate`) and reading of histograms (see `scenarios`).

mod chart;
mod quantile;
mod zipf;

use crate::dice::{Dice, Purpose, normal_score};
use crate::stats::special::normal_cdf;
use crate::units::Span;
use chart::Chart;
use quantile::Table;
use std::rc::Rc;

pub use zipf::Zipf;

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

impl LengthDist {
    /// Draws one token count.
    #[must_use]
    pub fn sample(&self, dice: &mut Dice) -> u32 {
        self.clamp(self.law.sample(dice))
    }

    /// The count that belongs to a uniform number, where that is worth a [`Chart`].
    fn at(&self, uniform: f64) -> Option<u32> {
        match self.law {
            LengthLaw::Lognormal { mu, sigma } => {
                Some(self.clamp(libm::exp(mu + sigma * normal_score(uniform))))
            }
            // The others take several numbers, or a look-up of their own.
            _ => None,
        }
    }

    /// Rounds to the nearest integer and holds it in the range. NaN becomes the minimum.
    fn clamp(&self, tokens: f64) -> u32 {
        // Adding one half and truncating rounds; the cast saturates at both ends.
        ((tokens + 0.5) as u32).min(self.max).max(self.min).max(1)
    }
}

impl LengthLaw {
    fn sample(&self, dice: &mut Dice) -> f64 {
        match *self {
            LengthLaw::Fixed(tokens) => f64::from(tokens),
            LengthLaw::Lognormal { mu, sigma } => libm::exp(mu + sigma * dice.normal()),
            LengthLaw::LognormalMixture { weight, first, second } => {
                let (mu, sigma) = if dice.coin(weight) { first } else { second };
                libm::exp(mu + sigma * dice.normal())
            }
            LengthLaw::Gamma { shape, scale } => scale * dice.gamma(shape),
            LengthLaw::Empirical(ref table) => f64::from(table.quantile(dice.uniform())),
        }
    }

    /// Mean in tokens, before rounding and clamping.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let lognormal = |(mu, sigma): (f64, f64)| libm::exp(mu + 0.5 * sigma * sigma);
        match *self {
            LengthLaw::Fixed(tokens) => f64::from(tokens),
            LengthLaw::Lognormal { mu, sigma } => lognormal((mu, sigma)),
            LengthLaw::LognormalMixture { weight, first, second } => {
                weight * lognormal(first) + (1.0 - weight) * lognormal(second)
            }
            LengthLaw::Gamma { shape, scale } => shape * scale,
            LengthLaw::Empirical(ref table) => table.mean(),
        }
    }
}

impl DurationDist {
    /// Draws one duration.
    #[must_use]
    pub fn sample(&self, dice: &mut Dice) -> Span {
        Span::from_secs_f64(match *self {
            // Returned as it is: a detour over f64 would round it.
            DurationDist::Fixed(span) => return span,
            DurationDist::Exponential { mean } => mean.as_secs_f64() * dice.exponential(),
            DurationDist::Lognormal { mu, sigma } => libm::exp(mu + sigma * dice.normal()),
            DurationDist::Gamma { shape, scale } => scale.as_secs_f64() * dice.gamma(shape),
        })
    }

    /// Mean duration.
    #[must_use]
    pub fn mean(&self) -> Span {
        match *self {
            DurationDist::Fixed(span) | DurationDist::Exponential { mean: span } => span,
            DurationDist::Lognormal { mu, sigma } => {
                Span::from_secs_f64(libm::exp(mu + 0.5 * sigma * sigma))
            }
            DurationDist::Gamma { shape, scale } => {
                Span::from_secs_f64(shape * scale.as_secs_f64())
            }
        }
    }
}

/// [`LengthsSpec`] ready to draw from.
#[derive(Clone, Debug)]
pub struct LengthSampler {
    input: Drawn,
    output: Drawn,
    copula: Option<Copula>,
}

/// A law and, where it serves, a chart of it.
#[derive(Clone, Debug)]
struct Drawn {
    dist: LengthDist,
    chart: Option<Rc<Chart>>,
}

/// The charts of different laws: whoever draws from the same law fills the same chart.
#[derive(Debug, Default)]
pub struct Charts {
    known: Vec<(LengthDist, Rc<Chart>)>,
}

/// Correlation of two normal scores and the quantiles they choose.
#[derive(Clone, Debug)]
struct Copula {
    correlation: f64,
    /// √(1 − correlation²), the share of the second score that is its own.
    own: f64,
    input: Marginal,
    output: Marginal,
}

/// One law as a function of a normal score.
#[derive(Clone, Debug)]
enum Marginal {
    Fixed(u32),
    Lognormal { mu: f64, sigma: f64 },
    Empirical(Empirical),
    Tabulated(Table),
}

impl LengthSampler {
    /// Prepares the draws; a correlation other than 0 costs a few milliseconds for some laws.
    #[must_use]
    pub fn new(spec: &LengthsSpec, charts: &mut Charts) -> LengthSampler {
        let rho = spec.correlation.clamp(-1.0, 1.0);
        // NaN compares false: it means independent, as 0 does.
        let copula = (rho.abs() > 0.0).then(|| Copula {
            correlation: rho,
            own: (1.0 - rho * rho).sqrt(),
            input: Marginal::new(&spec.input.law),
            output: Marginal::new(&spec.output.law),
        });
        let mut drawn = |dist: &LengthDist| Drawn {
            dist: dist.clone(),
            chart: (copula.is_none() && dist.at(0.5).is_some()).then(|| charts.of(dist)),
        };
        let (input, output) = (drawn(&spec.input), drawn(&spec.output));
        LengthSampler { input, output, copula }
    }

    /// Prompt and output tokens of the request with this key, each from its own stream.
    #[must_use]
    pub fn sample(&self, request_key: u64) -> (u32, u32) {
        let mut input = Dice::of(request_key, Purpose::Input);
        let mut output = Dice::of(request_key, Purpose::Output);
        let Some(copula) = &self.copula else {
            return (self.input.sample(&mut input), self.output.sample(&mut output));
        };
        let first = input.normal();
        let second = copula.correlation * first + copula.own * output.normal();
        (
            self.input.dist.clamp(copula.input.quantile(first)),
            self.output.dist.clamp(copula.output.quantile(second)),
        )
    }
}

impl Charts {
    fn of(&mut self, dist: &LengthDist) -> Rc<Chart> {
        if let Some((_, chart)) = self.known.iter().find(|(known, _)| known == dist) {
            return Rc::clone(chart);
        }
        let chart = Rc::new(Chart::default());
        self.known.push((dist.clone(), Rc::clone(&chart)));
        chart
    }
}

impl Drawn {
    fn sample(&self, dice: &mut Dice) -> u32 {
        match &self.chart {
            Some(chart) => chart.draw(dice, |uniform| self.dist.at(uniform).unwrap_or(1)),
            None => self.dist.sample(dice),
        }
    }
}

impl Marginal {
    fn new(law: &LengthLaw) -> Marginal {
        match *law {
            LengthLaw::Fixed(tokens) => Marginal::Fixed(tokens),
            LengthLaw::Lognormal { mu, sigma } => Marginal::Lognormal { mu, sigma },
            LengthLaw::Empirical(ref table) => Marginal::Empirical(table.clone()),
            LengthLaw::LognormalMixture { weight, first, second } => Marginal::Tabulated(
                Table::new(|y| quantile::mixture_tails(weight, first, second, y), first.0),
            ),
            LengthLaw::Gamma { shape, scale } => {
                let scale_log = libm::log(scale);
                let tails = |y: f64| quantile::gamma_tails(shape, y - scale_log);
                Marginal::Tabulated(Table::new(tails, scale_log))
            }
        }
    }

    fn quantile(&self, score: f64) -> f64 {
        match self {
            Marginal::Fixed(tokens) => f64::from(*tokens),
            Marginal::Lognormal { mu, sigma } => libm::exp(mu + sigma * score),
            Marginal::Empirical(table) => f64::from(table.quantile(normal_cdf(score))),
            Marginal::Tabulated(table) => table.at(score),
        }
    }
}

#[cfg(test)]
mod tests;
