//! Replay: a recorded trace as it was, or redrawn block by block.
//!
//! Replication 0 of copy 0 is the recording itself. Every other replication or copy is a stationary
//! block bootstrap (Politis and Romano, JASA 89, 1994) that keeps the slow rate curve: time is
//! filled with blocks of exponential length, each taken from near the place it fills. What moves is
//! a whole session, placed by its first row, or a row of no session.
//!
//! Invariants: the schedule rises in time; rows of a session keep their order; a row that is
//! drawn again gets new private tokens but keeps the shared ones; draws are keyed by (copy, block)
//! and (copy, row, use).
//!
//! A session that began late in the recording may end after it, because sessions stay whole.
//!
//! Deliberately absent: going round again when the recording is shorter than the run.

use super::arrivals::{Arrival, Terms};
use super::request::{Segment, Segments};
use super::{Trace, TraceRow};
use crate::dice::{Dice, Purpose, key, mix};
use crate::units::{Span, Time};

/// Mean length of a block: longer than the bursts seen in LLM traces.
const MEAN_BLOCK_SECS: f64 = 30.0;
/// A block comes from at most this far from the place it fills.
const REACH: Span = Span::from_secs(600);
/// Bits of a row in a unit number; the use is above.
const ROW_BITS: u32 = 32;

/// Rows that move together.
#[derive(Clone, Copy, Debug)]
struct Unit {
    first: Time,
    /// Range in `Bootstrap::order`.
    from: usize,
    to: usize,
}

/// Builds one copy's schedule, latest first, so that the next one is popped. The unit of an
/// arrival is its use above the 32 bits of its row.
pub(super) fn schedule(trace: &Trace, jitter: Span, redraw: bool, terms: &Terms) -> Vec<Arrival> {
    let (order, units) = group(trace);
    let uses = vec![0; units.len()];
    let mut builder = Builder { trace, jitter, terms, order, units, uses, placed: Vec::new() };
    if redraw {
        builder.bootstrap();
    } else {
        for unit in 0..builder.units.len() {
            let first = builder.units[unit].first;
            builder.place(unit, first, first);
        }
    }
    let mut placed = builder.placed;
    placed.sort_unstable_by_key(|arrival| (arrival.at, arrival.unit as u32, arrival.unit));
    let mut last = Time::ZERO;
    for (i, arrival) in placed.iter_mut().enumerate() {
        // A row that joins the one before takes its instant; the other rows stay where they are.
        if i > 0 && terms.joins(mix(terms.key, arrival.unit)) {
            arrival.at = last;
        }
        last = arrival.at;
    }
    placed.retain(|arrival| arrival.at < terms.horizon);
    placed.reverse();
    placed
}

/// Row numbers by unit, and the units by their first row.
fn group(trace: &Trace) -> (Vec<u32>, Vec<Unit>) {
    let session = |row: u32| trace.rows[row as usize].session;
    let mut order: Vec<u32> = (0..trace.rows.len()).filter_map(|r| u32::try_from(r).ok()).collect();
    // Stable: rows of a session stay in time order.
    order.sort_by_key(|&row| session(row));
    let mut units: Vec<Unit> = Vec::new();
    for (place, &row) in order.iter().enumerate() {
        let with_last =
            session(row) != u32::MAX && place > 0 && session(order[place - 1]) == session(row);
        match units.last_mut() {
            Some(unit) if with_last => unit.to = place + 1,
            _ => {
                let first = trace.rows[row as usize].at;
                units.push(Unit { first, from: place, to: place + 1 });
            }
        }
    }
    units.sort_by_key(|unit| unit.first);
    (order, units)
}

struct Builder<'a> {
    trace: &'a Trace,
    jitter: Span,
    terms: &'a Terms,
    order: Vec<u32>,
    units: Vec<Unit>,
    /// How often each unit has been placed.
    uses: Vec<u32>,
    placed: Vec<Arrival>,
}

impl Builder<'_> {
    /// Fills the recording's time with blocks.
    fn bootstrap(&mut self) {
        let length = self.trace.span.0;
        let block_key = key(self.terms.key, Purpose::Bootstrap);
        let (mut filled, mut block) = (0, 0);
        while filled < length {
            let mut dice = Dice::stream(mix(block_key, block));
            block += 1;
            // At least a picosecond, so that time is filled at all.
            let drawn = Span::from_secs_f64(MEAN_BLOCK_SECS * dice.exponential()).0.max(1);
            let size = drawn.min(length - filled);
            // The window of starts is cut to the recording; starts are uniform in what is left.
            let latest = length - size;
            let from = filled.saturating_sub(REACH.0).min(latest);
            let to = filled.saturating_add(REACH.0).min(latest);
            let shift = Span::from_secs_f64(Span(to - from).as_secs_f64() * dice.uniform());
            let start = Time(from).after(shift).min(Time(to));
            let end = start.after(Span(size));
            let first = self.units.partition_point(|unit| unit.first < start);
            let past = self.units.partition_point(|unit| unit.first < end);
            for unit in first..past {
                self.place(unit, start, Time(filled));
            }
            filled += size;
        }
    }

    /// Puts a unit where `from` of the recording becomes `to` of the run.
    fn place(&mut self, unit: usize, from: Time, to: Time) {
        let Unit { from: first, to: past, .. } = self.units[unit];
        let used = self.uses[unit];
        self.uses[unit] += 1;
        let unit_number = |row: u32| u64::from(used) << ROW_BITS | u64::from(row);
        // A session is kept or thinned as one.
        if !self.terms.keeps(mix(self.terms.key, unit_number(self.order[first]))) {
            return;
        }
        let mut last = Time::ZERO;
        for &row in &self.order[first..past] {
            let number = unit_number(row);
            let mut dice = Dice::of(mix(self.terms.key, number), Purpose::Jitter);
            let late = Span::from_secs_f64(self.jitter.as_secs_f64() * dice.uniform());
            let recorded = self.trace.rows[row as usize].at.since(from);
            // Jitter must not reorder a session: a turn needs the answer before it.
            last = to.after(recorded).after(late).max(last);
            self.placed.push(Arrival { at: self.hurry(last), unit: number });
        }
    }

    /// Faster users play the recording in less time.
    fn hurry(&self, at: Time) -> Time {
        let speed = self.terms.speed;
        // A division by 1 in f64 would round late instants.
        if speed == 1.0 { at } else { Time((at.0 as f64 / speed) as u64) }
    }
}

/// The row and the prompt of a scheduled arrival. `salt` keeps the private tokens of two sources
/// that replay one trace apart; `copy` and the use those of a row drawn again.
pub(super) fn prompt(
    trace: &Trace,
    salt: u64,
    copy: u32,
    unit: u64,
) -> Option<(TraceRow, Segments)> {
    let row_number = unit & ((1 << ROW_BITS) - 1);
    let row = *trace.rows.get(usize::try_from(row_number).ok()?)?;
    let again = u64::from(copy) << ROW_BITS | unit >> ROW_BITS;
    let private = |id: u64| if again == 0 { mix(salt, id) } else { mix(mix(salt, id), again) };
    let from = row.segments_at as usize;
    let recorded = trace.segments.get(from..from + row.segments_len as usize).unwrap_or_default();
    let mut segments: Segments = recorded
        .iter()
        .filter(|s| s.tokens > 0)
        .map(|s| Segment { id: if s.shared { s.id } else { private(s.id) }, tokens: s.tokens })
        .collect();
    if segments.is_empty() {
        // Another salt than the recorded ids', which may be small numbers as well.
        let id = mix(key(salt, Purpose::PromptIdentity), row_number);
        segments.push(Segment { id: mix(id, again), tokens: row.input.max(1) });
    }
    Some((row, segments))
}
