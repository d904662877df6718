//! Zipf's law over ranks.
//!
//! Rejection-inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates from
//! monotone discrete distributions", ACM TOMACS 6, 1996): constant time and no table, however many
//! ranks there are.
//!
//! Invariant: a draw depends on the parameters and the stream alone.

use crate::dice::Dice;

/// Ranks `1..=ranks`, where rank `k` has a probability in proportion to `k^(−exponent)`.
#[derive(Clone, Copy, Debug)]
pub struct Zipf {
    /// At least 1, a whole number.
    ranks: f64,
    /// Finite, at least 0.
    exponent: f64,
    /// `H(3/2) − 1`, `H(ranks + 1/2)` and the width that needs no rejection.
    low: f64,
    high: f64,
    sure: f64,
}

impl Zipf {
    /// No rank counts as one; an exponent that is negative or not finite counts as 0.
    #[must_use]
    pub fn new(ranks: u32, exponent: f64) -> Zipf {
        let exponent = if exponent.is_finite() { exponent.max(0.0) } else { 0.0 };
        let ranks = f64::from(ranks.max(1));
        let mut law = Zipf { ranks, exponent, low: 0.0, high: 0.0, sure: 0.0 };
        law.low = law.integral(1.5) - 1.0;
        law.high = law.integral(ranks + 0.5);
        law.sure = 2.0 - law.inverse(law.integral(2.5) - libm::pow(2.0, -exponent));
        law
    }

    /// ∫ x^(−exponent) dx from 1, continuous at exponent 1.
    fn integral(&self, x: f64) -> f64 {
        let (log, e) = (libm::log(x), 1.0 - self.exponent);
        if (e * log).abs() < 1e-8 { log } else { libm::expm1(e * log) / e }
    }

    /// Inverse of [`Self::integral`].
    fn inverse(&self, area: f64) -> f64 {
        let e = 1.0 - self.exponent;
        let log =
            if (e * area).abs() < 1e-8 { area } else { libm::log1p((e * area).max(-1.0)) / e };
        libm::exp(log)
    }

    /// A rank, 1 the most popular.
    pub fn draw(&self, dice: &mut Dice) -> u32 {
        // The acceptance rate is above one half everywhere; the bound only guards rounding.
        for _ in 0..64 {
            let area = self.high + dice.uniform() * (self.low - self.high);
            let x = self.inverse(area);
            let rank = (x + 0.5).floor().clamp(1.0, self.ranks);
            let kept = rank - x <= self.sure
                || area >= self.integral(rank + 0.5) - libm::pow(rank, -self.exponent);
            if kept {
                return rank as u32;
            }
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::mix;

    #[test]
    fn ranks_are_as_popular_as_zipf_says() {
        for (ranks, exponent) in [(1, 1.0), (2, 0.0), (5, 0.8), (5, 1.0), (7, 2.3)] {
            let law = Zipf::new(ranks, exponent);
            let n = 40_000;
            let mut counts = vec![0.0; ranks as usize];
            for k in 0..n {
                counts[law.draw(&mut Dice::stream(mix(9, k))) as usize - 1] += 1.0 / n as f64;
            }
            let weight = |rank: usize| libm::pow(rank as f64, -exponent);
            let total: f64 = (1..=ranks as usize).map(weight).sum();
            for (i, share) in counts.iter().enumerate() {
                let want = weight(i + 1) / total;
                let error = (want * (1.0 - want) / n as f64).sqrt();
                let near = (share - want).abs() <= 5.0 * error + 1e-9;
                assert!(near, "{exponent} {i}: {share} {want}");
            }
        }
    }
}
