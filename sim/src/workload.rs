//! Where requests come from: sources, each with its arrival process, lengths and token identity.
//!
//! Invariants: every random draw of a request is made at its birth from a stream keyed by
//! (replication, source, copy, request number, purpose), so two policies see the same customers;
//! requests of one source come out in time order.
//!
//! Token identity: a prompt is a list of segments `(id, tokens)`; equal ids mean equal tokens
//! from the start, so shared prefixes, sessions and recorded block hashes are all segments.
//!
//! Deliberately absent: reading traces (see `scenarios`) and anything a policy decides.

mod arrivals;
mod clients;
mod request;
mod sessions;
mod shapes;
mod source;
mod trace;

pub use clients::{AttributeLaw, AttributeSpec, ClientSpec, People, ResubmitSpec, TenantSpec};
pub(crate) use request::tokens_of;
pub use request::{Origin, Prompt, Prompts, Request, Segment, Segments};
pub use source::{Expected, Source};

use crate::dist::{DurationDist, LengthDist, LengthsSpec};
use crate::ids::TaskId;
use crate::units::{Span, Time};
use std::sync::Arc;

/// One stream of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSpec {
    /// Name in files and reports.
    pub name: String,
    /// Stable key of its random streams (a hash of the name), so that adding another source
    /// leaves this one's requests unchanged.
    pub key: u64,
    /// The task each request starts.
    pub task: TaskId,
    /// When requests (or sessions) begin.
    pub arrivals: Arrivals,
    /// Prompt and output lengths; a trace brings its own and ignores these.
    pub lengths: LengthsSpec,
    /// Whether a request ends by EOS at its drawn length (otherwise by `max_tokens`).
    pub ends_by_eos: bool,
    /// Cap on the tokens written, as a client would send; `None`: up to the model's limit.
    pub max_tokens: Option<u32>,
    /// Scheduling priority, smaller first; used by engines with the priority policy.
    pub priority: i32,
    /// A prefix shared by many requests, before the drawn input.
    pub prefix: Option<PrefixSpec>,
    /// Turns of a conversation; `None`: each request stands alone.
    pub session: Option<SessionSpec>,
    /// How the traffic is multiplied.
    pub scaling: Scaling,
    /// Who sends the requests.
    pub people: People,
}

/// When requests begin.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// A renewal process with mean rate 1 in operational time, its clock stretched by `rate`.
    Renewal {
        /// Law of the gaps.
        gaps: Gaps,
        /// Requests per second over the run.
        rate: RateCurve,
    },
    /// A Poisson process whose rate jumps between states, multiplied by a curve of mean
    /// multiplier 1. ON/OFF is the case of two states, one of rate 0.
    Modulated {
        /// `(requests per second, mean sojourn)` of each state, visited in turn.
        states: Vec<(f64, Span)>,
        /// Multiplier over the run.
        shape: RateCurve,
    },
    /// `users` clients, each thinking, sending, waiting for the answer, and again.
    ClosedLoop {
        /// Clients.
        users: u32,
        /// Pause between an answer and the next request; also before the first.
        think: DurationDist,
    },
    /// A recorded trace.
    Replay {
        /// The rows.
        trace: Arc<Trace>,
        /// Width over which quantised timestamps are spread; zero keeps them.
        jitter: Span,
    },
}

/// Law of the gaps of a renewal process, mean 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gaps {
    /// Exponential: a Poisson process.
    Exponential,
    /// Gamma with this coefficient of variation, > 0.
    Gamma {
        /// Coefficient of variation of the gaps.
        cv: f64,
    },
    /// Weibull with this shape, > 0 (below 1 is burstier than Poisson).
    Weibull {
        /// Weibull shape.
        shape: f64,
    },
    /// All gaps equal: a paced client.
    Constant,
}

/// A rate over time: straight lines between knots; two knots at one instant make a step.
/// Before the first knot the first value holds, after the last the last, or the curve repeats.
#[derive(Clone, Debug, PartialEq)]
pub struct RateCurve {
    /// `(instant, value ≥ 0)`, not falling in time, at least one.
    pub knots: Vec<(Time, f64)>,
    /// Length after which the curve repeats (24 h, 7 d); at least the last knot's instant.
    pub period: Option<Span>,
    /// One-off multipliers `(start, length, factor ≥ 0)`; overlapping ones multiply.
    pub spikes: Vec<(Time, Span, f64)>,
}

/// Prompt prefixes that requests share (system prompts, few-shot examples, documents).
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixSpec {
    /// Tokens of each prefix.
    pub tokens: u32,
    /// How many different prefixes there are; at least 1.
    pub distinct: u32,
    /// Zipf exponent of their popularity; 0 = all alike.
    pub zipf: f64,
}

/// A conversation: each turn repeats the earlier prompts and answers.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSpec {
    /// Turns of a session (at least 1 drawn).
    pub turns: LengthDist,
    /// Pause between an answer and the next turn.
    pub think: DurationDist,
    /// When it is condensed; `None`: never, each turn repeats all that was said.
    pub memory: Option<MemorySpec>,
}

/// When a conversation is condensed, and to how much: the turns that follow begin with the summary
/// instead of what was said. Nothing about it is drawn. Whether the summary's call succeeds makes
/// no difference to the turns that follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemorySpec {
    /// After a turn whose prompt and answer come to more tokens than this.
    pub after_tokens: Option<u32>,
    /// After so many turns since the beginning or the last time; at least 1.
    pub every: Option<u32>,
    /// Tokens of the summary per token that it stands for, in (0, 1]. A prefix shared with others
    /// is not summed up.
    pub ratio: f64,
}

/// How traffic is multiplied; the three give three different answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// The factor; 1 leaves everything as it is.
    pub factor: f64,
    /// What the factor means.
    pub how: ScaleHow,
}

/// What a traffic factor means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleHow {
    /// New independent users beside the unchanged old ones; a fraction is a thinned copy.
    MoreUsers,
    /// The same users, sending faster: the clock of the arrivals runs `factor` times as fast. A
    /// rate is multiplied and the gaps stay; a recording is played in less time; the users of a
    /// closed loop think for less. A rate curve, the sojourns of a modulated process and the pauses
    /// inside a conversation keep their length.
    FasterUsers,
    /// The same mean rate in larger bursts: each request joins the one before with probability
    /// `(factor − 1)/(factor + 1)`, which multiplies a Poisson stream's index of dispersion by
    /// `factor` (≥ 1). Rows of a trace join likewise while the other rows stay where they are, which
    /// raises dispersion over a few gaps only. A closed loop has no stream to bunch and stays as
    /// it is.
    Burstier,
}

/// A recorded workload in memory.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Trace {
    /// Rows in time order.
    pub rows: Vec<TraceRow>,
    /// All rows' segments, one after another; a row without identity has none (its prompt is
    /// then unique to it).
    pub segments: Vec<TraceSegment>,
    /// Length of the recording; at least the last row's instant.
    pub span: Span,
}

/// One recorded request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceRow {
    /// Instant since the start of the recording.
    pub at: Time,
    /// Prompt tokens, at least 1; the row's segments, if any, sum to this.
    pub input: u32,
    /// Output tokens, at least 1.
    pub output: u32,
    /// Number of the session it belongs to, or `u32::MAX`.
    pub session: u32,
    /// First of its segments in `Trace::segments`.
    pub segments_at: u32,
    /// How many segments it has.
    pub segments_len: u32,
    /// Tokens at the front of its prompt that rows before it have sent already.
    pub context: u32,
}

/// A stretch of prompt tokens with an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceSegment {
    /// Identity: equal ids are equal tokens.
    pub id: u64,
    /// Tokens of it that this prompt uses, from its start.
    pub tokens: u32,
    /// Whether rows of other sessions use it too. A private one gets a new identity when a row
    /// is drawn again by the bootstrap or by a traffic factor, so that redrawing invents no hits.
    pub shared: bool,
}

impl Default for Scaling {
    fn default() -> Self {
        Scaling { factor: 1.0, how: ScaleHow::MoreUsers }
    }
}

impl RateCurve {
    /// The same value for the whole run.
    #[must_use]
    pub fn constant(value: f64) -> RateCurve {
        RateCurve { knots: vec![(Time::ZERO, value)], period: None, spikes: Vec::new() }
    }
}
