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
    pages: Vec<Option<Page>>,
    count: u64,
    /// Sum of the values in picoseconds.
    sum: u128,
    least: Option<Span>,
    largest: Span,
}

/// The counts of one octave. Four bytes a counter while they suffice, because a counter is usually
/// far away when it is needed, and half the memory is nearer.
///
/// Invariant: wide only once some count did not fit, so pages to which the same was added are
/// equal, in whatever order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Page {
    Narrow(Box<[u32; PARTS]>),
    Wide(Box<[u64; PARTS]>),
}

impl Page {
    fn new() -> Page {
        Page::Narrow(Box::new([0; PARTS]))
    }

    fn add(&mut self, part: usize, count: u64) {
        if let Page::Narrow(counts) = self
            && let Ok(sum) = u32::try_from(u64::from(counts[part]) + count)
        {
            counts[part] = sum;
        } else {
            self.add_widely(part, count);
        }
    }

    #[cold]
    fn add_widely(&mut self, part: usize, count: u64) {
        if let Page::Narrow(counts) = self {
            let mut wide = Box::new([0; PARTS]);
            wide.iter_mut().zip(counts.iter()).for_each(|(to, &from)| *to = u64::from(from));
            *self = Page::Wide(wide);
        }
        if let Page::Wide(counts) = self {
            counts[part] += count;
        }
    }

    /// Takes out what was added before; `None` when it was not.
    fn take(&mut self, part: usize, count: u32) -> Option<()> {
        match self {
            Page::Narrow(counts) => counts[part] = counts[part].checked_sub(count)?,
            Page::Wide(counts) => counts[part] = counts[part].checked_sub(u64::from(count))?,
        }
        Some(())
    }

    fn get(&self, part: usize) -> u64 {
        match self {
            Page::Narrow(counts) => u64::from(counts[part]),
            Page::Wide(counts) => counts[part],
        }
    }

    /// The parts that hold something, rising, with their counts.
    fn filled(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        (0..PARTS).map(|part| (part, self.get(part))).filter(|&(_, count)| count > 0)
    }
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, value: Span) {
        let (page, part) = bucket(value.0);
        match self.pages.get_mut(page) {
            Some(Some(page)) => page.add(part, 1),
            _ => self.page(page).add(part, 1),
        }
        self.count += 1;
        self.sum += u128::from(value.0);
        self.least = Some(self.least.map_or(value, |least| least.min(value)));
        self.largest = self.largest.max(value);
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Histogram) {
        for (at, theirs) in other.filled_pages() {
            let mine = self.page(at);
            theirs.filled().for_each(|(part, count)| mine.add(part, count));
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
            for (part, count) in parts.filled() {
                counts.push((page * PARTS + part) as u32, count);
            }
        }
        counts
    }

    /// Adds all values of a list: the same as merging the histogram it came from.
    pub fn add(&mut self, part: &BucketCounts) {
        for &(bucket, count) in &part.entries {
            self.page(bucket as usize / PARTS).add(bucket as usize % PARTS, u64::from(count));
        }
        self.count += part.count;
        self.sum += part.sum;
        self.least = match (self.least, part.least) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.largest = self.largest.max(part.largest);
    }

    /// The rest without the values of a list that was added before; `None` when it was not. Counts
    /// and sum are those of the rest, exactly; where the smallest or largest value went out with
    /// the list, the edge of the outermost bucket left stands in for it (within 0.1 %). For quantiles without many parts
    /// in turn there is [`super::Cumulated`].
    #[must_use]
    pub fn without(&self, part: &BucketCounts) -> Option<Histogram> {
        let mut rest = self.clone();
        rest.count = self.count.checked_sub(part.count)?;
        rest.sum = self.sum.checked_sub(part.sum)?;
        for &(bucket, count) in &part.entries {
            rest.page(bucket as usize / PARTS).take(bucket as usize % PARTS, count)?;
        }
        if part.least == self.least {
            let first = rest.buckets().next().map(|(from, ..)| Span(from));
            rest.least = first;
        }
        if part.largest == self.largest {
            let last = rest.buckets().last().map_or(0, |(from, width, _)| from + (width - 1));
            rest.largest = Span(last.min(self.largest.0));
        }
        Some(rest)
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
        quantile_secs(p, self.count, (self.min()?, self.largest), |rank| self.value_at(rank))
    }

    /// Values at most `limit`, counting whole buckets that end at or below it and the
    /// proportional part of the one that straddles it.
    #[must_use]
    pub fn count_at_most(&self, limit: Span) -> f64 {
        let (page, part) = bucket(limit.0);
        let mut below = 0.0;
        for (at, counts) in self.filled_pages() {
            for (index, count) in counts.filled() {
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
            counts.filled().map(move |(part, count)| {
                let (from, width) = bounds(page, part);
                (from, width, count)
            })
        })
    }

    /// A page, made when first needed.
    fn page(&mut self, page: usize) -> &mut Page {
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        self.pages[page].get_or_insert_with(Page::new)
    }

    fn filled_pages(&self) -> impl Iterator<Item = (usize, &Page)> {
        self.pages.iter().enumerate().filter_map(|(at, page)| page.as_ref().map(|p| (at, p)))
    }

    /// Estimated value (picoseconds) of the given rank, counted from 0.
    fn value_at(&self, rank: u64) -> f64 {
        let mut before = 0;
        for (from, width, count) in self.buckets() {
            if rank < before + count {
                return within((from, width), count, rank - before);
            }
            before += count;
        }
        self.largest.0 as f64
    }
}

/// The `p`-quantile in seconds of `count` values within `ends`; `value_at` estimates the value of
/// a rank. `None` without values.
pub(super) fn quantile_secs(
    p: f64,
    count: u64,
    ends: (Span, Span),
    value_at: impl Fn(u64) -> f64,
) -> Option<f64> {
    let last = count.checked_sub(1)?;
    let rank = last as f64 * p.clamp(0.0, 1.0);
    let whole = rank as u64;
    let lower = value_at(whole);
    let upper = value_at((whole + 1).min(last));
    let value = lower + (upper - lower) * (rank - whole as f64);
    Some(value.clamp(ends.0.0 as f64, ends.1.0 as f64) / crate::units::PS_PER_SEC as f64)
}

/// Estimated value (picoseconds) of number `index` of the `count` in a bucket.
pub(super) fn within((from, width): (u64, u64), count: u64, index: u64) -> f64 {
    let fraction = (index as f64 + 0.5) / count as f64;
    // A bucket one picosecond wide holds exactly that value.
    if width == 1 { from as f64 } else { from as f64 + width as f64 * fraction }
}

/// First value and width of a bucket by its number.
pub(super) fn edges(bucket: u32) -> (u64, u64) {
    bounds(bucket as usize / PARTS, bucket as usize % PARTS)
}

/// Page and part of a value.
fn bucket(value: u64) -> (usize, usize) {
    if value < PARTS as u64 {
        return (0, value as usize);
    }
    let shift = 63 - value.leading_zeros() - PARTS_LOG2;
    // The leading one falls away.
    (shift as usize + 1, (value >> shift) as usize % PARTS)
}

/// First value and width of a bucket.
fn bounds(page: usize, part: usize) -> (u64, u64) {
    if page == 0 {
        return (part as u64, 1);
    }
    let shift = page as u32 - 1;
    (((part + PARTS) as u64) << shift, 1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::quantile_sorted;

    /// `n` values spread over six orders of magnitude, in no order, the same each time.
    fn values(n: u64, offset: u64) -> Vec<u64> {
        (0..n)
            .map(|i| {
                let unit = ((i + offset).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64
                    / (1_u64 << 53) as f64;
                (1e6 * libm::exp(unit * 14.0)) as u64
            })
            .collect()
    }

    fn histogram(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&v| histogram.record(Span(v)));
        histogram
    }

    #[test]
    fn quantiles_are_type_7_within_a_bucket() {
        for n in [1, 2, 3, 10, 1_000, 20_000] {
            let x = values(n, 17);
            let histogram = histogram(&x);
            let mut sorted: Vec<f64> = x.iter().map(|&v| v as f64 / 1e12).collect();
            sorted.sort_by(f64::total_cmp);
            for p in [0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 1.0] {
                let exact = quantile_sorted(&sorted, p).expect("values");
                let found = histogram.quantile_secs(p).expect("values");
                assert!((found / exact - 1.0).abs() < 1e-3, "p{p} of {n}: {found}, exact {exact}");
            }
            assert!(histogram.quantile_secs(0.0) >= sorted.first().copied());
            assert!(histogram.quantile_secs(1.0) <= sorted.last().copied());
        }
        assert_eq!(Histogram::default().quantile_secs(0.5), None);
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        let edges = (0..64).flat_map(|shift| [(1_u64 << shift) - 1, 1 << shift, (1 << shift) + 1]);
        for value in edges.chain([u64::MAX]) {
            let (page, part) = bucket(value);
            let (from, width) = bounds(page, part);
            assert!(from <= value && value - from < width, "{value}");
            assert!(width == 1 || (width as f64) <= from as f64 / PARTS as f64, "{value}");
        }
    }

    #[test]
    fn merging_is_associative_and_knows_no_order() {
        let parts = [values(500, 1), values(300, 9_000), Vec::new(), vec![0, 5, u64::MAX]];
        let whole = histogram(&parts.concat());
        let merge = |order: [usize; 4]| {
            order.iter().fold(Histogram::default(), |mut sum, &at| {
                sum.merge(&histogram(&parts[at]));
                sum
            })
        };
        assert_eq!(merge([0, 1, 2, 3]), whole);
        assert_eq!(merge([3, 2, 1, 0]), whole);
        let mut right = histogram(&parts[2]);
        right.merge(&histogram(&parts[3]));
        let mut grouped = histogram(&[parts[0].clone(), parts[1].clone()].concat());
        grouped.merge(&right);
        assert_eq!(grouped, whole);
    }

    #[test]
    fn counts_at_most_a_limit_agree_with_the_sorted_values() {
        let x = values(5_000, 3);
        let histogram = histogram(&x);
        for limit in [0, 1_000_000, 40_000_000, 900_000_000, u64::MAX] {
            let exact = x.iter().filter(|&&v| v <= limit).count() as f64;
            // Only the bucket of the limit is shared out: a few of 5000 values lie in it.
            assert!((histogram.count_at_most(Span(limit)) - exact).abs() <= 5.0, "{limit}");
        }
        let small = super::tests::histogram(&[3, 3, 7]);
        assert_eq!(small.count_at_most(Span(3)), 2.0);
        assert_eq!(small.count_at_most(Span(2)), 0.0);
    }

    #[test]
    fn a_count_beyond_four_bytes_is_kept_exactly_and_in_any_order() {
        let many = {
            let mut counts = BucketCounts { count: u64::from(u32::MAX), ..Default::default() };
            counts.entries = vec![(7, u32::MAX)];
            (counts.least, counts.sum) = (Some(Span(7)), 7 * u128::from(u32::MAX));
            counts
        };
        let few = histogram(&[7, 8, 7]);
        let mut after = Histogram::default();
        after.add(&many);
        after.merge(&few);
        let mut before = few.clone();
        before.add(&many);
        assert_eq!((before.count(), after.count()), (1 << 32 | 2, 1 << 32 | 2));
        let buckets = |of: &Histogram| of.buckets().collect::<Vec<_>>();
        assert_eq!(buckets(&after), [(7, 1, (1 << 32) + 1), (8, 1, 1)]);
        assert_eq!(buckets(&before), buckets(&after));
        assert_eq!(before, after);
        after.record(Span(7));
        after.merge(&before);
        assert_eq!(buckets(&after), [(7, 1, (1 << 33) + 3), (8, 1, 2)]);
        let rest = before.without(&many).expect("it is a part");
        assert_eq!(buckets(&rest), buckets(&few));
    }

    #[test]
    fn what_is_taken_out_leaves_the_rest() {
        let (a, b) = (values(2_000, 5), values(700, 40_000));
        let mut sum = histogram(&a);
        let list = histogram(&b).to_counts();
        assert_eq!(list.count(), 700);
        sum.add(&list);
        assert_eq!(sum, histogram(&[a.clone(), b].concat()), "adding a list is merging");
        let (found, rest) = (sum.without(&list).expect("it is a part"), histogram(&a));
        assert_eq!((found.count(), found.sum_picoseconds()), (2_000, rest.sum_picoseconds()));
        assert!(found.buckets().eq(rest.buckets()));
        for p in [0.0, 0.5, 0.95, 1.0] {
            let values = found.quantile_secs(p).zip(rest.quantile_secs(p));
            assert!(values.is_some_and(|(found, exact)| (found / exact - 1.0).abs() < 1e-3));
        }
    }

    #[test]
    fn what_is_no_part_cannot_be_taken_out() {
        let sum = histogram(&[5, 6, 7, u64::MAX]);
        assert_eq!(sum.without(&histogram(&[8]).to_counts()), None);
        assert_eq!(sum.without(&histogram(&[5, 5]).to_counts()), None);
        let nothing = sum.without(&sum.to_counts()).expect("it is all of it");
        assert_eq!((nothing.count(), nothing.min(), nothing.max()), (0, None, None));
        let some = sum.without(&histogram(&[5, 7]).to_counts()).expect("it is a part");
        assert_eq!((some.min(), some.max()), (Some(Span(6)), Some(Span(u64::MAX))));
    }
}
