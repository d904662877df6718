//! A request inside an engine: what is handed in, what comes out.

use super::content::Outline;
use super::kv_cache::Holding;
use crate::units::{Span, Time};
use crate::workload::Segments;
use std::ops::{AddAssign, Sub};

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
    /// Tokens its client allows it to write, at least `outputs`. Schedulers that plan ahead see it.
    pub max_tokens: u32,
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
    /// Time between losing its blocks and its next token, before and after its first token.
    pub stalled: (Span, Span),
}

/// Counts an engine keeps over its life; the counts of a part of it are a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EngineCounts {
    /// Iterations run.
    pub iterations: u64,
    /// Time during which iterations ran, picoseconds. Wider than a [`Span`], because summed over
    /// the replicas of a pool it is longer than any run.
    pub busy: u128,
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
}

impl AddAssign for EngineCounts {
    fn add_assign(&mut self, other: EngineCounts) {
        self.iterations += other.iterations;
        self.busy += other.busy;
        self.preemptions += other.preemptions;
        self.scheduled_tokens += other.scheduled_tokens;
        self.admitted += other.admitted;
        self.prompt_tokens += other.prompt_tokens;
        self.hit_tokens += other.hit_tokens;
        self.hit_ppm += other.hit_ppm;
        self.evictions += other.evictions;
    }
}

/// What was counted since `earlier`, an earlier state of the same counts.
impl Sub for EngineCounts {
    type Output = EngineCounts;

    fn sub(self, earlier: EngineCounts) -> EngineCounts {
        EngineCounts {
            iterations: self.iterations - earlier.iterations,
            busy: self.busy - earlier.busy,
            preemptions: self.preemptions - earlier.preemptions,
            scheduled_tokens: self.scheduled_tokens - earlier.scheduled_tokens,
            admitted: self.admitted - earlier.admitted,
            prompt_tokens: self.prompt_tokens - earlier.prompt_tokens,
            hit_tokens: self.hit_tokens - earlier.hit_tokens,
            hit_ppm: self.hit_ppm - earlier.hit_ppm,
            evictions: self.evictions - earlier.evictions,
        }
    }
}

/// Where a sequence is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum State {
    /// The slot is free.
    #[default]
    Vacant,
    /// In the queue, new or preempted.
    Queued,
    /// Running, with a token count of its own.
    Explicit,
    /// Running, part of the batch's aggregates.
    Decoding,
    /// Ended by EOS; fills one more iteration.
    Lingering,
}

/// A sequence's slot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seq {
    pub(super) state: State,
    pub(super) ends_by_eos: bool,
    pub(super) call: u32,
    pub(super) prompt: u32,
    /// Tokens it will have written in the end.
    pub(super) target: u32,
    /// Tokens it may write, for schedulers that plan ahead.
    pub(super) most: u32,
    /// Tokens written; valid while not Decoding.
    pub(super) outputs: u32,
    /// Tokens whose KV is computed or scheduled; valid while not Decoding.
    pub(super) computed: u32,
    /// When it was last scheduled, known tokens were left over; valid while Explicit.
    pub(super) is_prefill_chunk: bool,
    /// Place in the running list.
    pub(super) running_at: u32,
    pub(super) priority: i32,
    pub(super) hit_tokens: u32,
    pub(super) preemptions: u32,
    /// Computed tokens minus the batch's clock (wrapping); valid while Decoding.
    pub(super) computed_at_zero: u64,
    /// Clock at which its last token is written; valid while Decoding.
    pub(super) ends_at: u64,
    /// Number of its last admission: the running order.
    pub(super) admission: u64,
    /// Order of submission.
    pub(super) order: u64,
    pub(super) arrived: Time,
    pub(super) scheduled: Time,
    pub(super) first_token: Time,
    /// When it lost its blocks, until its next token; else [`Time::NEVER`].
    pub(super) preempted_at: Time,
    pub(super) stalled: (Span, Span),
}

impl Seq {
    /// `most`: tokens that a scheduler may plan for it to write.
    pub(super) fn new(request: &Submission, most: u32, order: u64) -> Seq {
        Seq {
            state: State::Queued,
            ends_by_eos: request.ends_by_eos,
            call: request.call,
            prompt: request.prompt,
            target: request.outputs,
            most,
            priority: request.priority,
            order,
            arrived: request.arrived,
            scheduled: Time::NEVER,
            first_token: Time::NEVER,
            preempted_at: Time::NEVER,
            ..Seq::default()
        }
    }

    /// Known tokens; valid while not Decoding.
    pub(super) fn len(&self) -> u32 {
        self.prompt + self.outputs
    }

    /// Whether a heap entry with this end and admission still speaks of this sequence.
    pub(super) fn decodes_until(&self, at: u64, admission: u64) -> bool {
        self.state == State::Decoding && self.ends_at == at && self.admission == admission
    }

    pub(super) fn ended(&self, now: Time, reason: EndReason) -> Ended {
        Ended {
            call: self.call,
            reason,
            scheduled: self.scheduled,
            first_token: self.first_token,
            ended: now,
            outputs: self.outputs,
            hit_tokens: self.hit_tokens,
            preemptions: self.preemptions,
            stalled: self.stalled,
        }
    }

    /// Notes that it wrote a token after having been preempted.
    pub(super) fn recover(&mut self, now: Time) {
        let lost = now - self.preempted_at;
        self.preempted_at = Time::NEVER;
        if self.outputs == 1 { self.stalled.0 += lost } else { self.stalled.1 += lost }
    }
}

/// What a sequence's blocks hold, and where they are; kept only with prefix caching.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    pub(super) outline: Outline,
    pub(super) holding: Holding,
    /// Blocks that carry their content.
    pub(super) registered: u32,
}

/// (token, context) pairs of a chunk of `n` tokens on top of `before` computed ones.
pub(super) fn chunk_pairs(before: u32, n: u32) -> u64 {
    let (before, n) = (u64::from(before), u64::from(n));
    n * before + n * (n + 1) / 2
}

/// Hit tokens over prompt tokens, in millionths.
pub(super) fn hit_ppm(hit: u32, prompt: u32) -> u64 {
    u64::from(hit) * 1_000_000 / u64::from(prompt.max(1))
}
