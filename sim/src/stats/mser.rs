//! How much of the start of a series to delete: MSER-5.
//!
//! White, "An effective truncation heuristic for bias reduction in simulation output", Simulation
//! 69 (1997), with the batches of five of White, Cobb and Spratt (WSC 2000): average the series
//! in batches of 5 and delete the first `d` batches, where `d` minimises the marginal standard
//! error `Σ(y − ȳ)²/(n − d)²` of the rest, among `d ≤ n/2`.
//!
//! A minimum at the bound means that the start-up still dominates: the series is too short.

/// Values in a batch.
pub const BATCH: usize = 5;

/// Where MSER-5 cuts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mser {
    /// Values to delete from the start, a multiple of [`BATCH`].
    pub delete: usize,
    /// Mean of the batches that stay.
    pub truncated_mean: f64,
    /// Whether the minimum sits at half of the series, so that it may lie beyond.
    pub at_bound: bool,
}

/// The first minimiser; an incomplete last batch is ignored. `None` with fewer than two batches.
#[must_use]
pub fn mser5(series: &[f64]) -> Option<Mser> {
    let batches: Vec<f64> =
        series.chunks_exact(BATCH).map(|b| b.iter().sum::<f64>() / BATCH as f64).collect();
    let n = batches.len();
    if n < 2 {
        return None;
    }
    let bound = n / 2;
    let mut best = Mser { delete: 0, truncated_mean: 0.0, at_bound: false };
    let mut least = f64::INFINITY;
    // From the end towards the start, Welford's update keeps mean and squares of what stays.
    let (mut mean, mut squares) = (0.0, 0.0);
    for deleted in (0..n).rev() {
        let kept = (n - deleted) as f64;
        let off = batches[deleted] - mean;
        mean += off / kept;
        squares += off * (batches[deleted] - mean);
        let error = squares / (kept * kept);
        // Not greater: going backwards, that keeps the first of equal minimisers.
        if deleted <= bound && error <= least {
            least = error;
            best =
                Mser { delete: deleted * BATCH, truncated_mean: mean, at_bound: deleted == bound };
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows mser5-108 and -109 of the project's table of oracles.
    #[test]
    fn it_agrees_with_the_oracle() {
        let series: Vec<f64> = (0..1_000)
            .map(|i| {
                let noise = ((i * 7_919 + 104_729) % 1_000) as f64 / 1_000.0;
                ((10.0 * libm::exp(-f64::from(i) / 120.0) + noise) * 1e6).round() / 1e6
            })
            .collect();
        let cut = mser5(&series).expect("enough values");
        assert_eq!((cut.delete, cut.at_bound), (435, false));
        assert!((cut.truncated_mean / 0.556_110_989_381 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_series_that_still_falls_hits_the_bound() {
        let falling: Vec<f64> = (0..200).map(|i| -f64::from(i)).collect();
        let cut = mser5(&falling).expect("enough values");
        assert!(cut.at_bound && cut.delete == 100);
    }

    #[test]
    fn a_constant_series_keeps_everything() {
        let cut = mser5(&[2.0; 50]).expect("enough values");
        assert_eq!((cut.delete, cut.truncated_mean, cut.at_bound), (0, 2.0, false));
        assert_eq!(mser5(&[1.0; 9]), None);
    }
}
