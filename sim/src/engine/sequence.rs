//! A request inside an engine: what is handed in, what comes out.

use super::content::Segments;
use crate::units::{Span, Time};

/// A request as it is handed to an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The caller's number for it; comes back in [`Ended`].
    pub call: u32,
    /// When it arrived; decides ties of the priority policy.
    pub arrived: Time,
    /// Prompt tokens, at least 1.
    pub prompt: u32,
    /// Tokens it will write, at least 1 (hidden from every policy).
    pub outputs: u32,
    /// Whether it ends by EOS; otherwise the scheduler knows its end beforehand.
    pub ends_by_eos: bool,
    /// Smaller runs first under the priority policy.
    pub priority: i32,
    /// Identity of the prompt's tokens; they sum to `prompt`. Not read without prefix caching.
    pub segments: Segments,
    /// Identity of the tokens it writes.
    pub output_segment: u64,
}

/// Why a request left the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// All its tokens are written.
    Finished,
    /// The caller gave it up.
    Cancelled,
}

/// A request that left the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The caller's number.
    pub call: u32,
    /// Why.
    pub reason: EndReason,
    /// Start of the iteration that first computed part of it; [`Time::NEVER`] if none did.
    pub scheduled: Time,
    /// End of the iteration that wrote its first token; [`Time::NEVER`] if none did.
    pub first_token: Time,
    /// End of the iteration that wrote its last token (or the boundary it was cancelled at).
    pub ended: Time,
    /// Tokens written.
    pub outputs: u32,
    /// Prompt tokens found in the prefix cache when it was first admitted.
    pub hit_tokens: u32,
    /// How often it lost its blocks and started over.
    pub preemptions: u32,
}

/// Counts an engine keeps over its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EngineCounts {
    /// Iterations run.
    pub iterations: u64,
    /// Time during which iterations ran.
    pub busy: Span,
    /// Requests preempted.
    pub preemptions: u64,
    /// Tokens scheduled: prefill chunks and decodes.
    pub scheduled_tokens: u64,
    /// First admissions.
    pub admitted: u64,
    /// Prompt tokens of those.
    pub prompt_tokens: u64,
    /// Prompt tokens of those found in the prefix cache.
    pub hit_tokens: u64,
    /// Sum over those of hit tokens / prompt tokens, in millionths.
    pub hit_ppm: u64,
    /// Hashed blocks reused for other content.
    pub evictions: u64,
    /// Most blocks in use at once.
    pub peak_blocks: u32,
}
