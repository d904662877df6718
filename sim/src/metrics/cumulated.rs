//! A histogram with running sums: quantiles of what is left without a part of it, quickly.
//!
//! A jackknife asks for the quantiles of a pooled histogram without each replication in turn. Here
//! an answer takes a search by halves instead of a pass over all buckets, so the work grows with
//! the filled buckets of the replications, not with their number times those of the sum.
//!
//! Invariants: `through` rises from bucket to bucket; a quantile has every bit of the one that
//! [`super::Histogram`] gives for the same counts.

use super::BucketCounts;
use super::histogram::{edges, quantile_secs, within};
use crate::units::{PS_PER_SEC, Span};

/// The filled buckets of a histogram, each with the number of values up to its end.
#[derive(Clone, Debug)]
pub struct Cumulated {
    /// `(bucket, values in it and below)`, rising.
    filled: Vec<(u32, u64)>,
    count: u64,
    sum: u128,
    least: Option<Span>,
    largest: Span,
}

/// What is left of a [`Cumulated`] histogram without a part.
#[derive(Clone, Debug)]
pub struct Rest<'a> {
    whole: &'a Cumulated,
    /// `(place in the whole, values of the part there and below)`, rising.
    part: Vec<(usize, u64)>,
    count: u64,
    sum: u128,
    least: Option<Span>,
    largest: Span,
}

impl Cumulated {
    /// Sums up the counts of a histogram.
    #[must_use]
    pub fn of(counts: &BucketCounts) -> Cumulated {
        let mut filled: Vec<(u32, u64)> = Vec::with_capacity(counts.entries.len());
        let mut through = 0;
        for &(bucket, count) in &counts.entries {
            through += u64::from(count);
            match filled.last_mut() {
                Some(last) if last.0 == bucket => last.1 = through,
                _ => filled.push((bucket, through)),
            }
        }
        let BucketCounts { count, sum, least, largest, .. } = *counts;
        Cumulated { filled, count, sum, least, largest }
    }

    /// The rest without the values of a part; `None` when it is no part. Counts and sum are those
    /// of the rest, exactly; where the smallest or largest value went out with the part, the edge
    /// of the outermost bucket left stands in for it (within 0.1 %).
    #[must_use]
    pub fn without(&self, part: &BucketCounts) -> Option<Rest<'_>> {
        let mut rest = Rest {
            whole: self,
            part: Vec::with_capacity(part.entries.len()),
            count: self.count.checked_sub(part.count)?,
            sum: self.sum.checked_sub(part.sum)?,
            least: self.least,
            largest: self.largest,
        };
        let mut through = 0;
        for &(bucket, count) in &part.entries {
            let at = self.filled.binary_search_by_key(&bucket, |filled| filled.0).ok()?;
            through += u64::from(count);
            match rest.part.last_mut() {
                Some(last) if last.0 == at => last.1 = through,
                _ => rest.part.push((at, through)),
            }
            // More than there are in this bucket: values would be missing below it.
            let below = at.checked_sub(1).map_or(0, |below| rest.through(below));
            if rest.whole.filled[at].1.checked_sub(through)? < below {
                return None;
            }
        }
        if part.least == self.least {
            rest.least = rest.bucket_of(0).map(|at| Span(edges(self.filled[at].0).0));
        }
        if part.largest == self.largest {
            let last = rest.count.checked_sub(1).and_then(|rank| rest.bucket_of(rank));
            let end = last.map_or(0, |at| {
                let (from, width) = edges(self.filled[at].0);
                from + (width - 1)
            });
            rest.largest = Span(end.min(self.largest.0));
        }
        Some(rest)
    }

    /// The `p`-quantile in seconds, as [`super::Histogram::quantile_secs`].
    #[must_use]
    pub fn quantile_secs(&self, p: f64) -> Option<f64> {
        self.without(&BucketCounts::default())?.quantile_secs(p)
    }
}

impl Rest<'_> {
    /// Values that are left.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean in seconds, exact up to the division; `None` without values.
    #[must_use]
    pub fn mean_secs(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64 / PS_PER_SEC as f64)
    }

    /// The `p`-quantile in seconds, as [`super::Histogram::quantile_secs`].
    #[must_use]
    pub fn quantile_secs(&self, p: f64) -> Option<f64> {
        quantile_secs(p, self.count, (self.least?, self.largest), |rank| self.value_at(rank))
    }

    /// Values left in a bucket and below.
    fn through(&self, at: usize) -> u64 {
        let taken = self.part.partition_point(|part| part.0 <= at);
        self.whole.filled[at].1 - taken.checked_sub(1).map_or(0, |last| self.part[last].1)
    }

    /// The bucket of the value of a rank, counted from 0.
    fn bucket_of(&self, rank: u64) -> Option<usize> {
        let (mut from, mut to) = (0, self.whole.filled.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            if self.through(middle) > rank {
                to = middle;
            } else {
                from = middle + 1;
            }
        }
        (from < self.whole.filled.len()).then_some(from)
    }

    /// Estimated value (picoseconds) of the given rank, counted from 0.
    fn value_at(&self, rank: u64) -> f64 {
        let Some(at) = self.bucket_of(rank) else { return self.largest.0 as f64 };
        let before = at.checked_sub(1).map_or(0, |below| self.through(below));
        within(edges(self.whole.filled[at].0), self.through(at) - before, rank - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;

    fn histogram(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&v| histogram.record(Span(v)));
        histogram
    }

    /// Parts with few distinct values, so that buckets empty and extremes go out with a part.
    fn parts(case: u64) -> Vec<Vec<u64>> {
        let mut state = case;
        let mut draw = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            state ^ (state >> 29)
        };
        let spread = |x: u64| match x % 4 {
            0 => x / 4 % 40,
            1 | 2 => 1_000_000 + x / 4 % 20_000,
            _ => x,
        };
        let sizes: Vec<u64> = (0..1 + draw() % 5).map(|_| draw() % 60).collect();
        sizes.iter().map(|&size| (0..size).map(|_| spread(draw())).collect()).collect()
    }

    /// The slow twin copies the histogram and takes the part out bucket by bucket.
    #[test]
    fn what_is_left_has_every_bit_of_the_slow_way() {
        let bits = |x: Option<f64>| x.map(f64::to_bits);
        for case in 0..500 {
            let parts = parts(case);
            let pooled = histogram(&parts.concat());
            let cumulated = Cumulated::of(&pooled.to_counts());
            // The last one is most often no part at all.
            let lists = parts.iter().map(|part| histogram(part).to_counts());
            for list in lists.chain([histogram(&[case, 1_000_000]).to_counts()]) {
                let (fast, slow) = (cumulated.without(&list), pooled.without(&list));
                assert_eq!(fast.is_some(), slow.is_some(), "case {case}");
                let Some((fast, slow)) = fast.zip(slow) else { continue };
                assert_eq!(bits(fast.mean_secs()), bits(slow.mean_secs()));
                for p in [0.0, 0.3, 0.5, 0.9, 0.95, 0.99, 1.0] {
                    assert_eq!(bits(fast.quantile_secs(p)), bits(slow.quantile_secs(p)));
                    assert_eq!(bits(cumulated.quantile_secs(p)), bits(pooled.quantile_secs(p)));
                }
            }
        }
    }

    #[test]
    fn a_count_spread_over_entries_is_one() {
        let mut counts = histogram(&[7, 9]).to_counts();
        counts.entries = vec![(7, u32::MAX), (7, 2), (9, 1)];
        counts.count = u64::from(u32::MAX) + 3;
        let cumulated = Cumulated::of(&counts);
        assert_eq!(cumulated.quantile_secs(0.5), Some(7e-12));
        let rest = cumulated.without(&counts).expect("it is all of it");
        assert_eq!((rest.count, rest.quantile_secs(0.5)), (0, None));
    }
}
