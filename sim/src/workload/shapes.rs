//! Rate curves as clocks: how long a given amount of operational time takes.
//!
//! A process of rate 1 in operational time becomes one of rate r(t) when its clock is stretched so
//! that the integral of r grows by one per unit of work. On a straight line r₀ + s·t the time for
//! work e solves a quadratic; `2e / (r₀ + √(r₀² + 2se))` is its root in the form that loses no
//! digits when s is small, zero or negative.
//!
//! Invariants: a clock never runs backwards and never passes its limit; multipliers of 1 leave it
//! untouched to the last bit; values that are negative or not finite count as 0.
//!
//! Deliberately absent: leaping over whole periods. A clock takes one step per piece passed.

use super::RateCurve;
use crate::units::{Span, Time};

/// A straight stretch of one repetition of a curve.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Since the start of the repetition.
    from: Span,
    /// Since the start of the repetition; after `from`.
    to: Span,
    /// Value at `from`.
    rate: f64,
    /// Change of the value per second.
    slope: f64,
}

/// How far a clock came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reached {
    /// The work was done at this instant.
    Done(Time),
    /// The limit came first; this much work is left.
    Left(f64),
}

/// A rate curve and the present instant on it.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    now: Time,
    /// The one value of a curve without pieces or spikes.
    constant: Option<f64>,
    pieces: Vec<Piece>,
    period: Option<Span>,
    /// Product of the spikes from each instant on; the first entry is at 0.
    factors: Vec<(Time, f64)>,
    /// Start of the present repetition, and positions in `pieces` and `factors`.
    cycle: Time,
    piece: usize,
    factor: usize,
}

/// Rates are ≥ 0 and finite; anything else is no traffic.
fn sane(value: f64) -> f64 {
    if value.is_finite() && value > 0.0 { value } else { 0.0 }
}

impl Clock {
    pub(super) fn new(curve: &RateCurve) -> Clock {
        let factors = spike_factors(curve);
        let first = curve.knots.first().map_or(0.0, |knot| sane(knot.1));
        let flat = curve.knots.iter().all(|knot| sane(knot.1) == first);
        let last = curve.knots.last().map_or(Time::ZERO, |knot| knot.0);
        let period = curve.period.map(|p| p.max(Span(last.0))).filter(|&p| p > Span::ZERO);
        Clock {
            now: Time::ZERO,
            constant: (flat && (factors.len() == 1 || first == 0.0)).then_some(first),
            pieces: pieces(curve, period.unwrap_or(Span::MAX)),
            period,
            factors,
            cycle: Time::ZERO,
            piece: 0,
            factor: 0,
        }
    }

    /// Does `work` at `multiplier` times the curve, but not beyond `limit`.
    pub(super) fn advance(&mut self, work: f64, multiplier: f64, limit: Time) -> Reached {
        if let Some(rate) = self.constant {
            return self.advance_evenly(work, rate * multiplier, limit);
        }
        if multiplier <= 0.0 {
            self.now = self.now.max(limit);
            return Reached::Left(work);
        }
        let mut work = work;
        while self.now < limit {
            let (rate, slope, end) = self.stretch();
            let (rate, slope, end) = (rate * multiplier, slope * multiplier, end.min(limit));
            let length = (end - self.now).as_secs_f64();
            let capacity = ((rate + 0.5 * slope * length) * length).max(0.0);
            if work < capacity {
                let root = (rate * rate + 2.0 * slope * work).max(0.0).sqrt();
                let needed = Span::from_secs_f64(2.0 * work / (rate + root));
                self.now = self.now.after(needed).min(end);
                return if self.now < limit { Reached::Done(self.now) } else { Reached::Left(0.0) };
            }
            work -= capacity;
            self.now = end;
        }
        Reached::Left(work)
    }

    fn advance_evenly(&mut self, work: f64, rate: f64, limit: Time) -> Reached {
        let at =
            if rate > 0.0 { self.now.after(Span::from_secs_f64(work / rate)) } else { Time::NEVER };
        if at < limit {
            self.now = at;
            return Reached::Done(at);
        }
        let done = limit.since(self.now).as_secs_f64() * rate;
        self.now = self.now.max(limit);
        Reached::Left((work - done).max(0.0))
    }

    /// Value now, its slope per second, and how long both hold.
    fn stretch(&mut self) -> (f64, f64, Time) {
        while self.factors.get(self.factor + 1).is_some_and(|next| next.0 <= self.now) {
            self.factor += 1;
        }
        let until = self.factors.get(self.factor + 1).map_or(Time::NEVER, |next| next.0);
        let factor = self.factors.get(self.factor).map_or(1.0, |f| f.1);
        loop {
            let Some(piece) = self.pieces.get(self.piece) else {
                let Some(period) = self.period else {
                    return (0.0, 0.0, until);
                };
                (self.cycle, self.piece) = (self.cycle.after(period), 0);
                continue;
            };
            let end = self.cycle.after(piece.to);
            // An end at the last instant there is must not send the search round for ever.
            if self.now < end || end == Time::NEVER {
                let inside = self.now.since(self.cycle.after(piece.from)).as_secs_f64();
                let rate = (piece.rate + piece.slope * inside).max(0.0);
                return (rate * factor, piece.slope * factor, end.min(until));
            }
            self.piece += 1;
        }
    }
}

/// The pieces of one repetition of this length.
fn pieces(curve: &RateCurve, length: Span) -> Vec<Piece> {
    let mut knots: Vec<(Span, f64)> =
        curve.knots.iter().map(|k| (Span(k.0.0), sane(k.1))).collect();
    knots.sort_by_key(|knot| knot.0);
    if let (Some(&first), Some(&last)) = (knots.first(), knots.last()) {
        knots.insert(0, (Span::ZERO, first.1));
        knots.push((length, last.1));
    }
    let steep =
        |pair: &[(Span, f64)]| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0).as_secs_f64();
    knots
        .windows(2)
        .filter(|pair| pair[0].0 < pair[1].0)
        .map(|pair| Piece { from: pair[0].0, to: pair[1].0, rate: pair[0].1, slope: steep(pair) })
        .collect()
}

/// The product of all spikes as a step function. Spikes of factor 1 leave no trace in it, so that
/// they cannot move a rounding.
fn spike_factors(curve: &RateCurve) -> Vec<(Time, f64)> {
    let spikes: Vec<(Time, Time, f64)> = curve
        .spikes
        .iter()
        .map(|&(start, length, factor)| (start, start.after(length), sane(factor)))
        .filter(|&(start, end, factor)| start < end && factor != 1.0)
        .collect();
    let mut edges: Vec<Time> = spikes.iter().flat_map(|s| [s.0, s.1]).collect();
    edges.push(Time::ZERO);
    edges.sort_unstable();
    edges.dedup();
    let product =
        |t: Time| spikes.iter().filter(|s| s.0 <= t && t < s.1).map(|s| s.2).product::<f64>();
    edges.into_iter().map(|t| (t, product(t))).collect()
}
