//! A source at work: gives out its requests one after another, in time order.
//!
//! Invariants: instants from [`Source::next`] do not fall and lie in `[0, horizon)`; what it gives
//! does not depend on other sources, nor on when follow-ups are asked for; a traffic factor of at
//! least 1 with more users leaves the requests of copy 0 as they were.
//!
//! A source works on copies of its specification, one for each whole multiple of the traffic and a
//! thinned one for the fraction; each has keys of its own.
//!
//! Deliberately absent: retries. A retried call is the same request.

use super::arrivals::{Arrival, Open, Terms, first_requests, pause};
use super::request::{Mint, Origin, Request};
use super::sessions::{Next, Sessions};
use super::trace;
use super::{Arrivals, ScaleHow, Scaling, SourceSpec, Trace};
use crate::dice::{Purpose, key, mix};
use crate::dist::DurationDist;
use crate::ids::SourceId;
use crate::units::{Span, Time};
use std::sync::Arc;

/// Bits of a request's number below the copy.
const COPY_SHIFT: u32 = 52;
/// Bits of a session's number below the session.
const TURN_BITS: u32 = 16;
/// Copies that fit the bits above; a larger factor is held here.
const MOST_COPIES: f64 = 4_096.0;

/// One stream of requests, drawn lazily.
#[derive(Clone, Debug)]
pub struct Source {
    mint: Mint,
    kind: Kind,
    sessions: Option<Sessions>,
    horizon: Time,
    copies: Vec<TrafficCopy>,
}

/// A request that is yet to come: when, and what it will be drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    copy: u32,
    arrival: Arrival,
}

impl Expected {
    /// Instant of its arrival.
    #[must_use]
    pub fn at(self) -> Time {
        self.arrival.at
    }
}

/// What besides the copies an arrival process needs.
#[derive(Clone, Debug)]
enum Kind {
    Open,
    ClosedLoop { users: u32, think: DurationDist },
    Replay { trace: Arc<Trace>, salt: u64 },
}

/// The specification's traffic once, or a thinned part of it.
#[derive(Clone, Debug)]
struct TrafficCopy {
    terms: Terms,
    beginnings: Beginnings,
    /// The earliest beginning not yet given out.
    head: Option<Arrival>,
}

#[derive(Clone, Debug)]
enum Beginnings {
    Open(Open),
    /// Worked out in advance, latest first.
    Listed(Vec<Arrival>),
}

impl Source {
    /// Prepares the source `spec`, at position `index` of the scenario. Requests begin in
    /// `[0, horizon)`; a conversation ends before its prompt exceeds `max_context` tokens. Traces
    /// are laid out here, in time and memory proportional to their rows.
    #[must_use]
    pub fn new(
        spec: &SourceSpec,
        index: SourceId,
        seed: u64,
        replication: u32,
        horizon: Span,
        max_context: u32,
    ) -> Source {
        let root = mix(mix(seed, u64::from(replication)), spec.key);
        let horizon = Time::ZERO.after(horizon);
        let copies = copies(spec.scaling, root, horizon)
            .into_iter()
            .enumerate()
            .map(|(number, terms)| {
                let redraw = replication > 0 || number > 0;
                TrafficCopy::new(terms, Beginnings::new(&spec.arrivals, &terms, redraw))
            })
            .collect();
        let kind = match &spec.arrivals {
            Arrivals::Renewal { .. } | Arrivals::Modulated { .. } => Kind::Open,
            Arrivals::ClosedLoop { users, think } => {
                Kind::ClosedLoop { users: *users, think: think.clone() }
            }
            Arrivals::Replay { trace, .. } => {
                Kind::Replay { trace: trace.clone(), salt: key(spec.key, Purpose::TraceIdentity) }
            }
        };
        // A trace's sessions are in its rows.
        let session = spec.session.clone().filter(|_| !matches!(kind, Kind::Replay { .. }));
        let fixed = usize::from(spec.prefix.as_ref().is_some_and(|prefix| prefix.tokens > 0));
        let sessions = session.map(|session| Sessions::new(session, max_context, fixed));
        Source { mint: Mint::new(spec, index), kind, sessions, horizon, copies }
    }

    /// The next request of those that do not wait for another's end, or `None` after the last.
    #[expect(clippy::should_implement_trait, reason = "a source also answers follow-ups")]
    pub fn next(&mut self) -> Option<Request> {
        let expected = self.expect()?;
        self.birth(expected)
    }

    /// When the next of those requests comes, or `None` after the last. The request itself is made
    /// by [`Source::birth`] when its time has come: it is large, and would be moved about.
    pub fn expect(&mut self) -> Option<Expected> {
        // With one copy, as nearly always, this is no search; ties go to the lower copy.
        let earliest = self
            .copies
            .iter()
            .enumerate()
            .filter_map(|(number, copy)| copy.head.map(|head| (head.at, number)));
        let (_, number) = earliest.min()?;
        let copy = self.copies.get_mut(number)?;
        let arrival = copy.head.take()?;
        copy.head = copy.beginnings.next();
        Some(Expected { copy: u32::try_from(number).ok()?, arrival })
    }

    /// What the sender of an ended request does next: the conversation's next turn, or the next
    /// request of a closed loop's user. `written` is the length of the answer, `None` when the call
    /// was rejected or failed: that ends a conversation, while a user of a closed loop thinks and
    /// goes on. `None` when nothing follows or it would be after the horizon.
    ///
    /// Hand back every origin once; one handed back again starts nothing in a conversation.
    pub fn follow_up(
        &mut self,
        origin: Origin,
        written: Option<u32>,
        now: Time,
    ) -> Option<Request> {
        if let (Some(handle), Some(sessions)) = (origin.session, &mut self.sessions) {
            match sessions.next(handle, written, now, self.horizon, &self.mint) {
                Next::Turn(turn) => {
                    let unit = origin.unit << TURN_BITS | u64::from(turn.number);
                    let identity = (turn.key, number(origin.copy, unit));
                    let origin = Origin { session: Some(turn.session), ..origin };
                    let mut turn =
                        self.mint.strike(identity, turn.at, turn.prompt, turn.output, origin);
                    turn.memory = sessions.condense(origin.session, &turn);
                    return Some(turn);
                }
                // A user of a closed loop does not begin another conversation meanwhile.
                Next::AfterTheEnd => return None,
                Next::Over => {}
            }
        }
        let Kind::ClosedLoop { users, think } = &self.kind else { return None };
        let unit = origin.unit.checked_add(u64::from(*users))?;
        let terms = self.copies.get(origin.copy as usize)?.terms;
        let at = now.after(pause(think, &terms, unit));
        if at >= self.horizon {
            return None;
        }
        self.birth(Expected { copy: origin.copy, arrival: Arrival { at, unit } })
    }

    /// Draws the request that was expected. `None` only for what another source expected.
    pub fn birth(&mut self, expected: Expected) -> Option<Request> {
        let Expected { copy, arrival: Arrival { at, unit } } = expected;
        let unit_key = mix(self.copies.get(copy as usize)?.terms.key, unit);
        let mut origin = Origin { copy, unit, session: None };
        if let Kind::Replay { trace, salt } = &self.kind {
            let (row, prompt) = trace::prompt(trace, *salt, copy, unit)?;
            let identity = (unit_key, number(copy, unit));
            let request = self.mint.strike(identity, at, prompt, row.output, origin);
            return Some(Request { context: row.context.min(request.input), ..request });
        }
        let (fresh, output) = self.mint.lengths(unit_key);
        let prompt = self.mint.opening(unit_key, fresh);
        let mut unit_number = unit;
        if let Some(sessions) = &mut self.sessions {
            origin.session = sessions.begin(unit_key, &prompt);
            unit_number <<= TURN_BITS;
        }
        let identity = (unit_key, number(copy, unit_number));
        let mut request = self.mint.strike(identity, at, prompt, output, origin);
        if let Some(sessions) = &mut self.sessions {
            request.memory = sessions.condense(origin.session, &request);
        }
        Some(request)
    }
}

/// The identity of a request within its source.
fn number(copy: u32, unit: u64) -> u64 {
    u64::from(copy) << COPY_SHIFT | unit
}

/// The copies a traffic factor asks for. A factor that is negative or not finite is no traffic.
fn copies(scaling: Scaling, root: u64, horizon: Time) -> Vec<Terms> {
    let factor = if scaling.factor.is_finite() { scaling.factor.max(0.0) } else { 0.0 };
    let terms =
        |copy: u64| Terms { key: mix(root, copy), keep: 1.0, speed: 1.0, join: 0.0, horizon };
    match scaling.how {
        ScaleHow::MoreUsers => {
            let factor = factor.min(MOST_COPIES);
            let whole = factor.floor();
            let mut copies: Vec<Terms> = (0..whole as u64).map(terms).collect();
            if factor > whole {
                copies.push(Terms { keep: factor - whole, ..terms(whole as u64) });
            }
            copies
        }
        ScaleHow::FasterUsers if factor > 0.0 => vec![Terms { speed: factor, ..terms(0) }],
        ScaleHow::FasterUsers => Vec::new(),
        ScaleHow::Burstier => {
            let factor = factor.max(1.0);
            vec![Terms { join: (factor - 1.0) / (factor + 1.0), ..terms(0) }]
        }
    }
}

impl TrafficCopy {
    fn new(terms: Terms, mut beginnings: Beginnings) -> TrafficCopy {
        let head = beginnings.next();
        TrafficCopy { terms, beginnings, head }
    }
}

impl Beginnings {
    fn new(arrivals: &Arrivals, terms: &Terms, redraw: bool) -> Beginnings {
        match arrivals {
            Arrivals::Renewal { gaps, rate } => {
                Beginnings::Open(Open::renewal(*gaps, rate, *terms))
            }
            Arrivals::Modulated { states, shape } => {
                Beginnings::Open(Open::modulated(states, shape, *terms))
            }
            Arrivals::ClosedLoop { users, think } => {
                Beginnings::Listed(first_requests(*users, think, terms))
            }
            Arrivals::Replay { trace, jitter } => {
                Beginnings::Listed(trace::schedule(trace, *jitter, redraw, terms))
            }
        }
    }

    fn next(&mut self) -> Option<Arrival> {
        match self {
            Beginnings::Open(open) => open.next(),
            Beginnings::Listed(list) => list.pop(),
        }
    }
}

#[cfg(test)]
mod tests;
