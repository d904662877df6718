//! Durations counted in bands a sixteenth of a doubling wide: coarse enough to be kept for every
//! window of a series.
//!
//! A band is at most 1/16 = 6.25 % of its shortest duration wide (4.4 % on average over a doubling),
//! and everything below 2²⁰ ps (a microsecond) is one band. Quantiles are those of
//! [`super::Histogram`] (Hyndman–Fan type 7, the values of a band spread evenly over it), so one is
//! off by less than a band; no smallest and largest value bound it, because only counts are kept.
//!
//! Invariants: bands rise, and each entry counts something; a count beyond `u32` is spread over
//! several entries of the same band.

use super::histogram::{quantile_secs, within};
use crate::units::Span;

/// Below two to this power of picoseconds all is one band.
const SHORTEST: u32 = 20;

/// Bands there are.
pub const BANDS: usize = 1 + (u64::BITS - SHORTEST) as usize * 16;

/// Band of a duration, from 0 and below [`BANDS`].
#[must_use]
pub fn band(duration: Span) -> usize {
    let doublings = (duration.0 | 1).ilog2();
    if doublings < SHORTEST {
        return 0;
    }
    let sixteenth = (duration.0 >> (doublings - 4)) & 15;
    ((doublings - SHORTEST) * 16) as usize + sixteenth as usize + 1
}

/// First picosecond of a band and its width.
fn edges(band: u16) -> (u64, u64) {
    let Some(above) = u32::from(band).checked_sub(1) else { return (0, 1 << SHORTEST) };
    let width = 1 << (SHORTEST + above / 16 - 4);
    (u64::from(16 + above % 16) * width, width)
}

/// How many durations lie in which band.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BandCounts {
    /// `(band, durations in it)`.
    entries: Vec<(u16, u32)>,
}

impl BandCounts {
    /// The filled ones of all bands; `counts` has one entry for each.
    #[must_use]
    pub fn of(counts: &[u64; BANDS]) -> BandCounts {
        let mut filled = BandCounts::default();
        for (band, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            filled.push_all(band as u16, count);
        }
        filled
    }

    /// Durations counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.1)).sum()
    }

    /// `(first picosecond, width, durations)` of each filled band, rising.
    pub fn bands(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.entries.iter().map(|&(band, count)| {
            let (from, width) = edges(band);
            (from, width, u64::from(count))
        })
    }

    /// Adds the counts of others.
    pub fn merge(&mut self, other: &BandCounts) {
        let mine = std::mem::take(&mut self.entries);
        self.entries.reserve(mine.len() + other.entries.len());
        let mut theirs = other.entries.iter().copied().peekable();
        for entry in mine {
            while let Some(before) = theirs.next_if(|their| their.0 < entry.0) {
                self.push(before);
            }
            self.push(entry);
        }
        theirs.for_each(|entry| self.push(entry));
        self.entries.shrink_to_fit();
    }

    fn push(&mut self, (band, count): (u16, u32)) {
        if let Some(last) = self.entries.last_mut()
            && last.0 == band
            && let Some(sum) = last.1.checked_add(count)
        {
            last.1 = sum;
        } else {
            self.entries.push((band, count));
        }
    }

    fn push_all(&mut self, band: u16, mut count: u64) {
        while count > 0 {
            let part = u32::try_from(count).unwrap_or(u32::MAX);
            self.push((band, part));
            count -= u64::from(part);
        }
    }

    /// The `p`-quantile in seconds; `None` when nothing was counted.
    #[must_use]
    pub fn quantile_secs(&self, p: f64) -> Option<f64> {
        let first = edges(self.entries.first()?.0);
        let last = edges(self.entries.last()?.0);
        let ends = (Span(first.0), Span(last.0 + (last.1 - 1)));
        quantile_secs(p, self.count(), ends, |rank| self.value_at(rank))
    }

    /// Estimated duration (picoseconds) of the given rank, counted from 0.
    fn value_at(&self, rank: u64) -> f64 {
        let mut before = 0;
        for same in self.entries.chunk_by(|a, b| a.0 == b.0) {
            let count: u64 = same.iter().map(|entry| u64::from(entry.1)).sum();
            if rank < before + count {
                return within(edges(same[0].0), count, rank - before);
            }
            before += count;
        }
        // No rank lies beyond the last duration.
        self.entries.last().map_or(0.0, |last| edges(last.0).0 as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;
    use crate::units::PS_PER_SEC;

    fn counted(durations: &[u64]) -> BandCounts {
        let mut counts = [0; BANDS];
        durations.iter().for_each(|&duration| counts[band(Span(duration))] += 1);
        BandCounts::of(&counts)
    }

    /// Durations from a microsecond to a quarter of an hour, evenly over the doublings.
    fn durations(seed: u64, count: u64) -> Vec<u64> {
        let draw = |n: u64| {
            let bits = (seed * 1_000 + n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (1 << 20) << (bits >> 59).min(29) | (bits & 0xF_FFFF)
        };
        (0..count).map(draw).collect()
    }

    #[test]
    fn bands_meet_and_hold_what_is_put_into_them() {
        for number in 0..BANDS as u16 {
            let (from, width) = edges(number);
            assert_eq!(band(Span(from)), usize::from(number));
            assert_eq!(band(Span(from + (width - 1))), usize::from(number));
            assert!(number == 0 || u128::from(width) * 16 <= u128::from(from));
            if usize::from(number) + 1 < BANDS {
                assert_eq!(edges(number + 1).0, from + width);
            }
        }
        assert_eq!(band(Span(u64::MAX)), BANDS - 1);
    }

    #[test]
    fn a_quantile_is_off_by_less_than_a_band() {
        for seed in 0..50 {
            let durations = durations(seed, 1 + seed * 7);
            let mut exact = Histogram::default();
            durations.iter().for_each(|&duration| exact.record(Span(duration)));
            let coarse = counted(&durations);
            assert_eq!(coarse.count(), durations.len() as u64);
            // A rank between two values is interpolated, as far apart as they may be: whole ranks.
            for rank in 0..durations.len() {
                let p = rank as f64 / (durations.len() - 1).max(1) as f64;
                let (near, truth) = (coarse.quantile_secs(p), exact.quantile_secs(p));
                let (near, truth) = near.zip(truth).expect("there are some");
                assert!((near - truth).abs() <= truth * 0.07, "{near} for {truth} at {p}");
            }
        }
        assert_eq!(BandCounts::default().quantile_secs(0.95), None);
    }

    #[test]
    fn a_single_duration_is_the_middle_of_its_band() {
        let second = counted(&[PS_PER_SEC]);
        let (from, width) = edges(band(Span(PS_PER_SEC)) as u16);
        let middle = (from as f64 + width as f64 / 2.0) / PS_PER_SEC as f64;
        assert_eq!(second.quantile_secs(0.95), Some(middle));
        assert_eq!(second.bands().collect::<Vec<_>>(), [(from, width, 1)]);
    }

    #[test]
    fn merging_is_counting_all_of_them_together_in_any_order() {
        for seed in 0..20 {
            let (some, more) = (durations(seed, 90), durations(seed + 100, seed * 5));
            let (mut one, mut other) = (counted(&some), counted(&more));
            let (first, second) = (one.clone(), other.clone());
            one.merge(&second);
            other.merge(&first);
            assert_eq!(one, counted(&[some, more].concat()));
            assert_eq!(one, other);
        }
    }

    #[test]
    fn counts_beyond_four_bytes_take_several_entries() {
        let most = BandCounts { entries: vec![(3, u32::MAX), (9, 1)] };
        let mut counts = [0; BANDS];
        (counts[3], counts[9]) = (2 * u64::from(u32::MAX) + 7, 1);
        let entries = vec![(3, u32::MAX), (3, u32::MAX), (3, 7), (9, 1)];
        assert_eq!(BandCounts::of(&counts), BandCounts { entries });
        let mut sum = most.clone();
        sum.merge(&most);
        sum.merge(&most);
        assert_eq!(sum.count(), 3 * (u64::from(u32::MAX) + 1));
        let (from, width) = edges(3);
        let middle = (from as f64 + width as f64 / 2.0) / PS_PER_SEC as f64;
        let median = sum.quantile_secs(0.5).expect("there are some");
        assert!((median - middle).abs() < 1e-9 * middle, "{median} instead of {middle}");
    }
}
