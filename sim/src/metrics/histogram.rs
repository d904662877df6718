//! A histogram of durations in integer counts: mergeable in any order, exact to 0.1 %.
//!
//! Buckets split every octave of picoseconds into 1024 equal parts, so a bucket is at most
//! 1/1024 = 0.098 % of its value wide. Counts are integers: merging is associative and
//! commutative, so no result depends on the number of threads.
//!
//! Quantile definition: Hyndman–Fan type 7. With `n` values the quantile `p` sits at rank
//! `h = (n − 1)·p` counted from 0; the `i`-th of the `c` values of a bucket is taken to lie at
//! the fraction `(i + ½)/c` of the bucket's width, and ranks between two values are interpolated
//! linearly. The smallest and largest value are kept exactly and bound every answer.

use super::BucketCounts;
use crate::units::Span;

const PARTS_LOG2: u32 = 10;
const PARTS: usize = 1 << PARTS_LOG2;

/// Counts of durations in logarithmic buckets.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Histogram {
    /// One page of counts per octave, made when first needed. Page 0 holds values below 2^10 ps
    /// exactly; page `k` holds `[2^(9+k), 2^(10+k))`.
    pages: Vec<Option<Box<[u64; PARTS]>>>,
    count: u64,
    /// Sum of the values in picoseconds.
    sum: u128,
    least: Option<Span>,
    largest: Span,
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, value: Span) {
        let (page, part) = bucket(value.0);
        *self.slot(page * PARTS + part) += 1;
        self.count += 1;
        self.sum += u128::from(value.0);
        self.least = Some(self.least.map_or(value, |least| least.min(value)));
        self.largest = self.largest.max(value);
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Histogram) {
        if self.pages.len() < other.pages.len() {
            self.pages.resize_with(other.pages.len(), || None);
        }
        for (mine, theirs) in self.pages.iter_mut().zip(&other.pages) {
            if let Some(theirs) = theirs {
                let mine = mine.get_or_insert_with(|| Box::new([0; PARTS]));
                mine.iter_mut().zip(theirs.iter()).for_each(|(a, b)| *a += b);
            }
        }
        self.count += other.count;
        self.sum += other.sum;
        self.least = match (self.least, other.least) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.largest = self.largest.max(other.largest);
    }

    /// The filled buckets as a list, for keeping many histograms.
    #[must_use]
    pub fn to_counts(&self) -> BucketCounts {
        let mut counts = BucketCounts {
            entries: Vec::new(),
            count: self.count,
            sum: self.sum,
            least: self.least,
            largest: self.largest,
        };
        for (page, parts) in self.filled_pages() {
            for (part, &count) in parts.iter().enumerate() {
                counts.push((page * PARTS + part) as u32, count);
            }
        }
        counts
    }

    /// Adds all values of a list: the same as merging the histogram it came from.
    pub fn add(&mut self, part: &BucketCounts) {
        for &(bucket, count) in &part.entries {
            *self.slot(bucket as usize) += u64::from(count);
        }
        self.count += part.count;
        self.sum += part.sum;
        self.least = match (self.least, part.least) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.largest = self.largest.max(part.largest);
    }

    /// Takes out the values of a list that was added before. Counts and sum are then those of
    /// the rest, exactly; where the smallest or largest value went out with the list, the edge of
    /// the outermost bucket left stands in for it (within 0.1 %).
    ///
    /// Returns whether the list was part of this histogram; if not, nothing is changed.
    pub fn subtract(&mut self, part: &BucketCounts) -> bool {
        let mut rest = self.clone();
        for &(bucket, count) in &part.entries {
            let slot = rest.slot(bucket as usize);
            let Some(left) = slot.checked_sub(u64::from(count)) else { return false };
            *slot = left;
        }
        let (Some(count), Some(sum)) =
            (rest.count.checked_sub(part.count), rest.sum.checked_sub(part.sum))
        else {
            return false;
        };
        (rest.count, rest.sum) = (count, sum);
        let edges = rest.buckets().fold(None, |edges: Option<(u64, u64)>, (from, width, _)| {
            Some((edges.map_or(from, |e| e.0), from.saturating_add(width - 1)))
        });
        if part.least == self.least || edges.is_none() {
            rest.least = edges.map(|e| Span(e.0));
        }
        if part.largest == self.largest || edges.is_none() {
            rest.largest = edges.map_or(Span::ZERO, |e| Span(e.1.min(self.largest.0)));
        }
        *self = rest;
        true
    }

    /// Values counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sum of all values in picoseconds, exact.
    #[must_use]
    pub fn sum_picoseconds(&self) -> u128 {
        self.sum
    }

    /// Mean in seconds, exact up to the division; `None` without values.
    #[must_use]
    pub fn mean_secs(&self) -> Option<f64> {
        (self.count > 0)
            .then(|| self.sum as f64 / self.count as f64 / crate::units::PS_PER_SEC as f64)
    }

    /// Smallest value; `None` without values.
    #[must_use]
    pub fn min(&self) -> Option<Span> {
        self.least
    }

    /// Largest value; `None` without values.
    #[must_use]
    pub fn max(&self) -> Option<Span> {
        self.least.map(|_| self.largest)
    }

    /// The `p`-quantile in seconds (`0 ≤ p ≤ 1`, see the module text for the definition);
    /// `None` without values.
    #[must_use]
    pub fn quantile_secs(&self, p: f64) -> Option<f64> {
        let (least, largest) = (self.min()?.0 as f64, self.largest.0 as f64);
        let rank = (self.count - 1) as f64 * p.clamp(0.0, 1.0);
        let whole = rank as u64;
        let lower = self.value_at(whole);
        let upper = self.value_at((whole + 1).min(self.count - 1));
        let value = lower + (upper - lower) * (rank - whole as f64);
        Some(value.clamp(least, largest) / crate::units::PS_PER_SEC as f64)
    }

    /// Values at most `limit`, counting whole buckets that end at or below it and the
    /// proportional part of the one that straddles it.
    #[must_use]
    pub fn count_at_most(&self, limit: Span) -> f64 {
        let (page, part) = bucket(limit.0);
        let mut below = 0.0;
        for (at, counts) in self.filled_pages() {
            for (index, &count) in counts.iter().enumerate().filter(|c| *c.1 > 0) {
                if (at, index) < (page, part) {
                    below += count as f64;
                } else if (at, index) == (page, part) {
                    let (from, width) = bounds(at, index);
                    below += count as f64 * ((limit.0 - from + 1) as f64 / width as f64).min(1.0);
                }
            }
        }
        below
    }

    /// All non-empty buckets as `(from, width, count)` in picoseconds, rising.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.filled_pages().flat_map(|(page, counts)| {
            counts.iter().enumerate().filter(|c| *c.1 > 0).map(move |(part, &count)| {
                let (from, width) = bounds(page, part);
                (from, width, count)
            })
        })
    }

    /// The count of a bucket, its page made when first needed.
    fn slot(&mut self, bucket: usize) -> &mut u64 {
        let (page, part) = (bucket / PARTS, bucket % PARTS);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        &mut self.pages[page].get_or_insert_with(|| Box::new([0; PARTS]))[part]
    }

    fn filled_pages(&self) -> impl Iterator<Item = (usize, &[u64; PARTS])> {
        self.pages.iter().enumerate().filter_map(|(at, page)| page.as_deref().map(|p| (at, p)))
    }

    /// Estimated value (picoseconds) of the given rank, counted from 0.
    fn value_at(&self, rank: u64) -> f64 {
        let mut before = 0;
        for (from, width, count) in self.buckets() {
            if rank < before + count {
                let fraction = ((rank - before) as f64 + 0.5) / count as f64;
                // A bucket one picosecond wide holds exactly that value.
                return if width == 1 {
                    from as f64
                } else {
                    from as f64 + width as f64 * fraction
                };
            }
            before += count;
        }
        self.largest.0 as f64
    }
}

/// Page and part of a value.
fn bucket(value: u64) -> (usize, usize) {
    if value < PARTS as u64 {
        return (0, value as usize);
    }
    let shift = 63 - value.leading_zeros() - PARTS_LOG2;
    (shift as usize + 1, (value >> shift) as usize - PARTS)
}

/// First value and width of a bucket.
fn bounds(page: usize, part: usize) -> (u64, u64) {
    if page == 0 {
        return (part as u64, 1);
    }
    let shift = page as u32 - 1;
    (((part + PARTS) as u64) << shift, 1 << shift)
}
