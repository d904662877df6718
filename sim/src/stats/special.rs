//! The functions behind the distributions: log-gamma, incomplete beta, normal, Student, binomial.
//!
//! Sources: the continued fraction of the incomplete beta function is DLMF 8.17.22, evaluated by
//! the modified Lentz method (Thompson and Barnett, J. Comput. Phys. 64, 1986); its prefactor is
//! arranged as in Loader, "Fast and accurate computation of binomial probabilities" (2000), so
//! that it keeps its digits where `a` and `b` are in the millions. Quantiles are found by
//! bisection of the distribution function: slow, obvious and right to the last few bits.

/// Natural logarithm of the gamma function of `x > 0`.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// Regularised incomplete beta function `I_x(a, b)` for `a, b > 0`; `x` is held in `[0, 1]`.
#[must_use]
pub fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    let x = x.clamp(0.0, 1.0);
    if x == 0.0 || x == 1.0 {
        return x;
    }
    // The fraction converges fast on this side of the mean; the other side is the complement.
    if x <= (a + 1.0) / (a + b + 2.0) {
        libm::exp(ln_beta_weight(a, b, x)) * beta_fraction(a, b, x) / a
    } else {
        1.0 - libm::exp(ln_beta_weight(b, a, 1.0 - x)) * beta_fraction(b, a, 1.0 - x) / b
    }
}

/// `ln(x^a (1 − x)^b / B(a, b))`.
fn ln_beta_weight(a: f64, b: f64, x: f64) -> f64 {
    if a < 10.0 || b < 10.0 {
        return ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)
            + a * libm::log(x)
            + b * libm::log1p(-x);
    }
    // Stirling's formula taken apart: the large terms cancel on paper, not in floating point.
    let n = a + b;
    let off = a - n * x;
    let deviance = a * libm::log1p(off / (n * x)) + b * libm::log1p(-off / (n * (1.0 - x)));
    let scale = 0.5 * libm::log(a * b / (n * 2.0 * std::f64::consts::PI));
    scale - deviance + stirling_rest(n) - stirling_rest(a) - stirling_rest(b)
}

/// `ln Γ(z)` minus Stirling's leading terms, for `z ≥ 10` (DLMF 5.11.1).
fn stirling_rest(z: f64) -> f64 {
    let inverse = 1.0 / (z * z);
    (1.0 / 12.0 - inverse * (1.0 / 360.0 - inverse * (1.0 / 1260.0 - inverse / 1680.0))) / z
}

/// Continued fraction of the incomplete beta function.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    // About √max(a, b) terms are needed; this is enough for a or b beyond 10^9.
    const MOST_TERMS: u32 = 200_000;
    let away_from_zero = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for term in 1..=MOST_TERMS {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        value *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        value *= d * c;
        if (d * c - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

/// Φ(x), the standard normal distribution function; exact in the lower tail.
#[must_use]
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// Standard normal quantile of `0 < p < 1`; infinite at the ends, NaN outside.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    symmetric_quantile(p, |x| normal_cdf(-x))
}

/// Quantile of Student's t with `df > 0` degrees of freedom; infinite at `p` 0 and 1, NaN when
/// `p` is outside `[0, 1]` or `df` is not positive.
#[must_use]
pub fn student_t_quantile(p: f64, df: f64) -> f64 {
    if df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    symmetric_quantile(p, |t| student_t_tail(t, df))
}

/// `P(T > t)` of Student's t with `df > 0` degrees of freedom; NaN when `df` is not positive.
#[must_use]
pub fn student_t_tail(t: f64, df: f64) -> f64 {
    if df.is_nan() || df <= 0.0 || t.is_nan() {
        return f64::NAN;
    }
    let beyond = 0.5 * incomplete_beta(df / 2.0, 0.5, df / (df + t * t));
    if t < 0.0 { 1.0 - beyond } else { beyond }
}

/// Quantile of a distribution symmetric about 0 from its upper tail.
fn symmetric_quantile(p: f64, tail: impl Fn(f64) -> f64) -> f64 {
    if p.is_nan() || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let (wanted, sign) = if p < 0.5 { (p, -1.0) } else { (1.0 - p, 1.0) };
    if wanted == 0.0 {
        return sign * f64::INFINITY;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while tail(high) > wanted && high < 1e300 {
        (low, high) = (high, high * 2.0);
    }
    // Halving an interval of one octave 60 times leaves less than one unit in the last place.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if tail(middle) > wanted { low = middle } else { high = middle }
    }
    sign * 0.5 * (low + high)
}

/// `P(B ≤ k)` of a binomial count of `n` trials with success probability `p`; `k` below 0 gives
/// 0. Good to 10 digits for `n` up to 10 million.
#[must_use]
pub fn binomial_cdf(k: i64, n: u64, p: f64) -> f64 {
    binomial(k, n, p).0
}

/// `P(B > k)`, without the loss of digits of one minus the distribution function.
#[must_use]
pub fn binomial_tail(k: i64, n: u64, p: f64) -> f64 {
    binomial(k, n, p).1
}

/// `(P(B ≤ k), P(B > k))` by `P(B ≤ k) = I_{1−p}(n − k, k + 1)` (DLMF 8.17.5).
fn binomial(k: i64, n: u64, p: f64) -> (f64, f64) {
    let Ok(k) = u64::try_from(k) else { return (0.0, 1.0) };
    if k >= n {
        return (1.0, 0.0);
    }
    let (more, less) = ((k + 1) as f64, (n - k) as f64);
    (incomplete_beta(less, more, 1.0 - p), incomplete_beta(more, less, p))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Critical values as printed in the NIST/SEMATECH e-Handbook of Statistical Methods,
    /// section 1.3.6.7.2, to its three decimals.
    #[test]
    fn student_quantiles_agree_with_the_published_table() {
        let table = [
            (0.90, 1.0, 3.078),
            (0.975, 1.0, 12.706),
            (0.975, 2.0, 4.303),
            (0.95, 5.0, 2.015),
            (0.975, 9.0, 2.262),
            (0.99, 9.0, 2.821),
            (0.975, 19.0, 2.093),
            (0.995, 30.0, 2.750),
            (0.975, 100.0, 1.984),
            (0.999, 4.0, 7.173),
        ];
        for (p, df, expected) in table {
            assert!((student_t_quantile(p, df) - expected).abs() < 5.1e-4, "t({p}, {df})");
            assert!((student_t_quantile(1.0 - p, df) + expected).abs() < 5.1e-4, "t(1-{p}, {df})");
        }
    }

    /// Closed forms: one degree of freedom is Cauchy, two have a square root.
    #[test]
    fn student_quantiles_agree_with_closed_forms() {
        for p in [0.5, 0.6, 0.9, 0.975, 0.9999] {
            let cauchy = libm::tan(std::f64::consts::PI * (p - 0.5));
            assert!((student_t_quantile(p, 1.0) - cauchy).abs() <= 1e-11 * cauchy.max(1.0));
            let two = (2.0 * p - 1.0) / (2.0 * p * (1.0 - p)).sqrt();
            assert!((student_t_quantile(p, 2.0) - two).abs() <= 1e-11 * two.max(1.0));
        }
    }

    #[test]
    fn normal_quantiles_agree_with_published_values() {
        for (p, expected) in
            [(0.5, 0.0), (0.975, 1.959_963_984_540_054), (0.95, 1.644_853_626_951_472_7)]
        {
            assert!((normal_quantile(p) - expected).abs() < 1e-12);
            assert!((normal_cdf(expected) - p).abs() < 1e-15);
        }
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert!(normal_quantile(1.5).is_nan() && student_t_quantile(0.9, 0.0).is_nan());
    }

    #[test]
    fn the_incomplete_beta_function_agrees_with_closed_forms() {
        for x in [0.0, 0.1, 0.5, 0.9, 1.0] {
            assert!((incomplete_beta(1.0, 1.0, x) - x).abs() < 1e-15);
            assert!((incomplete_beta(3.0, 1.0, x) - x * x * x).abs() < 1e-15);
            let arcsine = 2.0 / std::f64::consts::PI * libm::asin(x.sqrt());
            assert!((incomplete_beta(0.5, 0.5, x) - arcsine).abs() < 1e-13);
        }
        assert!((ln_gamma(5.0) - libm::log(24.0)).abs() < 1e-14);
    }

    /// The sum of the probabilities, by their recursion, is the slow twin.
    #[test]
    fn the_binomial_agrees_with_its_sum() {
        for (n, p) in [(10_u64, 0.3_f64), (200, 0.95), (1000, 0.5)] {
            let (mut probability, mut below) = (libm::exp(libm::log(1.0 - p) * n as f64), 0.0);
            for k in 0..=n {
                below += probability;
                assert!((binomial_cdf(k as i64, n, p) - below).abs() < 1e-11, "{k} of {n} at {p}");
                probability *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
            }
        }
    }

    /// With millions of trials: both sides sum to one, and by the Berry–Esseen bound the normal
    /// law is within `0.5 (p² + q²)/√(npq)` of it.
    #[test]
    fn the_binomial_keeps_its_digits_with_millions_of_trials() {
        let (n, p) = (10_000_000_u64, 0.999);
        let (mean, deviation) = (n as f64 * p, (n as f64 * p * (1.0 - p)).sqrt());
        for z in [-4.0, -1.0, 0.0, 1.0, 4.0] {
            let k = (mean + z * deviation) as i64;
            let (below, above) = (binomial_cdf(k, n, p), binomial_tail(k, n, p));
            assert!((below + above - 1.0).abs() < 1e-10, "{below} + {above}");
            let normal = normal_cdf((k as f64 + 0.5 - mean) / deviation);
            assert!((below - normal).abs() < 0.5 / deviation, "{below} beside {normal}");
        }
        assert_eq!((binomial_cdf(-1, 5, 0.5), binomial_cdf(5, 5, 0.5)), (0.0, 1.0));
    }
}
