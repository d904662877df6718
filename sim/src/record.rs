//! A sink for what happened to each call, so that [`crate::Outcome`] stays small.

use crate::ids::{Backend, ModelId, PoolId, SourceId, TaskId};
use crate::outcome::Ending;
use crate::tasks::DRIVERS;
use crate::units::{Money, Span, Time};

/// One call from birth to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// Number of the request within its source, equal under every policy.
    pub number: u64,
    /// Where it came from.
    pub source: SourceId,
    /// The task it belongs to.
    pub task: TaskId,
    /// The model it called.
    pub model: ModelId,
    /// Who served it.
    pub backend: Backend,
    /// The replica within a pool; 0 elsewhere.
    pub replica: u32,
    /// When it was born.
    pub arrived: Time,
    /// Start of the iteration that first computed part of it.
    pub scheduled: Time,
    /// End of the iteration that wrote its first token.
    pub first_token: Time,
    /// End of the iteration that wrote its last token.
    pub ended: Time,
    /// Prompt tokens.
    pub input: u32,
    /// Tokens written.
    pub output: u32,
    /// Prompt tokens found in the prefix cache.
    pub hit_tokens: u32,
    /// How often it started over.
    pub preemptions: u32,
}

impl CallRecord {
    /// The pool that served it, if one did.
    #[must_use]
    pub fn pool(&self) -> Option<PoolId> {
        match self.backend {
            Backend::Pool(pool) => Some(pool),
            Backend::Remote(_) => None,
        }
    }
}

/// One task from its arrival to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Number of the request within its source, equal under every policy.
    pub number: u64,
    /// Where it came from.
    pub source: SourceId,
    /// What it was.
    pub task: TaskId,
    /// Whose it was.
    pub tenant: u32,
    /// When it arrived.
    pub arrived: Time,
    /// When it ended.
    pub ended: Time,
    /// How it ended.
    pub ending: Ending,
    /// How often it was submitted.
    pub submissions: u32,
    /// Metered cost booked until it ended, of all its submissions and inside or outside the
    /// measured time. What goes on without it (shadows, attempts given up, work whose user has
    /// left) is booked to its kind of task and its tenant only.
    pub spend: Money,
    /// What it waited for; sums to the time it took. Of a task that ended before its steps were
    /// over, the time since the last finished step counts as [`crate::tasks::Driver::Retries`].
    pub parts: [Span; DRIVERS],
}

/// Takes what a simulation reports call by call.
pub trait Recorder {
    /// A task of several steps, or under a policy, ended.
    fn task(&mut self, _: &TaskRecord) {}

    /// A call ended.
    fn call(&mut self, record: &CallRecord);
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Recorder for Discard {
    fn call(&mut self, _: &CallRecord) {}
}

/// Keeps every call, in the order they ended.
#[derive(Clone, Debug, Default)]
pub struct KeepAll {
    /// The calls.
    pub calls: Vec<CallRecord>,
    /// The tasks of several steps or under a policy.
    pub tasks: Vec<TaskRecord>,
}

impl Recorder for KeepAll {
    fn call(&mut self, record: &CallRecord) {
        self.calls.push(*record);
    }
    fn task(&mut self, record: &TaskRecord) {
        self.tasks.push(*record);
    }
}
