//! The time of one engine iteration, and of `n` decode iterations in closed form.
//!
//! An iteration decodes `B` sequences, which read `S` KV tokens, the token being written included,
//! and computes the chunks of prompts: `T` tokens, decodes included, with `A` (token, context)
//! pairs, `Σ n·s + n(n+1)/2` for a chunk of `n` tokens on top of `s` computed ones.
//!
//! ```text
//! decode only   t = fixed + sequence·B + kv_token·S + decode(B, S)
//! with prefill  t = fixed + sequence·B + kv_token·S + ungraphed + prefill(T, A) + reading(B, S)
//! ```
//!
//! Each of the three is a [`Surface`], linear between knots: that is how a measured table, a
//! roofline's `max` and plain coefficients all enter. `reading` is what decodes add beyond their
//! tokens, which they share with the chunks.
//!
//! Invariants: times are whole picoseconds and never fall as work grows. While the same sequences
//! decode and `S` stays between two knots, each iteration takes the same whole number of
//! picoseconds more than the one before, so that `n` iterations in closed form equal the sum of
//! `n` single ones to the picosecond.
//!
//! Deliberately absent: names of GPUs and models; `calibrate` turns those into surfaces.

use super::surface::{LONGEST, Lines, STEEPEST, Surface, TABULATED, scaled};
use crate::units::Span;
use std::sync::Arc;

/// Cost of an iteration in whole picoseconds; see the module text for the formula.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// Paid by every iteration: what the host does to dispatch it. Kernel tables do not hold it.
    fixed: u64,
    /// Paid besides by an iteration that cannot run as one captured graph: one with a prefill
    /// chunk, or with more sequences than the largest captured size.
    ungraphed: u64,
    /// Paid besides for each decoding sequence: what the host does to hand its token out.
    sequence: u64,
    /// Paid besides for each KV token that decodes read.
    kv_token: u64,
    /// An iteration of decodes only, over sequences and the KV tokens they read.
    decode: Lines,
    /// What decodes add to an iteration that carries chunks, over the same.
    reading: Lines,
    /// The rest of an iteration with chunks, over its tokens and the pairs of the chunks.
    prefill: Surface,
    /// Captured graph sizes, rising: a decode batch is padded up to the next one. Empty: no
    /// graphs, no padding.
    graph_sizes: Vec<u32>,
    /// The graph that a batch of each size runs as, as far as the table goes.
    graph_of: Arc<[u32]>,
}

/// What a [`StepTime`] is made of when it is measured: see the module text.
#[derive(Clone, Debug)]
pub struct Surfaces {
    /// Decode iterations, over sequences and KV tokens.
    pub decode: Surface,
    /// What decodes add to an iteration with chunks, over sequences and KV tokens.
    pub reading: Surface,
    /// The rest of an iteration with chunks, over tokens and pairs.
    pub prefill: Surface,
}

/// What an engine adds to the time of its kernels, in picoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overheads {
    /// For every iteration.
    pub iteration: u64,
    /// For each decoding sequence of an iteration.
    pub sequence: u64,
    /// For each KV token that decodes read.
    pub kv_token: u64,
    /// For an iteration that cannot run as one captured graph.
    pub ungraphed: u64,
}

/// What is wrong with the coefficients of a [`StepTime`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepTimeError {
    /// No knot at all, the knots do not rise, or the time falls from one to the next.
    Knots,
    /// The graph sizes do not rise.
    GraphSizes,
    /// An iteration would take no time, so a run would never end.
    Instant,
    /// An iteration's own time is beyond an hour, or the time per token, KV token or 1024 pairs
    /// beyond a second: no hardware is that slow, and sums could overflow.
    TooLarge,
}

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
    /// KV tokens by which the sum may grow until the slope changes; `u64::MAX` for ever.
    pub ahead: u64,
}

impl StepTime {
    /// A step time of plain coefficients in picoseconds, linear in KV tokens and pairs: `linear`
    /// through its knots `(tokens, time)` for the tokens of an iteration, its last slope beyond
    /// them; `kv_read` for each KV token that decodes read; `attention` for each 1024 pairs.
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
        if attention > STEEPEST {
            return Err(StepTimeError::TooLarge);
        }
        let surfaces = Surfaces {
            decode: Surface::plain(&linear, (kv_read, 1))?,
            reading: Surface::plain(&[(0, 0)], (kv_read, 1))?,
            prefill: Surface::plain(&linear, (attention, 1024))?,
        };
        StepTime::measured(fixed, ungraphed, surfaces, graph_sizes)
    }

    /// A step time of measured surfaces; `fixed` and `ungraphed` in picoseconds.
    ///
    /// # Errors
    /// [`StepTimeError`] when the graph sizes do not rise, an iteration could take no time, or
    /// `fixed` or `ungraphed` is beyond an hour.
    pub fn measured(
        fixed: u64,
        ungraphed: u64,
        surfaces: Surfaces,
        graph_sizes: Vec<u32>,
    ) -> Result<StepTime, StepTimeError> {
        let Surfaces { decode, reading, prefill } = surfaces;
        if !graph_sizes.windows(2).all(|w| w[0] < w[1]) {
            return Err(StepTimeError::GraphSizes);
        }
        if fixed == 0 && decode.least().min(prefill.least()) == 0 {
            return Err(StepTimeError::Instant);
        }
        if fixed.max(ungraphed) > LONGEST {
            return Err(StepTimeError::TooLarge);
        }
        let (decode, reading) = (Lines::new(decode), Lines::new(reading));
        let mut captured = graph_sizes.iter().copied().peekable();
        let next = |batch: u32| {
            while captured.next_if(|&size| size < batch).is_some() {}
            captured.peek().copied()
        };
        let graph_of = (0..=TABULATED).map_while(next).collect();
        let (sequence, kv_token) = (0, 0);
        Ok(StepTime {
            fixed,
            ungraphed,
            sequence,
            kv_token,
            decode,
            reading,
            prefill,
            graph_sizes,
            graph_of,
        })
    }

    /// The same with what an engine adds to it.
    ///
    /// # Errors
    /// [`StepTimeError::TooLarge`] when an iteration's own time comes to more than an hour, or that
    /// of a sequence or a KV token to more than a second.
    pub fn plus(self, more: Overheads) -> Result<StepTime, StepTimeError> {
        let fixed = self.fixed.saturating_add(more.iteration);
        let ungraphed = self.ungraphed.saturating_add(more.ungraphed);
        let sequence = self.sequence.saturating_add(more.sequence);
        let kv_token = self.kv_token.saturating_add(more.kv_token);
        if fixed.max(ungraphed) > LONGEST || sequence.max(kv_token) > STEEPEST {
            return Err(StepTimeError::TooLarge);
        }
        Ok(StepTime { fixed, ungraphed, sequence, kv_token, ..self })
    }

    /// The same with every part of it `factor` times as long, each to the nearest picosecond.
    ///
    /// # Errors
    /// [`StepTimeError`] when an iteration would then take no time, or longer than it may.
    pub fn times(&self, factor: f64) -> Result<StepTime, StepTimeError> {
        let scaled = |ps: u64| scaled(ps, factor);
        let surfaces = Surfaces {
            decode: self.decode.surface().times(factor)?,
            reading: self.reading.surface().times(factor)?,
            prefill: self.prefill.times(factor)?,
        };
        let (fixed, ungraphed) = (scaled(self.fixed), scaled(self.ungraphed));
        let kernels = StepTime::measured(fixed, ungraphed, surfaces, self.graph_sizes.clone())?;
        let (sequence, kv_token) = (scaled(self.sequence), scaled(self.kv_token));
        kernels.plus(Overheads { sequence, kv_token, ..Overheads::default() })
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
        let tokens = work.decodes.saturating_add(work.prefill_tokens);
        let reading = match work.decodes {
            0 => 0,
            decodes => self.reading.at(decodes, work.kv_tokens).value,
        };
        let chunks = self.prefill.at(tokens, work.prefill_pairs);
        let reading = reading.saturating_add(self.kv_token.saturating_mul(work.kv_tokens));
        let host = self.host(work.decodes).saturating_add(self.ungraphed);
        Span(host.saturating_add(chunks).saturating_add(reading))
    }

    /// Pace of decode-only iterations of `batch` sequences that read `kv_tokens` at the first.
    #[must_use]
    pub fn decode_pace(&self, batch: u32, kv_tokens: u64) -> DecodePace {
        let (padded, extra) = self.padded(batch);
        let line = self.decode.at(padded, kv_tokens);
        DecodePace {
            first: self
                .host(batch)
                .saturating_add(extra)
                .saturating_add(line.value)
                .saturating_add(self.kv_token.saturating_mul(kv_tokens)),
            slope: line.slope.saturating_add(self.kv_token).saturating_mul(u64::from(batch)),
            ahead: line.ahead,
        }
    }

    /// What the host does in an iteration with `decodes` decoding sequences.
    fn host(&self, decodes: u32) -> u64 {
        self.fixed.saturating_add(self.sequence.saturating_mul(u64::from(decodes)))
    }

    /// The batch padded to the next captured graph, and the surcharge when none is large enough.
    fn padded(&self, batch: u32) -> (u32, u64) {
        if let Some(&size) = self.graph_of.get(batch as usize) {
            return (size, 0);
        }
        if self.graph_sizes.is_empty() {
            return (batch, 0);
        }
        match self.graph_sizes.get(self.graph_sizes.partition_point(|&size| size < batch)) {
            Some(&size) => (size, 0),
            None => (batch, self.ungraphed),
        }
    }
}

impl DecodePace {
    /// How many iterations of `batch` sequences, up to `most`, begin before the slope changes.
    #[must_use]
    pub fn steady(self, batch: u32, most: u64) -> u64 {
        let growth = u64::from(batch);
        if most.saturating_mul(growth) <= self.ahead {
            most
        } else {
            self.ahead.div_ceil(growth).min(most)
        }
    }

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

    /// Every surface a grid of its own, with kinks in both directions.
    fn measured() -> StepTime {
        let grid = |values: [u64; 9]| {
            Surface::new(vec![1, 4, 16], vec![0, 700, 9_000], values.into()).expect("valid")
        };
        let surfaces = Surfaces {
            decode: grid([900, 1_700, 41_000, 950, 1_900, 41_007, 1_000, 2_200, 70_001]),
            reading: grid([0, 800, 40_000, 3, 900, 40_000, 9, 1_300, 68_000]),
            prefill: grid([900, 1_000, 2_000, 950, 1_100, 3_000, 1_000, 1_150, 4_000]),
        };
        StepTime::measured(700, 50, surfaces, vec![1, 2, 4, 8]).expect("the sample is valid")
    }

    fn with_host() -> StepTime {
        let more = Overheads { iteration: 20, sequence: 13, kv_token: 3, ungraphed: 7 };
        measured().plus(more).expect("valid")
    }

    #[test]
    fn a_scaled_step_time_scales_every_iteration() {
        let work = Work { decodes: 3, kv_tokens: 2_900, prefill_tokens: 0, prefill_pairs: 0 };
        let mixed = Work { prefill_tokens: 700, prefill_pairs: 300_000, ..work };
        for step_time in [sample(), with_host()] {
            assert_eq!(step_time.times(1.0), Ok(step_time.clone()));
            for (factor, work) in [(0.5, work), (3.25, work), (0.5, mixed), (3.25, mixed)] {
                let own = step_time.iteration(work).0 as f64 * factor;
                let scaled = step_time.times(factor).expect("valid").iteration(work).0 as f64;
                // Slopes are whole picoseconds, and there are two of them for each KV token.
                assert!((scaled - own).abs() <= 2.0 * 2_900.0, "{work:?}: {scaled}, {own}");
            }
        }
        assert_eq!(sample().times(0.0), Err(StepTimeError::Instant));
    }

    #[test]
    fn closed_form_equals_the_sum_of_iterations() {
        for model in [sample(), measured(), with_host()] {
            for (batch, kv) in [(1, 1), (3, 500), (8, 12_345), (9, 77_777), (5, 690), (7, 700)] {
                let pace = model.decode_pace(batch, kv);
                let mut sum = Span::ZERO;
                for j in 0..pace.steady(batch, 200) {
                    assert_eq!(pace.span(j), sum);
                    let kv_tokens = kv + j * u64::from(batch);
                    sum += model.iteration(Work { decodes: batch, kv_tokens, ..Work::default() });
                }
            }
        }
    }

    #[test]
    fn a_leap_is_as_long_as_its_slope_holds() {
        let model = measured();
        for (batch, kv, most, expected) in [
            (1, 1, 50, 50),
            (7, 665, 50, 5),
            (7, 664, 50, 6),
            (7, 693, 50, 1),
            (7, 700, 50, 50),
            (7, 8_995, 3, 1),
            (7, 9_000, u64::MAX, u64::MAX),
        ] {
            let steady = model.decode_pace(batch, kv).steady(batch, most);
            assert_eq!(steady, expected, "{batch} sequences, {kv} KV tokens, at most {most}");
        }
    }

    #[test]
    fn leaps_from_knot_to_knot_equal_the_sum_of_iterations() {
        let model = measured();
        for batch in [1, 3, 8, 9, 20, 600] {
            let (mut kv, mut leaps, mut sum) = (1, Span::ZERO, Span::ZERO);
            let mut left = 12_000 / u64::from(batch);
            while left > 0 {
                let pace = model.decode_pace(batch, kv);
                let n = pace.steady(batch, left);
                leaps += pace.span(n);
                for _ in 0..n {
                    let work = Work { decodes: batch, kv_tokens: kv, ..Work::default() };
                    sum += model.iteration(work);
                    kv += u64::from(batch);
                }
                left -= n;
            }
            assert_eq!(leaps, sum);
        }
    }

    #[test]
    fn an_iteration_with_a_chunk_is_the_sum_of_its_parts() {
        let alone = Work { prefill_tokens: 4, prefill_pairs: 700, ..Work::default() };
        assert_eq!(measured().iteration(alone), Span(700 + 50 + 1_100));
        // 4 tokens in all, 700 pairs; 2 sequences lie a third of the way from 1 to 4.
        let work = Work { decodes: 2, kv_tokens: 700, prefill_tokens: 2, prefill_pairs: 700 };
        assert_eq!(measured().iteration(work), Span(700 + 50 + 1_100 + 833));
        let hosted = |span: Span, sequences: u64| Span(span.0 + 20 + 7 + sequences * 13);
        let both = hosted(measured().iteration(work), 2);
        assert_eq!(with_host().iteration(work), Span(both.0 + 700 * 3));
        assert_eq!(with_host().iteration(alone), hosted(measured().iteration(alone), 0));
        assert_eq!(
            with_host().decode_pace(3, 500).first,
            measured().decode_pace(3, 500).first + 20 + 3 * 13 + 500 * 3,
            "the host hands out the tokens of sequences, not those of the padded batch"
        );
    }

    #[test]
    fn the_boundary_search_finds_the_first_iteration_that_reaches() {
        let pace = DecodePace { first: 100, slope: 7, ahead: u64::MAX };
        for wanted in 0..5_000u64 {
            let m = pace.iterations_to_reach(Span(wanted), 50);
            assert!(m == 50 || pace.span(m) >= Span(wanted));
            assert!(m == 1 || pace.span(m - 1) < Span(wanted));
        }
    }

    #[test]
    fn time_never_falls_as_tokens_grow() {
        for model in [sample(), measured()] {
            let times: Vec<_> = (0..9_000)
                .map(|n| model.iteration(Work { prefill_tokens: n.max(1), ..Work::default() }))
                .collect();
            assert!(times.windows(2).all(|w| w[0] <= w[1]));
        }
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
        let none = Overheads::default();
        for more in [
            Overheads { iteration: LONGEST, ..none },
            Overheads { ungraphed: u64::MAX, ..none },
            Overheads { sequence: STEEPEST + 1, ..none },
            Overheads { kv_token: STEEPEST + 1, ..none },
        ] {
            assert_eq!(sample().plus(more), Err(StepTimeError::TooLarge), "{more:?}");
        }
    }
}
