//! Conversations under way: what each has said so far, and its next turn.
//!
//! Invariants: a prompt begins with the whole prompt of the turn before, then that turn's answer;
//! memory follows the conversations alive, provided that every origin is handed back.
//!
//! Deliberately absent: conversations of recorded traces, whose turns keep their recorded times.

use super::request::{Mint, Segment, Segments};
use crate::dice::{Dice, Purpose, key, mix};
use crate::ids::{Arena, Handle};
use crate::units::Time;
use crate::workload::SessionSpec;

/// Turns that fit the bits of a request's number.
const MOST_TURNS: u32 = 1 << 16;

/// One conversation whose latest turn is under way.
#[derive(Clone, Debug)]
struct Session {
    key: u64,
    /// Turns begun.
    begun: u32,
    turns: u32,
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

impl Sessions {
    pub(super) fn new(spec: SessionSpec, max_context: u32) -> Sessions {
        Sessions { spec, max_context, alive: Arena::default() }
    }

    /// Begins a conversation with this first prompt; `None` when it has a single turn.
    pub(super) fn begin(&mut self, unit_key: u64, prompt: &Segments) -> Option<Handle> {
        let turns = self.spec.turns.sample(&mut Dice::of(unit_key, Purpose::Turns)).min(MOST_TURNS);
        let answer = key(unit_key, Purpose::AnswerIdentity);
        (turns > 1).then(|| {
            let prompt = prompt.clone();
            self.alive.insert(Session { key: unit_key, begun: 1, turns, prompt, answer })
        })
    }

    /// The turn after an answer of `written` tokens (`None`: there was none, which ends the
    /// conversation) at `now`; `None` when the conversation is over.
    pub(super) fn next(
        &mut self,
        session: Handle,
        written: Option<u32>,
        now: Time,
        horizon: Time,
        mint: &Mint,
    ) -> Option<Turn> {
        let mut session = self.alive.remove(session)?;
        let written = written?;
        if session.begun >= session.turns {
            return None;
        }
        let number = session.begun;
        let turn_key = mix(session.key, u64::from(number));
        let at = now.after(self.spec.think.sample(&mut Dice::of(turn_key, Purpose::Think)));
        let (fresh, output) = mint.lengths(turn_key);
        let said = session.prompt.iter().map(|s| u64::from(s.tokens)).sum::<u64>();
        let context = said + u64::from(written) + u64::from(fresh);
        if at >= horizon || context > u64::from(self.max_context) {
            return None;
        }
        if written > 0 {
            session.prompt.push(Segment { id: session.answer, tokens: written });
        }
        let id = key(turn_key, Purpose::PromptIdentity);
        session.prompt.push(Segment { id, tokens: fresh });
        session.answer = key(turn_key, Purpose::AnswerIdentity);
        session.begun += 1;
        let prompt = session.prompt.clone();
        let session = self.alive.insert(session);
        Some(Turn { at, number, key: turn_key, prompt, output, session })
    }
}
