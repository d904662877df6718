//! One request, with everything that is random about it drawn at its birth.
//!
//! Invariants: the tokens of the segments sum to `input`; a request's draws depend on its key
//! alone; `number` is unique within its source and does not depend on what a policy did.
//!
//! Deliberately absent: what becomes of the request.

use super::{PrefixSpec, SourceSpec};
use crate::dice::{Dice, Purpose, key, mix};
use crate::dist::{Charts, LengthSampler, LengthsSpec, Zipf};
use crate::ids::{Handle, SourceId, TaskId};
use crate::units::Time;
use smallvec::SmallVec;
use std::num::NonZeroU32;

/// A stretch of prompt tokens with an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Identity: equal ids are equal tokens from the start.
    pub id: u64,
    /// Tokens of it.
    pub tokens: u32,
}

/// The segments of a prompt; up to two without a heap allocation.
pub type Segments = SmallVec<[Segment; 2]>;

/// What [`super::Source::follow_up`] needs to know of an ended request; kept with the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Copy of the source.
    pub(super) copy: u32,
    /// Request, session or round of a closed-loop user within the copy.
    pub(super) unit: u64,
    /// The session it belongs to, if another turn may follow.
    pub(super) session: Option<Handle>,
}

impl Origin {
    /// Identifies who sent it: a conversation's user, or whoever sent a lone request.
    #[must_use]
    pub fn person(self) -> u64 {
        mix(u64::from(self.copy), self.unit)
    }
}

/// What is sent to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The prompt; its tokens sum to `input`.
    pub segments: Segments,
    /// Prompt tokens, at least 1.
    pub input: u32,
    /// Those at the front that are no part of what is asked: a shared prefix, what was said before.
    pub context: u32,
    /// Tokens the model will write, at least 1. Drawn: hidden from routers.
    pub output: u32,
    /// Identity under which its answer is known when a later prompt repeats it.
    pub output_segment: u64,
}

/// One request as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Instant of arrival.
    pub at: Time,
    /// Key of all random draws that belong to it, whatever a policy does.
    pub key: u64,
    /// The task it starts.
    pub task: TaskId,
    /// Where it comes from.
    pub source: SourceId,
    /// Identity within the source: 12 bits of copy above 52 bits of the request's number in it
    /// (with sessions: 36 bits of session above 16 of turn; replayed: 20 bits of use above 32 of
    /// row).
    pub number: u64,
    /// Prompt tokens, at least 1.
    pub input: u32,
    /// Those at the front that are no part of what is asked: a shared prefix, what was said before;
    /// in a recording, what rows before have sent already.
    pub context: u32,
    /// Tokens the model will write, at least 1. Drawn: hidden from routers.
    pub output: u32,
    /// Whether it ends by EOS at `output` tokens rather than by a cap.
    pub ends_by_eos: bool,
    /// Cap the client sent.
    pub max_tokens: Option<NonZeroU32>,
    /// Scheduling priority, smaller first.
    pub priority: i32,
    /// The prompt.
    pub segments: Segments,
    /// To be handed back when the call ends.
    pub origin: Origin,
    /// Tokens of the summary, when the conversation is condensed after this turn.
    pub memory: Option<NonZeroU32>,
}

impl Request {
    /// Id of the first segment: what prefix-affine balancing hashes.
    #[must_use]
    pub fn affinity(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.id)
    }

    /// Identity under which its answer is known when a later prompt repeats it.
    #[must_use]
    pub fn output_segment(&self) -> u64 {
        key(self.key, Purpose::AnswerIdentity)
    }

    /// Random bits for load balancing.
    #[must_use]
    pub fn route(&self) -> u64 {
        key(self.key, Purpose::Route)
    }

    /// The conversation up to an answer of `written` tokens.
    #[must_use]
    pub fn said(&self, written: u32) -> Segments {
        let mut said = self.segments.clone();
        if written > 0 {
            said.push(Segment { id: self.output_segment(), tokens: written });
        }
        said
    }
}

/// How prompts of one kind are drawn.
#[derive(Clone, Debug)]
pub struct Prompts {
    lengths: LengthSampler,
    prefix: Option<Popularity>,
    prefix_key: u64,
}

impl Prompts {
    /// Prompts with these fresh lengths behind a shared prefix; `name_key` identifies whose they
    /// are.
    #[must_use]
    pub fn new(
        lengths: &LengthsSpec,
        prefix: Option<&PrefixSpec>,
        name_key: u64,
        charts: &mut Charts,
    ) -> Prompts {
        Prompts {
            lengths: LengthSampler::new(lengths, charts),
            prefix: prefix.filter(|p| p.tokens > 0).map(Popularity::new),
            // Not keyed by seed or copy: a system prompt is the application's, not the user's.
            prefix_key: key(name_key, Purpose::PrefixIdentity),
        }
    }

    /// The prompt and the answer's length of the entity with this key; `keep` is the share of the
    /// fresh prompt tokens that is sent.
    #[must_use]
    pub fn draw(&self, entity_key: u64, keep: f64) -> Prompt {
        let (fresh, output) = self.lengths.sample(entity_key);
        let kept = if keep < 1.0 { (f64::from(fresh) * keep) as u32 } else { fresh };
        let segments = self.opening(entity_key, kept);
        let context = context_of(&segments);
        Prompt {
            input: tokens_of(&segments),
            context,
            segments,
            output: output.max(1),
            output_segment: key(entity_key, Purpose::AnswerIdentity),
        }
    }

    /// The shared prefix (if any) and the fresh prompt of a request that repeats nothing else.
    #[inline]
    fn opening(&self, request_key: u64, fresh: u32) -> Segments {
        let mut segments = Segments::new();
        let mut left = u32::MAX;
        if let Some(prefix) = &self.prefix {
            let rank = prefix.ranks.draw(&mut Dice::of(request_key, Purpose::Prefix));
            // One token of room, so that the fresh part is never empty.
            let tokens = prefix.tokens.min(u32::MAX - 1);
            segments.push(Segment { id: mix(self.prefix_key, u64::from(rank)), tokens });
            left -= tokens;
        }
        segments.push(Segment {
            id: key(request_key, Purpose::PromptIdentity),
            tokens: fresh.clamp(1, left),
        });
        segments
    }
}

/// What all requests of a source have in common, and how the rest is drawn.
#[derive(Clone, Debug)]
pub(super) struct Mint {
    source: SourceId,
    task: TaskId,
    prompts: Prompts,
    ends_by_eos: bool,
    max_tokens: Option<NonZeroU32>,
    priority: i32,
}

impl Mint {
    pub(super) fn new(spec: &SourceSpec, source: SourceId) -> Mint {
        Mint {
            source,
            task: spec.task,
            prompts: Prompts::new(
                &spec.lengths,
                spec.prefix.as_ref(),
                spec.key,
                &mut Charts::default(),
            ),
            ends_by_eos: spec.ends_by_eos,
            max_tokens: spec.max_tokens.map(|cap| NonZeroU32::new(cap).unwrap_or(NonZeroU32::MIN)),
            priority: spec.priority,
        }
    }

    /// Fresh prompt and output tokens of the request with this key.
    pub(super) fn lengths(&self, request_key: u64) -> (u32, u32) {
        self.prompts.lengths.sample(request_key)
    }

    /// The shared prefix (if any) and the fresh prompt of a request that repeats nothing else.
    pub(super) fn opening(&self, request_key: u64, fresh: u32) -> Segments {
        self.prompts.opening(request_key, fresh)
    }

    /// Puts a request together. `drawn` output is cut at the client's cap.
    pub(super) fn strike(
        &self,
        (request_key, number): (u64, u64),
        at: Time,
        segments: Segments,
        drawn: u32,
        origin: Origin,
    ) -> Request {
        let cap = self.max_tokens.map_or(u32::MAX, NonZeroU32::get);
        Request {
            at,
            key: request_key,
            task: self.task,
            source: self.source,
            number,
            input: tokens_of(&segments),
            context: context_of(&segments),
            output: drawn.clamp(1, cap),
            ends_by_eos: self.ends_by_eos && drawn <= cap,
            max_tokens: self.max_tokens,
            priority: self.priority,
            segments,
            origin,
            memory: None,
        }
    }
}

/// Tokens in front of the last segment, which is what is asked.
pub(crate) fn context_of(segments: &Segments) -> u32 {
    tokens_of(&segments[..segments.len().saturating_sub(1)])
}

/// Tokens of all segments, held at the largest number.
pub(crate) fn tokens_of(segments: &[Segment]) -> u32 {
    segments.iter().map(|segment| segment.tokens).fold(0, u32::saturating_add)
}

/// Which shared prefix a prompt begins with.
#[derive(Clone, Copy, Debug)]
struct Popularity {
    tokens: u32,
    ranks: Zipf,
}

impl Popularity {
    fn new(spec: &PrefixSpec) -> Popularity {
        Popularity { tokens: spec.tokens, ranks: Zipf::new(spec.distinct, spec.zipf) }
    }
}
