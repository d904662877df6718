//! What was found in a trace, for people to judge it before they rely on it.
//!
//! Invariants: quantiles are observed values (nearest rank), not interpolated; nothing here changes
//! the trace.
//!
//! Deliberately absent: statistics of the arrivals over windows; they are an analysis, not a
//! reading.

use super::TraceFormat;
use sim::units::Span;

/// What was read, left out and noticed.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceReport {
    /// The layout it was read as.
    pub format: TraceFormat,
    /// Rows of the file, header and blank lines not counted.
    pub rows_read: u64,
    /// Rows of the trace.
    pub rows: u64,
    /// Rows left out, by reason.
    pub skipped: Vec<Skipped>,
    /// Rows earlier than the row before them; they were sorted in.
    pub out_of_order: u64,
    /// From the first row to the last; the trace's own span is one `tick` longer.
    pub first_to_last: Span,
    /// Step of the recording clock: the spacing that the instants keep (within 1 %, so that a clock
    /// of 3,000 ± 3 ms is recognised), else the largest step that divides every gap.
    pub tick: Span,
    /// Width over which to spread the timestamps on replay: `tick`, if it is a tenth of the mean
    /// gap or more and so makes bursts that were not there; else zero.
    pub suggested_jitter: Span,
    /// Prompt tokens.
    pub input: LengthSummary,
    /// Output tokens.
    pub output: LengthSummary,
    /// Different sessions.
    pub sessions: u64,
    /// Rows that belong to one.
    pub rows_in_sessions: u64,
    /// Prompt segments of all rows.
    pub segments: u64,
    /// Those whose id is used by another session too.
    pub shared_segments: u64,
    /// Tokens in shared segments over all prompt tokens. An upper bound of prefix hits, not a
    /// prediction of them: only a shared beginning can hit, and only while it is cached.
    pub shared_token_share: f64,
}

/// Rows left out for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The reason.
    pub why: &'static str,
    /// How many.
    pub rows: u64,
}

/// Lengths in tokens; all zero if there are none.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct LengthSummary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Smallest.
    pub min: u32,
    /// Median.
    pub p50: u32,
    /// 90 % quantile.
    pub p90: u32,
    /// 95 % quantile.
    pub p95: u32,
    /// 99 % quantile.
    pub p99: u32,
    /// Largest.
    pub max: u32,
}

impl LengthSummary {
    pub(super) fn of(mut lengths: Vec<u32>) -> LengthSummary {
        lengths.sort_unstable();
        let sum: u64 = lengths.iter().map(|n| u64::from(*n)).sum();
        let count = lengths.len();
        // Nearest rank: the smallest value with at least that share at or below it.
        let at = |percent: usize| {
            let rank = (count * percent).div_ceil(100).max(1);
            lengths.get(rank - 1).copied().unwrap_or(0)
        };
        LengthSummary {
            mean: sum as f64 / count.max(1) as f64,
            min: lengths.first().copied().unwrap_or(0),
            p50: at(50),
            p90: at(90),
            p95: at(95),
            p99: at(99),
            max: at(100),
        }
    }
}

/// The step of the clock that made these instants, which come in order; 1 if there are fewer than
/// two different ones.
pub(super) fn tick_of(instants: impl Iterator<Item = u64>) -> u64 {
    let mut gaps = Vec::new();
    let mut before = None;
    for instant in instants {
        if let Some(before) = before.filter(|b| *b != instant) {
            gaps.push(instant.saturating_sub(before));
        }
        before = Some(instant);
    }
    let exact = gaps.iter().fold(0, |step, gap| greatest_common_divisor(*gap, step));
    // A clock that ticks unevenly has no common divisor worth the name, but its smallest gaps are
    // all alike and the others are multiples. Of gaps at random, 2 % would pass this test.
    gaps.sort_unstable();
    let uneven = gaps.get(gaps.len() / 10).copied().unwrap_or(0);
    let slack = uneven / 100;
    let near = |gap: &&u64| {
        let rest = **gap % uneven;
        **gap + slack >= uneven && rest.min(uneven - rest) <= slack
    };
    let keeps = uneven > 0 && gaps.len() >= 20 && {
        let kept = gaps.iter().filter(near).count();
        kept * 100 >= gaps.len() * 95
    };
    if keeps { typical(&gaps, uneven, slack).max(exact) } else { exact.max(1) }
}

/// The middle one of the gaps of about one tick.
fn typical(sorted: &[u64], tick: u64, slack: u64) -> u64 {
    let single: Vec<u64> = sorted.iter().copied().filter(|g| g.abs_diff(tick) <= slack).collect();
    single.get(single.len() / 2).copied().unwrap_or(tick)
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank_quantiles_are_observed_values() {
        let summary = LengthSummary::of((1..=100).rev().collect());
        assert_eq!((summary.min, summary.p50, summary.p90, summary.max), (1, 50, 90, 100));
        assert_eq!(summary.mean, 50.5);
        assert_eq!(LengthSummary::of(vec![]), LengthSummary::default());
    }

    #[test]
    fn clocks_are_recognised() {
        let uneven = (0..100_u64).map(|i| i * 3_000 + i * i % 3);
        assert!((2_999..=3_001).contains(&tick_of(uneven)));
        let holes = (0..100_u64).filter(|i| i % 7 != 3).map(|i| i * 3_000 + i % 2);
        assert!((2_999..=3_001).contains(&tick_of(holes)));
        assert_eq!(tick_of([5, 45, 118, 185].into_iter()), 1);
        assert_eq!(tick_of([0, 60, 60, 150].into_iter()), 30);
        assert_eq!(tick_of([7].into_iter()), 1);
    }
}
