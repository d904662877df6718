//! Conversations, and the memory that condenses them.
//!
//! Invariants: traffic that says when a conversation is condensed starts a task that says by which
//! call.

use super::MOST_TURNS;
use crate::file::{SessionsFile, TrafficFile};
use crate::problem::{Problem, ProblemKind};
use crate::resolve::Resolver;
use sim::ids::TaskId;
use sim::workload::{MemorySpec, SessionSpec};

impl Resolver<'_> {
    /// Conversations are condensed when the traffic says when and the task says by which call.
    pub(super) fn check_memory(&self, file: &TrafficFile, task: TaskId) {
        let memory = file.sessions.as_ref().and_then(|sessions| sessions.memory.as_ref());
        if let Some(memory) = memory.filter(|m| m.after_tokens.is_none() && m.every.is_none()) {
            let message = "nothing says when the conversation is condensed";
            let problem = Problem::new(ProblemKind::MissingKey, &memory.site, message);
            self.push(problem.help("write after_tokens or every"));
        }
        match (memory, self.keeps_memory(task)) {
            (Some(memory), false) => {
                let message = "no step of its task keeps the memory";
                let problem = Problem::new(ProblemKind::MissingKey, &memory.site, message);
                self.push(problem.help("add a step { model_call = { memory = true, … } }"));
            }
            (None, true) => {
                let message = "its task keeps a memory, but no conversation of it is condensed";
                self.warn(&file.site, message.to_owned());
            }
            _ => {}
        }
    }
}

/// A source's conversations; those of a single turn are requests like any other.
pub(super) fn session(file: &SessionsFile) -> Option<SessionSpec> {
    let memory = file.memory.as_ref().and_then(|memory| {
        Some(MemorySpec {
            after_tokens: memory.after_tokens.as_ref().map(|most| most.value),
            every: memory.every.as_ref().map(|turns| turns.value),
            ratio: memory.ratio.as_ref()?.value,
        })
    });
    let turns = file.turns.cut_at(MOST_TURNS);
    let single = file.turns.law_max() == Some(1) || turns.max == 1;
    (!single || memory.is_some()).then(|| SessionSpec { turns, think: file.think.clone(), memory })
}
