//! The time of one engine iteration, and of `n` decode iterations in closed form.
//!
//! One iteration processes `T` tokens (decode tokens and prefill chunks together):
//!
//! ```text
//! t = fixed + linear(T) + kv_read · S + attention · A / 1024
//! ```
//!
//! * `linear(T)`: everything that depends on the number of tokens only (weights read or
//!   multiplied, sampling, tensor-parallel communication), piecewise linear between knots, which
//!   is how a roofline's `max` and a measured table both enter.
//! * `S`: KV tokens read by the decoding sequences, the token being written included.
//! * `A`: (token, context) pairs of the prefill chunks, `Σ n·s + n(n+1)/2` for a chunk of `n`
//!   tokens on top of `s` computed ones.
//!
//! Invariants: every coefficient is an integer number of picoseconds, so that `n` iterations in
//! closed form equal the sum of `n` single iterations to the picosecond; time never falls as work
//! grows (checked by the constructor).
//!
//! Deliberately absent: names of GPUs and models; `calibrate` turns those into coefficients.

use crate::units::Span;
use std::sync::Arc;

/// Cost of an iteration in integer picoseconds; see the module text for the formula.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// Paid by every iteration: scheduling, launches, sampling.
    fixed: u64,
    /// Paid besides by an iteration that cannot run as one captured graph: one with a prefill
    /// chunk, or with more sequences than the largest captured size.
    ungraphed: u64,
    /// Knots `(tokens, picoseconds)`, strictly rising in tokens, never falling in time.
    linear: Vec<(u32, u64)>,
    /// `linear(T)` for the `T` of decode batches, looked up once per iteration.
    table: Arc<[u64]>,
    /// Picoseconds per KV token read by a decoding sequence.
    kv_read: u64,
    /// Picoseconds per 1024 (token, context) pairs of prefill attention.
    attention: u64,
    /// Captured graph sizes, rising: a decode batch is padded up to the next one. Empty: no
    /// graphs, no padding.
    graph_sizes: Vec<u32>,
}

/// What is wrong with the coefficients of a [`StepTime`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepTimeError {
    /// No knot at all, or the knots do not rise.
    Knots,
    /// The graph sizes do not rise.
    GraphSizes,
    /// An iteration would take no time, so a run would never end.
    Instant,
    /// An iteration's own time is beyond an hour, or the time per token, KV token or 1024 pairs
    /// beyond a second: no hardware is that slow, and sums could overflow.
    TooLarge,
}

/// One hour: no iteration costs more before it does any work.
const LONGEST: u64 = 3_600 * crate::units::PS_PER_SEC;
/// One second: no token, KV token or 1024 pairs cost more.
const STEEPEST: u64 = crate::units::PS_PER_SEC;
/// Tokens up to which `linear` is tabulated.
const TABULATED: u32 = 512;

/// The work of one iteration, as the scheduler decided it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Decoding sequences, one token each.
    pub decodes: u32,
    /// KV tokens those read.
    pub kv_tokens: u64,
    /// Tokens of all prefill chunks.
    pub prefill_tokens: u32,
    /// (token, context) pairs of all prefill chunks.
    pub prefill_pairs: u64,
}

/// Decode iterations of an unchanging batch: iteration `j` takes `first + j · slope`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodePace {
    /// Picoseconds of the first iteration.
    pub first: u64,
    /// Picoseconds by which each iteration is longer than the one before.
    pub slope: u64,
}

impl StepTime {
    /// Checks the coefficients (all in picoseconds, see the fields) and keeps them.
    ///
    /// # Errors
    /// [`StepTimeError`] when knots or graph sizes do not rise, an iteration could take no time,
    /// or a coefficient exceeds what [`StepTimeError::TooLarge`] says.
    pub fn new(
        fixed: u64,
        ungraphed: u64,
        linear: Vec<(u32, u64)>,
        kv_read: u64,
        attention: u64,
        graph_sizes: Vec<u32>,
    ) -> Result<StepTime, StepTimeError> {
        let rising = linear.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1);
        if linear.is_empty() || !rising {
            return Err(StepTimeError::Knots);
        }
        if !graph_sizes.windows(2).all(|w| w[0] < w[1]) {
            return Err(StepTimeError::GraphSizes);
        }
        if fixed == 0 && linear[0].1 == 0 {
            return Err(StepTimeError::Instant);
        }
        let slope = |w: &[(u32, u64)]| (w[1].1 - w[0].1) / u64::from(w[1].0 - w[0].0);
        let too_long = [fixed, ungraphed, linear[0].1].into_iter().any(|span| span > LONGEST);
        let too_steep = kv_read.max(attention) > STEEPEST
            || linear.windows(2).any(|knots| slope(knots) > STEEPEST);
        if too_long || too_steep {
            return Err(StepTimeError::TooLarge);
        }
        let table = (0..TABULATED).map(|tokens| interpolate(&linear, tokens)).collect();
        Ok(StepTime { fixed, ungraphed, linear, table, kv_read, attention, graph_sizes })
    }

    /// Every iteration takes `span`, whatever it holds: for theory tests and golden cases.
    ///
    /// # Errors
    /// [`StepTimeError`] when `span` is zero or beyond an hour.
    pub fn constant(span: Span) -> Result<StepTime, StepTimeError> {
        StepTime::new(span.0, 0, vec![(0, 0)], 0, 0, Vec::new())
    }

    /// Time of one iteration doing `work`, exact.
    #[must_use]
    pub fn iteration(&self, work: Work) -> Span {
        if work.prefill_tokens == 0 {
            return Span(self.decode_pace(work.decodes, work.kv_tokens).first);
        }
        let tokens = work.decodes + work.prefill_tokens;
        let attention = (u128::from(work.prefill_pairs) * u128::from(self.attention)) >> 10;
        let fixed = self.fixed + self.ungraphed + self.linear(tokens);
        let reading = self.kv_read.saturating_mul(work.kv_tokens);
        let attention = u64::try_from(attention).unwrap_or(u64::MAX);
        Span(fixed.saturating_add(reading).saturating_add(attention))
    }

    /// Pace of decode-only iterations of `batch` sequences that read `kv_tokens` at the first.
    #[must_use]
    pub fn decode_pace(&self, batch: u32, kv_tokens: u64) -> DecodePace {
        let (padded, extra) = self.padded(batch);
        let reading = self.kv_read.saturating_mul(kv_tokens);
        DecodePace {
            first: (self.fixed + extra + self.linear(padded)).saturating_add(reading),
            slope: self.kv_read * u64::from(batch),
        }
    }

    /// The batch padded to the next captured graph, and the surcharge when none is large enough.
    fn padded(&self, batch: u32) -> (u32, u64) {
        if self.graph_sizes.is_empty() {
            return (batch, 0);
        }
        match self.graph_sizes.get(self.graph_sizes.partition_point(|&size| size < batch)) {
            Some(&size) => (size, 0),
            None => (batch, self.ungraphed),
        }
    }

    fn linear(&self, tokens: u32) -> u64 {
        match self.table.get(tokens as usize) {
            Some(&span) => span,
            None => interpolate(&self.linear, tokens),
        }
    }
}

/// `linear(T)`: interpolated between knots, extended with the last slope beyond them.
fn interpolate(knots: &[(u32, u64)], tokens: u32) -> u64 {
    if knots.len() == 1 {
        return knots[0].1;
    }
    let upper = knots.partition_point(|knot| knot.0 < tokens).clamp(1, knots.len() - 1);
    let (from, to) = (knots[upper - 1], knots[upper]);
    if tokens <= from.0 {
        return from.1;
    }
    let (rise, run) = (to.1 - from.1, u64::from(to.0 - from.0));
    let ahead = u64::from(tokens - from.0);
    // The product fits 64 bits except for the slowest of devices.
    let part = match rise.checked_mul(ahead) {
        Some(product) => product / run,
        None => (u128::from(rise) * u128::from(ahead) / u128::from(run)) as u64,
    };
    from.1 + part
}

impl DecodePace {
    /// Time of the first `n` iterations: `n·first + slope·n(n−1)/2`, held at [`Span::MAX`].
    #[must_use]
    pub fn span(self, n: u64) -> Span {
        if n == 1 {
            return Span(self.first);
        }
        let pairs = u128::from(n) * u128::from(n.saturating_sub(1)) / 2;
        let total = u128::from(n) * u128::from(self.first) + pairs * u128::from(self.slope);
        Span(u64::try_from(total).unwrap_or(u64::MAX))
    }

    /// The least `m` in `1..=most` with `span(m) ≥ wanted`; `most` when none reaches it.
    #[must_use]
    pub fn iterations_to_reach(self, wanted: Span, most: u64) -> u64 {
        let (mut low, mut high) = (1, most);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.span(middle) >= wanted {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> StepTime {
        StepTime::new(
            700,
            50,
            vec![(0, 1_000), (64, 1_500), (8_192, 90_000)],
            3,
            11,
            vec![1, 2, 4, 8],
        )
        .expect("the sample is valid")
    }

    #[test]
    fn closed_form_equals_the_sum_of_iterations() {
        let model = sample();
        for (batch, kv) in [(1, 1), (3, 500), (8, 12_345), (9, 77_777)] {
            let pace = model.decode_pace(batch, kv);
            let mut sum = Span::ZERO;
            for j in 0..200u64 {
                assert_eq!(pace.span(j), sum);
                let kv_tokens = kv + j * u64::from(batch);
                sum += model.iteration(Work { decodes: batch, kv_tokens, ..Work::default() });
            }
        }
    }

    #[test]
    fn the_boundary_search_finds_the_first_iteration_that_reaches() {
        let pace = DecodePace { first: 100, slope: 7 };
        for wanted in 0..5_000u64 {
            let m = pace.iterations_to_reach(Span(wanted), 50);
            assert!(m == 50 || pace.span(m) >= Span(wanted));
            assert!(m == 1 || pace.span(m - 1) < Span(wanted));
        }
    }

    #[test]
    fn time_never_falls_as_tokens_grow() {
        let model = sample();
        let times: Vec<_> = (0..9_000)
            .map(|n| model.iteration(Work { prefill_tokens: n.max(1), ..Work::default() }))
            .collect();
        assert!(times.windows(2).all(|w| w[0] <= w[1]));
    }

    #[test]
    fn impossible_coefficients_are_refused() {
        assert_eq!(StepTime::constant(Span::ZERO), Err(StepTimeError::Instant));
        assert_eq!(StepTime::new(1, 0, vec![], 0, 0, vec![]), Err(StepTimeError::Knots));
        assert_eq!(
            StepTime::new(1, 0, vec![(5, 9), (5, 9)], 0, 0, vec![]),
            Err(StepTimeError::Knots)
        );
        assert_eq!(
            StepTime::new(u64::MAX, 0, vec![(0, 1)], 0, 0, vec![]),
            Err(StepTimeError::TooLarge)
        );
    }
}
