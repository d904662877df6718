//! What was measured, by whichever tool, in one vocabulary.
//!
//! ```text
//! result file of a benchmark ──► Measured     (requests or statistics, with their definitions)
//! spans of a live system     ──► SpanImport   (the same, with the trees of calls)
//! a run of an engine         ──► EngineRun    (arrivals, lengths, settings, KV capacity, times)
//! steps of an engine         ──► [StepRow]    metrics ──► EngineMetrics     log ──► VllmLog
//! ```
//!
//! Two tools that both say "TPOT" may mean different things, so every import carries
//! [`Definitions`]; [`MeasuredRequest::tpot`] is this project's own definition and the same for all.
//!
//! Invariants: what failed is kept with its error; a value that a file does not hold is absent, not
//! zero; times are picoseconds, whatever the file's unit; every problem of a file is told at once.
//!
//! Deliberately absent: opening files (the caller gives text and a name), and guessing what a file
//! does not say.

pub mod aiperf;
pub mod engine_run;
mod flat_yaml;
pub mod guidellm;
mod json;
pub mod otlp;
mod problem;
pub mod prometheus;
mod table;
mod value;
pub mod steps;
pub mod vllm_bench;
pub mod vllm_log;

pub use problem::{ImportErrors, ImportProblem};

use sim::units::{Span, Time, Tokens};
use std::fmt;

/// A file to import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// Name for messages.
    pub name: &'a str,
    /// Its whole text.
    pub text: &'a str,
}

/// Where measurements come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The tool that wrote the file.
    pub tool: &'static str,
    /// Its version, or its format's, as the file states it.
    pub version: Option<String>,
    /// The file, as the caller named it.
    pub file: String,
    /// The model, as the file states it.
    pub model: Option<String>,
}

/// Who took the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The load generator: network and HTTP are in the times.
    Client,
    /// The caller's own instrumentation around its call: as the client's.
    Caller,
    /// The server's front end: its queue to the engine is in the times, the network is not.
    FrontEnd,
    /// The engine's core: only its own queue and iterations are in the times.
    EngineCore,
}

/// From when TTFT and E2E count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The client sends the request; a wait for a free slot of the client is before.
    Sent,
    /// The front end has the request, after HTTP and tokenisation.
    Received,
    /// The request enters the engine's waiting queue.
    Queued,
}

/// What ends TTFT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The first token, whether it is shown or reasoning.
    Token,
    /// The first chunk of the stream that carries content or reasoning; may hold several tokens.
    Chunk,
    /// Not measured.
    Nothing,
}

/// What the tool calls time per output token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tpot {
    /// `(E2E − TTFT) / (output − 1)` of each request: the first token is left out.
    WithoutFirst,
    /// `E2E / output` of each request: TTFT is in it.
    WithFirst,
    /// The tool reports none.
    Absent,
}

/// What the tool calls inter-token latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Itl {
    /// Every gap between two chunks of every request, pooled: long answers weigh more.
    PooledGaps,
    /// One mean gap a request, `(last − first) / (output − 1)`: every request weighs the same.
    MeanOfRequest,
    /// The tool reports none.
    Absent,
}

/// What ends E2E.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The last token or chunk with content.
    LastToken,
    /// The end of the response or of the request's work, at or after the last token.
    Response,
}

/// What the numbers of a tool mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definitions {
    /// Who took the time.
    pub side: Side,
    /// From when TTFT and E2E count.
    pub start: Start,
    /// What ends TTFT.
    pub first: First,
    /// What the tool's TPOT is.
    pub tpot: Tpot,
    /// What the tool's ITL is.
    pub itl: Itl,
    /// What ends E2E.
    pub end: End,
}

/// How many requests a second the tool was told to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// This many.
    PerSecond(f64),
    /// All at once, or as fast as the concurrency allows.
    Unlimited,
}

/// The load, as the tool states it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Name of the arrival pattern.
    pub strategy: Option<String>,
    /// Request rate.
    pub rate: Option<Rate>,
    /// Most requests in flight.
    pub concurrency: Option<u32>,
    /// Shape of gamma-distributed gaps: 1 is Poisson, less is burstier.
    pub burstiness: Option<f64>,
}

/// One request and what was measured of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeasuredRequest {
    /// The tool's name for it, or its place in the file.
    pub id: String,
    /// When it was sent, counted from the first of the file.
    pub arrival: Option<Time>,
    /// Prompt, cached tokens included.
    pub input: Option<Tokens>,
    /// Answer, reasoning included.
    pub output: Option<Tokens>,
    /// Prompt tokens that the server's prefix cache had.
    pub cached: Option<Tokens>,
    /// Time to first token, as [`Definitions`] says.
    pub ttft: Option<Span>,
    /// Time to the end, as [`Definitions`] says.
    pub e2e: Option<Span>,
    /// Gaps between chunks; empty when unknown.
    pub gaps: Vec<Span>,
    /// Why it failed.
    pub error: Option<String>,
    /// Conversation it belongs to.
    pub session: Option<String>,
}

impl MeasuredRequest {
    /// Mean time per token after the first, `(E2E − TTFT) / (output − 1)`: one definition for all
    /// tools, whatever they report themselves. `None` below two tokens or without the times.
    #[must_use]
    pub fn tpot(&self) -> Option<Span> {
        let further = self.output?.0.checked_sub(1).filter(|tokens| *tokens > 0)?;
        let decoding = self.e2e?.0.checked_sub(self.ttft?.0)?;
        Some(Span(decoding / u64::from(further)))
    }
}

/// What a statistic is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Something a second: requests, tokens.
    PerSecond,
    /// A number of something.
    Count,
    /// What the file calls it is not known here; the value is as in the file.
    Other,
}

/// One statistic that the tool computed itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistic {
    /// What of: `ttft`, `tpot`, `itl`, `e2e`, or the tool's own name for anything else.
    pub metric: String,
    /// Which: `mean`, `std`, `min`, `max`, `sum`, `count`, or a percentile such as `p99`. The
    /// median is `p50`.
    pub name: String,
    /// Its value in `unit`.
    pub value: f64,
    /// What it is counted in.
    pub unit: Unit,
}

/// The requests that a file says something about but does not list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were answered.
    pub completed: Option<u64>,
    /// Requests that failed.
    pub failed: Option<u64>,
}

/// One benchmark: its requests, or only statistics of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Where it comes from.
    pub source: Source,
    /// What its numbers mean.
    pub definitions: Definitions,
    /// The load, as the tool states it.
    pub load: Load,
    /// How long it ran.
    pub duration: Option<Span>,
    /// How many were answered and failed, as the tool counts them.
    pub totals: Totals,
    /// Single requests, in order of arrival where it is known; empty if the file has none.
    pub requests: Vec<MeasuredRequest>,
    /// What the tool computed.
    pub summary: Vec<Statistic>,
    /// What is easy to misread in this file, in sentences.
    pub notes: Vec<String>,
}

impl Measured {
    /// The tool's own statistic, such as `("ttft", "p99")`.
    #[must_use]
    pub fn statistic(&self, metric: &str, name: &str) -> Option<&Statistic> {
        self.summary.iter().find(|found| found.metric == metric && found.name == name)
    }

    /// Requests that failed.
    pub fn failed(&self) -> impl Iterator<Item = &MeasuredRequest> {
        self.requests.iter().filter(|request| request.error.is_some())
    }
}

impl fmt::Display for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Client => "measured by the client",
            Side::Caller => "measured by the caller",
            Side::FrontEnd => "measured by the server's front end",
            Side::EngineCore => "measured inside the engine",
        };
        let start = match self.start {
            Start::Sent => "from sending",
            Start::Received => "from arrival at the front end",
            Start::Queued => "from entering the engine's queue",
        };
        let first = match self.first {
            First::Token => "TTFT to the first token",
            First::Chunk => "TTFT to the first chunk with content",
            First::Nothing => "no TTFT",
        };
        let end = match self.end {
            End::LastToken => "E2E to the last token",
            End::Response => "E2E to the end of the response",
        };
        let tpot = match self.tpot {
            Tpot::WithoutFirst => "TPOT without the first token",
            Tpot::WithFirst => "TPOT with TTFT in it",
            Tpot::Absent => "no TPOT",
        };
        let itl = match self.itl {
            Itl::PooledGaps => "ITL over all gaps",
            Itl::MeanOfRequest => "ITL as one mean a request",
            Itl::Absent => "no ITL",
        };
        write!(f, "{side}, {start}; {first}; {end}; {tpot}; {itl}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tpot_leaves_the_first_token_out_and_needs_a_second() {
        let request = |output| MeasuredRequest {
            output: Some(Tokens(output)),
            ttft: Some(Span::from_millis(40)),
            e2e: Some(Span::from_millis(80)),
            ..MeasuredRequest::default()
        };
        assert_eq!(request(3).tpot(), Some(Span::from_millis(20)));
        assert_eq!((request(1).tpot(), request(0).tpot()), (None, None));
        assert_eq!(MeasuredRequest { e2e: Some(Span::ZERO), ..request(3) }.tpot(), None);
    }
}
