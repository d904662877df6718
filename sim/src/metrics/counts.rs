//! The filled buckets of a histogram as a list: an eighth of the memory or less for a short run,
//! and what is needed to take it out of a sum again.
//!
//! Invariant: `bucket` numbers rise (a count beyond `u32` is spread over several entries of the
//! same bucket), and their counts sum to `count`.

use crate::units::Span;

/// The filled buckets of one [`super::Histogram`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BucketCounts {
    /// `(page · parts + part, values in it)`.
    pub(super) entries: Vec<(u32, u32)>,
    pub(super) count: u64,
    pub(super) sum: u128,
    pub(super) least: Option<Span>,
    pub(super) largest: Span,
}

impl BucketCounts {
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

    pub(super) fn push(&mut self, bucket: u32, mut count: u64) {
        while count > 0 {
            let part = count.min(u64::from(u32::MAX));
            self.entries.push((bucket, part as u32));
            count -= part;
        }
    }
}
