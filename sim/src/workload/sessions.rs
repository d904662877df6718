//! Conversations under way: what each has said so far, and its next turn.
//!
//! Invariants: a prompt begins with the whole prompt of the turn before, then that turn's answer, or
//! with the summary that took their place; memory follows the conversations alive, provided that every origin is handed back.
//!
//! Deliberately absent: conversations of recorded traces, whose turns keep their recorded times.

use super::request::{Mint, Request, Segment, Segments};
use crate::dice::{Dice, Purpose, key, mix};
use crate::ids::{Arena, Handle};
use crate::units::Time;
use crate::workload::SessionSpec;
use std::num::NonZeroU32;

/// Turns that fit the bits of a request's number.
const MOST_TURNS: u32 = 1 << 16;

/// One conversation whose latest turn is under way.
#[derive(Clone, Debug)]
struct Session {
    key: u64,
    /// Turns begun.
    begun: u32,
    turns: u32,
    /// Turns since it was condensed last, the one under way included.
    since: u32,
    /// Tokens of the summary that is made after the turn under way.
    summary: Option<u32>,
    /// Prompt of the turn under way.
    prompt: Segments,
    /// Identity of the answer to it.
    answer: u64,
}

/// All conversations of a source.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    spec: SessionSpec,
    max_context: u32,
    /// Segments at the front that are no part of what was said: a shared prefix.
    fixed: usize,
    alive: Arena<Session>,
}

/// A further turn of a conversation.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) at: Time,
    /// Position in the conversation; the first is 0.
    pub(super) number: u32,
    pub(super) key: u64,
    pub(super) prompt: Segments,
    pub(super) output: u32,
    pub(super) session: Handle,
}

/// What follows a turn.
#[derive(Clone, Debug)]
pub(super) enum Next {
    /// Another turn.
    Turn(Turn),
    /// Another turn, after the horizon: its user is busy with it until then.
    AfterTheEnd,
    /// Nothing: the conversation is over.
    Over,
}

impl Sessions {
    /// `fixed` segments at the front of each prompt belong to no conversation.
    pub(super) fn new(spec: SessionSpec, max_context: u32, fixed: usize) -> Sessions {
        Sessions { spec, max_context, fixed, alive: Arena::default() }
    }

    /// Whether a conversation is condensed after this turn of it, and to how many tokens. A turn
    /// without a session is the only one of its conversation, which nobody knows before its end.
    pub(super) fn condense(
        &mut self,
        session: Option<Handle>,
        turn: &Request,
    ) -> Option<NonZeroU32> {
        let memory = self.spec.memory?;
        let session = session.and_then(|handle| self.alive.get_mut(handle));
        let since = session.as_ref().map_or(1, |session| session.since);
        let total = u64::from(turn.input) + u64::from(turn.output);
        let long = memory.after_tokens.is_some_and(|most| total > u64::from(most));
        if !long && memory.every.is_none_or(|every| since < every) {
            return None;
        }
        let said = total - length(turn.segments.iter().take(self.fixed));
        let summary = (said as f64 * memory.ratio + 0.5) as u32;
        let summary = NonZeroU32::new(summary).unwrap_or(NonZeroU32::MIN);
        if let Some(session) = session {
            session.summary = Some(summary.get());
        }
        Some(summary)
    }

    /// Begins a conversation with this first prompt; `None` when it has a single turn.
    pub(super) fn begin(&mut self, unit_key: u64, prompt: &Segments) -> Option<Handle> {
        let turns = self.spec.turns.sample(&mut Dice::of(unit_key, Purpose::Turns)).min(MOST_TURNS);
        let answer = key(unit_key, Purpose::AnswerIdentity);
        (turns > 1).then(|| {
            let prompt = prompt.clone();
            self.alive.insert(Session {
                key: unit_key,
                begun: 1,
                turns,
                since: 1,
                summary: None,
                prompt,
                answer,
            })
        })
    }

    /// What follows an answer of `written` tokens (`None`: there was none, which ends the
    /// conversation) at `now`.
    pub(super) fn next(
        &mut self,
        session: Handle,
        written: Option<u32>,
        now: Time,
        horizon: Time,
        mint: &Mint,
    ) -> Next {
        let (Some(mut session), Some(written)) = (self.alive.remove(session), written) else {
            return Next::Over;
        };
        if session.begun >= session.turns {
            return Next::Over;
        }
        let number = session.begun;
        let turn_key = mix(session.key, u64::from(number));
        let at = now.after(self.spec.think.sample(&mut Dice::of(turn_key, Purpose::Think)));
        let (fresh, output) = mint.lengths(turn_key);
        match session.summary.take() {
            Some(tokens) => {
                let id = key(turn_key, Purpose::SummaryIdentity);
                session.prompt.truncate(self.fixed);
                session.prompt.push(Segment { id, tokens });
                session.since = 0;
            }
            None if written > 0 => {
                session.prompt.push(Segment { id: session.answer, tokens: written });
            }
            None => {}
        }
        let context = length(&session.prompt) + u64::from(fresh);
        if context > u64::from(self.max_context) {
            return Next::Over;
        }
        if at >= horizon {
            return Next::AfterTheEnd;
        }
        session.since += 1;
        let id = key(turn_key, Purpose::PromptIdentity);
        session.prompt.push(Segment { id, tokens: fresh });
        session.answer = key(turn_key, Purpose::AnswerIdentity);
        session.begun += 1;
        let prompt = session.prompt.clone();
        let session = self.alive.insert(session);
        Next::Turn(Turn { at, number, key: turn_key, prompt, output, session })
    }
}

/// Tokens of some segments.
fn length<'s>(segments: impl IntoIterator<Item = &'s Segment>) -> u64 {
    segments.into_iter().map(|segment| u64::from(segment.tokens)).sum()
}
