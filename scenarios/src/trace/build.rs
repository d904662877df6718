//! Gathers the rows of any format into a [`Trace`] and its report.
//!
//! Invariants: rows leave in time order, rows of one instant in the order of the file; a row's
//! segments sum to its input; a segment is `shared` exactly if rows of two or more sessions use its
//! id, a row without a session being one of its own; instants are exact picoseconds since the first
//! row.
//!
//! Deliberately absent: anything that knows a file format.

use super::open::Limits;
use super::problem::{Problems, TraceFault};
use super::report::{LengthSummary, Skipped, TraceReport, tick_of};
use super::{ReadResult, TraceFormat};
use sim::units::{Span, Time};
use sim::workload::{Trace, TraceRow, TraceSegment};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A row without a session.
const NO_SESSION: u32 = u32::MAX;

const NS_PER_DAY: u64 = 86_400 * 1_000_000_000;

/// One request, as a format reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// Nanoseconds on the trace's own clock.
    pub(super) at_ns: u64,
    pub(super) input: u32,
    pub(super) output: u32,
    pub(super) session: Option<&'a str>,
    /// `(id, tokens)`; sums to `input` or is empty.
    pub(super) segments: &'a [(u64, u32)],
}

/// A trace under construction. Until it is finished `at` holds nanoseconds of the trace's clock.
#[derive(Debug)]
pub(super) struct Builder {
    format: TraceFormat,
    rows: Vec<TraceRow>,
    segments: Vec<TraceSegment>,
    sessions: HashMap<String, u32>,
    rows_in_sessions: u64,
    skipped: Vec<Skipped>,
    most_segments: u64,
}

impl Builder {
    pub(super) fn new(format: TraceFormat, limits: &Limits) -> Builder {
        Builder {
            format,
            rows: Vec::new(),
            segments: Vec::new(),
            sessions: HashMap::new(),
            rows_in_sessions: 0,
            skipped: Vec::new(),
            most_segments: limits.segments.min(u64::from(u32::MAX)),
        }
    }

    /// Requests so far.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Leaves a row out, with the reason.
    pub(super) fn skip(&mut self, why: &'static str) {
        match self.skipped.iter_mut().find(|skipped| skipped.why == why) {
            Some(skipped) => skipped.rows += 1,
            None => self.skipped.push(Skipped { why, rows: 1 }),
        }
    }

    /// Adds a request.
    ///
    /// # Errors
    /// [`TraceFault::TooManySegments`]; reading must stop.
    pub(super) fn push(&mut self, request: &Request<'_>) -> Result<(), TraceFault> {
        let limit = self.most_segments;
        let (at, added) = (self.segments.len() as u64, request.segments.len() as u64);
        let full = TraceFault::TooManySegments { limit };
        if at + added > limit {
            return Err(full);
        }
        // Both fit: the limit is at most `u32::MAX`.
        let segments_at = u32::try_from(at).map_err(|_| full.clone())?;
        let segments_len = u32::try_from(added).map_err(|_| full)?;
        let session = self.session_number(request.session);
        // Whether others share a segment is known at the end.
        let segments = request.segments.iter();
        self.segments.extend(segments.map(|&(id, tokens)| TraceSegment {
            id,
            tokens,
            shared: false,
        }));
        self.rows.push(TraceRow {
            at: Time(request.at_ns),
            input: request.input,
            output: request.output,
            session,
            segments_at,
            segments_len,
            context: 0,
        });
        Ok(())
    }

    /// Sessions are numbered in the order in which they first appear.
    fn session_number(&mut self, name: Option<&str>) -> u32 {
        let Some(name) = name else { return NO_SESSION };
        self.rows_in_sessions += 1;
        if let Some(number) = self.sessions.get(name) {
            return *number;
        }
        // There are never more sessions than lines; the numbers would end at 2³² − 1.
        let number = u32::try_from(self.sessions.len()).unwrap_or(NO_SESSION);
        self.sessions.insert(name.to_owned(), number);
        number
    }

    /// The finished trace, unless there were problems.
    pub(super) fn finish(mut self, mut problems: Problems) -> ReadResult {
        if problems.is_empty() && self.rows.is_empty() {
            problems.fatal(1, TraceFault::NoRows);
        }
        if !problems.is_empty() {
            return Err(problems.into_vec());
        }
        let out_of_order =
            self.rows.windows(2).filter(|pair| pair[1].at < pair[0].at).count() as u64;
        self.rows.sort_by_key(|row| row.at);
        let first = self.rows.first().map_or(0, |row| row.at.0);
        let last = self.rows.last().map_or(0, |row| row.at.0);
        let tick_ns = tick_of(self.rows.iter().map(|row| row.at.0));
        // A recording lasts until its clock would have ticked again.
        let span_ns = (last - first).saturating_add(tick_ns);
        let Some(span) = span_ns.checked_mul(1_000) else {
            problems.fatal(1, TraceFault::TooLong { days: span_ns / NS_PER_DAY });
            return Err(problems.into_vec());
        };
        for row in &mut self.rows {
            row.at = Time((row.at.0 - first) * 1_000);
        }
        self.mark_shared();
        self.mark_context();
        let report = self.report(out_of_order, tick_ns, last - first);
        let Builder { rows, segments, .. } = self;
        Ok((Trace { rows, segments, span: Span(span) }, report))
    }

    fn mark_shared(&mut self) {
        // The owner of an id: the one session that uses it, or nothing once there are two.
        let mut owners: HashMap<u64, Option<u64>> = HashMap::new();
        for (number, row) in self.rows.iter().enumerate() {
            let own = match row.session {
                NO_SESSION => (1 << 32) + number as u64,
                session => u64::from(session),
            };
            for segment in &self.segments[range_of(row)] {
                match owners.entry(segment.id) {
                    Entry::Vacant(slot) => {
                        slot.insert(Some(own));
                    }
                    Entry::Occupied(mut slot) => {
                        if *slot.get() != Some(own) {
                            slot.insert(None);
                        }
                    }
                }
            }
        }
        for segment in &mut self.segments {
            segment.shared = owners.get(&segment.id) == Some(&None);
        }
    }

    /// How much of the front of each prompt has been sent before.
    fn mark_context(&mut self) {
        let mut sent: HashMap<u64, u32> = HashMap::new();
        for row in &mut self.rows {
            let mut repeats = true;
            for segment in &self.segments[range_of(row)] {
                let longest = sent.entry(segment.id).or_default();
                let known = segment.tokens.min(*longest);
                row.context += if repeats { known } else { 0 };
                repeats &= known == segment.tokens;
                *longest = segment.tokens.max(*longest);
            }
        }
    }

    fn report(&self, out_of_order: u64, tick_ns: u64, between_ns: u64) -> TraceReport {
        let rows = self.rows.len() as u64;
        let tick = Span(tick_ns.saturating_mul(1_000));
        let skipped = self.skipped.clone();
        let shared: u64 =
            self.segments.iter().filter(|s| s.shared).map(|s| u64::from(s.tokens)).sum();
        let prompt: u64 = self.rows.iter().map(|row| u64::from(row.input)).sum();
        // A tick matters once it is not small beside the gaps: ten ticks to the mean gap.
        let coarse = tick_ns.saturating_mul(10).saturating_mul(rows) >= between_ns && rows > 1;
        TraceReport {
            format: self.format,
            rows_read: rows + skipped.iter().map(|s| s.rows).sum::<u64>(),
            rows,
            skipped,
            out_of_order,
            first_to_last: Span(between_ns.saturating_mul(1_000)),
            tick,
            suggested_jitter: if coarse { tick } else { Span::ZERO },
            input: LengthSummary::of(self.rows.iter().map(|row| row.input).collect()),
            output: LengthSummary::of(self.rows.iter().map(|row| row.output).collect()),
            sessions: self.sessions.len() as u64,
            rows_in_sessions: self.rows_in_sessions,
            segments: self.segments.len() as u64,
            shared_segments: self.segments.iter().filter(|s| s.shared).count() as u64,
            shared_token_share: shared as f64 / prompt.max(1) as f64,
        }
    }
}

/// Where a row's segments lie.
fn range_of(row: &TraceRow) -> std::ops::Range<usize> {
    let at = row.segments_at as usize;
    at..at + row.segments_len as usize
}
