//! Quantile functions by normal score: what a Gaussian copula needs to give a law to a score.
//!
//! Invariant: a table rises (weakly) with the score, and so does everything read from it.
//!
//! Deliberately absent: tables for drawing independent values; those have direct methods.

use crate::stats::special::normal_cdf;

/// Scores run from −`REACH` to `REACH`; a draw of 53 bits never leaves this range by much.
const REACH: f64 = 8.0;
/// Steps of the table per unit of score.
const STEPS_PER_UNIT: usize = 64;

/// Quantiles of a positive law at evenly spaced normal scores, 1,025 of them.
#[derive(Clone, Debug)]
pub(super) struct Table {
    values: Vec<f64>,
}

impl Table {
    /// Tabulates the law whose distribution function at `exp(y)` is the first value of `law(y)`
    /// and whose upper tail there is the second. Two tails, because near 1 a probability has no
    /// digits left. `start` is any `y`, the nearer to the first quantile the faster.
    pub(super) fn new(law: impl Fn(f64) -> (f64, f64), start: f64) -> Table {
        let steps = 2 * REACH as usize * STEPS_PER_UNIT;
        let mut below = start;
        let values = (0..=steps)
            .map(|i| {
                let z = i as f64 / STEPS_PER_UNIT as f64 - REACH;
                let (lower, upper) = (normal_cdf(z), normal_cdf(-z));
                let reached = |y: f64| {
                    let (cdf, tail) = law(y);
                    if z < 0.0 { cdf >= lower } else { tail <= upper }
                };
                below = first_reached(reached, below);
                libm::exp(below)
            })
            .collect();
        Table { values }
    }

    /// The quantile at a normal score, by linear interpolation; the ends hold outside.
    pub(super) fn at(&self, score: f64) -> f64 {
        let place =
            ((score + REACH) * STEPS_PER_UNIT as f64).clamp(0.0, (self.values.len() - 1) as f64);
        let index = (place as usize).min(self.values.len() - 2);
        let (low, high) = (self.values[index], self.values[index + 1]);
        low + (high - low) * (place - index as f64)
    }
}

/// The least `y` at which `reached` holds, to about ten digits, by doubling steps from `start` and
/// then bisection.
fn first_reached(reached: impl Fn(f64) -> bool, start: f64) -> f64 {
    // Logarithms of doubles end at ±745; beyond 1,000 there is nothing to find.
    let outside = |y: f64| !(-1_000.0..=1_000.0).contains(&y);
    let (mut low, mut high) = (start, start);
    let mut step = 1.0 / 64.0;
    if reached(start) {
        while reached(low) && !outside(low) {
            (low, high) = (low - step, low);
            step *= 2.0;
        }
    } else {
        while !reached(high) && !outside(high) {
            (low, high) = (high, high + step);
            step *= 2.0;
        }
    }
    while high - low > 1e-10 {
        let middle = 0.5 * (low + high);
        if reached(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The regularised incomplete gamma functions P and Q of `shape` at `exp(y)`: the power series
/// below the mean and Legendre's continued fraction above it (Abramowitz and Stegun 6.5.29 and
/// 6.5.31, the fraction evaluated by Lentz's method).
pub(super) fn gamma_tails(shape: f64, y: f64) -> (f64, f64) {
    let x = libm::exp(y);
    let front = libm::exp(shape * y - x - libm::lgamma(shape));
    if x < shape + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / shape, 1.0 / shape, shape);
        while term > sum * 1e-16 && n < shape + 10_000.0 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        let p = (front * sum).min(1.0);
        return (p, 1.0 - p);
    }
    if front == 0.0 {
        return (1.0, 0.0);
    }
    let mut b = x + 1.0 - shape;
    let mut c = f64::MAX;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for i in 1..10_000 {
        let n = f64::from(i);
        let a = n * (shape - n);
        b += 2.0;
        d = 1.0 / (a * d + b);
        c = b + a / c;
        let change = c * d;
        fraction *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    let q = (front * fraction).clamp(0.0, 1.0);
    (1.0 - q, q)
}

/// Both tails at `exp(y)` of a mixture of two lognormals.
pub(super) fn mixture_tails(
    weight: f64,
    first: (f64, f64),
    second: (f64, f64),
    y: f64,
) -> (f64, f64) {
    // A component without spread is a step; a very steep normal is one to all digits that count.
    let score = |(mu, sigma): (f64, f64)| (y - mu) / sigma.max(1e-9);
    let (a, b) = (score(first), score(second));
    let both = |s: f64| weight * normal_cdf(s * a) + (1.0 - weight) * normal_cdf(s * b);
    (both(1.0), both(-1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_tails_agree_with_closed_forms() {
        for x in [1e-6, 0.1, 0.7, 1.0, 2.5, 9.0, 40.0] {
            // Shape 1 is exponential; shape 1/2 at x is the square of a normal at √(2x).
            let (p, q) = gamma_tails(1.0, libm::log(x));
            assert!((q - libm::exp(-x)).abs() < 1e-14 && (p + q - 1.0).abs() < 1e-14);
            let (p, q) = gamma_tails(0.5, libm::log(x));
            assert!((p - libm::erf(x.sqrt())).abs() < 1e-13, "{x}: {p}");
            assert!((q / libm::erfc(x.sqrt()) - 1.0).abs() < 1e-9 || x < 1.0, "{x}: {q}");
        }
    }

    #[test]
    fn a_table_of_a_lognormal_is_its_exponential() {
        let (mu, sigma) = (3.0, 0.8);
        let table = Table::new(|y| mixture_tails(1.0, (mu, sigma), (0.0, 1.0), y), mu);
        for z in [-7.5, -3.0, -0.3, 0.0, 1.1, 4.2, 7.9] {
            let exact = libm::exp(mu + sigma * z);
            assert!((table.at(z) / exact - 1.0).abs() < 1e-4, "{z}");
        }
        assert!(table.at(-99.0) <= table.at(99.0));
    }
}
