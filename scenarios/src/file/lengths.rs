//! Distributions of token counts and of durations, from the numbers people know.
//!
//! Invariants: parameters of the laws are finite, deviations not negative; an impossible pair
//! (a 95th percentile below the median) is refused.
//!
//! Deliberately absent: fitting from samples (see `calibrate`).

use super::tasks::TIMES;
use crate::kinds::{LENGTH_OF_TIME, Number, TOKENS};
use crate::problem::{At, ProblemKind, Site};
use crate::reader::Reader;
use sim::dist::{DurationDist, Empirical, LengthDist, LengthLaw};
use sim::units::Span;

/// 95 % quantile of the standard normal distribution (Abramowitz & Stegun, table 26.5).
const Z95: f64 = 1.644_853_626_951_472_2;
/// A token count as a parameter: its own range is the law's business.
const SIZE: Number = Number::within(0.1, 10_000_000.0);
/// A coefficient of variation.
pub(crate) const CV: Number = Number { min: 0.01, max: 1_000.0, above: false, factor: false };

/// A distribution of token counts whose upper end may still depend on the engine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lengths {
    pub(crate) law: LengthLaw,
    pub(crate) min: u32,
    pub(crate) max: Option<At<u32>>,
    pub(crate) site: Site,
    table_len: usize,
}

impl Lengths {
    /// The largest value the law can reach on its own, if it has one.
    pub(crate) fn law_max(&self) -> Option<u32> {
        match &self.law {
            LengthLaw::Fixed(tokens) => Some(*tokens),
            LengthLaw::Empirical(table) => Some(table.quantile(1.0)),
            _ => None,
        }
    }

    /// A histogram of `(tokens, weight)`, cut at `most`; `None` without a positive weight.
    pub(crate) fn histogram(weighted: &[(u32, f64)], most: u32, site: &Site) -> Option<Lengths> {
        let table = Empirical::new(weighted.to_vec())?;
        let max = At { value: table.quantile(1.0).min(most).max(1), site: site.clone() };
        let law = LengthLaw::Empirical(table);
        let table_len = weighted.len();
        Some(Lengths { law, min: 1, max: Some(max), site: site.clone(), table_len })
    }

    /// Always the same.
    pub(crate) fn fixed(number: At<u32>) -> Lengths {
        let law = LengthLaw::Fixed(number.value);
        Lengths { law, min: 1, max: None, site: number.site, table_len: 0 }
    }

    /// Entries of its table, for the cap on what a scenario expands to.
    pub(crate) fn size(&self) -> usize {
        self.table_len
    }

    /// The distribution, cut at `most`.
    pub(crate) fn cut_at(&self, most: u32) -> LengthDist {
        let max = self.max.as_ref().map_or(most, |max| max.value.min(most)).max(1);
        LengthDist { law: self.law.clone(), min: self.min.min(max), max }
    }

    /// Mean before cutting, in tokens.
    pub(crate) fn mean(&self) -> f64 {
        let lognormal = |(mu, sigma): (f64, f64)| libm::exp(mu + sigma * sigma / 2.0);
        let mean = match &self.law {
            LengthLaw::Fixed(tokens) => f64::from(*tokens),
            LengthLaw::Lognormal { mu, sigma } => lognormal((*mu, *sigma)),
            LengthLaw::LognormalMixture { weight, first, second } => {
                weight * lognormal(*first) + (1.0 - weight) * lognormal(*second)
            }
            LengthLaw::Gamma { shape, scale } => shape * scale,
            LengthLaw::Empirical(table) => table.mean(),
        };
        mean.min(self.max.as_ref().map_or(f64::INFINITY, |max| f64::from(max.value)))
    }
}

/// Reads a distribution of token counts.
pub(crate) fn lengths(r: &mut Reader<'_>) -> Option<Lengths> {
    r.tagged(
        "kind",
        "The law of the token count.",
        &[
            ("fixed", fixed),
            ("lognormal", |r| {
                let law = lognormal(r).map(|(mu, sigma)| LengthLaw::Lognormal { mu, sigma });
                clamped(r, law)
            }),
            ("lognormal-mixture", mixture),
            ("gamma", gamma),
            ("empirical", empirical),
        ],
    )
}

/// Reads a law of how often something is done.
pub(crate) fn counts(r: &mut Reader<'_>) -> Option<Lengths> {
    r.tagged(
        "kind",
        "The law of the number.",
        &[("geometric", geometric), ("empirical", empirical)],
    )
}

/// Each time is the last with the same probability: the table of `P(n) = p (1 − p)^(n − 1)`, cut
/// where at most a millionth is left.
fn geometric(r: &mut Reader<'_>) -> Option<Lengths> {
    let most = TIMES.max;
    let mean = r.need("mean", Number::within(1.0, f64::from(most)), "Mean number of times.");
    let law = mean.and_then(|mean| {
        let stop = 1.0 / mean.value;
        let mut left = 1.0;
        let mut table = Vec::new();
        for times in 1..=most {
            table.push((times, left * stop));
            left *= 1.0 - stop;
            if left < 1e-6 {
                break;
            }
        }
        Empirical::new(table).map(LengthLaw::Empirical)
    });
    clamped(r, law)
}

/// Adds the range, common to all random laws; it is read even when the law was wrong, so that
/// its keys are known.
fn clamped(r: &mut Reader<'_>, law: Option<LengthLaw>) -> Option<Lengths> {
    let min = r.or("min", TOKENS, "1", "Smallest value.");
    let max = r.may("max", TOKENS, "Largest value. Default: what the engine admits.");
    let min = min.map_or(1, |min| min.value);
    if max.as_ref().is_some_and(|max| max.value < min) {
        r.refuse(ProblemKind::Conflict, "`max` is below `min`");
        return None;
    }
    Some(Lengths { law: law?, min, max, site: r.site().clone(), table_len: 0 })
}

fn fixed(r: &mut Reader<'_>) -> Option<Lengths> {
    let tokens = r.need("tokens", TOKENS, "Tokens, always the same.")?;
    let law = LengthLaw::Fixed(tokens.value);
    Some(Lengths { law, min: 1, max: None, site: r.site().clone(), table_len: 0 })
}

/// `(mu, sigma)` from two of p50, p95, mean and cv.
fn lognormal(r: &mut Reader<'_>) -> Option<(f64, f64)> {
    let p50 = r.may("p50", SIZE, "Median, in tokens; with p95.");
    let p95 = r.may("p95", SIZE, "95th percentile, in tokens; with p50 or mean.");
    let mean = r.may("mean", SIZE, "Mean, in tokens; with cv or p95.");
    let cv = r.may("cv", CV, "Standard deviation divided by the mean; with mean.");
    let value = |at: Option<At<f64>>| at.map(|at| at.value);
    let law = lognormal_from(value(p50), value(p95), value(mean), value(cv));
    report(r, law)
}

fn report(r: &mut Reader<'_>, law: Result<(f64, f64), &'static str>) -> Option<(f64, f64)> {
    match law {
        Ok(law) => Some(law),
        Err(message) => {
            r.refuse_keys(&["p50", "p95", "mean", "cv"], ProblemKind::Conflict, message);
            None
        }
    }
}

/// The lognormal law with these properties; exactly two have to be given.
fn lognormal_from(
    p50: Option<f64>,
    p95: Option<f64>,
    mean: Option<f64>,
    cv: Option<f64>,
) -> Result<(f64, f64), &'static str> {
    match (p50, p95, mean, cv) {
        (Some(p50), Some(p95), None, None) if p95 >= p50 => {
            Ok((libm::log(p50), libm::log(p95 / p50) / Z95))
        }
        (None, None, Some(mean), Some(cv)) => {
            let variance = libm::log1p(cv * cv);
            Ok((libm::log(mean) - variance / 2.0, variance.sqrt()))
        }
        (None, Some(p95), Some(mean), None) if p95 >= mean => {
            // ln(p95/mean) = z·σ − σ²/2; the smaller root is the law people mean.
            let under = Z95 * Z95 - 2.0 * libm::log(p95 / mean);
            if under < 0.0 {
                return Err("no lognormal law has a p95 this far above its mean (at most 3.87 ×)");
            }
            let sigma = Z95 - under.sqrt();
            Ok((libm::log(mean) - sigma * sigma / 2.0, sigma))
        }
        (Some(_), Some(_), None, None) | (None, Some(_), Some(_), None) => {
            Err("p95 has to be at least the median and the mean")
        }
        _ => Err("a lognormal law takes p50 and p95, or mean and cv, or mean and p95"),
    }
}

fn mixture(r: &mut Reader<'_>) -> Option<Lengths> {
    let weight = r.need("weight", Number::within(0.0, 1.0), "Probability of the first part.");
    let first = r.need_table("first", "The first lognormal part.", lognormal);
    let second = r.need_table("second", "The second lognormal part.", lognormal);
    let parts = weight.zip(first.flatten()).zip(second.flatten());
    let law = parts.map(|((weight, first), second)| LengthLaw::LognormalMixture {
        weight: weight.value,
        first,
        second,
    });
    clamped(r, law)
}

fn gamma(r: &mut Reader<'_>) -> Option<Lengths> {
    let mean = r.need("mean", SIZE, "Mean, in tokens.");
    let cv = r.need("cv", CV, "Standard deviation divided by the mean.");
    let law = mean.zip(cv).map(|(mean, cv)| {
        let square = cv.value * cv.value;
        LengthLaw::Gamma { shape: 1.0 / square, scale: mean.value * square }
    });
    clamped(r, law)
}

fn empirical(r: &mut Reader<'_>) -> Option<Lengths> {
    let weight = Number::within(0.0, 1e12);
    let values = r.pairs("values", (TOKENS, weight), "Pairs `[tokens, weight]`.");
    let table_len = values.len();
    let law = Empirical::new(values).map(LengthLaw::Empirical);
    if law.is_none() {
        let message = "`values` needs at least one positive weight";
        r.refuse_keys(&["values"], ProblemKind::BadValue, message);
    }
    clamped(r, law).map(|lengths| Lengths { table_len, ..lengths })
}

/// Reads a distribution of durations.
pub(crate) fn duration_dist(r: &mut Reader<'_>) -> Option<DurationDist> {
    r.tagged(
        "kind",
        "The law of the duration.",
        &[
            ("fixed", |r| {
                let length = r.need("length", crate::kinds::DURATION, "Always this long.")?;
                Some(DurationDist::Fixed(length.value))
            }),
            ("exponential", |r| {
                let mean = r.need("mean", LENGTH_OF_TIME, "Mean.")?;
                Some(DurationDist::Exponential { mean: mean.value })
            }),
            ("lognormal", |r| {
                let seconds = |at: Option<At<Span>>| at.map(|at| at.value.as_secs_f64());
                let p50 = seconds(r.may("p50", LENGTH_OF_TIME, "Median; with p95."));
                let p95 = seconds(r.may("p95", LENGTH_OF_TIME, "95th percentile."));
                let mean = seconds(r.may("mean", LENGTH_OF_TIME, "Mean; with cv or p95."));
                let cv = r.may("cv", CV, "Standard deviation divided by the mean; with mean.");
                let law = lognormal_from(p50, p95, mean, cv.map(|cv| cv.value));
                report(r, law).map(|(mu, sigma)| DurationDist::Lognormal { mu, sigma })
            }),
            ("gamma", |r| {
                let mean = r.need("mean", LENGTH_OF_TIME, "Mean.");
                let cv = r.need("cv", CV, "Standard deviation divided by the mean.");
                let (mean, cv) = mean.zip(cv)?;
                let square = cv.value * cv.value;
                let scale = Span::from_secs_f64(mean.value.as_secs_f64() * square);
                Some(DurationDist::Gamma { shape: 1.0 / square, scale: scale.max(Span(1)) })
            }),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lognormal_laws_have_the_properties_asked_for() {
        let mean = |(mu, sigma): (f64, f64)| (mu + sigma * sigma / 2.0).exp();
        let p95 = |(mu, sigma): (f64, f64)| (mu + Z95 * sigma).exp();
        let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-12, "{a} {b}");

        let law = lognormal_from(Some(350.0), Some(900.0), None, None).expect("a law");
        close(law.0.exp(), 350.0);
        close(p95(law), 900.0);
        let law = lognormal_from(None, None, Some(1024.0), Some(1.5)).expect("a law");
        close(mean(law), 1024.0);
        close(((law.1 * law.1).exp() - 1.0).sqrt(), 1.5);
        let law = lognormal_from(None, Some(4083.0), Some(1155.0), None).expect("a law");
        close(mean(law), 1155.0);
        close(p95(law), 4083.0);
        assert!(lognormal_from(Some(10.0), Some(5.0), None, None).is_err());
        assert!(lognormal_from(None, Some(500.0), Some(100.0), None).is_err());
        assert!(lognormal_from(Some(1.0), None, None, None).is_err());
    }
}
