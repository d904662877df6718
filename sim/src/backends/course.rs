//! An attempt at a remote, what the remote says to it, and how it will go.
//!
//! Invariants of a [`Course`]: `began ≤ first_token ≤ ends`; the tokens that are cached and those
//! that are written to the cache are together at most the prompt; an attempt that fails has
//! written and read nothing that is billed.
//!
//! Deliberately absent: why an attempt was made, and what becomes of its answer.

use super::{MeterReading, Spot};
use crate::ids::Handle;
use crate::resilience::Failure;
use crate::units::{Span, Time};
use crate::workload::Segment;

/// One attempt as a remote sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// Key of the attempt's random streams.
    pub key: u64,
    /// Key of the user, whose device it would run on.
    pub user_key: u64,
    /// Prompt tokens.
    pub input: u32,
    /// Those at the front that are no part of what is asked.
    pub context: u32,
    /// Tokens of the answer, at least 1.
    pub output: u32,
    /// Cap on the answer that the client sent.
    pub max_tokens: Option<u32>,
    /// Smaller first, where the station asks.
    pub priority: i32,
    /// The prompt, for the provider's cache; tokens behind the last segment have no identity.
    pub prompt: &'a [Segment],
    /// Handed back with its course.
    pub ticket: Handle,
}

impl Attempt<'_> {
    /// Tokens that the answer may have for all that the provider knows: the client's cap or, as
    /// if it were known, the answer itself.
    pub(super) fn claimed_output(&self) -> u32 {
        self.max_tokens.unwrap_or(self.output)
    }
}

/// What a remote says to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It has a place.
    Started(Course),
    /// It waits; its course comes back from the call that gives it a place.
    Queued(Spot),
    /// It is not let in; this takes no time and costs nothing.
    Refused {
        /// Why.
        failure: Failure,
        /// With a rate limit: when the same attempt would be let in if nobody else came; `None`
        /// when it asks for more than a bucket ever holds.
        retry_after: Option<Span>,
    },
}

/// How an attempt that got a place will go, known at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// The attempt's.
    pub ticket: Handle,
    /// When it got its place.
    pub began: Time,
    /// When its first token comes; for one that fails, when it ends.
    pub first_token: Time,
    /// When it ends, if nobody cancels it.
    pub ends: Time,
    /// Part of the time to its first token in which the place wakes up.
    pub cold: Span,
    /// How it ends, unless well.
    pub failure: Option<Failure>,
    /// Prompt tokens.
    pub input: u32,
    /// Those at the front that are no part of what is asked.
    pub context: u32,
    /// Tokens of the answer when it ends well.
    pub output: u32,
    /// Prompt tokens read from the provider's cache.
    pub cached_tokens: u32,
    /// Prompt tokens written to it.
    pub cache_written_tokens: u32,
}

impl Course {
    /// Tokens of the answer that are written at an instant, or that are being written: the first
    /// at once with its time, then in equal steps. An attempt that fails writes none.
    #[must_use]
    pub fn written(&self, at: Time) -> u32 {
        if self.failure.is_some() || at < self.first_token || at < self.began {
            0
        } else if at >= self.ends {
            self.output
        } else {
            let passed = u128::from(at.since(self.first_token).0);
            let length = u128::from(self.ends.since(self.first_token).0);
            let further = u128::from(self.output.saturating_sub(1)) * passed;
            // Less than `output`, because less than the whole length has passed.
            (1 + further.div_ceil(length)).min(u128::from(self.output)) as u32
        }
    }

    /// What is billed if it leaves at an instant, ended or cancelled: nothing but the call when it
    /// failed or the place was not awake yet; otherwise the whole prompt and the answer as far as
    /// it was [written](Course::written).
    #[must_use]
    pub fn billed(&self, at: Time) -> MeterReading {
        let call = MeterReading { attempts: 1, ..MeterReading::default() };
        if self.failure.is_some() || at < self.began.after(self.cold) {
            return call;
        }
        // What is read from the cache comes first in a prompt, and what is written to it next.
        let [context, cached] = [self.context, self.cached_tokens].map(|n| n.min(self.input));
        let known = cached.saturating_add(self.cache_written_tokens).min(self.input);
        MeterReading {
            input: u64::from(self.input),
            cached_input: u64::from(self.cached_tokens),
            cache_write: u64::from(self.cache_written_tokens),
            output: u64::from(self.written(at)),
            context: u64::from(context),
            context_cached: u64::from(context.min(cached)),
            context_missed: u64::from(context.min(known) - context.min(cached)),
            ..call
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(output: u32, pace: u64) -> Course {
        Course {
            ticket: Handle { slot: 0, generation: 0 },
            began: Time(100),
            first_token: Time(200),
            ends: Time(200 + pace * u64::from(output - 1)),
            cold: Span(30),
            failure: None,
            input: 50,
            context: 25,
            output,
            cached_tokens: 20,
            cache_written_tokens: 10,
        }
    }

    #[test]
    fn the_token_in_work_counts_as_written() {
        let course = course(5, 10);
        for (at, tokens) in
            [(0, 0), (199, 0), (200, 1), (201, 2), (210, 2), (211, 3), (239, 5), (240, 5), (999, 5)]
        {
            assert_eq!(course.written(Time(at)), tokens, "at {at}");
        }
        assert_eq!(super::tests::course(1, 10).written(Time(200)), 1);
        assert_eq!(super::tests::course(7, 0).written(Time(200)), 7);
        assert_eq!(super::tests::course(7, 0).written(Time(199)), 0);
    }

    #[test]
    fn context_is_read_or_missed_or_never_cached() {
        // 20 tokens are read, 10 written, 20 are neither.
        for (context, parts) in [
            (0, (0, 0)),
            (15, (15, 0)),
            (20, (20, 0)),
            (27, (20, 7)),
            (30, (20, 10)),
            (50, (20, 10)),
        ] {
            let course = Course { context, ..course(5, 10) };
            let billed = course.billed(course.ends);
            assert_eq!(billed.context, u64::from(context));
            assert_eq!((billed.context_cached, billed.context_missed), parts, "of {context}");
        }
    }

    #[test]
    fn the_prompt_is_billed_once_the_place_is_awake_and_failures_are_not() {
        let course = course(5, 10);
        let call = MeterReading { attempts: 1, ..MeterReading::default() };
        let prompt = MeterReading {
            input: 50,
            cached_input: 20,
            cache_write: 10,
            context: 25,
            context_cached: 20,
            context_missed: 5,
            ..call
        };
        assert_eq!(course.billed(Time(129)), call);
        assert_eq!(course.billed(Time(130)), prompt);
        assert_eq!(course.billed(Time(205)), MeterReading { output: 2, ..prompt });
        assert_eq!(course.billed(course.ends), MeterReading { output: 5, ..prompt });
        let failed = Course { failure: Some(Failure::ServerError), ..course };
        assert_eq!(failed.billed(failed.ends), call);
    }
}
